//! The one function that can let a call through.
//!
//! [`decide()`] is pure and total: it never fails, it answers. Whatever goes wrong on the way (no policy, a condition that
//! can't be evaluated, two engines that disagree) is a [`Denial`] that says which.
//!
//! A [`Permit`] owns the exact call to forward. Only this module makes one; only the store can turn it into something
//! that can be forwarded (law 2). [`Observed`] is the same for shadow mode: not a permit, and never recorded as one.

mod compose;
mod explain;
mod reach;
mod redact;
#[cfg(test)]
mod tests;
mod undeclared;

pub use compose::{decide, opinion};
pub use explain::{CallSummary, Explanation, Verdict};
use jiff::Timestamp;
pub use reach::reach;
pub use redact::approval_digest;

use crate::agent::Agent;
use crate::approval::{Approval, Request};
use crate::audit::Resolution;
use crate::budget::{Charge, Spend};
use crate::call::ToolCall;
use crate::policy::{Mode, RateLimit};
use crate::problem::{Code, Violation};
use crate::session::{Marks, Session};
use crate::shadow::Opinion;

/// What was decided about one call.
#[must_use = "a decision that nobody acts on leaves a call without an answer"]
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Allow(Permit),
    /// Forward it as the permit has it: parts were redacted.
    Sanitize(Permit),
    /// Shadow mode: forward it, and record what would have been done.
    Observe(Observed),
    /// Ask a human first.
    ApprovalNeeded(Ask),
    /// Refuse it.
    Deny(Denial),
}

/// The right to have one call admitted, once. Owns the call.
#[derive(Debug)]
pub struct Permit {
    call: ToolCall,
    explanation: Explanation,
    spends: Option<String>,
    charges: Vec<Charge>,
    marks: Option<Marks>,
}

/// A call that shadow mode lets pass although it would not have been allowed. Owns the call.
#[derive(Debug)]
pub struct Observed {
    call: ToolCall,
    explanation: Explanation,
    charges: Vec<Charge>,
    marks: Option<Marks>,
}

/// A call that waits for a human, and the request to put before one.
#[derive(Debug)]
pub struct Ask {
    explanation: Explanation,
    request: Request,
}

/// A refused call: only its explanation is left.
#[derive(Debug)]
pub struct Denial {
    explanation: Explanation,
}

/// What can be put before the store for admission.
#[derive(Debug)]
pub enum Passage {
    /// Allowed.
    Permit(Permit),
    /// Let pass by shadow mode.
    Observed(Observed),
}

impl Decision {
    /// The same decision, with what a candidate would have made of the call told beside it.
    pub fn beside(mut self, opinion: Option<Opinion>) -> Self {
        let Some(opinion) = opinion else { return self };
        let explanation = match &mut self {
            Self::Allow(permit) | Self::Sanitize(permit) => &mut permit.explanation,
            Self::Observe(observed) => &mut observed.explanation,
            Self::ApprovalNeeded(ask) => &mut ask.explanation,
            Self::Deny(denial) => &mut denial.explanation,
        };
        let comparison = opinion.compared_with(&explanation.watch.judged);
        explanation.watch.difference = opinion.difference(&explanation.watch.judged, comparison.change);
        explanation.candidate = Some(comparison);
        self
    }
}

impl Permit {
    /// The call.
    pub fn call(&self) -> &ToolCall {
        &self.call
    }

    /// Why it is allowed.
    pub fn explanation(&self) -> &Explanation {
        &self.explanation
    }

    /// The approval that admission must consume, in the same transaction that records it.
    pub fn spends(&self) -> Option<&str> {
        self.spends.as_deref()
    }
}

impl Observed {
    /// The call.
    pub fn call(&self) -> &ToolCall {
        &self.call
    }

    /// What would have been done, and why.
    pub fn explanation(&self) -> &Explanation {
        &self.explanation
    }
}

impl Ask {
    /// Why a human is asked.
    pub fn explanation(&self) -> &Explanation {
        &self.explanation
    }

    /// What to put before a human.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The explanation, to be completed with the approval that the store opened.
    pub fn into_parts(self) -> (Explanation, Request) {
        (self.explanation, self.request)
    }

    /// Gives the request up: no human can be asked, because `reason`. The way back is always a denial.
    pub fn refuse(self, code: Code, reason: &str, detail: impl Into<String>) -> Denial {
        Denial { explanation: self.explanation.refused(code, reason, detail.into()) }
    }
}

impl Denial {
    /// Why.
    pub fn explanation(&self) -> &Explanation {
        &self.explanation
    }

    /// Gives up the explanation.
    pub fn into_explanation(self) -> Explanation {
        self.explanation
    }

    /// The same with more to be said in its reason, without raw values.
    #[must_use]
    pub fn noting(mut self, more: &str) -> Self {
        self.explanation.reason.push_str(more);
        self
    }

    /// A refusal of something that never became a call: no identity, or a request that can't be read.
    ///
    /// `reason` is for records and never holds a raw value; `detail` is for the caller.
    pub fn unread(facts: &Facts<'_>, agent: Option<&Agent>, code: Code, reason: &str, detail: String) -> Self {
        Self { explanation: Explanation::refusal(facts, agent.cloned(), code, reason, detail) }
    }
}

impl Passage {
    /// The call.
    pub fn call(&self) -> &ToolCall {
        match self {
            Self::Permit(permit) => &permit.call,
            Self::Observed(observed) => &observed.call,
        }
    }

    /// Why it passes.
    pub fn explanation(&self) -> &Explanation {
        match self {
            Self::Permit(permit) => &permit.explanation,
            Self::Observed(observed) => &observed.explanation,
        }
    }

    /// The approval that admission must consume.
    pub fn spends(&self) -> Option<&str> {
        match self {
            Self::Permit(permit) => permit.spends(),
            Self::Observed(_) => None,
        }
    }

    /// What admission must take out of budgets, in the same transaction.
    pub fn charges(&self) -> &[Charge] {
        match self {
            Self::Permit(permit) => &permit.charges,
            Self::Observed(observed) => &observed.charges,
        }
    }

    /// What admission must leave in the agent's session, in the same transaction that records the call; `None` where no policy
    /// uses sessions.
    pub fn marks(&self) -> Option<&Marks> {
        match self {
            Self::Permit(permit) => permit.marks.as_ref(),
            Self::Observed(observed) => observed.marks.as_ref(),
        }
    }

    /// Takes the call and its explanation out. The call alone opens nothing: what may be forwarded is the store's `Admitted`,
    /// which this consumes.
    pub fn into_parts(self) -> (ToolCall, Explanation) {
        match self {
            Self::Permit(permit) => (permit.call, permit.explanation),
            Self::Observed(observed) => (observed.call, observed.explanation),
        }
    }

    /// Gives the call up: it can't be admitted, because `reason`. The way back from a permit is always a denial.
    pub fn refuse(self, code: Code, reason: &str, detail: impl Into<String>) -> Denial {
        let explanation = match self {
            Self::Permit(permit) => permit.explanation,
            Self::Observed(observed) => observed.explanation,
        };
        Denial { explanation: explanation.refused(code, reason, detail.into()) }
    }
}

/// What a decision may depend on besides policy, agent and call; fetched before it, so that it stays pure.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The id of this decision, `dec_…`.
    pub decision_id: String,
    /// The W3C trace it belongs to, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The version of the policy that the refusal of an unread request is recorded under.
    pub policy_version: &'a str,
    /// The newest approval that this agent has for exactly this call, in whatever state.
    pub approval: Option<&'a Approval>,
    /// The rate limits that this call is over.
    pub over_rate: Vec<OverRate>,
    /// The budgets that apply to this call, and what was spent of them.
    pub spends: Vec<Spend>,
    /// What the gateway's own guards found (a private address, an IP literal). They hold in shadow mode too.
    pub guards: Vec<Violation>,
    /// Decide with both engines and deny if they differ.
    pub cross_check: bool,
    /// What the agent has done before.
    pub session: Session,
    /// What the tool was asked about the call, for the record.
    pub resolved: Vec<Resolution>,
    /// By which way the call came in, for the record: `route`, `proxy`, `ext_authz`… No rule depends on it.
    pub via: Option<&'static str>,
}

impl<'a> Facts<'a> {
    /// What every decision has; nothing else is known.
    pub fn new(now: Timestamp, decision_id: impl Into<String>, policy_version: &'a str) -> Self {
        Self {
            now,
            decision_id: decision_id.into(),
            trace_id: None,
            policy_version,
            approval: None,
            over_rate: Vec::new(),
            spends: Vec::new(),
            guards: Vec::new(),
            cross_check: false,
            session: Session::default(),
            resolved: Vec::new(),
            via: None,
        }
    }
}

/// A rate limit that the call is over.
#[derive(Debug, Clone, PartialEq)]
pub struct OverRate {
    /// Which.
    pub limit: RateLimit,
    /// Seconds until a call would pass, rounded up.
    pub retry_after: u64,
}

impl OverRate {
    /// Whether it refuses, or only observes.
    pub fn mode(&self) -> Mode {
        self.limit.mode
    }
}
