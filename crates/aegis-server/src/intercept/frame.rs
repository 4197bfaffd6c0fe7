//! The frame guard: a message that two parties could delimit or address differently is refused, not repaired.
//!
//! hyper has refused before: malformed request lines and header lines, folded lines, unequal or malformed lengths, a
//! transfer coding on HTTP/1.0 or without `chunked` at its end. Of a length beside a coding it drops the length, frames
//! by the coding, and closes the connection after (RFC 9112 §6.3).

use aegis_core::describe::Unreadable;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use super::{headers, unreadable};
use crate::hop;

/// Checks what every request has to keep, whatever its form.
pub(crate) fn check(head: &Parts) -> Result<(), Unreadable> {
    method(&head.method)?;
    framing(head)?;
    host(head)?;
    credential(head)?;
    upgrade(head)
}

/// TRACE answers with the request as it arrived, the credential that Aegis adds included (RFC 9110 §9.3.8).
/// Methods are case-sensitive (RFC 9110 §9.1): `get` isn't GET, and which one an upstream takes it for isn't known.
fn method(method: &Method) -> Result<(), Unreadable> {
    if matches!(method.as_str(), "TRACE" | "TRACK") {
        let message = "TRACE would send back what Aegis proves itself with";
        return Err(unreadable("method", message));
    }
    if method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Ok(());
    }
    Err(unreadable("method", "the method is not in capital letters"))
}

/// NTLM and Negotiate prove a connection. Connections to upstreams are shared, so the next agent would be who this one is.
fn credential(head: &Parts) -> Result<(), Unreadable> {
    let schemes = head.headers.get_all(AUTHORIZATION).iter().map(|value| value.as_bytes());
    let of_connection = |value: &[u8]| {
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        [&b"ntlm"[..], b"negotiate"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    };
    if schemes.into_iter().any(of_connection) {
        let message = "NTLM and Negotiate prove a connection and not a request; connections are shared here";
        return Err(unreadable("connection_credential", message));
    }
    Ok(())
}

/// A server that is no proxy takes a path (RFC 9112 §3.2.1), and nothing else.
pub(crate) fn origin_form(head: &Parts) -> Result<(), Unreadable> {
    let absolute = head.version < Version::HTTP_2 && head.uri.scheme().is_some();
    if absolute || head.method == Method::CONNECT || !head.uri.path().starts_with('/') {
        return Err(unreadable("target_form", "this is no proxy: the request's target must be a path"));
    }
    Ok(())
}

fn framing(head: &Parts) -> Result<(), Unreadable> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !chunked || head.version != Version::HTTP_11 {
            return Err(unreadable(
                "transfer_encoding",
                "the only transfer coding taken is one `chunked`, on HTTP/1.1",
            ));
        }
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(unreadable("content_length", "Content-Length is there twice"));
    }
    let digits = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    if length.is_some_and(|length| !digits(length.as_bytes())) {
        return Err(unreadable("content_length", "Content-Length is no number"));
    }
    let has_body = head.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0");
    if head.method == Method::CONNECT && has_body {
        return Err(unreadable("connect_body", "CONNECT has no body"));
    }
    Ok(())
}

/// Exactly one `Host` (HTTP/1.0 and HTTP/2 may leave it out), well formed, and the same as the target's authority.
fn host(head: &Parts) -> Result<(), Unreadable> {
    let named = one_host(&head.headers)?;
    match (named, head.uri.authority()) {
        (None, _) if head.version == Version::HTTP_11 => Err(unreadable("host_missing", "the request has no Host")),
        (None, _) => Ok(()),
        (Some(host), None) => authority(host).map(|_| ()),
        (Some(host), Some(target)) => {
            let default = match head.uri.scheme_str() {
                Some("http") => Some(80),
                _ => Some(443),
            };
            let (host, target) = (authority(host)?, authority(target.as_str())?);
            let same = host.0.eq_ignore_ascii_case(target.0) && host.1.or(default) == target.1.or(default);
            if same { Ok(()) } else { Err(unreadable("host_mismatch", "Host and the request's target differ")) }
        }
    }
}

fn one_host(headers: &HeaderMap) -> Result<Option<&str>, Unreadable> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(unreadable("host_duplicate", "Host is there twice"));
    }
    host.to_str().map(Some).map_err(|_| unreadable("host_malformed", "Host is malformed"))
}

/// `host`, `host:port` or `[v6]:port`, in parts (RFC 9112 §3.2.3 without user info; an empty or zero port is refused).
pub(super) fn authority(text: &str) -> Result<(&str, Option<u16>), Unreadable> {
    let malformed = || unreadable("authority", "the authority is not `host` or `host:port`");
    let end = match text.find(']') {
        Some(end) if text.starts_with('[') => end + 1,
        Some(_) => return Err(malformed()),
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(end).ok_or_else(malformed)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let literal = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let well_formed = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(literal),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    if !well_formed {
        return Err(malformed());
    }
    if rest.is_empty() {
        return Ok((host, None));
    }
    let digits = rest.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(malformed()),
    }
}

/// The upgrades that may pass, one at a time and without a body. An h2c offer is ignored, as RFC 9110 §7.8 allows: some
/// clients make it with every plain request.
fn upgrade(head: &Parts) -> Result<(), Unreadable> {
    if !headers::asks_to_upgrade(&head.headers) {
        return Ok(());
    }
    let protocols: Vec<_> = head.headers.get_all(UPGRADE).iter().collect();
    let allowed =
        matches!(protocols.as_slice(), [one] if hop::may_pass(one) || one.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if !allowed || head.version != Version::HTTP_11 {
        return Err(unreadable("upgrade", "the only upgrades taken are websocket and SPDY/3.1, on HTTP/1.1"));
    }
    Ok(())
}
