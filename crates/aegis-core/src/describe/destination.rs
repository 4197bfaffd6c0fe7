//! The host that an agent names: one spelling, or refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::Unreadable;
use crate::call::Destination;

/// The destination that an agent names, canonical: lower case, A-label, no trailing dot, strict IP literals.
///
/// `host` is a name, a dotted quad, or an IPv6 address with or without brackets. `scheme` is `http`, `https` or `tunnel`.
///
/// # Errors
/// Odd notations (`0x7f.1`, `127.1`, `[::1%eth0]`), user info, a zero port, encoded or malformed names.
pub fn canonical_destination(scheme: &str, host: &str, port: u16) -> Result<Destination, Unreadable> {
    if !matches!(scheme, "http" | "https" | "tunnel") {
        return Err(Unreadable::new("destination_scheme", "the scheme must be http or https"));
    }
    if port == 0 {
        return Err(Unreadable::new("destination_port", "port 0 can't be reached"));
    }
    Ok(Destination { scheme: scheme.to_owned(), host: canonical_host(host)?, port })
}

fn canonical_host(host: &str) -> Result<String, Unreadable> {
    let malformed = |why: &str| Unreadable::new("destination_host", format!("the host is malformed: {why}"));
    let unbracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or(""));
    if let Some(literal) = unbracketed.or(host.contains(':').then_some(host)) {
        let address: Ipv6Addr = literal.parse().map_err(|_| malformed("this is no IPv6 address"))?;
        return Ok(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let ascii = Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Verify)
        .map_err(|_| malformed("this is no domain name"))?;
    if !ascii.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)) {
        return Err(malformed("a character that no host name has"));
    }
    // Resolvers take `127.1`, `0x7f000001` and `017700000001` for addresses; only the one plain notation passes.
    let last = ascii.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if numeric && ascii.parse::<Ipv4Addr>().is_err() {
        return Err(malformed("write an IPv4 address as four plain decimal numbers"));
    }
    Ok(ascii.into_owned())
}
