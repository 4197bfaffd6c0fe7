//! What an agent has done since it was last idle: counts and labels, so that policy can speak of order and taint ("after
//! reading a private repository, no public write").
//!
//! A session belongs to an agent, not to a connection, a token or a trace: the agent chooses those, and would start a new
//! one to forget. Deliberately absent: parameters, answers, anything that was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The memory of one agent's session; what has been admitted, never what was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Calls by action class, by action and by `tool/action`.
    pub counts: BTreeMap<String, u64>,
    /// The labels that calls have left, by the policies' `labels`.
    pub labels: BTreeSet<String>,
}

/// The session of an agent that has done nothing.
pub static EMPTY: Session = Session { counts: BTreeMap::new(), labels: BTreeSet::new() };
