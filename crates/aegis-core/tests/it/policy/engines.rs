//! Random policies and calls: the engines must never differ, whatever they say.

use std::collections::BTreeMap;

use aegis_core::policy::{Evaluation, Mode};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::{arbitrary, both, load, opa};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn native_and_rego_agree(
        policies in arbitrary::policies(),
        shadow in any::<bool>(),
        questions in prop::collection::vec(arbitrary::question(), 1..8),
    ) {
        let set = load(&policies, if shadow { Mode::Shadow } else { Mode::Enforce });
        for question in questions {
            both(&set, question.asked());
        }
    }
}

#[test]
fn a_real_opa_agrees() {
    let Some(program) = opa::program() else { return };
    let mut runner = TestRunner::deterministic();
    let policies = prop::collection::vec(arbitrary::policies(), 16);
    let texts = policies.new_tree(&mut runner).expect("policies").current();
    for text in texts {
        let set = load(&text, Mode::Enforce);
        let questions = prop::collection::vec(arbitrary::question(), 80);
        let questions = questions.new_tree(&mut runner).expect("calls").current();
        let inputs: Vec<_> = questions.iter().map(|question| set.input(question.asked())).collect();
        let natives: Vec<Evaluation> = questions.iter().map(|question| both(&set, question.asked())).collect();
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
            let question = arbitrary::question().new_tree(&mut runner).expect("a call").current();
            let evaluation = set.evaluate(question.asked());
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
