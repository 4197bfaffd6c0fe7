//! Bodies of several parts (RFC 2046, RFC 7578), each rewritten as what it is. The framing is read strictly: what two readers could
//! split at different places is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Unredactable;
use super::payload::{Rewriter, refuse};

/// Most parts, and most headers of one.
const PARTS: usize = 1000;
const HEADERS: usize = 16;

fn broken(why: &str) -> Unredactable {
    refuse("body_format", format!("the body's parts can't be told apart: {why}"))
}

/// The body with its parts rewritten; `None` when nothing changes.
pub(super) fn rewrite(rewriter: &mut Rewriter<'_>, kind: &str, body: &Bytes) -> Result<Option<Bytes>, Unredactable> {
    let boundary = boundary(kind).ok_or_else(|| broken("its type names no boundary"))?;
    let mut rewritten = Vec::with_capacity(body.len());
    let mut changed = false;
    for part in parts(body, &boundary)? {
        let head = body.slice(part.head.clone());
        let content = body.slice(part.content.clone());
        let clean = self::part(rewriter, &head, &content)?;
        changed |= clean.is_some();
        rewritten.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        rewritten.extend_from_slice(&head);
        rewritten.extend_from_slice(&clean.unwrap_or(content));
        rewritten.extend_from_slice(b"\r\n");
    }
    rewritten.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(changed.then(|| Bytes::from(rewritten)))
}

/// A parameter of a header's value.
fn param(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|param| {
        let (key, value) = param.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn boundary(kind: &str) -> Option<String> {
    param(kind, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()) && boundary.is_ascii())
}

struct Part {
    /// With the empty line behind it.
    head: std::ops::Range<usize>,
    content: std::ops::Range<usize>,
}

fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, Unredactable> {
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut at = first.len();
    if !body.starts_with(first.as_bytes()) {
        return Err(broken("something stands before the first"));
    }
    let mut parts = Vec::new();
    loop {
        match body.get(at..).unwrap_or_default() {
            rest if rest.starts_with(b"\r\n") => at += 2,
            b"--" | b"--\r\n" => return Ok(parts),
            _ => return Err(broken("a boundary isn't followed by a line")),
        }
        let rest = body.get(at..).unwrap_or_default();
        let head = if rest.starts_with(b"\r\n") {
            2
        } else {
            memchr::memmem::find(rest, b"\r\n\r\n").map_or(0, |end| end + 4)
        };
        let content = at + head;
        let end = body.get(content..).and_then(|rest| memchr::memmem::find(rest, next.as_bytes()));
        let end = end.ok_or_else(|| broken("the last has no end"))?;
        if head == 0 || parts.len() == PARTS {
            return Err(broken("one has no head, or there are too many"));
        }
        parts.push(Part { head: at..content, content: content..content + end });
        at = content + end + next.len();
    }
}

fn part(rewriter: &mut Rewriter<'_>, head: &[u8], content: &Bytes) -> Result<Option<Bytes>, Unredactable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let parsed = httparse::parse_headers(head, &mut headers).map_err(|_| broken("a head can't be read"))?;
    let httparse::Status::Complete((_, headers)) = parsed else { return Err(broken("a head isn't whole")) };
    let mut value_of = |name: &str| -> Result<Option<String>, Unredactable> {
        let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(broken("a head says something twice")),
            (Some(header), None) => {
                let text = std::str::from_utf8(header.value).map_err(|_| broken("a head is no text"))?;
                rewriter.name(text)?;
                Ok(Some(text.to_owned()))
            }
        }
    };
    let disposition = value_of("content-disposition")?.unwrap_or_default();
    let kind = value_of("content-type")?.unwrap_or_else(|| "text/plain".to_owned());
    let encoding = value_of("content-transfer-encoding")?.unwrap_or_default().to_ascii_lowercase();
    let field = param(&disposition, "name").unwrap_or_default();
    match encoding.as_str() {
        "" | "7bit" | "8bit" | "binary" => rewriter.content(Some(&kind), content, &field),
        "base64" => {
            let letters: Vec<u8> = content.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
            let decoded = STANDARD.decode(letters).map_err(|_| broken("one isn't in the encoding that it names"))?;
            let clean = rewriter.content(Some(&kind), &Bytes::from(decoded), &field)?;
            Ok(clean.map(|clean| {
                let lines: Vec<String> = STANDARD
                    .encode(clean)
                    .as_bytes()
                    .chunks(76)
                    .map(|line| String::from_utf8_lossy(line).into_owned())
                    .collect();
                Bytes::from(lines.join("\r\n"))
            }))
        }
        _ => Err(broken("one has an encoding that isn't read")),
    }
}
