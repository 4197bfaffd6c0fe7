//! A stand-in for a Cargo registry, **not a registry**: it takes crates as the web API has them, lists them in a sparse index, and
//! checks nothing. There is none to install that doesn't need a database.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::upstream::serve;

#[derive(Clone, Default)]
pub(super) struct Registry {
    /// Lines of the index, as it lists them.
    crates: Arc<Mutex<Vec<Value>>>,
}

impl Registry {
    /// Starts it; it ends with the runtime.
    pub(super) fn start(runtime: &tokio::runtime::Runtime) -> (Self, SocketAddr) {
        let this = Self::default();
        let app = Router::new().fallback(answer).with_state(this.clone());
        let address = runtime.block_on(serve(app));
        (this, address)
    }

    /// The names and versions that it holds, and which are yanked.
    pub(super) fn holds(&self) -> Vec<String> {
        let line = |line: &Value| format!("{} {} {}", line["name"], line["vers"], line["yanked"]).replace('"', "");
        self.crates.lock().unwrap().iter().map(line).collect()
    }

    fn publish(&self, body: &[u8]) {
        let length = u32::from_le_bytes(body[..4].try_into().expect("four bytes")) as usize;
        let metadata: Value = serde_json::from_slice(&body[4..4 + length]).expect("JSON");
        let line = json!({
            "name": metadata["name"], "vers": metadata["vers"], "deps": [], "features": {}, "yanked": false,
            "cksum": "0".repeat(64),
        });
        self.crates.lock().unwrap().push(line);
    }
}

async fn answer(State(registry): State<Registry>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let path = uri.path();
    if path == "/config.json" {
        let host = "https://crates.corp.example";
        return (StatusCode::OK, json!({"dl": format!("{host}/api/v1/crates"), "api": host}).to_string());
    }
    if path == "/api/v1/crates/new" {
        registry.publish(&body);
        return (StatusCode::OK, json!({"warnings": {}}).to_string());
    }
    if method != Method::GET {
        if path.ends_with("/yank") {
            registry.crates.lock().unwrap().iter_mut().for_each(|line| line["yanked"] = true.into());
        }
        return (StatusCode::OK, json!({"ok": true}).to_string());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let crates = registry.crates.lock().unwrap();
    let lines: String = crates.iter().filter(|line| line["name"] == name).map(|line| format!("{line}\n")).collect();
    let status = if lines.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, lines)
}
