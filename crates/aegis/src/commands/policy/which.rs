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

/// Policies, and the modes that operators have switched some of them to.
pub(super) struct Which {
    pub(super) policies: PolicySet,
    pub(super) switched: BTreeMap<String, Mode>,
}

/// The policies of `path` (or the version of that name, where there is no such file), under the configuration's mode; the
/// configuration's own where none is named. Files are taken with the `switched` modes, as the gateway takes them; a version
/// has its own, and a bundle none.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn load(path: Option<&Path>, switched: BTreeMap<String, Mode>, global: &Global) -> Result<Which> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let as_they_are = |policies| Which { policies, switched: BTreeMap::new() };
    let path = match (path, &config.bundle) {
        (Some(path), _) => path,
        (None, None) => &config.policies,
        (None, Some(_)) => return load::all(&config).map(|(_, policies)| as_they_are(policies)).map_err(invalid),
    };
    if let Some(version) = path.to_str().filter(|text| text.starts_with(VERSION) && !path.exists()) {
        return kept(Some(version), &config, global);
    }
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        if bytes.starts_with(&GZIP) {
            let bundle = PolicySet::from_bundle(&bytes, load::options(&config));
            let (policies, _) = bundle.with_context(|| format!("{} can't be used as a bundle", path.display()))?;
            return Ok(as_they_are(policies));
        }
    }
    let sources = load::sources(&[path.to_owned()], "policies").map_err(invalid)?;
    let catalogue = load::catalogue(&config).map_err(invalid)?;
    let options = Options { mode: config.mode, modes: switched.clone(), ..Options::default() };
    let policies = load::policies(&sources, options, &catalogue.defined()).map_err(invalid)?;
    Ok(Which { policies, switched })
}

/// The policies that are in force, by the gateway that runs, or the one that is stopped.
///
/// # Errors
/// When there are none, or they can't be had.
pub(super) fn in_force(global: &Global) -> Result<Which> {
    kept(None, &Config::load(global.config.as_deref()).map_err(invalid)?, global)
}

/// A version that the gateway keeps; the one in force where none is named.
fn kept(version: Option<&str>, config: &Config, global: &Global) -> Result<Which> {
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
    let switched: BTreeMap<String, Mode> =
        serde_json::from_value(part("modes")).context("a version without its modes")?;
    let options = Options { mode: config.mode, modes: switched.clone(), ..Options::default() };
    let policies = PolicySet::load(&sources, options).map_err(invalid)?;
    if sources.is_empty() && policies.version() != version {
        bail!("{version} is a bundle of nothing but Rego, which has no files: name the bundle itself");
    }
    Ok(Which { policies, switched })
}
