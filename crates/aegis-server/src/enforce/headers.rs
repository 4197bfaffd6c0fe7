//! Which headers go on, and which end here (RFC 9110 §7.6.1).

use std::collections::HashSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection, whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What `Connection` can't nominate away: the message would mean something else than what was decided on.
const NOT_NOMINATED: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Headers that never pass a gateway: Aegis's own, proxies' credentials, and what a client says about proxies.
const OWN: [&str; 4] = ["aegis-", "proxy-", "x-forwarded-", "http2-settings"];

/// What an agent could prove itself with, or act as another with, next to the credential that Aegis injects.
const CREDENTIALS: [&str; 12] = [
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
    "impersonate-",
    "x-remote-",
];

/// Takes off everything that is about one connection, and Aegis's own headers. For requests and answers.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    let nominated: HashSet<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !NOT_NOMINATED.contains(name))
        .collect();
    remove(headers, |name| {
        nominated.contains(name) || HOP_BY_HOP.contains(name) || OWN.iter().any(|own| name.as_str().starts_with(own))
    });
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

/// The one protocol that `Upgrade` names, if it is one that may pass: h2c never does.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let name = value.as_bytes();
    (name.eq_ignore_ascii_case(b"websocket") || name.eq_ignore_ascii_case(b"spdy/3.1")).then(|| value.clone())
}

/// The length that a request declares; `None` when it declares none. Duplicates and nonsense don't get this far.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
