//! Who has to say yes, as the policies that ask have it.

use serde::{Deserialize, Serialize};

/// What a request has to fulfil to become approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTerms {
    /// How long it may take, in seconds: the shortest of what the asking entries say.
    pub ttl_s: i64,
    /// What each asking entry demands; every one of them has to be met.
    pub requirements: Vec<Requirement>,
}

/// What one entry demands: so many different people of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// `operator:NAME`, `slack:ID`, `teams:ID`, `user:NAME`, `group:NAME`; empty is any operator.
    pub approvers: Vec<String>,
    /// How many of them; at least one.
    pub count: u32,
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// When.
    pub at: jiff::Timestamp,
}

impl Requirement {
    /// Whether `by`'s word counts here. An operator without a prefix is `operator:NAME`; nobody is known to be in a group yet.
    pub fn names(&self, by: &str) -> bool {
        let is = |approver: &String| approver == by || approver.strip_prefix("operator:") == Some(by);
        self.approvers.is_empty() || self.approvers.iter().any(is)
    }

    /// Whether these votes are enough. A person counts once.
    pub fn is_met(&self, votes: &[Vote]) -> bool {
        let people: std::collections::BTreeSet<&str> =
            votes.iter().map(|vote| vote.by.as_str()).filter(|by| self.names(by)).collect();
        people.len() >= usize::try_from(self.count.max(1)).unwrap_or(usize::MAX)
    }
}
