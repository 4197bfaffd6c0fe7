//! What an agent has done since it was last idle: counts and labels, so that policy can speak of order and taint ("after
//! reading a private repository, no public write").
//!
//! A session belongs to an agent, not to a connection, a token or a trace: the agent chooses those, and would start a new
//! one to forget. Deliberately absent: parameters, answers, anything that was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Most names that are counted in one session: more than any catalogue's actions that one agent uses.
const MAX_COUNTS: usize = 1_000;

/// The memory of one agent's session; what has been admitted, never what was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Calls by action class, by action and by `tool/action`.
    pub counts: BTreeMap<String, u64>,
    /// The labels that calls have left, by the policies' `labels`.
    pub labels: BTreeSet<String>,
}

/// What one admitted call leaves in the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// What is counted up by one: of what the call is, that which some condition asks for.
    pub counts: BTreeSet<String>,
    /// What the session is labelled with from now on.
    pub labels: BTreeSet<String>,
}

impl Marks {
    /// Whether the call leaves nothing.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.labels.is_empty()
    }
}

impl Session {
    /// Remembers one more call.
    pub fn leave(&mut self, marks: &Marks) {
        for key in &marks.counts {
            if self.counts.len() >= MAX_COUNTS && !self.counts.contains_key(key) {
                continue;
            }
            let count = self.counts.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
        }
        self.labels.extend(marks.labels.iter().cloned());
    }

    /// Takes over the labels of a caller or of one that was called: what one has read, the other may know. Counts stay
    /// each agent's own.
    pub fn inherit(&mut self, other: &Session) {
        self.labels.extend(other.labels.iter().cloned());
    }
}

/// The session of an agent that has done nothing.
pub static EMPTY: Session = Session { counts: BTreeMap::new(), labels: BTreeSet::new() };
