//! Policy versions: which is in force, and putting another one in its place.

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, Risk, Source};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, Body, Id, Params, problem};
use super::{ApiState, OPERATOR};
use crate::versions::{ChangeError, Changed, Publish, Status, Which};

/// The most bytes of policies that are taken at once.
const POLICIES_LIMIT: usize = 32 << 20;
/// The longest note or author's name, in bytes.
const MAX_NOTE: usize = 1000;

/// The endpoints.
pub(super) fn routes() -> Router<ApiState> {
    let publishing = post(publish).layer(DefaultBodyLimit::max(POLICIES_LIMIT));
    Router::new()
        .route("/v1/policies", get(list).merge(publishing))
        .route("/v1/policies/reload", post(reload))
        .route("/v1/policies/rollback", post(rollback))
        .route("/v1/policies/modes/{policy}", put(set_mode).delete(clear_mode))
        .route("/v1/policies/canary", put(start_canary).delete(stop_canary))
        .route("/v1/policies/canary/promote", post(promote_canary))
        .route("/v1/policies/{version}", get(show))
}

/// Policies to publish.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPolicies {
    sources: Vec<Source>,
    #[serde(default)]
    note: String,
    author: Option<String>,
    risk: Option<Risk>,
    #[serde(default = "yes")]
    activate: bool,
}

fn yes() -> bool {
    true
}

/// Where to go back to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    version: Option<String>,
    #[serde(default)]
    note: String,
}

/// How a policy is switched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    mode: Mode,
}

/// A canary to start: a share, or names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCanary {
    version: String,
    /// 0 to 1.
    share: Option<f64>,
    by: Option<By>,
    #[serde(default)]
    agents: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
}

/// What a share is of.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Agent,
    Call,
}

/// What to show of a version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    source: Option<bool>,
}

/// `GET /v1/policies`: what is in force, what was refused, and the versions that are kept, newest first.
async fn list(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    let mut document = summary(&state);
    let versions = state.store.policy_versions().await?;
    if let Some(document) = document.as_object_mut() {
        if let Some((source, _)) = &state.source {
            document.insert("source".to_owned(), json!(*source.borrow()));
        }
        document.insert("versions".to_owned(), json!(versions));
    }
    Ok(Json(document))
}

/// What is in force, since when, by whom, from where; what is tried beside it; what was refused and why.
fn summary(api: &ApiState) -> Value {
    let Status { state, active, refused } = api.versions.status();
    // Where nothing is in force, an empty set decides: it has a version too, under which its denials are recorded.
    let decides = (active.is_some() || api.versions.governing().is_some()).then(|| (api.policies)());
    let canary = state.canary.as_ref().map(|trial| {
        let mut canary = json!(trial);
        // Who has the key could choose names by it.
        if let Some(of) = canary.pointer_mut("/of/share_of_agents").and_then(Value::as_object_mut) {
            of.remove("key");
        }
        canary
    });
    json!({
        "version": decides.as_ref().map(|policies| policies.version()),
        "in_force": active.is_some(),
        "mode": active.as_ref().map(|policies| policies.mode()),
        "policies": active.as_ref().map_or(0, |policies| policies.len()),
        "warnings": active.as_ref().map_or(&[][..], |policies| policies.warnings()),
        "active": state.active,
        "previous": state.previous,
        "canary": canary,
        "candidate": state.candidate,
        "refused": refused.as_ref().map_or(&[][..], |refused| &refused.errors),
        "refused_at": refused.as_ref().map(|refused| refused.at),
        "refused_origin": refused.as_ref().map(|refused| refused.origin),
    })
}

/// `GET /v1/policies/{version}[?source=true]`.
async fn show(
    State(state): State<ApiState>,
    Id(version): Id,
    Params(shown): Params<Shown>,
) -> Result<Json<Value>, ApiError> {
    let (kept, _) = state.store.policy_version(&version).await?;
    let content = state.versions.content(&version).await?;
    let mut document = json!(kept);
    if let Some(document) = document.as_object_mut() {
        document.insert("modes".to_owned(), json!(content.modes()));
        document.insert("files".to_owned(), content.sources().iter().map(|source| source.file.as_str()).collect());
        if shown.source == Some(true) {
            document.insert("sources".to_owned(), json!(content.sources()));
        }
    }
    Ok(Json(document))
}

/// `POST /v1/policies`: checks, compiles, stores, and puts in force unless told not to.
async fn publish(State(state): State<ApiState>, Body(new): Body<NewPolicies>) -> Result<Response, ApiError> {
    let NewPolicies { sources, note, author, risk, activate } = new;
    let author = author.unwrap_or_else(|| OPERATOR.to_owned());
    if note.len() > MAX_NOTE || author.len() > MAX_NOTE {
        return Err(ApiError::bad_request(format!("a note and an author have at most {MAX_NOTE} bytes")));
    }
    let changed = state.versions.publish(Publish { sources, author, note, risk, activate }, OPERATOR).await;
    answer(&state, changed, if activate { StatusCode::OK } else { StatusCode::CREATED })
}

/// `POST /v1/policies/reload`: reads the folder again; what is wrong with it is told, and the last good version stays. Where
/// policies come from a bundle's URL, asks for it at once, which is answered before it has come.
async fn reload(State(state): State<ApiState>) -> Result<Response, ApiError> {
    if let Some((_, poke)) = &state.source {
        poke.notify_one();
        return Ok(Json(summary(&state)).into_response());
    }
    answer(&state, state.versions.take_folder(OPERATOR).await, StatusCode::OK)
}

/// `POST /v1/policies/rollback`: to the version named, or to the one that was in force before.
async fn rollback(State(state): State<ApiState>, Body(back): Body<Back>) -> Result<Response, ApiError> {
    if back.note.len() > MAX_NOTE {
        return Err(ApiError::bad_request(format!("a note has at most {MAX_NOTE} bytes")));
    }
    answer(&state, state.versions.rollback(back.version, back.note, OPERATOR).await, StatusCode::OK)
}

/// `PUT /v1/policies/modes/{policy}`.
async fn set_mode(
    State(state): State<ApiState>,
    Id(policy): Id,
    Body(switch): Body<Switch>,
) -> Result<Response, ApiError> {
    answer(&state, state.versions.set_mode(&policy, Some(switch.mode), OPERATOR).await, StatusCode::OK)
}

/// `DELETE /v1/policies/modes/{policy}`: back to what its file says.
async fn clear_mode(State(state): State<ApiState>, Id(policy): Id) -> Result<Response, ApiError> {
    answer(&state, state.versions.set_mode(&policy, None, OPERATOR).await, StatusCode::OK)
}

/// `PUT /v1/policies/canary`: a version for a part of the calls.
async fn start_canary(State(state): State<ApiState>, Body(new): Body<NewCanary>) -> Result<Response, ApiError> {
    let NewCanary { version, share, by, agents, groups } = new;
    let which = match (share, by, agents.is_empty() && groups.is_empty()) {
        (Some(share), None | Some(By::Agent), true) => Which::ShareOfAgents(share),
        (Some(share), Some(By::Call), true) => Which::ShareOfCalls(share),
        (None, None, false) => Which::Named { agents, groups },
        _ => return Err(ApiError::bad_request("give either a share (and by: agent or call), or agents and groups")),
    };
    answer(&state, state.versions.start_canary(&version, which, OPERATOR).await, StatusCode::OK)
}

/// `POST /v1/policies/canary/promote`: it comes into force for every call.
async fn promote_canary(State(state): State<ApiState>) -> Result<Response, ApiError> {
    answer(&state, state.versions.promote_canary(OPERATOR).await, StatusCode::OK)
}

/// `DELETE /v1/policies/canary`.
async fn stop_canary(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    state.versions.stop_canary(OPERATOR).await?;
    Ok(Json(summary(&state)))
}

/// The state after a change, with the version that it was about; or why there was none.
fn answer(state: &ApiState, changed: Result<Changed, ChangeError>, status: StatusCode) -> Result<Response, ApiError> {
    match changed {
        Ok(Changed { policies, changed }) => {
            let mut document = summary(state);
            if let Some(document) = document.as_object_mut() {
                document.insert("about".to_owned(), json!(policies.version()));
                document.insert("changed".to_owned(), json!(changed));
                document.insert("warnings".to_owned(), json!(policies.warnings()));
            }
            Ok((status, Json(document)).into_response())
        }
        Err(error) => match &error {
            ChangeError::Invalid(errors) => Ok(invalid(&state.versions.status(), &error.to_string(), errors)),
            _ => Err(error.into()),
        },
    }
}

fn invalid(status: &Status, what: &str, errors: &[Diagnostic]) -> Response {
    let stays = match &status.active {
        Some(active) => format!("version {} stays in force", active.version()),
        None => "nothing was changed".to_owned(),
    };
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        json!({
            "type": "https://aegis.dev/problems/policy-invalid",
            "title": "PolicyInvalid",
            "status": 422,
            "code": "PolicyInvalid",
            "detail": format!("{what}; {stays}"),
            "guidance": "Correct the policies at the places given, then try again.",
            "retryable": false,
            "errors": errors,
        }),
    )
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound(kind, id) => Self::not_found(kind, &id),
            ChangeError::Conflict(message) => Self::unchanged(message),
            ChangeError::Store(error) => error.into(),
            ChangeError::Invalid(_) => Self::bad_request(error.to_string()),
            ChangeError::Internal(cause) => Self::unavailable(cause),
        }
    }
}
