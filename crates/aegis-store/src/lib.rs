//! Aegis, remembering: the only SQL. Agents, keys, revocations, approvals, policy versions and the record.
//!
//! **Law 2, no effect without a record**: only [`Store::admit`] makes an [`Admitted`], in one transaction that consumes the
//! approval and appends the record. It has no public constructor, `Default`, `Clone` or serde.
//!
//! ```compile_fail
//! fn forge(permit: aegis_core::decide::Permit) -> aegis_store::Admitted {
//!     aegis_store::Admitted { passage: aegis_core::decide::Passage::Permit(permit) }
//! }
//! ```

use std::path::Path;

use aegis_core::approval::{Approval, Request};
use aegis_core::audit::{Event, Outcome, Record};
use aegis_core::call::ToolCall;
use aegis_core::decide::{Ask, Denial, Explanation, Passage};
use jiff::Timestamp;

/// A call that may be forwarded: it was allowed, and that is on record. Consumed by forwarding it.
#[derive(Debug)]
pub struct Admitted {
    passage: Passage,
}

/// What is left of an [`Admitted`] once its call is taken: the duty to say how it ended.
#[must_use = "an admitted call without an outcome is reported as unknown"]
#[derive(Debug)]
pub struct Receipt {
    decision_id: String,
}

impl Admitted {
    /// The call.
    pub fn call(&self) -> &ToolCall {
        self.passage.call()
    }

    /// Why it was admitted.
    pub fn explanation(&self) -> &Explanation {
        self.passage.explanation()
    }
    // `redeem(self) -> (ToolCall, Receipt)` takes the call out, once.
}

/// When an admission counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After the transaction is on disk (fsync).
    #[default]
    Commit,
    /// After it is in the write-ahead log; a power cut may lose the last moments.
    Buffered,
}

/// A registered agent, as kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AgentEntry {
    /// Name.
    pub id: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Whether it is suspended: every call of it is refused at once.
    pub suspended: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Everything that is remembered. Cheap to clone; one writer thread behind it.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens (or makes, mode 0700) the data directory. One process at a time holds it.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, StoreError> {
        let _ = (dir, durability);
        todo!()
    }

    /// Admits a passage: one transaction that spends the approval and appends the decision. Any failure is a denial.
    pub async fn admit(&self, passage: Passage, latency_ms: f64) -> Result<Admitted, Denial> {
        let _ = (passage, latency_ms);
        todo!()
    }

    /// Records a denial. It stays a denial if that fails; the error is for the operator.
    pub async fn deny(&self, denial: &Denial, latency_ms: f64) -> Result<(), StoreError> {
        let _ = (denial, latency_ms);
        todo!()
    }

    /// Opens the approval that is asked for (or counts another ask of the pending one) and records the decision.
    pub async fn ask(&self, ask: Ask, latency_ms: f64) -> Result<(Explanation, Approval), Denial> {
        let _ = (ask, latency_ms);
        todo!()
    }

    /// The newest approval of `agent` for the call with this digest, in whatever state.
    pub fn approval_for(&self, agent: &str, call_digest: &str) -> Option<Approval> {
        let _ = (agent, call_digest);
        todo!()
    }

    /// Records how an admitted call ended.
    pub async fn settle(&self, receipt: Receipt, outcome: Outcome) -> Result<(), StoreError> {
        let _ = (receipt, outcome, |r: Request, e: Event, rec: Record| (r, e, rec));
        todo!()
    }
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {}
