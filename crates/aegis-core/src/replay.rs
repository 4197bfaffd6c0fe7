//! What other policies would have said of a recorded call.
//!
//! Compared are decisions, then and now, without what isn't replayed: rates and budgets depend on the rhythm of all calls,
//! approvals on humans, the gateway's own guards on addresses.
//!
//! Invariant: an answer is only called the same where all that the candidate looks at is there as it was. What was cut when
//! the call was kept makes it undecidable, as soon as anything in the candidate may look there.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::call::recorded::RecordedCall;
use crate::call::{Shape, ToolCall};
use crate::decide::{Decision, Explanation, Facts, Verdict, decide};
use crate::policy::{Asked, PolicySet, Words};

/// What policies say of a call by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The version that says so.
    pub policy_version: String,
    /// What is enforced.
    pub decision: Verdict,
    /// What would be, were everything enforced; absent where that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_decision: Option<Verdict>,
    /// The rules that the call doesn't keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Broken>,
}

/// A rule that a call doesn't keep, without values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// The policy; empty for the gateway's own rules and the default deny.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// The rule's key.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// What became of one recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The same decision.
    Same,
    /// Another one.
    Changed {
        /// Then.
        before: Verdict,
        /// By the candidate.
        after: Verdict,
        /// The rules that make the stricter of the two.
        because: Vec<Broken>,
    },
    /// The candidate may look at what was not kept.
    Undecidable {
        /// The places that were cut.
        cut: Vec<String>,
    },
}

/// A candidate, ready to be asked about recorded calls.
#[derive(Debug)]
pub struct Replay<'a> {
    candidate: &'a PolicySet,
    words: Words,
}

impl Answer {
    /// What `policies` say of a call.
    pub fn of(policies: &PolicySet, asked: Asked<'_>, call: ToolCall) -> Self {
        let facts = Facts { session: asked.session.clone(), ..Facts::new(asked.now, "", policies.version()) };
        let decision = decide(policies, asked.agent, call, &facts);
        let explanation = explanation(&decision);
        let broken = explanation.violations.iter().map(|violation| Broken {
            policy: violation.policy.clone(),
            rule: violation.rule.clone(),
            reason: violation.reason.clone(),
        });
        Self {
            policy_version: explanation.policy_version.clone(),
            decision: explanation.decision,
            would_decision: explanation.would_decision,
            broken: broken.collect(),
        }
    }
}

fn explanation(decision: &Decision) -> &Explanation {
    match decision {
        Decision::Allow(permit) | Decision::Sanitize(permit) => permit.explanation(),
        Decision::Observe(observed) => observed.explanation(),
        Decision::ApprovalNeeded(ask) => ask.explanation(),
        Decision::Deny(denial) => denial.explanation(),
    }
}

impl<'a> Replay<'a> {
    /// Prepares `candidate`.
    pub fn of(candidate: &'a PolicySet) -> Self {
        Self { candidate, words: candidate.words() }
    }

    /// Judges one call again.
    pub fn judge(&self, recorded: RecordedCall) -> Replayed {
        let RecordedCall { agent, at, session, call, cut, answer: before, .. } = recorded;
        let call = ToolCall::from(call);
        let asked = Asked { agent: &agent, call: &call, now: at, session: &session };
        if !cut.is_empty() && self.looks_at(&cut, asked) {
            return Replayed::Undecidable { cut };
        }
        let after = Answer::of(self.candidate, asked, call.clone());
        let because = if after.decision < before.decision { before.broken } else { after.broken };
        match before.decision == after.decision {
            true => Replayed::Same,
            false => Replayed::Changed { before: before.decision, after: after.decision, because },
        }
    }

    /// Whether the candidate may look at any of these places.
    fn looks_at(&self, cut: &[String], asked: Asked<'_>) -> bool {
        let mut params = cut.iter().filter(|path| path.as_str() == "params" || path.starts_with("params.")).peekable();
        if params.peek().is_none() {
            // Policy looks at images by repository and digest, and not at targets.
            return false;
        }
        // Undeclared fields and what is to be redacted are looked for in all parameters.
        let all = asked.call.shape == Shape::Open || !self.candidate.sanitizers(asked).is_empty();
        all || params.any(|path| path == "params" || self.words.has_any_of(path.trim_start_matches("params.")))
    }
}
