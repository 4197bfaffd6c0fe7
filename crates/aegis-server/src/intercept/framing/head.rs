//! A request's head (RFC 9112 §3 and §5), checked whole: its lines, its target's characters, and what says where its body
//! ends.

use http::Uri;

use super::{Length, Malformed};

/// The most header lines that hyper takes.
const FIELDS: usize = 100;
/// The longest target that `http` takes is a little under 64 KiB.
const TARGET: usize = 32 * 1024;

/// What a head says about where its message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: Length,
    /// It asks for another protocol, or for a tunnel.
    pub(super) switches: bool,
}

/// Where the head at the front of `bytes` ends: after its empty line. `scanned` bytes are known to hold no end.
///
/// One empty line before the head is part of it (RFC 9112 §2.2).
pub(super) fn end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, Malformed> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    // Three bytes back: the end may have been cut in any place.
    let mut at = scanned.saturating_sub(3);
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')))
    {
        at += found;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") if at >= start && bytes.get(at + 2..at + 4) == Some(b"\r\n") => return Ok(Some(at + 4)),
            Some(b"\r\n") if at == start && start == 2 => {
                return Err(Malformed::new("empty_lines", "the request begins with empty lines"));
            }
            Some(b"\r\n") => at += 2,
            // A line feed whose CR is before `at`: of a line end that was looked at before.
            Some(_) | None if bytes.get(at) == Some(&b'\n') && at > 0 && bytes.get(at - 1) == Some(&b'\r') => at += 1,
            None if bytes.get(at) == Some(&b'\r') => return Ok(None),
            Some(_) | None => return Err(LINE_END),
        }
    }
    Ok(None)
}

const LINE_END: Malformed = Malformed::new("line_end", "a line ends with CR or LF alone: lines end with CR LF");

/// The line at the front of `bytes`, without its end; `None` while that isn't there.
pub(super) fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(bytes.get(..at)),
        None if bytes.get(at) == Some(&b'\r') => Ok(None),
        Some(_) | None => Err(LINE_END),
    }
}

/// Checks a whole head, its empty line included.
pub(super) fn check(head: &[u8]) -> Result<Head, Malformed> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let (first, mut rest) = split(head)?;
    let Start { bodiless, connect, http_1_0 } = request_line(first)?;
    let (mut length, mut chunked, mut switches, mut count) = (None, false, connect, 0);
    loop {
        let (line, after) = split(rest)?;
        if line.is_empty() {
            break;
        }
        rest = after;
        count += 1;
        if count > FIELDS {
            return Err(Malformed::with_status(431, "too_many_headers", "the request has more than 100 header lines"));
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Malformed::new("content_length", "Content-Length is there twice"));
            }
            length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") || http_1_0 {
                let message = "the only transfer coding taken is one `chunked`, on HTTP/1.1";
                return Err(Malformed::new("transfer_encoding", message));
            }
            chunked = true;
        } else if resembles_framing(name) {
            let message =
                "the name of a header resembles Content-Length or Transfer-Encoding, and some take it for that";
            return Err(Malformed::new("header_resembles", message));
        }
        switches |= name.eq_ignore_ascii_case(b"upgrade");
    }
    let length = match (length, chunked) {
        (Some(_), true) => {
            let message = "the request has both Content-Length and Transfer-Encoding";
            return Err(Malformed::new("length_and_coding", message));
        }
        (length, false) => Length::Known(length.unwrap_or(0)),
        (None, true) => Length::Chunked,
    };
    if bodiless && length != Length::Known(0) {
        let message = "this method has no body: some servers would take it for the next request";
        return Err(Malformed::new("body_undefined", message));
    }
    Ok(Head { length, switches })
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let line = line(bytes)?.ok_or(LINE_END)?;
    Ok((line, bytes.get(line.len() + 2..).unwrap_or_default()))
}

struct Start {
    /// A body has no meaning with this method (RFC 9110 §9.3), and no client of ours sends one.
    bodiless: bool,
    connect: bool,
    http_1_0: bool,
}

/// `METHOD SP target SP HTTP/1.1`, with exactly these spaces.
fn request_line(line: &[u8]) -> Result<Start, Malformed> {
    let malformed = Malformed::new("request_line", "the request line is not `METHOD target HTTP/1.1`");
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
        return Err(malformed);
    }
    let http_1_0 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        other if other.starts_with(b"HTTP/") => {
            let message = "this version of HTTP is not taken here: use HTTP/1.1";
            return Err(Malformed::with_status(505, "version", message));
        }
        _ => return Err(malformed),
    };
    if target.len() > TARGET {
        return Err(Malformed::with_status(414, "target_too_long", "the request's target is too long"));
    }
    // A fragment is the client's own (RFC 3986 §3.5); `http` would drop it in silence.
    if !target.iter().all(|byte| matches!(byte, b'!'..=b'~') && *byte != b'#') {
        let message = "the request's target has a character that no target has: percent-encode it";
        return Err(Malformed::new("target_characters", message));
    }
    if Uri::try_from(target).is_err() {
        return Err(Malformed::new("target", "the request's target is malformed"));
    }
    Ok(Start { bodiless: matches!(method, b"GET" | b"HEAD" | b"TRACE"), connect: method == b"CONNECT", http_1_0 })
}

/// A header line: name and value, the blanks around the value taken off.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(Malformed::new("header_folded", "a header is folded over two lines"));
    }
    let malformed = Malformed::new("header_name", "a header line is not `name: value`");
    let colon = line.iter().position(|byte| *byte == b':').ok_or(malformed)?;
    let (name, value) = line.split_at_checked(colon).ok_or(malformed)?;
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(malformed);
    }
    let value = trimmed(value.get(1..).unwrap_or_default());
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Malformed::new("header_value", "a header's value has a control character"));
    }
    Ok((name, value))
}

/// `;name` or `;name=value`, any number of them (RFC 9112 §7.1.1, without the blanks that it calls bad). They mean nothing
/// to us; where they end must be beyond doubt.
pub(super) fn are_extensions(mut rest: &[u8]) -> bool {
    let token = |bytes: &[u8]| bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
    while let [b';', after @ ..] = rest {
        let name = token(after);
        rest = after.get(name..).unwrap_or_default();
        let value = match rest {
            [b'=', b'"', text @ ..] => quoted(text).map(|length| length + 2),
            [b'=', text @ ..] => Some(token(text)).filter(|length| *length > 0).map(|length| length + 1),
            _ => Some(0),
        };
        let (true, Some(length)) = (name > 0, value) else { return false };
        rest = rest.get(length..).unwrap_or_default();
    }
    rest.is_empty()
}

/// How long a quoted text is whose first quote is read, the last one included.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if matches!(text.get(at + 1)?, b'\t' | b' '..=b'~') => at += 2,
            b'\t' | b' '..=b'~' => at += 1,
            _ => return None,
        }
    }
}

fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let malformed = Malformed::new("content_length", "Content-Length is no number");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|length| *length < u64::MAX / 2)
        .ok_or(malformed)
}

/// Whether a name is a framing header's but for its punctuation: `Content_Length`, `Transfer.Encoding`.
fn resembles_framing(name: &[u8]) -> bool {
    let is = |known: &[u8]| {
        let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        letters.map(u8::to_ascii_lowercase).eq(known.iter().copied())
    };
    is(b"contentlength") || is(b"transferencoding")
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
