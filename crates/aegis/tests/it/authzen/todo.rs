//! AuthZEN's interoperability scenarios: the todo application and the API gateway before it. The users' roles are groups of
//! registered subjects, as the scenario's directory has them; the policies say what its text says.

use serde_json::Value;

use super::{Client, add, corpus, fits_the_schema};
use crate::process::Folder;

/// Users and their roles, from the scenario's table: the id, the roles, the address.
const USERS: [(&str, &[&str]); 5] = [
    ("CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", &["admin", "evil_genius"]),
    ("CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", &["editor"]),
    ("CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", &["editor"]),
    ("CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", &["viewer"]),
    ("CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", &["viewer"]),
];

/// Viewers see users and todos; editors also create todos, and update and delete their own; admins delete any; evil geniuses
/// update any. `required_params` declares what holds an address.
const TODO: &str = r#"name: viewers
groups: [viewer, editor, admin, evil_genius]
actions:
  - {name: user/can_read_user, required_params: [id]}
  - {name: todo/can_read_todos}
---
name: editors
groups: [editor, admin, evil_genius]
actions:
  - {name: todo/can_create_todo}
---
name: admins
groups: [admin]
actions:
  - {name: todo/can_delete_todo, required_params: [ownerID]}
---
name: evil-geniuses
groups: [evil_genius]
actions:
  - {name: todo/can_update_todo, required_params: [ownerID]}
---
agent: user/CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs
name: morty-owns
actions:
  - {name: todo/can_update_todo, allowed_ownerID: [morty@the-citadel.com]}
  - {name: todo/can_delete_todo, allowed_ownerID: [morty@the-citadel.com]}
---
agent: user/CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs
name: summer-owns
actions:
  - {name: todo/can_update_todo, allowed_ownerID: [summer@the-smiths.com]}
  - {name: todo/can_delete_todo, allowed_ownerID: [summer@the-smiths.com]}
"#;

/// The gateway knows routes only: all may read, whoever may write anything may write.
const ROUTES: &str = r#"name: route-readers
groups: [viewer, editor, admin, evil_genius]
actions:
  - {name: route/GET, allowed_id: ["/users/{userId}", /todos]}
---
name: route-writers
groups: [editor, admin, evil_genius]
actions:
  - {name: route/POST, allowed_id: [/todos]}
  - {name: route/PUT, allowed_id: ["/todos/{todoId}"]}
  - {name: route/DELETE, allowed_id: ["/todos/{todoId}"]}
"#;

const CONFIG: &str = "decision_api:\n  peps:\n    - {agent: todo-backend, subjects: [\"user/*\"]}\n    \
    - {agent: todo-gateway, subjects: [\"identity/*\"]}\n";

fn world() -> Folder {
    let folder = Folder::with(CONFIG, &[("todo.yaml", TODO), ("routes.yaml", ROUTES)]);
    for (id, roles) in USERS {
        add(&folder, &format!("user/{id}"), roles);
        add(&folder, &format!("identity/{id}"), roles);
    }
    folder
}

fn cases(text: &str, kind: &str) -> Vec<(Value, Value)> {
    let all: Value = serde_json::from_str(text).expect("JSON");
    let case = |case: &Value| (case["request"].clone(), case["expected"].clone());
    all[kind].as_array().expect("cases").iter().map(case).collect()
}

#[test]
fn the_todo_application_and_its_gateway_get_the_decisions_of_their_scenarios() {
    let (Some(todo), Some(routes)) = (
        corpus("todo-backend_test_decisions-authorization-api-1_0-02.json"),
        corpus("api-gateways_test-harness_test_decisions.json"),
    ) else {
        return;
    };
    let folder = world();
    let (backend, edge) = (folder.agent("todo-backend"), folder.agent("todo-gateway"));
    let gateway = folder.serve();
    let (backend, edge) = (Client::of(&gateway, &backend), Client::of(&gateway, &edge));

    let (single, batch, routed) =
        (cases(&todo, "evaluation"), cases(&todo, "evaluations"), cases(&routes, "evaluation"));
    assert_eq!((single.len(), batch.len(), routed.len()), (40, 3, 25));
    for (client, cases) in [(&backend, &single), (&edge, &routed)] {
        for (request, expected) in cases {
            let answer = client.ask(request);
            assert_eq!(&answer["decision"], expected, "{request}\n{answer}");
        }
    }
    for (request, expected) in &batch {
        let answer = backend.post("/access/v1/evaluations", request).json();
        let answers = answer["evaluations"].as_array().expect("answers");
        answers.iter().for_each(fits_the_schema);
        let decisions: Vec<_> = answers.iter().map(|answer| &answer["decision"]).collect();
        let expected: Vec<_> = expected.as_array().expect("decisions").iter().map(|one| &one["decision"]).collect();
        assert_eq!(decisions, expected, "{request}\n{answer}");
    }

    // Each is on record: whom it is about, and who asked.
    let rick = format!("user/{}", USERS[0].0);
    let records = gateway.folder.decisions(&rick);
    assert_eq!(records.len(), 8 + 2, "one a question");
    assert!(
        records.iter().all(|record| record["agent"]["chain"] == serde_json::json!(["todo-backend"])),
        "{records:?}"
    );
    assert!(records.iter().all(|record| record["via"] == "authzen"), "{records:?}");
}

#[test]
fn one_that_asks_for_others_asks_for_those_it_may() {
    let folder = world();
    let (backend, rick) = (folder.agent("todo-backend"), format!("user/{}", USERS[0].0));
    let own = folder.token(&rick);
    let gateway = folder.serve();
    let question = |kind: &str, id: &str| {
        serde_json::json!({
            "subject": {"type": kind, "id": id},
            "action": {"name": "can_read_todos"},
            "resource": {"type": "todo", "id": "todo-1"},
        })
    };
    let (backend, own) = (Client::of(&gateway, &backend), Client::of(&gateway, &own));
    assert_eq!(backend.ask(&question("user", USERS[0].0))["decision"], true);
    assert_eq!(own.ask(&question("user", USERS[0].0))["decision"], true);
    assert_eq!(own.ask(&question("agent", &rick))["decision"], true);

    let (unknown, others) = ("nobody", USERS[1].0);
    let mut wordings = Vec::new();
    for (client, kind, id) in [
        (&backend, "user", unknown),
        (&backend, "identity", USERS[0].0),
        (&backend, "agent", "todo-gateway"),
        (&own, "user", others),
        (&own, "agent", "todo-backend"),
    ] {
        let answer = client.ask(&question(kind, id));
        assert_eq!(
            (&answer["decision"], &answer["context"]["code"]),
            (&false.into(), &"IdentityRejected".into()),
            "{answer}"
        );
        wordings.push(answer["context"]["detail"].clone());
    }
    wordings.dedup();
    assert_eq!(wordings.len(), 1, "who is registered can't be learnt: {wordings:?}");

    gateway.folder.json(&["agent", "suspend", &rick]);
    assert_eq!(backend.ask(&question("user", USERS[0].0))["decision"], false);
    assert_eq!(own.post("/access/v1/evaluation", &question("user", USERS[0].0)).status, 401);
    let refused: Vec<_> = gateway.folder.decisions("todo-backend");
    assert!(refused.iter().any(|record| record["reason"] == "identity: subject_suspended"), "{refused:?}");
}
