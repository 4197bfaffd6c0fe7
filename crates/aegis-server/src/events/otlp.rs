//! Spans to an OpenTelemetry collector, by the SDK's batch processor and OTLP exporters.
//!
//! Spans are made finished and handed to the processor directly: a decision's span is told after the fact, its id is
//! known beforehand, and no sampler stands between. The processor exports on a thread of its own; [`Exporter`] moves the
//! network's part to the Tokio runtime, which the OTLP clients need, and counts what is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor as _,
};
use tokio::runtime::Handle;

use super::metrics::Spans;
use super::{EventsError, Otlp, Protocol, sdk_id};
use crate::trace::TraceContext;

/// How many spans may wait for the collector: about 2 MB.
const QUEUE: usize = 4096;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long a span waits for company.
const DELAY: Duration = Duration::from_secs(1);
/// How long one export may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a failing collector is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A span that is over.
pub(super) struct Finished<'a> {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    pub(super) trace: &'a TraceContext,
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) status: Status,
}

/// The way to the collector.
#[derive(Debug)]
pub(super) struct Export {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
    waiting: Arc<AtomicUsize>,
    spans: Spans,
}

impl Export {
    /// Starts exporting. Connects when there is something to send.
    pub(super) fn start(otlp: &Otlp, service_name: &str, spans: Spans) -> Result<Self, EventsError> {
        let runtime = Handle::try_current().map_err(|error| EventsError::Exporter(error.to_string()))?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = Exporter {
            inner: Arc::new(build(otlp, service_name)?),
            runtime,
            waiting: Arc::clone(&waiting),
            spans: spans.clone(),
            complained: Mutex::new(None),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = Arc::new(BatchSpanProcessor::new(exporter, config));
        let scope = InstrumentationScope::builder("aegis").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor, scope, waiting, spans })
    }

    /// Queues a span, or drops and counts it. Never waits.
    pub(super) fn finished(&self, span: Finished<'_>) {
        // The processor has the same bound, but tells nobody when it drops.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.spans.dropped.inc();
            return;
        }
        let state: TraceState = span.trace.state.parse().unwrap_or_default();
        let trace_id = TraceId::from_bytes(span.trace.trace_id);
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace_id, sdk_id(span.id), TraceFlags::SAMPLED, false, state),
            parent_span_id: span.parent.map_or(SpanId::INVALID, sdk_id),
            parent_span_is_remote: span.parent.is_some() && span.parent == span.trace.parent_id,
            span_kind: span.kind,
            name: span.name.into(),
            start_time: span.start,
            end_time: span.end,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.status,
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what waits, within `limit`. On a thread of its own: the processor's shutdown blocks, and its last export needs
    /// the runtime meanwhile.
    pub(super) async fn shutdown(&self, limit: Duration) {
        let processor = Arc::clone(&self.processor);
        let done = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(limit));
        match done.await {
            Ok(Ok(()) | Err(OTelSdkError::AlreadyShutdown)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
            Err(error) => tracing::warn!(%error, "the last spans were not exported"),
        }
    }
}

fn build(otlp: &Otlp, service_name: &str) -> Result<OtlpExporter, EventsError> {
    let failed = |error: opentelemetry_otlp::ExporterBuildError| EventsError::Exporter(error.to_string());
    let endpoint = endpoint(otlp)?;
    let mut exporter = match otlp.protocol {
        Protocol::Grpc => OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(failed)?,
        Protocol::Http => OtlpExporter::builder()
            .with_http()
            .with_http_client(HyperClient::with_default_connector(TIMEOUT, None))
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(failed)?,
    };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name(service_name.to_owned()).with_attribute(version).build();
    exporter.set_resource(&resource);
    Ok(exporter)
}

/// Checks the address; adds the path that OTLP over HTTP has by default.
fn endpoint(otlp: &Otlp) -> Result<String, EventsError> {
    let bad = |detail: &str| EventsError::Endpoint { endpoint: otlp.endpoint.clone(), detail: detail.to_owned() };
    let uri: http::Uri = otlp.endpoint.parse().map_err(|_| bad("not a URL; write http://HOST:PORT"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(bad("TLS to the collector is not supported; run a collector beside Aegis")),
        _ => return Err(bad("not a URL; write http://HOST:PORT")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("it names no host; write http://HOST:PORT"));
    }
    let base = otlp.endpoint.trim_end_matches('/');
    Ok(match otlp.protocol {
        Protocol::Http if uri.path() == "/" => format!("{base}/v1/traces"),
        _ => base.to_owned(),
    })
}

/// Exports on the Tokio runtime, and keeps the count.
#[derive(Debug)]
struct Exporter {
    inner: Arc<OtlpExporter>,
    runtime: Handle,
    waiting: Arc<AtomicUsize>,
    spans: Spans,
    complained: Mutex<Option<Instant>>,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let inner = Arc::clone(&self.inner);
        let task = self.runtime.spawn(async move { tokio::time::timeout(TIMEOUT, inner.export(batch)).await });
        let result = match task.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(TIMEOUT)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        match &result {
            Ok(()) => {
                self.spans.exported.inc_by(count as u64);
            }
            Err(error) => {
                self.spans.failed.inc_by(count as u64);
                self.complain(error);
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }
}

impl Exporter {
    /// Says that the collector fails, at most once a minute.
    fn complain(&self, error: &OTelSdkError) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            tracing::warn!(%error, failed = self.spans.failed.get(), "spans can't be exported; decisions are not affected");
        }
    }
}
