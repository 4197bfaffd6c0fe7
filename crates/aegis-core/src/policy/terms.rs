//! On which terms a human may approve: who, how many of them, until when.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Finding, FindingEffect, Mode, PolicySet};
use crate::approval::{ApprovalTerms, Requirement};

/// Time for an approval where no entry says another, in seconds.
pub(super) const DEFAULT_TTL_S: i64 = 1800;

/// `approval` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalRule {
    /// How long it may take, in seconds.
    pub(super) expires_s: Option<i64>,
    #[serde(flatten)]
    pub(super) requirement: Requirement,
}

impl PolicySet {
    /// What an approval asked for by these findings has to fulfil: the demands of each entry that asks. Shadow policies ask nobody.
    pub fn approval_terms(&self, findings: &[Finding]) -> ApprovalTerms {
        let asking = findings.iter().filter(|one| one.effect == FindingEffect::Ask && one.mode == Mode::Enforce);
        let entries = asking.filter_map(|finding| self.policy(finding)?.entries.get(finding.entry?));
        let rules: Vec<&ApprovalRule> = entries.filter_map(|entry| entry.terms.as_ref()).collect();
        // Anyone, once, is what every approval needs.
        let demands =
            rules.iter().map(|rule| &rule.requirement).filter(|one| !one.approvers.is_empty() || one.count > 1);
        let requirements: BTreeSet<Requirement> = demands.cloned().collect();
        ApprovalTerms {
            ttl_s: rules.iter().filter_map(|rule| rule.expires_s).min().unwrap_or(DEFAULT_TTL_S),
            requirements: requirements.into_iter().collect(),
        }
    }
}
