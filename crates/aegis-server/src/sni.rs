//! The server name of a ClientHello against the host that was decided on.

use std::net::IpAddr;

/// Whether a ClientHello may be for `host`, which is canonical: it names exactly that, and it may only leave its name out where
/// the host is an IP address, which has no place in it (RFC 6066 §3).
///
/// What an encrypted ClientHello names inside can't be seen; this is its outer name.
pub(crate) fn agrees(named: Option<&str>, host: &str) -> bool {
    match named {
        Some(name) => name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host),
        None => host.parse::<IpAddr>().is_ok(),
    }
}
