//! The same redaction in the bytes that are forwarded. What is rewritten was parsed strictly; what can't be parsed is refused.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use serde_json::Value;

use super::detect::{redact, text_of};
use super::{Kind, Redaction, Texts, Unredactable};
use crate::call::{Body, HttpRequest};
use crate::describe::{INTEGRITY, is_coded, without_coding};

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
    everywhere: BTreeSet<Kind>,
) -> Result<Vec<Redaction>, Unredactable> {
    let left = texts.keys().collect();
    let mut rewriter =
        Rewriter { texts, everywhere: &everywhere, left, named: false, changed: false, found: Vec::new() };
    path(&request.target, texts, &everywhere)?;
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

fn path(target: &PathAndQuery, texts: &Texts, everywhere: &BTreeSet<Kind>) -> Result<(), Unredactable> {
    let segments = crate::describe::decoded_path(target).map_err(|why| refuse("path", why.message))?;
    let holds = |text: &str| texts.contains_key(text) || redact("", text, everywhere).is_some();
    if holds(target.path()) || segments.iter().any(|segment| holds(segment)) { Err(elsewhere()) } else { Ok(()) }
}

fn refuse(reason: &'static str, message: impl Into<String>) -> Unredactable {
    Unredactable { reason, message: message.into() }
}

fn query(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<(), Unredactable> {
    let Some(query) = request.target.query() else { return Ok(()) };
    if let Some(rewritten) = rewriter.form("query", query.as_bytes()) {
        let target = format!("{}?{rewritten}", request.target.path());
        request.target = PathAndQuery::try_from(target).map_err(|_| refuse("query", "the query can't be rewritten"))?;
    }
    Ok(())
}

/// Whether one was changed.
fn headers(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<bool, Unredactable> {
    rewriter.changed = false;
    for (name, value) in request.headers.iter_mut().filter(|(name, _)| !stays(name.as_str())) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if let Some(clean) = rewriter.text("header", name.as_str(), &text) {
            *value = HeaderValue::from_str(&clean).map_err(|_| refuse("header", "a header can't be rewritten"))?;
        }
    }
    Ok(rewriter.changed)
}

/// Whether it was changed.
fn body(request: &mut HttpRequest, rewriter: &mut Rewriter<'_>) -> Result<bool, Unredactable> {
    let idle = rewriter.texts.is_empty() && rewriter.everywhere.is_empty();
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
        Body::Streamed if idle => return Ok(false),
        Body::Streamed => {
            return Err(refuse(
                "body_unread",
                "the body was not read, so it can't be looked through for what must not leave",
            ));
        }
    };
    rewriter.changed = false;
    let rewritten = match format(&request.headers)? {
        Format::Json => rewriter.json(bytes)?,
        Format::Form => rewriter.form("body", bytes).map(Bytes::from),
        Format::Other(media_type) => {
            let message = format!("a body of {media_type} can't be looked through for what must not leave");
            return Err(refuse("body_format", message));
        }
    };
    let Some(rewritten) = rewritten else { return Ok(changed) };
    // What frames the message is written anew when it is forwarded.
    request.headers.remove(CONTENT_LENGTH);
    request.body = Body::Whole(rewritten);
    Ok(true)
}

enum Format {
    Json,
    Form,
    Other(String),
}

fn format(headers: &HeaderMap) -> Result<Format, Unredactable> {
    if is_coded(headers) {
        return Err(refuse("body_encoded", "a compressed body can't be looked through for what must not leave"));
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("an unknown type");
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(match media_type.as_str() {
        "application/json" => Format::Json,
        "application/x-www-form-urlencoded" => Format::Form,
        other if other.ends_with("+json") => Format::Json,
        other => Format::Other(other.to_owned()),
    })
}

struct Rewriter<'a> {
    texts: &'a Texts,
    everywhere: &'a BTreeSet<Kind>,
    left: BTreeSet<&'a String>,
    changed: bool,
    /// Something was found in the name of a field.
    named: bool,
    /// What was found that no parameter holds.
    found: Vec<Redaction>,
}

impl Rewriter<'_> {
    fn json(&mut self, bytes: &Bytes) -> Result<Option<Bytes>, Unredactable> {
        let mut value = crate::describe::strict_json(bytes).map_err(|why| refuse("body_format", why.message))?;
        self.value("", &mut value);
        Ok(self.changed.then(|| Bytes::from(value.to_string())))
    }

    fn form(&mut self, part: &str, bytes: &[u8]) -> Option<String> {
        self.changed = false;
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(bytes) {
            self.name(&name);
            let clean = self.text(part, &name, &value);
            form.append_pair(&name, clean.as_deref().unwrap_or(&value));
        }
        self.changed.then(|| form.finish())
    }

    fn value(&mut self, field: &str, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(field, item)),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| {
                self.name(name);
                self.value(name, value);
            }),
            _ => {
                let clean = text_of(value).and_then(|text| self.text("body", field, &text));
                if let Some(clean) = clean {
                    *value = Value::String(clean);
                }
            }
        }
    }

    fn name(&mut self, name: &str) {
        self.named |= self.texts.contains_key(name) && redact("", name, &Kind::ALL.into()).is_some()
            || redact("", name, self.everywhere).is_some();
    }

    /// What becomes of a text; `None` when nothing does.
    fn text(&mut self, part: &str, field: &str, text: &str) -> Option<String> {
        let clean = match self.texts.get_key_value(text) {
            Some((found, clean)) => {
                self.left.remove(found);
                Some(clean.clone())
            }
            None => redact(field, text, self.everywhere).map(|(clean, kinds)| {
                let path = format!("{part}.{field}");
                self.found
                    .extend(kinds.into_iter().map(|kind| Redaction { kind: kind.to_owned(), path: path.clone() }));
                clean
            }),
        };
        self.changed |= clean.is_some();
        clean
    }
}
