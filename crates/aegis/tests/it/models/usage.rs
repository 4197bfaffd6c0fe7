//! What models say that calls used, in every form that they say it: on the record, on the span and in the metrics, the same. What isn't
//! said, or not to its end, is unknown in all three, and never nothing.
//!
//! Behind the gateway stands **a stand-in, no model**: each path has one answer, byte for byte.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::otlp::{attributes, collector};
use crate::process::{Gateway, eventually, raw};

const POLICY: &str = "agent: writer\nactions: [{name: infer, max_output_tokens: 1000}]\n";

/// How an answer comes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Plain,
    Stream,
    Gzip,
    GzipStream,
    /// Its last bytes never come.
    CutOff,
    /// It never ends, and the agent goes.
    Left,
}

/// A call, its answer, and what is known of it: tokens in, of those from a cache, out, and what that costs.
struct Case {
    tool: &'static str,
    path: &'static str,
    asks: Value,
    way: Way,
    answer: String,
    used: Option<(u64, u64, u64, &'static str)>,
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn cases() -> Vec<Case> {
    let chat = json!({"model": "gpt-4o-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]});
    let streamed = json!({"model": "gpt-4o-mini", "max_tokens": 500, "messages": [], "stream": true});
    let counted = json!({"model": "gpt-4o-mini", "max_tokens": 500, "messages": [], "stream": true, "stream_options": {"include_usage": true}});
    let respond = json!({"model": "gpt-4o-mini", "max_output_tokens": 500, "input": "hi"});
    let message = json!({"model": "claude-haiku-4-5", "max_tokens": 500, "messages": []});
    let generate = json!({"contents": [], "generationConfig": {"maxOutputTokens": 500}});
    let spent = json!({"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200});
    let delta = json!({"choices": [{"index": 0, "delta": {"content": "h"}}], "usage": null});
    let last = json!({"choices": [], "usage": spent});
    let whole = json!({"choices": [{"message": {"content": "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"}}], "usage": spent});
    let response =
        json!({"usage": {"input_tokens": 1000, "output_tokens": 200, "input_tokens_details": {"cached_tokens": 400}}});
    let begun = json!({"type": "message_start", "message": {"usage": {"input_tokens": 1000, "cache_read_input_tokens": 500, "output_tokens": 1}}});
    let ended = json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 200}});
    let said = json!({"content": [], "usage": {"input_tokens": 1000, "output_tokens": 200}});
    let metadata = |out: u64| json!({"candidates": [], "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": out, "thoughtsTokenCount": 50}});
    let done = "data: [DONE]\n\n";
    let case = |tool, path, asks: &Value, way, answer: String, used| Case {
        tool,
        path,
        asks: asks.clone(),
        way,
        answer,
        used,
    };
    let mini = Some((1000, 0, 200, "0.00027 USD"));
    let haiku = Some((1500, 500, 200, "0.00205 USD"));
    let flash = Some((1000, 0, 200, "0.0008 USD"));
    vec![
        case("openai", CHAT, &chat, Way::Plain, whole.to_string(), mini),
        case("openai", CHAT, &chat, Way::Gzip, whole.to_string(), mini),
        case("openai", CHAT, &counted, Way::Stream, events(&[delta.clone(), last.clone()]) + done, mini),
        case("openai", CHAT, &counted, Way::GzipStream, events(&[delta.clone(), last.clone()]) + done, mini),
        // The request didn't ask for it, so the answer doesn't say it.
        case("openai", CHAT, &streamed, Way::Stream, events(&[delta.clone(), delta.clone()]) + done, None),
        case(
            "openai",
            "/v1/responses",
            &respond,
            Way::Plain,
            response.to_string(),
            Some((1000, 400, 200, "0.00024 USD")),
        ),
        case(
            "openai",
            "/v1/responses",
            &respond,
            Way::GzipStream,
            events(&[
                json!({"response": {"usage": null}}),
                json!({"type": "response.completed", "response": response}),
            ]),
            Some((1000, 400, 200, "0.00024 USD")),
        ),
        case("anthropic", MESSAGES, &message, Way::Plain, said.to_string(), Some((1000, 0, 200, "0.002 USD"))),
        case("anthropic", MESSAGES, &message, Way::Stream, events(&[begun.clone(), ended.clone()]), haiku),
        case("anthropic", MESSAGES, &message, Way::GzipStream, events(&[begun.clone(), ended]), haiku),
        case("gemini", GENERATE, &generate, Way::Gzip, metadata(150).to_string(), flash),
        case("gemini", STREAM, &generate, Way::Stream, events(&[metadata(1), metadata(150)]), flash),
        case("gemini", STREAM, &generate, Way::GzipStream, events(&[metadata(1), metadata(150)]), flash),
        // What was said before it broke off isn't all of it.
        case("openai", CHAT, &counted, Way::CutOff, events(&[delta.clone(), last]), None),
        case("anthropic", MESSAGES, &message, Way::CutOff, events(std::slice::from_ref(&begun)), None),
        case("gemini", STREAM, &generate, Way::CutOff, events(&[metadata(1)]), None),
        case("openai", CHAT, &counted, Way::Left, events(&[delta]), None),
    ]
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

/// Answers one request after the other, as the cases have it.
fn stand_in(cases: Vec<(Way, String)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (way, text) in cases {
            let (mut stream, _) = listener.accept().expect("asked");
            read_request(&mut stream);
            let body = if matches!(way, Way::Gzip | Way::GzipStream) { gzip(&text) } else { text.into_bytes() };
            let media_type =
                if matches!(way, Way::Plain | Way::Gzip) { "application/json" } else { "text/event-stream" };
            let coding = if matches!(way, Way::Gzip | Way::GzipStream) { "Content-Encoding: gzip\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n{coding}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).expect("sent");
            // In pieces that end anywhere.
            for piece in body.chunks(23) {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                stream.write_all(&chunk).expect("sent");
            }
            match way {
                Way::CutOff => {
                    // What came before it is on its way by then.
                    std::thread::sleep(Duration::from_millis(300));
                    drop(stream);
                }
                Way::Left => kept.push(stream),
                _ => stream.write_all(b"0\r\n\r\n").expect("sent"),
            }
        }
        // Open until the gateway goes.
        for mut stream in kept {
            let _ = stream.read(&mut [0]);
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).expect("read");
        seen.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&seen).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= announced.trim().parse().expect("a number") {
            return;
        }
    }
}

#[test]
fn what_was_used_is_the_same_on_record_span_and_metrics_and_unknown_where_it_wasnt_said() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (collector, spans) = runtime.block_on(collector());

    let cases = cases();
    let tool = stand_in(cases.iter().map(|case| (case.way, case.answer.clone())).collect());
    let routes: String = ["openai", "anthropic", "gemini"]
        .map(|name| format!("  - {{name: {name}, tool: {name}, upstream: \"http://{tool}\"}}\n"))
        .concat();
    let config =
        format!("routes:\n{routes}telemetry: {{otlp: {{endpoint: \"http://{collector}\", protocol: http}}}}\n");
    let gateway = Gateway::start(&config, &[("p.yaml", POLICY)]);
    let token = gateway.folder.agent("writer");
    let outcomes = || -> Vec<Value> {
        gateway.folder.records().into_iter().filter(|record| record["event"] == "outcome").collect()
    };
    for (index, case) in cases.iter().enumerate() {
        call(gateway.address("proxy"), &token, case);
        // One after the other, so that outcomes stand in the cases' order.
        eventually("its outcome is on record", || outcomes().len() > index);
    }

    let upstream = |id: &Value| {
        let spans = spans.lock().unwrap();
        let of = |span: &&Span| span.name == "aegis.upstream" && attributes(span)["decision_id"] == *id;
        spans.iter().find(of).map(attributes)
    };
    let outcomes = outcomes();
    let decisions = gateway.folder.decisions("writer");
    assert_eq!((outcomes.len(), decisions.len()), (cases.len(), cases.len()));
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for ((case, outcome), decision) in cases.iter().zip(&outcomes).zip(&decisions) {
        let what = format!("{} {} {}\n{outcome}", case.tool, case.path, case.asks);
        let id = &outcome["decision_id"];
        eventually("its span is exported", || upstream(id).is_some());
        let span = upstream(id).expect("exported");
        // What it may cost at most is known before, whatever becomes of it.
        let estimate = decision["call"]["cost_estimate"].as_str().unwrap_or_default();
        assert!(estimate.ends_with(" USD") && !estimate.starts_with("0 "), "{what}\n{decision}");
        let tokens =
            ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"].map(|name| span.get(name).map(String::as_str));
        let labels = format!("agent_id=\"writer\",tool=\"{}\"", case.tool);
        match case.used {
            Some((input, cached, output, cost)) => {
                let mut usage = json!({"input_tokens": input, "output_tokens": output});
                if cached > 0 {
                    usage["cached_tokens"] = cached.into();
                }
                assert_eq!((&outcome["usage"], &outcome["cost"]), (&usage, &json!(cost)), "{what}");
                assert_eq!(tokens, [Some(input.to_string().as_str()), Some(output.to_string().as_str())], "{what}");
                assert_eq!(span["cost"], cost, "{what}");
                for (direction, count) in [("input", input), ("output", output)] {
                    let line = format!("aegis_model_tokens_total{{{labels},direction=\"{direction}\"}}");
                    *expected.entry(line).or_default() += count;
                }
            }
            None => {
                assert_eq!((&outcome["usage"], &outcome["cost"]), (&json!("unknown"), &json!("unknown")), "{what}");
                assert_eq!((tokens, span["cost"].as_str()), ([None, None], "unknown"), "{what}");
                *expected.entry(format!("aegis_model_calls_unmetered_total{{{labels}}}")).or_default() += 1;
            }
        }
        let broken = matches!(case.way, Way::CutOff | Way::Left);
        // The tool did its part where the agent left.
        assert_eq!(outcome["result"] != "forwarded", case.way == Way::CutOff, "{what}");
        assert_eq!(outcome["error"].is_string(), broken, "{what}");
        assert_eq!(span["outcome"], *outcome["result"].as_str().expect("a result"), "{what}");
    }
    let told = metrics(&gateway);
    let counted: BTreeMap<String, u64> = told
        .lines()
        .filter(|line| line.starts_with("aegis_model_"))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, count)| (name.to_owned(), count.parse().expect("a count")))
        .collect();
    assert_eq!(counted, expected, "{told}");
}

fn call(gateway: SocketAddr, token: &str, case: &Case) {
    let body = case.asks.to_string();
    let request = format!(
        "POST /r/{}{} HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        case.tool,
        case.path,
        body.len()
    );
    if case.way != Way::Left {
        let answer = raw(gateway, &request);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{} {}: {answer}", case.tool, case.asks);
        return;
    }
    let mut stream = TcpStream::connect(gateway).expect("connected");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut seen = String::new();
    while !seen.contains("\"content\"") {
        let mut buffer = [0; 512];
        let length = stream.read(&mut buffer).expect("read");
        assert_ne!(length, 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

fn metrics(gateway: &Gateway) -> String {
    let token = std::fs::read_to_string(gateway.folder.path("aegis-data/operator.token")).expect("there");
    let token = token.trim();
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    raw(gateway.address("api"), &request)
}
