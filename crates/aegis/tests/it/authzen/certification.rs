//! AuthZEN's certification scenario, read from its text: levels Basic, Batch and Discovery. The transport differs from it in
//! one thing, said here: the test talks http on loopback, a certified deployment has a TLS endpoint before it.

use serde_json::{Value, json};

use super::{Answer, Client, add, corpus, fits_the_schema, try_send};
use crate::process::{Folder, Gateway};

/// Its decision rules, 1 to 8.
const POLICY: &str = r#"agent: user/alice
actions:
  - {name: record/read}
  - name: record/write
    deny_if: has(status) && status == "archived" && !(has(subject) && has(subject.role) && subject.role == "admin")
  - name: record/delete
    deny_if: soft != true
---
agent: user/bob
actions:
  - {name: record/read}
  - name: record/write
    deny_if: '!(has(subject) && subject.role == "admin" && has(status) && status == "archived")'
"#;

/// One request of the text, and what it expects.
struct Case {
    section: String,
    request: Value,
    status: u16,
    /// `None` is any boolean.
    decisions: Vec<Option<bool>>,
}

/// The text's requests of sections 2 (Basic) and 3 (Batch).
fn cases(text: &str) -> Vec<Case> {
    let mut found = Vec::new();
    let mut section = String::new();
    for part in text.split("\n#") {
        if let Some(at) = part.lines().next().and_then(|line| line.split("{#").nth(1)) {
            section = at.trim_end_matches('}').to_owned();
        }
        if !section.starts_with("c-2-") && !section.starts_with("c-3-") {
            continue;
        }
        for asked in part.split("**Request").skip(1) {
            let (request, expected) = asked.split_once("**Expected:**").expect("what is expected");
            let request = block(request).unwrap_or_else(|| panic!("{section}: a request"));
            let status = expected.split("HTTP ").nth(1).and_then(|rest| rest.get(..3)?.parse().ok()).expect("a status");
            let decisions = decisions(block(expected).unwrap_or(expected));
            let request = serde_json::from_str(request).unwrap_or_else(|error| panic!("{section}: {error}"));
            found.push(Case { section: section.clone(), request, status, decisions });
        }
    }
    found
}

/// The first fenced block.
fn block(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("~~~")?;
    Some(rest.split_once('\n')?.1.split("~~~").next().unwrap_or_default())
}

fn decisions(text: &str) -> Vec<Option<bool>> {
    let values = text.split("\"decision\": ").skip(1);
    values.map(|rest| if rest.starts_with('<') { None } else { Some(rest.starts_with("true")) }).collect()
}

fn certified() -> (Gateway, Client) {
    let config = "decision_api: {peps: [{agent: harness, subjects: [\"user/*\"]}]}\n";
    let folder = Folder::with(config, &[("records.yaml", POLICY)]);
    add(&folder, "user/alice", &[]);
    add(&folder, "user/bob", &[]);
    let token = folder.agent("harness");
    let gateway = folder.serve();
    let client = Client::of(&gateway, &token);
    (gateway, client)
}

fn check(case: &Case, answer: &Answer) {
    let section = &case.section;
    assert_eq!(answer.status, case.status, "{section}: {}", answer.text);
    if answer.status != 200 {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{section}");
        return;
    }
    assert_eq!(answer.header("content-type"), "application/json", "{section}");
    let answer = answer.json();
    let answers = match answer.get("evaluations") {
        Some(answers) => answers.as_array().expect("an array").clone(),
        None => vec![answer.clone()],
    };
    let asked = case.request["evaluations"].as_array().map_or(0, Vec::len).max(1);
    assert_eq!(answers.len(), asked, "{section}: {answer}");
    assert_eq!(answers.len(), case.decisions.len(), "{section}: as many as the text shows");
    for (answer, expected) in answers.iter().zip(&case.decisions) {
        fits_the_schema(answer);
        if let Some(expected) = expected {
            assert_eq!(answer["decision"], *expected, "{section}: {answer}\n{}", case.request);
        }
    }
}

#[test]
fn every_request_of_the_scenario_is_answered_as_it_says() {
    let Some(text) = corpus("certification_authorization-api-1_0-scenario.md") else { return };
    let cases = cases(&text);
    let (gateway, client) = certified();
    let mut values = 0;
    for case in &cases {
        let path = if case.section.starts_with("c-2") { "/access/v1/evaluation" } else { "/access/v1/evaluations" };
        // The same every time (c-2-6).
        for _ in 0..2 {
            check(case, &client.post(path, &case.request));
        }
        values += case.decisions.iter().flatten().count();
    }
    assert_eq!((cases.len(), values), (29, 23), "all of the text's requests and decisions");
    assert!(gateway.folder.decisions("user/alice").len() > 20);
}

#[test]
fn what_the_scenario_says_in_words_holds() {
    let (gateway, client) = certified();
    let good = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"},
    });
    let path = "/access/v1/evaluation";
    // c-2-4-3 to c-2-4-5, and mistyped fields.
    let bearer = format!("Bearer {}", client.token);
    let send = |kind: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        try_send(client.api, "POST", path, &headers, body).expect("an answer")
    };
    for (kind, body) in [
        ("text/plain", good.to_string()),
        ("application/jsonx", good.to_string()),
        ("application/json", "{".to_owned()),
        ("application/json", String::new()),
        ("application/json", r#"{"subject": {"type": "user", "id": "alice", "id": "bob"}}"#.to_owned()),
        ("application/json", good.to_string().replace("\"alice\"", "7")),
        ("application/json", "[".repeat(100_000)),
    ] {
        let answer = send(kind, &body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "application/problem+json"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json()["code"], "BadRequest");
    }
    assert_eq!(send("application/json; charset=utf-8", &good.to_string()).status, 200);
    assert_eq!(send("application/json", &format!("{good}{}", " ".repeat(2 << 20))).status, 413);

    // c-2-5: echoed, whatever the answer.
    for (token, body, status) in
        [(bearer.as_str(), good.to_string(), 200), (&bearer, "{".to_owned(), 400), ("Bearer x", good.to_string(), 401)]
    {
        let headers =
            [("Authorization", token), ("Content-Type", "application/json"), ("X-Request-ID", "bfe9eb29-ab87")];
        let answer = try_send(client.api, "POST", path, &headers, &body).expect("an answer");
        assert_eq!((answer.status, answer.header("x-request-id")), (status, "bfe9eb29-ab87"), "{}", answer.text);
    }

    // c-6
    let metadata = try_send(client.api, "GET", "/.well-known/authzen-configuration", &[], "").expect("an answer");
    assert_eq!((metadata.status, metadata.header("content-type")), (200, "application/json"));
    let metadata = metadata.json();
    let base = format!("http://{}", client.api);
    assert_eq!(metadata["policy_decision_point"], base);
    assert_eq!(metadata["access_evaluation_endpoint"], format!("{base}/access/v1/evaluation"));
    assert_eq!(metadata["access_evaluations_endpoint"], format!("{base}/access/v1/evaluations"));
    assert!(metadata["capabilities"].as_array().expect("a list").iter().all(Value::is_string));
    assert!(metadata.get("search_subject_endpoint").is_none());
    drop(gateway);
}

#[test]
fn a_batch_stops_where_it_is_told_to() {
    let (gateway, client) = certified();
    let batch = |semantic: &str| {
        let body = json!({
            "subject": {"type": "user", "id": "bob"},
            "resource": {"type": "record", "id": "record-1"},
            "evaluations": [{"action": {"name": "write"}}, {"action": {"name": "read"}}, {"action": {"name": "write"}}],
            "options": {"evaluations_semantic": semantic},
        });
        let answer = client.post("/access/v1/evaluations", &body);
        let Value::Array(answers) = answer.json()["evaluations"].take() else { return answer.status.to_string() };
        answers.iter().map(|answer| if answer["decision"] == true { '+' } else { '-' }).collect()
    };
    assert_eq!(batch("execute_all"), "-+-");
    assert_eq!(batch("deny_on_first_deny"), "-");
    assert_eq!(batch("permit_on_first_permit"), "-+");
    assert_eq!(batch("whatever"), "400");
    assert_eq!(gateway.folder.decisions("user/bob").len(), 3 + 1 + 2, "each question that was decided is on record");
}
