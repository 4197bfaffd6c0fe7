//! The policies in force, as an OPA bundle.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::ApiState;
use super::answer::{ApiError, Id};

/// The one bundle that is served.
const BUNDLE: &str = "aegis";

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
