//! Refusals in MCP's terms: of a tool's call a result that a model reads, of another request a JSON-RPC error; of what isn't a
//! request, or has no identity, an HTTP error.

use aegis_core::mcp::{Kind, Message};
use aegis_core::problem::{Code, Problem};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::{Context, hold};
use crate::answer;
use crate::enforce::AnyBody;
use crate::mcp::SESSION_RULE;
use crate::pipeline::Handled;

/// JSON-RPC's own codes.
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
/// MCP's: a header doesn't say what the body says.
const HEADER_MISMATCH: i32 = -32020;
/// Ours: policy, a human or a limit refuses the request. In the range that JSON-RPC leaves to implementations.
const REFUSED: i32 = -32003;
/// Where the problem stands in an answer's `_meta`, whatever else the answer may hold.
const PROBLEM_META: &str = "dev.aegis/problem";

/// The answer to what was not forwarded, or whose server failed.
pub(super) fn refused(handled: Handled, context: &Context) -> Response<AnyBody> {
    let explanation = handled.explanation().clone();
    let reason = explanation.reason.clone();
    let problem = answer::problem_of(&handled);
    if problem.code == Code::IdentityRejected {
        let mut response = handled.into_response();
        let challenge = format!(r#"Bearer realm="aegis", resource_metadata="{}""#, context.metadata);
        if let Ok(value) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        return response;
    }
    let (status, code) = placed(&problem, &reason, context.message());
    let mut response = match context.message() {
        Some(message) if status == StatusCode::OK => json(status, &answered(message, &problem, context)),
        _ if context.method != Method::POST => return with_status(handled.into_response(), status),
        message => {
            let id = message.filter(|message| message.kind() == Kind::Request).and_then(Message::id);
            json(status, &error(id, code, &problem))
        }
    };
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer::stamp(response.headers_mut(), &explanation);
    response
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &Value) -> Response<AnyBody> {
    let body = Full::new(Bytes::from(document.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON document that is text already.
pub(super) fn text(status: StatusCode, document: String) -> Response<AnyBody> {
    let mut response = json(status, &Value::Null);
    *response.body_mut() = Full::new(Bytes::from(document)).map_err(|never| match never {}).boxed();
    response
}

/// The answer that a server gives which can't be shown.
pub(super) fn unshown(id: Option<&Value>, detail: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": REFUSED, "message": detail}})
}

/// The answer to a request that is refused: a tool's result, else an error.
pub(super) fn answered(message: &Message, problem: &Problem, context: &Context) -> Value {
    if message.method() != Message::CALL {
        return error(message.id(), REFUSED, problem);
    }
    let mut words = format!("{}: {}. {}", problem.title, problem.detail.trim_end_matches('.'), problem.guidance);
    words.extend(hold::words(problem));
    let mut result = json!({"content": [{"type": "text", "text": words}], "isError": true});
    // Some clients hold what is structured to the tool's schema, errors too, and would show theirs instead of ours.
    let typed = context.way.as_ref().zip(message.name()).is_some_and(|(way, tool)| way.server.is_typed(tool));
    if let Some(result) = result.as_object_mut() {
        if typed {
            result.insert("_meta".to_owned(), json!({PROBLEM_META: problem}));
        } else {
            result.insert("structuredContent".to_owned(), json!(problem));
        }
        if message.is_stateless() {
            result.insert("resultType".to_owned(), "complete".into());
        }
    }
    json!({"jsonrpc": "2.0", "id": message.id(), "result": result})
}

fn error(id: Option<&Value>, code: i32, problem: &Problem) -> Value {
    let message = format!("{}: {}", problem.title, problem.detail);
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": problem}})
}

/// Which HTTP status says it, and which JSON-RPC code.
fn placed(problem: &Problem, reason: &str, message: Option<&Message>) -> (StatusCode, i32) {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    if problem.violations.iter().any(|violation| violation.rule == SESSION_RULE) {
        // What a client that still names an ended session has to be told, so that it begins another.
        return (StatusCode::NOT_FOUND, REFUSED);
    }
    match reason.strip_prefix("request: ") {
        Some("mcp_header_mismatch") => (StatusCode::BAD_REQUEST, HEADER_MISMATCH),
        Some("mcp_origin") => (StatusCode::FORBIDDEN, INVALID_REQUEST),
        Some("mcp_unknown_server") => (StatusCode::NOT_FOUND, INVALID_REQUEST),
        Some("mcp_http_method") => (StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST),
        Some("content_type") => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST),
        Some(json) if json.starts_with("json_") => (StatusCode::BAD_REQUEST, PARSE_ERROR),
        Some(_) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        None if message.is_some_and(|message| message.kind() == Kind::Request) => (StatusCode::OK, REFUSED),
        None => (status, REFUSED),
    }
}

fn with_status(mut response: Response<AnyBody>, status: StatusCode) -> Response<AnyBody> {
    if status != StatusCode::OK {
        *response.status_mut() = status;
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    }
    response
}
