//! `aegis bundle`: sign policy bundles, verify them, and show the key that others verify with.

use std::path::{Path, PathBuf};

use aegis_core::policy::{Archive, Options, PolicySet, Publication};
use aegis_server::bundle::{SigningKey, VerifyingKey, sign, verify};
use anyhow::{Context as _, Result};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{operate, print, read_input};
use crate::cli::{BundleCommand, Global};
use crate::outcome::No;

pub(super) fn run(command: BundleCommand, global: &Global) -> Result<()> {
    match command {
        BundleCommand::Key => operate(global, async |operator| {
            let key = operator.call(Method::GET, "/v1/bundles/aegis/key", None).await?;
            print(global, &key, |key| key.get("key").and_then(Value::as_str).unwrap_or_default().to_owned())
        }),
        BundleCommand::Sign { bundle, key, out } => seal(&bundle, &key, out.as_deref().unwrap_or(&bundle), global),
        BundleCommand::Verify { bundle, keys } => check(&bundle, &keys, global),
    }
}

/// Signs a bundle; what is signed must be one that a gateway would take.
fn seal(bundle: &Path, key: &Path, out: &Path, global: &Global) -> Result<()> {
    let key = SigningKey::read(key)?;
    let archive = Archive::read(&read_input(bundle)?).with_context(|| bundle.display().to_string())?;
    let (policies, publication) = meaning(&archive).with_context(|| bundle.display().to_string())?;
    let bytes = sign(archive, &key, Timestamp::now())?.write();
    std::fs::write(out, &bytes).with_context(|| format!("can't write {}", out.display()))?;
    let signed = json!({
        "version": policies.version(), "publication": publication, "key": key.id(), "written": out, "bytes": bytes.len(),
    });
    print(global, &signed, |_| {
        format!("{} signed by key {}, written to {}\n", policies.version(), key.id(), out.display())
    })
}

/// Whether a bundle is signed by one of the keys, and a gateway would take it.
fn check(bundle: &Path, keys: &[PathBuf], global: &Global) -> Result<()> {
    let read = |path: &PathBuf| {
        let pem = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        VerifyingKey::from_pem(&pem).with_context(|| path.display().to_string())
    };
    let keys = keys.iter().map(read).collect::<Result<Vec<_>>>()?;
    let bytes = read_input(bundle)?;
    match judge(&bytes, &keys) {
        Ok(found) => print(global, &found, |found| {
            let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            format!("{} is signed by key {} at {}\n", text("version"), text("key"), text("signed_at"))
        }),
        Err(error) => {
            let problem = format!("{error:#}");
            if global.json {
                print(global, &json!({"ok": false, "problem": problem}), |_| String::new())?;
            }
            Err(No(format!("{}: {problem}", bundle.display())).into())
        }
    }
}

fn judge(bytes: &[u8], keys: &[VerifyingKey]) -> Result<Value> {
    let signed = verify(Archive::read(bytes)?, keys)?;
    let (policies, publication) = meaning(&signed.archive)?;
    Ok(json!({
        "ok": true,
        "version": policies.version(),
        "policies": policies.len(),
        "rego_only": policies.is_rego_only(),
        "publication": publication,
        "key": signed.key,
        "signed_at": signed.at,
        "files": signed.archive.files().map(|(name, _)| name).collect::<Vec<_>>(),
    }))
}

/// The policies of a bundle, in the mode that it was compiled for.
fn meaning(archive: &Archive) -> Result<(PolicySet, Option<Publication>)> {
    let options = Options { mode: archive.mode().unwrap_or_default(), ..Options::default() };
    Ok(PolicySet::from_archive(archive, options)?)
}
