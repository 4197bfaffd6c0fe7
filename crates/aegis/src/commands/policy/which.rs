//! Which policies a command is about: those of a folder, a file or a bundle, or the configuration's.

use std::path::Path;

use aegis_core::policy::{Options, PolicySet};
use anyhow::{Context as _, Result};

use crate::cli::Global;
use crate::config::Config;
use crate::load;
use crate::outcome::invalid;

/// What gzip files start with (RFC 1952 §2.3.1); no policy does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The policies of `path`, under the configuration's mode and engine; the configuration's own where none is named.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn load(path: Option<&Path>, global: &Global) -> Result<PolicySet> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let Some(path) = path else { return load::all(&config).map(|(_, policies)| policies).map_err(invalid) };
    let options = Options { engine: config.engine, mode: config.mode };
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
