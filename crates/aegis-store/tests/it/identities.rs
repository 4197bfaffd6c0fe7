//! Agents, keys, revoked tokens: who may come, and from which moment not any more.

use aegis_core::problem::Code;
use aegis_store::StoreError;
use jiff::{SignedDuration, Timestamp};

use crate::calls::{AGENT, permit};
use crate::{opened, reopened};

#[tokio::test]
async fn the_kill_switch_holds_at_admission() {
    let (dir, store) = opened().await;
    let decided_before = permit("dec_1");
    store.suspend_agent(AGENT, "operator").await.expect("suspends");
    assert!(store.agent(AGENT).is_some_and(|agent| agent.suspended));
    let denial = store.admit(decided_before, 0.1).await.expect_err("suspended since");
    assert_eq!(denial.explanation().reason, "agent: suspended");
    assert_eq!(denial.explanation().code, Some(Code::IdentityRejected));

    let store = reopened(&dir, store).await;
    assert!(store.agent(AGENT).is_some_and(|agent| agent.suspended), "over a restart, too");
    store.resume_agent(AGENT, "operator").await.expect("resumes");
    let _ = store.admit(permit("dec_2"), 0.1).await.expect("good again").redeem();

    store.remove_agent(AGENT, "operator").await.expect("removes");
    let denial = store.admit(permit("dec_3"), 0.1).await.expect_err("removed since");
    assert_eq!(denial.explanation().reason, "agent: unregistered");
    assert!(matches!(store.suspend_agent(AGENT, "operator").await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_token_of_a_removed_agent_never_works_for_its_namesake() {
    let (dir, store) = opened().await;
    let first = store.agent(AGENT).expect("registered");
    store.remove_agent(AGENT, "operator").await.expect("removes");
    assert_eq!(store.agent(AGENT), None);
    let store = reopened(&dir, store).await;
    store.add_agent(AGENT, Vec::new(), "operator").await.expect("adds again");
    // Tokens say under which registration they were issued, by its time.
    assert!(store.agent(AGENT).expect("registered").created_at > first.created_at);
}

#[tokio::test]
async fn names_are_checked_and_taken_once() {
    let (_dir, store) = opened().await;
    assert!(matches!(store.add_agent(AGENT, Vec::new(), "operator").await, Err(StoreError::Exists { .. })));
    for bad in ["", "a b", "-a", "a\n"] {
        assert!(matches!(store.add_agent(bad, Vec::new(), "operator").await, Err(StoreError::BadName(_))), "{bad:?}");
        assert!(matches!(store.add_agent("ok", vec![bad.into()], "operator").await, Err(StoreError::BadName(_))));
    }
    store.add_agent("a", Vec::new(), "operator").await.expect("adds");
    assert_eq!(store.agents().iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>(), ["a", AGENT]);
}

#[tokio::test]
async fn keys_are_found_by_hash_until_they_end() {
    let (dir, store) = opened().await;
    let now = Timestamp::now();
    let soon = now.saturating_add(SignedDuration::from_secs(60)).expect("in range");
    store.add_key(AGENT, [1; 32], "key_1", None, "operator").await.expect("adds");
    store.add_key(AGENT, [2; 32], "key_2", Some(soon), "operator").await.expect("adds");
    let taken = [([1; 32], "key_3"), ([3; 32], "key_1")];
    for (hash, id) in taken {
        assert!(matches!(store.add_key(AGENT, hash, id, None, "operator").await, Err(StoreError::Exists { .. })));
    }
    assert!(matches!(store.add_key("nobody", [4; 32], "key_4", None, "x").await, Err(StoreError::NotFound { .. })));

    let store = reopened(&dir, store).await;
    assert!(store.key_by_hash(&[1; 32]).is_some_and(|key| key.agent == AGENT && key.good_at(now)));
    let second = store.key_by_hash(&[2; 32]).expect("kept");
    assert!(second.good_at(now) && !second.good_at(soon));
    assert_eq!(store.key_by_hash(&[9; 32]), None);

    store.revoke_key("key_1", "operator").await.expect("revokes");
    assert!(store.key_by_hash(&[1; 32]).is_some_and(|key| !key.good_at(now)));
    assert!(matches!(store.revoke_key("key_1", "operator").await, Err(StoreError::NotFound { .. })));
    store.remove_agent(AGENT, "operator").await.expect("removes");
    assert!(store.keys(Some(AGENT)).iter().all(|key| !key.good_at(now)), "a removed agent's keys are gone with it");
    assert_eq!(store.keys(None).len(), 2);
    let store = reopened(&dir, store).await;
    assert!(store.keys(None).iter().all(|key| !key.good_at(now)));
}

#[tokio::test]
async fn a_revoked_token_is_refused_even_when_the_call_was_decided_before() {
    let (dir, store) = opened().await;
    let now = Timestamp::now();
    let decided_before = permit("dec_1");
    let expires_at = now.saturating_add(SignedDuration::from_mins(15)).expect("in range");
    store.revoke_token("jti-1", expires_at, "operator").await.expect("revokes");
    let denial = store.admit(decided_before, 0.1).await.expect_err("revoked since");
    assert_eq!(denial.explanation().reason, "token: revoked");
    let store = reopened(&dir, store).await;
    assert!(store.is_revoked("jti-1") && !store.is_revoked("jti-2"));
    store.sweep(expires_at).await.expect("sweeps");
    assert!(store.is_revoked("jti-1"), "kept a little longer than the token, for clocks that are a little off");
    store.sweep(expires_at.saturating_add(SignedDuration::from_mins(10)).expect("in range")).await.expect("sweeps");
    assert!(!store.is_revoked("jti-1"));
}
