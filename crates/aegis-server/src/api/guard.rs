//! What stands before the endpoints: the operator's token, browsers, and time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aegis_core::decide::{Denial, Facts};
use aegis_core::describe::{DenyShape, Unreadable};
use aegis_core::problem::Code;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use tokio::time::timeout;

use super::ApiState;
use super::answer::ApiError;
use crate::answer::{self, Form};
use crate::intercept::frame;
use crate::intercept::framing::Malformed;
use crate::pipeline::{Client, decision_id, random};
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
    let client = client(&request);
    rejected(&state, client, request.headers(), reason).await
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
pub(super) async fn rejected(state: &ApiState, client: Option<IpAddr>, headers: &HeaderMap, reason: &str) -> Response {
    let detail = "the credential is missing or not valid here".to_owned();
    refused(state, client, headers, (Code::IdentityRejected, reason, detail)).await
}

/// Takes only what the frame guard lets pass, and only in origin form: this is no proxy.
pub(super) async fn framed(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let checked = match head.extensions.get::<Malformed>() {
        Some(malformed) => Err((*malformed).into()),
        // What a command asks of a stopped gateway's data came by no connection, and has no frame.
        None if head.extensions.get::<Client>().is_none() => Ok(()),
        None => frame::check(&head).and_then(|()| frame::origin_form(&head)),
    };
    let request = Request::from_parts(head, body);
    let Err(Unreadable { reason, message }) = checked else { return next.run(request).await };
    state.events.malformed(&reason);
    let client = client(&request);
    let reason = format!("request: {reason}");
    let mut response = refused(&state, client, request.headers(), (Code::BadRequest, &reason, message)).await;
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The address that a request comes from, where it came by a connection.
pub(super) fn client(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Client>().map(|client| client.0)
}

/// Puts a refusal on record, and answers it as every refusal is.
async fn refused(
    state: &ApiState,
    client: Option<IpAddr>,
    headers: &HeaderMap,
    (code, reason, detail): (Code, &str, String),
) -> Response {
    let started = Instant::now();
    let now = Timestamp::now();
    let trace = TraceContext::join(headers, random());
    let policies = (state.policies)();
    let facts = Facts {
        trace_id: Some(trace.trace_id_hex()),
        ..Facts::new(now, decision_id(now, random()), policies.version())
    };
    let denial = Denial::unread(&facts, None, code, reason, detail);
    let latency = started.elapsed();
    let (explanation, recorded) = state.unproven.record(client, denial, latency.as_secs_f64() * 1000.0).await;
    if recorded {
        state.events.decided(&explanation, &trace, latency);
    } else {
        state.events.counted(&explanation, latency);
    }
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
