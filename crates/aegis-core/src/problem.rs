//! Refusals, as every client sees them: one schema (RFC 9457 problem details) for policy, approval, rate, identity,
//! upstream and internal failures, with words that tell an agent what to do next.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sanitize::shown;

/// The kind of a refusal. Clients branch on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// A rule, the default deny, or an egress guard said no.
    PolicyViolation,
    /// A human has been asked.
    ApprovalNeeded,
    /// A human said no.
    ApprovalRejected,
    /// No human answered in time, or the approval wasn't used in time.
    ApprovalExpired,
    /// The request was withdrawn.
    ApprovalCancelled,
    /// Too many calls.
    RateLimited,
    /// A budget is used up.
    BudgetExceeded,
    /// The credential is missing, expired, forged, revoked or not for us. One wording for all.
    IdentityRejected,
    /// The request is malformed or can be read in two ways.
    BadRequest,
    /// The request is over a limit.
    TooLarge,
    /// The tool's side failed; the call may have reached it.
    UpstreamFailed,
    /// Our side failed; nothing was forwarded.
    GatewayUnavailable,
}

impl Code {
    /// The HTTP status it is answered with.
    pub fn status(self) -> u16 {
        match self {
            Self::PolicyViolation
            | Self::ApprovalNeeded
            | Self::ApprovalRejected
            | Self::ApprovalExpired
            | Self::ApprovalCancelled
            | Self::BudgetExceeded => 403,
            Self::RateLimited => 429,
            Self::IdentityRejected => 401,
            Self::BadRequest => 400,
            Self::TooLarge => 413,
            Self::UpstreamFailed => 502,
            Self::GatewayUnavailable => 503,
        }
    }

    /// The name in the problem's `title` and `code`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PolicyViolation => "PolicyViolation",
            Self::ApprovalNeeded => "ApprovalNeeded",
            Self::ApprovalRejected => "ApprovalRejected",
            Self::ApprovalExpired => "ApprovalExpired",
            Self::ApprovalCancelled => "ApprovalCancelled",
            Self::RateLimited => "RateLimited",
            Self::BudgetExceeded => "BudgetExceeded",
            Self::IdentityRejected => "IdentityRejected",
            Self::BadRequest => "BadRequest",
            Self::TooLarge => "TooLarge",
            Self::UpstreamFailed => "UpstreamFailed",
            Self::GatewayUnavailable => "GatewayUnavailable",
        }
    }

    /// The problem's `type`: the name in kebab case under one address.
    pub fn type_uri(self) -> String {
        let mut uri = String::from("https://aegis.dev/problems/");
        for (index, letter) in self.name().chars().enumerate() {
            if letter.is_ascii_uppercase() && index > 0 {
                uri.push('-');
            }
            uri.push(letter.to_ascii_lowercase());
        }
        uri
    }

    /// Whether the same call can succeed later without anybody changing anything about it.
    pub fn retryable(self) -> bool {
        matches!(self, Self::ApprovalNeeded | Self::RateLimited | Self::GatewayUnavailable)
    }
}

/// One rule that said no, or that asks a human.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule, as the policy writes it (`max_replicas`), or a gateway's own: `default_deny`, `environment_mismatch`.
    pub rule: String,
    /// The policy it stands in; empty for the gateway's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Why, in one word: `above_maximum`, `missing`, `wrong_type`, `not_allowed`, `condition_unknown`…
    pub reason: String,
    /// The parameter it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// What the rule allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
    /// What the call has. Answered to the agent, which sent it; never logged, recorded or exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// The same for a human, without raw parameter values other than numbers.
    pub message: String,
}

impl Violation {
    /// A rule of the gateway's own, which stands in no policy and is about no parameter.
    pub fn of_gateway(rule: &str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            policy: String::new(),
            reason: reason.to_owned(),
            param: None,
            limit: None,
            actual: None,
            message: message.into(),
        }
    }

    /// The same without what must not be told, whatever the call has.
    #[must_use]
    pub(crate) fn shown(self) -> Self {
        Self {
            param: self.param.map(shown::owned),
            actual: self.actual.map(shown::value),
            message: shown::owned(self.message),
            ..self
        }
    }
}

/// What a pending or decided approval tells the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalInfo {
    /// `apr_…`
    pub id: String,
    /// The state's name, e.g. `pending`.
    pub status: String,
    /// When it stops being of use.
    pub expires_at: jiff::Timestamp,
    /// Where a human decides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The problem document (RFC 9457 §3) with our extension members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the code.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The code's name.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, in a sentence.
    pub detail: String,
    /// The code.
    pub code: Code,
    /// `deny` or `approval_needed`.
    pub decision: String,
    /// `dec_…`
    pub decision_id: String,
    /// The W3C trace the decision's span is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The version of the policy that decided.
    pub policy_version: String,
    /// The agent; absent where none was identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The tool, when the call was described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The action, when the call was described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Every rule that said no, in a stable order.
    #[serde(default)]
    pub violations: Vec<Violation>,
    /// Whether repeating the same call can help.
    pub retryable: bool,
    /// Seconds to wait before a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// When the budget that refused the call starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<jiff::Timestamp>,
    /// What to do next, in words for an agent.
    pub guidance: String,
    /// The approval, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalInfo>,
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn type_is_the_code_in_kebab_case() {
        assert_eq!(Code::PolicyViolation.type_uri(), "https://aegis.dev/problems/policy-violation");
        assert_eq!(Code::TooLarge.type_uri(), "https://aegis.dev/problems/too-large");
    }

    #[test]
    fn the_name_is_the_wire_form() {
        assert_eq!(serde_json::to_value(Code::BadRequest).expect("json"), Code::BadRequest.name());
    }
}
