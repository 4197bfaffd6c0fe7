//! The decision's span in the caller's trace, as a receiver of OTLP over HTTP gets it from the real binary. (gRPC: the server's
//! own tests.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::process::Gateway;
use crate::upstream::{Upstream, serve};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The attributes of a span, as text.
pub(crate) fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter().filter_map(|a| Some((a.key.clone(), text(a.value.as_ref()?.value.as_ref()?))));
    pairs.collect()
}

/// A receiver of spans over HTTP: its address, and what it got.
pub(crate) async fn collector() -> (SocketAddr, Arc<Mutex<Vec<Span>>>) {
    let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
    let keep = Arc::clone(&spans);
    let receive = move |body: Bytes| {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        keep.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        async {}
    };
    (serve(axum::Router::new().route("/v1/traces", axum::routing::post(receive))).await, spans)
}

#[test]
fn a_denied_and_an_allowed_call_have_their_spans_in_the_callers_trace() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (collector, spans) = runtime.block_on(collector());

    let tool = Upstream::start(None);
    let config = format!(
        "upstreams: {{\"tools.example:80\": \"{}\"}}\ntelemetry: {{otlp: {{endpoint: \"http://{collector}\", protocol: http}}}}\n",
        tool.address
    );
    let gateway = Gateway::start(&config, &[("p.yaml", "agent: builder\negress: {allow: [tools.example]}\n")]);
    let token = gateway.folder.agent("builder");
    for url in ["http://tools.example/ok", "http://evil.example/no"] {
        let proxy = format!("http://builder:{token}@{}", gateway.address("proxy"));
        let traceparent = format!("traceparent: 00-{TRACE}-{CALLER}-01");
        let output =
            Command::new("curl").args(["-s", "-x", &proxy, "-H", &traceparent, url]).output().expect("curl runs");
        assert!(output.status.success());
    }

    let until = Instant::now() + Duration::from_secs(20);
    let decisions = loop {
        let found: Vec<Span> = spans.lock().unwrap().iter().filter(|s| s.name == "aegis.decision").cloned().collect();
        if found.len() >= 2 {
            break found;
        }
        assert!(
            Instant::now() < until,
            "two decision spans never came: {:?}\n{}",
            spans.lock().unwrap(),
            gateway.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    let mut verdicts = Vec::new();
    for span in &decisions {
        assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, CALLER));
        let attributes = attributes(span);
        for name in ["decision_reason", "policy_version", "latency_ms", "mode", "decision_id", "params_digest", "env"] {
            assert!(attributes.contains_key(name), "{name} isn't in {attributes:?}");
        }
        assert_eq!(attributes["agent_id"], "builder");
        assert_eq!((attributes["tool"].as_str(), attributes["action"].as_str()), ("http", "request"));
        assert_eq!(attributes["gen_ai.operation.name"], "execute_tool");
        verdicts.push(attributes["decision"].clone());
    }
    verdicts.sort();
    assert_eq!(verdicts, ["allow", "deny"]);
    assert!(tool.seen().to_lowercase().contains(&format!("traceparent: 00-{TRACE}-")), "{}", tool.seen());
}
