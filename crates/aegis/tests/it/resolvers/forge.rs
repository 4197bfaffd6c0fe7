//! A stand-in for a forge with ids, a registry and objects. It remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::upstream::serve;

/// A request that it was sent.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) authorization: Option<String>,
    pub(super) key: Option<String>,
    pub(super) accept: Option<String>,
}

/// See the module. It ends with this.
pub(super) struct Forge {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Forge {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let address = runtime.block_on(serve(app));
        Self { address, seen, _runtime: runtime }
    }

    /// The requests whose line starts so.
    pub(super) fn requests(&self, start: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.line.starts_with(start)).cloned().collect()
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let line = format!("{method} {uri}");
    let (authorization, key) = (text("authorization"), text("x-api-key"));
    seen.lock().unwrap().push(Seen { line, authorization: authorization.clone(), key, accept: text("accept") });
    let path = uri.path();
    let last = path.rsplit('/').next().unwrap_or_default();
    match method {
        Method::POST => StatusCode::NO_CONTENT.into_response(),
        Method::HEAD => {
            let start = if last == "bad" { "bad" } else { "abc" };
            [("docker-content-digest", format!("sha256:{start}{}", "0".repeat(61)))].into_response()
        }
        Method::PUT => {
            match body.strip_prefix(b"b").and_then(|digit| std::str::from_utf8(digit).ok()?.parse::<u8>().ok()) {
                Some(replicas) => axum::Json(json!({"name": last, "replicas": replicas})).into_response(),
                None => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            }
        }
        _ if path.contains("/workflows/") => workflow(last).await,
        _ if last == "echo" => [("x-was-sent", authorization.unwrap_or_default())].into_response(),
        _ => "ok".into_response(),
    }
}

async fn workflow(id: &str) -> Response {
    let found = |path: &str| axum::Json(json!({"id": 1, "path": path})).into_response();
    match id {
        "77" => found(".ci/check.yml"),
        "78" => found(".ci/to-live.yml"),
        "79" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            found(".ci/slow.yml")
        }
        "80" => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        "81" => format!("{{\"path\":\"{}\"}}", "a".repeat(2 << 20)).into_response(),
        "82" => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            found(".ci/late.yml")
        }
        "83" => ([("content-encoding", "gzip")], "not really").into_response(),
        "84" => axum::Json(json!({"id": 1})).into_response(),
        "85" => "<html>".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
