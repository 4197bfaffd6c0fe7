//! The same redaction in the bytes that are forwarded. What is rewritten was parsed strictly; what can't be parsed is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, uri::PathAndQuery};
use serde_json::Value;

use super::encoded::{from_utf16, to_utf16};
use super::look::{Clean, Look, drop_member, text_of};
use super::{Redaction, Texts, Unredactable, multipart};
use crate::call::{Body, HttpRequest};
use crate::describe::{INTEGRITY, is_coded, without_coding};
use crate::document;

/// The largest body that is looked through although it is compressed and nothing else has read it.
const LOOKED_THROUGH: usize = 4 << 20;

/// What frames the message, and what the agent signs in with: that is the tool's to judge, and redacted it would only be wrong.
fn stays(header: &str) -> bool {
    ["authorization", "connection", "content-length", "content-type", "cookie", "host", "transfer-encoding"]
        .contains(&header)
        || header.starts_with("aegis-")
        || header.ends_with("-key")
        || header.ends_with("-token")
}

/// Replaces `texts` wherever they stand in query, headers and body, and what `everywhere` names in any text of those. What
/// stands in the path is refused, whether it stands elsewhere too or not: the tool reads it where it likes.
pub(super) fn rewrite(
    request: &mut HttpRequest,
    texts: &Texts,
    everywhere: &Look<'_>,
    anything: &Look<'_>,
) -> Result<Vec<Redaction>, Unredactable> {
    let left = texts.keys().collect();
    let mut rewriter = Rewriter { texts, everywhere, anything, left, named: false, changed: false, found: Vec::new() };
    path(&request.target, texts, everywhere)?;
    query(request, &mut rewriter)?;
    let of_head = headers(request, &mut rewriter)?;
    let of_body = body(request, &mut rewriter)?;
    if (of_head || of_body) && INTEGRITY.iter().any(|name| request.headers.contains_key(*name)) {
        let message = "the call would have to be redacted, but it is signed: the tool would refuse the changed one";
        return Err(refuse("body_signed", message));
    }
    match (rewriter.named, rewriter.left.is_empty()) {
        (true, _) => Err(Unredactable::field_name()),
        (false, true) => Ok(rewriter.found),
        (false, false) => Err(elsewhere()),
    }
}

fn elsewhere() -> Unredactable {
    refuse("elsewhere", "what has to be redacted stands in the path, or where it can't be found again to be rewritten")
}

fn path(target: &PathAndQuery, texts: &Texts, everywhere: &Look<'_>) -> Result<(), Unredactable> {
    let segments = crate::describe::decoded_path(target).map_err(|why| refuse("path", why.message))?;
    let mut before = "";
    for text in [target.path()].into_iter().chain(segments.iter().map(AsRef::as_ref)) {
        // `/patients/943…`: what stands before a segment says what it is.
        if texts.contains_key(text) || everywhere.text(before, text)?.is_some() {
            return Err(elsewhere());
        }
        before = if text == target.path() { "" } else { text };
    }
    Ok(())
}

pub(super) fn refuse(reason: &'static str, message: impl Into<String>) -> Unredactable {
    Unredactable { reason, message: message.into() }
}

fn query(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<(), Unredactable> {
    let Some(query) = request.target.query() else { return Ok(()) };
    if let Some(rewritten) = rewriter.form("query", query.as_bytes())? {
        let path = request.target.path();
        let target = if rewritten.is_empty() { path.to_owned() } else { format!("{path}?{rewritten}") };
        request.target = PathAndQuery::try_from(target).map_err(|_| refuse("query", "the query can't be rewritten"))?;
    }
    Ok(())
}

/// Whether one was changed.
fn headers(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<bool, Unredactable> {
    rewriter.changed = false;
    let mut gone = Vec::new();
    for (name, value) in request.headers.iter_mut().filter(|(name, _)| !stays(name.as_str())) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if let Some(clean) = rewriter.text("header", name.as_str(), &text)? {
            if clean.drop {
                gone.push(name.clone());
            }
            *value = HeaderValue::from_str(&clean.text).map_err(|_| refuse("header", "a header can't be rewritten"))?;
        }
    }
    for name in gone {
        request.headers.remove(name);
    }
    Ok(rewriter.changed)
}

/// Whether it was changed.
fn body(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<bool, Unredactable> {
    let idle = rewriter.texts.is_empty() && rewriter.everywhere.is_idle();
    let mut changed = false;
    if !idle && let Body::Whole(bytes) = &request.body {
        // What is looked through is what is forwarded, whether or not anything is found in it.
        let decoded = without_coding(&mut request.headers, bytes, LOOKED_THROUGH);
        if let Some(decoded) = decoded.map_err(|why| refuse("body_encoded", why.to_string()))? {
            request.body = Body::Whole(decoded);
            changed = true;
        }
    }
    let bytes = match &request.body {
        Body::Whole(bytes) if bytes.is_empty() || idle => return Ok(false),
        Body::Whole(bytes) => bytes,
        Body::Begun(_) | Body::Streamed
            if idle || rewriter.texts.is_empty() && rewriter.everywhere.passes_unreadable() =>
        {
            return Ok(false);
        }
        Body::Begun(_) | Body::Streamed => {
            return Err(refuse(
                "body_unread",
                "the body was not read, so it can't be looked through for what must not leave",
            ));
        }
    };
    if is_coded(&request.headers) {
        return Err(refuse("body_encoded", "the body is encoded, so it can't be rewritten"));
    }
    let kind = request.headers.get(CONTENT_TYPE).map(HeaderValue::to_str).transpose();
    let kind = kind.map_err(|_| refuse("body_format", "the type of the body can't be read"))?;
    let Some(rewritten) = rewriter.content(kind, bytes, "")? else { return Ok(changed) };
    // What frames the message is written anew when it is forwarded.
    request.headers.remove(CONTENT_LENGTH);
    request.body = Body::Whole(rewritten);
    Ok(true)
}

/// How a body is read.
enum Format {
    Json,
    /// One JSON text a line.
    Lines,
    Form,
    Multipart(String),
    Yaml,
    Text,
    Other(String),
}

fn format(kind: Option<&str>) -> Format {
    let Some(kind) = kind else { return Format::Json };
    let media_type = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "" => Format::Json,
        "application/x-www-form-urlencoded" => Format::Form,
        "multipart/form-data" | "multipart/mixed" | "multipart/related" => Format::Multipart(kind.to_owned()),
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Format::Lines,
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Format::Yaml,
        "application/xml" | "application/graphql" | "application/javascript" | "application/sql" | "image/svg+xml" => {
            Format::Text
        }
        other if other == "application/json" || other.ends_with("+json") => Format::Json,
        other if other.ends_with("+yaml") => Format::Yaml,
        other if other.starts_with("text/") || other.ends_with("+xml") => Format::Text,
        _ => Format::Other(media_type),
    }
}

/// UTF-16 as it is written back: big end first, and with a mark.
type Wide = (bool, bool);

/// The text of bytes in the character set that their type names, and how it is written back.
fn decoded<'a>(kind: Option<&str>, bytes: &'a [u8]) -> Result<(Cow<'a, str>, Option<Wide>), Unredactable> {
    let charset = kind.and_then(|kind| {
        let (_, rest) = kind.split_once(';')?;
        rest.split(';').find_map(|param| {
            let (name, value) = param.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        })
    });
    let unread = || refuse("body_format", "the body isn't in the character set that its type names");
    let utf16 = |big: bool, skip: usize| {
        let text = bytes.get(skip..).and_then(|bytes| from_utf16(bytes, big)).ok_or_else(unread)?;
        Ok((Cow::Owned(text), Some((big, skip > 0))))
    };
    match (charset.as_deref(), bytes) {
        (None | Some("utf-16" | "utf-16le" | "utf-8"), [0xff, 0xfe, ..]) => utf16(false, 2),
        (None | Some("utf-16" | "utf-16be" | "utf-8"), [0xfe, 0xff, ..]) => utf16(true, 2),
        (Some("utf-16" | "utf-16be"), _) => utf16(true, 0),
        (Some("utf-16le"), _) => utf16(false, 0),
        (None | Some("utf-8" | "utf8" | "us-ascii" | "ascii" | "iso-8859-1" | "latin1" | "windows-1252"), _) => {
            std::str::from_utf8(bytes).map(|text| (text.into(), None)).map_err(|_| unread())
        }
        _ => Err(unread()),
    }
}

fn encoded(text: &str, utf16: Option<Wide>) -> Bytes {
    match utf16 {
        None => Bytes::from(text.to_owned()),
        Some((big, marked)) => {
            let mark: &[u8] = match (marked, big) {
                (false, _) => &[],
                (true, true) => &[0xfe, 0xff],
                (true, false) => &[0xff, 0xfe],
            };
            Bytes::from([mark, &to_utf16(text, big)].concat())
        }
    }
}

/// Redacts texts in place of texts, and remembers what it did.
pub(super) struct Rewriter<'a> {
    texts: &'a Texts,
    everywhere: &'a Look<'a>,
    /// What is looked for at some place or other.
    anything: &'a Look<'a>,
    /// Those of `texts` that weren't met yet.
    left: BTreeSet<&'a String>,
    /// The name of a field holds what must not leave.
    named: bool,
    changed: bool,
    /// What was redacted that no parameter holds.
    found: Vec<Redaction>,
}

impl Rewriter<'_> {
    /// The content of a body or of one part of it, rewritten; `None` when nothing changes.
    pub(super) fn content(
        &mut self,
        kind: Option<&str>,
        bytes: &Bytes,
        field: &str,
    ) -> Result<Option<Bytes>, Unredactable> {
        self.changed = false;
        let format = format(kind);
        match format {
            Format::Multipart(kind) => return multipart::rewrite(self, &kind, bytes),
            Format::Form => return Ok(self.form("body", bytes)?.map(Bytes::from)),
            Format::Other(media_type) => return self.unknown(&media_type, bytes).map(|()| None),
            _ => {}
        }
        let (text, utf16) = decoded(kind, bytes)?;
        let rewritten = match format {
            Format::Json => self.json(&text, field)?,
            Format::Lines => self.lines(&text)?,
            Format::Yaml => self.yaml(&text)?,
            _ => self.prose(field, &text)?.map(|clean| clean.text),
        };
        Ok(rewritten.map(|text| encoded(&text, utf16)))
    }

    /// What has no known form passes if it is a text with nothing in it; it can't be rewritten.
    fn unknown(&mut self, media_type: &str, bytes: &Bytes) -> Result<(), Unredactable> {
        let text =
            std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()));
        let clear = match text {
            Some(text) => self.prose("", text)?.is_none(),
            None => self.texts.is_empty() && self.everywhere.passes_unreadable(),
        };
        let message = || format!("a body of {media_type} can't be looked through for what must not leave");
        if clear { Ok(()) } else { Err(refuse("body_format", message())) }
    }

    fn json(&mut self, text: &str, field: &str) -> Result<Option<String>, Unredactable> {
        let mut value =
            crate::describe::strict_json(text.as_bytes()).map_err(|why| refuse("body_format", why.message))?;
        self.value(field, &mut value)?;
        Ok(self.changed.then(|| value.to_string()))
    }

    fn lines(&mut self, text: &str) -> Result<Option<String>, Unredactable> {
        let mut changed = false;
        let mut lines = Vec::new();
        for line in text.split('\n') {
            self.changed = false;
            let rewritten = if line.trim().is_empty() { None } else { self.json(line, "")? };
            changed |= rewritten.is_some();
            lines.push(rewritten.map_or(Cow::Borrowed(line), Cow::Owned));
        }
        self.changed = changed;
        Ok(changed.then(|| lines.join("\n")))
    }

    /// A text without fields. What was redacted in a parameter mustn't stay anywhere in it.
    fn prose(&mut self, field: &str, text: &str) -> Result<Option<Clean>, Unredactable> {
        let looked = if self.texts.is_empty() { self.everywhere } else { self.anything };
        let clean = looked.text(field, text)?;
        let shown = clean.as_ref().map_or(text, |clean| &clean.text);
        if self.texts.keys().any(|found| !found.is_empty() && shown.contains(found.as_str())) {
            return Err(refuse("body_format", "what has to be redacted stands in a text that can't be told apart"));
        }
        self.left.retain(|found| !text.contains(found.as_str()));
        if let Some(clean) = &clean {
            let path = if field.is_empty() { "body".to_owned() } else { format!("body.{field}") };
            self.found.extend(clean.kinds.iter().map(|kind| Redaction { kind: kind.clone(), path: path.clone() }));
            self.changed = true;
        }
        Ok(clean)
    }

    /// YAML is rewritten as a text; it must still be the same document, but for its texts.
    fn yaml(&mut self, text: &str) -> Result<Option<String>, Unredactable> {
        let Some(clean) = self.prose("", text)? else { return Ok(None) };
        let broken =
            || refuse("body_format", "the body is YAML, and what has to be redacted can't be without breaking it");
        let read = |text: &str| document::parse("body", text).map_err(|_| broken());
        let (before, after) = (read(text)?, read(&clean.text)?);
        let values = |nodes: &[document::Node]| nodes.iter().map(document::Node::to_json).collect::<Vec<_>>();
        let same =
            before.len() == after.len() && values(&before).iter().zip(&values(&after)).all(|(a, b)| same_shape(a, b));
        if same { Ok(Some(clean.text)) } else { Err(broken()) }
    }

    pub(super) fn form(&mut self, part: &str, bytes: &[u8]) -> Result<Option<String>, Unredactable> {
        self.changed = false;
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(bytes) {
            self.name(&name)?;
            match self.text(part, &name, &value)? {
                Some(clean) if clean.drop => {}
                Some(clean) => {
                    form.append_pair(&name, &clean.text);
                }
                None => {
                    form.append_pair(&name, &value);
                }
            }
        }
        Ok(self.changed.then(|| form.finish()))
    }

    /// Whether it goes, with its name.
    fn value(&mut self, field: &str, value: &mut Value) -> Result<bool, Unredactable> {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.value(field, item)?;
                }
            }
            Value::Object(map) => {
                let mut gone = Vec::new();
                for (name, value) in map.iter_mut() {
                    self.name(name)?;
                    if self.value(name, value)? {
                        gone.push(name.clone());
                    }
                }
                gone.iter().for_each(|name| drop_member(map, name, true));
            }
            _ => {
                let Some(text) = text_of(value) else { return Ok(false) };
                if let Some(clean) = self.text("body", field, &text)? {
                    if value.is_number() && !clean.drop {
                        return Err(Unredactable::number());
                    }
                    *value = Value::String(clean.text);
                    return Ok(clean.drop);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), Unredactable> {
        self.named |= self.everywhere.text("", name)?.is_some()
            || self.texts.contains_key(name) && self.anything.text("", name)?.is_some();
        Ok(())
    }

    /// What becomes of a text; `None` when nothing does.
    pub(super) fn text(&mut self, part: &str, field: &str, text: &str) -> Result<Option<Clean>, Unredactable> {
        let clean = match self.texts.get_key_value(text) {
            Some((found, clean)) => {
                self.left.remove(found);
                Some(clean.clone())
            }
            None => self.everywhere.text(field, text)?.inspect(|clean| {
                let path = if field.is_empty() { part.to_owned() } else { format!("{part}.{field}") };
                self.found.extend(clean.kinds.iter().map(|kind| Redaction { kind: kind.clone(), path: path.clone() }));
            }),
        };
        self.changed |= clean.is_some();
        Ok(clean)
    }
}

/// Whether two values differ in their texts only.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((an, a), (bn, b))| an == bn && same_shape(a, b))
        }
        (Value::String(_), Value::String(_)) => true,
        (a, b) => a == b,
    }
}
