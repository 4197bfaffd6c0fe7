//! `GET /v1/bundles/aegis`: the policies in force as a signed bundle, by OPA's bundle protocol.
//!
//! `If-None-Match` is answered with 304 when that version is still in force; with `Prefer: wait=N` only after N seconds, or
//! with the next version as soon as there is one (long polling, which the answer's media type says that we can).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::ApiState;
use super::answer::{ApiError, Id};
use crate::bundle::Served;

/// The one bundle that is served.
const BUNDLE: &str = "aegis";
/// The longest that a reader may wait, in seconds.
const MAX_WAIT: u64 = 60;
/// What tells an OPA that it may go on waiting here.
const LONG_POLLING: HeaderValue = HeaderValue::from_static("application/vnd.openpolicyagent.bundles");

/// `GET /v1/bundles/aegis`: the bundle, or 304 when the caller has this version already.
pub(super) async fn show(
    State(state): State<ApiState>,
    Id(name): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    named(&name)?;
    let wait = wait(&headers);
    let policies = (state.policies)();
    let mut served = signed(&state, &policies).await?;
    if has(&headers, &served.etag)
        && let Some(wait) = wait
    {
        let Some(_place) = state.bundles.waiter() else {
            return Err(ApiError::unavailable("too many wait for a bundle"));
        };
        state.bundles.changed(&policies, wait, || (state.policies)()).await;
        served = signed(&state, &(state.policies)()).await?;
    }
    let etag = HeaderValue::from_str(&served.etag).map_err(ApiError::unavailable)?;
    if has(&headers, &served.etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let media_type = if wait.is_some() { LONG_POLLING } else { HeaderValue::from_static("application/gzip") };
    Ok(([(header::ETAG, etag), (header::CONTENT_TYPE, media_type)], served.bytes).into_response())
}

/// `GET /v1/bundles/aegis/key`: the public key that the bundle's signature is verified with.
pub(super) async fn key(State(state): State<ApiState>, Id(name): Id) -> Result<Json<Value>, ApiError> {
    named(&name)?;
    let key = state.bundles.key();
    Ok(Json(json!({"id": key.id(), "algorithm": "ES256", "key": key.public_pem()})))
}

fn named(name: &str) -> Result<(), ApiError> {
    if name == BUNDLE { Ok(()) } else { Err(ApiError::not_found("bundle", name)) }
}

/// The bundle of these policies; made and signed where it may take its time.
async fn signed(state: &ApiState, policies: &Arc<aegis_core::policy::PolicySet>) -> Result<Served, ApiError> {
    let (bundles, policies) = (Arc::clone(&state.bundles), Arc::clone(policies));
    let made = tokio::task::spawn_blocking(move || bundles.of(&policies)).await.map_err(ApiError::unavailable)?;
    made.map_err(ApiError::unavailable)
}

/// How long the caller would wait: `wait=N` in `Prefer` (RFC 7240), which OPA sends as `modes=snapshot,delta;wait=N`.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut waits = preferences.flat_map(|list| list.split([',', ';'])).filter_map(|preference| {
        let (name, seconds) = preference.split_once('=')?;
        let seconds: u64 = name.trim().eq_ignore_ascii_case("wait").then(|| seconds.trim().parse().ok())??;
        (seconds > 0).then(|| Duration::from_secs(seconds.min(MAX_WAIT)))
    });
    waits.next()
}

/// Whether the caller has what this tag is of, by the weak comparison of RFC 9110 §13.1.2.
fn has(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}
