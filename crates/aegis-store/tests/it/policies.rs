//! Policy versions: what is kept, what goes, and that the state never names what isn't there.

use aegis_core::audit::Event;
use aegis_core::policy::Risk;
use aegis_store::{About, Activation, NewVersion, Origin, PolicyState, Store, StoreError, Trial, TrialOf};
use jiff::Timestamp;

use crate::{opened, reopened};

fn version(n: u32) -> NewVersion {
    let about = About {
        origin: Origin::Published,
        author: "alice".into(),
        note: String::new(),
        risk: Some(Risk::High),
        policies: 2,
    };
    let created_at = Timestamp::UNIX_EPOCH;
    NewVersion { version: format!("pol_{n:03}"), created_at, about, archive: n.to_be_bytes().to_vec() }
}

fn active(n: u32) -> PolicyState {
    let activation = Activation {
        version: version(n).version,
        at: Timestamp::from_second(i64::from(n)).expect("in range"),
        by: "operator".into(),
        origin: Origin::Published,
        note: "why".into(),
    };
    PolicyState { active: Some(activation), ..PolicyState::default() }
}

fn recorded(n: u32) -> Vec<Event> {
    vec![Event::Operation { by: "operator".into(), operation: "policy.publish".into(), subject: version(n).version }]
}

async fn kept(store: &Store) -> Vec<String> {
    store.policy_versions().await.expect("reads").into_iter().map(|version| version.version).collect()
}

#[tokio::test]
async fn what_is_in_force_is_there_after_a_restart_with_what_it_is_made_of() {
    let (dir, store) = opened().await;
    assert_eq!(store.policy_state().await.expect("reads"), PolicyState::default());
    let trial = Trial {
        version: version(2).version,
        since: Timestamp::UNIX_EPOCH,
        by: "operator".into(),
        of: TrialOf::ShareOfAgents { share: 0.05, key: "k".into() },
    };
    let state = PolicyState {
        previous: Some(version(2).version),
        canary: Some(trial),
        candidate: Some(version(3).version),
        taken: Some("digest".into()),
        ..active(1)
    };
    store.change_policies(vec![version(1), version(2), version(3)], state.clone(), recorded(1)).await.expect("changes");
    let head = store.head();
    let store = reopened(&dir, store).await;
    assert_eq!((store.policy_state().await.expect("reads"), store.head()), (state, head));
    let (found, archive) = store.policy_version("pol_001").await.expect("kept");
    assert_eq!((found.about, archive), (version(1).about, version(1).archive));
    assert_eq!(found.activated_at, Some(Timestamp::from_second(1).expect("in range")));
    assert_eq!(store.policy_version("pol_002").await.expect("kept").0.activated_at, None);
    assert!(matches!(store.policy_version("pol_009").await, Err(StoreError::NotFound { .. })));
    assert_eq!(kept(&store).await, ["pol_003", "pol_002", "pol_001"], "newest first");
}

#[tokio::test]
async fn a_state_that_names_what_is_not_kept_changes_nothing() {
    let (_dir, store) = opened().await;
    store.change_policies(vec![version(1)], active(1), recorded(1)).await.expect("changes");
    let head = store.head();
    let named = PolicyState { candidate: Some("pol_none".into()), ..active(1) };
    for (keep, state) in [(vec![version(2)], active(3)), (vec![version(2)], named)] {
        let error = store.change_policies(keep, state, recorded(3)).await.expect_err("refused");
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
    assert_eq!(store.policy_state().await.expect("reads"), active(1));
    assert_eq!(
        (kept(&store).await, store.head()),
        (vec!["pol_001".to_owned()], head),
        "nothing of it, not even the record"
    );
}

#[tokio::test]
async fn the_newest_hundred_stay_and_whatever_is_named() {
    let (_dir, store) = opened().await;
    let state = PolicyState { previous: Some(version(2).version), candidate: Some(version(4).version), ..active(1) };
    for n in 1..=150 {
        let state = if n < 4 { active(1) } else { state.clone() };
        store.change_policies(vec![version(n)], state, Vec::new()).await.expect("changes");
    }
    let kept = kept(&store).await;
    assert_eq!(kept.len(), 103);
    assert_eq!(kept[99..], ["pol_051", "pol_004", "pol_002", "pol_001"]);
}

#[tokio::test]
async fn the_same_version_is_kept_once_with_what_was_first_told_of_it() {
    let (_dir, store) = opened().await;
    let again = NewVersion {
        about: About { note: "again".into(), ..version(1).about },
        archive: b"the same, with another comment".to_vec(),
        ..version(1)
    };
    store.change_policies(vec![version(1), again.clone()], active(1), Vec::new()).await.expect("changes");
    let (found, archive) = store.policy_version("pol_001").await.expect("kept");
    assert_eq!((found.about, archive), (version(1).about, again.archive));
}
