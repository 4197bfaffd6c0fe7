//! A workflow is known by its file, whichever way a call names it.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{catalogue, request, route};
use crate::call::ToolCall;
use crate::describe::{Answers, Question};

fn asked(question: &Question, call: &ToolCall) -> String {
    let crate::call::Payload::Http(of) = &call.payload else { panic!("HTTP") };
    question.request(of).target.to_string()
}

/// A call of this path, and what was asked, where each question is answered with the next of `answers`.
fn described(path: &str, answers: &[Value]) -> (ToolCall, Vec<String>) {
    let (mut known, mut targets) = (Answers::default(), Vec::new());
    let mut answers = answers.iter();
    loop {
        let sent = request("POST", path, &[("content-type", "application/json")], br#"{"ref":"main"}"#);
        let described = catalogue("").describe_with(&route("github"), sent, &known).expect("a call");
        let Some(question) = described.open.first() else { return (described.call, targets) };
        targets.push(asked(question, &described.call));
        let body = answers.next().expect("no more questions").to_string();
        known.add(question.clone(), question.read(&HeaderMap::new(), body.as_bytes()));
    }
}

fn file(path: &str) -> Value {
    json!({"id": 77, "name": "Deploy", "path": path, "state": "active"})
}

#[test]
fn a_number_is_the_file_that_github_says() {
    let (call, asked) =
        described("/repos/Acme/web/actions/workflows/77/dispatches", &[file(".github/workflows/a.yml")]);
    assert_eq!(asked, ["/repos/acme/web/actions/workflows/77"]);
    assert_eq!((call.params["workflow"].as_str(), call.target["workflow"].as_str()), (Some("a.yml"), "a.yml"));
    // On an Enterprise Server the question has the call's prefix too.
    let (_, asked) =
        described("/api/v3/repos/acme/web/actions/workflows/77/dispatches", &[file(".github/workflows/a.yml")]);
    assert_eq!(asked, ["/api/v3/repos/acme/web/actions/workflows/77"]);
    let (call, asked) = described("/repos/acme/web/actions/workflows/a.yml/dispatches", &[]);
    assert_eq!((call.params["workflow"].as_str(), asked.len()), (Some("a.yml"), 0));
}

#[test]
fn a_run_and_a_job_lead_to_the_file_of_their_workflow() {
    let run = json!({"id": 5, "workflow_id": 77, "path": ".github/workflows/other.yml@main"});
    let (call, asked) =
        described("/repos/acme/web/actions/runs/5/rerun", &[run.clone(), file(".github/workflows/a.yml")]);
    assert_eq!(asked, ["/repos/acme/web/actions/runs/5", "/repos/acme/web/actions/workflows/77"]);
    assert_eq!((call.action.as_str(), call.params["workflow"].as_str()), ("rerun_workflow", Some("a.yml")));
    let answers = [json!({"id": 9, "run_id": 5}), run, file(".github/workflows/a.yaml")];
    let (call, asked) = described("/repos/acme/web/actions/jobs/9/rerun", &answers);
    assert_eq!((asked.len(), call.params["workflow"].as_str()), (3, Some("a.yaml")));
}

#[test]
fn what_is_no_file_of_the_repositorys_own_is_not_learned() {
    for path in [
        "dynamic/pages/a.yml",
        "acme/other/.github/workflows/a.yml",
        ".github/workflows/a.yml@main",
        ".github/workflows/",
        "a.yml",
        "",
    ] {
        let (call, _) = described("/repos/acme/web/actions/workflows/77/dispatches", &[file(path)]);
        assert!(!call.params.contains_key("workflow") && !call.target.contains_key("workflow"), "{path}");
    }
    let (call, _) = described("/repos/acme/web/actions/workflows/77/dispatches", &[json!({"path": 1})]);
    assert!(!call.params.contains_key("workflow"));
}

#[test]
fn a_call_by_name_says_the_file_or_is_not_known() {
    let named = |workflow: Value| {
        let params = Map::from_iter([("workflow".to_owned(), workflow), ("ref".to_owned(), "main".into())]);
        catalogue("").describe_named("github", "trigger_workflow", params, Default::default())
    };
    let call = named("deploy.yml".into());
    assert_eq!((call.action.as_str(), call.params["workflow"].as_str()), ("trigger_workflow", Some("deploy.yml")));
    for other in [json!("77"), json!(77), json!(["deploy.yml"])] {
        let call = named(other.clone());
        assert_eq!(call.action, ToolCall::UNKNOWN, "{other}");
        assert_eq!(call.target["unknown_because"], "workflow isn't written as the tool itself says it", "{other}");
    }
    let bare = catalogue("").describe_named("github", "trigger_workflow", Map::new(), Default::default());
    assert_eq!(bare.action, "trigger_workflow", "an MCP server's list has to be able to ask for it");
}
