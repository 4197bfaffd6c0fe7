//! The JSON Schemas say what the loaders read: each key that a loader asks for is in its schema and the other way round, what
//! is good is valid, and most of what is refused is not.

mod editor;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aegis_core::document;
use editor::Editor;
use serde_json::{Value, json};

use crate::process::{Folder, run, stdout, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schema(name: &str) -> Value {
    let output = run(&["schema", name]);
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let committed = std::fs::read(root().join(format!("api/{name}.schema.json"))).expect("committed");
    assert_eq!(printed, serde_json::from_slice::<Value>(&committed).expect("JSON"));
    printed
}

fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("there");
    let nodes = document::parse(&file.display().to_string(), &text).unwrap_or_else(|error| panic!("{error}"));
    nodes.iter().map(document::Node::to_json).collect()
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files
}

/// Where a mapping is: a document that the loader reads up to there, with the key `zzqq` in it, and the schema's part for it.
struct Level {
    schema: &'static str,
    at: &'static str,
    written: Value,
}

fn policy(entry: Value) -> Value {
    let mut entry = entry;
    entry["name"] = json!("deploy");
    json!({"agent": "a", "actions": [entry]})
}

fn levels() -> Vec<Level> {
    let level = |schema, at, written| Level { schema, at, written };
    let bad = || json!({"zzqq": 1});
    let of = |key: &str| json!({"agent": "a", key: bad()});
    let case = |key: &str, value: Value| json!({"cases": [{"case": "c", "agent": "a", "expect": {"decision": "deny"}, key: value}]});
    vec![
        level("policy", "/properties", json!({"agent": "a", "zzqq": 1})),
        level(
            "policy",
            "/definitions/rate/properties",
            json!({"agent": "a", "rate": {"limit": 1, "per": "1s", "zzqq": 1}}),
        ),
        level("policy", "/definitions/egress/properties", of("egress")),
        level("policy", "/definitions/budget/properties", of("budget")),
        level("policy", "/definitions/freeze/properties", json!({"agent": "a", "freezes": [bad()]})),
        level("policy", "/definitions/entry/properties", policy(bad())),
        level("policy", "/definitions/approval/properties", policy(json!({"approval": bad()}))),
        level("policy", "/definitions/sanitize/properties", policy(json!({"sanitize": bad()}))),
        level("policy", "/definitions/image/properties", policy(json!({"allowed_images": [bad()]}))),
        level("config", "/properties", bad()),
        level("config", "/properties/policies/oneOf/1/properties", json!({"policies": bad()})),
        level(
            "config",
            "/properties/policies/oneOf/1/properties/bundle/properties",
            json!({"policies": {"bundle": bad()}}),
        ),
        level("config", "/properties/listen/properties", json!({"listen": bad()})),
        level("config", "/properties/mcp/items/properties", json!({"mcp": [bad()]})),
        level("config", "/properties/mcp/items/properties/map/items/properties", json!({"mcp": [{"map": [bad()]}]})),
        level("config", "/properties/environments/items/properties", json!({"environments": [bad()]})),
        level("config", "/properties/routes/items/properties", json!({"routes": [bad()]})),
        level("config", "/properties/routes/items/properties/tls/properties", json!({"routes": [{"tls": bad()}]})),
        level(
            "config",
            "/properties/routes/items/properties/credential/properties",
            json!({"routes": [{"credential": bad()}]}),
        ),
        level(
            "config",
            "/properties/routes/items/properties/credential/properties/exec/properties",
            json!({"routes": [{"credential": {"exec": bad()}}]}),
        ),
        level(
            "config",
            "/properties/routes/items/properties/credential/properties/header/properties",
            json!({"routes": [{"credential": {"header": bad()}}]}),
        ),
        level(
            "config",
            "/properties/interception/properties/hosts/items/oneOf/1/properties/credential/properties",
            json!({"interception": {"hosts": [{"credential": bad()}]}}),
        ),
        level("config", "/properties/egress/properties", json!({"egress": bad()})),
        level("config", "/properties/interception/properties", json!({"interception": bad()})),
        level(
            "config",
            "/properties/interception/properties/hosts/items/oneOf/1/properties",
            json!({"interception": {"hosts": [bad()]}}),
        ),
        level(
            "config",
            "/properties/interception/properties/ca/oneOf/1/properties",
            json!({"interception": {"hosts": ["a"], "ca": bad()}}),
        ),
        level("config", "/properties/identity/properties", json!({"identity": bad()})),
        level("config", "/properties/session/properties", json!({"session": bad()})),
        level("config", "/properties/decision_api/properties", json!({"decision_api": bad()})),
        level(
            "config",
            "/properties/decision_api/properties/peps/items/properties",
            json!({"decision_api": {"peps": [bad()]}}),
        ),
        level("config", "/properties/telemetry/properties", json!({"telemetry": bad()})),
        level("config", "/properties/telemetry/properties/otlp/properties", json!({"telemetry": {"otlp": bad()}})),
        level("config", "/properties/audit/properties", json!({"audit": bad()})),
        level("config", "/properties/limits/properties", json!({"limits": bad()})),
        level("test", "/properties", json!({"cases": [], "zzqq": 1})),
        level("test", "/definitions/case/properties", case("zzqq", json!(1))),
        level("test", "/definitions/call/properties", case("call", bad())),
        level(
            "test",
            "/definitions/call/properties/destination/properties",
            case("call", json!({"destination": bad()})),
        ),
        level("test", "/definitions/case/properties/request/properties", case("request", bad())),
        level("test", "/definitions/case/properties/session/properties", case("session", bad())),
        level("test", "/definitions/case/properties/expect/properties", case("expect", bad())),
    ]
}

/// Keys that a loader only asks for to refuse them: a schema that has them would complete them.
const REFUSED: [&str; 3] = ["issuers", "export", "approvals"];

/// What the loader says are the valid keys, where it comes upon one that it doesn't know.
fn asked(level: &Level) -> BTreeSet<String> {
    let folder = Folder::with("", &[]);
    let (command, file): (&[&str], &str) = match level.schema {
        "policy" => (&["policy", "check", "--json"], "policies/a.yaml"),
        "test" => (&["policy", "test", "--json"], "policies/a.test.yaml"),
        _ => (&["serve", "--check", "--json"], "aegis.yaml"),
    };
    std::fs::write(folder.path(file), level.written.to_string()).expect("written");
    if level.schema == "test" {
        std::fs::write(folder.path("policies/a.yaml"), "agent: a\nactions: [{name: deploy}]\n").expect("written");
    }
    let output = folder.run(command);
    let said = text(&output);
    let marker = "valid keys: ";
    let list = said.split(marker).nth(1).unwrap_or_else(|| panic!("{} {}: {said}", level.schema, level.at));
    let list = list.split('"').next().unwrap_or_default();
    list.split(", ").map(|key| key.trim().to_owned()).collect()
}

#[test]
fn schemas_and_loaders_know_the_same_keys() {
    let mut differences = Vec::new();
    for level in levels() {
        let schema = schema(level.schema);
        let known = schema.pointer(level.at).and_then(Value::as_object).unwrap_or_else(|| panic!("no {}", level.at));
        let known: BTreeSet<String> = known.keys().cloned().collect();
        let mut asked = asked(&level);
        asked.retain(|key| !REFUSED.contains(&key.as_str()));
        for (only, what) in [(known.difference(&asked), "schema"), (asked.difference(&known), "loader")] {
            differences.extend(only.map(|key| format!("{} {}: only the {what} knows {key}", level.schema, level.at)));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn what_is_good_is_valid_in_an_editor() {
    let mut editor = Editor::start();
    let folder = Folder::new();
    let mut files = yaml_files("policies");
    files.push(folder.path("aegis.yaml"));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("there");
        let schema = match file.file_name().and_then(|name| name.to_str()) {
            Some("aegis.yaml") => "config",
            Some(name) if name.ends_with(".test.yaml") => "test",
            _ => "policy",
        };
        assert_eq!(editor.problems(schema, &text), Vec::<String>::new(), "{}", file.display());
    }
    let mut count = 0;
    for file in yaml_files("conformance/policy") {
        for document in documents(&file) {
            for text in policies_of(&document) {
                assert_eq!(editor.problems("policy", &text), Vec::<String>::new(), "{}: {text}", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 10, "only {count} policies of the conformance cases were looked at");
}

/// The texts and mappings under `policy` and `policies` of a conformance file, wherever they are.
fn policies_of(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = ["policy", "policies"].iter().filter_map(|key| fields.get(*key)).flat_map(|found| match found {
                Value::String(text) => vec![text.clone()],
                Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            });
            own.chain(fields.values().flat_map(policies_of)).collect()
        }
        Value::Array(items) => items.iter().flat_map(policies_of).collect(),
        _ => Vec::new(),
    }
}

/// What the loaders refuse, and a schema can say.
#[test]
fn what_is_bad_is_underlined_in_an_editor() {
    let mut editor = Editor::start();
    let entry = |key: &str, value: Value| (0, policy(json!({key: value})));
    let cases = [
        (0, json!({"actions": [{"name": "deploy"}]})),
        (0, json!({"agent": "a b"})),
        (0, json!({"agent": "a", "mode": "observe"})),
        (0, json!({"agent": "a", "apiVersion": "aegis/v2"})),
        (0, json!({"agent": "a", "actions": [{"nam": "deploy"}]})),
        (0, json!({"agent": "a", "actions": [{"name": "unknown"}]})),
        (0, json!({"agent": "a", "actions": [{"name": "dep*"}]})),
        (0, json!({"agent": "a", "rate": {"limit": 0, "per": "1s"}})),
        (0, json!({"agent": "a", "rate": {"limit": 1, "per": 1}})),
        (0, json!({"agent": "a", "egress": {"allow": ["https://example.com"]}})),
        (0, json!({"agent": "a", "allowed_environments": ["staging"]})),
        entry("allowed_environmets", json!(["staging"])),
        entry("allowed_environments", json!("staging")),
        entry("max_replicas", json!("many")),
        entry("max_env", json!(5)),
        entry("maximum_replicas", json!(5)),
        entry("maxReplicas", json!(5)),
        entry("allowed_images", json!([{"digest": "sha256:12"}])),
        entry("allowed_images", json!(["sha256:12"])),
        entry("approval_needed", json!(5)),
        entry("approval", json!({"expires": "5 minutes"})),
        entry("on_violation", json!({"max_replicas": "ask"})),
        entry("on_violation", json!({"replicas": "deny"})),
        entry("daily_budget", json!(50)),
        entry("budget", json!({"yearly": "50 USD"})),
        entry("sanitize", json!({"detect": ["every thing"]})),
        (1, json!({"mode": "enfroce"})),
        (1, json!({"routs": []})),
        (1, json!({"routes": [{"name": "a b", "upstream": "https://x"}]})),
        (1, json!({"routes": [{"name": "a", "upstream": "x"}]})),
        (
            1,
            json!({"routes": [{"name": "a", "upstream": "https://x", "credential": {"bearer": "a", "basic": {"user": "a", "password": "b"}}}]}),
        ),
        (1, json!({"limits": {"connections": 0}})),
        (1, json!({"audit": {"calls": "7 days"}})),
        (1, json!({"environments": [{"match": {}, "env": "staging"}]})),
        (2, json!({"cases": [{"case": "a", "agent": "b", "expect": {"decision": "deny"}}]})),
        (2, json!({"cases": [{"case": "a", "agent": "b", "call": {"tool": "a"}, "expect": {"decision": "deny"}}]})),
        (
            2,
            json!({"cases": [{"case": "a", "agent": "b", "call": {"tool": "a", "action": "b"}, "expect": {"decision": "denied"}}]}),
        ),
    ];
    for (schema, document) in cases {
        let schema = ["policy", "config", "test"][schema];
        assert_ne!(
            editor.problems(schema, &document.to_string()),
            Vec::<String>::new(),
            "nothing is wrong with {document}"
        );
    }
    let text = "agent: a\nactions:\n  - name: deploy\n    allowed_environmets: [staging]\n";
    let problems = editor.problems("policy", text);
    assert!(problems.iter().any(|problem| problem.contains("allowed_environmets")), "{problems:?}");
}

#[test]
fn an_editor_completes_keys_and_says_what_they_mean() {
    let mut editor = Editor::start();
    let offered = editor.completions("policy", "agent: a\nactions:\n  - name: deploy\n    all");
    let (key, described) = ("allowed_environments", "The environments in which it is allowed");
    assert!(offered.get(key).is_some_and(|text| text.contains(described)), "{offered:#?}");
    let offered = editor.completions("config", "audit:\n  ca");
    assert!(offered.get("calls").is_some_and(|text| text.contains("aegis policy replay")), "{offered:#?}");
    let offered = editor.completions("policy", "agent: a\nmode: ");
    assert!(offered.contains_key("shadow"), "{offered:#?}");
}

#[test]
fn each_schema_is_described_throughout() {
    for name in ["policy", "config", "test"] {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let properties = schema["properties"].as_object().expect("properties");
        let definitions = &schema["definitions"];
        for (key, property) in properties {
            let described = property.get("description").or_else(|| {
                let definition = property["$ref"].as_str()?.rsplit('/').next()?;
                definitions[definition].get("description")
            });
            assert!(described.is_some(), "{name}: {key} has no description");
        }
    }
    assert!(stdout(&run(&["schema", "--help"])).contains("yaml-language-server"));
}
