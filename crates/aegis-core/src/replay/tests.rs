use serde_json::{Value, json};

use super::*;
use crate::agent::Agent;
use crate::call::tests::scale;
use crate::policy::{Options, Source};

fn policies(entry: &str) -> PolicySet {
    let text = format!("agent: a\nactions: [{{name: deploy, {entry}}}]");
    PolicySet::load(&[Source { file: "p.yaml".to_owned(), text }], Options::default()).expect("good policies")
}

fn recorded(params: Value, entry: &str) -> RecordedCall {
    let Value::Object(params) = params else { panic!("parameters are a mapping") };
    let call = ToolCall { params, ..scale("staging", json!(1)) };
    RecordedCall::of(Asked::of(&Agent::named("a"), &call), &policies(entry))
}

fn replayed(params: Value, before: &str, after: &str) -> Replayed {
    Replay::of(&policies(after)).judge(recorded(params, before))
}

#[test]
fn an_answer_changes_with_the_policy_only() {
    let changed = |before, after, rule: &str, reason: &str| Replayed::Changed {
        before,
        after,
        because: vec![Broken { policy: "a".to_owned(), rule: rule.to_owned(), reason: reason.to_owned() }],
    };
    let nine = || json!({"replicas": 9});
    assert_eq!(replayed(nine(), "max_replicas: 10", "max_replicas: 20"), Replayed::Same);
    assert_eq!(
        replayed(nine(), "max_replicas: 10", "max_replicas: 5"),
        changed(Verdict::Allow, Verdict::Deny, "max_replicas", "above_maximum")
    );
    assert_eq!(
        replayed(nine(), "max_replicas: 5", "max_replicas: 10"),
        changed(Verdict::Deny, Verdict::Allow, "max_replicas", "above_maximum")
    );
    assert_eq!(
        replayed(nine(), "max_replicas: 10", "approval_needed: replicas > 5"),
        changed(Verdict::Allow, Verdict::ApprovalNeeded, "approval_needed", "approval_condition")
    );
}

#[test]
fn what_was_cut_and_is_looked_at_cannot_be_decided() {
    let long = || json!({"replicas": 9, "note": "x".repeat(300)});
    let undecidable = Replayed::Undecidable { cut: vec!["params.note".to_owned()] };
    assert_eq!(replayed(long(), "max_replicas: 10", "approval_needed: 'note == \"a\"'"), undecidable);
    assert_eq!(replayed(long(), "max_replicas: 10", "max_replicas: 10"), Replayed::Same, "nobody looks at it");
}
