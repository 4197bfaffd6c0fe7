//! The keys of an entry: what is refused, what is said, what budgets and approvals come of them.

use serde_json::{Value, json};

use super::super::*;
use super::{refused, set};
use crate::approval::{ApprovalTerms, Requirement};
use crate::budget::{Unit, Window};
use crate::call::tests::scale;
use crate::call::{Presence, Shape};
use crate::sanitize::Detector;

/// What is said of one line of an entry.
fn said_of(line: &str) -> String {
    refused(&format!("agent: a\nactions:\n  - name: x\n    {line}\n")).join("; ")
}

#[test]
fn a_mistyped_key_of_a_family_names_the_right_one() {
    for (line, meant) in [
        ("alowed_regions: [eu]", "`allowed_regions`"),
        ("allow_regions: [eu]", "`allowed_regions`"),
        ("deny_regions: [eu]", "`denied_regions`"),
        ("blocked_regions: [eu]", "`denied_regions`"),
        ("mx_replicas: 5", "`max_replicas`"),
        ("maximum_replicas: 5", "`max_replicas`"),
        ("maxReplicas: 5", "`max_replicas`"),
        ("max-replicas: 5", "`max_replicas`"),
        ("minimum_replicas: 5", "`min_replicas`"),
        ("patern_ref: x", "`pattern_ref`"),
        ("regex_ref: x", "`pattern_ref`"),
        ("allowed_image: []", "`allowed_images`"),
        ("allowedEnvironments: [x]", "`allowed_environments`"),
        ("allow_environments: [x]", "`allowed_environments`"),
        ("required_param: [x]", "`required_params`"),
        ("deny_iff: x", "`deny_if`"),
        ("dayly_budget: 5 USD", "`daily_budget`"),
        ("aproval_needed: true", "`approval_needed`"),
    ] {
        let said = said_of(line);
        assert!(said.contains(&format!("unknown key; did you mean {meant}?")), "{line}: {said}");
    }
    assert!(said_of("allowed_env: [staging]").ends_with("did you mean `allowed_environments`?"));
    assert!(said_of("denied_environments: [production]").contains("write deny_if: env =="));
    assert!(said_of("required_params: [env]").contains("the environment is no parameter"));
}

#[test]
fn amounts_and_durations_that_could_be_misread_are_refused() {
    for (line, why) in [
        ("max_amount: 500 usd", "a currency is written in capitals; write 500 USD"),
        ("max_amount: 500 UDS", "\"UDS\" is no currency"),
        ("max_amount: 500 XAU", "\"XAU\" is no currency"),
        ("max_amount: 499.999 USD", "USD has 2 decimals"),
        ("max_amount: 5.5 JPY", "JPY has 0 decimals"),
        ("max_amount: 1.2345 KWD", "KWD has 3 decimals"),
        ("max_amount: 1e3 USD", "no plain number"),
        ("max_amount: 10000000000000 USD", "more than 15 digits"),
        ("max_amount: \"$500\"", "a limit is a number, an amount such as 500 USD, or a duration such as 30m"),
        ("max_amount: USD 500", "a limit is a number"),
        ("max_timeout: 1.5h", "a limit is a number"),
        ("max_timeout: 30 m", "\"m\" is no currency"),
        ("max_timeout: \"30\"", "write 30 without quotes"),
        ("max_timeout: [30]", "expected a number, found a list"),
        ("max_timeout:", "expected a number, found nothing"),
        ("min_x: 5\n    max_x: 3", "min_x 5 is above max_x 3: no value keeps both"),
        ("min_x: 5 USD\n    max_x: 3 USD", "min_x 5 USD is above max_x 3 USD"),
        ("min_x: 5 USD\n    max_x: 30", "are in different units"),
        ("min_x: 5 USD\n    max_x: 30 EUR", "are in different units"),
        ("max_a.b.c.d.e: 1", "a path has at most 4 parts"),
        ("max_a..b: 1", "a part of the parameter's name is missing"),
        ("allowed_x: eu", "expected a list, found text; write [\"eu\"]"),
        ("allowed_x: [[eu]]", "expected text, a number, true or false, found a list"),
        ("denied_x: [null]", "found nothing"),
        ("denied_x: {a: 1}", "expected a list, found a mapping"),
        ("denied_x: [1e300]", "beyond 2^53"),
        ("pattern_x: \"(?i)a\"", "flags such as (?i) are not supported"),
        ("pattern_x: 5", "expected text, found a number"),
        ("deny_if: true", "expected a condition, found true or false; to refuse every call, leave the entry out"),
        ("deny_if: []", "found an empty list"),
        ("deny_if: [a == 1, a / 2.0 == 1]", "`/` and `%` are for whole numbers"),
        ("required_params: reason", "expected a list, found text; write [\"reason\"]"),
        ("required_params: [\"\"]", "found nothing"),
        ("on_violation: {required_params: approval_needed}", "the entry has no such rule"),
        ("deny_if: a == 1\n    on_violation: {deny_if: approval_needed}", "the entry has no such rule"),
        ("egress: {allow: [\"https://x\"]}", "write a host, or host:port"),
    ] {
        let said = said_of(line);
        assert!(said.contains(why), "{line}: {said}");
    }
    let globs: String = (0..1_001).map(|n| format!("\"{n}*\",")).collect();
    assert!(said_of(&format!("allowed_x: [{globs}]")).contains("more than 1000 texts with `*` in one list"));
    let min_and_max = "agent: a\nactions:\n  - {name: x, min_x: 5, max_x: 5, min_t: 1s, max_t: 1m}\n";
    assert_eq!(set(min_and_max).len(), 1);
    let warnings = |line: &str| {
        let set = set(&format!("agent: a\nactions:\n  - {{name: x, {line}}}\n"));
        set.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(warnings("allowed_x: []").ends_with("actions[0].allowed_x: an empty list allows nothing"));
    assert!(warnings("denied_x: []").ends_with("actions[0].denied_x: an empty list denies nothing"));
    assert!(warnings("denied_x: [a, b, a]").ends_with("actions[0].denied_x: the value stands twice in the list"));
    assert!(warnings("required_params: [a, a]").ends_with("the parameter stands twice in the list"));
}

#[test]
fn budgets_approvers_and_what_is_sanitized_are_checked() {
    for (line, why) in [
        ("daily_budget: 50", "a budget without a unit; write its unit: 50 USD, 50 requests or 50 tokens"),
        ("daily_budget: \"50\"", "a budget without a unit"),
        ("daily_budget: 0.5", "a budget without a unit"),
        ("daily_budget: 50USD", "\"50USD\" is no amount; write a number and a unit, such as 50 USD"),
        ("daily_budget: 50 usd", "write 50 USD"),
        ("daily_budget: 50 UDS", "\"UDS\" is no currency"),
        ("daily_budget: 50 calls", "write 50 requests"),
        ("daily_budget: 0.5 replicas", "\"0.5\" is no whole number"),
        ("daily_budget: 9007199254740992 tokens", "is no whole number up to 2^53"),
        ("daily_budget: 0 USD", "a budget of nothing allows nothing"),
        ("daily_budget: -5 USD", "is no amount"),
        ("daily_budget: [5]", "expected an amount such as 50 USD, found a list"),
        ("budget: 50 USD", "expected a mapping, found text"),
        ("budget: {}", "a budget needs a window"),
        ("budget: {dayly: 50 USD}", "did you mean `daily`?"),
        ("budget: {daily: 5 USD}\n    daily_budget: 5 USD", "`budget` has a daily one already"),
        ("approval: {approvers: []}", "nobody could approve"),
        ("approval: {approvers: [sre]}", "\"sre\" is no approver; such as `group:sre` or `user:sre`"),
        ("approval: {approvers: [\"slak:U1\"]}", "did you mean `slack:U1`?"),
        ("approval: {approvers: [\"slack:\"]}", "write slack:…"),
        ("approval: {approvers: [\"user:a b\"]}", "is no approver"),
        ("approval: {count: 0}", "expected 1 to 20, found 0"),
        ("approval: {count: 2, approvers: [\"user:a\", \"user:a\"]}", "2 have to approve, but only 1 may"),
        ("approval: {scope: everything}", "expected `call`"),
        ("approval: {scope: action}", "this version can't enforce it yet"),
        ("sanitize: {params: [a]}", "`detect` is missing"),
        ("sanitize: {detect: []}", "nothing would be detected"),
        ("sanitize: {detect: [pi]}", "did you mean `pii`?"),
        ("sanitize: {detect: [pii], params: []}", "nothing would be looked at"),
        ("sanitize: {detect: [pii], params: [params.]}", "a part of the parameter's name is missing"),
    ] {
        let said = said_of(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn each_asking_entry_has_its_terms_met() {
    let set = set("agent: a\nactions:\n\
                   \x20 - {name: scale, approval_needed: true, approval: {approvers: [\"user:b\", \"group:a\", \"user:b\"], count: 2, expires: 30m}}\n\
                   \x20 - {name: scale, approval_needed: true, approval: {approvers: [\"slack:U1\"], expires: 1h}}\n\
                   \x20 - {name: scale, approval_needed: true, approval: {expires: 10m}}\n\
                   \x20 - {name: scale, approval_needed: false, approval: {approvers: [\"user:nobody\"], expires: 1s}}\n");
    let agent = Agent::named("a");
    let call = scale("staging", json!(1));
    let found = set.evaluate(Asked::of(&agent, &call)).findings;
    let of = |approvers: &[&str], count| Requirement {
        approvers: approvers.iter().map(|&one| one.to_owned()).collect(),
        count,
    };
    let terms = set.approval_terms(&found);
    let wanted = ApprovalTerms { ttl_s: 600, requirements: vec![of(&["group:a", "user:b"], 2), of(&["slack:U1"], 1)] };
    assert_eq!(terms, wanted);
    let json = serde_json::to_value(&terms).expect("json");
    assert_eq!(serde_json::from_value::<ApprovalTerms>(json).expect("terms"), wanted);
    let denied = Finding { effect: FindingEffect::Deny, ..found[0].clone() };
    let observed = Finding { mode: Mode::Shadow, ..found[0].clone() };
    assert_eq!(set.approval_terms(&[denied, observed]), ApprovalTerms { ttl_s: 1800, requirements: Vec::new() });
}

#[test]
fn a_budget_says_what_a_call_costs_or_that_it_does_not_know() {
    let set = set("agent: a\nbudget: {daily: 49.99 USD, hourly: 40 requests}\nactions:\n\
                   \x20 - {name: pay, budget: {monthly: 1000 JPY}}\n\
                   \x20 - {name: scale, daily_budget: 30 replicas}\n\
                   \x20 - {name: read, daily_budget: 30 replicas}\n");
    let agent = Agent::named("a");
    let of = |action: &str, shape: Option<&[&str]>, params: Value| {
        let mut call = scale("staging", json!(1));
        call.action = action.to_owned();
        call.classes.clear();
        call.params = params.as_object().expect("a mapping").clone();
        let defined = |names: &[&str]| names.iter().map(|&name| (name.to_owned(), Presence::Required)).collect();
        call.shape = shape.map_or(Shape::Open, |names| Shape::Defined(defined(names)));
        let limits = set.budgets(Asked::of(&agent, &call));
        limits.iter().map(|limit| format!("{}: {:?} of {}", limit.key, limit.cost, limit.limit)).collect::<Vec<_>>()
    };
    let requests = "a||a|hour|requests: Known(1) of 40";
    let unknown = |param: &str| format!("Unknown {{ param: {param:?} }}");
    let usd = |cost: &str| format!("a||a|day|USD: {cost} of 4999");
    let jpy = |cost: &str| format!("a|0|a|month|JPY: {cost} of 1000");
    let pay = |params: Value| of("pay", None, params);
    assert_eq!(
        pay(json!({"amount": 12.5, "currency": "usd"})),
        [requests.to_owned(), usd("Known(1250)"), jpy(&unknown("currency"))]
    );
    assert_eq!(
        pay(json!({"amount": 12, "currency": "JPY"})),
        [requests.to_owned(), usd(&unknown("currency")), jpy("Known(12)")]
    );
    for amount in [json!(0.001), json!(-5), json!("12"), json!(null), json!([]), json!(1e300)] {
        let found = pay(json!({"amount": amount, "currency": "USD"}));
        assert_eq!(found[1], usd(&unknown("amount")), "{amount}");
    }
    assert_eq!(pay(json!({"amount": [1, 2.5], "currency": "USD"}))[1], usd("Known(350)"));
    assert_eq!(pay(json!({}))[1], usd(&unknown("amount")));
    // What the action doesn't have costs nothing, and isn't counted.
    assert_eq!(of("pay", Some(&["to"]), json!({})), [requests]);
    let scaled = |replicas: Value| of("scale", Some(&["replicas"]), json!({"replicas": replicas})).pop().expect("one");
    assert_eq!(scaled(json!(7)), "a|1|a|day|replicas: Known(7) of 30");
    assert_eq!(scaled(json!(7.0)), "a|1|a|day|replicas: Known(7) of 30");
    for replicas in [json!(7.5), json!(-1), json!("7"), json!(u64::MAX)] {
        assert!(scaled(replicas.clone()).contains("Unknown"), "{replicas}");
    }
    let limit = set.budgets(Asked::of(&agent, &scale("staging", json!(1)))).pop().expect("one");
    assert_eq!((limit.unit, limit.window), (Unit { name: "replicas".into(), decimals: 0 }, Window::Daily));
    assert_eq!(limit.rule, "daily_budget");
}

#[test]
fn what_has_to_be_redacted_is_said_for_the_entries_that_apply() {
    let set = set("agent: a\nactions:\n\
                   \x20 - {name: scale, sanitize: {detect: [secrets, pii], params: [params.message, note.text, message]}}\n\
                   \x20 - {name: scale, sanitize: {detect: [phi]}}\n\
                   \x20 - {name: read, sanitize: {detect: [phi]}}\n");
    let (agent, call) = (Agent::named("a"), scale("staging", json!(1)));
    let asked = Asked::of(&agent, &call);
    let found = set.sanitizers(asked);
    let path = |path: &[&str]| path.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].params, Some(vec![path(&["message"]), path(&["note", "text"])]));
    assert_eq!((found[1].params.clone(), found[1].detect.clone()), (None, std::sync::Arc::new(Detector::new(["phi"]))));
    let message = set.violation(&set.evaluate(asked).findings[0], asked).message;
    assert_eq!(message, "the policy has pii, secrets redacted from message, note.text first");
}

#[test]
fn every_rule_has_its_words() {
    let set = set("agent: a\nactions:\n\
                   \x20 - name: scale\n\
                   \x20   allowed_region: [us-*, 1]\n\
                   \x20   denied_tag: [prod]\n\
                   \x20   pattern_ref: \"v\\\\d+\"\n\
                   \x20   required_params: [reason, change.ticket]\n\
                   \x20   max_amount: 500 USD\n\
                   \x20   min_timeout: 1m\n\
                   \x20   max_spec.replicas: 5\n\
                   \x20   deny_if: replicas > 0\n");
    let agent = Agent::named("a");
    let said = |params: Value| {
        let mut call = scale("staging", json!(1));
        call.shape = Shape::Open;
        call.params.extend(params.as_object().expect("a mapping").clone());
        let asked = Asked::of(&agent, &call);
        let found = set.evaluate(asked).findings;
        found.iter().map(|one| set.violation(one, asked)).collect::<Vec<_>>()
    };
    let bad = json!({
        "region": "eu", "tag": ["x", "prod"], "ref": "main", "amount": 700, "currency": "usd", "timeout": ["59s", 5],
        "spec": {"replicas": 6}, "reason": "",
    });
    let messages: Vec<String> = said(bad.clone()).into_iter().map(|one| one.message).collect();
    assert_eq!(
        messages,
        [
            "region \"eu\" is not one of allowed_region: \"us-*\", 1",
            "tag \"prod\" is refused by denied_tag",
            "the policy refuses every such call where replicas > 0",
            "amount 700 is above max_amount 500 USD",
            "spec.replicas 6 is above max_spec.replicas 5",
            "timeout 5 is below min_timeout 1m",
            "ref \"main\" doesn't match pattern_ref \"v\\\\d+\"",
            "reason, change.ticket are missing or empty, but required_params needs them",
        ]
    );
    let amount = &said(bad)[3];
    assert_eq!((amount.limit.clone(), amount.actual.clone()), (Some(json!("500 USD")), Some(json!(700))));
    let odd = json!({
        "region": true, "tag": 5, "ref": 5, "amount": 700, "currency": "EUR", "timeout": "soon", "spec": 5, "reason": "x",
        "change": {"ticket": 1},
    });
    let messages: Vec<String> = said(odd).into_iter().map(|one| one.message).collect();
    assert_eq!(
        messages,
        [
            "region is true or false, but allowed_region needs text or a number",
            "tag is a number, but denied_tag needs text",
            "the policy refuses every such call where replicas > 0",
            "amount is in \"EUR\", but max_amount is 500 USD: amounts in other currencies aren't compared",
            "spec.replicas is behind something that is no mapping, but max_spec.replicas 5 needs a number",
            "timeout is text, but min_timeout 1m needs a duration such as 90s, or a number of seconds that isn't negative",
            "ref is a number, but pattern_ref needs text",
        ]
    );
    let messages: Vec<String> =
        said(json!({"amount": 5, "currency": null})).into_iter().map(|one| one.message).collect();
    assert!(
        messages.contains(&"currency is missing beside amount, but max_amount 500 USD needs it".to_owned()),
        "{messages:?}"
    );
    assert!(messages.contains(&"region is missing, but allowed_region needs it".to_owned()), "{messages:?}");
}
