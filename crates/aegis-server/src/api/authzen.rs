//! The decision API: OpenID AuthZEN 1.0, for callers that enforce what is decided here (SDKs, gateways, applications).
//!
//! `decision` alone is safe to obey: true only for a call that was admitted as it came, is on record and has spent what it spends.
//! A call that has to be rewritten is true only for a caller that said it can do that; one that a human has to see is false,
//! with an access request (AuthZEN's profile for that) whose task can be waited for.
//!
//! Invariants: an agent's token proves the caller, and asks for that agent alone unless the operator has made it an
//! enforcement point; every question is a decision with a record of its own. Deliberately absent: search (what would be
//! allowed isn't a list), outcomes (a caller that enforces doesn't report how a call ended; the record says nothing of it).

mod answer;
mod attempts;
mod caller;
mod evaluate;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use self::attempts::Attempts;
use super::{ApiState, guard};
use crate::pipeline::Pipeline;

/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 1 << 20;
/// What all bodies together may take, in bytes.
const ROOM: usize = 64 << 20;
/// How long a request waits for room.
const ROOM_TIME: Duration = Duration::from_secs(5);
/// How long a body may take to come: while it does, it has its room.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How many idempotency keys are remembered, and for how long.
const KEYS: u64 = 10_000;
const KEY_TIME: Duration = Duration::from_hours(24);

/// What the decision API needs besides the rest of the API. Cheap to clone.
#[derive(Clone)]
pub struct Decisions(Arc<Inner>);

struct Inner {
    pipeline: Pipeline,
    /// The address that callers reach the API at, without a slash at the end.
    base: String,
    attempts: Attempts,
    /// In KiB.
    room: Arc<tokio::sync::Semaphore>,
    /// The digest of the body that an agent sent under an `Idempotency-Key`.
    keys: moka::sync::Cache<(String, String), String>,
}

impl Decisions {
    /// Decides by `pipeline`; `base` is the address of the API, as callers reach it.
    pub fn new(pipeline: Pipeline, base: &str) -> Self {
        Self(Arc::new(Inner {
            pipeline,
            base: base.trim_end_matches('/').to_owned(),
            attempts: Attempts::default(),
            room: Arc::new(tokio::sync::Semaphore::new(ROOM / 1024)),
            keys: moka::sync::Cache::builder().max_capacity(KEYS).time_to_live(KEY_TIME).build(),
        }))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }
}

/// The endpoints; none where nothing decides.
pub(super) fn routes(state: &ApiState) -> Router<ApiState> {
    let Some(decisions) = state.decisions.clone() else { return Router::new() };
    let agents = Router::new()
        .route("/access/v1/evaluation", post(evaluate::evaluation))
        .route("/access/v1/evaluations", post(evaluate::evaluations))
        .route("/access/v1/requests", post(requests::submit))
        .route("/access/v1/requests/{id}", get(requests::status))
        .route_layer(from_fn(guard::to_the_end))
        .route_layer(from_fn_with_state(state.clone(), caller::agents_only))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    Router::new()
        .route("/.well-known/authzen-configuration", get(metadata))
        .merge(agents)
        .layer(Extension(decisions))
        .layer(from_fn(caller::echo_request_id))
}

/// `GET /.well-known/authzen-configuration` (AuthZEN 1.0, §9).
async fn metadata(Extension(decisions): Extension<Decisions>) -> Json<Value> {
    Json(json!({
        "policy_decision_point": decisions.0.base,
        "access_evaluation_endpoint": decisions.url("/access/v1/evaluation"),
        "access_evaluations_endpoint": decisions.url("/access/v1/evaluations"),
        "access_request_endpoint": decisions.url("/access/v1/requests"),
        "jwks_uri": decisions.url("/.well-known/jwks.json"),
        "supported_obligations": ["custom"],
        "capabilities": ["urn:openid:authzen:capability:access-request"],
    }))
}
