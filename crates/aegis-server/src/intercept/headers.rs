//! Headers of one connection (RFC 9110 §7.6.1): they end here, before a call is described.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::EXPECT,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What `Connection` can't nominate away: without them the message would mean something else than what its sender wrote.
const NOT_NOMINATED: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
];

/// Takes off what is about the connection, but for the `Upgrade` of a call that [`upgrades`]: the enforcer reads it.
pub(super) fn strip_connection(headers: &mut HeaderMap, upgrade: bool) {
    let nominated: Vec<HeaderName> = nominated(headers).filter_map(|name| name.parse().ok()).collect();
    let protocol = headers.get(header::UPGRADE).filter(|_| upgrade).cloned();
    for name in nominated.iter().filter(|name| !NOT_NOMINATED.contains(name)).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Whether a request asks to upgrade: `Upgrade` alone, which `Connection` doesn't nominate, means nothing.
pub(super) fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && nominated(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Whether a request asks for an upgrade that may pass.
pub(super) fn upgrades(headers: &HeaderMap) -> bool {
    asks_to_upgrade(headers) && headers.get(header::UPGRADE).is_some_and(may_pass)
}

/// Whether this upgrade is one that may pass.
pub(super) fn may_pass(protocol: &HeaderValue) -> bool {
    [&b"websocket"[..], b"SPDY/3.1"].iter().any(|known| protocol.as_bytes().eq_ignore_ascii_case(known))
}

fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}
