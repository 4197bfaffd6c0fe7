use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::json;

use super::{Decision, Facts, OverRate, Passage, Verdict, decide, reach};
use crate::agent::Agent;
use crate::approval::{Approval, Event, State, apply};
use crate::budget::{BudgetLimit, Cost, Spend, Unit, Window};
use crate::call::Destination;
use crate::call::tests::scale;
use crate::policy::{Mode, Options, PolicySet, RateLimit, Source};
use crate::problem::{Code, Violation};

const POLICY: &str = "agent: deploy-manager
actions:
  - name: deploy
    allowed_environments: [staging]
    approval_needed: env == \"production\"
    approval: {expires: 30m}
    max_replicas: 50
";

fn policies(text: &str) -> PolicySet {
    let source = Source { file: "p.yaml".into(), text: text.to_owned() };
    PolicySet::load(&[source], Options::default()).expect("a valid policy")
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn facts<'a>() -> Facts<'a> {
    Facts { cross_check: true, ..Facts::new(now(), "dec_1", "pol_x") }
}

fn agent() -> Agent {
    Agent::named("deploy-manager")
}

fn verdict(decision: &Decision) -> (Verdict, Option<Code>) {
    let explanation = match decision {
        Decision::Allow(permit) => permit.explanation(),
        Decision::Sanitize(permit) => permit.explanation(),
        Decision::Observe(observed) => observed.explanation(),
        Decision::ApprovalNeeded(ask) => ask.explanation(),
        Decision::Deny(denial) => denial.explanation(),
    };
    (explanation.decision, explanation.code)
}

/// An approval for scaling `web` in production to 5.
fn approval(events: &[Event]) -> Approval {
    let decision = decide(&policies(POLICY), &agent(), scale("production", json!(5)), &facts());
    let Decision::ApprovalNeeded(ask) = decision else { panic!("{decision:?}") };
    let (_, request) = ask.into_parts();
    events.iter().fold(Approval::open("apr_1".into(), request), |approval, event| {
        apply(&approval, event, now()).expect("an event that applies")
    })
}

fn approved() -> Approval {
    approval(&[Event::Approve { by: "alice".into(), comment: None }])
}

#[test]
fn the_policy_of_the_mission_decides_as_written() {
    let policies = policies(POLICY);
    let of = |env: &str, replicas| verdict(&decide(&policies, &agent(), scale(env, replicas), &facts()));
    assert_eq!(of("staging", json!(50)), (Verdict::Allow, None));
    assert_eq!(of("staging", json!(51)), (Verdict::Deny, Some(Code::PolicyViolation)));
    assert_eq!(of("staging", json!("50")), (Verdict::Deny, Some(Code::PolicyViolation)));
    assert_eq!(of("production", json!(50)), (Verdict::ApprovalNeeded, Some(Code::ApprovalNeeded)));
    assert_eq!(of("production", json!(51)), (Verdict::Deny, Some(Code::PolicyViolation)));
    assert_eq!(of("unknown", json!(1)), (Verdict::Deny, Some(Code::PolicyViolation)));
}

#[test]
fn nothing_is_allowed_where_nothing_is_written() {
    let empty = PolicySet::load(&[], Options::default()).expect("an empty set");
    assert_eq!(verdict(&decide(&empty, &agent(), scale("staging", json!(1)), &facts())).0, Verdict::Deny);
    let other = Agent::named("somebody-else");
    assert_eq!(verdict(&decide(&policies(POLICY), &other, scale("staging", json!(1)), &facts())).0, Verdict::Deny);
}

#[test]
fn an_approval_lifts_what_asks_for_exactly_its_call_and_agent() {
    let (policies, approved) = (policies(POLICY), approved());
    let with = |agent: Agent, call| {
        let facts = Facts { approval: Some(&approved), ..facts() };
        decide(&policies, &agent, call, &facts)
    };
    let Decision::Allow(permit) = with(agent(), scale("production", json!(5))) else { panic!("not allowed") };
    assert_eq!(permit.spends(), Some("apr_1"));
    assert_eq!(verdict(&with(agent(), scale("production", json!(6)))).0, Verdict::ApprovalNeeded);
    assert_eq!(verdict(&with(agent(), scale("production", json!(51)))).0, Verdict::Deny);
    assert_eq!(verdict(&with(Agent::named("mallory"), scale("production", json!(5)))).0, Verdict::Deny);
}

#[test]
fn an_approval_is_judged_under_the_policy_of_the_moment() {
    let stricter = policies(&POLICY.replace("max_replicas: 50", "max_replicas: 4"));
    let approved = approved();
    let facts = Facts { approval: Some(&approved), ..facts() };
    let decision = decide(&stricter, &agent(), scale("production", json!(5)), &facts);
    assert_eq!(verdict(&decision), (Verdict::Deny, Some(Code::PolicyViolation)));
}

#[test]
fn an_approval_of_fewer_people_than_are_asked_now_is_not_enough() {
    let approved = approved();
    let asks = |terms: &str| {
        let policies = policies(&POLICY.replace("{expires: 30m}", terms));
        let facts = Facts { approval: Some(&approved), ..facts() };
        decide(&policies, &agent(), scale("production", json!(5)), &facts)
    };
    assert!(matches!(asks("{expires: 5m}"), Decision::Allow(_)), "alice is an operator, and one is enough");
    for terms in ["{count: 2}", "{approvers: [\"operator:bob\"]}"] {
        let Decision::ApprovalNeeded(ask) = asks(terms) else { panic!("{terms}") };
        assert!(!ask.request().requirements.is_empty());
    }
    assert!(matches!(asks("{approvers: [\"operator:alice\", \"operator:bob\"]}"), Decision::Allow(_)));
}

#[test]
fn what_a_session_has_seen_since_asks_its_own_people() {
    let policies = policies(
        "agent: deploy-manager
actions:
  - {name: deploy, approval_needed: true}
  - name: deploy
    approval_needed: '\"private\" in session.labels'
    approval: {approvers: [\"operator:security\"]}
",
    );
    let with = |approval, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let session = crate::session::Session { labels, ..Default::default() };
        decide(&policies, &agent(), scale("staging", json!(5)), &Facts { approval, session, ..facts() })
    };
    let Decision::ApprovalNeeded(ask) = with(None, &[]) else { panic!("not asked") };
    let yes = Event::Approve { by: "alice".into(), comment: None };
    let approved = apply(&Approval::open("apr_1".into(), ask.into_parts().1), &yes, now()).expect("approved");
    assert!(matches!(with(Some(&approved), &[]), Decision::Allow(_)));
    assert!(matches!(with(Some(&approved), &["private"]), Decision::ApprovalNeeded(_)));
}

#[test]
fn rejected_expired_lapsed_and_cancelled_are_different_answers() {
    let answer = |approval: &Approval, now: Timestamp| {
        let facts = Facts { approval: Some(approval), now, ..facts() };
        verdict(&decide(&policies(POLICY), &agent(), scale("production", json!(5)), &facts)).1
    };
    let by = || "alice".to_owned();
    let later = now() + 31.minutes();
    let rejected = approval(&[Event::Reject { by: by(), comment: None }]);
    let cancelled = approval(&[Event::Cancel { by: by(), comment: None }]);
    let told = Approval { told: true, state: State::Expired, ..approval(&[]) };
    assert_eq!(answer(&rejected, now()), Some(Code::ApprovalRejected));
    assert_eq!(answer(&cancelled, now()), Some(Code::ApprovalCancelled));
    assert_eq!(answer(&approval(&[]), now()), Some(Code::ApprovalNeeded));
    assert_eq!(answer(&approval(&[]), later), Some(Code::ApprovalExpired));
    assert_eq!(answer(&approved(), later), Some(Code::ApprovalExpired));
    assert_eq!(answer(&told, later), Some(Code::ApprovalNeeded), "told once, then it asks anew");
    assert_eq!(answer(&rejected, later), Some(Code::ApprovalNeeded));
    let spent = Approval { state: State::Spent, ..approved() };
    assert_eq!(answer(&spent, now()), Some(Code::ApprovalNeeded), "spent once");
}

#[test]
fn shadow_lets_pass_what_it_would_refuse_and_says_so() {
    let shadow = policies(&format!("mode: shadow\n{POLICY}"));
    let decision = decide(&shadow, &agent(), scale("staging", json!(51)), &facts());
    let Decision::Observe(observed) = decision else { panic!("{decision:?}") };
    assert_eq!(observed.explanation().would_decision, Some(Verdict::Deny));
    assert_eq!(observed.explanation().decision, Verdict::Allow);
    assert_eq!(observed.explanation().mode, Mode::Shadow);
}

#[test]
fn the_gateways_own_guards_hold_in_shadow_mode() {
    let shadow = policies(&format!("mode: shadow\n{POLICY}"));
    let guard = Violation {
        rule: "egress_guard".into(),
        policy: String::new(),
        reason: "private_network".into(),
        param: None,
        limit: None,
        actual: None,
        message: "an address that is not public".into(),
    };
    let facts = Facts { guards: vec![guard], ..facts() };
    assert_eq!(verdict(&decide(&shadow, &agent(), scale("staging", json!(1)), &facts)).0, Verdict::Deny);
}

#[test]
fn a_call_that_lies_about_its_environment_is_denied() {
    let mut call = scale("staging", json!(1));
    call.environment.contradicted_by = Some("production".into());
    let decision = decide(&policies(POLICY), &agent(), call, &facts());
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    assert_eq!(denial.explanation().violations[0].rule, "environment_mismatch");
}

fn over(mode: Mode) -> OverRate {
    let limit = RateLimit { key: "k".into(), policy: "p".into(), limit: 1, per_ms: 1000, burst: 1, mode };
    OverRate { limit, retry_after: 3 }
}

#[test]
fn a_rate_alone_is_rate_limited_and_with_another_rule_a_violation() {
    let of = |replicas| {
        let facts = Facts { over_rate: vec![over(Mode::Enforce)], ..facts() };
        decide(&policies(POLICY), &agent(), scale("staging", json!(replicas)), &facts)
    };
    let Decision::Deny(denial) = of(1) else { panic!("not denied") };
    assert_eq!(denial.explanation().code, Some(Code::RateLimited));
    assert_eq!(denial.explanation().retry_after, Some(3));
    assert_eq!(verdict(&of(51)).1, Some(Code::PolicyViolation));
}

#[test]
fn no_record_holds_a_raw_value() {
    let decision = decide(&policies(POLICY), &agent(), scale("staging", json!("hunter2-raw")), &facts());
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    let record = serde_json::to_string(&denial.explanation().without_values()).expect("json");
    assert!(!record.contains("hunter2-raw"), "{record}");
    assert!(record.contains("wrong_type"), "{record}");
}

fn any_replicas() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<i64>().prop_map(|n| json!(n)),
        (-100i64..100).prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".*".prop_map(|s| json!(s)),
        Just(json!(null)),
        Just(json!([5, 51])),
        Just(json!({"a": 5})),
        any::<bool>().prop_map(|b| json!(b)),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_only_a_number_up_to_the_maximum_in_staging_is_allowed(
        env in prop_oneof![Just("staging"), Just("production"), Just("unknown"), Just("Staging")],
        replicas in any_replicas(),
        id in prop_oneof![Just("deploy-manager"), Just("deploy-managerx"), Just("")],
    ) {
        let good = replicas.as_f64().is_some_and(|n| n <= 50.0);
        let decision = decide(&policies(POLICY), &Agent::named(id), scale(env, replicas), &facts());
        let allowed = matches!(decision, Decision::Allow(_) | Decision::Observe(_));
        prop_assert_eq!(allowed, good && env == "staging" && id == "deploy-manager");
    }
}

fn spend(limit: u64, spent: u64, cost: Cost, mode: Mode) -> Spend {
    let limit = BudgetLimit {
        key: "deploy-manager||deploy-manager|daily|replicas|enforce".to_owned(),
        policy: "deploy-manager".to_owned(),
        rule: "daily_budget".to_owned(),
        limit,
        unit: Unit { name: "replicas".to_owned(), decimals: 0 },
        window: Window::Daily,
        mode,
        cost,
    };
    Spend { limit, spent }
}

#[test]
fn a_budget_refuses_with_its_own_code_and_says_when_it_resets() {
    let facts = Facts { spends: vec![spend(30, 29, Cost::Known(2), Mode::Enforce)], ..facts() };
    let Decision::Deny(denial) = decide(&policies(POLICY), &agent(), scale("staging", json!(2)), &facts) else {
        panic!("within nothing")
    };
    let problem = denial.explanation().problem().expect("a refusal");
    assert_eq!((problem.code, problem.status, problem.retryable), (Code::BudgetExceeded, 403, false));
    assert_eq!(problem.resets_at.map(|at| at.to_string()).as_deref(), Some("2026-11-23T00:00:00Z"));
    assert_eq!(problem.detail, "daily_budget 30 replicas a day: 29 replicas spent, and this call takes 2 replicas");
}

#[test]
fn a_rule_and_a_budget_are_named_together() {
    let facts = Facts { spends: vec![spend(30, 0, Cost::Known(200), Mode::Enforce)], ..facts() };
    let decision = decide(&policies(POLICY), &agent(), scale("staging", json!(200)), &facts);
    assert_eq!(verdict(&decision), (Verdict::Deny, Some(Code::PolicyViolation)));
    let Decision::Deny(denial) = decision else { panic!("denied") };
    let rules: Vec<&str> = denial.explanation().violations.iter().map(|v| v.rule.as_str()).collect();
    assert_eq!(rules, ["max_replicas", "daily_budget"]);
    assert_eq!(denial.explanation().resets_at, None, "waiting won't help");
}

#[test]
fn an_unknown_cost_is_refused_and_an_over_budget_call_asks_nobody() {
    let unknown = Cost::Unknown { param: "amount".to_owned() };
    let unknown = Facts { spends: vec![spend(30, 0, unknown, Mode::Enforce)], ..facts() };
    let decision = decide(&policies(POLICY), &agent(), scale("staging", json!(1)), &unknown);
    assert_eq!(verdict(&decision), (Verdict::Deny, Some(Code::PolicyViolation)));
    let over = Facts { spends: vec![spend(3, 3, Cost::Known(1), Mode::Enforce)], ..facts() };
    let decision = decide(&policies(POLICY), &agent(), scale("production", json!(1)), &over);
    assert_eq!(verdict(&decision), (Verdict::Deny, Some(Code::BudgetExceeded)));
}

#[test]
fn a_watched_budget_is_observed_and_still_counted() {
    let facts = Facts { spends: vec![spend(3, 3, Cost::Known(1), Mode::Shadow)], ..facts() };
    let Decision::Observe(observed) = decide(&policies(POLICY), &agent(), scale("staging", json!(1)), &facts) else {
        panic!("passes")
    };
    assert_eq!(observed.explanation().would_decision, Some(Verdict::Deny));
    let passage = Passage::Observed(observed);
    assert_eq!(passage.charges().iter().map(|c| (c.amount, c.limit)).collect::<Vec<_>>(), [(1, None)]);
}

#[test]
fn a_connection_is_judged_by_who_asks_and_where_and_by_no_rule_on_a_parameter() {
    let agent = Agent::named("a");
    let judged = |policy: &str, host: &str| {
        let mut call = scale("staging", json!(500));
        call.destination = Some(Destination { scheme: "tunnel".into(), host: host.into(), port: 443 });
        let source = Source { file: "p.yaml".into(), text: policy.to_owned() };
        let set = PolicySet::load(&[source], Options::default()).expect("a valid policy");
        reach(&set, &agent, &call, &facts()).map_err(|denial| denial.into_explanation().reason)
    };
    let listed = "agent: a\negress: {allow: [a.example]}\nactions:\n  - name: deploy\n    max_replicas: 50\n";
    assert_eq!(judged(listed, "a.example"), Ok(()));
    assert_eq!(judged(listed, "b.example"), Err("egress: not_allowed".to_owned()));
    assert_eq!(
        judged("agent: b\negress: {allow: [a.example]}\n", "a.example"),
        Err("default_deny: no_policy".to_owned())
    );
    assert_eq!(judged("agent: a\nactions: [{name: deploy}]\n", "a.example"), Err("egress: not_allowed".to_owned()));
    // An entry's own list is asked of each request: this call's entry needn't be the request's.
    let by_entry = "agent: a\nactions:\n  - name: read\n    egress: {allow: [a.example]}\n";
    assert_eq!(judged(by_entry, "b.example"), Ok(()));
    assert_eq!(judged(&format!("{listed}mode: shadow\n"), "b.example"), Ok(()));
}
