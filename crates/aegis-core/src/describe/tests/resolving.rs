//! What only the tool can say: asked for, put where it belongs, and never guessed.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{request, route, upstream};
use crate::call::{Body, Presence, Shape, ToolCall};
use crate::describe::{Answers, Arrival, Catalogue, Described, Question};
use crate::document;
use crate::policy::Source;

const FORGE: &str = r#"
apiVersion: aegis/v1
tool: forge
actions:
- action: dispatch
  effect: exec
  match: {method: POST, path: "/repos/{owner}/{repo}/workflows/{id}/dispatches"}
  decode: [json]
  params: {ref: {pointer: /ref}, run: {text: "{workflow}@{ref}"}}
  resolve:
  - get: "/repos/{owner}/{repo}/workflows/{id}"
    facts: {workflow: /path}
    params: {workflow: /path, labels: "/labels/*"}
  - get: "/files/{workflow+}?of={repo}"
    facts: {stage: /stage}
- action: pull
  effect: read
  match: {method: GET, path: "/v2/{name+}/manifests/{reference}"}
  params: {image: {text: "{host}/{name}@{digest}", type: image}}
  resolve:
  - head: "/v2/{name+}/manifests/{reference}"
    accept: [application/x.index+json, application/x.manifest+json]
    params: {digest: {header: Docker-Content-Digest}}
- action: apply
  effect: write
  match: {method: [PUT, POST], path: "/objects/{name}"}
  decode: [json]
  params: {replicas: {pointer: /replicas, type: int}}
  resolve: [{trial: dryRun=All}]
"#;

const ENVIRONMENTS: &str = r#"
- {match: {tool: forge, stage: live}, env: production}
- {match: {tool: forge, workflow: "*/check.yml"}, env: staging}
- {match: {tool: forge}, env: development}
"#;

fn catalogue() -> Catalogue {
    let source = Source { file: "t.yaml".to_owned(), text: FORGE.to_owned() };
    let environments = document::parse("aegis.yaml", ENVIRONMENTS).expect("YAML");
    Catalogue::load(&[source], Some(("aegis.yaml", &environments[0])))
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn dispatch(answers: &Answers) -> Described {
    dispatch_to("/repos/acme/web/workflows/77/dispatches", answers)
}

fn dispatch_to(path: &str, answers: &Answers) -> Described {
    let sent = request("POST", path, &[("content-type", "application/json"), ("x-mine", "1")], br#"{"ref":"main"}"#);
    catalogue().describe_with(&route("forge"), sent, answers).expect("a call")
}

fn asked(question: &Question, call: &ToolCall) -> String {
    let crate::call::Payload::Http(of) = &call.payload else { panic!("HTTP") };
    let request = question.request(of);
    format!("{} {}", request.method, request.target)
}

fn answer(question: &Question, body: Value) -> Result<crate::describe::Answer, String> {
    question.read(&HeaderMap::new(), body.to_string().as_bytes())
}

#[test]
fn an_id_becomes_a_name_and_a_name_leads_further() {
    let mut answers = Answers::default();
    let first = dispatch(&answers);
    assert_eq!(first.call.environment.name, "unknown");
    let [question] = &first.open[..] else { panic!("one question: {:?}", first.open) };
    assert_eq!(asked(question, &first.call), "GET /repos/acme/web/workflows/77");
    let found = json!({"path": ".ci/check.yml", "labels": ["a", "b"], "id": 77});
    answers.add(question.clone(), answer(question, found));

    let second = dispatch(&answers);
    assert_eq!(second.call.environment.name, "unknown", "the first line looks at a stage that isn't known yet");
    let [question] = &second.open[..] else { panic!("one question: {:?}", second.open) };
    assert_eq!(asked(question, &second.call), "GET /files/.ci/check.yml?of=web");
    answers.add(question.clone(), answer(question, json!({"stage": 1})));

    let last = dispatch(&answers);
    assert!(last.open.is_empty());
    assert_eq!(last.call.environment.name, "staging");
    assert_eq!(last.call.target["workflow"], ".ci/check.yml");
    assert_eq!(last.call.target["stage"], "1");
    let params = json!({"ref": "main", "workflow": ".ci/check.yml", "labels": ["a", "b"], "run": ".ci/check.yml@main"});
    assert_eq!(Value::Object(last.call.params), params);
    let resolution = question.resolution(true, None);
    assert_eq!((resolution.asked.as_str(), resolution.cached), ("GET /files/{workflow+}?of={repo}", true));
}

#[test]
fn what_is_not_answered_is_missing_and_its_environment_unknown() {
    let mut answers = Answers::default();
    let first = dispatch(&answers);
    let question = first.open[0].clone();
    for body in [json!({}), json!({"path": null, "labels": ["a"]}), json!({"path": "a", "labels": []}), json!([1])] {
        assert!(answer(&question, body.clone()).is_err(), "{body}");
    }
    for unreadable in
        ["", "{", "{\"path\":\"a\",\"path\":\"b\",\"labels\":[1]}", "{\"path\":\"a\",\"Path\":\"b\",\"labels\":[1]}"]
    {
        assert!(question.read(&HeaderMap::new(), unreadable.as_bytes()).is_err(), "{unreadable}");
    }
    let long = json!({"path": "a".repeat(3000), "labels": ["a"]});
    assert!(answer(&question, long).is_err_and(|why| !why.contains("aaa")));
    answers.add(question, Err("the tool answered 404".to_owned()));
    let failed = dispatch(&answers);
    assert!(failed.open.is_empty(), "what depends on it can't be asked");
    assert_eq!(failed.call.environment.name, "unknown", "not the line that is for the whole tool");
    assert_eq!(Value::Object(failed.call.params), json!({"ref": "main"}));
    let Shape::Defined(shape) = failed.call.shape else { panic!("defined") };
    let required = |name: &str| shape.get(name) == Some(&Presence::Required);
    assert!(required("workflow") && required("labels") && required("run"), "{shape:?}");
}

#[test]
fn a_fact_that_is_an_object_or_a_list_is_no_fact() {
    let mut answers = Answers::default();
    let question = dispatch(&answers).open[0].clone();
    answers.add(question.clone(), answer(&question, json!({"path": {"a": 1}, "labels": ["a"]})));
    let described = dispatch(&answers);
    assert!(described.open.is_empty());
    assert_eq!(described.call.environment.name, "unknown");
    assert!(!described.call.target.contains_key("workflow"));
}

#[test]
fn a_value_leads_nowhere_else() {
    let open = |path: &str| dispatch_to(path, &Answers::default());
    let of = |path: &str| {
        let described = open(path);
        described.open.first().map(|question| asked(question, &described.call))
    };
    assert_eq!(
        of("/repos/a%3Fb/w%23/workflows/7%2B7/dispatches").as_deref(),
        Some("GET /repos/a%3Fb/w%23/workflows/7%2B7")
    );
    let mut answers = Answers::default();
    let first = open("/repos/acme/web/workflows/77/dispatches");
    for hostile in ["../secrets", "a//b", "a/./b", "/", "", "a\u{0}b", "a\\b", "a;b", "a%2e%2e"] {
        let question = first.open[0].clone();
        answers.add(question.clone(), answer(&question, json!({"path": hostile, "labels": ["a"]})));
        let described = dispatch(&answers);
        let targets: Vec<String> = described.open.iter().map(|question| asked(question, &described.call)).collect();
        assert!(targets.iter().all(|target| target == "GET /files/a%252e%252e?of=web"), "{hostile}: {targets:?}");
        answers = Answers::default();
    }
}

#[test]
fn a_tag_becomes_a_digest_by_head_with_all_media_types() {
    let describe = |answers: &Answers| {
        catalogue().describe_with(&route("forge"), request("GET", "/v2/team/web/manifests/v1", &[], b""), answers)
    };
    let mut answers = Answers::default();
    let first = describe(&answers).expect("a call");
    assert!(first.call.images.is_empty());
    let crate::call::Payload::Http(of) = &first.call.payload else { panic!("HTTP") };
    let sent = first.open[0].request(of);
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("HEAD", "/v2/team/web/manifests/v1"));
    assert_eq!(sent.headers["accept"], "application/x.index+json, application/x.manifest+json");
    let mut headers = HeaderMap::new();
    assert!(first.open[0].read(&headers, b"").is_err());
    let digest = format!("sha256:{}", "a".repeat(64));
    headers.insert("docker-content-digest", digest.parse().expect("a value"));
    answers.add(first.open[0].clone(), first.open[0].read(&headers, b""));
    let call = describe(&answers).expect("a call").call;
    assert_eq!(call.images[0].digest.as_deref(), Some(digest.as_str()));
    assert_eq!(call.params["image"], format!("10.0.0.1/team/web@{digest}"));
}

#[test]
fn a_change_that_cannot_be_read_is_tried() {
    let describe = |target: &str, answers: &Answers| {
        let sent = request("PUT", target, &[("content-type", "application/x-binary"), ("x-mine", "1")], b"\x00\x01");
        catalogue().describe_with(&route("forge"), sent, answers).expect("a call")
    };
    let first = describe("/objects/web?force=1", &Answers::default());
    assert_eq!(first.call.action, "unknown");
    let [question] = &first.open[..] else { panic!("one question") };
    let crate::call::Payload::Http(of) = &first.call.payload else { panic!("HTTP") };
    let sent = question.request(of);
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("PUT", "/objects/web?force=1&dryRun=All"));
    assert_eq!(sent.headers["content-type"], "application/x-binary");
    assert!(!sent.headers.contains_key("x-mine"));
    assert_eq!(sent.body, Body::Whole(bytes::Bytes::from_static(b"\x00\x01")));
    assert!(question.is_of_one_call() && question.accepts(StatusCode::CREATED));

    let mut answers = Answers::default();
    answers.add(question.clone(), question.read(&HeaderMap::new(), br#"{"replicas": 3, "name": "web"}"#));
    let known = describe("/objects/web?force=1", &answers).call;
    assert_eq!((known.action.as_str(), &known.params["replicas"]), ("apply", &json!(3)));
    assert_eq!(describe("/objects/web?force=2", &answers).open.len(), 1, "of another call");

    let mut answers = Answers::default();
    answers.add(question.clone(), Err("the tool answered 422".to_owned()));
    let refused = describe("/objects/web?force=1", &answers);
    assert!(refused.call.target["unknown_because"].ends_with("the tool answered 422"));
    let other = describe("/objects/web?dryRun=Some", &Answers::default());
    assert_eq!((other.call.action.as_str(), other.open.len()), ("unknown", 0));
    // What can be read isn't tried.
    let plain = request("PUT", "/objects/web", &[("content-type", "application/json")], b"{}");
    assert!(catalogue().describe_with(&route("forge"), plain, &Answers::default()).expect("a call").open.is_empty());
}

#[test]
fn a_call_by_name_is_what_it_says_and_else_unknown() {
    let named = |params: Value| {
        let Value::Object(params) = params else { panic!("an object") };
        catalogue().describe_named("forge", "dispatch", params, BTreeMap::new())
    };
    assert_eq!(named(json!({"ref": "main"})).environment.name, "unknown");
    let said = named(json!({"ref": "main", "workflow": "a/check.yml", "stage": "none"}));
    assert_eq!(said.environment.name, "staging");
    assert_eq!(named(json!({"workflow": "x", "stage": "none"})).environment.name, "development");
    assert_eq!(named(Value::Object(Map::new())).environment.name, "unknown");
}

#[test]
fn on_the_proxy_too_the_question_is_only_left_open() {
    let destination = upstream("forge.test");
    let arrival = Arrival::Intercepted { destination: &destination, tool: Some("forge"), cluster: None };
    let sent = request("POST", "/repos/a/b/workflows/1/dispatches", &[("content-type", "application/json")], b"{}");
    let described = catalogue().describe_with(&arrival, sent, &Answers::default()).expect("a call");
    assert_eq!(described.open.len(), 1);
}

#[test]
fn what_a_question_cannot_be_is_said_when_it_is_loaded() {
    for (resolve, message) in [
        (r#"[{get: "/a/{nobody}", facts: {b: /b}}]"#, "nothing before is named \"nobody\""),
        (r#"[{get: "/a/{id}", facts: {id: /b}}]"#, "\"id\" is known already"),
        (r#"[{get: "/a/{id}", facts: {host: /b}}]"#, "\"host\" is known already"),
        (r#"[{get: "/a/{id}", facts: {b: /b}, params: {b: /c}}]"#, "\"b\" is known already"),
        (r#"[{get: "/a/{id}"}]"#, "needs `facts` or `params`"),
        (r#"[{get: "/a", head: "/a", facts: {b: /b}}]"#, "exactly one of"),
        (r#"[{head: "/a", facts: {b: /b}}]"#, "headers only"),
        (r#"[{get: "a", facts: {b: /b}}]"#, "starts with `/`"),
        (r#"[{get: "/a/{id", facts: {b: /b}}]"#, "without a `}`"),
        (r#"[{get: "/a", facts: {b: {pointer: /b, header: c}}}]"#, "expected a JSON Pointer"),
        (r#"[{get: "/a", method: POST, facts: {b: /b}}]"#, "unknown key"),
        (r#"[{trial: "x y"}]"#, "expected a query"),
        (r#"[{trial: a=b}, {trial: c=d}]"#, "there is one `trial`"),
    ] {
        let text = format!(
            "apiVersion: aegis/v1\ntool: t\nactions:\n- action: a\n  effect: write\n  match: {{path: \"/x/{{id}}\"}}\n  decode: [json]\n  resolve: {resolve}\n"
        );
        let source = Source { file: "t.yaml".to_owned(), text };
        let errors = Catalogue::load(&[source], None).expect_err(resolve);
        assert!(errors.iter().any(|error| error.to_string().contains(message)), "{resolve}: {errors:?}");
    }
}
