//! Which policies a command is about: those of a path, or the configuration's.

use std::path::Path;

use aegis_core::policy::PolicySet;
use anyhow::Result;

use super::load_all;
use crate::cli::Global;
use crate::outcome::invalid;

/// The policies of `path`, or the configuration's where none is named.
pub(super) fn load(path: Option<&Path>, global: &Global) -> Result<PolicySet> {
    let paths: Vec<_> = path.map(Path::to_owned).into_iter().collect();
    load_all(&paths, global)?.map_err(invalid)
}
