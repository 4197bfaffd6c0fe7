//! The policies that calls are judged by: one set in force, perhaps one on trial for a part of the calls, and perhaps one
//! that is only watched.
//!
//! Invariant: a call is judged by exactly one set, chosen once.

use std::collections::BTreeSet;
use std::sync::Arc;

use aegis_core::agent::Agent;
use aegis_core::policy::PolicySet;
use aegis_core::problem::Violation;
use sha2::{Digest as _, Sha256};

use super::case::random;

/// What governs calls from one moment to the next; exchanged as a whole, so that a call sees one state of it.
#[derive(Debug, Clone)]
pub struct Governing {
    /// In force: it decides.
    pub active: Arc<PolicySet>,
    /// Decides instead for a part of the calls.
    pub canary: Option<Canary>,
    /// Asked about the same live calls, and never obeyed.
    pub candidate: Option<Arc<PolicySet>>,
    /// `active` only stands in because nothing could be put in force: everything is denied, whatever the mode.
    pub withheld: bool,
}

impl Governing {
    /// All of its sets.
    pub(super) fn sets(&self) -> Vec<Arc<PolicySet>> {
        let canary = self.canary.iter().map(|canary| &canary.policies);
        [&self.active].into_iter().chain(canary).chain(&self.candidate).cloned().collect()
    }
}

/// A set that is tried on a part of the calls.
#[derive(Debug, Clone)]
pub struct Canary {
    /// It decides for them.
    pub policies: Arc<PolicySet>,
    /// Which calls.
    pub of: CanaryOf,
}

/// Which calls a canary judges.
#[derive(Debug, Clone, PartialEq)]
pub enum CanaryOf {
    /// Those of these agents, and of the agents in these groups.
    Named {
        /// Agents.
        agents: BTreeSet<String>,
        /// Groups.
        groups: BTreeSet<String>,
    },
    /// Those of a share of the agents, 0 to 1; drawn by a key that agents don't know, so that none chooses a name by it.
    ShareOfAgents {
        /// 0 to 1.
        share: f64,
        /// What they are drawn by.
        key: String,
    },
    /// A share of all calls, 0 to 1, each drawn anew.
    ShareOfCalls {
        /// 0 to 1.
        share: f64,
    },
}

impl Governing {
    /// Only `policies`, nothing watched.
    pub fn by(policies: impl Into<Arc<PolicySet>>) -> Self {
        Self { active: policies.into(), canary: None, candidate: None, withheld: false }
    }

    /// Nothing is in force: `empty` stands in, and everything is denied.
    pub fn withheld(empty: impl Into<Arc<PolicySet>>) -> Self {
        Self { withheld: true, ..Self::by(empty) }
    }

    /// The one set that judges this call of `agent`.
    pub(super) fn judge_of(&self, agent: &Agent) -> &Arc<PolicySet> {
        match &self.canary {
            Some(canary) if canary.of.includes(agent) => &canary.policies,
            _ => &self.active,
        }
    }

    /// The guard against calls that come while no policy is in force. It holds in shadow mode too: what can't be read may
    /// have held a policy that enforces.
    pub(super) fn guard(&self) -> Option<Violation> {
        let message =
            "no policy is in force: none could be loaded; the operator finds the reason with `aegis policy status`";
        self.withheld.then(|| Violation::of_gateway("policy", "none_in_force", message))
    }
}

impl CanaryOf {
    fn includes(&self, agent: &Agent) -> bool {
        match self {
            Self::Named { agents, groups } => {
                agents.contains(&agent.id) || agent.groups.iter().any(|group| groups.contains(group))
            }
            Self::ShareOfAgents { share, key } => below(lot_of(key, &agent.id), *share),
            Self::ShareOfCalls { share } => below(u32::from_be_bytes(random()), *share),
        }
    }
}

/// Whether a lot is among the `share` (0 to 1) of all lots.
pub(super) fn below(lot: u32, share: f64) -> bool {
    f64::from(lot) < share * (f64::from(u32::MAX) + 1.0)
}

/// An agent's lot under a key: the same every time.
fn lot_of(key: &str, agent: &str) -> u32 {
    // The key's length is hashed with it, so that no two pairs are the same bytes.
    let length = (key.len() as u64).to_be_bytes();
    let hash: [u8; 32] = Sha256::new().chain_update(length).chain_update(key).chain_update(agent).finalize().into();
    hash.first_chunk::<4>().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
