//! The policies in force, and loading them anew.

use std::sync::Arc;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, PolicySet};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{ApiError, problem};
use super::{ApiState, OPERATOR};

/// `GET /v1/policies`.
pub(super) async fn show(State(state): State<ApiState>) -> Json<Value> {
    let mut summary = summary(&(state.policies)(), &(state.refused)());
    if let (Some(source), Some(members)) = (&state.source, summary.as_object_mut()) {
        members.insert("source".to_owned(), json!(*source.borrow()));
    }
    Json(summary)
}

/// The policies in force, and what was wrong with newer ones.
fn summary(policies: &PolicySet, refused: &[Diagnostic]) -> Value {
    json!({
        "version": policies.version(),
        "mode": match policies.mode() { Mode::Enforce => "enforce", Mode::Shadow => "shadow" },
        "policies": policies.len(),
        "warnings": policies.warnings(),
        "refused": refused,
    })
}

/// `POST /v1/policies/reload`: reads the folder again; what is wrong with it is told, and the last good version stays.
pub(super) async fn reload(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let reload = Arc::clone(&state.reload);
    // It reads files and compiles: not on the threads that answer calls.
    let loaded = tokio::task::spawn_blocking(move || reload()).await.map_err(ApiError::unavailable)?;
    match loaded {
        Ok(policies) => {
            state.store.record_operation(OPERATOR, "policies.reload", policies.version()).await?;
            Ok(Json(summary(&policies, &[])).into_response())
        }
        Err(errors) => Ok(problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({
                "type": "https://aegis.dev/problems/policy-invalid",
                "title": "PolicyInvalid",
                "status": 422,
                "code": "PolicyInvalid",
                "detail": format!("{} errors in the policies; version {} stays in force", errors.len(), (state.policies)().version()),
                "guidance": "Correct the files at the places given, then reload.",
                "retryable": false,
                "errors": errors,
            }),
        )),
    }
}
