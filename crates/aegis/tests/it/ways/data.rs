//! The table's files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The operator's own definitions.
    #[serde(default)]
    pub(super) tools: Option<String>,
    /// The host that the agent names, where it can.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// More keys of the route that leads there.
    #[serde(default)]
    pub(super) route: Map<String, Value>,
    pub(super) environments: String,
    pub(super) policies: String,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) case: String,
    pub(super) request: Request,
    #[serde(default)]
    pub(super) call: Option<Call>,
    pub(super) expect: Expect,
    #[serde(default)]
    pub(super) approved: Option<Expect>,
    #[serde(default)]
    pub(super) reaches: Option<String>,
    #[serde(default)]
    pub(super) only: Vec<String>,
    /// What is expected of ways that can't carry all of it, and say so.
    #[serde(default)]
    pub(super) instead: Vec<Instead>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instead {
    pub(super) ways: Vec<String>,
    pub(super) expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: Option<String>,
}

/// A call by its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) tool: String,
    pub(super) action: String,
    pub(super) params: Map<String, Value>,
}

/// What its record says.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) decision: String,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// Each as `[rule, reason, param]`.
    #[serde(default)]
    pub(super) violations: Vec<Value>,
    #[serde(default)]
    pub(super) tool: Option<String>,
    #[serde(default)]
    pub(super) action: Option<String>,
    #[serde(default)]
    pub(super) env: Option<String>,
}

/// Every file, by its name.
pub(super) fn files() -> Vec<(String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/ways");
    let entries = std::fs::read_dir(&folder).expect("the table").map(|entry| entry.expect("a file").path());
    let mut files: Vec<(String, File)> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("text");
            let documents = aegis_core::document::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
            let file = serde_json::from_value(documents[0].to_json()).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, file)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!files.is_empty(), "no file in {}", folder.display());
    files
}
