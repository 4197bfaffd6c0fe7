use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn question(body: Value) -> Evaluation {
    Evaluation::read(body.to_string().as_bytes()).expect("a question")
}

fn reason(body: &str) -> String {
    Evaluation::read(body.as_bytes()).expect_err(body).reason
}

fn todo() -> Value {
    json!({
        "subject": {"type": "user", "id": "morty", "properties": {"role": "editor"}},
        "action": {"name": "can_update_todo", "properties": {"soft": true}},
        "resource": {"type": "todo", "id": "todo-1", "properties": {"ownerID": "morty"}},
        "context": {"ip": "192.0.2.1", "call_id": "c1", "session_id": "s1"},
    })
}

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    body.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent").insert(key.to_owned(), value);
    body
}

#[test]
fn a_question_becomes_a_call_of_its_resource_type() {
    let call = question(todo()).call(Subject::Vouched).expect("a call");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("todo", "can_update_todo"));
    let params = json!({
        "id": "todo-1", "ownerID": "morty", "soft": true, "subject": {"role": "editor"}, "context": {"ip": "192.0.2.1"},
    });
    assert_eq!(Value::Object(call.params), params);
}

#[test]
fn what_an_agent_says_of_itself_is_no_parameter() {
    let call = question(todo()).call(Subject::Itself).expect("a call");
    assert!(!call.params.contains_key("subject"), "{:?}", call.params);
    // Not by another door either.
    for part in ["/resource/properties", "/action/properties"] {
        for name in ["subject", "context"] {
            let body = with(todo(), &format!("{part}/{name}"), json!({"role": "admin"}));
            for subject in [Subject::Itself, Subject::Vouched] {
                assert_eq!(question(body.clone()).call(subject).expect_err("refused").reason, "ambiguous_parameter");
            }
        }
    }
}

#[test]
fn a_tools_call_has_its_arguments_as_parameters() {
    let tool = |id: &str, properties: Value| {
        question(json!({
            "subject": {"type": "agent", "id": "a"},
            "action": {"name": "tools/call"},
            "resource": {"type": "tool", "id": id, "properties": properties},
            "context": {"framework": "langchain/1.4.7"},
        }))
        .call(Subject::Itself)
    };
    let arguments = json!({"env": "prod", "id": 7, "subject": "Re: you", "context": []});
    let call = tool("deploy", json!({"arguments": arguments})).expect("a call");
    assert_eq!((call.tool.as_str(), call.action.as_str(), Value::Object(call.params)), ("deploy", "deploy", arguments));
    let call = tool("kubernetes/scale", json!({})).expect("a call");
    assert_eq!((call.tool.as_str(), call.action.as_str(), call.params.len()), ("kubernetes", "scale", 0));
    let reason = |id: &str, properties: Value| tool(id, properties).expect_err(id).reason;
    assert_eq!(reason("deploy", json!({"arguments": []})), "arguments_malformed");
    assert_eq!(reason("deploy", json!({"arguments": {}, "server": "x"})), "unknown_property");
    assert_eq!(reason("http", json!({})), "reserved_tool");
    assert_eq!(reason("http/request", json!({})), "reserved_tool");
    for id in ["", "a/", "/a", "a/b/c", "a b", "a\n", "*", "a/*", "a'b"] {
        assert_eq!(reason(id, json!({})), "unnameable", "{id:?}");
    }
}

#[test]
fn one_name_has_one_value() {
    let same = with(todo(), "/action/properties/ownerID", json!("morty"));
    assert_eq!(question(same).call(Subject::Vouched), question(todo()).call(Subject::Vouched));
    for pointer in ["/action/properties/ownerID", "/resource/properties/id", "/action/properties/id"] {
        let other = with(todo(), pointer, json!("rick"));
        assert_eq!(question(other).call(Subject::Vouched).expect_err(pointer).reason, "ambiguous_parameter");
    }
}

#[test]
fn names_that_no_policy_could_write_are_refused() {
    for (pointer, name) in [
        ("/action/name", "tools/list"),
        ("/action/name", "read it"),
        ("/action/name", "*"),
        ("/resource/type", ""),
        ("/resource/type", "a\u{0}"),
        ("/resource/type", &"x".repeat(129)),
    ] {
        assert_eq!(
            question(with(todo(), pointer, json!(name))).call(Subject::Itself).expect_err(name).reason,
            "unnameable"
        );
    }
    let http = with(todo(), "/resource/type", json!("http"));
    assert_eq!(question(http).call(Subject::Itself).expect_err("refused").reason, "reserved_tool");
}

#[test]
fn who_is_asked_about() {
    let user = question(todo());
    assert_eq!(user.principal(), "user/morty");
    assert!(user.is_about("morty") && user.is_about("user/morty") && !user.is_about("rick"));
    let agent = question(with(todo(), "/subject/type", json!("agent")));
    assert_eq!(agent.principal(), "morty");
    assert!(!agent.is_about("agent/morty"));
}

#[test]
fn what_has_to_be_there_is_there_and_of_its_type() {
    for pointer in ["/subject", "/action", "/resource", "/subject/type", "/subject/id", "/action/name", "/resource/id"]
    {
        let mut body = todo();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        body.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent").remove(key);
        assert_eq!(reason(&body.to_string()), "missing_field", "{pointer}");
        for value in [json!(1), json!(null), json!([]), json!(true)] {
            assert_eq!(reason(&with(todo(), pointer, value).to_string()), "mistyped_field", "{pointer}");
        }
    }
    for pointer in ["/context", "/subject/properties", "/context/call_id", "/context/supported_obligations"] {
        assert_eq!(reason(&with(todo(), pointer, json!(1)).to_string()), "mistyped_field", "{pointer}");
    }
    assert_eq!(reason("[]"), "mistyped_field");
    assert_eq!(reason(""), "json_malformed");
    assert_eq!(reason(r#"{"subject": {"type": "agent", "id": "a", "id": "b"}}"#), "json_duplicate_key");
    assert_eq!(reason(&"[".repeat(100_000)), "json_depth");
    let unknown = with(with(todo(), "/foo", json!("bar")), "/subject/future", json!({"x": [1]}));
    assert_eq!(question(unknown), question(todo()));
}

#[test]
fn a_batch_takes_whole_parts_from_its_defaults() {
    let read = |body: Value| Batch::read(body.to_string().as_bytes());
    let body = with(todo(), "/evaluations", json!([{}, {"resource": {"type": "todo", "id": "2"}}, {"action": {}}, 7]));
    let body = with(body, "/options", json!({"evaluations_semantic": "deny_on_first_deny", "other": 1}));
    let Ok(Batch::Several { questions, semantic: Semantic::DenyOnFirstDeny }) = read(body) else { panic!("several") };
    let [first, second, third, fourth] = questions.as_slice() else { panic!("four") };
    assert_eq!(first.as_ref(), Ok(&question(todo())));
    let second = second.as_ref().expect("a question").call(Subject::Itself).expect("a call");
    assert_eq!(Value::Object(second.params), json!({"id": "2", "soft": true, "context": {"ip": "192.0.2.1"}}));
    assert_eq!(third.as_ref().expect_err("refused").reason, "missing_field");
    assert_eq!(fourth.as_ref().expect_err("refused").reason, "mistyped_field");

    for single in [todo(), with(todo(), "/evaluations", json!([]))] {
        assert_eq!(read(single), Ok(Batch::One(question(todo()))));
    }
    let reason = |body: Value| read(body).expect_err("refused").reason;
    assert_eq!(reason(json!({"evaluations": {}})), "mistyped_field");
    assert_eq!(reason(json!({"subject": "alice", "evaluations": [{}]})), "mistyped_field");
    assert_eq!(reason(json!({"evaluations": vec![json!({}); MOST_EVALUATIONS + 1]})), "too_many_evaluations");
    assert_eq!(reason(json!({"evaluations": [{}], "options": {"evaluations_semantic": "all"}})), "mistyped_field");
    assert_eq!(reason(json!({"evaluations": [], "subject": {"type": "user", "id": "a"}})), "missing_field");
}

#[test]
fn rewritten_parts_go_back_where_they_came_from() {
    let asked = question(todo());
    let mut params = asked.call(Subject::Vouched).expect("a call").params;
    params.insert("ownerID".to_owned(), "[redacted]".into());
    let back = asked.rewritten(&params, Subject::Vouched).expect("properties only");
    assert_eq!(Value::Object(back), json!({"ownerID": "[redacted]", "soft": true}));
    for fixed in ["id", "subject", "context"] {
        let mut params = params.clone();
        params.insert(fixed.to_owned(), "[redacted]".into());
        assert_eq!(asked.rewritten(&params, Subject::Vouched), None, "{fixed}");
    }
    let tool = question(json!({
        "subject": {"type": "agent", "id": "a"},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": "kubernetes/set-image", "properties": {"arguments": {"image": "x", "id": "1"}}},
    }));
    let Value::Object(described) = json!({"image": "y", "id": "2", "images": ["y"]}) else { panic!("an object") };
    let back = tool.rewritten(&described, Subject::Itself).expect("arguments");
    assert_eq!(Value::Object(back), json!({"image": "y", "id": "2"}));
}

#[test]
fn a_digest_is_of_the_question_and_not_of_its_machinery() {
    let asked = question(todo());
    let members = asked.context_members();
    assert_eq!(members, BTreeSet::from(["ip".to_owned()]));
    let digest = asked.digest(&members);
    let more = with(todo(), "/context/business_justification", json!("renewal"));
    assert_eq!(question(with(more, "/context/call_id", json!("c2"))).digest(&members), digest);
    let mut without = todo();
    without["context"] = json!({});
    assert_eq!(question(without).digest(&members), None);
    for pointer in ["/context/ip", "/subject/id", "/action/properties/soft", "/resource/properties/ownerID"] {
        assert_ne!(question(with(todo(), pointer, json!("other"))).digest(&members), digest, "{pointer}");
    }
}

/// Texts that are alike enough to be mixed up.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "id", "subject", "context", "a/b", "user", "agent", "tool", "arguments"])
        .prop_map(str::to_owned)
}

fn properties() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(word(), word(), 0..3).prop_map(|map| json!(map))
}

fn any_question() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("tools/call".to_owned()), word()];
    let entity = || (word(), word(), properties());
    (entity(), name, properties(), entity(), properties()).prop_map(|(subject, name, action, resource, context)| {
        json!({
            "subject": {"type": subject.0, "id": subject.1, "properties": subject.2},
            "action": {"name": name, "properties": action},
            "resource": {"type": resource.0, "id": resource.1, "properties": resource.2},
            "context": context,
        })
    })
}

/// What a question means: all of it but for the part that a property stands in (a name has one value), and in the tool form
/// what isn't an argument.
fn meaning(asked: &Evaluation) -> (String, Value) {
    let mut properties = asked.resource.properties.clone();
    properties.extend(asked.action.properties.clone());
    // Of no effect: it says again what the id says.
    properties.remove("id");
    let what = if asked.action.name == "tools/call" && asked.resource.kind == "tool" {
        json!([
            asked.resource.id.split_once('/').unwrap_or((&asked.resource.id, &asked.resource.id)),
            properties.get("arguments")
        ])
    } else {
        let Entity { kind, id, .. } = &asked.resource;
        json!([kind, asked.action.name, id, properties, asked.subject.properties, asked.context])
    };
    (asked.principal(), what)
}

/// The same question, or one that differs from it in one place.
fn alike() -> impl Strategy<Value = (Value, Value)> {
    let places = prop::sample::select(vec![
        "/subject/type",
        "/subject/id",
        "/subject/properties/a",
        "/action/name",
        "/action/properties/a",
        "/resource/type",
        "/resource/id",
        "/resource/properties/a",
        "/resource/properties/arguments",
        "/context/a",
    ]);
    (any_question(), places, word()).prop_map(|(one, place, value)| {
        let value = if place.ends_with("arguments") { json!({"a": value}) } else { json!(value) };
        (one.clone(), with(one, place, value))
    })
}

proptest! {
    #[test]
    fn two_questions_that_mean_two_things_are_two_calls(
        (one, other) in prop_oneof![alike(), (any_question(), any_question())],
    ) {
        let (one, other) = (question(one), question(other));
        if let (Ok(a), Ok(b)) = (one.call(Subject::Vouched), other.call(Subject::Vouched)) {
            let same = (one.principal(), a) == (other.principal(), b);
            prop_assert_eq!(same, meaning(&one) == meaning(&other), "{:?}\n{:?}", one, other);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Evaluation::read(&body);
        let _ = Batch::read(&body);
    }

    #[test]
    fn order_and_spacing_mean_nothing(body in any_question()) {
        let pretty = serde_json::to_string_pretty(&body).expect("json");
        let asked = question(body);
        let again = Evaluation::read(pretty.as_bytes()).expect("a question");
        prop_assert_eq!(asked.digest(&asked.context_members()), again.digest(&again.context_members()));
        prop_assert_eq!(asked.call(Subject::Vouched), again.call(Subject::Vouched));
    }
}
