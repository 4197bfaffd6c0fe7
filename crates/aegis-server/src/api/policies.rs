//! The policies in force, as a summary and as an OPA bundle.

use std::sync::Arc;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, PolicySet};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{ApiError, Id, problem};
use super::{ApiState, OPERATOR};

/// The one bundle that is served.
const BUNDLE: &str = "aegis";

/// `GET /v1/policies`.
pub(super) async fn show(State(state): State<ApiState>) -> Json<Value> {
    Json(summary(&(state.policies)(), &(state.refused)()))
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

/// `GET /v1/bundles/aegis` (OPA's bundle protocol): the bundle, or 304 when the caller has this version already.
pub(super) async fn bundle(
    State(state): State<ApiState>,
    Id(name): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if name != BUNDLE {
        return Err(ApiError::not_found("bundle", &name));
    }
    let policies = (state.policies)();
    let etag = format!("\"{}\"", policies.version());
    let etag_value = HeaderValue::from_str(&etag).map_err(ApiError::unavailable)?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|list| list.split(',')).any(|tag| matches_etag(tag.trim(), &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag_value)]).into_response());
    }
    let bytes = tokio::task::spawn_blocking(move || policies.bundle(policies.publication())).await.map_err(ApiError::unavailable)?;
    let media_type = HeaderValue::from_static("application/gzip");
    Ok(([(header::ETAG, etag_value), (header::CONTENT_TYPE, media_type)], bytes).into_response())
}

/// The weak comparison of RFC 9110 §13.1.2.
fn matches_etag(tag: &str, etag: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}
