//! Random policies and calls: the engines must never differ, whatever they say.

use std::collections::BTreeMap;

use aegis_core::policy::{Asked, Evaluation, Mode, PolicySet};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::{agent, arbitrary, both, load, opa};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn native_and_rego_agree(
        policies in arbitrary::policies(),
        shadow in any::<bool>(),
        asked in prop::collection::vec((arbitrary::agent(), arbitrary::call()), 1..8),
    ) {
        let set = load(&policies, if shadow { Mode::Shadow } else { Mode::Enforce });
        for ((id, groups), call) in asked {
            both(&set, &agent(&id, &groups), &call.describe());
        }
    }

    #[test]
    fn conditions_agree(
        condition in arbitrary::condition(),
        calls in prop::collection::vec(arbitrary::call(), 1..16),
    ) {
        let policy = json!({
            "agent": "*", "actions": [{"name": "*/*", "approval_needed": condition}],
        });
        let set = load(&policy.to_string(), Mode::Enforce);
        for mut call in calls {
            // What nobody described is matched by no glob.
            if ["unknown", "request", "connect"].contains(&call.action.as_str()) {
                call.action = "scale".to_owned();
            }
            both(&set, &agent("ci-build", &["sre".to_owned()]), &call.describe());
        }
    }
}

#[test]
fn a_real_opa_agrees() {
    let Some(program) = opa::program() else { return };
    let mut runner = TestRunner::deterministic();
    let policies = prop::collection::vec(arbitrary::policies(), 16);
    let mut texts = policies.new_tree(&mut runner).expect("policies").current();
    for _ in 0..8 {
        // One policy with many conditions, all of them asked about every call.
        let conditions = (
            prop::collection::vec(arbitrary::condition(), 30),
            prop::collection::vec(arbitrary::pattern_condition(), 30),
        );
        let conditions = conditions.prop_map(|(some, others)| [some, others].concat());
        let entries = conditions.new_tree(&mut runner).expect("conditions").current().into_iter();
        let entries: Vec<_> = entries.map(|text| json!({"name": "*/*", "approval_needed": text})).collect();
        texts.push(json!({"agent": "*", "actions": entries}).to_string());
    }
    for text in texts {
        let set = load(&text, Mode::Enforce);
        let asked = prop::collection::vec((arbitrary::agent(), arbitrary::call()), 80);
        let asked = asked.new_tree(&mut runner).expect("calls").current();
        let (mut inputs, mut natives): (Vec<_>, Vec<Evaluation>) = (Vec::new(), Vec::new());
        for ((id, groups), call) in asked {
            let (who, call) = (agent(&id, &groups), call.describe());
            natives.push(both(&set, &who, &call));
            inputs.push(PolicySet::input(Asked::of(&who, &call)));
        }
        for ((opa, native), input) in opa::ask(&program, &set, &inputs).into_iter().zip(natives).zip(&inputs) {
            assert_eq!(native, opa, "native (left) and OPA (right) differ on {input}\nunder\n{text}");
        }
    }
}

/// Random cases that never meet prove nothing: every kind of finding, and calls that are allowed, come up often.
#[test]
fn random_calls_reach_every_rule() {
    let mut runner = TestRunner::deterministic();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |what: String| *counts.entry(what).or_default() += 1;
    for _ in 0..600 {
        let policies = arbitrary::policies().new_tree(&mut runner).expect("policies").current();
        let set = load(&policies, Mode::Enforce);
        for _ in 0..5 {
            let asked = (arbitrary::agent(), arbitrary::call()).new_tree(&mut runner).expect("a call").current();
            let (who, call) = (agent(&asked.0.0, &asked.0.1), asked.1.describe());
            let evaluation = set.evaluate(Asked::of(&who, &call));
            if evaluation.findings.is_empty() {
                count("allowed".to_owned());
            }
            for finding in evaluation.findings {
                let families = ["max_", "min_", "allowed_", "denied_", "pattern_"];
                let fixed = ["allowed_environments", "allowed_images", "allowed_image_digests"];
                let family = families.iter().find(|family| finding.rule.starts_with(**family));
                let rule = family
                    .filter(|_| !fixed.contains(&finding.rule.as_str()))
                    .unwrap_or(&finding.rule.as_str())
                    .to_owned();
                count(format!("{rule} {} {:?}", finding.reason.as_str(), finding.effect));
            }
        }
    }
    assert!(counts.len() >= 45, "kinds are missing: {counts:#?}");
    assert!(counts.values().all(|count| *count >= 15), "some come up too seldom: {counts:#?}");
}
