//! What needs no operator: health, public keys, tokens for API keys; and the metrics.

use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::ApiError;
use super::{ApiState, guard};
use crate::events::METRICS_CONTENT_TYPE;
use crate::identify::{Issued, api_key_hash};
use crate::pipeline::Client;

/// The process answers; and whether the policies in force are those on disk, or of the bundle's source. What is wrong with
/// newer ones is for operators.
pub(super) async fn healthz(State(state): State<ApiState>) -> Json<Value> {
    let source = state.source.as_ref().map(|(source, _)| source.borrow().clone());
    let stale_since = source.as_ref().and_then(|source| source.stale_since);
    let refused = state.versions.is_refused()
        || !state.versions.in_force()
        || source.is_some_and(|source| source.problem.is_some());
    match stale_since {
        Some(since) => Json(json!({"status": "ok", "policies": "stale", "stale_since": since})),
        None => Json(json!({"status": "ok", "policies": if refused { "refused" } else { "current" }})),
    }
}

/// The gateway can decide and record: it has policies in force, be they the last good ones.
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    state.store.health().await.map_err(ApiError::unavailable)?;
    if !state.versions.in_force() {
        return Err(ApiError::unavailable("no policy is in force: every call is denied"));
    }
    Ok(Json(json!({"status": "ready", "policy_version": (state.policies)().version()})))
}

/// The keys that tokens are checked with (RFC 7517 §5).
pub(super) async fn jwks(State(state): State<ApiState>) -> Json<JwkSet> {
    Json(state.identify.jwks())
}

/// All metrics.
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<impl IntoResponse, ApiError> {
    let text = state.events.metrics().map_err(ApiError::unavailable)?;
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text))
}

/// A token request (RFC 6749 §4.4.2), the client's credentials in the body (§2.3.1) or in `Authorization: Basic`.
#[derive(Deserialize)]
pub(super) struct TokenRequest {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// `POST /oauth2/token`: an API key becomes a token.
pub(super) async fn token(
    State(state): State<ApiState>,
    from: Option<Extension<Client>>,
    headers: HeaderMap,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Result<Response, ApiError> {
    let request = match form {
        Ok(Form(request)) => request,
        Err(error) => return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_request", &error.body_text())),
    };
    if request.grant_type != "client_credentials" {
        let detail = "grant_type must be client_credentials, with an agent's API key as client_secret";
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", detail));
    }
    let issued = match client(&headers, request) {
        Ok((agent, key)) => grant(&state, &agent, &key)?,
        Err(reason) => Err(reason),
    };
    let now = Timestamp::now();
    match issued {
        Ok((agent, issued)) => {
            state.store.record_operation(&agent, "token.issue", &issued.jti).await?;
            let document = json!({
                "access_token": issued.token,
                "token_type": "Bearer",
                "expires_in": issued.expires_at.as_second().saturating_sub(now.as_second()),
            });
            Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(document)).into_response())
        }
        Err(reason) => {
            guard::rejected(&state, from.map(|Extension(Client(address))| address), &headers, reason).await;
            let detail = "the agent or its API key is not valid here";
            let mut response = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", detail);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="aegis""#));
            Ok(response)
        }
    }
}

/// The client's id and secret, given in exactly one way; else the reason, for the record.
fn client(headers: &HeaderMap, request: TokenRequest) -> Result<(String, String), &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next(), request.client_id, request.client_secret) {
        (None, None, Some(id), Some(secret)) => Ok((id, secret)),
        (Some(value), None, id, None) => {
            let (user, secret) = basic(value).ok_or("api_key: malformed")?;
            if id.is_some_and(|id| id != user) { Err("api_key: malformed") } else { Ok((user, secret)) }
        }
        (None, None, _, _) => Err("api_key: missing"),
        _ => Err("api_key: malformed"),
    }
}

/// Client credentials in Basic: each part is form-encoded (RFC 6749 §2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let pairs = form_urlencoded::parse(part.as_bytes()).map(|(name, _)| name.into_owned()).collect::<Vec<_>>();
        <[String; 1]>::try_from(pairs).ok().map(|[only]| only)
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    Some((decode(user)?, decode(secret)?))
}

/// A token for the holder of a key; inside, the reason why not, for the record.
fn grant(state: &ApiState, agent: &str, key: &str) -> Result<Result<(String, Issued), &'static str>, ApiError> {
    let now = Timestamp::now();
    let Some(entry) = state.store.key_by_hash(&api_key_hash(key)) else { return Ok(Err("api_key: unknown")) };
    if entry.agent != agent {
        return Ok(Err("api_key: of_another_agent"));
    }
    if !entry.good_at(now) {
        return Ok(Err(if entry.revoked_at.is_some() { "api_key: revoked" } else { "api_key: expired" }));
    }
    match state.identify.issue(agent, None, now) {
        Ok(issued) => Ok(Ok((entry.agent, issued))),
        Err(crate::identify::IdentifyError::Unregistered(_)) => Ok(Err("api_key: unregistered")),
        Err(crate::identify::IdentifyError::Suspended(_)) => Ok(Err("api_key: suspended")),
        Err(error) => Err(error.into()),
    }
}

/// An error of the token endpoint (RFC 6749 §5.2), which has a shape of its own.
fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response {
    let document = json!({"error": error, "error_description": description});
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(document)).into_response()
}
