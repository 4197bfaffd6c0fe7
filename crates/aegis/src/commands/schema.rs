//! `aegis schema`: the JSON Schemas of what users write, for editors and other tools.
//!
//! The files under `api/` are the schemas; a test drives the loaders with each key and holds the two together. Draft-07,
//! because that is what `yaml-language-server`, behind most editors, understands best.

use anyhow::Result;

use super::print;
use crate::cli::{Global, SchemaName};

const POLICY: &str = include_str!("../../../../api/policy.schema.json");
const CONFIG: &str = include_str!("../../../../api/config.schema.json");
const TEST: &str = include_str!("../../../../api/test.schema.json");

pub(super) fn run(name: SchemaName, global: &Global) -> Result<()> {
    let text = match name {
        SchemaName::Policy => POLICY,
        SchemaName::Config => CONFIG,
        SchemaName::Test => TEST,
    };
    // JSON either way: as it is written, with `--json` as all commands print it.
    print(global, &serde_json::from_str(text)?, |_| text.to_owned())
}
