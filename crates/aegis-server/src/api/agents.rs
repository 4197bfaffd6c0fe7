//! Agents, their API keys and their tokens.

use std::time::Duration;

use aegis_store::{AgentEntry, KeyEntry};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{ApiError, Body, Id};
use super::{ApiState, OPERATOR};
use crate::identify::{ApiKey, MAX_TOKEN_TTL};

/// An agent to register.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAgent {
    id: String,
    #[serde(default)]
    groups: Vec<String>,
}

/// An API key to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    expires_at: Option<Timestamp>,
}

/// A token to issue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    ttl_seconds: Option<u64>,
}

/// A key as it is shown once, with what is kept of it.
#[derive(Serialize)]
struct ShownKey {
    key: String,
    #[serde(flatten)]
    entry: KeyEntry,
}

/// A token to revoke: itself, or its id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    jti: Option<String>,
    token: Option<String>,
}

/// `GET /v1/agents`.
pub(super) async fn list(State(state): State<ApiState>) -> Json<Value> {
    Json(json!({"agents": state.store.agents()}))
}

/// `POST /v1/agents`.
pub(super) async fn add(State(state): State<ApiState>, Body(agent): Body<NewAgent>) -> Result<Response, ApiError> {
    let entry = state.store.add_agent(&agent.id, agent.groups, OPERATOR).await?;
    created(Json(&entry))
}

/// `GET /v1/agents/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Id(id): Id) -> Result<Json<AgentEntry>, ApiError> {
    state.store.agent(&id).map(Json).ok_or_else(|| ApiError::not_found("agent", &id))
}

/// `DELETE /v1/agents/{id}`: its keys and tokens are worthless from now on.
pub(super) async fn remove(State(state): State<ApiState>, Id(id): Id) -> Result<StatusCode, ApiError> {
    state.store.remove_agent(&id, OPERATOR).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/agents/{id}/suspend`: the kill switch.
pub(super) async fn suspend(State(state): State<ApiState>, Id(id): Id) -> Result<Json<AgentEntry>, ApiError> {
    Ok(Json(state.store.suspend_agent(&id, OPERATOR).await?))
}

/// `POST /v1/agents/{id}/resume`.
pub(super) async fn resume(State(state): State<ApiState>, Id(id): Id) -> Result<Json<AgentEntry>, ApiError> {
    Ok(Json(state.store.resume_agent(&id, OPERATOR).await?))
}

/// `GET /v1/agents/{id}/keys`: never the keys themselves.
pub(super) async fn keys(State(state): State<ApiState>, Id(id): Id) -> Result<Json<Value>, ApiError> {
    let entry = state.store.agent(&id).ok_or_else(|| ApiError::not_found("agent", &id))?;
    Ok(Json(json!({"keys": state.store.keys(Some(&entry.id))})))
}

/// `POST /v1/agents/{id}/keys`: the one time that the key is shown.
pub(super) async fn add_key(
    State(state): State<ApiState>,
    Id(id): Id,
    Body(wanted): Body<NewKey>,
) -> Result<Response, ApiError> {
    if wanted.expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(ApiError::bad_request("expires_at is in the past"));
    }
    let key = ApiKey::generate()?;
    let entry = state.store.add_key(&id, key.hash, &key.id, wanted.expires_at, OPERATOR).await?;
    created(Json(&ShownKey { key: key.text, entry }))
}

/// `DELETE /v1/keys/{id}`.
pub(super) async fn revoke_key(State(state): State<ApiState>, Id(id): Id) -> Result<Json<KeyEntry>, ApiError> {
    Ok(Json(state.store.revoke_key(&id, OPERATOR).await?))
}

/// `POST /v1/agents/{id}/tokens`: recorded before it is handed out.
pub(super) async fn issue(
    State(state): State<ApiState>,
    Id(id): Id,
    Body(wanted): Body<NewToken>,
) -> Result<Response, ApiError> {
    let ttl = wanted.ttl_seconds.map(Duration::from_secs);
    let issued = state.identify.issue(&id, ttl, Timestamp::now())?;
    state.store.record_operation(OPERATOR, "token.issue", &format!("{} for {id}", issued.jti)).await?;
    created(Json(&issued))
}

/// `POST /v1/tokens/revoke`, by the token or by its `jti`.
pub(super) async fn revoke_token(
    State(state): State<ApiState>,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Value>, ApiError> {
    let (jti, expires_at) = match (revocation.jti, revocation.token) {
        (Some(jti), None) if jti.starts_with("tok_") && jti.len() <= 64 => {
            // Without the token its end isn't known, but it is no later than this.
            let now = Timestamp::now();
            (jti, now.checked_add(MAX_TOKEN_TTL).map_err(ApiError::unavailable)?)
        }
        (None, Some(token)) => {
            let inspected = state.identify.inspect(&token);
            let inspected = inspected.map_err(|_| ApiError::bad_request("token: not one that was issued here"))?;
            (inspected.jti, inspected.expires_at)
        }
        _ => return Err(ApiError::bad_request("give either token, or jti: an id like tok_…")),
    };
    state.store.revoke_token(&jti, expires_at, OPERATOR).await?;
    Ok(Json(json!({"jti": jti, "revoked": true})))
}

/// 201 with what was made. It may hold a secret, so nothing may keep it.
fn created(document: Json<&impl Serialize>) -> Result<Response, ApiError> {
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, document).into_response())
}
