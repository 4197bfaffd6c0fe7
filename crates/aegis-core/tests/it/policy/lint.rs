//! Lints make no guesses: what they say of a condition holds of every call.

use std::collections::BTreeSet;

use aegis_core::policy::{Asked, Mode, Reason, Surroundings};
use proptest::prelude::*;
use serde_json::json;

use super::cel::condition as any_condition;
use super::{agent, arbitrary, load};

/// The environments of a map that yields the least.
const KNOWN: [&str; 1] = ["staging"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_a_condition_holds_of_every_call(
        condition in any_condition(),
        constant in prop::sample::select(vec!["{} && 1 > 2", "{} || 1 < 2", "{}", "env == 'qa' && {}", "!({}) || true"]),
        calls in prop::collection::vec(arbitrary::call(), 1..16),
    ) {
        let condition = constant.replace("{}", &format!("({condition})"));
        let set = load(&json!({"agent": "*", "actions": [{"name": "*/*", "approval_needed": condition}]}).to_string(), Mode::Enforce);
        let known = BTreeSet::from(KNOWN);
        let found = set.lint(Surroundings { environments: Some(&known), agents: None });
        let said: Vec<&str> = found.iter().filter_map(|one| one.kind).map(|kind| kind.name).collect();
        let who = agent("ci-build", &["sre".to_owned()]);
        for call in calls {
            let env = call.env.clone();
            let call = call.describe();
            let evaluation = set.evaluate(Asked::of(&who, &call));
            let is = |reason: Reason| evaluation.findings.iter().any(|finding| finding.reason == reason);
            let applies = !evaluation.matched.is_empty() && !is(Reason::NoEntry);
            if said.contains(&"condition-never-true") {
                prop_assert!(!is(Reason::ApprovalCondition), "{condition} is true of {call:?}");
            }
            if said.contains(&"condition-in-no-environment") && (KNOWN.contains(&env.as_str()) || env == "unknown") {
                prop_assert!(!is(Reason::ApprovalCondition), "{condition} is true in {env}");
            }
            if said.contains(&"condition-always-true") && applies && call.companion == aegis_core::call::Companion::No {
                prop_assert!(is(Reason::ApprovalCondition) || is(Reason::ConditionUnknown), "{condition} is false of {call:?}");
            }
        }
    }
}
