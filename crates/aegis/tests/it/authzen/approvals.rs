//! A call that a human has to see: a no with an access request, a task to wait for, the same question again, once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Client, tool, try_send};
use crate::process::{Folder, Gateway};

const POLICY: &str = r#"agent: "deployer-*"
actions:
  - name: deploy
    allowed_environments: [staging]
    approval_needed: env == "production"
    approval: {expires: 30m}
    max_replicas: 50
---
agent: hasty
actions:
  - name: deploy
    approval_needed: "true"
    approval: {expires: 2s}
"#;

const CONFIG: &str = "environments:\n  - {match: {tool: deploy, param: {environment: prod}}, env: production}\n";

struct World {
    gateway: Gateway,
    one: Client,
    other: Client,
}

impl World {
    fn start() -> Self {
        let folder = Folder::with(CONFIG, &[("policy.yaml", POLICY)]);
        let (one, other) = (folder.agent("deployer-1"), folder.agent("deployer-2"));
        let gateway = folder.serve();
        let (one, other) = (Client::of(&gateway, &one), Client::of(&gateway, &other));
        Self { gateway, one, other }
    }

    fn decide(&self, verb: &str, approval: &str) {
        self.gateway.folder.json(&["approvals", verb, approval]);
    }
}

fn question(replicas: u32) -> Value {
    let mut question = tool("deployer-1", "deploy", json!({"environment": "prod", "replicas": replicas}));
    question["context"] = json!({"ticket": "CHG-7", "framework": "langchain/1.4.7"});
    question
}

/// What a caller submits after this answer.
fn submission(question: &Value, answer: &Value) -> Value {
    let request = &answer["context"]["access_request"];
    let mut submission = question.clone();
    submission["denial"] = json!({
        "evaluation_id": answer["context"]["evaluation_id"],
        "expires_at": request["expires_at"],
        "reason": answer["context"]["reason"],
        "binding_token": request["binding_token"],
    });
    submission
}

fn path_of(url: &Value, client: &Client) -> String {
    let url = url.as_str().expect("a URL");
    url.strip_prefix(&format!("http://{}", client.api)).expect("on this gateway").to_owned()
}

#[test]
fn a_human_says_yes_and_the_same_question_is_answered_with_yes_once() {
    let world = World::start();
    let client = &world.one;
    let denied = client.ask(&question(3));
    let context = &denied["context"];
    assert_eq!((&denied["decision"], &context["reason"]), (&false.into(), &"approval_required".into()), "{denied}");
    assert_eq!((&context["code"], &context["decision"]), (&"ApprovalNeeded".into(), &"approval_needed".into()));

    let submission = submission(&question(3), &denied);
    let path = path_of(&context["access_request"]["endpoint"], client);
    let key = ("Idempotency-Key", "k1");
    let accepted = client.send("POST", &path, &[key], &submission.to_string());
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let task = accepted.json()["task"].clone();
    assert_eq!(
        (&task["status"], accepted.header("location")),
        (&"pending".into(), task["status_endpoint"].as_str().expect("a URL"))
    );
    // The same under the same key; another one isn't.
    assert_eq!(client.send("POST", &path, &[key], &submission.to_string()).json()["task"], task);
    let mut more = submission;
    more["context"]["business_justification"] = "renewal".into();
    let reused = client.send("POST", &path, &[key], &more.to_string());
    assert_eq!(
        (reused.status, &reused.json()["type"]),
        (409, &"urn:openid:authzen:access-request:error:duplicate_request".into())
    );
    assert_eq!(client.post(&path, &more).json()["task"], task, "what is added for humans changes nothing");

    // Waits until somebody decides.
    let status = path_of(&task["status_endpoint"], client);
    let started = Instant::now();
    assert_eq!(client.send("GET", &format!("{status}?wait=1"), &[], "").json()["task"]["status"], "pending");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    let id = task["id"].as_str().expect("an id");
    let (approved, waited) = std::thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let started = Instant::now();
            (client.send("GET", &format!("{status}?wait=30"), &[], "").json(), started.elapsed())
        });
        world.decide("approve", id);
        poll.join().expect("answered")
    });
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!((&approved["task"]["status"], &approved["result"]["mode"]), (&"approved".into(), &"reevaluate".into()));
    assert_eq!(approved["result"]["approval"]["id"], id);

    // Another call finds nothing; the same one finds it, once.
    assert_eq!(client.ask(&question(4))["decision"], false);
    let mut again = question(3);
    again["context"]["approval"] = approved["result"]["approval"].clone();
    let permitted = client.ask(&again);
    assert_eq!(
        (&permitted["decision"], &permitted["context"]["approval"]["id"]),
        (&true.into(), &id.into()),
        "{permitted}"
    );
    let spent = client.ask(&again);
    assert_eq!(
        (&spent["decision"], &spent["context"]["reason"]),
        (&false.into(), &"approval_required".into()),
        "{spent}"
    );
    assert_eq!(
        client.send("GET", &status, &[], "").json()["task"]["status"],
        "approved",
        "that doesn't change any more"
    );
}

#[test]
fn no_withdrawn_and_too_late_are_three_answers() {
    let world = World::start();
    for (replicas, verb, status, code) in
        [(5, "reject", "denied", "ApprovalRejected"), (6, "cancel", "cancelled", "ApprovalCancelled")]
    {
        let denied = world.one.ask(&question(replicas));
        let task =
            world.one.post("/access/v1/requests", &submission(&question(replicas), &denied)).json()["task"].clone();
        world.decide(verb, task["id"].as_str().expect("an id"));
        let path = path_of(&task["status_endpoint"], &world.one);
        let answer = world.one.send("GET", &format!("{path}?wait=20"), &[], "").json();
        assert_eq!(answer["task"]["status"], status);
        assert!(answer.get("result").is_none());
        let again = world.one.ask(&question(replicas));
        assert_eq!((&again["decision"], &again["context"]["code"]), (&false.into(), &code.into()), "{again}");
        assert!(again["context"].get("access_request").is_none());
    }

    let hasty = world.gateway.folder.agent("hasty");
    let hasty = Client::of(&world.gateway, &hasty);
    let question = tool("hasty", "deploy", json!({}));
    let denied = hasty.ask(&question);
    let submission = submission(&question, &denied);
    let task = hasty.post("/access/v1/requests", &submission).json()["task"].clone();
    let path = path_of(&task["status_endpoint"], &hasty);
    let answer = hasty.send("GET", &format!("{path}?wait=30"), &[], "").json();
    assert_eq!(answer["task"]["status"], "expired", "{answer}");
    let late = hasty.post("/access/v1/requests", &submission);
    assert_eq!(
        (late.status, &late.json()["type"]),
        (410, &"urn:openid:authzen:access-request:error:expired_denial".into())
    );
    assert_eq!(hasty.ask(&question)["context"]["code"], "ApprovalExpired");
}

#[test]
fn a_binding_is_for_one_agent_and_one_question() {
    let world = World::start();
    let denied = world.one.ask(&question(7));
    let good = submission(&question(7), &denied);
    let invalid = "urn:openid:authzen:access-request:error:invalid_denial_binding";
    let refused = |client: &Client, body: &Value| {
        let answer = client.post("/access/v1/requests", body);
        assert_eq!((answer.status, &answer.json()["type"]), (400, &invalid.into()), "{body}");
    };
    refused(&world.other, &good);
    for (pointer, value) in [
        ("/resource/properties/arguments/replicas", json!(8)),
        ("/context/ticket", json!("CHG-8")),
        ("/subject/id", json!("deployer-2")),
        ("/denial/evaluation_id", json!("dec_00000000000000000000000000")),
        ("/denial/expires_at", json!("2099-01-01T00:00:00Z")),
        ("/denial/binding_token", json!(world.one.token)),
        ("/denial/binding_token", json!("x.y.z")),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("there") = value;
        refused(&world.one, &body);
    }
    let mut without = good.clone();
    without.as_object_mut().expect("an object").remove("denial");
    refused(&world.one, &without);
    let mut bulk = good.clone();
    bulk["items"] = json!([]);
    assert_eq!(world.one.post("/access/v1/requests", &bulk).status, 400);

    // A task is no secret, and of no use to others.
    let task = world.one.post("/access/v1/requests", &good).json()["task"].clone();
    let path = path_of(&task["status_endpoint"], &world.one);
    for (client, path) in [(&world.other, path.as_str()), (&world.one, "/access/v1/requests/apr_0000000000000000")] {
        let answer = client.send("GET", path, &[], "");
        assert_eq!(
            (answer.status, &answer.json()["type"]),
            (404, &"urn:openid:authzen:access-request:error:unknown_task".into())
        );
    }
    assert_eq!(world.one.send("GET", &path, &[], "").status, 200);
    // Nor is it a token.
    let token = denied["context"]["access_request"]["binding_token"].as_str().expect("a token");
    let thief = Client { api: world.one.api, token: token.to_owned() };
    assert_eq!(thief.post("/access/v1/evaluation", &question(7)).status, 401);
}

#[test]
fn a_thousand_at_once_spend_one_approval_once_and_a_crash_gives_it_back_to_nobody() {
    let world = World::start();
    let denied = world.one.ask(&question(9));
    let approval = denied["context"]["approval"]["id"].as_str().expect("an id").to_owned();
    world.decide("approve", &approval);
    let yes = AtomicUsize::new(0);
    let (client, body) = (&world.one, question(9).to_string());
    let bearer = format!("Bearer {}", client.token);
    let ask = |api| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = try_send(api, "POST", "/access/v1/evaluation", &headers, &body)?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Some(answer.json()["decision"] == true)
    };
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..25 {
                    yes.fetch_add(usize::from(ask(client.api).expect("an answer")), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(yes.load(Ordering::Relaxed), 1, "one of a thousand");
    let admitted = |gateway: &Gateway| {
        gateway.folder.records().iter().filter(|r| r["event"] == "decision" && r["decision"] == "allow").count()
    };

    // Once more, killed in the middle of it: what was told is what is on record, or less.
    let held = client.ask(&question(9));
    let approval = held["context"]["approval"]["id"].as_str().expect("an id").to_owned();
    world.decide("approve", &approval);
    let yes = AtomicUsize::new(0);
    let World { gateway, .. } = world;
    let api = gateway.address("api");
    let gateway = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(decision) = ask(api) {
                    yes.fetch_add(usize::from(decision), Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(30));
        gateway.crash_and_restart()
    });
    let before = yes.load(Ordering::Relaxed);
    let after: usize = (0..50).map(|_| usize::from(ask(gateway.address("api")).expect("an answer"))).sum();
    assert!(before + after <= 1, "{before} before and {after} after the crash");
    assert!(admitted(&gateway) <= 2, "one approval, one admission");
}
