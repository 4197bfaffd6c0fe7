//! The same over HTTP, on the API's port: `/v1/ext_authz/WORDS/…` for Envoy's HTTP service, where `…` is the path that Envoy was
//! asked for, and `/v1/authorize?WORDS` for proxies that tell of a request in headers (nginx, Caddy, Traefik, HAProxy). WORDS are
//! the operator's (see `stated`); `-` is none.
//!
//! 200 is yes, with headers for the client; anything else is no. Envoy takes 5xx for a failure, which it may be told to pass,
//! and nginx knows 401 and 403 only: they get nothing else. No form can be told to change a call.

use std::borrow::Cow;

use aegis_core::describe::Unreadable;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as WireBody;
use serde_json::Value;

use super::super::{body, unreadable};
use super::body::Sent;
use super::check::PARTIAL_BODY;
use super::forwarded::{self, Told};
use super::original::Original;
use super::rewrite::Reach;
use super::stated::Stated;
use super::{Checked, ExtAuthz};
use crate::answer;
use crate::enforce::AnyBody;
use crate::events::upstream_span;
use crate::pipeline::Handled;

/// What paths of Envoy's HTTP service begin with.
const ENVOY: &str = "/v1/ext_authz/";
const AUTHORIZE: &str = "/v1/authorize";
/// Where Envoy takes the names of headers that it must not send on.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// The refusal's document, for nginx, which forgets bodies; and how long it may be, since a head has to fit in nginx's buffer.
const PROBLEM: HeaderName = HeaderName::from_static("aegis-problem");
const LONGEST_PROBLEM: usize = 2048;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Where Envoy says by which scheme it was called. It always does: without it, it doesn't send the headers at all.
const SCHEME: &str = "x-forwarded-proto";

/// Who asks, as far as the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Envoy,
    Nginx,
    Other,
}

impl ExtAuthz {
    /// Whether a request to the API's port is one of these.
    pub(crate) fn takes(path: &str) -> bool {
        path.starts_with(ENVOY) || path == AUTHORIZE
    }

    /// Answers one.
    pub(crate) async fn answer(&self, request: Request<WireBody>) -> Response<AnyBody> {
        let (original, via, asker) = match request.uri().path().strip_prefix(ENVOY) {
            Some(rest) => {
                let (words, path) = rest.find('/').and_then(|end| rest.split_at_checked(end)).unwrap_or((rest, "/"));
                let target = request.uri().query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
                let words = if words == "-" { String::new() } else { words.to_owned() };
                (self.of_envoy(request, &words, target), "ext_authz", Asker::Envoy)
            }
            None => self.of_headers(request),
        };
        match self.decide(original, via, Reach::Nothing).await {
            Ok(checked) => respond(checked, asker).await,
            Err(error) => {
                tracing::error!(%error, "a check ended without an answer");
                answer::undecided(StatusCode::FORBIDDEN, "The gateway failed to decide this call.")
            }
        }
    }

    fn of_envoy(&self, request: Request<WireBody>, words: &str, target: String) -> Original {
        let (mut head, wire) = request.into_parts();
        let whole = whole(&mut head.headers);
        let host = taken(&mut head.headers, &HOST);
        let scheme = taken(&mut head.headers, &HeaderName::from_static(SCHEME));
        head.headers.remove(CONTENT_LENGTH);
        let message = "Envoy doesn't send the headers of the call: set allowed_headers to all of them";
        let wrong = scheme.is_none().then(|| unreadable("headers_not_sent", message));
        Original {
            method: head.method,
            version: head.version,
            scheme: scheme.unwrap_or_default(),
            host: host.unwrap_or_default(),
            target,
            headers: head.headers,
            body: self.sent(wire, whole),
            wrong,
            stated: stated(words),
        }
    }

    fn of_headers(&self, request: Request<WireBody>) -> (Original, &'static str, Asker) {
        let (mut head, wire) = request.into_parts();
        let words = head.uri.query().unwrap_or_default().to_owned();
        let (told, wrong) = match forwarded::read(&mut head.headers) {
            Ok(told) => (told, None),
            Err(unreadable) => (Told::default(), Some(unreadable)),
        };
        // Of this request, not of the one that is asked about.
        head.headers.remove(HOST);
        head.headers.remove(CONTENT_LENGTH);
        let asker = if told.by_nginx { Asker::Nginx } else { Asker::Other };
        let original = Original {
            method: told.method,
            version: head.version,
            scheme: told.scheme,
            host: told.host,
            target: told.target,
            headers: head.headers,
            body: self.sent(wire, Some(false)),
            wrong,
            stated: stated(&words),
        };
        (original, "authorize", asker)
    }

    fn sent(&self, wire: WireBody, whole: Option<bool>) -> Sent {
        match whole {
            None => Sent::Part,
            Some(whole) => Sent::Stream { body: body::guarded(wire, self.intercept.pace, false), whole },
        }
    }
}

/// Envoy's word on the body; `None` where it is a part.
fn whole(headers: &mut HeaderMap) -> Option<bool> {
    let words: Vec<HeaderValue> = headers.get_all(PARTIAL_BODY).iter().cloned().collect();
    headers.remove(PARTIAL_BODY);
    match words.as_slice() {
        [] => Some(false),
        [word] if word == "false" => Some(true),
        _ => None,
    }
}

/// The one value of a header, taken off.
fn taken(headers: &mut HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let one =
        values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none()).map(str::to_owned);
    headers.remove(name);
    one
}

fn stated(words: &str) -> Result<Stated, Unreadable> {
    let words: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(words.as_bytes()).collect();
    Stated::read(words.iter().map(|(word, value)| (word.as_ref(), value.as_ref())))
}

async fn respond(checked: Checked, asker: Asker) -> Response<AnyBody> {
    let Checked { handled, held, trace } = checked;
    let admitted = matches!(handled, Handled::Admitted { .. });
    let parent = trace.traceparent(upstream_span(&handled.explanation().decision_id));
    let mut response = handled.into_response();
    if !admitted {
        return told(response, asker).await;
    }
    let ours = (asker == Asker::Envoy && !held.ours.is_empty()).then(|| held.ours.join(","));
    for (name, value) in [(TRACEPARENT, Some(parent)), (TO_REMOVE, ours)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A refusal by a status that the asker takes for one; its document says the same.
async fn told(response: Response<AnyBody>, asker: Asker) -> Response<AnyBody> {
    let status = response.status();
    let kept = match asker {
        Asker::Envoy => !status.is_server_error(),
        Asker::Nginx => matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
        Asker::Other => true,
    };
    let (mut head, body) = response.into_parts();
    // Ours are in memory; without it the status says no all the same.
    let mut bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if !kept || status.is_success() {
        head.status = StatusCode::FORBIDDEN;
        head.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/problem+json"));
        let document = serde_json::from_slice(&bytes).map(restated);
        bytes = document.map_or(bytes, |document| Bytes::from(document.to_string()));
    }
    if asker == Asker::Nginx
        && let Some(problem) = serde_json::from_slice(&bytes).ok().and_then(in_a_header)
    {
        head.headers.insert(PROBLEM, problem);
    }
    Response::from_parts(head, Full::new(bytes).map_err(|never| match never {}).boxed())
}

/// The status is `status` of a problem, and `code` of a Kubernetes `Status`.
fn restated(mut document: Value) -> Value {
    for key in ["status", "code"] {
        if let Some(status) = document.get_mut(key).filter(|value| value.is_number()) {
            *status = StatusCode::FORBIDDEN.as_u16().into();
        }
    }
    document
}

/// A document in one line of ASCII, without its longest members where it would be too long.
fn in_a_header(mut document: Value) -> Option<HeaderValue> {
    let escaped = |document: &Value| {
        document.to_string().chars().fold(String::new(), |mut text, character| {
            if character.is_ascii() {
                text.push(character);
            } else {
                let mut units = [0; 2];
                text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            text
        })
    };
    for member in ["", "violations", "details", "message", "guidance", "detail"] {
        document.as_object_mut()?.remove(member);
        let text = escaped(&document);
        if text.len() <= LONGEST_PROBLEM {
            return HeaderValue::try_from(text).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_in_a_header_is_ascii_json_and_not_too_long() {
        let problem = json!({"title": "PolicyViolation", "detail": "gr\u{fc}n \u{1f600}\n", "violations": [{"message": "x".repeat(9000)}]});
        let header = in_a_header(problem.clone()).expect("a header");
        let back: Value = serde_json::from_slice(header.as_bytes()).expect("JSON");
        assert_eq!(
            (&back["title"], &back["detail"], back.get("violations")),
            (&problem["title"], &problem["detail"], None)
        );
        assert_eq!(in_a_header(json!({"title": "x".repeat(9000)})), None);
        assert_eq!(in_a_header(json!("text")), None);
    }

    #[test]
    fn a_restated_document_says_the_status_that_it_comes_with() {
        let problem = restated(json!({"status": 429, "code": "RateLimited"}));
        assert_eq!(problem, json!({"status": 403, "code": "RateLimited"}));
        let status = restated(json!({"kind": "Status", "status": "Failure", "code": 429}));
        assert_eq!(status, json!({"kind": "Status", "status": "Failure", "code": 403}));
    }
}
