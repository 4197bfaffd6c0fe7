//! Access requests (AuthZEN's Access Request and Approval Profile): a denial that a human can lift becomes a task that the
//! caller waits for, and then asks again.
//!
//! The question itself has opened the approval; what is submitted here opens nothing and spends nothing, so it can be repeated.
//! Invariants: a task is for the agent that it is about and for its enforcement points, and for nobody else there; its
//! approval lets nothing through: the question that is asked again is decided anew, finds it by its digest, and spends it once.

use std::time::Duration;

use aegis_core::approval::{self, Approval, Event, State as ApprovalState};
use aegis_core::authzen::Evaluation;
use aegis_store::StoreError;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::answer::{ApiError, Id, Params, problem};
use super::super::{ApiState, guard};
use super::Decisions;
use super::caller::{self, Caller};
use crate::identify::Rejected;

/// The longest that one poll waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 256;

/// What a submission has besides the question; everything else in it is for humans elsewhere.
#[derive(Deserialize)]
struct Submission {
    denial: Option<Denial>,
    items: Option<Value>,
}

/// What the caller kept of the denial.
#[derive(Deserialize)]
struct Denial {
    binding_token: Option<String>,
    evaluation_id: Option<String>,
    expires_at: Option<Timestamp>,
}

/// Why a submission or a task is refused.
pub(super) enum Refused {
    /// By the profile's words.
    Profile(StatusCode, &'static str, &'static str),
    Other(ApiError),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Other(error) => error.into_response(),
            Self::Profile(status, name, detail) => problem(
                status,
                json!({
                    "type": format!("urn:openid:authzen:access-request:error:{name}"),
                    "title": name,
                    "status": status.as_u16(),
                    "code": name,
                    "detail": detail,
                    "guidance": "Ask for a decision again, and submit what that answer says.",
                    "retryable": false,
                }),
            ),
        }
    }
}

/// `POST /access/v1/requests`.
pub(super) async fn submit(
    State(state): State<ApiState>,
    Extension(decisions): Extension<Decisions>,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&request)?;
    let (body, _room) = caller::body(&decisions, request).await?;
    let question = Evaluation::read(&body).map_err(|error| ApiError::bad_request(error.message))?;
    let submission: Submission =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    if submission.items.is_some() {
        return Err(ApiError::bad_request("items: several questions in one request aren't taken").into());
    }
    let approval = bound(&state, &caller, &question, submission.denial).await?;
    once(&decisions, &caller, key, &body)?;
    let now = Timestamp::now();
    let document = task(&decisions, &approval, now);
    let status = if approval.state == ApprovalState::Pending { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let mut response = (status, Json(document)).into_response();
    no_store(&mut response);
    if let Ok(location) = HeaderValue::from_str(&endpoint(&decisions, &approval)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// What may be asked of a task.
#[derive(Deserialize)]
pub(super) struct Wait {
    /// Seconds.
    wait: Option<u64>,
}

/// `GET /access/v1/requests/{id}[?wait=25]`.
pub(super) async fn status(
    State(state): State<ApiState>,
    Extension(decisions): Extension<Decisions>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Params(asked): Params<Wait>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let approval = found(&state, &caller, &id).await?;
    let wait = Duration::from_secs(asked.wait.unwrap_or(0)).min(LONGEST_WAIT);
    let pending = now_of(&approval, Timestamp::now()).state == ApprovalState::Pending;
    let approval = match wait {
        wait if wait.is_zero() || !pending => approval,
        wait => {
            let approval = state.store.approval_after(&id, wait).await.map_err(ApiError::from)?;
            // It may have been withdrawn while it waited.
            if let Err(Rejected(reason)) = state.identify.verify(&caller.credential, Timestamp::now()) {
                return Ok(guard::rejected(&state, None, &headers, &format!("identity: {reason}")).await);
            }
            approval
        }
    };
    let mut response = Json(task(&decisions, &approval, Timestamp::now())).into_response();
    no_store(&mut response);
    Ok(response)
}

/// The approval of a task, if it is the caller's to see.
async fn found(state: &ApiState, caller: &Caller, id: &str) -> Result<Approval, Refused> {
    match state.store.approval(id).await {
        Ok(approval) if caller.speaks_for(state, &approval.request.agent.id) => Ok(approval),
        Ok(_) | Err(StoreError::NotFound { .. }) => {
            Err(Refused::Profile(StatusCode::NOT_FOUND, "unknown_task", "there is no such task of this agent"))
        }
        Err(error) => Err(ApiError::from(error).into()),
    }
}

/// The approval that a denial opened, if the submission is bound to it.
async fn bound(
    state: &ApiState,
    caller: &Caller,
    question: &Evaluation,
    denial: Option<Denial>,
) -> Result<Approval, Refused> {
    let unbound = |detail| Refused::Profile(StatusCode::BAD_REQUEST, "invalid_denial_binding", detail);
    let missing = "denial.binding_token and denial.expires_at have to come as the denied evaluation gave them";
    let Some(Denial { binding_token: Some(token), evaluation_id, expires_at: Some(expires_at) }) = denial else {
        return Err(unbound(missing));
    };
    let foreign = "denial.binding_token isn't one of this gateway for this agent and this question";
    let binding = state.identify.bound(&token).map_err(|_| unbound(foreign))?;
    let same = question.digest(&binding.binding_context_members).as_ref() == Some(&binding.question)
        && evaluation_id.is_none_or(|id| id == binding.evaluation_id)
        && expires_at == binding.denial_expires_at;
    if !same || !caller.speaks_for(state, &binding.sub) {
        return Err(unbound(foreign));
    }
    if binding.denial_expires_at <= Timestamp::now() {
        let detail = "nobody can be asked about this denial any more: its time has run out";
        return Err(Refused::Profile(StatusCode::GONE, "expired_denial", detail));
    }
    let approval = found(state, caller, &binding.approval).await?;
    if approval.request.agent.id == binding.sub { Ok(approval) } else { Err(unbound(foreign)) }
}

/// The key that the caller repeats a submission under.
fn idempotency_key(request: &Request<Body>) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(key) if values.next().is_none() && !key.is_empty() && key.len() <= LONGEST_KEY => Ok(Some(key.to_owned())),
        _ => Err(ApiError::bad_request("Idempotency-Key has to be one text of 1 to 256 bytes")),
    }
}

/// Refuses another body under a key that was used.
fn once(decisions: &Decisions, caller: &Caller, key: Option<String>, body: &[u8]) -> Result<(), Refused> {
    let Some(key) = key else { return Ok(()) };
    // Read strictly before, so that it says one thing; written again, so that order and spacing don't matter.
    let canonical = serde_json::from_slice::<Value>(body).map(|body| body.to_string()).unwrap_or_default();
    let digest: String = Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect();
    let first = decisions.0.keys.get_with((caller.agent.id.clone(), key), || digest.clone());
    if first == digest {
        return Ok(());
    }
    let detail = "this Idempotency-Key was used for another submission";
    Err(Refused::Profile(StatusCode::CONFLICT, "duplicate_request", detail))
}

/// The approval as time has left it.
fn now_of(approval: &Approval, now: Timestamp) -> Approval {
    approval::apply(approval, &Event::Tick, now).unwrap_or_else(|_| approval.clone())
}

fn endpoint(decisions: &Decisions, approval: &Approval) -> String {
    decisions.url(&format!("/access/v1/requests/{}", approval.id))
}

/// The task's handle, with the result once a human said yes.
fn task(decisions: &Decisions, approval: &Approval, now: Timestamp) -> Value {
    let approval = now_of(approval, now);
    let status = match approval.state {
        ApprovalState::Pending => "pending",
        // A task that was approved stays so; whether the approval still holds is its own state, and the next decision's.
        ApprovalState::Approved | ApprovalState::Spent | ApprovalState::Lapsed => "approved",
        ApprovalState::Rejected => "denied",
        ApprovalState::Expired => "expired",
        ApprovalState::Cancelled => "cancelled",
    };
    let mut document = json!({"task": {
        "id": approval.id,
        "status": status,
        "status_endpoint": endpoint(decisions, &approval),
        "expires_at": approval.request.expires_at,
        "approval": approval.info(None),
    }});
    if let (Some(comment), Some(Value::Object(task))) = (&approval.comment, document.get_mut("task")) {
        task.insert("comment".to_owned(), comment.as_str().into());
    }
    if let ("approved", Some(document)) = (status, document.as_object_mut()) {
        let result = json!({"mode": "reevaluate", "approval": {
            "id": approval.id,
            "approved_at": approval.decided_at,
            "approved_until": approval.request.expires_at,
        }});
        document.insert("result".to_owned(), result);
    }
    document
}

fn no_store(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
