//! Calls that are asked about more than once: an orchestrator that resumes runs its hooks again, and the same call must not
//! spend twice.
//!
//! Invariants: only a yes is kept, so that an approval, a new policy or a new window is seen by the next try; two tries at the
//! same moment are one after the other; under one id there is one call. Bounded by what they hold, in memory: after a restart, after
//! an hour or when very many others came since, a try is a new call, which is decided and spends anew.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::authzen::Attempt;
use tokio::sync::Mutex;

use super::answer::Told;

/// How much is kept, in bytes, and for how long.
const ROOM: u64 = 64 << 20;
const KEPT: Duration = Duration::from_hours(1);
/// What one takes besides its question and its answer, which repeats some of it.
const EACH: usize = 4096;

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

/// A call, and how much it takes.
pub(super) struct Call {
    pub(super) tried: Mutex<Tried>,
    size: u32,
}

/// All calls that have an id.
pub(super) struct Attempts(moka::sync::Cache<Key, Arc<Call>>);

impl Default for Attempts {
    fn default() -> Self {
        let calls = moka::sync::Cache::builder().max_capacity(ROOM).time_to_live(KEPT);
        Self(calls.weigher(|_, call: &Arc<Call>| call.size).build())
    }
}

impl Attempts {
    /// The call under this key, whose question is of this size. Whoever holds its lock is the only one who tries.
    pub(super) fn of(&self, key: Key, size: usize) -> Arc<Call> {
        let size = u32::try_from(2 * size + EACH).unwrap_or(u32::MAX);
        self.0.get_with(key, || Arc::new(Call { tried: Mutex::default(), size }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_large_calls_take_no_more_than_their_room() {
        let attempts = Attempts::default();
        let key = |call: usize| Key {
            caller: "a".to_owned(),
            subject: "a".to_owned(),
            registered: 0,
            attempt: Attempt { session: "s".to_owned(), call: call.to_string() },
        };
        let first = attempts.of(key(0), 10);
        assert!(Arc::ptr_eq(&first, &attempts.of(key(0), 10)));
        (1..1_000).for_each(|call| drop(attempts.of(key(call), 1 << 20)));
        attempts.0.run_pending_tasks();
        assert!(attempts.0.weighted_size() <= ROOM, "{}", attempts.0.weighted_size());
    }
}
