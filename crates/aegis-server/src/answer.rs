//! What a client is told: the explanation of a decision as an HTTP answer, in the shape that the tool's clients print.
//!
//! Invariant: every answer that passed a decision bears `Aegis-Decision`, `Aegis-Decision-Id` and `Aegis-Policy-Version`,
//! ours and nobody else's. Deliberately absent: reasons that aren't in the explanation.

use aegis_core::decide::Explanation;
use aegis_core::describe::DenyShape;
use aegis_core::problem::{Code, Problem};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};

use crate::enforce::{AnyBody, Failure};
use crate::pipeline::Handled;

mod git;
mod own;
#[cfg(test)]
mod tests;

/// What was done with the call: `allow`, `deny` or `approval_needed`.
pub const DECISION: HeaderName = HeaderName::from_static("aegis-decision");
/// In shadow mode: what would have been done.
pub const WOULD_DECISION: HeaderName = HeaderName::from_static("aegis-would-decision");
/// The id that leads to the record and the span.
pub const DECISION_ID: HeaderName = HeaderName::from_static("aegis-decision-id");
/// The version of the policies that decided.
pub const POLICY_VERSION: HeaderName = HeaderName::from_static("aegis-policy-version");

/// The most characters of a reason in the status line: proxies and clients bound that line.
const REASON_LENGTH: usize = 300;

/// How a caller is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The shape that its client prints.
    pub shape: DenyShape,
    /// It came to the proxy: a failed identity is 407 (RFC 9110 §15.5.8), not 401.
    pub proxied: bool,
    /// It asked with HEAD: no body.
    pub head_only: bool,
}

/// The upstream's answer, stamped. Aegis's own header names are Aegis's: the upstream's are taken off.
pub fn passed(mut response: Response<AnyBody>, explanation: &Explanation) -> Response<AnyBody> {
    stamp(response.headers_mut(), explanation);
    response
}

/// The answer to a call that may pass and isn't forwarded from here.
pub fn admitted(explanation: &Explanation) -> Response<AnyBody> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    stamp(response.headers_mut(), explanation);
    response
}

/// The answer to a call that is not forwarded.
pub fn refusal(explanation: &Explanation, form: Form) -> Response<AnyBody> {
    let mut problem = explanation.problem().unwrap_or_else(|| internal(explanation));
    if problem.code == Code::BadRequest {
        problem.status = own_status(&explanation.reason).as_u16();
    }
    answer(problem, explanation, form)
}

/// The problem that a call ended in.
pub(crate) fn problem_of(handled: &Handled) -> Problem {
    match handled {
        Handled::Failed { explanation, failure, .. } => failure_problem(explanation, failure.clone()),
        other => other.explanation().problem().unwrap_or_else(|| internal(other.explanation())),
    }
}

/// The answer to a call that was admitted and whose upstream failed.
pub fn failed(explanation: &Explanation, failure: Failure, form: Form) -> Response<AnyBody> {
    answer(failure_problem(explanation, failure), explanation, form)
}

fn failure_problem(explanation: &Explanation, failure: Failure) -> Problem {
    let (code, status, detail) = match failure {
        Failure::Unreachable(detail) | Failure::NotSent(detail) => {
            (Code::UpstreamFailed, StatusCode::BAD_GATEWAY, detail)
        }
        Failure::TimedOut(detail) => (Code::UpstreamFailed, StatusCode::GATEWAY_TIMEOUT, detail),
        Failure::BodyBroke(detail) => (Code::BadRequest, StatusCode::BAD_REQUEST, detail),
    };
    let mut problem = explanation.problem_with(code, detail);
    problem.status = status.as_u16();
    problem
}

/// A problem of the connection itself, which no decision was asked about.
pub fn undecided(status: StatusCode, detail: &str) -> Response<AnyBody> {
    let title = status.canonical_reason().unwrap_or_default();
    let document = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let mut response = Response::new(body(&document));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// The status that HTTP itself has for some of what makes a bad request, by the reason in the explanation.
fn own_status(reason: &str) -> StatusCode {
    // What is counted with others says so behind it.
    let reason = reason.split(';').next().unwrap_or_default();
    match reason.strip_prefix("request: ").unwrap_or_default() {
        "head_too_large" | "too_many_headers" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "target_too_long" => StatusCode::URI_TOO_LONG,
        "version" => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "content_charset" | "content_encoding" | "content_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A refusal without a code: that is our mistake, and it stays a refusal.
fn internal(explanation: &Explanation) -> Problem {
    explanation.problem_with(Code::GatewayUnavailable, "the call was refused without a reason".to_owned())
}

fn answer(mut problem: Problem, explanation: &Explanation, form: Form) -> Response<AnyBody> {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if problem.code == Code::IdentityRejected {
        challenge(&mut headers, &mut problem, form.proxied);
    }
    let (media_type, text) = match &form.shape {
        DenyShape::Problem => ("application/problem+json", document(&problem).to_string()),
        DenyShape::KubernetesStatus => ("application/json", kubernetes_status(&problem).to_string()),
        DenyShape::Git(Some(pushed)) if matches!(problem.code, Code::PolicyViolation | Code::ApprovalNeeded) => {
            // Of any other status git's client says the number and nothing else.
            problem.status = StatusCode::OK.as_u16();
            (git::REPORT, git::report(pushed, &problem))
        }
        DenyShape::Text | DenyShape::Git(_) => ("text/plain", spoken(&problem) + "\n"),
        DenyShape::Own(shape) => {
            for (name, text) in &shape.headers {
                let (name, text) = (HeaderName::from_bytes(name.as_bytes()), own::header(text, &problem));
                // Both were looked at when the tool was loaded.
                if let (Ok(name), Ok(text)) = (name, HeaderValue::from_str(&text)) {
                    headers.insert(name, text);
                }
            }
            (shape.media_type.as_str(), own::body(shape, &problem))
        }
    };
    // The only one that isn't a constant was looked at when the tool was loaded.
    let media_type = HeaderValue::from_str(media_type);
    headers.insert(CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    if problem.status == StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16() {
        // RFC 9110 §12.5.3: what would have been taken.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, identity"));
    }
    stamp(&mut headers, explanation);
    let body = if form.head_only { Empty::new().map_err(|never| match never {}).boxed() } else { full(text) };
    let mut response = Response::new(body);
    let in_status_line = form.proxied || matches!(&form.shape, DenyShape::Own(shape) if shape.status_line);
    if let Some(phrase) = in_status_line.then(|| reason_phrase(&problem)).flatten() {
        response.extensions_mut().insert(phrase);
    }
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    *response.headers_mut() = headers;
    response
}

/// What clients print that show no more of a refusal than one text.
fn spoken(problem: &Problem) -> String {
    let asked =
        problem.approval.as_ref().map(|approval| format!(" The request is {}.", approval.id)).unwrap_or_default();
    format!("{}: {}. {}{asked}", problem.title, problem.detail.trim_end_matches('.'), problem.guidance)
}

/// The reason in the status line: of a refused tunnel, many clients show nothing else; twine and pip never do.
fn reason_phrase(problem: &Problem) -> Option<ReasonPhrase> {
    let text = format!("{}: {}", problem.title, problem.detail);
    let printable = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    ReasonPhrase::try_from(printable.take(REASON_LENGTH).collect::<String>()).ok()
}

/// How to prove an identity (RFC 9110 §11.6.1 and §11.7.1).
fn challenge(headers: &mut HeaderMap, problem: &mut Problem, proxied: bool) {
    let bearer = HeaderValue::from_static(r#"Bearer realm="aegis""#);
    if proxied {
        problem.status = StatusCode::PROXY_AUTHENTICATION_REQUIRED.as_u16();
        headers.append(PROXY_AUTHENTICATE, bearer);
        headers.append(PROXY_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="aegis""#));
    } else {
        headers.append(WWW_AUTHENTICATE, bearer);
    }
}

/// Says what was decided, in headers that are ours and nobody else's.
pub(crate) fn stamp(headers: &mut HeaderMap, explanation: &Explanation) {
    let would = explanation.would_decision.map(|would| would.as_str());
    for (name, value) in [
        (DECISION, Some(explanation.decision.as_str())),
        (WOULD_DECISION, would),
        (DECISION_ID, Some(explanation.decision_id.as_str())),
        (POLICY_VERSION, Some(explanation.policy_version.as_str())),
    ] {
        headers.remove(&name);
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
}

fn document(problem: &Problem) -> Value {
    serde_json::to_value(problem).expect("a problem has string keys and finite numbers only")
}

/// A Kubernetes `Status` (meta/v1) whose message kubectl prints. The problem's members stand beside its own, but for
/// `status` and `code`, which Kubernetes has another meaning for; the code is the `title` too.
fn kubernetes_status(problem: &Problem) -> Value {
    let causes: Vec<Value> = problem
        .violations
        .iter()
        .map(|violation| {
            let field = violation.param.as_deref().unwrap_or_default();
            json!({"reason": violation.rule, "message": violation.message, "field": field})
        })
        .collect();
    let mut status = document(problem);
    let own = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": spoken(problem),
        "reason": kubernetes_reason(problem.status),
        "details": {"causes": causes, "retryAfterSeconds": problem.retry_after.unwrap_or(0)},
        "code": problem.status,
    });
    if let (Value::Object(status), Value::Object(own)) = (&mut status, own) {
        status.extend(own);
    }
    status
}

/// The `StatusReason` that Kubernetes' own API server gives with a status.
fn kubernetes_reason(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 | 407 => "Unauthorized",
        403 => "Forbidden",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}

fn body(document: &Value) -> AnyBody {
    full(document.to_string())
}

fn full(text: String) -> AnyBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed()
}
