//! Which policies a command is about: those of a folder, a file, a bundle or a version that the gateway keeps; or the
//! configuration's.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_core::policy::{Mode, Options, PolicySet, Source};
use anyhow::{Context as _, Result, bail};
use http::Method;
use serde_json::Value;

use crate::cli::Global;
use crate::commands::operate;
use crate::config::Config;
use crate::load;
use crate::operator::segment;
use crate::outcome::invalid;

/// What gzip files start with (RFC 1952 §2.3.1); no policy does.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What a version's name starts with.
const VERSION: &str = "pol_";

/// The policies of `path` (or the version of that name, where there is no such file), under the configuration's mode and
/// engine; the configuration's own where none is named.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn load(path: Option<&Path>, global: &Global) -> Result<PolicySet> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let Some(path) = path else { return load::all(&config).map(|(_, policies)| policies).map_err(invalid) };
    if let Some(version) = path.to_str().filter(|text| text.starts_with(VERSION) && !path.exists()) {
        return kept(Some(version), &config, global);
    }
    let options = options(&config);
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        if bytes.starts_with(&GZIP) {
            let bundle = PolicySet::from_bundle(&bytes, options);
            let (policies, _) = bundle.with_context(|| format!("{} can't be used as a bundle", path.display()))?;
            return Ok(policies);
        }
    }
    let sources = load::sources(&[path.to_owned()], "policies").map_err(invalid)?;
    let catalogue = load::catalogue(&config).map_err(invalid)?;
    load::policies(&sources, options, &catalogue.defined()).map_err(invalid)
}

/// The policies that are in force, by the gateway that runs, or the one that is stopped.
///
/// # Errors
/// When there are none, or they can't be had.
pub(super) fn in_force(global: &Global) -> Result<PolicySet> {
    kept(None, &Config::load(global.config.as_deref()).map_err(invalid)?, global)
}

fn options(config: &Config) -> Options {
    Options { engine: config.engine, mode: config.mode, ..Options::default() }
}

/// A version that the gateway keeps; the one in force where none is named.
fn kept(version: Option<&str>, config: &Config, global: &Global) -> Result<PolicySet> {
    let mut found = (String::new(), Value::Null);
    operate(global, async |operator| {
        let version = match version {
            Some(version) => version.to_owned(),
            None => {
                let status = operator.call(Method::GET, "/v1/policies", None).await?;
                let version = status.pointer("/active/version").and_then(Value::as_str).map(str::to_owned);
                version.context("no policies are in force: name what to compare with")?
            }
        };
        let path = format!("/v1/policies/{}?source=true", segment(&version));
        found = (version, operator.call(Method::GET, &path, None).await?);
        Ok(())
    })?;
    let (version, document) = found;
    let part = |key: &str| document.get(key).cloned().unwrap_or_default();
    let sources: Vec<Source> = serde_json::from_value(part("sources")).context("a version without its files")?;
    let modes: BTreeMap<String, Mode> = serde_json::from_value(part("modes")).context("a version without its modes")?;
    let policies = PolicySet::load(&sources, Options { modes, ..options(config) }).map_err(invalid)?;
    if sources.is_empty() && policies.version() != version {
        bail!("{version} is a bundle of nothing but Rego, which has no files: name the bundle itself");
    }
    Ok(policies)
}
