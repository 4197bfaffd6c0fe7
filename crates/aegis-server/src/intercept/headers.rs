//! Headers of one connection (RFC 9110 §7.6.1): they end here, before a call is described.

use http::header::{self, HeaderMap};

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

/// Whether a request asks to upgrade: `Upgrade` alone, which `Connection` doesn't nominate, means nothing.
pub(super) fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && hop::nominated(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Whether a request asks for an upgrade that may pass.
pub(super) fn upgrades(headers: &HeaderMap) -> bool {
    asks_to_upgrade(headers) && headers.get(header::UPGRADE).is_some_and(hop::may_pass)
}
