//! The API's errors, as problem documents; and reading bodies so that a bad one is such an error too.

use aegis_store::StoreError;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::identify::IdentifyError;

/// An error, as it is answered: a code that clients branch on, what happened, and what to do.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    guidance: &'static str,
}

impl ApiError {
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        let guidance = "Correct the request; nothing was changed.";
        Self { status: StatusCode::BAD_REQUEST, code: "BadRequest", detail: detail.into(), guidance }
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        let guidance = "Call the API from a program, not from a page in a browser.";
        Self { status: StatusCode::FORBIDDEN, code: "Forbidden", detail: detail.into(), guidance }
    }

    pub(super) fn not_found(what: &str, id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "NotFound",
            detail: format!("there is no {what} {id:?}"),
            guidance: match what {
                "agent" => "`aegis agent list` (GET /v1/agents) says which there are.",
                "approval" => "`aegis approvals list --status all` (GET /v1/approvals) says which there are.",
                "policy version" => "`aegis policy list` (GET /v1/policies) says which there are.",
                _ => "List what there is, and use an id from there.",
            },
        }
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        let guidance = "Look at it as it stands now, then decide anew.";
        Self { status: StatusCode::CONFLICT, code: "Conflict", detail: detail.into(), guidance }
    }

    /// A conflict whose detail says what to do.
    pub(super) fn unchanged(detail: impl Into<String>) -> Self {
        Self { guidance: "Nothing was changed.", ..Self::conflict(detail) }
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        let guidance = "Send less.";
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: "TooLarge", detail: detail.into(), guidance }
    }

    /// Ours. The cause goes to the log, not to the caller.
    pub(super) fn unavailable(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request to the API failed");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "GatewayUnavailable",
            detail: "the gateway can't do this now".to_owned(),
            guidance: "Try again later; the gateway's log says why.",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        problem(
            self.status,
            json!({
                "type": type_uri(self.code),
                "title": self.code,
                "status": self.status.as_u16(),
                "code": self.code,
                "detail": self.detail,
                "guidance": self.guidance,
                "retryable": self.status == StatusCode::SERVICE_UNAVAILABLE,
            }),
        )
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { kind, id } => Self::not_found(kind, &id),
            StoreError::BadName(_) => Self::bad_request(error.to_string()),
            StoreError::Exists { .. } | StoreError::Approval(_) => Self::conflict(error.to_string()),
            other => Self::unavailable(other),
        }
    }
}

impl From<IdentifyError> for ApiError {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Unregistered(id) => Self::not_found("agent", &id),
            IdentifyError::Suspended(_) => Self::conflict(error.to_string()),
            IdentifyError::Ttl(_) => Self::bad_request(error.to_string()),
            other => Self::unavailable(other),
        }
    }
}

/// A problem document with this status. Never cached: it is about this request.
pub(super) fn problem(status: StatusCode, document: serde_json::Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, document.to_string()).into_response()
}

/// The code in kebab case, as for [`aegis_core::problem::Code::type_uri`].
fn type_uri(code: &str) -> String {
    let mut uri = String::from("https://aegis.dev/problems");
    for letter in code.chars() {
        if letter.is_ascii_uppercase() {
            uri.push(if uri.ends_with("problems") { '/' } else { '-' });
        }
        uri.push(letter.to_ascii_lowercase());
    }
    uri
}

/// 404 for a path that isn't there.
pub(super) async fn not_found(request: Request) -> ApiError {
    ApiError::not_found("resource", request.uri().path())
}

/// 405 for a method that a path doesn't have. axum adds `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> ApiError {
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "MethodNotAllowed",
        detail: format!("{} has no method {}", request.uri().path(), request.method()),
        guidance: "Use a method that the Allow header lists.",
    }
}

/// A JSON body. An empty one is `{}`, so that what has only optional members needs none.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = read(request, state).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
    }
}

/// The query part of the URL, each name at most once.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The id in the path, decoded: an agent's may hold `/`, sent as `%2F`.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(id)| Self(id))
            .map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The whole body, within the limit.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(_) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::too_large("the body is larger than what is taken here")
        }
        other => ApiError::bad_request(other.body_text()),
    })
}
