//! The log: numbered without gaps, without raw values, found by what it is asked for.

use aegis_core::audit::{Event, Outcome};
use aegis_core::decide::Verdict;
use aegis_core::problem::Code;
use aegis_store::Query;

use crate::calls::{AGENT, permit, unreadable};
use crate::{opened, reopened};

#[tokio::test]
async fn every_answer_is_on_record_and_can_be_found() {
    let (_dir, store) = opened().await;
    let (_, receipt) = store.admit(permit("dec_1"), 0.25).await.expect("admitted").redeem();
    assert_eq!(store.unsettled().await.expect("reads").len(), 1);
    let outcome = Outcome { result: "forwarded".into(), status: Some(200), error: None, ..Outcome::unknown("") };
    store.settle(receipt, outcome.clone()).await.expect("settles");
    assert!(store.unsettled().await.expect("reads").is_empty());
    store.deny(&unreadable("dec_2"), 0.5).await.expect("records");
    store.record_operation("operator", "token.issue", "jti-9").await.expect("records");
    store.record_policy("pol_1", "loaded", "1 policy").await.expect("records");

    let all = store.tail(0, 100).await.expect("reads");
    assert_eq!(all.iter().map(|record| record.seq).collect::<Vec<_>>(), (1..=6).collect::<Vec<_>>());
    let text = serde_json::to_string(&all).expect("JSON");
    assert!(!text.contains("hunter2"), "a raw value is on record: {text}");
    assert_eq!(store.head(), 6);

    let found = async |query: Query| -> Vec<u64> {
        store.query(query).await.expect("reads").iter().map(|record| record.seq).collect()
    };
    let all = || Query { limit: 100, ..Query::default() };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(Query { agent: text(AGENT), ..all() }).await, [2, 4]);
    assert_eq!(found(Query { tool: text("kubernetes"), action: text("scale"), ..all() }).await, [2]);
    assert_eq!(found(Query { decision: Some(Verdict::Deny), ..all() }).await, [4]);
    assert_eq!(found(Query { code: Some(Code::BadRequest), ..all() }).await, [4]);
    assert_eq!(found(Query { decision_id: text("dec_1"), ..all() }).await, [2, 3]);
    assert_eq!(found(Query { event: text("operation"), ..all() }).await, [1, 5]);
    assert_eq!(found(Query { after: 3, limit: 2, ..all() }).await, [5, 6], "the newest, oldest of them first");
    assert_eq!(found(Query { agent: text("' OR 1=1 --"), ..all() }).await, Vec::<u64>::new());
    let third = store.tail(2, 1).await.expect("reads").remove(0);
    assert_eq!(third.event, Event::Outcome { decision_id: "dec_1".into(), outcome });
    assert_eq!(found(Query { since: Some(third.at), ..all() }).await.first(), Some(&3));
    assert_eq!(found(Query { until: Some(third.at), ..all() }).await, [1, 2]);
}

#[tokio::test]
async fn a_follower_is_woken() {
    let (_dir, store) = opened().await;
    let follower = {
        let store = store.clone();
        tokio::spawn(async move { store.wait_for_new(1).await })
    };
    tokio::task::yield_now().await;
    store.record_operation("operator", "test", "x").await.expect("records");
    assert_eq!(follower.await.expect("no panic").expect("woken"), 2);
    let follower = {
        let store = store.clone();
        tokio::spawn(async move { store.wait_for_new(2).await })
    };
    tokio::task::yield_now().await;
    store.close().await;
    assert!(follower.await.expect("no panic").is_err(), "and told when there will be nothing more");
}

#[tokio::test]
async fn a_call_that_nobody_settles_is_reported() {
    let (dir, store) = opened().await;
    let outcome_of = async |store: &aegis_store::Store, id: &str| {
        let query = Query { decision_id: Some(id.into()), event: Some("outcome".into()), ..Query::default() };
        let mut records = store.query(query).await.expect("reads");
        assert_eq!(records.len(), 1, "{id}");
        match records.remove(0).event {
            Event::Outcome { outcome, .. } => outcome.result,
            other => panic!("{other:?}"),
        }
    };
    // Never taken out: certainly not forwarded. Taken out and dropped: nobody knows.
    drop(store.admit(permit("dec_1"), 0.1).await.expect("admitted"));
    drop(store.admit(permit("dec_2"), 0.1).await.expect("admitted").redeem());
    let (_, in_flight) = store.admit(permit("dec_3"), 0.1).await.expect("admitted").redeem();
    assert_eq!(outcome_of(&store, "dec_1").await, "not_sent");
    assert_eq!(outcome_of(&store, "dec_2").await, "unknown");
    assert_eq!(store.unsettled().await.expect("reads").len(), 1);
    let store = reopened(&dir, store).await;
    assert_eq!(outcome_of(&store, "dec_3").await, "unknown");
    assert!(store.unsettled().await.expect("reads").is_empty());
    drop(in_flight);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_open_call() {
    let (_dir, store) = opened().await;
    for n in 0..50 {
        let task = {
            let store = store.clone();
            tokio::spawn(async move { store.admit(permit(&format!("dec_{n}")), 0.1).await })
        };
        tokio::task::yield_now().await;
        task.abort();
        let _ = task.await;
    }
    // Behind every settlement that the dropped calls queued.
    store.record_operation("operator", "test", "x").await.expect("records");
    store.record_operation("operator", "test", "x").await.expect("records");
    assert!(store.unsettled().await.expect("reads").is_empty());
}
