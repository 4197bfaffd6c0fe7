//! Who calls, and what it sent: before any question is read.

use aegis_core::agent::Agent;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::super::answer::{self, ApiError};
use super::super::{ApiState, guard};
use super::{BODY_LIMIT, BODY_TIME, Decisions, ROOM_TIME};
use crate::identify::{Credential, Rejected};

const TOKEN: HeaderName = HeaderName::from_static("aegis-token");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The agent whose token came with the request, and that token.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) agent: Agent,
    pub(super) credential: Credential,
}

impl Caller {
    /// The credential to ask for `subject` with.
    pub(super) fn asking_for(&self, subject: String) -> Credential {
        Credential::OnBehalf { caller: Box::new(self.credential.clone()), subject }
    }

    /// Whether it may act for this agent, now: it is that agent, or an enforcement point for it.
    pub(super) fn speaks_for(&self, state: &ApiState, agent: &str) -> bool {
        agent == self.agent.id || state.identify.verify(&self.asking_for(agent.to_owned()), Timestamp::now()).is_ok()
    }
}

/// Lets agents through; everybody else is refused, and that is on record.
pub(super) async fn agents_only(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let credential = credential(request.headers());
    match state.identify.verify(&credential, Timestamp::now()) {
        Ok(agent) => {
            request.extensions_mut().insert(Caller { agent, credential });
            next.run(request).await
        }
        Err(Rejected(reason)) => {
            guard::rejected(&state, guard::client(&request), request.headers(), &format!("identity: {reason}")).await
        }
    }
}

/// `Authorization: Bearer`, or `Aegis-Token`.
fn credential(headers: &HeaderMap) -> Credential {
    let mut tokens = headers.get_all(TOKEN).iter();
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => {
            token.to_str().map_or(Credential::Malformed, |token| Credential::Bearer(token.to_owned()))
        }
        (Some(_), Some(_)) => Credential::Malformed,
        (None, _) => match guard::bearer(headers) {
            Ok(Some(token)) => Credential::Bearer(token.to_owned()),
            Ok(None) => Credential::Missing,
            Err(()) => Credential::Malformed,
        },
    }
}

/// Gives a caller's `X-Request-ID` back, whatever the answer (AuthZEN 1.0, §10.1.3).
pub(super) async fn echo_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The JSON body of a request, and the room that it takes until it is answered.
pub(super) async fn body(
    decisions: &Decisions,
    request: Request<Body>,
) -> Result<(Bytes, OwnedSemaphorePermit), ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::bad_request("Content-Type has to be application/json"));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let size = length.unwrap_or(BODY_LIMIT).min(BODY_LIMIT);
    let permits = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
    let room = timeout(ROOM_TIME, decisions.0.room.clone().acquire_many_owned(permits)).await;
    let room = room.ok().and_then(Result::ok).ok_or_else(|| ApiError::unavailable("no room for another body"))?;
    let slow = |_| ApiError::bad_request(format!("the body didn't come within {} seconds", BODY_TIME.as_secs()));
    let body = timeout(BODY_TIME, answer::read(request, &())).await.map_err(slow)??;
    Ok((body, room))
}
