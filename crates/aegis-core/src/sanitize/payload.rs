//! The same redaction in the bytes that are forwarded. What is rewritten was parsed strictly; what can't be parsed is refused.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, uri::PathAndQuery};
use serde_json::Value;

use super::detect::redact;
use super::{Kind, Redaction, Texts, Unredactable};
use crate::call::{Body, HttpRequest};

/// Headers that say what the body's bytes are: a changed body would not be what they say.
const INTEGRITY: [&str; 7] = [
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "signature",
    "x-amz-content-sha256",
    "x-hub-signature-256",
];

/// Replaces `texts` wherever they stand in the body and the query, and what `everywhere` names in any text of the body.
pub(super) fn rewrite(
    request: &mut HttpRequest,
    texts: &Texts,
    everywhere: BTreeSet<Kind>,
) -> Result<Vec<Redaction>, Unredactable> {
    let mut left: BTreeSet<&String> = texts.keys().collect();
    query(request, texts, &mut left)?;
    let found = body(request, texts, &everywhere, &mut left)?;
    match left.is_empty() {
        true => Ok(found),
        false => {
            Err(refuse("elsewhere", "what has to be redacted stands in the path or a header, which can't be rewritten"))
        }
    }
}

fn refuse(reason: &'static str, message: impl Into<String>) -> Unredactable {
    Unredactable { reason, message: message.into() }
}

fn query<'t>(request: &mut HttpRequest, texts: &'t Texts, left: &mut BTreeSet<&'t String>) -> Result<(), Unredactable> {
    let Some(query) = request.target.query() else { return Ok(()) };
    let mut changed = false;
    let pairs =
        form_urlencoded::parse(query.as_bytes()).map(|(name, value)| match texts.get_key_value(value.as_ref()) {
            Some((found, clean)) => {
                changed = true;
                left.remove(found);
                (name, clean.clone().into())
            }
            None => (name, value),
        });
    let rewritten = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if changed {
        let target = format!("{}?{rewritten}", request.target.path());
        request.target = PathAndQuery::try_from(target).map_err(|_| refuse("query", "the query can't be rewritten"))?;
    }
    Ok(())
}

fn body<'t>(
    request: &mut HttpRequest,
    texts: &'t Texts,
    everywhere: &BTreeSet<Kind>,
    left: &mut BTreeSet<&'t String>,
) -> Result<Vec<Redaction>, Unredactable> {
    let bytes = match &request.body {
        Body::Whole(bytes) if bytes.is_empty() => return Ok(Vec::new()),
        Body::Whole(bytes) => bytes,
        Body::Streamed if left.is_empty() && everywhere.is_empty() => return Ok(Vec::new()),
        Body::Streamed => {
            return Err(refuse("body_unread", "the body is too large to be looked through for what must not leave"));
        }
    };
    if left.is_empty() && everywhere.is_empty() {
        return Ok(Vec::new());
    }
    let mut rewriter = Rewriter { texts, everywhere, left, changed: false, found: Vec::new() };
    let rewritten = match format(&request.headers)? {
        Format::Json => rewriter.json(bytes)?,
        Format::Form => rewriter.form(bytes),
        Format::Other(media_type) => {
            let message = format!("a body of {media_type} can't be looked through for what must not leave");
            return Err(refuse("body_format", message));
        }
    };
    let found = rewriter.found;
    if let Some(rewritten) = rewritten {
        if INTEGRITY.iter().any(|name| request.headers.contains_key(*name)) {
            let message = "the body would have to be redacted, but it is signed: the tool would refuse the changed one";
            return Err(refuse("body_signed", message));
        }
        // What frames the message is written anew when it is forwarded.
        request.headers.remove(CONTENT_LENGTH);
        request.body = Body::Whole(rewritten);
    }
    Ok(found)
}

enum Format {
    Json,
    Form,
    Other(String),
}

fn format(headers: &HeaderMap) -> Result<Format, Unredactable> {
    if headers.contains_key(CONTENT_ENCODING) {
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

struct Rewriter<'a, 't> {
    texts: &'t Texts,
    everywhere: &'a BTreeSet<Kind>,
    left: &'a mut BTreeSet<&'t String>,
    changed: bool,
    /// What was found that no parameter holds.
    found: Vec<Redaction>,
}

impl Rewriter<'_, '_> {
    fn json(&mut self, bytes: &Bytes) -> Result<Option<Bytes>, Unredactable> {
        let mut value = crate::describe::strict_json(bytes).map_err(|why| refuse("body_format", why.message))?;
        self.value("", &mut value);
        Ok(self.changed.then(|| Bytes::from(value.to_string())))
    }

    fn form(&mut self, bytes: &Bytes) -> Option<Bytes> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(bytes) {
            let clean = self.text(&name, &value);
            form.append_pair(&name, clean.as_deref().unwrap_or(&value));
        }
        self.changed.then(|| Bytes::from(form.finish()))
    }

    fn value(&mut self, field: &str, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.text(field, text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(field, item)),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| self.value(name, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What becomes of a text; `None` when nothing does.
    fn text(&mut self, field: &str, text: &str) -> Option<String> {
        let clean = match self.texts.get_key_value(text) {
            Some((found, clean)) => {
                self.left.remove(found);
                Some(clean.clone())
            }
            None => redact(field, text, self.everywhere).map(|(clean, kinds)| {
                let path = format!("body.{field}");
                self.found
                    .extend(kinds.into_iter().map(|kind| Redaction { kind: kind.to_owned(), path: path.clone() }));
                clean
            }),
        };
        self.changed |= clean.is_some();
        clean
    }
}
