//! Everything that is told to the outside about what happens: spans, log lines, counters. Each event is named once, here.
//!
//! Invariants: no raw parameter value leaves here; nothing waits for a collector (a bounded queue, drops counted); every
//! decision is exported, whatever the caller's `sampled` flag says, so that no denial is ever sampled out. The flag itself
//! is forwarded as it came. Deliberately absent: the subscriber that writes log lines, which the binary sets up.

mod metrics;
mod otlp;
mod policies;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aegis_core::audit::{Outcome, Used};
use aegis_core::decide::{Explanation, Verdict};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, StringValue};
use sha2::{Digest as _, Sha256};

use crate::trace::TraceContext;
use metrics::Metrics;
use otlp::{Export, Finished};

/// What the scrape of [`Events::metrics`] is served as (OpenMetrics 1.0).
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where events go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector; `None` exports no spans.
    pub otlp: Option<Otlp>,
    /// `service.name` of the spans.
    pub service_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { otlp: None, service_name: "aegis".to_owned() }
    }
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Otlp {
    /// `http://host:4317` for gRPC; `http://host:4318` for HTTP, to which `/v1/traces` is added where it has no path.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// The OTLP transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// Why events can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The collector's address is of no use.
    #[error("telemetry.otlp.endpoint {endpoint:?}: {detail}")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The exporter can't be built.
    #[error("the OTLP exporter can't be built: {0}")]
    Exporter(String),
}

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    export: Option<Export>,
}

impl Events {
    /// Sets up counters, and the export of spans where a collector is configured. Connects to nothing yet: a collector
    /// that is down is no reason not to start.
    ///
    /// # Errors
    /// When the collector's address is malformed, or there is no Tokio runtime to export on.
    pub fn new(settings: &Settings) -> Result<Self, EventsError> {
        let metrics = Metrics::default();
        let export = match &settings.otlp {
            Some(otlp) => Some(Export::start(otlp, &settings.service_name, metrics.spans())?),
            None => None,
        };
        Ok(Self { inner: Arc::new(Inner { metrics, export }) })
    }

    /// A call was decided: span `aegis.decision` in the caller's trace, one log line, one count. Returns the id of the
    /// CLIENT span that [`Events::settled`] will tell of: the forwarded request names it as its parent.
    pub fn decided(&self, explanation: &Explanation, trace: &TraceContext, latency: Duration) -> [u8; 8] {
        let latency_ms = latency.as_secs_f64() * 1000.0;
        self.inner.metrics.decided(explanation, latency);
        log_decision(explanation, trace, latency_ms);
        for why in &explanation.engine_failures {
            self.alarm("a policy engine gave no answer", &format!("{}: {why}", explanation.decision_id));
        }
        if let Some(export) = &self.inner.export {
            let end = SystemTime::now();
            let mut attributes = attributes(explanation);
            attributes.push(KeyValue::new("latency_ms", latency_ms));
            export.finished(Finished {
                name: "aegis.decision",
                kind: SpanKind::Internal,
                trace,
                id: span_id("decision", &explanation.decision_id),
                parent: trace.parent_id,
                start: end.checked_sub(latency).unwrap_or(end),
                end,
                attributes,
                status: Status::Unset,
            });
        }
        upstream_span(&explanation.decision_id)
    }

    /// An admitted call ended: the CLIENT span beside the decision's, one log line. `span_id` is what
    /// [`Events::decided`] returned. Where the trace starts here, the decision's span is its root and this one's parent.
    pub fn settled(&self, explanation: &Explanation, trace: &TraceContext, span_id: [u8; 8], outcome: &Outcome) {
        self.inner.metrics.settled(explanation, outcome);
        log_outcome(explanation, trace, outcome);
        let Some(export) = &self.inner.export else { return };
        let end = SystemTime::now();
        let duration = Duration::try_from_secs_f64(outcome.duration_ms / 1000.0).unwrap_or_default();
        export.finished(Finished {
            name: "aegis.upstream",
            kind: SpanKind::Client,
            trace,
            id: span_id,
            parent: trace.parent_id.or_else(|| Some(self::span_id("decision", &explanation.decision_id))),
            start: end.checked_sub(duration).unwrap_or(end),
            end,
            attributes: outcome_attributes(explanation, outcome),
            status: outcome_status(outcome),
        });
    }

    /// A refusal that another one's record stands for: counted, and neither logged nor exported, so that whoever needs no
    /// credential for it can't fill disks and collectors.
    pub fn counted(&self, explanation: &Explanation, latency: Duration) {
        self.inner.metrics.decided(explanation, latency);
        self.inner.metrics.unrecorded();
    }

    /// A request whose head can't be read in one way only, for a fixed `reason`.
    pub fn malformed(&self, reason: &str) {
        self.inner.metrics.malformed(reason);
    }

    /// Something that an operator must look at: engines that differ, a record that can't be written. `what` is a fixed
    /// text, never data; `detail` holds no raw parameter value.
    pub fn alarm(&self, what: &str, detail: &str) {
        self.inner.metrics.alarm(what);
        tracing::error!(target: "aegis::alarm", alarm = what, detail, "an operator must look at this");
    }

    /// All metrics, as text of [`METRICS_CONTENT_TYPE`].
    ///
    /// # Errors
    /// When they can't be formatted.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        self.inner.metrics.text()
    }

    /// Exports what is left, within `limit`. Spans told later are lost.
    pub async fn shutdown(&self, limit: Duration) {
        if let Some(export) = &self.inner.export {
            export.shutdown(limit).await;
        }
    }
}

/// The id of the span that a decision's call is the parent of where it goes, whoever sends it there.
pub(crate) fn upstream_span(decision_id: &str) -> [u8; 8] {
    span_id("upstream", decision_id)
}

/// The id of a decision's span of one kind. Derived, so that whoever has the record can find the span, and the outcome's
/// span can name the decision's without carrying it about.
fn span_id(kind: &str, decision_id: &str) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::new().chain_update(kind).chain_update([0]).chain_update(decision_id).finalize().into();
    let mut id = [0; 8];
    id.copy_from_slice(hash.first_chunk::<8>().expect("a SHA-256 has 32 bytes"));
    if id == [0; 8] { [1; 8] } else { id }
}

/// The contract's names of a decision's attributes.
fn attributes(explanation: &Explanation) -> Vec<KeyValue> {
    let mut list = vec![
        text("decision", explanation.decision.as_str()),
        text("decision_reason", explanation.reason.clone()),
        text("decision_id", explanation.decision_id.clone()),
        text("policy_version", explanation.policy_version.clone()),
        text("mode", metrics::mode(explanation.mode)),
        text("gen_ai.operation.name", "execute_tool"),
    ];
    if let Some(would) = explanation.would_decision {
        list.push(text("would_decision", would.as_str()));
    }
    if let Some(candidate) = &explanation.candidate {
        list.push(text("candidate_version", candidate.version.clone()));
        list.push(text("candidate_decision", candidate.decision.as_str()));
        list.push(text("candidate_change", candidate.change.as_str()));
        list.push(text("candidate_reason", candidate.reason.clone()));
    }
    if let Some(agent) = &explanation.agent {
        list.push(text("agent_id", agent.id.clone()));
        list.push(text("gen_ai.agent.id", agent.id.clone()));
        list.extend(agent.parent().map(|parent| text("parent_agent_id", parent.to_owned())));
    }
    if let Some(call) = &explanation.call {
        list.push(text("tool", call.tool.clone()));
        list.push(text("gen_ai.tool.name", call.tool.clone()));
        list.push(text("action", call.action.clone()));
        list.push(text("env", call.env.clone()));
        list.push(text("params_digest", call.params_digest.clone()));
        list.extend(call.destination.as_ref().map(|to| text("egress_destination", to.to_string())));
        list.extend(call.cost_estimate.map(|cost| text("cost_estimate", cost.to_string())));
    }
    list.extend(explanation.approval.as_ref().map(|approval| text("approval_id", approval.id.clone())));
    list
}

fn outcome_attributes(explanation: &Explanation, outcome: &Outcome) -> Vec<KeyValue> {
    let mut list = vec![
        text("decision_id", explanation.decision_id.clone()),
        text("outcome", outcome.result.clone()),
        KeyValue::new("http.request.body.size", i64::try_from(outcome.bytes_up).unwrap_or(i64::MAX)),
        KeyValue::new("http.response.body.size", i64::try_from(outcome.bytes_down).unwrap_or(i64::MAX)),
    ];
    list.extend(outcome.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    if let Some(Used::Tokens(usage)) = outcome.usage {
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        list.push(KeyValue::new("gen_ai.usage.input_tokens", count(usage.input_tokens)));
        list.push(KeyValue::new("gen_ai.usage.output_tokens", count(usage.output_tokens)));
    }
    list.extend(outcome.cost.map(|cost| text("cost", cost.to_string())));
    list.extend(explanation.agent.as_ref().map(|agent| text("agent_id", agent.id.clone())));
    if let Some(call) = &explanation.call {
        list.push(text("tool", call.tool.clone()));
        list.push(text("action", call.action.clone()));
        if let Some(to) = &call.destination {
            list.push(text("server.address", to.host.clone()));
            list.push(KeyValue::new("server.port", i64::from(to.port)));
        }
    }
    if outcome_status(outcome) != Status::Unset {
        list.push(text(
            "error.type",
            outcome.status.map_or_else(|| outcome.result.clone(), |status| status.to_string()),
        ));
    }
    list
}

/// A CLIENT span failed when the call did, or when the tool said 4xx or 5xx (HTTP semantic conventions).
fn outcome_status(outcome: &Outcome) -> Status {
    if outcome.result != "forwarded" || outcome.status.is_some_and(|status| status >= 400) {
        Status::error("")
    } else {
        Status::Unset
    }
}

fn text(key: &'static str, value: impl Into<StringValue>) -> KeyValue {
    KeyValue::new(key, value.into())
}

fn log_decision(explanation: &Explanation, trace: &TraceContext, latency_ms: f64) {
    let call = explanation.call.as_ref();
    let agent = explanation.agent.as_ref();
    tracing::info!(
        target: "aegis::decision",
        decision = explanation.decision.as_str(),
        would_decision = explanation.would_decision.map(Verdict::as_str),
        decision_reason = explanation.reason,
        decision_id = explanation.decision_id,
        agent_id = agent.map(|agent| agent.id.as_str()),
        parent_agent_id = agent.and_then(|agent| agent.parent()),
        tool = call.map(|call| call.tool.as_str()),
        action = call.map(|call| call.action.as_str()),
        env = call.map(|call| call.env.as_str()),
        params_digest = call.map(|call| call.params_digest.as_str()),
        egress_destination = call.and_then(|call| call.destination.as_ref()).map(tracing::field::display),
        policy_version = explanation.policy_version,
        mode = metrics::mode(explanation.mode),
        approval_id = explanation.approval.as_ref().map(|approval| approval.id.as_str()),
        candidate_decision = explanation.candidate.as_ref().map(|candidate| candidate.decision.as_str()),
        candidate_change = explanation.candidate.as_ref().map(|candidate| candidate.change.as_str()),
        trace_id = trace.trace_id_hex(),
        latency_ms,
        "decision"
    );
}

fn log_outcome(explanation: &Explanation, trace: &TraceContext, outcome: &Outcome) {
    tracing::info!(
        target: "aegis::outcome",
        outcome = outcome.result,
        status = outcome.status,
        error = outcome.error,
        duration_ms = outcome.duration_ms,
        bytes_up = outcome.bytes_up,
        bytes_down = outcome.bytes_down,
        cost = outcome.cost.map(tracing::field::display),
        decision_id = explanation.decision_id,
        agent_id = explanation.agent.as_ref().map(|agent| agent.id.as_str()),
        trace_id = trace.trace_id_hex(),
        "outcome"
    );
}

/// The id as the SDK has it.
fn sdk_id(id: [u8; 8]) -> SpanId {
    SpanId::from_bytes(id)
}
