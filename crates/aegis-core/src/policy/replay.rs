//! What another policy would have said of a recorded call.
//!
//! Compared are the policies alone, then and now: rates depend on the rhythm of all calls, approvals on humans, the gateway's
//! own guards on addresses, and none of them on what is replayed.
//!
//! Invariant: a call is only called the same where all that the candidate looks at is there as it was. What was cut when the
//! call was kept makes it undecidable, as soon as anything in the candidate has that name.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Asked, Evaluation, FindingEffect, Mode, PolicySet};
use crate::call::ToolCall;
use crate::call::recorded::RecordedCall;
use crate::decide::Verdict;

/// What became of one recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Answered as before.
    Same,
    /// Answered otherwise.
    Changed {
        /// The policies' answer then.
        before: Verdict,
        /// The candidate's.
        after: Verdict,
        /// What the candidate says, or, of what it no longer says, what was said then.
        because: Evaluation,
    },
    /// What the candidate looks at was not kept.
    Undecidable {
        /// The places that were cut.
        cut: Vec<String>,
    },
    /// Refused by the gateway itself, whatever policy says.
    Refused,
}

/// A candidate, ready to be asked about recorded calls.
#[derive(Debug)]
pub struct Replay<'a> {
    candidate: &'a PolicySet,
    /// Every word in what is compiled: the parameters that it looks at are among them.
    words: BTreeSet<String>,
}

impl Evaluation {
    /// What follows from the findings that are enforced.
    pub fn enforced(&self) -> Verdict {
        self.verdict(|mode| mode == Mode::Enforce)
    }

    /// What would follow if all of them were.
    pub fn would(&self) -> Verdict {
        self.verdict(|_| true)
    }

    fn verdict(&self, counts: impl Fn(Mode) -> bool) -> Verdict {
        let strictest = self.findings.iter().filter(|finding| counts(finding.mode)).map(|finding| finding.effect).max();
        match strictest {
            None => Verdict::Allow,
            Some(FindingEffect::Sanitize) => Verdict::Sanitize,
            Some(FindingEffect::Ask) => Verdict::ApprovalNeeded,
            Some(FindingEffect::Deny) => Verdict::Deny,
        }
    }
}

impl<'a> Replay<'a> {
    /// Prepares `candidate`.
    pub fn of(candidate: &'a PolicySet) -> Self {
        let mut words = BTreeSet::new();
        // What can't be written as JSON was never compiled.
        collect(&serde_json::to_value(&candidate.tables).unwrap_or_default(), &mut words);
        Self { candidate, words }
    }

    /// Judges one call again.
    pub fn judge(&self, recorded: RecordedCall) -> Replayed {
        let RecordedCall { agent, at, session, call, cut, evaluation, .. } = recorded;
        if call.environment.contradicted_by.is_some() {
            return Replayed::Refused;
        }
        if cut.iter().any(|path| self.looks_at(path)) {
            return Replayed::Undecidable { cut };
        }
        let call = ToolCall::from(call);
        let asked = Asked { agent: &agent, call: &call, now: at, session: &session };
        let now = self.candidate.evaluate(asked);
        let (before, after) = (evaluation.enforced(), now.enforced());
        match before == after {
            true => Replayed::Same,
            false if now.findings.is_empty() || after < before => {
                Replayed::Changed { before, after, because: evaluation }
            }
            false => Replayed::Changed { before, after, because: now },
        }
    }

    /// Whether anything in the candidate has the name of something on the way to this place.
    fn looks_at(&self, path: &str) -> bool {
        let mut parts = parts(path);
        match parts.next() {
            // All of them were cut, so whatever is looked at was.
            Some("params") if path == "params" => true,
            Some("params") => parts.any(|part| self.words.contains(part)),
            // Policy looks at images by repository and digest, and not at targets.
            _ => false,
        }
    }
}

/// The parts of a path; a name that holds a separator itself comes in several, there as here.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(['.', '[', ']']).filter(|part| !part.is_empty())
}

fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => words.extend(parts(text).map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => fields.iter().for_each(|(key, item)| {
            words.extend(parts(key).map(str::to_owned));
            collect(item, words);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
