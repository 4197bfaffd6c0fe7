use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::call::tests::scale;
use crate::policy::{Options, Source};

fn policies() -> PolicySet {
    let text = "agent: a\nactions: [{name: deploy, max_replicas: 5}]".to_owned();
    PolicySet::load(&[Source { file: "p.yaml".to_owned(), text }], Options::default()).expect("good policies")
}

fn recorded(params: Value) -> RecordedCall {
    let Value::Object(params) = params else { panic!("parameters are a mapping") };
    let call = ToolCall { params, ..scale("staging", json!(1)) };
    let agent = Agent { token_id: Some("jti-1".to_owned()), ..Agent::named("a") };
    RecordedCall::of(Asked::of(&agent, &call), &policies())
}

#[test]
fn a_kept_call_is_judged_as_it_was() {
    let kept = recorded(json!({"replicas": 9, "name": "web"}));
    assert!(kept.cut.is_empty());
    assert_eq!(kept.agent.token_id, None);
    let text = serde_json::to_string(&kept).expect("JSON");
    let read: RecordedCall = serde_json::from_str(&text).expect("reads what it wrote");
    assert_eq!(read, kept);
    let call = ToolCall::from(read.call);
    let asked = Asked { now: read.at, session: &read.session, ..Asked::of(&read.agent, &call) };
    assert_eq!(Answer::of(&policies(), asked, call.clone()), read.answer);
    assert_eq!(read.answer.decision, Verdict::Deny);
}

#[test]
fn long_texts_and_secrets_are_not_kept() {
    // Put together here, so that nobody's scanner takes them for real ones.
    let github = format!("gh{}_{}", "p", "0123456789abcdefABCDEF0123456789abcd");
    let random = ["Zx81", "Qm42", "Lp07", "Rt63", "Vb95", "Nw28"].concat();
    let kept = recorded(json!({
        "long": "x ".repeat(200),
        "password": "hunter2",
        "note": format!("use {github} here"),
        "nested": {"list": [random, "plain"], "api_key": ["a"]},
        "url": format!("https://me:{}@example.com/x", "pw"),
        "max_tokens": 4096,
        "digest": format!("sha256:{}", "ab".repeat(32)),
        "image": "registry.example.com/team/app:1.2.3",
    }));
    let places = [
        "params.long",
        "params.nested.api_key[0]",
        "params.nested.list[0]",
        "params.note",
        "params.password",
        "params.url",
    ];
    assert_eq!(kept.cut, places);
    let text = serde_json::to_string(&kept).expect("JSON");
    for secret in ["hunter2", &github, "Zx81", "me:pw", "x x x"] {
        assert!(!text.contains(secret), "{secret} was kept: {text}");
    }
    assert_eq!(kept.call.params["max_tokens"], 4096);
    assert_eq!(kept.call.params["image"], "registry.example.com/team/app:1.2.3");
    assert!(kept.call.params["long"].as_str().is_some_and(|text| text.starts_with("sha256:")));
}

#[test]
fn what_only_looks_like_a_secret_is_not_kept_either() {
    let broken_off = format!("gh{}_{}", "p", "0123456789abcdef");
    let joined = ["Zx81Qm", "42Lp07", "Rt63Vb", "95Nw28"].join("_");
    let start = format!("-----BEGIN {}", "SOMETHING");
    let kept = recorded(json!({"a": broken_off, "b": joined, "c": start, "d": "http://me:x@h/"}));
    assert_eq!(kept.cut, ["params.a", "params.b", "params.c", "params.d"]);
}

#[test]
fn parameters_without_end_are_not_kept() {
    let many: Vec<usize> = (0..20_000).collect();
    assert_eq!(recorded(json!({"list": many})).cut, ["params"]);
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(line in ".{0,200}") {
        let _ = serde_json::from_str::<RecordedCall>(&line);
    }

    #[test]
    fn what_was_kept_is_read_again(key in "[a-z_]{1,12}", text in ".{0,300}", number in any::<i64>()) {
        let kept = recorded(json!({key: text, "n": number, "deep": [{"a": text}]}));
        let json = serde_json::to_string(&kept).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<RecordedCall>(&json).expect("reads"), kept);
    }
}
