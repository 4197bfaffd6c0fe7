//! Memory for the bodies that are read whole: so much in all, and so much for one agent.
//!
//! Invariant: a connection costs an agent nothing, so what bounds the gateway's memory can't be their number. What is held is
//! given back when its call has been answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least that one agent may hold, in bytes.
const PER_AGENT: usize = 64 << 20;
/// How many of the largest bodies one agent may hold, where that is more.
const LARGEST_PER_AGENT: usize = 4;
/// How many agents may hold as much as they may, at once.
const FULL_AGENTS: usize = 4;

/// The room. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room {
    taken: Arc<Mutex<Taken>>,
    per_agent: usize,
    all: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_agent: HashMap<String, usize>,
}

/// What one call holds.
#[derive(Debug)]
pub(super) struct Held {
    room: Room,
    agent: String,
    bytes: usize,
}

impl Room {
    /// Room for bodies of at most `body_limit` bytes each.
    pub(super) fn new(body_limit: usize) -> Self {
        let per_agent = body_limit.saturating_mul(LARGEST_PER_AGENT).max(PER_AGENT);
        Self { taken: Arc::default(), per_agent, all: per_agent.saturating_mul(FULL_AGENTS) }
    }

    /// Nothing yet, for a call of `agent`.
    pub(super) fn enter(&self, agent: &str) -> Held {
        Held { room: self.clone(), agent: agent.to_owned(), bytes: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics between two counts.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes room for `more` bytes; whether there was any.
    pub(super) fn take(&mut self, more: usize) -> bool {
        let mut taken = self.room.taken();
        let (all, agents) = (
            taken.all.saturating_add(more),
            taken.by_agent.get(&self.agent).map_or(more, |held| held.saturating_add(more)),
        );
        let fits = all <= self.room.all && agents <= self.room.per_agent;
        if fits {
            taken.all = all;
            taken.by_agent.insert(self.agent.clone(), agents);
            self.bytes = self.bytes.saturating_add(more);
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.room.taken();
        taken.all = taken.all.saturating_sub(self.bytes);
        let left = taken.by_agent.get_mut(&self.agent).map_or(0, |held| {
            *held = held.saturating_sub(self.bytes);
            *held
        });
        if left == 0 {
            taken.by_agent.remove(&self.agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn one_agent_has_its_share_and_leaves_the_others_theirs() {
        let room = Room { taken: Default::default(), per_agent: 10, all: 15 };
        let (mut first, mut second) = (room.enter("a"), room.enter("a"));
        assert!(first.take(6) && !second.take(5) && second.take(4));
        let mut other = room.enter("b");
        assert!(other.take(5) && !other.take(1));
        drop(first);
        assert!(second.take(6) && !second.take(1));
        drop((second, other));
        let taken = room.taken();
        assert!(taken.all == 0 && taken.by_agent.is_empty());
    }

    #[test]
    fn the_largest_body_fits() {
        assert!(Room::new(1 << 30).enter("a").take(1 << 30));
        assert!(Room::new(4 << 20).enter("a").take(64 << 20));
        assert!(!Room::new(4 << 20).enter("a").take((64 << 20) + 1));
    }
}
