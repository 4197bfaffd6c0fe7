//! Calls that their caller enforces: on record and paid for like any other, and with nothing left to settle.

use std::time::Duration;

use aegis_core::approval::State;
use aegis_core::audit::Event;
use aegis_core::problem::Code;
use aegis_store::Query;

use crate::calls::{asking, in_production, passage, permit, policies};
use crate::opened;

#[tokio::test]
async fn a_call_that_is_handed_over_is_recorded_and_leaves_nothing_to_settle() {
    let (_dir, store) = opened().await;
    let (call, explanation) = store.hand_over(permit("dec_1"), 0.1).await.expect("handed over");
    assert_eq!((call.action.as_str(), explanation.decision_id.as_str()), ("scale", "dec_1"));
    let records = store.query(Query { limit: 10, ..Query::default() }).await.expect("reads");
    let kinds: Vec<&str> = records.iter().map(|record| record.event.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "decision").count(), 1);
    assert!(!kinds.contains(&"outcome"), "nobody here knows how it ended");
    assert!(store.unsettled().await.expect("reads").is_empty());
}

#[tokio::test]
async fn an_approval_is_spent_once_by_whatever_hands_it_over_or_admits_it() {
    let (_dir, store) = opened().await;
    let policies = policies();
    let (_, approval) = store.ask(asking(in_production(&policies, "dec_1", 3, None)), 0.1).await.expect("asked");
    let (approved, _) = store.approve(&approval.id, "alice", None).await.expect("approves");
    let again = |id: &str| passage(in_production(&policies, id, 3, Some(&approved)));
    store.hand_over(again("dec_2"), 0.1).await.expect("handed over");
    let denial = store.hand_over(again("dec_3"), 0.1).await.expect_err("it holds once");
    assert_eq!(denial.explanation().reason, "approval: already_spent");
    store.admit(again("dec_4"), 0.1).await.expect_err("nor is it admitted");
}

#[tokio::test]
async fn an_agent_that_was_suspended_meanwhile_gets_nothing() {
    let (_dir, store) = opened().await;
    let call = permit("dec_1");
    store.suspend_agent(crate::calls::AGENT, "operator").await.expect("suspends");
    let denial = store.hand_over(call, 0.1).await.expect_err("suspended");
    assert_eq!(denial.explanation().code, Some(Code::IdentityRejected));
    let records = store.query(Query { event: Some("decision".into()), limit: 10, ..Query::default() }).await;
    let decided = |event: &Event| matches!(event, Event::Decision { .. });
    assert!(
        !records.expect("reads").iter().any(|record| decided(&record.event)),
        "the denial is the caller's to record"
    );
}

#[tokio::test]
async fn whoever_waits_for_an_approval_is_told_once_it_is_decided() {
    let (_dir, store) = opened().await;
    let policies = policies();
    let (_, approval) = store.ask(asking(in_production(&policies, "dec_1", 3, None)), 0.1).await.expect("asked");
    let still = store.approval_after(&approval.id, Duration::from_millis(1)).await.expect("kept");
    assert_eq!(still.state, State::Pending);
    let waiting = {
        let (store, id) = (store.clone(), approval.id.clone());
        tokio::spawn(async move { store.approval_after(&id, Duration::from_secs(30)).await })
    };
    tokio::task::yield_now().await;
    store.reject(&approval.id, "alice", None).await.expect("rejects");
    assert_eq!(waiting.await.expect("ends").expect("kept").state, State::Rejected);
    let at_once = store.approval_after(&approval.id, Duration::from_secs(30)).await.expect("kept");
    assert_eq!(at_once.state, State::Rejected);
    store.approval_after("apr_nobody", Duration::from_secs(30)).await.expect_err("there is none");
}
