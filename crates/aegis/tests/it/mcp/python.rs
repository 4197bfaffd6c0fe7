//! Real clients, the official Python SDK of both generations, against the reference server through the gateway: what is listed, what
//! is refused and read as a result, what waits for a human and then runs.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::conformance::{everything, peer};
use crate::process::{Gateway, eventually};

const POLICY: &str = "agent: bot
actions:
  - {name: everything/test_simple_text}
  - {name: everything/test_x_mcp_header, allowed_region: [eu]}
  - {name: everything/test_tool_with_progress, approval_needed: \"true\"}
";

fn through_aegis(python: &str) -> Vec<Value> {
    let (_server, url) = everything();
    let config = format!("mcp: [{{name: everything, url: \"{url}\"}}]\nlimits: {{hold: 30s}}\n");
    let gateway = Gateway::start(&config, &[("a.yaml", POLICY)]);
    let token = gateway.folder.agent("bot");
    let folder = gateway.folder.clone();
    let approving = std::thread::spawn(move || {
        eventually("it waits", || {
            let pending = folder.json(&["approvals", "list", "--status", "pending"]);
            let Some(id) = pending[0]["id"].as_str() else { return false };
            folder.json(&["approvals", "approve", id]);
            true
        });
    });
    let calls = json!([
        ["test_simple_text", {}],
        ["test_error_handling", {}],
        ["test_x_mcp_header", {"region": "eu"}],
        ["test_x_mcp_header", {"region": "us"}],
        ["test_tool_with_progress", {}],
    ]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp/client.py");
    let endpoint = format!("http://{}/mcp/everything", gateway.address("proxy"));
    let output =
        Command::new(peer(python)).arg(script).args([&endpoint, &token, &calls.to_string()]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
    approving.join().expect("approved");
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn is_as_the_policy_says(said: &[Value]) {
    assert_eq!(said[0]["tools"], json!(["test_simple_text", "test_tool_with_progress", "test_x_mcp_header"]));
    let [text, hidden, eu, us, held] = &said[1..] else { panic!("five calls: {said:?}") };
    assert_eq!(
        (&text["error"], &eu["error"], &held["error"]),
        (&json!(false), &json!(false), &json!(false)),
        "{said:?}"
    );
    for refused in [hidden, us] {
        assert_eq!(refused["error"], true, "{refused}");
        assert!(refused["text"].as_str().is_some_and(|text| text.starts_with("PolicyViolation: ")), "{refused}");
    }
}

#[test]
fn a_client_with_sessions_sees_what_policy_gives_it() {
    is_as_the_policy_says(&through_aegis("mcp-python1"));
}

#[test]
fn a_client_without_sessions_sees_what_policy_gives_it() {
    let said = through_aegis("mcp-python");
    assert_eq!(said[0]["revision"], "2026-07-28");
    is_as_the_policy_says(&said[1..]);
}
