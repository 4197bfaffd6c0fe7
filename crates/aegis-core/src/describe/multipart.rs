//! `multipart/form-data` (RFC 7578), strictly: what some server would take apart in another way is [`Unreadable`].
//!
//! Invariants: nothing before the first boundary or after the last; a boundary's text stands nowhere else at the start of a line;
//! a part has one `Content-Disposition` with one name, at most one `Content-Type`, and no other header. Own code: readers made
//! for servers are streams, and take what they are given kindly.

use std::collections::BTreeSet;

use memchr::memmem;
use serde_json::{Map, Value, json};

use super::Unreadable;
use super::body::names_another_charset;
use super::pointer::fold;
use crate::call::Digest;

const MOST_PARTS: usize = 1000;
const MOST_HEAD: usize = 8 * 1024;
const MOST_BOUNDARY: usize = 70;

/// One field, or one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) file: Option<String>,
    pub(super) content: &'a [u8],
}

impl Part<'_> {
    /// A field's text.
    pub(super) fn text(&self) -> Result<&str, Unreadable> {
        std::str::from_utf8(self.content).map_err(|_| malformed(format!("the field {:?} is not UTF-8", self.name)))
    }

    /// SHA-256 of its bytes.
    pub(super) fn digest(&self) -> String {
        Digest::of(self.content).to_string()
    }
}

fn malformed(why: impl std::fmt::Display) -> Unreadable {
    Unreadable::new("multipart_malformed", format!("the multipart body can't be read: {why}"))
}

/// As one flat object: texts, and `{filename, digest}` for files. A name that stands twice is refused.
pub(super) fn form(content_type: &str, body: &[u8]) -> Result<Value, Unreadable> {
    let (mut map, mut seen) = (Map::new(), BTreeSet::new());
    for part in parts(content_type, body)? {
        if !seen.insert(fold(&part.name)) {
            let message = format!("the form's field {:?} stands twice", part.name);
            return Err(Unreadable::new("form_duplicate_field", message));
        }
        let value = match &part.file {
            Some(name) => json!({"filename": name, "digest": part.digest()}),
            None => part.text()?.into(),
        };
        map.insert(part.name, value);
    }
    Ok(Value::Object(map))
}

/// All parts, in order.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, Unreadable> {
    let boundary = boundary(content_type)?;
    let line = [b"--", boundary.as_bytes()].concat();
    let delimiter = [b"\r\n", line.as_slice()].concat();
    let mut rest = body.strip_prefix(line.as_slice()).ok_or_else(|| malformed("it doesn't start with its boundary"))?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            let ended = end.is_empty() || end == b"\r\n";
            return if ended { Ok(parts) } else { Err(malformed("something follows its end")) };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or_else(|| malformed("a boundary is not alone in its line"))?;
        if parts.len() == MOST_PARTS {
            return Err(malformed(format!("it has more than {MOST_PARTS} parts")));
        }
        let head = memmem::find(rest.get(..MOST_HEAD.min(rest.len())).unwrap_or_default(), b"\r\n\r\n");
        let (head, after) = head.map(|at| rest.split_at(at)).ok_or_else(|| malformed("a part's head has no end"))?;
        let after = after.get(4..).unwrap_or_default();
        let end = memmem::find(after, &delimiter).ok_or_else(|| malformed("a part has no end"))?;
        let (content, next) = after.split_at(end);
        let ambiguous =
            content.starts_with(&line) || memmem::find(content, &[b"\n", line.as_slice()].concat()).is_some();
        if ambiguous {
            return Err(malformed("a boundary stands in a part, for those who take a lone line feed for a line's end"));
        }
        parts.push(part(head, content)?);
        rest = next.get(delimiter.len()..).unwrap_or_default();
    }
}

/// RFC 2046 §5.1.1, without the space.
fn boundary(content_type: &str) -> Result<&str, Unreadable> {
    let mut found = content_type.split(';').skip(1).map(str::trim).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    });
    let (Some(value), None) = (found.next(), found.next()) else { return Err(malformed("it has no one boundary")) };
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if value.is_empty() || value.len() > MOST_BOUNDARY || !value.bytes().all(allowed) {
        return Err(malformed("its boundary is none"));
    }
    Ok(value)
}

fn part<'a>(head: &[u8], content: &'a [u8]) -> Result<Part<'a>, Unreadable> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("a part's head is not UTF-8"))?;
    if head.chars().any(|c| c.is_control() && c != '\r' && c != '\n') || head.replace("\r\n", "").contains(['\r', '\n'])
    {
        return Err(malformed("a part's head has a control character"));
    }
    let (mut named, mut typed) = (None, false);
    for line in head.split("\r\n") {
        // A folded line starts with a space, and has no name.
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a line of a part's head is no header"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if named.is_none() => named = Some(disposition(value.trim())?),
            "content-type" if !typed => {
                typed = true;
                if names_another_charset(value) {
                    return Err(Unreadable::new("content_charset", "send every field in UTF-8"));
                }
            }
            _ => return Err(malformed(format!("a part has the header {name:?}, or has it twice"))),
        }
    }
    let (name, file) = named.ok_or_else(|| malformed("a part has no Content-Disposition"))?;
    if name.is_empty() || name == "_charset_" || name.contains(['%', '\\']) {
        return Err(malformed(format!("{name:?} is no field's name that everybody reads alike")));
    }
    Ok(Part { name, file, content })
}

/// `form-data; name="a"; filename="b"`.
fn disposition(value: &str) -> Result<(String, Option<String>), Unreadable> {
    let bad = || malformed("a Content-Disposition is not `form-data; name=\"…\"`, with at most a filename");
    let mut rest = value.strip_prefix("form-data").ok_or_else(bad)?;
    let (mut name, mut file) = (None, None);
    while !rest.is_empty() {
        let parameter = rest.trim_start().strip_prefix(';').ok_or_else(bad)?.trim_start();
        let (key, after) = parameter.split_once("=\"").ok_or_else(bad)?;
        // A quote or a backslash in it is written in several ways.
        let (text, after) = after.split_once('"').ok_or_else(bad)?;
        let place = match key {
            "name" => &mut name,
            "filename" => &mut file,
            _ => return Err(bad()),
        };
        if text.contains('\\') || place.replace(text.to_owned()).is_some() {
            return Err(bad());
        }
        rest = after;
    }
    Ok((name.ok_or_else(bad)?, file))
}

#[cfg(test)]
mod tests;
