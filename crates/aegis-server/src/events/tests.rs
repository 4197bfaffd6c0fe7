//! Real OTLP receivers, gRPC and HTTP, get what is exported.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::approval::State;
use aegis_core::audit::Outcome;
use aegis_core::call::{Destination, Effect};
use aegis_core::decide::{CallSummary, Explanation, Verdict};
use aegis_core::policy::Mode;
use aegis_core::problem::{ApprovalInfo, Code};
use aegis_core::shadow::{Change, Comparison};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::net::TcpListener;

use super::{Events, EventsError, Otlp, Protocol, Settings};
use crate::trace::TraceContext;

const TRACE: [u8; 16] = [0x4b; 16];
const CALLER: [u8; 8] = [0xc0; 8];

/// What a receiver got.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Received {
    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().expect("a lock");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    fn service_names(&self) -> Vec<String> {
        let requests = self.0.lock().expect("a lock");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let attributes = resources.filter_map(|spans| spans.resource.clone()).flat_map(|resource| resource.attributes);
        attributes.filter(|attribute| attribute.key == "service.name").map(|attribute| text(&attribute.value)).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().expect("a lock").push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector that takes OTLP over gRPC.
async fn grpc() -> (SocketAddr, Received) {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let service = TraceServiceServer::new(received.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, received)
}

/// A collector that takes OTLP over HTTP.
async fn http() -> (SocketAddr, Received) {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let keep = received.clone();
    let take = move |body: bytes::Bytes| {
        let keep = keep.clone();
        async move {
            let request = <ExportTraceServiceRequest as prost::Message>::decode(body).expect("protobuf");
            keep.0.lock().expect("a lock").push(request);
        }
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

fn events(protocol: Protocol, address: SocketAddr) -> Events {
    let otlp = Otlp { endpoint: format!("http://{address}"), protocol };
    Events::new(&Settings { otlp: Some(otlp), service_name: "aegis-test".to_owned() }).expect("events")
}

fn trace(parent_id: Option<[u8; 8]>, sampled: bool) -> TraceContext {
    TraceContext { trace_id: TRACE, parent_id, sampled, state: "vendor=1".to_owned() }
}

fn explanation(decision: Verdict) -> Explanation {
    let mut agent = Agent::named("deploy-manager");
    agent.chain = vec!["planner".to_owned()];
    Explanation {
        decision_id: format!("dec_{}", decision.as_str()),
        at: jiff::Timestamp::UNIX_EPOCH,
        trace_id: None,
        via: None,
        decision,
        would_decision: (decision == Verdict::Allow).then_some(Verdict::Deny),
        mode: if decision == Verdict::Allow { Mode::Shadow } else { Mode::Enforce },
        code: (decision == Verdict::Deny).then_some(Code::PolicyViolation),
        reason: "max_replicas: above_maximum".to_owned(),
        detail: "a value of the caller: 4711".to_owned(),
        guidance: String::new(),
        agent: Some(agent),
        call: Some(CallSummary {
            tool: "kubernetes".to_owned(),
            action: "scale".to_owned(),
            effect: Effect::Write,
            env: "production".to_owned(),
            params_digest: "sha256:00".to_owned(),
            call_digest: None,
            destination: Some(Destination { scheme: "https".to_owned(), host: "k8s.example".to_owned(), port: 6443 }),
            cost_estimate: None,
        }),
        policy_version: "pol_1".to_owned(),
        matched: Vec::new(),
        violations: Vec::new(),
        approval: Some(ApprovalInfo {
            id: "apr_1".to_owned(),
            status: State::Pending.as_str().to_owned(),
            expires_at: jiff::Timestamp::UNIX_EPOCH,
            url: None,
        }),
        retry_after: None,
        redactions: Vec::new(),
        resets_at: None,
        engines_differ: false,
        resolved: Vec::new(),
        observed_by: Vec::new(),
        candidate: None,
        watch: aegis_core::shadow::Watch::default(),
        engine_failures: Vec::new(),
    }
}

fn outcome(result: &str, status: Option<u16>) -> Outcome {
    Outcome {
        result: result.to_owned(),
        status,
        error: None,
        duration_ms: 20.0,
        bytes_up: 3,
        bytes_down: 4,
        usage: None,
        cost: None,
    }
}

fn text(value: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.clone()) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key == key);
    let value = found.next().map(|attribute| text(&attribute.value));
    assert!(found.next().is_none(), "{key} twice");
    value
}

fn named<'a>(spans: &'a [Span], name: &str, decision_id: &str) -> &'a Span {
    let is_it = |span: &&Span| span.name == name && attribute(span, "decision_id").as_deref() == Some(decision_id);
    spans.iter().find(is_it).expect("the span")
}

/// Tells of a denial, and of an allowed call and its end, to a collector.
async fn told(protocol: Protocol, address: SocketAddr) -> [u8; 8] {
    let events = events(protocol, address);
    // Not sampled by the caller: exported all the same.
    events.decided(&explanation(Verdict::Deny), &trace(Some(CALLER), false), Duration::from_micros(1500));
    let allowed = explanation(Verdict::Allow);
    let upstream = events.decided(&allowed, &trace(None, true), Duration::from_micros(10));
    events.settled(&allowed, &trace(None, true), upstream, &outcome("forwarded", Some(503)));
    events.shutdown(Duration::from_secs(10)).await;
    let metrics = events.metrics().expect("text");
    assert!(metrics.contains("aegis_spans_exported_total 3\n"), "{metrics}");
    assert!(metrics.contains("aegis_spans_dropped_total 0\n") && metrics.contains("aegis_spans_failed_total 0\n"));
    upstream
}

fn check(received: &Received, upstream_id: [u8; 8]) {
    let spans = received.spans();
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| span.trace_id == TRACE && span.trace_state == "vendor=1"));
    assert!(received.service_names().iter().all(|name| name == "aegis-test"));

    let denial = named(&spans, "aegis.decision", "dec_deny");
    assert_eq!(denial.parent_span_id, CALLER);
    assert_eq!(denial.kind(), SpanKind::Internal);
    assert!(denial.status.as_ref().is_none_or(|status| status.code == 0), "a denial is no error");
    assert_eq!(denial.end_time_unix_nano - denial.start_time_unix_nano, 1_500_000);
    for (key, value) in [
        ("agent_id", "deploy-manager"),
        ("parent_agent_id", "planner"),
        ("tool", "kubernetes"),
        ("action", "scale"),
        ("env", "production"),
        ("decision", "deny"),
        ("decision_reason", "max_replicas: above_maximum"),
        ("policy_version", "pol_1"),
        ("mode", "enforce"),
        ("approval_id", "apr_1"),
        ("params_digest", "sha256:00"),
        ("egress_destination", "k8s.example:6443"),
        ("latency_ms", "1.5"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "kubernetes"),
        ("gen_ai.agent.id", "deploy-manager"),
    ] {
        assert_eq!(attribute(denial, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(denial, "would_decision"), None);

    let allowed = named(&spans, "aegis.decision", "dec_allow");
    assert!(allowed.parent_span_id.is_empty(), "it starts the trace");
    assert_eq!(attribute(allowed, "would_decision").as_deref(), Some("deny"));
    assert_eq!(attribute(allowed, "mode").as_deref(), Some("shadow"));

    let upstream = named(&spans, "aegis.upstream", "dec_allow");
    assert_eq!(upstream.kind(), SpanKind::Client);
    assert_eq!(upstream.span_id, upstream_id, "what the forwarded request names as its parent");
    assert_eq!(upstream.parent_span_id, allowed.span_id);
    assert_eq!(attribute(upstream, "http.response.status_code").as_deref(), Some("503"));
    assert_eq!(attribute(upstream, "outcome").as_deref(), Some("forwarded"));
    assert_eq!(upstream.status.as_ref().expect("a status").code, 2);
    assert!(!format!("{spans:?}").contains("4711"), "a raw value left");
}

#[tokio::test]
async fn a_grpc_collector_gets_the_spans() {
    let (address, received) = grpc().await;
    let upstream = told(Protocol::Grpc, address).await;
    check(&received, upstream);
}

#[tokio::test]
async fn an_http_collector_gets_the_spans() {
    let (address, received) = http().await;
    let upstream = told(Protocol::Http, address).await;
    check(&received, upstream);
}

/// In a caller's trace the upstream's span stands beside the decision's, under the caller's.
#[tokio::test]
async fn the_upstream_span_stands_beside_the_decision() {
    let (address, received) = grpc().await;
    let events = events(Protocol::Grpc, address);
    let (allowed, trace) = (explanation(Verdict::Allow), trace(Some(CALLER), true));
    let id = events.decided(&allowed, &trace, Duration::ZERO);
    events.settled(&allowed, &trace, id, &outcome("failed", None));
    events.shutdown(Duration::from_secs(10)).await;
    let spans = received.spans();
    assert!(spans.iter().all(|span| span.parent_span_id == CALLER));
    assert_eq!(attribute(named(&spans, "aegis.upstream", "dec_allow"), "error.type").as_deref(), Some("failed"));
}

/// A collector that is down, or that takes connections and never answers, holds nobody up and costs bounded memory.
#[tokio::test]
async fn a_collector_that_fails_holds_nobody_up() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.expect("a socket").local_addr().expect("an address");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let hanging = silent.local_addr().expect("an address");
    for (protocol, address) in
        [(Protocol::Grpc, refusing), (Protocol::Http, refusing), (Protocol::Grpc, hanging), (Protocol::Http, hanging)]
    {
        let events = events(protocol, address);
        let (denied, trace) = (explanation(Verdict::Deny), trace(None, true));
        for _ in 0..20_000 {
            events.decided(&denied, &trace, Duration::ZERO);
        }
        // Without a limit of its own it would wait for the collector.
        let ended = tokio::time::timeout(Duration::from_secs(60), events.shutdown(Duration::from_millis(300)));
        ended.await.expect("the shutdown ends by itself");
        let lost = events.inner.metrics.spans();
        assert_eq!(lost.exported.get(), 0);
        assert!(address == refusing || lost.dropped.get() > 0, "a hanging collector fills the queue");
    }
}

#[tokio::test]
async fn an_address_of_no_use_is_refused_at_the_start() {
    for endpoint in ["", "collector:4317", "https://collector:4317", "http://", "ftp://collector", "http://a b"] {
        let otlp = Otlp { endpoint: endpoint.to_owned(), protocol: Protocol::Grpc };
        let refused = Events::new(&Settings { otlp: Some(otlp), ..Settings::default() });
        assert!(matches!(refused, Err(EventsError::Endpoint { .. })), "{endpoint:?}");
    }
}

#[test]
fn without_a_runtime_there_is_no_export() {
    let otlp = Otlp { endpoint: "http://127.0.0.1:4317".to_owned(), protocol: Protocol::Grpc };
    assert!(matches!(
        Events::new(&Settings { otlp: Some(otlp), ..Settings::default() }),
        Err(EventsError::Exporter(_))
    ));
    assert!(Events::new(&Settings::default()).is_ok());
}

#[test]
fn counters_have_the_contracts_names_and_bounded_labels() {
    let events = Events::new(&Settings::default()).expect("events");
    events.decided(&explanation(Verdict::Deny), &trace(None, true), Duration::from_micros(80));
    events.alarm("denial_not_recorded", "the disk is full");
    let text = events.metrics().expect("text");
    let line = r#"aegis_decisions_total{decision="deny",agent_id="deploy-manager",tool="kubernetes",mode="enforce"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains(r#"aegis_decision_duration_seconds_bucket{le="0.0001"} 1"#), "{text}");
    assert!(text.contains(r#"aegis_alarms_total{alarm="denial_not_recorded"} 1"#), "{text}");

    for number in 0..3000 {
        let mut other = explanation(Verdict::Deny);
        other.agent = Some(Agent::named(format!("agent-{number}")));
        events.decided(&other, &trace(None, true), Duration::ZERO);
    }
    let text = events.metrics().expect("text");
    assert!(text.lines().filter(|line| line.starts_with("aegis_decisions_total")).count() <= 1001);
    assert!(text.contains(r#"agent_id="other",tool="other""#));
}

/// A log line bears the contract's names and no raw value.
#[test]
fn a_decision_is_one_log_line() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    // For the whole process: a subscriber of one thread can miss events whose place another test's thread saw first.
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only test that subscribes");
    let events = Events::new(&Settings::default()).expect("events");
    let denied = Explanation { decision_id: "dec_logged".to_owned(), ..explanation(Verdict::Deny) };
    events.decided(&denied, &trace(None, true), Duration::from_micros(1500));
    let text = String::from_utf8(lines.0.lock().expect("a lock").clone()).expect("text");
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("dec_logged")).collect();
    assert_eq!(ours.len(), 1, "one line");
    let line: serde_json::Value = serde_json::from_str(ours[0]).expect("one line of JSON");
    let fields = &line["fields"];
    assert_eq!(line["target"], "aegis::decision");
    assert_eq!(fields["decision"], "deny");
    assert_eq!(fields["agent_id"], "deploy-manager");
    assert_eq!(fields["egress_destination"], "k8s.example:6443");
    assert_eq!(fields["latency_ms"], 1.5);
    assert_eq!(fields["trace_id"], trace(None, true).trace_id_hex());
    assert!(!text.contains("4711"), "a raw value left");
}

#[test]
fn what_a_candidate_would_have_done_is_on_the_span_and_counted_where_it_differs() {
    let events = Events::new(&Settings::default()).expect("events");
    let with = |change: Change| Explanation {
        candidate: Some(Comparison {
            version: "pol_2".to_owned(),
            decision: Verdict::Deny,
            would_decision: None,
            change,
            reason: "max_replicas: above_maximum".to_owned(),
            matched: Vec::new(),
        }),
        ..explanation(Verdict::Allow)
    };
    for change in [Change::Same, Change::Stricter, Change::Failed] {
        events.decided(&with(change), &trace(None, true), Duration::from_micros(9));
    }
    let text = events.metrics().expect("metrics");
    let counted = "aegis_candidate_disagreements_total{active=\"pol_1\",candidate=\"pol_2\"} 2\n";
    assert!(text.contains(counted), "{text}");
    let told = super::attributes(&with(Change::Stricter));
    for (name, value) in [
        ("candidate_version", "pol_2"),
        ("candidate_decision", "deny"),
        ("candidate_change", "stricter"),
        ("candidate_reason", "max_replicas: above_maximum"),
    ] {
        assert!(
            told.iter().any(|pair| pair.key.as_str() == name && pair.value.as_str() == value),
            "{name} in {told:?}"
        );
    }
}
