//! The reasons of a decision, kept once: the record, the span, the answer and the console all show this one.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Facts;
use crate::agent::Agent;
use crate::audit::Resolution;
use crate::call::{Destination, Effect, ToolCall};
use crate::cost::Cost;
use crate::policy::Mode;
use crate::problem::{ApprovalInfo, Code, Problem, Violation};
use crate::sanitize::{Redaction, shown};
use crate::shadow::{Comparison, Watch};

/// The answers, and what each means to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Forwarded as it came.
    Allow,
    /// Forwarded after parts of it were redacted.
    Sanitize,
    /// A human has to say yes first.
    ApprovalNeeded,
    /// Refused.
    Deny,
}

impl Verdict {
    /// The wire form: `allow`, `sanitize`, `approval_needed`, `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Sanitize => "sanitize",
            Self::ApprovalNeeded => "approval_needed",
            Self::Deny => "deny",
        }
    }
}

/// What a decision says of its call: names and digests, no raw parameter. Names that an agent made up are looked through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallSummary {
    /// Tool.
    pub tool: String,
    /// Action.
    pub action: String,
    /// What the action does.
    pub effect: Effect,
    /// The environment of its target.
    pub env: String,
    /// Digest of the parameters.
    pub params_digest: String,
    /// Digest of all that would run; absent where the body wasn't read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<String>,
    /// The destination, when the agent named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// The most that it can cost, where its definition says how to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_estimate: Option<Cost>,
}

impl CallSummary {
    /// The summary of a call.
    pub fn of(call: &ToolCall) -> Self {
        Self {
            tool: shown::text(&call.tool).into_owned(),
            action: shown::text(&call.action).into_owned(),
            effect: call.effect,
            env: shown::text(&call.environment.name).into_owned(),
            params_digest: call.params_digest().to_string(),
            call_digest: call.digest().map(|digest| digest.to_string()),
            destination: call.destination.clone().map(|to| Destination { host: shown::owned(to.host), ..to }),
            cost_estimate: call.metering.estimate,
        }
    }
}

/// Why a call was answered as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// `dec_…`
    pub decision_id: String,
    /// When.
    pub at: Timestamp,
    /// The W3C trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// By which way it came in: `route`, `proxy`, `tunnel`, `ext_authz`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Cow<'static, str>>,
    /// What is done.
    pub decision: Verdict,
    /// In shadow mode: what would have been done, when that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_decision: Option<Verdict>,
    /// The mode that the decision was made under.
    pub mode: Mode,
    /// For a refusal, its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// In one line, without raw values: `max_replicas: above_maximum`.
    pub reason: String,
    /// In a sentence, for the caller.
    pub detail: String,
    /// What to do next, in words for an agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub guidance: String,
    /// Who asked; absent where nobody was identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// What was asked; absent where it couldn't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallSummary>,
    /// The version of the policy that decided.
    pub policy_version: String,
    /// The entries that applied, as `policy/entry`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<String>,
    /// Every rule that said no or asks, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// What was taken out of the call before it was forwarded or shown to a human.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redactions: Vec<Redaction>,
    /// The approval it waits for, spends, or was refused by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalInfo>,
    /// Seconds to wait before a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// When the budget that refused it starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// The two engines disagreed: an alarm, not only a denial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub engines_differ: bool,
    /// What the tool was asked about the call before it was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<Resolution>,
    /// The policies in shadow mode that were for the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_by: Vec<String>,
    /// What a candidate would have made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Comparison>,
    /// What was only watched, to be counted; holds raw values, so it is never written.
    #[serde(skip)]
    pub watch: Watch,
    /// Why a policy engine gave no answer where it should have: for the operator, without any value of the call. An alarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engine_failures: Vec<String>,
}

impl Explanation {
    /// A refusal that no policy was asked about.
    pub(super) fn refusal(facts: &Facts<'_>, agent: Option<Agent>, code: Code, reason: &str, detail: String) -> Self {
        Self {
            decision_id: facts.decision_id.clone(),
            at: facts.now,
            trace_id: facts.trace_id.clone(),
            via: facts.via.map(Cow::Borrowed),
            decision: Verdict::Deny,
            would_decision: None,
            mode: Mode::Enforce,
            code: Some(code),
            reason: reason.to_owned(),
            detail: shown::owned(detail),
            guidance: guidance(code).to_owned(),
            agent,
            call: None,
            policy_version: facts.policy_version.to_owned(),
            matched: Vec::new(),
            violations: Vec::new(),
            redactions: Vec::new(),
            approval: None,
            retry_after: None,
            resets_at: None,
            engines_differ: false,
            resolved: Vec::new(),
            observed_by: Vec::new(),
            candidate: None,
            watch: Watch::default(),
            engine_failures: Vec::new(),
        }
    }

    /// The same call, refused after all.
    pub(super) fn refused(mut self, code: Code, reason: &str, detail: String) -> Self {
        self.decision = Verdict::Deny;
        self.would_decision = None;
        self.code = Some(code);
        self.reason = reason.to_owned();
        self.detail = shown::owned(detail);
        self.guidance = guidance(code).to_owned();
        self
    }

    /// The same without any raw value: for records, logs and exports.
    #[must_use]
    pub fn without_values(&self) -> Self {
        let mut copy = self.clone();
        copy.detail = copy.reason.clone();
        copy.watch = Watch::default();
        for violation in &mut copy.violations {
            violation.actual = None;
            violation.message = format!("{}: {}", violation.rule, violation.reason);
        }
        copy
    }

    /// The problem document for a refusal. `None` when the call passed.
    pub fn problem(&self) -> Option<Problem> {
        let code = self.code?;
        Some(Problem { guidance: self.guidance.clone(), ..self.problem_with(code, self.detail.clone()) })
    }

    /// The problem document for something that went wrong after the decision, e.g. [`Code::UpstreamFailed`].
    pub fn problem_with(&self, code: Code, detail: String) -> Problem {
        Problem {
            type_uri: code.type_uri(),
            title: code.name().to_owned(),
            status: code.status(),
            detail: shown::owned(detail),
            code,
            decision: self.decision.as_str().to_owned(),
            decision_id: self.decision_id.clone(),
            trace_id: self.trace_id.clone(),
            policy_version: self.policy_version.clone(),
            agent_id: self.agent.as_ref().map(|agent| agent.id.clone()),
            tool: self.call.as_ref().map(|call| call.tool.clone()),
            action: self.call.as_ref().map(|call| call.action.clone()),
            violations: self.violations.clone(),
            retryable: code.retryable(),
            retry_after: self.retry_after,
            resets_at: self.resets_at,
            guidance: guidance(code).to_owned(),
            approval: self.approval.clone(),
        }
    }
}

/// What to do next where no rule has better words.
pub(super) fn guidance(code: Code) -> &'static str {
    match code {
        Code::PolicyViolation => {
            "Change the call so that it keeps the rules named here, or ask a human to change the policy."
        }
        Code::ApprovalNeeded => "Wait for a human to approve, then repeat exactly the same call.",
        Code::ApprovalRejected => "A human said no. Don't repeat this call; ask the human what to do instead.",
        Code::ApprovalExpired => {
            "Nobody decided in time, or the approval wasn't used in time. Repeat the call to ask again."
        }
        Code::ApprovalCancelled => "The request was withdrawn. Don't repeat this call unless a human asks for it.",
        Code::BudgetExceeded => {
            "The budget is used up. Wait until it resets, do with less, or ask a human to raise it; a repeat won't help."
        }
        Code::RateLimited => "Wait for the time given, then repeat the call.",
        Code::IdentityRejected => "Get a fresh token for a registered agent and send it with the call.",
        Code::BadRequest => "Correct the request; it was not forwarded.",
        Code::TooLarge => "Send less, or ask the operator to raise the limit.",
        Code::UpstreamFailed => "The tool's side failed and the call may have reached it: look before you repeat it.",
        Code::GatewayUnavailable => "Nothing was forwarded. Try again later, or tell the operator.",
    }
}
