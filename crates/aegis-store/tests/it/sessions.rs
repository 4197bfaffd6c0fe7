//! What agents have done: counted under concurrency, kept over a restart, inherited along the chain, forgotten when idle.

use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::decide::Passage;
use aegis_core::policy::{Options, PolicySet, Source};
use aegis_core::session::Session;
use aegis_store::{Durability, Store};
use jiff::{SignedDuration, Timestamp};

use crate::calls::{AGENT, agent, permit_under};

const POLICY: &str = "
agent: '*'
actions:
  - name: scale
    labels: [scaled]
    approval_needed: session.count[\"deploy\"] > 1000000 || session.count[\"kubernetes/scale\"] > 1000000
";

fn policies(text: &str) -> PolicySet {
    let source = Source { file: "policy.yaml".into(), text: text.into() };
    PolicySet::load(&[source], Options::default()).expect("the policy is good")
}

fn passage(n: usize, agent: &Agent, policies: &PolicySet) -> Passage {
    permit_under(policies, agent, &format!("dec_{n}"))
}

async fn admit(store: &Store, passage: Passage) {
    drop(store.admit(passage, 0.1).await.expect("admitted").redeem());
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_calls_lose_nothing_and_a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Durability::Commit).expect("opens");
    store.add_agent(AGENT, Vec::new(), "operator").await.expect("registers");
    assert_eq!(store.session(&agent(), Timestamp::now()), Session::default());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (store, passage) = (store.clone(), passage(n, &agent(), &policies(POLICY)));
        tasks.spawn(async move { admit(&store, passage).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    let expected = Session {
        counts: [("deploy".to_owned(), 200), ("kubernetes/scale".to_owned(), 200)].into(),
        labels: ["scaled".to_owned()].into(),
    };
    assert_eq!(store.session(&agent(), Timestamp::now()), expected);
    store.close().await;
    drop(store);
    let store = Store::open(dir.path(), Durability::Commit).expect("opens again");
    assert_eq!(store.session(&agent(), Timestamp::now()), expected);
    let later = Timestamp::now() + SignedDuration::from_mins(31);
    assert_eq!(store.session(&agent(), later), Session::default());
    store.forget_sessions_after(Duration::from_hours(2));
    assert_eq!(store.session(&agent(), later), expected);
}

#[tokio::test]
async fn labels_travel_along_the_chain_and_counts_do_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Durability::Commit).expect("opens");
    let reads = policies(POLICY);
    let quiet =
        policies("agent: '*'\nactions: [{name: scale, approval_needed: '\"scaled\" in session.labels && false'}]\n");
    for id in ["parent", "child", "sibling", "stranger"] {
        store.add_agent(id, Vec::new(), "operator").await.expect("registers");
    }
    let called = |id: &str| Agent { chain: vec!["parent".to_owned()], ..Agent::named(id) };
    let labels = |agent: &Agent| store.session(agent, Timestamp::now()).labels.into_iter().collect::<Vec<_>>();
    admit(&store, passage(0, &called("child"), &reads)).await;
    assert_eq!(labels(&Agent::named("child")), ["scaled"]);
    assert_eq!(labels(&Agent::named("parent")), ["scaled"], "the caller learns what it called for");
    assert!(store.session(&Agent::named("parent"), Timestamp::now()).counts.is_empty());
    assert_eq!(labels(&called("sibling")), ["scaled"], "and may tell whom it calls next");
    assert!(labels(&Agent::named("sibling")).is_empty(), "who has not been called yet");
    admit(&store, passage(1, &called("sibling"), &quiet)).await;
    assert_eq!(labels(&Agent::named("sibling")), ["scaled"], "and keeps it");
    admit(&store, passage(2, &Agent::named("stranger"), &quiet)).await;
    assert_eq!(store.session(&Agent::named("stranger"), Timestamp::now()), Session::default());
}

#[tokio::test]
async fn policies_that_ask_for_nothing_leave_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Durability::Commit).expect("opens");
    store.add_agent(AGENT, Vec::new(), "operator").await.expect("registers");
    admit(&store, passage(0, &agent(), &crate::calls::policies())).await;
    assert_eq!(store.session(&agent(), Timestamp::now()), Session::default());
}
