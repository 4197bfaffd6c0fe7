//! On which terms a human may approve: who, how many of them, until when.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Finding, FindingEffect, Mode, PolicySet};
use crate::approval::{ApprovalTerms, Requirement};

/// Time for an approval where no entry says another, in seconds.
const DEFAULT_TTL_S: i64 = 1800;

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
        // Whoever is asked is one of those who may approve at all: that much needs no requirement.
        let anyone = Requirement { approvers: Vec::new(), count: 1 };
        let requirements: BTreeSet<Requirement> = rules.iter().map(|rule| rule.requirement.clone()).collect();
        ApprovalTerms {
            ttl_s: rules.iter().filter_map(|rule| rule.expires_s).min().unwrap_or(DEFAULT_TTL_S),
            requirements: requirements.into_iter().filter(|one| *one != anyone).collect(),
        }
    }
}
