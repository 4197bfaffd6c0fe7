//! Which headers go on, and which end here (RFC 9110 §7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::hop;

/// Headers that never pass a gateway: Aegis's own, proxies' credentials, and what a client says about proxies.
const OWN: [&str; 3] = ["aegis-", "proxy-", "x-forwarded-"];

/// gRPC's media type.
const GRPC: &[u8] = b"application/grpc";

/// What an agent could prove itself with, or act as another with, next to the credential that Aegis injects.
const CREDENTIALS: [&str; 17] = [
    "authorization",
    "cookie",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-auth-token",
    "x-vault-token",
    "private-token",
    "job-token",
    "deploy-token",
    "x-serverless-authorization",
    "x-ms-authorization-auxiliary",
    "x-goog-iam-authorization-token",
    "x-consul-token",
    "x-jfrog-art-api",
    "impersonate-",
    "x-remote-",
];

/// Takes off everything that is about one connection, and Aegis's own headers. For requests and answers.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    hop::strip(headers);
    remove(headers, |name| OWN.iter().any(|own| name.as_str().starts_with(own)));
}

/// Takes off what a request may not tell an upstream; `authenticated` when Aegis proves itself there.
pub(super) fn strip_request(headers: &mut HeaderMap, authenticated: bool) {
    strip_connection(headers);
    remove(headers, |name| {
        name == header::EXPECT
            || name == header::FORWARDED
            || name == header::HOST
            || name == header::CONTENT_LENGTH
            || name == "traceparent"
            || name == "tracestate"
            || (authenticated && CREDENTIALS.iter().any(|known| is_or_starts(name, known)))
    });
}

/// Whether tools take this header for what proves who calls, or for whom.
pub(crate) fn is_credential(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| CREDENTIALS.iter().any(|known| is_or_starts(&name, known)))
}

/// Whether it is a call of gRPC, which is spoken over HTTP/2 (gRPC-Web isn't).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = kind.get(..GRPC.len()).filter(|start| start.eq_ignore_ascii_case(GRPC)).and(kind.get(GRPC.len()..));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The one protocol that `Upgrade` names, if it is one that may pass: h2c never does.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    hop::may_pass(value).then(|| value.clone())
}

/// The length that a request declares; `None` when it declares none. Duplicates and nonsense don't get this far.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What an answer says about where it ends: nothing, one length in digits, or one `chunked`. hyper takes more than that, and
/// would pass on a length that isn't the one that it read by.
///
/// # Errors
/// That it says it in two ways, in words for callers and records.
pub(super) fn check_answer(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let (length, another) = (lengths.next(), lengths.next());
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let (coding, another_coding) = (codings.next(), codings.next());
    match (length, coding) {
        (Some(_), Some(_)) => Err("it says both a length and a transfer coding"),
        _ if another.is_some() || length.is_some_and(|length| !digits(length)) => Err("its length is not one number"),
        _ if another_coding.is_some()
            || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) =>
        {
            Err("its transfer coding is not one `chunked`")
        }
        _ => Ok(()),
    }
}

/// Many servers take `_` for `-` in a header's name (CGI does).
fn is_or_starts(name: &HeaderName, known: &str) -> bool {
    let name = name.as_str().replace('_', "-");
    if known.ends_with('-') { name.starts_with(known) } else { name == known }
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
