//! How a client of gRPC is refused: in its own words, as an answer of trailers only, whose message its library shows.

use aegis_core::decide::Explanation;
use aegis_core::problem::{Code, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, Version, request};
use http_body_util::{BodyExt as _, Empty};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::answer;
use crate::enforce::{AnyBody, Failure, is_grpc};
use crate::pipeline::Handled;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The media types of gRPC-Web; an answer without a body is the same in all of them.
const WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
/// What doesn't stand for itself in a message.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The media type by which a request of gRPC or gRPC-Web is answered; `None` for another. gRPC itself is spoken over HTTP/2 only.
pub(super) fn asks(head: &request::Parts) -> Option<HeaderValue> {
    let kind = head.headers.get(CONTENT_TYPE)?;
    let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if WEB.iter().any(|web| essence.eq_ignore_ascii_case(web.as_bytes())) {
        return Some(kind.clone());
    }
    (head.version == Version::HTTP_2 && is_grpc(&head.headers)).then(|| HeaderValue::from_static("application/grpc"))
}

/// The answer to a call of gRPC, in its media type.
pub(super) fn answer(handled: Handled, kind: HeaderValue) -> Response<AnyBody> {
    match &handled {
        Handled::Refused { explanation, .. } => match explanation.problem() {
            Some(problem) => refusal(&problem, explanation, kind),
            None => handled.into_response(),
        },
        Handled::Failed { explanation, failure, .. } => {
            let problem = explanation.problem_with(Code::UpstreamFailed, failure.to_string());
            let late = matches!(failure, Failure::TimedOut(_));
            told(&problem, if late { "4" } else { "13" }, explanation, kind)
        }
        Handled::Forwarded { .. } | Handled::Admitted { .. } => handled.into_response(),
    }
}

fn refusal(problem: &Problem, explanation: &Explanation, kind: HeaderValue) -> Response<AnyBody> {
    let status = match problem.code {
        Code::BadRequest => "3",
        Code::RateLimited | Code::BudgetExceeded | Code::TooLarge => "8",
        Code::UpstreamFailed => "13",
        Code::GatewayUnavailable => "14",
        Code::IdentityRejected => "16",
        _ => "7",
    };
    told(problem, status, explanation, kind)
}

fn told(problem: &Problem, status: &'static str, explanation: &Explanation, kind: HeaderValue) -> Response<AnyBody> {
    let words = format!("{}: {}. {}", problem.title, problem.detail.trim_end_matches('.'), problem.guidance);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(STATUS, HeaderValue::from_static(status));
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(&words, ENCODED).to_string()) {
        headers.insert(MESSAGE, message);
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    answer::stamp(&mut headers, explanation);
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.headers_mut() = headers;
    response
}
