//! A stand-in for HCP Terraform, **not one**: two workspaces without a state, whose plans and applies are done at once, and the store that
//! configurations and logs are in. It plans nothing: how many resources a plan would destroy is what the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::upstream::serve;

#[derive(Default)]
struct Held {
    /// Method and path, and what the caller proved itself with.
    asked: Vec<(String, String)>,
    /// The workspace of each run, and whether it was applied; `run-1` is the first.
    runs: Vec<(String, bool)>,
    destructions: u32,
}

#[derive(Clone, Default)]
pub(super) struct Hcp(Arc<Mutex<Held>>);

impl Hcp {
    pub(super) async fn start() -> (Self, SocketAddr) {
        let this = Self::default();
        let address = serve(Router::new().fallback(answer).with_state(this.clone())).await;
        (this, address)
    }

    /// From here on a plan would destroy so many.
    pub(super) fn would_destroy(&self, destructions: u32) {
        self.0.lock().unwrap().destructions = destructions;
    }

    /// The runs so far: the workspace, and whether it was applied.
    pub(super) fn runs(&self) -> Vec<(String, bool)> {
        self.0.lock().unwrap().runs.clone()
    }

    /// What was asked of it, with what.
    pub(super) fn asked(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().asked.clone()
    }
}

async fn answer(State(hcp): State<Hcp>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let proof = headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
    let mut held = hcp.0.lock().unwrap();
    held.asked.push((format!("{method} {}", uri.path()), proof.unwrap_or_default()));
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    let found = match (method.as_str(), path.as_slice()) {
        ("GET", [".well-known", "terraform.json"]) => return axum::Json(services()).into_response(),
        ("PUT", ["v1", "upload"]) => return StatusCode::OK.into_response(),
        ("GET", ["v1", "log", what]) => return log(what, uri.query().unwrap_or_default()).into_response(),
        (_, ["api", "v2", rest @ ..]) => api(&mut held, method.as_str(), rest, &body),
        _ => None,
    };
    let kind = [("content-type", "application/vnd.api+json"), ("tfp-api-version", "2.6")];
    match found {
        Some(Value::Null) => (StatusCode::NO_CONTENT, kind).into_response(),
        Some(data) => (kind, json!({"data": data}).to_string()).into_response(),
        None => (StatusCode::NOT_FOUND, kind, r#"{"errors":[{"status":"404","title":"not found"}]}"#).into_response(),
    }
}

fn services() -> Value {
    json!({"tfe.v2": "/api/v2/", "tfe.v2.1": "/api/v2/", "tfe.v2.2": "/api/v2/", "state.v2": "/api/v2/"})
}

/// What its API answers: `null` for no content.
fn api(held: &mut Held, method: &str, path: &[&str], body: &[u8]) -> Option<Value> {
    match (method, path) {
        ("GET", ["ping"]) => Some(Value::Null),
        ("GET", ["organizations", "acme", "entitlement-set"]) => {
            Some(json!({"id": "org-1", "type": "entitlement-sets", "attributes": {"operations": true}}))
        }
        ("GET", ["organizations", "acme", "workspaces", name]) => workspace(name),
        ("GET", ["workspaces", id]) => workspace(id.strip_prefix("ws-")?),
        ("POST", ["workspaces", id, "configuration-versions"]) if id.starts_with("ws-") => Some(configuration()),
        ("GET", ["configuration-versions", "cv-1"]) => Some(configuration()),
        ("POST", ["runs"]) => {
            let asked: Value = serde_json::from_slice(body).expect("JSON");
            let id = asked["data"]["relationships"]["workspace"]["data"]["id"].as_str().expect("a workspace");
            let applied = asked["data"]["attributes"]["auto-apply"] == true;
            held.runs.push((id.to_owned(), applied));
            Some(run(held.runs.len(), id, applied))
        }
        ("POST", ["runs", id, "actions", "apply"]) => {
            held.runs.get_mut(number(id)? - 1)?.1 = true;
            Some(Value::Null)
        }
        ("GET", ["runs", _, "run-events"]) => Some(json!([])),
        ("GET", ["runs", id]) => {
            let number = number(id)?;
            let (workspace, applied) = held.runs.get(number - 1)?;
            Some(run(number, workspace, *applied))
        }
        ("GET", ["plans", id]) => Some(json!({"id": id, "type": "plans", "attributes": {
            "status": "finished", "has-changes": true, "resource-additions": 1, "resource-changes": 0,
            "resource-destructions": held.destructions, "log-read-url": "https://archivist.terraform.io/v1/log/plan",
        }})),
        ("GET", ["applies", id]) => Some(json!({"id": id, "type": "applies", "attributes": {
            "status": "finished", "log-read-url": "https://archivist.terraform.io/v1/log/apply",
        }})),
        _ => None,
    }
}

fn number(run: &str) -> Option<usize> {
    run.strip_prefix("run-")?.parse().ok()
}

fn workspace(name: &str) -> Option<Value> {
    ["shop-staging", "shop-prod"].contains(&name).then(|| {
        json!({
            "id": format!("ws-{name}"), "type": "workspaces",
            "attributes": {
                "name": name, "auto-apply": false, "execution-mode": "remote", "locked": false, "operations": true,
                "terraform-version": "1.5.7",
                "permissions": {"can-update": true, "can-queue-run": true, "can-queue-apply": true},
            },
            "relationships": {"organization": {"data": {"id": "acme", "type": "organizations"}}},
        })
    })
}

fn configuration() -> Value {
    json!({"id": "cv-1", "type": "configuration-versions", "attributes": {
        "status": "uploaded", "upload-url": "https://archivist.terraform.io/v1/upload",
    }})
}

fn run(number: usize, workspace: &str, applied: bool) -> Value {
    let one = |kind: &str, id: String| json!({"data": {"id": id, "type": kind}});
    json!({
        "id": format!("run-{number}"), "type": "runs",
        "attributes": {
            "status": if applied { "applied" } else { "planned" }, "has-changes": true, "is-destroy": false,
            "actions": {"is-confirmable": !applied, "is-cancelable": false, "is-discardable": true},
            "permissions": {"can-apply": true},
        },
        "relationships": {
            "workspace": one("workspaces", workspace.to_owned()), "plan": one("plans", format!("plan-{number}")),
            "apply": one("applies", format!("apply-{number}")),
        },
    })
}

/// A part of a log, which starts and ends with a mark.
fn log(what: &str, query: &str) -> String {
    let whole = format!("\u{2}Terraform v1.5.7\non a stand-in\nInitializing\nthe log of the {what}\n\u{3}");
    let offset = query.split('&').find_map(|pair| pair.strip_prefix("offset=")).expect("an offset");
    whole.get(offset.parse().expect("a number")..).unwrap_or_default().to_owned()
}
