//! Findings as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which code hosts show beside the lines.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_core::document::{Diagnostic, Kind, Severity};
use aegis_core::policy::LINTS;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// What has no kind of its own.
static ERROR: Kind = Kind { name: "policy-error", summary: "The policy is refused." };
/// The same of warnings.
static WARNING: Kind =
    Kind { name: "policy-warning", summary: "The policy says something that it probably doesn't mean." };
/// What may stand in the path of a URI as it is (RFC 3986 §3.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The log of one run.
pub(super) fn log(found: &[Diagnostic]) -> Value {
    let kinds = kinds(found);
    let names: Vec<&str> = kinds.keys().copied().collect();
    let results: Vec<Value> = found.iter().map(|diagnostic| result(diagnostic, &names)).collect();
    let described = kinds.values().map(|(Kind { name, summary }, level)| {
        json!({"id": name, "shortDescription": {"text": summary}, "defaultConfiguration": {"level": level}})
    });
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "aegis",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": described.collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// All kinds of findings, by name, each with its level: the lints, and what else was found.
fn kinds(found: &[Diagnostic]) -> BTreeMap<&'static str, (&'static Kind, &'static str)> {
    let lints = LINTS.iter().map(|lint| (*lint, "warning"));
    let others = found.iter().map(|diagnostic| (kind(diagnostic), level(diagnostic)));
    lints.chain(others).map(|(kind, level)| (kind.name, (kind, level))).collect()
}

fn kind(diagnostic: &Diagnostic) -> &'static Kind {
    diagnostic.kind.unwrap_or(match diagnostic.severity {
        Severity::Error => &ERROR,
        Severity::Warning => &WARNING,
    })
}

fn level(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn result(diagnostic: &Diagnostic, names: &[&str]) -> Value {
    let id = kind(diagnostic).name;
    let key = if diagnostic.key.is_empty() { String::new() } else { format!("{}: ", diagnostic.key) };
    let hint = diagnostic.suggestion.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": names.iter().position(|name| *name == id),
        "level": level(diagnostic),
        "message": {"text": format!("{key}{}{hint}", diagnostic.message)},
    });
    // What is about no file has no place.
    if !diagnostic.file.is_empty()
        && let Some(keys) = result.as_object_mut()
    {
        let location = json!({"physicalLocation": {
            "artifactLocation": artifact(Path::new(&diagnostic.file)),
            "region": {"startLine": diagnostic.line, "startColumn": diagnostic.column},
        }});
        keys.insert("locations".to_owned(), json!([location]));
    }
    result
}

/// A file below the current folder is named relative to it, which is what code hosts expect.
fn artifact(file: &Path) -> Value {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_path_buf));
    let path = relative.unwrap_or_else(|| file.to_owned());
    let uri = utf8_percent_encode(&path.to_string_lossy(), PATH).to_string();
    let uri = uri.strip_prefix("./").map(str::to_owned).unwrap_or(uri);
    if path.is_absolute() {
        json!({"uri": format!("file://{uri}")})
    } else {
        json!({"uri": uri, "uriBaseId": "%SRCROOT%"})
    }
}
