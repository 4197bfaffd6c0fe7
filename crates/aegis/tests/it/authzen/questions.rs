//! What an agent that enforces may expect: the same decision as by any other way in, and no yes that it can't obey.

use std::process::Command;

use serde_json::{Value, json};

use super::{Client, tool, try_send};
use crate::process::{Folder, Gateway, eventually};

const POLICY: &str = r#"agent: deploy-manager
daily_budget: 3 requests
actions:
  - name: deploy
    allowed_environments: [staging]
    approval_needed: env == "production"
    max_replicas: 50
---
agent: scribe
actions:
  - name: note
    sanitize: {detect: [pii], params: [params.text]}
"#;

const CONFIG: &str = "environments:\n  - {match: {tool: deploy, param: {environment: prod}}, env: production}\n  \
    - {match: {tool: deploy, param: {environment: staging}}, env: staging}\n";

fn start() -> (Gateway, Client, Client) {
    let gateway = Gateway::start(CONFIG, &[("policy.yaml", POLICY)]);
    let (deployer, scribe) = (gateway.folder.agent("deploy-manager"), gateway.folder.agent("scribe"));
    let clients = (Client::of(&gateway, &deployer), Client::of(&gateway, &scribe));
    (gateway, clients.0, clients.1)
}

fn deploy(arguments: Value) -> Value {
    tool("deploy-manager", "deploy", arguments)
}

#[test]
fn a_tools_call_gets_the_decision_and_the_problem_that_every_way_in_gives() {
    let (gateway, client, _) = start();
    let answer = client.post("/access/v1/evaluation", &deploy(json!({"environment": "staging", "replicas": 50})));
    assert_eq!(answer.header("aegis-decision"), "allow");
    let (id, version) =
        (answer.header("aegis-decision-id").to_owned(), answer.header("aegis-policy-version").to_owned());
    let document = answer.json();
    assert_eq!((&document["decision"], &document["context"]["evaluation_id"]), (&true.into(), &id.clone().into()));
    assert_eq!(document["context"]["policy_version"], version);

    let denied = client.ask(&deploy(json!({"environment": "staging", "replicas": 200})));
    let context = &denied["context"];
    assert_eq!(denied["decision"], false);
    assert_eq!(
        (&context["code"], &context["reason"]),
        (&"PolicyViolation".into(), &"max_replicas: above_maximum".into())
    );
    assert_eq!(context["violations"][0]["limit"], 50, "{context}");
    assert_eq!(context["retryable"], false);
    let missing = client.ask(&deploy(json!({"environment": "staging"})));
    assert_eq!(missing["context"]["reason"], "max_replicas: missing");
    let unnamed = client.ask(&tool("deploy-manager", "rm", json!({})));
    assert_eq!(unnamed["context"]["violations"][0]["rule"], "default_deny", "{unnamed}");

    let records = gateway.folder.decisions("deploy-manager");
    assert_eq!(records.len(), 4);
    assert_eq!((&records[0]["decision_id"], &records[0]["via"]), (&id.into(), &"authzen".into()));
}

#[test]
fn an_unreadable_question_is_refused_and_on_record_and_credentials_come_first() {
    let (gateway, client, _) = start();
    let unnameable = json!({
        "subject": {"type": "agent", "id": "deploy-manager"},
        "action": {"name": "read all"},
        "resource": {"type": "todo", "id": "1"},
    });
    let answer = client.ask(&unnameable);
    assert_eq!((&answer["decision"], &answer["context"]["reason"]), (&false.into(), &"request: unnameable".into()));
    assert_eq!(client.post("/access/v1/evaluation", &json!({})).status, 400);
    let reasons: Vec<_> = gateway.folder.decisions("deploy-manager").iter().map(|r| r["reason"].clone()).collect();
    assert_eq!(reasons, ["request: unnameable", "request: missing_field"]);

    let operator = std::fs::read_to_string(gateway.folder.path("aegis-data/operator.token")).expect("a token");
    let bearers = ["", "Bearer nonsense", "Basic YTpi", &format!("Bearer {}", operator.trim())].map(str::to_owned);
    for path in ["/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/requests"] {
        for bearer in &bearers {
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            let headers = if bearer.is_empty() { &headers[1..] } else { &headers[..] };
            let answer = try_send(client.api, "POST", path, headers, "not even JSON").expect("an answer");
            assert_eq!((answer.status, &answer.json()["code"]), (401, &"IdentityRejected".into()), "{path} {bearer}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"aegis\"");
        }
    }
    // `Aegis-Token` is as good, and two credentials are none.
    let body = deploy(json!({"environment": "staging", "replicas": 1})).to_string();
    let (token, kind) = (("Aegis-Token", client.token.as_str()), ("Content-Type", "application/json"));
    assert_eq!(
        try_send(client.api, "POST", "/access/v1/evaluation", &[token, kind], &body).expect("an answer").status,
        200
    );
    let twice = try_send(client.api, "POST", "/access/v1/evaluation", &[token, token, kind], &body).expect("an answer");
    assert_eq!(twice.status, 401);
}

#[test]
fn a_rewrite_is_an_obligation_for_whoever_can_do_it_and_a_no_for_everybody_else() {
    let (gateway, _, scribe) = start();
    let address = format!("{}@{}", "jane.doe", "example.com");
    let arguments = json!({"text": format!("ask {address} about it"), "title": "x"});
    let mut question = tool("scribe", "note", arguments);

    let refused = scribe.ask(&question);
    assert_eq!(
        (&refused["decision"], &refused["context"]["reason"]),
        (&false.into(), &"obligation_unsupported".into())
    );
    assert!(refused["context"].get("obligations").is_none());
    question["context"] = json!({"supported_obligations": ["step-up"]});
    assert_eq!(scribe.ask(&question)["decision"], false);

    question["context"] = json!({"supported_obligations": ["custom"]});
    let answer = scribe.ask(&question);
    assert_eq!((&answer["decision"], &answer["context"]["decision"]), (&true.into(), &"sanitize".into()), "{answer}");
    let [obligation] = answer["context"]["obligations"].as_array().expect("obligations").as_slice() else {
        panic!("one")
    };
    let properties = &obligation["properties"];
    assert_eq!((&obligation["type"], &properties["vendor"]), (&"custom".into(), &"aegis".into()));
    assert_eq!(properties["action"], "replace_arguments");
    let text = properties["arguments"]["text"].as_str().expect("text");
    assert!(text.starts_with("ask ") && text.ends_with(" about it") && !text.contains("jane"), "{text}");
    assert_eq!(properties["arguments"]["title"], "x");
    // What needs no rewriting needs no obligation.
    let plain = scribe.ask(&tool("scribe", "note", json!({"text": "nothing"})));
    assert_eq!((&plain["decision"], &plain["context"]["decision"]), (&true.into(), &"allow".into()), "{plain}");

    let decisions: Vec<_> = gateway.folder.decisions("scribe").iter().map(|r| r["decision"].clone()).collect();
    assert_eq!(decisions, ["deny", "deny", "sanitize", "allow"]);
    assert!(!gateway.folder.records().iter().any(|record| record.to_string().contains("jane")));
}

#[test]
fn the_same_call_is_asked_about_twice_and_spends_once() {
    let (gateway, client, _) = start();
    let question = |call: &str, replicas: u32| {
        let mut question = deploy(json!({"environment": "staging", "replicas": replicas}));
        question["context"] = json!({"session_id": "s1", "call_id": call});
        question
    };
    let first = client.ask(&question("c1", 1));
    assert_eq!(first["decision"], true);
    for _ in 0..5 {
        assert_eq!(client.ask(&question("c1", 1)), first, "three requests a day, and this is the same one");
    }
    let other = client.ask(&question("c1", 2));
    assert_eq!((&other["decision"], &other["context"]["reason"]), (&false.into(), &"request: call_id_reused".into()));
    assert_eq!(client.ask(&question("c2", 1))["decision"], true);
    assert_eq!(client.ask(&question("c3", 1))["decision"], true);
    let over = client.ask(&question("c4", 1));
    assert_eq!((&over["decision"], &over["context"]["code"]), (&false.into(), &"BudgetExceeded".into()), "{over}");
    assert_eq!(client.ask(&question("c1", 1)), first);

    // At the same moment as well: one decision.
    let (gateway, client, _) = (gateway, &client, ());
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16).map(|_| scope.spawn(|| client.ask(&question("c5", 1)))).collect();
        tries.into_iter().map(|one| one.join().expect("answered")["decision"].clone()).collect()
    });
    assert!(ids.iter().all(|decision| decision == false), "over budget stays so: {ids:?}");
    // Who is withdrawn isn't told yes again.
    gateway.folder.json(&["agent", "suspend", "deploy-manager"]);
    assert_eq!(client.post("/access/v1/evaluation", &question("c1", 1)).status, 401);
}

#[test]
fn a_yes_of_before_does_not_outlive_the_policies_that_gave_it() {
    let (gateway, client, _) = start();
    let mut question = deploy(json!({"environment": "staging", "replicas": 1}));
    question["context"] = json!({"session_id": "s1", "call_id": "c1"});
    assert_eq!(client.ask(&question)["decision"], true);
    gateway.folder.change("policies/policy.yaml", |_| "agent: deploy-manager\nactions: [{name: other}]\n".to_owned());
    gateway.signal("-HUP");
    eventually("the other policies are in force", || client.ask(&question)["decision"] == false);
}

#[test]
fn a_user_who_is_called_like_the_enforcement_point_is_not_it() {
    let config = "decision_api: {peps: [{agent: harness, subjects: [\"user/*\"]}]}\n";
    let folder = Folder::with(config, &[("policy.yaml", "agent: harness\nactions: [{name: deploy}]\n")]);
    let token = folder.agent("harness");
    let gateway = folder.serve();
    let client = Client::of(&gateway, &token);
    let mut question = tool("harness", "deploy", json!({}));
    assert_eq!(client.ask(&question)["decision"], true, "it may");
    question["subject"]["type"] = "user".into();
    let answer = client.ask(&question);
    assert_eq!(
        (&answer["decision"], &answer["context"]["reason"]),
        (&false.into(), &"identity: subject_unregistered".into()),
        "{answer}"
    );
}

#[test]
fn it_is_no_side_door_to_what_the_gateway_reads_itself() {
    let gateway = Gateway::start("", &[("policy.yaml", "agent: a\nactions: [{name: http/request}]\n")]);
    let token = gateway.folder.agent("a");
    let client = Client::of(&gateway, &token);
    for question in [
        json!({
            "subject": {"type": "agent", "id": "a"},
            "action": {"name": "request"},
            "resource": {"type": "http", "id": "x", "properties": {"host": "evil.example", "method": "GET"}},
        }),
        tool("a", "http/request", json!({"host": "evil.example"})),
    ] {
        let answer = client.ask(&question);
        assert_eq!(
            (&answer["decision"], &answer["context"]["reason"]),
            (&false.into(), &"request: reserved_tool".into())
        );
    }
}

#[test]
fn nothing_but_a_program_asks_and_no_page_of_a_browser() {
    let (_gateway, client, _) = start();
    let body = deploy(json!({"environment": "staging", "replicas": 1})).to_string();
    let answer = client.send("POST", "/access/v1/evaluation", &[("Origin", "https://evil.example")], &body);
    assert_eq!(answer.status, 403);
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")));
    assert_eq!(client.send("GET", "/access/v1/evaluation", &[], "").status, 405);
}

/// A client that somebody else wrote: Python's http.client, which keeps its connection.
#[test]
fn python_asks_over_one_connection() {
    let (_gateway, client, _) = start();
    let script = r#"
import http.client, json, sys
host, token = sys.argv[1:]
connection = http.client.HTTPConnection(host, timeout=20)
for replicas in (1, 51, 2):
    body = {"subject": {"type": "agent", "id": "deploy-manager"}, "action": {"name": "tools/call"},
            "resource": {"type": "tool", "id": "deploy",
                         "properties": {"arguments": {"environment": "staging", "replicas": replicas}}}}
    connection.request("POST", "/access/v1/evaluation", json.dumps(body),
                       {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    print(json.loads(connection.getresponse().read())["decision"])
"#;
    let output = Command::new("python3")
        .args(["-c", script, &client.api.to_string(), &client.token])
        .output()
        .expect("python3 runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "True\nFalse\nTrue\n", "{output:?}");
}
