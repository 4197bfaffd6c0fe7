//! A human's answers, given by an operator.

use aegis_core::approval::{Approval, State as ApprovalState};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, Body, Id, Params};
use super::{ApiState, OPERATOR};

/// The most approvals that one answer holds.
const MAX_APPROVALS: u32 = 500;

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 1000;

/// Which approvals to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    status: Option<ApprovalState>,
    limit: Option<u32>,
}

/// What the operator says about it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    comment: Option<String>,
}

impl Answer {
    fn checked(self) -> Result<Option<String>, ApiError> {
        match self.comment {
            Some(comment) if comment.len() > MAX_COMMENT => {
                Err(ApiError::bad_request(format!("a comment has at most {MAX_COMMENT} bytes")))
            }
            comment => Ok(comment),
        }
    }
}

/// `GET /v1/approvals[?status=pending]`, newest first.
pub(super) async fn list(State(state): State<ApiState>, Params(asked): Params<Asked>) -> Result<Json<Value>, ApiError> {
    let limit = asked.limit.unwrap_or(100).clamp(1, MAX_APPROVALS);
    let approvals = state.store.approvals(asked.status, limit).await?;
    Ok(Json(json!({"approvals": approvals})))
}

/// `GET /v1/approvals/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Id(id): Id) -> Result<Json<Approval>, ApiError> {
    Ok(Json(state.store.approval(&id).await?))
}

/// `POST /v1/approvals/{id}/approve`: the approval, and its one-time override token, which nobody can read again.
pub(super) async fn approve(
    State(state): State<ApiState>,
    Id(id): Id,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, ApiError> {
    let (approval, token) = state.store.approve(&id, OPERATOR, answer.checked()?).await?;
    Ok(Json(json!({"approval": approval, "override_token": token})))
}

/// `POST /v1/approvals/{id}/reject`.
pub(super) async fn reject(
    State(state): State<ApiState>,
    Id(id): Id,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, ApiError> {
    let approval = state.store.reject(&id, OPERATOR, answer.checked()?).await?;
    Ok(Json(json!({"approval": approval})))
}

/// `POST /v1/approvals/{id}/cancel`.
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Id(id): Id,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, ApiError> {
    let approval = state.store.cancel(&id, OPERATOR, answer.checked()?).await?;
    Ok(Json(json!({"approval": approval})))
}
