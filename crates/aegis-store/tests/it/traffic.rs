//! Calls kept for replay: with their decision, only while they are wanted, and not for longer.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::call::recorded::RecordedCall;
use aegis_core::decide::Verdict;
use aegis_core::policy::Asked;
use aegis_store::{Noted, Store};
use jiff::Timestamp;

use crate::calls::{AGENT, permit, policies, unreadable};
use crate::{opened, reopened};

const DAY: Duration = Duration::from_hours(24);

/// Admits a call that came at `at`, to be kept.
async fn admit(store: &Store, decision_id: &str, at: Timestamp) {
    let passage = permit(decision_id);
    let agent = Agent::named(AGENT);
    let asked = Asked { now: at, ..Asked::of(&agent, passage.call()) };
    let call = Some(Arc::new(RecordedCall::of(asked, &policies())));
    let _ = store.admit(passage, Noted { latency_ms: 0.1, call }).await.expect("admitted").redeem();
}

async fn kept(store: &Store) -> Vec<String> {
    let page = store.kept_calls(Timestamp::UNIX_EPOCH, 0, 100).await.expect("reads");
    page.calls.into_iter().filter_map(|call| call.decided.map(|decided| decided.decision_id)).collect()
}

#[tokio::test]
async fn a_call_is_kept_with_its_decision_for_as_long_as_is_asked() {
    let (dir, store) = opened().await;
    assert!(!store.keeps_calls(), "off unless somebody asks");
    store.keep_calls(Some(DAY)).await.expect("keeps");
    let now = Timestamp::now();
    let long_ago = now.checked_sub(2 * DAY).expect("a time");
    admit(&store, "dec_1", long_ago).await;
    admit(&store, "dec_2", now).await;
    store.deny(&unreadable("dec_3"), 0.1).await.expect("a denial without a call");
    assert_eq!(kept(&store).await, ["dec_1", "dec_2"]);
    let page = store.kept_calls(now, 0, 100).await.expect("reads");
    assert_eq!((page.calls.len(), page.next), (1, None));
    let first = store.kept_calls(Timestamp::UNIX_EPOCH, 0, 1).await.expect("reads");
    let second = store.kept_calls(Timestamp::UNIX_EPOCH, first.next.expect("more"), 1).await.expect("reads");
    assert_eq!(second.calls[0].decided.as_ref().map(|decided| decided.decision), Some(Verdict::Allow));

    let store = reopened(&dir, store).await;
    assert_eq!(kept(&store).await, ["dec_1", "dec_2"], "a command on a stopped gateway takes nothing away");
    store.keep_calls(Some(DAY)).await.expect("keeps");
    assert_eq!(kept(&store).await, ["dec_2"], "what is older goes");
    store.keep_calls(None).await.expect("forgets");
    assert!(kept(&store).await.is_empty() && !store.keeps_calls());
}

#[tokio::test]
async fn a_call_that_is_refused_in_the_end_is_kept_once() {
    let (_dir, store) = opened().await;
    store.keep_calls(Some(DAY)).await.expect("keeps");
    store.suspend_agent(AGENT, "operator").await.expect("suspends");
    let passage = permit("dec_1");
    let agent = Agent::named(AGENT);
    let call = Some(Arc::new(RecordedCall::of(Asked::of(&agent, passage.call()), &policies())));
    let noted = Noted { latency_ms: 0.1, call };
    let denial = store.admit(passage, noted.clone()).await.expect_err("suspended");
    store.deny(&denial, noted).await.expect("records");
    let page = store.kept_calls(Timestamp::UNIX_EPOCH, 0, 100).await.expect("reads");
    let decided: Vec<_> = page.calls.iter().filter_map(|call| call.decided.as_ref()).collect();
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].decision, Verdict::Deny);
    assert_eq!(page.calls[0].answer.decision, Verdict::Allow, "the policies alone would have let it pass");
}
