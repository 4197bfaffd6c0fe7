//! Counters for Prometheus. Label sets are bounded: an agent or tool beyond the bound counts as `other`.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aegis_core::audit::{Outcome, Used};
use aegis_core::decide::Explanation;
use aegis_core::policy::Mode;
use aegis_core::shadow::Change;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::policies::PolicyMetrics;

/// How many different pairs of agent and tool, and how many alarms, are told apart.
const MAX_LABELS: usize = 1000;

/// Upper bounds, in seconds. Ours is far below a millisecond; the field's target is 10–20 ms.
const BUCKETS: [f64; 12] = [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 20e-3, 100e-3, 1.0];

/// All metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    duration: Histogram,
    alarms: Family<AlarmLabels, Counter>,
    malformed: Family<ReasonLabels, Counter>,
    unrecorded: Counter,
    would_block: Family<RuleLabels, Counter>,
    disagreements: Family<CandidateLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    unmetered: Family<ToolLabels, Counter>,
    spans: Spans,
    pub(super) policies: PolicyMetrics,
    seen: Mutex<HashSet<(String, String)>>,
}

/// What becomes of spans.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    /// Given to the collector.
    pub(super) exported: Counter,
    /// Lost: the queue was full.
    pub(super) dropped: Counter,
    /// Lost: the collector didn't take them.
    pub(super) failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    agent_id: String,
    tool: String,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    alarm: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CandidateLabels {
    active: String,
    candidate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent_id: String,
    tool: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    agent_id: String,
    tool: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let decisions = Family::default();
        let duration = Histogram::new(BUCKETS);
        let alarms = Family::default();
        let (would_block, disagreements) = (Family::default(), Family::default());
        let spans = Spans::default();
        registry.register("aegis_decisions", "Decisions made", decisions.clone());
        registry.register("aegis_decision_duration_seconds", "From a call's arrival to its decision", duration.clone());
        registry.register("aegis_alarms", "Things that an operator must look at", alarms.clone());
        let (malformed, unrecorded) = (Family::default(), Counter::default());
        let help = "Requests whose head can't be read in one way only";
        registry.register("aegis_malformed_requests", help, malformed.clone());
        let help = "Refusals without a known sender that another one's record stands for";
        registry.register("aegis_refusals_unrecorded", help, unrecorded.clone());
        let help = "Rules that shadow mode saw broken and let pass";
        registry.register("aegis_would_block", help, would_block.clone());
        let help = "Calls that a candidate would have answered otherwise than the version in force";
        registry.register("aegis_candidate_disagreements", help, disagreements.clone());
        let (tokens, unmetered) = (Family::default(), Family::default());
        registry.register("aegis_model_tokens", "Tokens that models said they used", tokens.clone());
        let help = "Calls of models of which it isn't known what they used";
        registry.register("aegis_model_calls_unmetered", help, unmetered.clone());
        registry.register("aegis_spans_exported", "Spans given to the collector", spans.exported.clone());
        registry.register("aegis_spans_dropped", "Spans lost to a full queue", spans.dropped.clone());
        registry.register("aegis_spans_failed", "Spans that the collector did not take", spans.failed.clone());
        let policies = PolicyMetrics::registered(&mut registry);
        let seen = Mutex::default();
        Self {
            registry,
            decisions,
            duration,
            alarms,
            malformed,
            unrecorded,
            would_block,
            disagreements,
            tokens,
            unmetered,
            spans,
            policies,
            seen,
        }
    }
}

impl Metrics {
    pub(super) fn spans(&self) -> Spans {
        self.spans.clone()
    }

    pub(super) fn decided(&self, explanation: &Explanation, latency: Duration) {
        let agent = explanation.agent.as_ref().map_or("", |agent| agent.id.as_str());
        let tool = explanation.call.as_ref().map_or("", |call| call.tool.as_str());
        let (agent_id, tool) = self.bounded(agent, tool);
        let labels =
            DecisionLabels { decision: explanation.decision.as_str(), agent_id, tool, mode: mode(explanation.mode) };
        self.decisions.get_or_create(&labels).inc();
        self.duration.observe(latency.as_secs_f64());
        self.watched(explanation);
    }

    /// What a call of a model used. One that didn't say so is no call that used nothing.
    pub(super) fn settled(&self, explanation: &Explanation, outcome: &Outcome) {
        let Some(used) = outcome.usage else { return };
        let agent = explanation.agent.as_ref().map_or("", |agent| agent.id.as_str());
        let tool = explanation.call.as_ref().map_or("", |call| call.tool.as_str());
        let (agent_id, tool) = self.bounded(agent, tool);
        let Used::Tokens(usage) = used else {
            self.unmetered.get_or_create(&ToolLabels { agent_id, tool }).inc();
            return;
        };
        for (direction, count) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            let labels = TokenLabels { agent_id: agent_id.clone(), tool: tool.clone(), direction };
            self.tokens.get_or_create(&labels).inc_by(count);
        }
    }

    /// What shadow mode let pass, and what a candidate would have answered otherwise.
    fn watched(&self, explanation: &Explanation) {
        if explanation.would_decision.is_some() {
            let broken = explanation.watch.judged.broken.iter().filter(|broken| broken.mode == Mode::Shadow);
            for rule in broken.map(|broken| broken.violation.rule.as_str()).collect::<BTreeSet<_>>() {
                let (rule, _) = self.bounded(rule, "");
                self.would_block.get_or_create(&RuleLabels { rule }).inc();
            }
        }
        if let Some(candidate) = explanation.candidate.as_ref().filter(|candidate| candidate.change != Change::Same) {
            let (active, candidate) = self.bounded(&explanation.policy_version, &candidate.version);
            self.disagreements.get_or_create(&CandidateLabels { active, candidate }).inc();
        }
    }

    pub(super) fn malformed(&self, reason: &str) {
        let (reason, _) = self.bounded(reason, "");
        self.malformed.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn unrecorded(&self) {
        self.unrecorded.inc();
    }

    pub(super) fn alarm(&self, what: &str) {
        let (alarm, _) = self.bounded(what, "");
        self.alarms.get_or_create(&AlarmLabels { alarm }).inc();
    }

    /// The pair, or `other` where there are too many already.
    fn bounded(&self, first: &str, second: &str) -> (String, String) {
        let pair = (first.to_owned(), second.to_owned());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&pair) {
            return pair;
        }
        if seen.len() >= MAX_LABELS {
            return ("other".to_owned(), "other".to_owned());
        }
        seen.insert(pair.clone());
        pair
    }

    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The wire form of a mode.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}
