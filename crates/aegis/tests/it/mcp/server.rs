//! A small MCP server whose tools a test can change while it runs, and which keeps what reaches it. It speaks both generations,
//! sessions and stateless, and answers `say` as a stream of events.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::upstream::serve;

#[derive(Clone, Default)]
pub struct Server {
    seen: Arc<Mutex<Vec<(Value, HeaderMap)>>>,
    tools: Arc<Mutex<Vec<Value>>>,
}

pub fn tool(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description, "inputSchema": {"type": "object"}})
}

impl Server {
    pub async fn start(tools: Vec<Value>) -> (Self, SocketAddr) {
        let this = Self::default();
        this.lists(tools);
        let address = serve(Router::new().route("/mcp", axum::routing::any(answer)).with_state(this.clone())).await;
        (this, address)
    }

    /// From now on it lists these.
    pub fn lists(&self, tools: Vec<Value>) {
        *self.tools.lock().unwrap() = tools;
    }

    /// The messages that reached it, of one method.
    pub fn seen(&self, method: &str) -> Vec<(Value, HeaderMap)> {
        self.seen.lock().unwrap().iter().filter(|(message, _)| message["method"] == method).cloned().collect()
    }
}

async fn answer(State(this): State<Server>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    if method != Method::POST {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message: Value = serde_json::from_slice(&body).expect("JSON");
    this.seen.lock().unwrap().push((message.clone(), headers));
    let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}});
            let session = format!("s-{}", this.seen.lock().unwrap().len());
            return ([("mcp-session-id", session)], axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": result})))
                .into_response();
        }
        "tools/list" => {
            json!({"tools": *this.tools.lock().unwrap(), "nextCursor": "more", "ttlMs": 1000, "cacheScope": "public"})
        }
        "prompts/list" => json!({"prompts": [{"name": "greet"}]}),
        "tools/call" => {
            let text = message.pointer("/params/arguments/text").and_then(Value::as_str).unwrap_or("done");
            json!({"content": [{"type": "text", "text": text}], "unknown_member": 7})
        }
        _ => json!({}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
    if message.pointer("/params/name") == Some(&json!("say")) {
        let events = format!(
            "id: 1\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{}}}}\n\nid: 2\ndata: {answer}\n\n"
        );
        return ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response();
    }
    axum::Json(answer).into_response()
}
