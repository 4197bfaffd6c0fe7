//! The store from outside: what it keeps, what it refuses, and what survives when it is killed.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what its panic is for"
)]

mod approvals;
mod budgets;
mod calls;
mod handed_over;
mod identities;
mod killed;
mod log;
mod policies;
mod sessions;
mod shadow;
mod start;
mod traffic;

use aegis_store::{Durability, Store};
use calls::AGENT;

/// A store in a directory of its own, with the agent registered.
async fn opened() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), Durability::Buffered).expect("opens");
    store.add_agent(AGENT, vec!["ci".into()], "operator").await.expect("registers");
    (dir, store)
}

/// The same directory, as the next process finds it.
async fn reopened(dir: &tempfile::TempDir, store: Store) -> Store {
    store.close().await;
    Store::open(dir.path(), Durability::Buffered).expect("opens again")
}
