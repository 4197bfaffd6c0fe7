//! `aegis policy compile`: policies → an OPA bundle, perhaps with the WebAssembly that OPA has made of it.

use std::path::{Path, PathBuf};

use aegis_core::policy::{Archive, Engine, Options, PolicySet};
use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::load_all;
use crate::cli::Global;
use crate::commands::{print, read_input};
use crate::outcome::invalid;

pub(super) fn run(paths: &[PathBuf], wasm: Option<&Path>, out: &Path, global: &Global) -> Result<()> {
    let policies = load_all(paths, global)?.map_err(invalid)?;
    let policies = match wasm {
        Some(built) => with_wasm(&policies, built)?,
        None => policies,
    };
    let bundle = policies.bundle(policies.publication());
    std::fs::write(out, &bundle).with_context(|| format!("can't write {}", out.display()))?;
    let made =
        json!({"version": policies.version(), "policies": policies.len(), "written": out, "bytes": bundle.len()});
    print(global, &made, |_| {
        let count = match policies.len() {
            1 => "1 policy".to_owned(),
            more => format!("{more} policies"),
        };
        format!("{} with {count} written to {}\n", policies.version(), out.display())
    })
}

/// The same policies with the module out of `built`, which `opa build` made of their bundle; tried before it is written.
fn with_wasm(policies: &PolicySet, built: &Path) -> Result<PolicySet> {
    let archive =
        Archive::read(&read_input(built)?).with_context(|| format!("{} can't be unpacked", built.display()))?;
    let Some(module) = archive.file("policy.wasm") else {
        bail!("{} holds no policy.wasm: make it with opa build -t wasm -e aegis/gate/evaluation", built.display());
    };
    let own = policies.archive(policies.publication());
    if archive.file("data.json").map(serde_json::from_slice::<serde_json::Value>).transpose()?
        != own.file("data.json").map(serde_json::from_slice).transpose()?
    {
        bail!("{} was made of other policies than these: compile them, and have OPA build it again", built.display());
    }
    let options = Options { mode: policies.mode(), engine: Engine::Wasm, ..Options::default() };
    let (policies, _) = PolicySet::from_archive(&own.with("policy.wasm", module.to_vec()), options)?;
    Ok(policies)
}
