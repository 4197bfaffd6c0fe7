//! Lints make no guesses: what they say of a condition holds of every call.

use std::collections::BTreeSet;

use aegis_core::call::Companion;
use aegis_core::policy::{Mode, Reason, Surroundings};
use proptest::prelude::*;

use super::{arbitrary, cel, load};

/// The environments of a map that yields the least.
const KNOWN: [&str; 1] = ["staging"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_a_condition_holds_of_every_call(
        condition in cel::condition(),
        around in prop::sample::select(vec!["{} && 1 > 2", "{} || 1 < 2", "{}", "env == 'qa' && {}", "!({}) || true"]),
        questions in prop::collection::vec(arbitrary::question(), 1..16),
    ) {
        let condition = around.replace("{}", &format!("({condition})"));
        let set = load(&cel::policy("UTC", std::slice::from_ref(&condition)), Mode::Enforce);
        let known = BTreeSet::from(KNOWN);
        let found = set.lint(Surroundings { environments: Some(&known), agents: None });
        let said: Vec<&str> = found.iter().filter_map(|one| one.kind).map(|kind| kind.name).collect();
        for question in questions {
            let asked = question.asked();
            let evaluation = set.evaluate(asked);
            let is = |reason: Reason| evaluation.findings.iter().any(|finding| finding.reason == reason);
            let env = asked.call.environment.name.as_str();
            let somewhere = KNOWN.contains(&env) || env == "unknown";
            if said.contains(&"condition-never-true") || (said.contains(&"condition-in-no-environment") && somewhere) {
                prop_assert!(!is(Reason::ApprovalCondition), "{condition} is true of {:?}", asked.call);
            }
            let applies = !evaluation.matched.is_empty() && asked.call.companion == Companion::No;
            if said.contains(&"condition-always-true") && applies {
                let true_or_unknown = is(Reason::ApprovalCondition) || is(Reason::ConditionUnknown);
                prop_assert!(true_or_unknown, "{condition} is false of {:?}", asked.call);
            }
        }
    }
}
