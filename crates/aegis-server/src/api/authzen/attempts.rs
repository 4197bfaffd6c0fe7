//! Calls that are asked about more than once: an orchestrator that resumes runs its hooks again, and the same call must not
//! spend twice.
//!
//! Invariants: only a yes is kept, so that an approval, a new policy or a new window is seen by the next try; two tries at the
//! same moment are one after the other; under one id there is one call. Bounded, in memory: after a restart, after an hour or
//! when very many others came since, a try is a new call, which is decided and spends anew.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::authzen::Attempt;
use tokio::sync::Mutex;

use super::answer::Told;

/// How many are kept, and for how long.
const MOST: u64 = 10_000;
const KEPT: Duration = Duration::from_hours(1);

/// Whose call: the caller, the subject, when that one was registered, and what the caller calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) caller: String,
    pub(super) subject: String,
    pub(super) registered: i64,
    pub(super) attempt: Attempt,
}

/// One call: the digest of its question, and its yes once it has one.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) question: Option<String>,
    pub(super) yes: Option<Told>,
}

/// All calls that have an id.
pub(super) struct Attempts(moka::sync::Cache<Key, Arc<Mutex<Tried>>>);

impl Default for Attempts {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MOST).time_to_live(KEPT).build())
    }
}

impl Attempts {
    /// The call under this key. Whoever holds its lock is the only one who tries.
    pub(super) fn of(&self, key: Key) -> Arc<Mutex<Tried>> {
        self.0.get_with(key, Arc::default)
    }
}
