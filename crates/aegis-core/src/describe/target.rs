//! Path and query: one spelling, or refused.
//!
//! Normalisation is RFC 3986 §6.2.2 (unreserved characters decoded, hexadecimal in upper case) and nothing more, so that
//! what is matched is what every server behind us reads. What servers read differently is [`Unreadable`]: dot segments,
//! empty segments, `;`, `\`, control characters, double encoding, text that isn't UTF-8.
//!
//! `%2F` inside a segment stays as it is here: whether it may be there is for the tool to say ([`Target::encoded_slash`]).

use http::uri::PathAndQuery;

use super::Unreadable;

/// A canonical path and query, or why the raw one can be read in two ways (`..`, `//`, `;`, `\`, `%00`…).
///
/// Idempotent. An encoded slash (`%2F`) stays: describing the request refuses it unless the tool allows it.
///
/// # Errors
/// What is ambiguous about it.
pub fn canonical_target(raw: &PathAndQuery) -> Result<PathAndQuery, Unreadable> {
    let path = raw.path();
    if !path.starts_with('/') {
        return Err(Unreadable::new("target_form", "the request target must be a path that starts with `/`"));
    }
    let mut canonical = String::with_capacity(raw.as_str().len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Unreadable::new("path_empty_segment", "the path has an empty segment (`//`)"));
        }
        canonical.push('/');
        push_canonical(segment, Part::Path, &mut canonical)?;
        check_dots(segment)?;
    }
    let pairs = raw.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        canonical.push(if index == 0 { '?' } else { '&' });
        push_canonical(pair, Part::Query, &mut canonical)?;
        decode(pair, Part::Query)?;
    }
    PathAndQuery::try_from(canonical)
        .map_err(|error| Unreadable::new("target_form", format!("the request target is malformed: {error}")))
}

/// A canonical target, taken apart and decoded.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) canonical: PathAndQuery,
    /// Decoded path segments; a trailing slash is an empty last one.
    pub(super) segments: Vec<String>,
    /// Whether a segment has an encoded slash.
    pub(super) encoded_slash: bool,
    /// Decoded query, in order.
    pub(super) query: Vec<(String, String)>,
}

impl Target {
    pub(super) fn parse(raw: &PathAndQuery) -> Result<Self, Unreadable> {
        let canonical = canonical_target(raw)?;
        let segments: Vec<String> =
            canonical.path().split('/').skip(1).map(|segment| decode(segment, Part::Path)).collect::<Result<_, _>>()?;
        let encoded_slash = segments.iter().any(|segment| segment.contains('/'));
        let query = match canonical.query() {
            Some(query) => pairs(query)?,
            None => Vec::new(),
        };
        Ok(Self { canonical, segments, encoded_slash, query })
    }
}

/// The segments of a path, decoded.
pub(crate) fn decoded_path(target: &PathAndQuery) -> Result<Vec<String>, Unreadable> {
    Target::parse(target).map(|target| target.segments)
}

/// Decodes `a=1&b=2` (query or form); `+` is a space.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Unreadable> {
    let decoded = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key, Part::Query)?, decode(value, Part::Query)?))
    });
    decoded.collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Query,
}

fn push_canonical(text: &str, part: Part, out: &mut String) -> Result<(), Unreadable> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            check_byte(byte, part)?;
            if unreserved(byte) || raw_allowed(byte, part) {
                out.push(char::from(byte))
            } else {
                push_encoded(byte, out)
            }
            at += 1;
            continue;
        }
        let decoded = escaped(bytes, at)?;
        check_byte(decoded, part)?;
        // `%252e` is a dot for a server that decodes twice. In a query values are decoded once by everybody.
        if part == Part::Path
            && decoded == b'%'
            && bytes.get(at + 3..at + 5).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        {
            return Err(Unreadable::new("path_double_encoding", "the path is percent-encoded twice"));
        }
        if unreserved(decoded) {
            out.push(char::from(decoded))
        } else {
            push_encoded(decoded, out)
        }
        at += 3;
    }
    Ok(())
}

fn push_encoded(byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.extend(HEX.get(usize::from(digit)).map(|hex| char::from(*hex)));
    }
}

fn check_byte(byte: u8, part: Part) -> Result<(), Unreadable> {
    match (byte, part) {
        (0, _) => Err(Unreadable::new("target_nul", "the request target has a NUL character")),
        (0x01..=0x1f | 0x7f, Part::Path) => {
            Err(Unreadable::new("path_control_character", "the path has a control character"))
        }
        (b'\\', Part::Path) => Err(Unreadable::new("path_backslash", "the path has a backslash")),
        (b';', Part::Path) => Err(Unreadable::new("path_semicolon", "the path has a `;`")),
        _ => Ok(()),
    }
}

/// The byte that `%xx` at `at` stands for.
fn escaped(bytes: &[u8], at: usize) -> Result<u8, Unreadable> {
    let digit = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
    match (digit(1), digit(2)) {
        (Some(high), Some(low)) => Ok(u8::try_from(high << 4 | low).unwrap_or_default()),
        _ => Err(Unreadable::new("target_escape", "the request target has a `%` without two hexadecimal digits")),
    }
}

/// RFC 3986 §2.3.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What else may stand raw (RFC 3986 §3.3, §3.4), without `;`, which some servers take as a separator.
fn raw_allowed(byte: u8, part: Part) -> bool {
    b"!$&'()*+,=:@".contains(&byte) || (part == Part::Query && b"/?".contains(&byte))
}

fn check_dots(segment: &str) -> Result<(), Unreadable> {
    if !segment.contains(['%', '.']) {
        return Ok(());
    }
    let decoded = decode(segment, Part::Path)?;
    let pieces: Vec<&str> = decoded.split('/').collect();
    if pieces.iter().any(|piece| matches!(*piece, "." | "..")) {
        return Err(Unreadable::new("path_dot_segment", "the path has a `.` or `..` segment"));
    }
    if pieces.len() > 1 && pieces.iter().any(|piece| piece.is_empty()) {
        return Err(Unreadable::new("path_empty_segment", "the path has an empty segment beside an encoded slash"));
    }
    Ok(())
}

fn decode(text: &str, part: Part) -> Result<String, Unreadable> {
    if !text.contains(['%', '+', ';']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, part) {
            (b'%', _) => {
                decoded.push(escaped(bytes, at)?);
                at += 2;
            }
            (b'+', Part::Query) => decoded.push(b' '),
            // Python before 3.10 and others separate pairs at it; Go refuses it.
            (b';', Part::Query) => {
                return Err(Unreadable::new("query_semicolon", "write `;` in a query or form as `%3B`"));
            }
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).map_err(|_| Unreadable::new("target_not_utf8", "the request target is not UTF-8"))
}
