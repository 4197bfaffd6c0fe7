//! On which terms a human may approve: who, how many of them, until when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Finding, FindingEffect, Mode, PolicySet};

/// Time for an approval where no entry says another, in seconds.
const DEFAULT_TTL_S: i64 = 1800;

/// What the entries that ask want of an approval, all of them together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTerms {
    /// How long it may take, in seconds: the shortest of the entries' `expires`.
    pub ttl_s: i64,
    /// What has to be met, each by itself; at least one.
    pub requirements: Vec<Requirement>,
}

/// Who has to say yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The only ones who may, as `slack:U123`, `teams:…`, `operator:…`, `group:…`, `user:…`, sorted; empty is whoever may approve
    /// at all.
    pub approvers: Vec<String>,
    /// How many of them.
    pub count: u32,
}

impl Requirement {
    /// Anyone, once.
    fn least() -> Self {
        Self { approvers: Vec::new(), count: 1 }
    }
}

impl Default for ApprovalTerms {
    fn default() -> Self {
        Self { ttl_s: DEFAULT_TTL_S, requirements: vec![Requirement::least()] }
    }
}

/// `approval` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalRule {
    /// How long it may take, in seconds.
    pub(super) expires_s: Option<i64>,
    #[serde(flatten)]
    pub(super) requirement: Requirement,
}

impl PolicySet {
    /// The terms on which what asks among these findings may be approved. Shadow policies ask nobody.
    pub fn approval_terms(&self, findings: &[Finding]) -> ApprovalTerms {
        let asking = findings.iter().filter(|one| one.effect == FindingEffect::Ask && one.mode == Mode::Enforce);
        let entries = asking.filter_map(|finding| self.policy(finding)?.entries.get(finding.entry?));
        let rules: Vec<&ApprovalRule> = entries.filter_map(|entry| entry.terms.as_ref()).collect();
        let mut requirements: BTreeSet<Requirement> = rules.iter().map(|rule| rule.requirement.clone()).collect();
        if requirements.len() > 1 {
            // Whoever else approves is anyone, too.
            requirements.remove(&Requirement::least());
        }
        let default = ApprovalTerms::default();
        ApprovalTerms {
            ttl_s: rules.iter().filter_map(|rule| rule.expires_s).min().unwrap_or(default.ttl_s),
            requirements: match requirements.is_empty() {
                true => default.requirements,
                false => requirements.into_iter().collect(),
            },
        }
    }
}
