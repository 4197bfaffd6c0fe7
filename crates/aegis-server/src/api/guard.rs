//! What stands before the endpoints: the operator's token, browsers, and time.

use std::time::{Duration, Instant};

use aegis_core::decide::{Denial, Facts};
use aegis_core::describe::DenyShape;
use aegis_core::problem::Code;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use tokio::time::timeout;

use super::ApiState;
use super::answer::ApiError;
use crate::answer::{self, Form};
use crate::pipeline::{decision_id, random};
use crate::trace::TraceContext;

/// How long one request may take, long polls included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Lets operators through; everybody else is refused, and that is on record.
pub(super) async fn operators_only(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let reason = match bearer(request.headers()) {
        Ok(Some(token)) if state.operator.proves(token) => return next.run(request).await,
        Ok(Some(_)) => "operator: forged",
        Ok(None) => "operator: missing",
        Err(()) => "operator: malformed",
    };
    rejected(&state, request.headers(), reason).await
}

/// The one bearer token of a request (RFC 6750 §2.1); `Err` where there is something else or more than one.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    let (scheme, token) = value.to_str().map_err(drop)?.split_once(' ').ok_or(())?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim_matches(' '))) } else { Err(()) }
}

/// Records the refusal of a credential, and answers it as every refusal is. One wording, whatever was wrong.
pub(super) async fn rejected(state: &ApiState, headers: &HeaderMap, reason: &str) -> Response {
    let started = Instant::now();
    let now = Timestamp::now();
    let trace = TraceContext::join(headers, random());
    let policies = (state.policies)();
    let facts = Facts {
        trace_id: Some(trace.trace_id_hex()),
        ..Facts::new(now, decision_id(now, random()), policies.version())
    };
    let detail = "the credential is missing or not valid here".to_owned();
    let denial = Denial::unread(&facts, None, Code::IdentityRejected, reason, detail);
    let latency = started.elapsed();
    if let Err(error) = state.store.deny(&denial, latency.as_secs_f64() * 1000.0).await {
        state.events.alarm("a denial could not be recorded", &error.to_string());
    }
    let explanation = denial.into_explanation();
    state.events.decided(&explanation, &trace, latency);
    let form = Form { shape: DenyShape::Problem, proxied: false, head_only: false };
    answer::refusal(&explanation, form).map(Body::new)
}

/// Refuses what only a browser sends: a page of another origin, or one whose name was rebound to our address, can't
/// leave `Origin` out of a request that changes something.
pub(super) async fn no_browsers(request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !safe && request.headers().contains_key(header::ORIGIN) {
        return ApiError::forbidden("requests from web pages are not taken").into_response();
    }
    next.run(request).await
}

/// Brings what changes something to its end, also when nobody waits for the answer any more: left half way, what is on disk
/// and what is in force would differ until the next start.
pub(super) async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => ApiError::unavailable(error).into_response(),
    }
}

/// Ends what takes too long.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("a request took too long").into_response(),
    }
}
