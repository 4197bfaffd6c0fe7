//! What is only watched: shadow mode, and a candidate that is asked about the same live calls as the policies in force.
//!
//! Reading order: this file (what a candidate makes of a call, and how that compares) → [`sighting`] (what is counted of a
//! decision, without any raw value) → [`report`] (the counts, read: shares, distributions, thresholds) → [`gate`] (whether a
//! candidate may be promoted) → [`suggest`] (the counts, as changes of the policies' text).
//!
//! Invariants: nothing here can change what is done with a call; a candidate that can't be evaluated is a disagreement
//! ([`Change::Failed`]), never a denial; no parameter's value leaves [`sighting::sightings`], only its redaction.
//! Deliberately absent: the gateway's own guards. They hold in shadow mode too, so there is nothing to watch.

pub mod gate;
pub mod report;
pub mod sighting;
pub mod suggest;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::decide::Verdict;
use crate::policy::{FindingEffect, Mode};
use crate::problem::Violation;

/// What a set of policies makes of a call, before any approval is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What its enforcing policies make of it.
    pub decision: Verdict,
    /// What all of them do, shadow mode included.
    pub would: Verdict,
    /// Every rule that isn't kept, with the values that break it.
    pub broken: Vec<Broken>,
}

impl Default for Judged {
    fn default() -> Self {
        Self { decision: Verdict::Allow, would: Verdict::Allow, broken: Vec::new() }
    }
}

/// A rule that a call doesn't keep, and what breaks it. Holds raw values: it is counted, never recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// The entry that it stands in, as `policy/entry`; empty for rules of a whole policy.
    pub entry: String,
    /// What follows from it.
    pub effect: FindingEffect,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
    /// The rule, in words and values.
    pub violation: Violation,
}

impl Broken {
    /// Whether both are about the same rule and reason.
    fn is_like(&self, other: &Self) -> bool {
        let key = |broken: &Self| {
            let Violation { rule, policy, reason, .. } = &broken.violation;
            (policy.clone(), broken.entry.clone(), rule.clone(), reason.clone())
        };
        key(self) == key(other)
    }
}

/// What a candidate makes of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// The candidate's version.
    pub version: String,
    /// What it makes of the call.
    pub judged: Judged,
    /// Why, in one line, without raw values.
    pub reason: String,
    /// Its entries that applied, as `policy/entry`.
    pub matched: Vec<String>,
    /// It could not be evaluated.
    pub failed: bool,
}

/// How a candidate's answer differs from the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It doesn't.
    Same,
    /// Both do the same, but in shadow mode, and would not without it.
    Observed,
    /// It lets pass what is held back now.
    Looser,
    /// It holds back what passes now.
    Stricter,
    /// It could not be evaluated.
    Failed,
}

impl Change {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Observed => "observed",
            Self::Looser => "looser",
            Self::Stricter => "stricter",
            Self::Failed => "failed",
        }
    }
}

/// A candidate's answer beside the one that counted, as it is recorded: reasons, no values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The candidate's version.
    pub version: String,
    /// What it would have done with the call.
    pub decision: Verdict,
    /// In its own shadow mode: what it would have done without that, when it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_decision: Option<Verdict>,
    /// How that differs from what the policies in force made of the call. Approvals are left out of both: one at hand lifts
    /// the same question of either.
    pub change: Change,
    /// Why, in one line: `max_replicas: above_maximum`.
    pub reason: String,
    /// Its entries that applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<String>,
}

impl Opinion {
    /// This opinion beside what the policies in force made of the same call.
    pub fn compared_with(&self, active: &Judged) -> Comparison {
        let change = match self.judged.decision.cmp(&active.decision) {
            _ if self.failed => Change::Failed,
            Ordering::Less => Change::Looser,
            Ordering::Greater => Change::Stricter,
            Ordering::Equal if self.judged.would != active.would => Change::Observed,
            Ordering::Equal => Change::Same,
        };
        Comparison {
            version: self.version.clone(),
            decision: self.judged.decision,
            would_decision: (self.judged.would != self.judged.decision).then_some(self.judged.would),
            change,
            reason: self.reason.clone(),
            matched: self.matched.clone(),
        }
    }

    /// The rules that make the difference: the candidate's where it is stricter, those in force where it is looser.
    pub fn difference(&self, active: &Judged, change: Change) -> Vec<Broken> {
        let looser = match change {
            Change::Same => return Vec::new(),
            Change::Looser => true,
            Change::Stricter | Change::Failed => false,
            Change::Observed => self.judged.would < active.would,
        };
        let (more, less) = match looser {
            true => (&active.broken, &self.judged.broken),
            false => (&self.judged.broken, &active.broken),
        };
        let new: Vec<Broken> =
            more.iter().filter(|one| !less.iter().any(|other| one.is_like(other))).cloned().collect();
        // The same rules in another mode, or with another effect.
        if new.is_empty() { more.clone() } else { new }
    }
}

/// What was watched of a decision, to be counted. Not part of its record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watch {
    /// What the policies in force made of the call.
    pub judged: Judged,
    /// What made the candidate's answer another one.
    pub difference: Vec<Broken>,
}
