//! What is remembered of every decision: the record types. No record holds a raw parameter value.
//!
//! The Merkle tree over the records and its verifier come with the issue on proof; the records are append-only and
//! numbered without gaps from the first day.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::decide::Explanation;
use crate::usage::Usage;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// When it was written. The order is that of `seq`: a clock may jump back. On the wire `recorded_at`, because a decision
    /// has its own `at`.
    #[serde(rename = "recorded_at")]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can be recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "records are written one at a time; boxing would only hide the fields")]
pub enum Event {
    /// A call was decided; written before it is forwarded.
    Decision {
        /// Why, without raw values.
        #[serde(flatten)]
        explanation: Explanation,
        /// How long the decision took, in milliseconds.
        latency_ms: f64,
    },
    /// What came of an admitted call. An admitted call without one is unknown.
    Outcome {
        /// The decision.
        decision_id: String,
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// An approval changed.
    Approval {
        /// The approval.
        approval_id: String,
        /// The decision that asked first.
        decision_id: String,
        /// Who asked.
        agent_id: String,
        /// What happened to it: `requested`, `vote` (a yes that needs others beside it), `approved`, `rejected`, `expired`, `cancelled`, `spent`, `lapsed`.
        change: String,
        /// By whom, if by somebody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// An operator changed something.
    Operation {
        /// Who.
        by: String,
        /// What: `agent.add`, `agent.suspend`, `key.add`, `token.issue`…
        operation: String,
        /// To whom or what.
        subject: String,
    },
    /// A policy version came into force, or was refused.
    Policy {
        /// The version.
        policy_version: String,
        /// `loaded` or `refused`.
        change: String,
        /// How many policies it has, or what is wrong with it.
        detail: String,
    },
}

/// How an admitted call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `forwarded`, `failed`, `not_sent` (nothing reached the tool) or `unknown`.
    pub result: String,
    /// The upstream's HTTP status, where it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From admission to the end of the answer, in milliseconds.
    pub duration_ms: f64,
    /// Bytes sent upstream.
    #[serde(default)]
    pub bytes_up: u64,
    /// Bytes sent back.
    #[serde(default)]
    pub bytes_down: u64,
    /// What it used of a model, as the answer says; present where the tool's answers say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Used>,
    /// What that cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What a call used of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Used {
    /// The answer didn't say, or not to its end. It isn't nothing.
    Unknown,
    /// So many tokens.
    #[serde(untagged)]
    Tokens(Usage),
}

/// What was asked of the tool before a call was decided, without any value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The question as the catalogue writes it: `GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}`.
    pub asked: String,
    /// What it was to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Whether a call before had asked it.
    #[serde(default)]
    pub cached: bool,
    /// Why that isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Event {
    /// The wire form of its kind: `decision`, `outcome`, `approval`, `operation`, `policy`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Decision { .. } => "decision",
            Self::Outcome { .. } => "outcome",
            Self::Approval { .. } => "approval",
            Self::Operation { .. } => "operation",
            Self::Policy { .. } => "policy",
        }
    }
}

impl Outcome {
    /// The result of a call of which nothing reached the tool.
    pub const NOT_SENT: &str = "not_sent";

    /// How a call ended whose end nobody saw, because `error`.
    pub fn unknown(error: impl Into<String>) -> Self {
        Self::without_answer("unknown", error)
    }

    /// How a call ended that was never forwarded, because `error`.
    pub fn not_forwarded(error: impl Into<String>) -> Self {
        Self::without_answer(Self::NOT_SENT, error)
    }

    /// Answers by which a tool says that it refused a call (RFC 9110, 6585). Not among them is what an agent can ask for after the
    /// work is done (406 to an `Accept`, 416 to a `Range`), or what says nothing of it (408, 424, 499).
    const REFUSALS: [u16; 21] =
        [400, 401, 402, 403, 404, 405, 407, 409, 411, 412, 413, 414, 415, 417, 421, 422, 425, 426, 428, 429, 431];

    /// Whether nothing was done, so that what was reserved for it is given back: it never left, or the tool refused it.
    pub fn refunds(&self) -> bool {
        match self.status {
            Some(status) => Self::REFUSALS.contains(&status),
            None => self.result == Self::NOT_SENT,
        }
    }

    fn without_answer(result: &str, error: impl Into<String>) -> Self {
        Self {
            result: result.into(),
            status: None,
            error: Some(error.into()),
            duration_ms: 0.0,
            bytes_up: 0,
            bytes_down: 0,
            usage: None,
            cost: None,
        }
    }
}

#[cfg(test)]
mod tests;
