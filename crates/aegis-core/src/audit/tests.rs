use super::*;
use crate::agent::Agent;
use crate::decide::{Denial, Facts};
use crate::problem::Code;

fn round_trip(event: Event) {
    let at: Timestamp = "2026-11-22T18:00:00.123456Z".parse().expect("a time");
    let record = Record { seq: 7, at, event };
    let text = serde_json::to_string(&record).expect("a record is JSON");
    let back: Record = serde_json::from_str(&text).expect("and back");
    assert_eq!(back, record, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value.get("event").and_then(|kind| kind.as_str()), Some(record.event.kind()));
}

/// A decision has a time of its own; both must survive, and no key may be there twice.
#[test]
fn every_kind_of_record_survives_the_wire() {
    let facts = Facts::new("2026-11-22T17:00:00Z".parse().expect("a time"), "dec_1", "pol_1");
    let denial =
        Denial::unread(&facts, Some(&Agent::named("a")), Code::BadRequest, "framing: two_hosts", "two hosts".into());
    round_trip(Event::Decision { explanation: denial.into_explanation(), latency_ms: 0.25 });
    round_trip(Event::Outcome { decision_id: "dec_1".into(), outcome: Outcome::unknown("restarted") });
    round_trip(Event::Approval {
        approval_id: "apr_1".into(),
        decision_id: "dec_1".into(),
        agent_id: "a".into(),
        change: "requested".into(),
        by: None,
    });
    round_trip(Event::Operation { by: "operator".into(), operation: "agent.add".into(), subject: "a".into() });
    round_trip(Event::Policy { policy_version: "pol_1".into(), change: "loaded".into(), detail: "3 policies".into() });
}

/// A tool that was asked for an answer which it can't give may have done the work first; the agent chooses what it asks for.
#[test]
fn only_a_refusal_gives_back_what_was_reserved() {
    let answered = |status| Outcome { status: Some(status), ..Outcome::unknown("") }.refunds();
    for refused in [400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429, 431] {
        assert!(answered(refused), "{refused}");
    }
    for done_or_unclear in [200, 302, 406, 408, 410, 416, 418, 424, 499, 500, 503] {
        assert!(!answered(done_or_unclear), "{done_or_unclear}");
    }
    assert!(Outcome::not_forwarded("").refunds() && !Outcome::unknown("").refunds());
}
