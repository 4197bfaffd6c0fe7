//! Headers that are about one connection, and end with it (RFC 9110 §7.6.1): taken off before a call is described, and once
//! more from what is sent on and from what comes back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection, whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What `Connection` can't nominate away: without them the message would mean something else than what was decided on.
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

/// Takes off what is about the connection.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = nominated(headers).filter_map(|name| name.parse().ok()).collect();
    for name in nominated.iter().filter(|name| !NOT_NOMINATED.contains(name)).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What `Connection` names, as it is written.
pub(crate) fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether an upgrade to this protocol may pass: h2c never does.
pub(crate) fn may_pass(protocol: &HeaderValue) -> bool {
    [&b"websocket"[..], b"SPDY/3.1"].iter().any(|known| protocol.as_bytes().eq_ignore_ascii_case(known))
}
