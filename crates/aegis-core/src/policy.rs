//! What is allowed: YAML → checked, versioned [`PolicySet`] → an evaluation of one call.
//!
//! One source, two back ends that must never differ: the native evaluator over tables (the default), and an OPA bundle
//! evaluated by regorus' interpreter (`engine: rego`) or by any OPA. Both answer with the same [`Evaluation`]: rule ids and
//! reasons, no prose; prose is made once, by [`PolicySet::violation`].

use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::call::ToolCall;
use crate::document::Diagnostic;
use crate::problem::Violation;

/// Whether a policy refuses, or only records what it would have refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Refuses.
    #[default]
    Enforce,
    /// Observes.
    Shadow,
}

/// Which back end decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The evaluator in this crate.
    #[default]
    Native,
    /// The bundle's Rego, by regorus' interpreter.
    Rego,
}

/// A policy file, as read by whoever has the disk.
#[derive(Debug, Clone)]
pub struct Source {
    /// What diagnostics call it.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// How to load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The back end that decides.
    pub engine: Engine,
    /// The gateway's mode; a policy's own wins.
    pub mode: Mode,
}

/// Checked policies of one version. Immutable; shared by all calls until the next version.
#[derive(Debug)]
pub struct PolicySet {}

/// What a call is judged by, besides the call itself.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who.
    pub agent: &'a Agent,
    /// What.
    pub call: &'a ToolCall,
}

/// What the policies say of one call. Equal for both back ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// The entries that applied, as `policy/entry`, sorted.
    pub matched: Vec<String>,
    /// Everything that isn't plainly allowed, sorted, without repeats. Empty means: allowed.
    pub findings: Vec<Finding>,
}

/// One rule that a call doesn't positively keep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The policy's id; empty for the default deny.
    pub policy: String,
    /// Index of the entry in the policy; `None` for rules of the whole policy.
    pub entry: Option<usize>,
    /// The rule's key, e.g. `max_replicas`; `default_deny`.
    pub rule: String,
    /// Why.
    pub reason: Reason,
    /// What follows.
    pub effect: FindingEffect,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingEffect {
    /// A human is asked.
    Ask,
    /// The call is refused.
    Deny,
}

/// Why a rule isn't kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No policy is for this agent.
    NoPolicy,
    /// No entry of the agent's policies is for this action.
    NoEntry,
    /// A value isn't one of those listed.
    NotAllowed,
    /// A number is above the maximum.
    AboveMaximum,
    /// A parameter that the rule needs isn't there.
    Missing,
    /// A parameter that the rule needs has the wrong type or can't be read.
    WrongType,
    /// An image has no digest.
    NoDigest,
    /// A condition can't be evaluated.
    ConditionUnknown,
    /// The condition for asking a human is true.
    ApprovalCondition,
    /// The engine failed; the call is refused.
    EngineFailed,
}

impl Reason {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::NoEntry => "no_entry",
            Self::NotAllowed => "not_allowed",
            Self::AboveMaximum => "above_maximum",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::NoDigest => "no_digest",
            Self::ConditionUnknown => "condition_unknown",
            Self::ApprovalCondition => "approval_condition",
            Self::EngineFailed => "engine_failed",
        }
    }
}

/// A `rate` that applies to a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// What it counts: policy id, entry (or none) and agent. Equal keys share one count.
    pub key: String,
    /// The policy that says so.
    pub policy: String,
    /// Calls per [`RateLimit::per_ms`].
    pub limit: u32,
    /// The window, in milliseconds.
    pub per_ms: u64,
    /// How many may come at once.
    pub burst: u32,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
}

impl PolicySet {
    /// Reads and checks all sources together.
    ///
    /// # Errors
    /// Every error found, each with its place. One bad file refuses all: a set with a policy left out is another policy.
    pub fn load(sources: &[Source], options: Options) -> Result<Self, Vec<Diagnostic>> {
        let _ = (sources, options);
        Ok(Self {})
    }

    /// The version: digest of what was compiled, as `sha256:…` shortened to 12 digits behind `pol_`.
    pub fn version(&self) -> &str {
        ""
    }

    /// Warnings found while loading.
    pub fn warnings(&self) -> &[Diagnostic] {
        &[]
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there are none: everything is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The gateway's mode, which holds where no policy matches.
    pub fn mode(&self) -> Mode {
        Mode::Enforce
    }

    /// Judges a call by the configured engine. Total: an engine that fails is a finding.
    pub fn evaluate(&self, asked: Asked<'_>) -> Evaluation {
        let _ = asked;
        Evaluation::default()
    }

    /// Judges a call by the given engine, for comparing the two.
    pub fn evaluate_with(&self, engine: Engine, asked: Asked<'_>) -> Evaluation {
        let _ = (engine, asked);
        Evaluation::default()
    }

    /// The other engine than the configured one.
    pub fn other_engine(&self) -> Engine {
        Engine::Rego
    }

    /// Whether some policy of the agent lets it name this destination at all. Asked before a name is resolved, so that a
    /// lookup can't carry data out.
    pub fn may_reach(&self, asked: Asked<'_>) -> bool {
        let _ = asked;
        false
    }

    /// The rate limits that apply to a call.
    pub fn rates(&self, asked: Asked<'_>) -> Vec<RateLimit> {
        let _ = asked;
        Vec::new()
    }

    /// How long an approval asked for by these findings may take, in seconds: the shortest of the entries' `approval.expires`.
    pub fn approval_ttl(&self, findings: &[Finding]) -> i64 {
        let _ = findings;
        1800
    }

    /// A finding in words, with limit and actual value.
    pub fn violation(&self, finding: &Finding, asked: Asked<'_>) -> Violation {
        let _ = asked;
        Violation {
            rule: finding.rule.clone(),
            policy: finding.policy.clone(),
            reason: finding.reason.as_str().to_owned(),
            param: None,
            limit: None,
            actual: None,
            message: String::new(),
        }
    }

    /// The OPA bundle (`.tar.gz`): Rego v1, `data.json`, `.manifest`; the same bytes for the same policies.
    pub fn bundle(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The input document that the bundle's Rego is asked with (`data.aegis.gate.evaluation`).
    pub fn input(asked: Asked<'_>) -> serde_json::Value {
        let _ = asked;
        serde_json::Value::Null
    }
}
