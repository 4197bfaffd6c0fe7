//! Headers of one connection (RFC 9110 §7.6.1): they end here, before a call is described.

use http::Version;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use crate::hop;

/// Takes off what is about the connection, but for the `Upgrade` of a call that [`upgrades`]: the enforcer reads it.
pub(super) fn strip_connection(headers: &mut HeaderMap, upgrade: bool) {
    let protocol = headers.get(header::UPGRADE).filter(|_| upgrade).cloned();
    hop::strip(headers);
    headers.remove(header::EXPECT);
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
}

/// HTTP/2 may send a cookie's parts as headers of their own; on HTTP/1.1 they are one (RFC 9113 §8.2.3).
pub(super) fn join_cookies(head: &mut Parts) {
    if head.version != Version::HTTP_2 || head.headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        head.headers.insert(header::COOKIE, joined);
    }
}

/// Whether a request asks to upgrade: `Upgrade` alone, which `Connection` doesn't nominate, means nothing.
pub(super) fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && hop::nominated(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Whether a request asks for an upgrade that may pass.
pub(super) fn upgrades(headers: &HeaderMap) -> bool {
    asks_to_upgrade(headers) && headers.get(header::UPGRADE).is_some_and(hop::may_pass)
}
