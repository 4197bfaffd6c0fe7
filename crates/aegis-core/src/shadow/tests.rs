use jiff::civil::date;
use proptest::prelude::*;
use serde_json::json;

use super::gate::{Requirements, unmet};
use super::report::{CallCount, PolicyCount, Report, RuleCount, RuleKey, Tally, ValueCount, frequent};
use super::sighting::{Offending, Source, bucket, redacted, sightings};
use super::suggest::suggest;
use super::{Change, Comparison, Opinion};
use crate::agent::Agent;
use crate::call::tests::scale;
use crate::decide::{Decision, Explanation, Facts, Verdict, decide, opinion};
use crate::policy::{self, FindingEffect, Mode, Options, PolicySet};

const KEY: [u8; 32] = [7; 32];

fn load(text: &str, mode: Mode) -> PolicySet {
    let source = policy::Source { file: "p.yaml".into(), text: text.to_owned() };
    PolicySet::load(&[source], Options { mode, ..Options::default() }).expect("a valid policy")
}

fn policy(mode: &str, most: u32) -> PolicySet {
    let text = format!(
        "agent: a\nmode: {mode}\nactions:\n  - {{name: deploy, allowed_environments: [staging], approval_needed: env == \"production\", max_replicas: {most}}}\n"
    );
    load(&text, Mode::Enforce)
}

fn facts<'a>() -> Facts<'a> {
    Facts {
        now: jiff::Timestamp::UNIX_EPOCH,
        decision_id: "dec_1".into(),
        trace_id: None,
        policy_version: "pol_x",
        approval: None,
        over_rate: Vec::new(),
        spends: Vec::new(),
        guards: Vec::new(),
        cross_check: false,
        session: crate::session::Session::default(),
        resolved: Vec::new(),
        via: None,
    }
}

/// The decision of `active` with `candidate` beside it, explained.
fn explained(active: &PolicySet, candidate: Option<&PolicySet>, env: &str, replicas: u32) -> Explanation {
    let (agent, call) = (Agent::named("a"), scale(env, json!(replicas)));
    let beside = candidate.map(|candidate| opinion(candidate, &agent, &call, &facts()));
    match decide(active, &agent, call, &facts()).beside(beside) {
        Decision::Allow(permit) | Decision::Sanitize(permit) => permit.explanation().clone(),
        Decision::Observe(observed) => observed.explanation().clone(),
        Decision::ApprovalNeeded(ask) => ask.explanation().clone(),
        Decision::Deny(denial) => denial.into_explanation(),
    }
}

fn comparison(active: &PolicySet, candidate: &PolicySet, env: &str, replicas: u32) -> Comparison {
    explained(active, Some(candidate), env, replicas).candidate.expect("a comparison")
}

#[test]
fn a_candidate_is_compared_and_changes_nothing() {
    let (fifty, two_hundred) = (policy("enforce", 50), policy("enforce", 200));
    for (active, candidate, replicas, change, reason) in [
        (&fifty, &two_hundred, 50, Change::Same, "allowed"),
        (&fifty, &two_hundred, 100, Change::Looser, "allowed"),
        (&two_hundred, &fifty, 100, Change::Stricter, "max_replicas: above_maximum"),
        (&two_hundred, &fifty, 300, Change::Same, "max_replicas: above_maximum"),
    ] {
        let alone = explained(active, None, "staging", replicas);
        let beside = explained(active, Some(candidate), "staging", replicas);
        assert_eq!((alone.decision, &alone.reason), (beside.decision, &beside.reason));
        let comparison = beside.candidate.expect("a comparison");
        assert_eq!((comparison.change, comparison.reason.as_str()), (change, reason), "{replicas}");
        assert_eq!(comparison.version, candidate.version());
    }
}

#[test]
fn shadow_against_enforce_is_a_disagreement_and_so_are_two_shadows_that_differ() {
    let (shadow, enforce) = (policy("shadow", 50), policy("enforce", 50));
    let blocks = comparison(&shadow, &enforce, "staging", 51);
    assert_eq!((blocks.change, blocks.decision), (Change::Stricter, Verdict::Deny));
    assert_eq!(comparison(&enforce, &shadow, "staging", 51).change, Change::Looser);
    let wider = comparison(&shadow, &policy("shadow", 60), "staging", 51);
    assert_eq!(
        (wider.change, wider.would_decision),
        (Change::Observed, None),
        "promoting it changes nothing that is done"
    );
    assert_eq!(comparison(&shadow, &enforce, "staging", 5).change, Change::Same);
}

#[test]
fn asking_a_human_is_between_allowing_and_denying() {
    let (asks, denies) = (policy("enforce", 50), load("agent: a\nactions: [{name: read}]\n", Mode::Enforce));
    assert_eq!(comparison(&asks, &denies, "production", 5).change, Change::Stricter);
    assert_eq!(comparison(&denies, &asks, "production", 5).change, Change::Looser);
    assert_eq!(comparison(&denies, &asks, "production", 5).decision, Verdict::ApprovalNeeded);
}

#[test]
fn a_candidate_that_fails_is_a_disagreement_and_nothing_else() {
    let (active, call) = (policy("enforce", 50), scale("staging", json!(5)));
    let agent = Agent::named("a");
    let failed = Opinion { failed: true, ..opinion(&active, &agent, &call, &facts()) };
    let Decision::Allow(permit) = decide(&active, &agent, call, &facts()).beside(Some(failed)) else {
        panic!("it is allowed as without it")
    };
    assert_eq!(permit.explanation().candidate.as_ref().map(|candidate| candidate.change), Some(Change::Failed));
}

#[test]
fn no_value_is_in_the_record_of_what_was_watched() {
    let explanation = explained(&policy("shadow", 50), Some(&policy("enforce", 20)), "staging", 7_654_321);
    assert!(explanation.watch.judged.broken.iter().any(|broken| broken.violation.actual == Some(json!(7_654_321))));
    let record = serde_json::to_string(&explanation.without_values()).expect("JSON");
    assert!(!record.contains("7654321"), "{record}");
    assert!(record.contains("\"change\":\"stricter\"") && record.contains("\"observed_by\":[\"a\"]"), "{record}");
    let back: Explanation = serde_json::from_str(&record).expect("read back");
    assert_eq!(back, explanation.without_values());
}

#[test]
fn what_shadow_mode_lets_pass_is_counted_and_nothing_else() {
    let passed = explained(&policy("shadow", 50), None, "staging", 217);
    let counted = sightings(&passed, &KEY);
    let [one] = counted.as_slice() else { panic!("{counted:?}") };
    assert_eq!((&one.source, one.decision, one.would), (&Source::Shadow, Verdict::Allow, Verdict::Deny));
    assert_eq!(one.policies, [("a".to_owned(), Verdict::Deny)]);
    let [rule] = one.rules.as_slice() else { panic!("{one:?}") };
    assert_eq!((rule.entry.as_str(), rule.rule.as_str()), ("a/deploy", "max_replicas"));
    assert_eq!(rule.value, Some(Offending::Number("220".into())));

    // Watched, and kept: seen, without a rule.
    let kept = sightings(&explained(&policy("shadow", 50), None, "staging", 5), &KEY);
    assert!(kept.len() == 1 && kept[0].rules.is_empty() && kept[0].change == Change::Same, "{kept:?}");
    // Enforced: nobody watched.
    assert!(sightings(&explained(&policy("enforce", 50), None, "staging", 217), &KEY).is_empty());
    // The gateway's mode: the default deny.
    let nothing = PolicySet::load(&[], Options { mode: Mode::Shadow, ..Options::default() }).expect("an empty set");
    let counted = sightings(&explained(&nothing, None, "staging", 217), &KEY);
    assert_eq!(counted[0].rules[0].rule, "default_deny");
    assert_eq!(counted[0].policies, [(String::new(), Verdict::Deny)]);
}

#[test]
fn a_guard_holds_in_shadow_mode_and_is_not_counted_as_let_pass() {
    let (agent, call, set) = (Agent::named("a"), scale("staging", json!(217)), policy("shadow", 50));
    let guard = crate::problem::Violation::of_gateway("destination", "private_address", "a guard");
    let facts = Facts { guards: vec![guard], ..facts() };
    let Decision::Deny(denial) = decide(&set, &agent, call, &facts) else { panic!("the guard holds") };
    let counted = sightings(denial.explanation(), &KEY);
    assert!(counted.iter().all(|sighting| sighting.rules.is_empty() && sighting.change == Change::Same), "{counted:?}");
}

#[test]
fn buckets_have_two_digits_and_a_limit_there_lets_the_number_pass() {
    for (number, up, down) in [
        (217.0, "220", "210"),
        (220.0, "220", "220"),
        (51.0, "51", "51"),
        (1001.0, "1100", "1000"),
        (99_999.0, "100000", "99000"),
        (0.123, "0.13", "0.12"),
        (0.15, "0.15", "0.15"),
        (2.5, "2.5", "2.5"),
        (-217.0, "-210", "-220"),
        (0.0, "0", "0"),
        (7_654_321.0, "7700000", "7600000"),
    ] {
        assert_eq!((bucket(number, false).as_str(), bucket(number, true).as_str()), (up, down), "{number}");
    }
}

proptest! {
    #[test]
    fn a_bucket_is_on_its_side_and_near(number in -1e15_f64..1e15) {
        let (up, down): (f64, f64) = (bucket(number, false).parse()?, bucket(number, true).parse()?);
        let slack = number.abs() * 1e-9;
        prop_assert!(up >= number - slack && down <= number + slack, "{down} {number} {up}");
        prop_assert!((up - down).abs() <= number.abs() * 0.1 + slack, "{down} {number} {up}");
    }
}

#[test]
fn values_are_redacted_by_what_they_are() {
    let of =
        |rule: &str, param: Option<&str>, value: serde_json::Value| redacted(rule, param, "not_allowed", &value, &KEY);
    assert_eq!(of("allowed_environments", None, json!("production")), Offending::Named("production".into()));
    assert_eq!(of("egress", None, json!("a.example:443")), Offending::Named("a.example:443".into()));
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = json!(format!("registry.example/secret/app:v1@{digest}"));
    assert_eq!(of("allowed_images", Some("images"), image), Offending::Named(digest));
    let Offending::Hidden(text) = of("allowed_channel", Some("channel"), json!("hunter2")) else { panic!("hidden") };
    assert!(text.starts_with("value-") && text.len() == 14 && !text.contains("hunter2"));
    assert_eq!(of("allowed_channel", Some("channel"), json!("hunter2")), Offending::Hidden(text.clone()));
    assert_ne!(redacted("allowed_channel", None, "not_allowed", &json!("hunter2"), &[8; 32]), Offending::Hidden(text));
    assert_eq!(redacted("max_a", Some("a"), "wrong_type", &json!("hunter2"), &KEY), Offending::Type("text".into()));
}

fn key(rule: &str, reason: &str) -> RuleKey {
    RuleKey {
        policy: "a".into(),
        entry: "a/deploy".into(),
        rule: rule.into(),
        reason: reason.into(),
        change: Change::Stricter,
    }
}

/// `values` broke a rule on one day.
fn report(rule: &RuleKey, values: &[(Offending, u64)]) -> Report {
    let day = date(2026, 11, 22);
    let calls = values.iter().map(|(_, calls)| calls).sum();
    let tally = Tally {
        calls: vec![CallCount {
            day,
            agent: "a".into(),
            decision: Verdict::Allow,
            would: Verdict::Deny,
            change: Change::Stricter,
            calls,
        }],
        policies: vec![PolicyCount { policy: "a".into(), would: Verdict::Deny, calls }],
        rules: vec![RuleCount {
            key: rule.clone(),
            day,
            effect: FindingEffect::Deny,
            agent: "a".into(),
            action: "kubernetes/scale".into(),
            calls,
        }],
        values: values
            .iter()
            .map(|(value, calls)| ValueCount { key: rule.clone(), value: value.clone(), calls: *calls })
            .collect(),
        examples: Vec::new(),
    };
    Report::of(Source::Shadow, tally)
}

fn number(text: &str) -> Offending {
    Offending::Number(text.into())
}

#[test]
fn the_threshold_lets_95_of_100_through() {
    let max = key("max_replicas", "above_maximum");
    let of = |values: &[(Offending, u64)], key: &RuleKey| report(key, values).rules[0].threshold.clone();
    assert_eq!(of(&[(number("1000"), 5), (number("100"), 50), (number("60"), 45)], &max).as_deref(), Some("100"));
    assert_eq!(of(&[(number("1000"), 6), (number("100"), 50), (number("60"), 44)], &max).as_deref(), Some("1000"));
    assert_eq!(of(&[(number("1000"), 5), (Offending::Other, 6)], &max), None);
    assert_eq!(of(&[(Offending::Named("x".into()), 5)], &max), None);
    let min = key("min_replicas", "below_minimum");
    assert_eq!(of(&[(number("1"), 5), (number("2"), 95)], &min).as_deref(), Some("2"));
}

#[test]
fn few_days_are_warned_about_and_hold_a_promotion_back() {
    let report = report(&key("max_replicas", "above_maximum"), &[(number("60"), 40)]);
    assert!(report.warnings[0].starts_with("only 1 day of data"), "{:?}", report.warnings);
    let missing = unmet(&report, &Requirements::default());
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(missing[0].contains("1 of 7 days") && missing[1].contains("40 of 100") && missing[2].contains("40 calls"));
    let enough = Requirements { days: 1, calls: 40, allow_new_blocks: true, allow_new_allows: false };
    assert_eq!(unmet(&report, &enough), Vec::<String>::new());
    let failed = Report { failed: 1, ..report };
    assert_eq!(unmet(&failed, &enough), ["it could not be evaluated on 1 call"]);
}

#[test]
fn what_is_rare_is_not_among_the_frequent() {
    let named = |name: &str| Offending::Named(name.into());
    let report = report(&key("egress", "not_allowed"), &[(named("a"), 90), (named("b"), 8), (named("c"), 2)]);
    let frequent: Vec<_> = frequent(&report.rules[0].values).into_iter().map(|share| share.value.clone()).collect();
    assert_eq!(frequent, [named("a"), named("b")]);
}

/// What becomes of `text` when these values broke its rule; `None` when it is left as it is.
fn suggested(text: &str, rule: &str, values: &[Offending]) -> (Option<String>, Vec<String>) {
    let reason = if rule.starts_with("max_") { "above_maximum" } else { "not_allowed" };
    let mut key = key(rule, reason);
    if rule == "egress" {
        key.entry = String::new();
    }
    suggested_for(text, &key, values)
}

fn suggested_for(text: &str, key: &RuleKey, values: &[Offending]) -> (Option<String>, Vec<String>) {
    let values: Vec<(Offending, u64)> = values.iter().map(|value| (value.clone(), 50)).collect();
    let sources = [policy::Source { file: "p.yaml".into(), text: text.to_owned() }];
    let suggestion = suggest(&report(key, &values), &sources, &load(text, Mode::Shadow));
    let after = suggestion.files.first().map(|file| file.after.clone());
    after.iter().for_each(|after| drop(load(after, Mode::Shadow)));
    (after, suggestion.words)
}

#[test]
fn a_limit_moves_where_it_is_written_and_comments_stay() {
    let text = "# ours\nagent: b\nactions: [{name: deploy, max_replicas: 7}]\n---\nagent: a\nactions:\n  - name: deploy  # all of it\n    max_replicas: 50 # reviewed\n";
    let (after, words) = suggested(text, "max_replicas", &[number("120")]);
    assert_eq!(after.as_deref(), Some(text.replace("50 # reviewed", "120 # reviewed").as_str()), "{words:?}");
    // It is there already.
    assert_eq!(suggested(text, "max_replicas", &[number("40")]), (None, Vec::new()));
    let flow = "agent: a\nactions: [{name: deploy, max_replicas: 50}]\n";
    assert_eq!(
        suggested(flow, "max_replicas", &[number("120")]).0.as_deref(),
        Some(flow.replace("50", "120").as_str())
    );
}

#[test]
fn an_amount_moves_in_its_currency_and_a_duration_is_told_in_words() {
    for (before, after) in [
        ("max_replicas: 500 USD # cap", "max_replicas: 1200 USD # cap"),
        ("max_replicas: \"500 USD\"", "max_replicas: \"1200 USD\""),
    ] {
        let text = |line: &str| format!("agent: a\nactions:\n  - name: pay\n    {line}\n");
        let mut key = key("max_replicas", "above_maximum");
        key.entry = "a/pay".to_owned();
        let (changed, words) = suggested_for(&text(before), &key, &[number("1200")]);
        assert_eq!(changed.as_deref(), Some(text(after).as_str()), "{words:?}");
    }
    let text = "agent: a\nactions: [{name: deploy, max_wait: 90s}]\n";
    let (changed, words) = suggested(text, "max_wait", &[number("120")]);
    assert!(changed.is_none() && words[0].contains("120 would let 95 % of them through"), "{words:?}");
}

#[test]
fn a_list_gets_what_was_frequent_at_its_end() {
    let named = |names: &[&str]| names.iter().map(|name| Offending::Named((*name).to_owned())).collect::<Vec<_>>();
    let entry = |list: &str| format!("agent: a\nactions:\n  - name: deploy\n    {list}\n    max_replicas: 5\n");
    for (before, after) in [
        ("allowed_environments: [staging]", "allowed_environments: [staging, qa-1, \"Prod\"]"),
        ("allowed_environments: [ 'staging' ] # c", "allowed_environments: [ 'staging', qa-1, \"Prod\" ] # c"),
        ("allowed_environments: []", "allowed_environments: [qa-1, \"Prod\"]"),
        (
            "allowed_environments:\n      # why\n      - staging # ok",
            "allowed_environments:\n      # why\n      - staging # ok\n      - qa-1\n      - \"Prod\"",
        ),
    ] {
        let (changed, words) = suggested(&entry(before), "allowed_environments", &named(&["qa-1", "Prod"]));
        // Equal counts are told in the order of their names.
        let other = after
            .replace("qa-1, \"Prod\"", "\"Prod\", qa-1")
            .replace("- qa-1\n      - \"Prod\"", "- \"Prod\"\n      - qa-1");
        assert_eq!(changed.as_deref(), Some(entry(&other).as_str()), "{before} {words:?}");
    }
    let digest = format!("sha256:{}", "ab".repeat(32));
    let other = format!("sha256:{}", "cd".repeat(32));
    for (before, after) in [
        (
            format!("allowed_images: [{{digest: \"{other}\"}}]"),
            format!("allowed_images: [{{digest: \"{other}\"}}, {{digest: \"{digest}\"}}]"),
        ),
        (
            format!("allowed_images:\n      - digest: \"{other}\"\n        repository: \"r.example/a\""),
            format!("allowed_images:\n      - digest: \"{other}\"\n        repository: \"r.example/a\"\n      - {{\"digest\": \"{digest}\"}}")
                .replace("{\"digest\": ", "{digest: "),
        ),
        (
            format!("allowed_image_digests: [\"{other}\"]"),
            format!("allowed_image_digests: [\"{other}\", \"{digest}\"]"),
        ),
    ] {
        let rule = before.split(':').next().expect("a rule");
        let (changed, words) = suggested(&entry(&before), rule, &named(&[&digest]));
        assert_eq!(changed.as_deref(), Some(entry(&after).as_str()), "{words:?}");
    }
    let egress = "agent: a\negress:\n  allow:\n  - \"b.example:443\"\nactions: [{name: deploy}]\n";
    let (changed, words) = suggested(egress, "egress", &named(&["c.example:443"]));
    let after = egress.replace("  - \"b.example:443\"\n", "  - \"b.example:443\"\n  - \"c.example:443\"\n");
    assert_eq!(changed.as_deref(), Some(after.as_str()), "{words:?}");
}

proptest! {
    /// Whatever the text looks like, a change says exactly what was meant, or nothing is changed.
    #[test]
    fn a_change_is_what_was_meant_or_none(
        listed in proptest::collection::vec("[a-z#,: ]{1,6}|[0-9]{1,3}|[\"'\\\\\\]]{1,3}", 0..4),
        quote in 0..3,
        comment in "( #[^\\n\\x85\u{2028}\u{2029}\u{feff}\\x00-\\x1f\\x7f]{0,8})?",
        block in any::<bool>(),
        new in "[ -~]{1,12}",
    ) {
        let written = |text: &String| match quote {
            0 => text.clone(),
            1 => format!("'{}'", text.replace('\'', "''")),
            _ => json!(text).to_string(),
        };
        let items: Vec<String> = listed.iter().map(written).collect();
        let list = match block && !items.is_empty() {
            true => items.iter().map(|item| format!("\n      - {item}{comment}")).collect::<String>(),
            false => format!("[{}]{comment}", items.join(", ")),
        };
        let text = format!("agent: a\nactions:\n  - name: deploy\n    allowed_environments: {list}\n    max_replicas: 5\n");
        let source = policy::Source { file: "p.yaml".into(), text: text.clone() };
        let Ok(set) = PolicySet::load(std::slice::from_ref(&source), Options::default()) else { return Ok(()) };
        let key = key("allowed_environments", "not_allowed");
        let suggestion = suggest(&report(&key, &[(Offending::Named(new.clone()), 5)]), &[source], &set);
        if let Some(file) = suggestion.files.first() {
            let changed = PolicySet::load(&[policy::Source { file: "p.yaml".into(), text: file.after.clone() }], Options::default());
            let changed = changed.expect("it loads");
            let (agent, call) = (Agent::named("a"), scale(&new, json!(1)));
            prop_assert!(changed.evaluate(policy::Asked::of(&agent, &call)).findings.is_empty(), "{}", file.after);
            prop_assert_eq!(&file.before, &text);
        }
    }
}

#[test]
fn what_no_change_should_say_is_told_in_words() {
    let text =
        "agent: a\negress: {allow: []}\nactions: [{name: deploy, allowed_environments: [staging], max_replicas: 5}]\n";
    for (rule, value, part) in [
        ("allowed_environments", Offending::Named("unknown".into()), "`environments` in aegis.yaml"),
        ("egress", Offending::Named("169.254.169.254:80".into()), "stays refused"),
        ("egress", Offending::Named("[::1]:80".into()), "stays refused"),
        ("max_replicas", Offending::Type("text".into()), "redacted"),
        ("allowed_channel", Offending::Hidden("value-3f9a01bc".into()), "nothing to point at"),
    ] {
        let (changed, words) = suggested(text, rule, &[value]);
        assert!(changed.is_none() && words.len() == 1 && words[0].contains(part), "{rule}: {words:?}");
    }
}
