//! What is counted of a decision: who, which rule, and the value that broke it, redacted.
//!
//! - Numbers as the bucket that they fall in: two significant digits, rounded to the side that a limit would have to move to.
//! - Environments, destinations and image digests as they are: the operator's names, or digests of something public.
//! - Everything else as a keyed hash: equal values are counted together, and nobody without the key can try out guesses.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Broken, Change, Comparison};
use crate::call::{IMAGES, Image};
use crate::decide::{Explanation, Verdict};
use crate::policy::{FindingEffect, Mode};

/// What texts are hashed with; random, and kept beside the counts.
pub type Key = [u8; 32];

/// Longest destination that is kept as it is, in characters: no name is longer (RFC 1035 §2.3.4).
const MAX_NAME: usize = 260;

/// Who was watching.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Policies in shadow mode.
    Shadow,
    /// A candidate, beside the version in force.
    Candidate {
        /// The candidate's version.
        version: String,
        /// The version in force.
        active: String,
    },
}

/// One decision, as one watcher counts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Who was watching.
    pub source: Source,
    /// The decision, to be found in the record.
    pub decision_id: String,
    /// Who asked.
    pub agent: String,
    /// Which tool.
    pub tool: String,
    /// Which action of it.
    pub action: String,
    /// What counted.
    pub decision: Verdict,
    /// What the watcher would have done.
    pub would: Verdict,
    /// How that differs.
    pub change: Change,
    /// The policies that watched, and what each alone would have done.
    pub policies: Vec<(String, Verdict)>,
    /// The rules that make the difference.
    pub rules: Vec<RuleSighting>,
}

/// One rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSighting {
    /// The policy; empty for the default deny.
    pub policy: String,
    /// The entry, as `policy/entry`; empty for rules of a whole policy.
    pub entry: String,
    /// The rule's key.
    pub rule: String,
    /// Why it isn't kept.
    pub reason: String,
    /// What follows from it.
    pub effect: FindingEffect,
    /// What broke it, where something did.
    pub value: Option<Offending>,
}

/// A value that broke a rule, redacted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
pub enum Offending {
    /// The bucket that a number falls in, in decimal.
    Number(String),
    /// An environment, a destination, an image's digest.
    Named(String),
    /// Some text: `value-` and eight hexadecimal digits of its keyed hash.
    Hidden(String),
    /// Only the type, of a value of the wrong one.
    Type(String),
    /// One of too many different values.
    Other,
}

impl Offending {
    /// Its kind and its text, as they are kept.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Number(text) => ("number", text),
            Self::Named(text) => ("named", text),
            Self::Hidden(text) => ("hidden", text),
            Self::Type(text) => ("type", text),
            Self::Other => ("other", ""),
        }
    }

    /// From what was kept. What isn't known counts as one of many.
    pub fn of_parts(kind: &str, text: &str) -> Self {
        let text = text.to_owned();
        match kind {
            "number" => Self::Number(text),
            "named" => Self::Named(text),
            "hidden" => Self::Hidden(text),
            "type" => Self::Type(text),
            _ => Self::Other,
        }
    }

    /// The bucket, of a number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// What is to be counted of a decision: nothing where nobody watched.
pub fn sightings(explanation: &Explanation, key: &Key) -> Vec<Sighting> {
    let (Some(agent), Some(call)) = (&explanation.agent, &explanation.call) else { return Vec::new() };
    let base = Sighting {
        source: Source::Shadow,
        decision_id: explanation.decision_id.clone(),
        agent: agent.id.clone(),
        tool: call.tool.clone(),
        action: call.action.clone(),
        decision: explanation.decision,
        would: explanation.decision,
        change: Change::Same,
        policies: Vec::new(),
        rules: Vec::new(),
    };
    let shadow = shadow(explanation, key, &base);
    let candidate = explanation.candidate.as_ref().map(|comparison| candidate(explanation, comparison, key, base));
    shadow.into_iter().chain(candidate).collect()
}

/// What shadow mode let pass, or would have.
fn shadow(explanation: &Explanation, key: &Key, base: &Sighting) -> Option<Sighting> {
    let observed = explanation.mode == Mode::Shadow || !explanation.observed_by.is_empty();
    if !observed {
        return None;
    }
    // A call that was refused after all was not let pass by anybody.
    let broken: Vec<&Broken> = match explanation.would_decision {
        Some(_) => explanation.watch.judged.broken.iter().filter(|broken| broken.mode == Mode::Shadow).collect(),
        None => Vec::new(),
    };
    let mut policies: Vec<String> = explanation.observed_by.clone();
    policies.extend(broken.iter().map(|broken| broken.violation.policy.clone()));
    policies.sort_unstable();
    policies.dedup();
    let verdict = |policy: &str| {
        let own = broken.iter().filter(|broken| broken.violation.policy == policy);
        own.map(|broken| verdict_of(broken.effect)).max().unwrap_or(Verdict::Allow)
    };
    let would = explanation.would_decision.unwrap_or(explanation.decision);
    Some(Sighting {
        would,
        change: if would > explanation.decision { Change::Stricter } else { Change::Same },
        policies: policies.into_iter().map(|policy| (policy.clone(), verdict(&policy))).collect(),
        rules: broken.into_iter().map(|broken| rule(broken, key)).collect(),
        ..base.clone()
    })
}

/// What a candidate would have answered.
fn candidate(explanation: &Explanation, comparison: &Comparison, key: &Key, base: Sighting) -> Sighting {
    let active = explanation.policy_version.clone();
    let difference = &explanation.watch.difference;
    let mut policies: Vec<(String, Verdict)> =
        difference.iter().map(|broken| (broken.violation.policy.clone(), comparison.decision)).collect();
    policies.sort_unstable();
    policies.dedup();
    Sighting {
        source: Source::Candidate { version: comparison.version.clone(), active },
        // Approvals are left out of the comparison, so of what is counted too.
        decision: explanation.watch.judged.decision,
        would: comparison.decision,
        change: comparison.change,
        policies,
        rules: difference.iter().map(|broken| rule(broken, key)).collect(),
        ..base
    }
}

fn verdict_of(effect: FindingEffect) -> Verdict {
    match effect {
        FindingEffect::Sanitize => Verdict::Sanitize,
        FindingEffect::Ask => Verdict::ApprovalNeeded,
        FindingEffect::Deny => Verdict::Deny,
    }
}

fn rule(broken: &Broken, key: &Key) -> RuleSighting {
    let Broken { entry, effect, violation, .. } = broken;
    let param = violation.param.as_deref();
    RuleSighting {
        policy: violation.policy.clone(),
        entry: entry.clone(),
        rule: violation.rule.clone(),
        reason: violation.reason.clone(),
        effect: *effect,
        value: violation.actual.as_ref().map(|value| redacted(&violation.rule, param, &violation.reason, value, key)),
    }
}

/// A value without what it is.
pub fn redacted(rule: &str, param: Option<&str>, reason: &str, value: &Value, key: &Key) -> Offending {
    match value {
        _ if reason == "wrong_type" => Offending::Type(type_of(value).to_owned()),
        Value::Number(number) => {
            let down = reason == "below_minimum";
            number.as_f64().map_or(Offending::Other, |number| Offending::Number(bucket(number, down)))
        }
        Value::String(text) if param == Some(IMAGES) => {
            Image::read(text).digest.map_or_else(|| hidden(value, key), Offending::Named)
        }
        Value::String(text) if matches!(rule, "allowed_environments" | "egress") && text.len() <= MAX_NAME => {
            Offending::Named(text.clone())
        }
        _ => hidden(value, key),
    }
}

/// A SHA-256 over the key, the length and the text, cut to 32 bits: with so little of it given away, nothing can be appended.
fn hidden(value: &Value, key: &Key) -> Offending {
    let text = value.to_string();
    let hash = Sha256::new().chain_update(key).chain_update((text.len() as u64).to_be_bytes()).chain_update(text);
    let start: String = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Offending::Hidden(format!("value-{start}"))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The number with two significant digits, rounded up (or down): a limit there lets it pass.
pub fn bucket(number: f64, down: bool) -> String {
    if number == 0.0 || !number.is_finite() {
        return "0".to_owned();
    }
    // 10 to 99 steps make the number. A step below one is a division, which rounds once, where a product of 0.01 is off.
    let exponent = number.abs().log10().floor() - 1.0;
    let scale = 10_f64.powf(exponent.abs());
    let steps = if exponent < 0.0 { number * scale } else { number / scale };
    let near = steps.round();
    let steps = match (steps - near).abs() < 1e-9 {
        true => near,
        false if down => steps.floor(),
        false => steps.ceil(),
    };
    let rounded = if exponent < 0.0 { steps / scale } else { steps * scale };
    rounded.to_string()
}
