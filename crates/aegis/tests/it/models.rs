//! The official Python SDKs of OpenAI and Anthropic through the gateway: what is allowed is answered, and what it used is on record;
//! what is refused is an error of the SDK that says why.
//!
//! Behind the gateway stands **a stand-in, no model**: it answers as the two APIs do, plainly and in streams, always the same.

mod usage;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::process::{Gateway, eventually};
use crate::tools::tool;
use crate::upstream::serve;

const POLICY: &str = "agent: writer
actions:
  - name: infer
    allowed_model: [\"gpt-4o-mini\", \"claude-haiku-*\"]
    max_output_tokens: 1000
";

type Asked = Arc<Mutex<Vec<Value>>>;

async fn answer(State(asked): State<Asked>, uri: Uri, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    asked.lock().unwrap().push(body.clone());
    let events = match (uri.path(), body["stream"] == true) {
        ("/v1/chat/completions", false) => return axum::Json(json!({
            "id": "c1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        }))
        .into_response(),
        ("/v1/chat/completions", true) => {
            let chunk = |choices: Value, usage: Value| json!({"id": "c1", "object": "chat.completion.chunk", "created": 1,
                "model": body["model"], "choices": choices, "usage": usage});
            let delta = |text: &str| json!([{"index": 0, "delta": {"content": text}}]);
            let mut events = vec![chunk(delta("h"), Value::Null), chunk(delta("i"), Value::Null)];
            if body["stream_options"]["include_usage"] == true {
                events.push(chunk(json!([]), json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11})));
            }
            let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            text.push_str("data: [DONE]\n\n");
            text
        }
        ("/v1/responses", _) => {
            let response = |status: &str, usage: Value| json!({"id": "r1", "object": "response", "created_at": 1, "model": body["model"],
                "status": status, "output": [], "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": usage});
            let usage = json!({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 0}});
            let delta = |text: &str| json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0,
                "content_index": 0, "delta": text, "sequence_number": 1, "logprobs": []});
            let events = [
                json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress", Value::Null)}),
                delta("h"),
                delta("i"),
                json!({"type": "response.completed", "sequence_number": 3, "response": response("completed", usage)}),
            ];
            events.iter().map(named).collect()
        }
        ("/v1/messages", false) => return axum::Json(json!({
            "id": "m1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn", "stop_sequence": null,
            "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 10, "output_tokens": 4},
        }))
        .into_response(),
        ("/v1/messages", true) => {
            let message = json!({"id": "m1", "type": "message", "role": "assistant", "model": body["model"], "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}});
            let events = [
                json!({"type": "message_start", "message": message}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 4}}),
                json!({"type": "message_stop"}),
            ];
            events.iter().map(named).collect()
        }
        other => panic!("nobody answers {other:?}"),
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response()
}

fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a type"))
}

#[test]
fn the_sdks_are_answered_or_told_why_not_and_what_they_use_is_on_record() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let asked = Asked::default();
    let app = Router::new().fallback(answer).with_state(Arc::clone(&asked));
    let address = runtime.block_on(serve(app));
    let route = |name: &str| format!("  - {{name: {name}, tool: {name}, upstream: \"http://{address}\"}}\n");
    let gateway = Gateway::start(&format!("routes:\n{}{}", route("openai"), route("anthropic")), &[("w.yaml", POLICY)]);
    let token = gateway.folder.agent("writer");

    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/models/client.py");
    let mut python = Command::new(tool("model-python"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        python.env_remove(name);
    }
    let output = python.arg(script).arg(gateway.address("proxy").to_string()).arg(&token).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    println!("{said:#?}");

    let known = |input: u64, output: u64| json!({"input_tokens": input, "output_tokens": output});
    let expected = [
        ("chat", Ok((known(9, 2), "0.000003 USD"))),
        ("chat stream", Ok((known(9, 2), "0.000003 USD"))),
        ("chat stream without usage", Ok((json!("unknown"), "unknown"))),
        ("respond stream", Ok((json!({"input_tokens": 7, "output_tokens": 3, "cached_tokens": 4}), "0.000003 USD"))),
        ("chat, another model", Err("allowed_model")),
        ("chat, no cap", Err("max_output_tokens")),
        ("message", Ok((known(10, 4), "0.00003 USD"))),
        ("message stream", Ok((known(10, 4), "0.00003 USD"))),
        ("message, too long", Err("max_output_tokens")),
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (line, (name, outcome)) in said.iter().zip(&expected) {
        assert_eq!(line["call"], *name);
        match outcome {
            Ok(_) => assert_eq!(line["said"], "hi", "{line}"),
            Err(rule) => {
                let (why, kind) = (line["refused"].as_str().unwrap_or_default(), &line["kind"]);
                assert!(line["status"] == 403 && kind == "PermissionDeniedError", "{line}");
                assert!(why.contains("PolicyViolation") && why.contains(rule.trim_start_matches("max_")), "{line}");
            }
        }
    }
    let used: Vec<_> = expected.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
    assert_eq!(asked.lock().unwrap().len(), used.len(), "nothing that was refused reached it");
    let outcomes = || {
        let records = gateway.folder.records();
        records.into_iter().filter(|record| record["event"] == "outcome").collect::<Vec<Value>>()
    };
    eventually("all outcomes are on record", || outcomes().len() == used.len());
    for (outcome, (usage, cost)) in outcomes().iter().zip(used) {
        assert_eq!((&outcome["usage"], &outcome["cost"]), (usage, &json!(cost)), "{outcome}");
    }
    let estimates: Vec<Value> =
        gateway.folder.decisions("writer").iter().map(|record| record["call"]["cost_estimate"].clone()).collect();
    assert!(
        estimates
            .iter()
            .all(|estimate| estimate.as_str().is_some_and(|text| text.ends_with(" USD") || text == "unknown"))
    );
    assert_eq!(estimates[5], "unknown", "no cap, no bound: {estimates:?}");
}
