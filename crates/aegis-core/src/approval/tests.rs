use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn after(seconds: i64) -> Timestamp {
    start().checked_add(seconds.seconds()).expect("in range")
}

const TTL: i64 = 100;

fn opened() -> Approval {
    let request = Request {
        agent: Agent { chain: vec!["planner".into()], ..Agent::named("deploy-manager") },
        tool: "kubernetes".into(),
        action: "scale".into(),
        env: "production".into(),
        target: BTreeMap::new(),
        params: serde_json::Map::new(),
        call_digest: "sha256:1".into(),
        violations: Vec::new(),
        requirements: Vec::new(),
        policy_version: "pol_1".into(),
        decision_id: "dec_1".into(),
        requested_at: start(),
        expires_at: after(TTL),
    };
    Approval::open("apr_1".into(), request)
}

fn events() -> [Event; 7] {
    let by = || "alice".to_owned();
    [
        Event::AskedAgain,
        Event::Approve { by: by(), comment: Some("go".into()) },
        Event::Reject { by: by(), comment: None },
        Event::Cancel { by: by(), comment: None },
        Event::Spend,
        Event::Tick,
        Event::Told,
    ]
}

/// Applies events at their times and checks, step by step, everything that must hold in any order.
fn check(steps: &[(Event, i64)]) {
    let mut approval = opened();
    let mut spent = 0;
    for (event, at) in steps {
        let now = after(*at);
        let before = approval.clone();
        let Ok(next) = apply(&before, event, now) else { continue };
        assert_eq!(next.request, before.request, "what is asked never changes");
        assert_eq!(next.id, before.id);
        assert!(next.asked >= before.asked && (before.told <= next.told), "counts and flags only grow");
        assert_eq!(apply(&before, event, now).as_ref(), Ok(&next), "the same again gives the same");
        if next.state != before.state {
            assert!(legal(before.state, next.state), "{:?} → {:?} by {event:?}", before.state, next.state);
        }
        if *event == Event::Spend {
            spent += 1;
            assert_eq!((before.state, next.state), (State::Approved, State::Spent));
            assert!(now < before.request.expires_at, "spent after its time");
            assert!(next.decided_by.is_some(), "spent without a human's yes");
        }
        if matches!(event, Event::Approve { .. } | Event::Reject { .. }) {
            assert!(before.state == State::Pending && now < before.request.expires_at);
        }
        if next.told {
            assert!(matches!(next.state, State::Expired | State::Lapsed));
        }
        if matches!(next.state, State::Approved | State::Rejected | State::Cancelled | State::Spent | State::Lapsed) {
            assert!(next.decided_by.is_some() && next.decided_at.is_some(), "{:?} by nobody", next.state);
        }
        approval = next;
    }
    assert!(spent <= 1, "spent {spent} times");
}

fn legal(from: State, to: State) -> bool {
    match from {
        State::Pending => matches!(to, State::Approved | State::Rejected | State::Expired | State::Cancelled),
        State::Approved => matches!(to, State::Spent | State::Cancelled | State::Lapsed),
        State::Rejected | State::Expired | State::Cancelled | State::Spent | State::Lapsed => false,
    }
}

#[test]
fn every_order_of_five_events_keeps_the_rules() {
    let events = events();
    for order in 0..events.len().pow(5) {
        for lapse_at in 0..=5 {
            let mut rest = order;
            let steps: Vec<(Event, i64)> = (0..5)
                .map(|index| {
                    let event = events[rest % events.len()].clone();
                    rest /= events.len();
                    (event, if index < lapse_at { 1 } else { TTL })
                })
                .collect();
            check(&steps);
        }
    }
}

proptest! {
    /// Also where the clock jumps back and forth.
    #[test]
    fn any_events_at_any_time_keep_the_rules(
        steps in prop::collection::vec((0..events().len(), -TTL..3 * TTL), 0..40)
    ) {
        let steps: Vec<(Event, i64)> = steps.into_iter().map(|(index, at)| (events()[index].clone(), at)).collect();
        check(&steps);
    }
}

#[test]
fn who_asks_never_decides() {
    for by in ["deploy-manager", "planner"] {
        let approve = Event::Approve { by: by.into(), comment: None };
        let reject = Event::Reject { by: by.into(), comment: None };
        for event in [approve, reject] {
            assert_eq!(apply(&opened(), &event, after(1)), Err(Refused::OwnRequest(by.into())));
        }
        let withdrawn =
            apply(&opened(), &Event::Cancel { by: by.into(), comment: None }, after(1)).expect("may withdraw");
        assert_eq!(withdrawn.state, State::Cancelled);
    }
}

#[test]
fn time_is_up_at_the_moment_itself() {
    let [_, approve, _, _, spend, tick, told] = events();
    assert!(apply(&opened(), &approve, after(TTL - 1)).is_ok());
    assert_eq!(apply(&opened(), &approve, after(TTL)), Err(Refused::Final(State::Expired)));
    let approved = apply(&opened(), &approve, after(1)).expect("in time");
    assert_eq!(apply(&approved, &spend, after(TTL)), Err(Refused::Final(State::Lapsed)));
    assert_eq!(apply(&approved, &told, after(1)), Err(Refused::InTime(State::Approved)));
    let lapsed = apply(&approved, &tick, after(TTL)).expect("time passes");
    assert_eq!(
        apply(&lapsed, &spend, after(1)),
        Err(Refused::Final(State::Lapsed)),
        "a clock that jumps back revives nothing"
    );
}

#[test]
fn what_holds_leaves_no_room_for_another() {
    let [_, approve, reject, cancel, spend, ..] = events();
    let after_event = |event: &Event| apply(&opened(), event, after(1)).expect("applies");
    for approval in [opened(), after_event(&approve), after_event(&reject), after_event(&cancel)] {
        assert!(approval.holds(after(TTL - 1)), "{:?}", approval.state);
        assert!(!approval.holds(after(TTL)), "{:?}", approval.state);
    }
    assert!(!apply(&after_event(&approve), &spend, after(2)).expect("spends").holds(after(3)));
}

/// Two entries ask: any two of three people, and one of the on-call list.
fn demanding() -> Approval {
    let mut approval = opened();
    let list = |names: &[&str]| names.iter().map(|name| format!("operator:{name}")).collect::<Vec<_>>();
    approval.request.requirements = vec![
        Requirement { approvers: list(&["alice", "bob", "carol"]), count: 2 },
        Requirement { approvers: vec!["operator:dora".into(), "slack:U1".into()], count: 1 },
    ];
    approval
}

fn yes(by: &str) -> Event {
    Event::Approve { by: by.into(), comment: None }
}

#[test]
fn every_requirement_has_to_be_met_by_different_people() {
    let approve = |approval: &Approval, by: &str| apply(approval, &yes(by), start());
    let approval = approve(&demanding(), "alice").expect("the first");
    assert_eq!((approval.state, approval.votes.len()), (State::Pending, 1));
    assert_eq!(approve(&approval, "alice"), Err(Refused::VotedAlready("alice".into())));
    assert!(matches!(approve(&approval, "mallory"), Err(Refused::NotAsked(_))));
    assert!(matches!(approve(&approval, "planner"), Err(Refused::OwnRequest(_))));
    let approval = approve(&approval, "bob").expect("the second");
    assert_eq!(approval.state, State::Pending, "the on-call list has not spoken");
    let approval = approve(&approval, "slack:U1").expect("the third");
    assert_eq!((approval.state, approval.decided_by.as_deref()), (State::Approved, Some("slack:U1")));
    assert_eq!(approve(&approval, "carol"), Err(Refused::Final(State::Approved)));
}

#[test]
fn one_who_is_asked_may_reject_alone_and_others_may_not() {
    let reject = |by: &str| apply(&demanding(), &Event::Reject { by: by.into(), comment: None }, start());
    assert_eq!(reject("carol").map(|approval| approval.state), Ok(State::Rejected));
    assert!(matches!(reject("mallory"), Err(Refused::NotAsked(_))));
}
