use serde_json::json;

use crate::agent::Agent;
use crate::call::tests::scale;
use crate::call::{Destination, ToolCall};
use crate::policy::{Asked, Options, PolicySet, Source};

const POLICY: &str = "agent: a\negress: {allow: [api.github.com]}\nactions:\n  - name: deploy\n    \
    allowed_environments: [staging]\n    approval_needed: env == 'production'\n    max_replicas: 50\n    max_cpus: 4\n  \
    - {name: read, approval_needed: true}\n";

fn set() -> PolicySet {
    let source = Source { file: "p.yaml".to_owned(), text: POLICY.to_owned() };
    PolicySet::load(&[source], Options::default()).expect("a policy")
}

/// What a call has exercised, as `rule kept` or `rule broken`.
fn exercised(call: &ToolCall) -> Vec<String> {
    let (set, agent) = (set(), Agent::named("a"));
    let asked = Asked::of(&agent, call);
    let found = set.exercised(asked, &set.evaluate(asked), &[]).into_iter();
    found.map(|one| format!("{} {}", one.id, if one.kept { "kept" } else { "broken" })).collect()
}

#[test]
fn every_rule_is_in_the_inventory_with_its_place() {
    let rules = set().rules().into_iter();
    let words = rules.map(|r| format!("{} {}:{} {} {}", r.id, r.file, r.place.line, r.can_be_kept, r.can_be_broken));
    assert_eq!(
        words.collect::<Vec<_>>(),
        [
            "a#egress p.yaml:2 true true",
            "a/deploy#name p.yaml:4 true false",
            "a/deploy#allowed_environments p.yaml:5 true true",
            "a/deploy#approval_needed p.yaml:6 true true",
            "a/deploy#max_cpus p.yaml:8 true true",
            "a/deploy#max_replicas p.yaml:7 true true",
            "a/read#name p.yaml:9 true false",
            "a/read#approval_needed p.yaml:9 false true",
        ]
    );
}

#[test]
fn a_rule_is_asked_where_the_call_has_what_it_is_on() {
    assert_eq!(
        exercised(&scale("staging", json!(5))),
        [
            "a/deploy#allowed_environments kept",
            "a/deploy#approval_needed kept",
            "a/deploy#max_replicas kept",
            "a/deploy#name kept"
        ],
        "a scale has no cpus, and names no destination"
    );
    assert_eq!(
        exercised(&scale("production", json!(51))),
        ["a/deploy#approval_needed broken", "a/deploy#max_replicas broken", "a/deploy#name kept"],
        "an approval lifts the environment's rule: it is neither kept nor broken"
    );
    let away = Destination { scheme: "https".to_owned(), host: "example.com".to_owned(), port: 443 };
    let call = ToolCall { destination: Some(away), classes: ["other".to_owned()].into(), ..scale("x", json!(5)) };
    assert_eq!(exercised(&call), ["a#egress broken"]);
}
