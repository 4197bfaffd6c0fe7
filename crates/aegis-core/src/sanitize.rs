//! What must not leave: personal data, health data and secrets are found by rule and check digit, and redacted in the call that
//! is forwarded. Deterministic: the same call gives the same call, and a redacted one is left as it is.
//!
//! Invariants: what is redacted in the parameters is redacted in the payload they were read from, everywhere it stands; a
//! payload that can't be rewritten without breaking it is refused. A [`Redaction`] says kind and place, never the value.
//! Deliberately absent: guessing by names of people, and entropy.

mod detect;
mod payload;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::{Payload, ToolCall};
use crate::policy::Mode;
use detect::{redact, text_of};

/// A family of what must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Health data.
    Phi,
    /// Data about a person: mail addresses, phone, card, account and social security numbers.
    Pii,
    /// Keys, tokens and passwords.
    Secrets,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Phi, Self::Pii, Self::Secrets];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phi => "phi",
            Self::Pii => "pii",
            Self::Secrets => "secrets",
        }
    }
}

/// What a policy wants redacted in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitizer {
    /// The policy that says so.
    pub policy: String,
    /// Whether it redacts, or only says what it would.
    pub mode: Mode,
    /// What is looked for.
    pub detect: BTreeSet<Kind>,
    /// In which parameters, each as its path of names; `None` is all of them.
    pub params: Option<Vec<Vec<String>>>,
}

/// Something that was redacted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Redaction {
    /// What it was, e.g. `email`, `aws_access_key`.
    pub kind: String,
    /// Where, e.g. `params.message`.
    pub path: String,
}

/// Why a call can't be redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unredactable {
    /// For records: one word.
    pub reason: &'static str,
    /// In a sentence, without the value.
    pub message: String,
}

impl Unredactable {
    fn field_name() -> Self {
        let message = "the name of a field holds what must not leave, and a name can't be redacted".to_owned();
        Self { reason: "field_name", message }
    }
}

/// The end of a place that is the name of a field, not its value.
const NAME: &str = ".(name)";

/// What these sanitizers find in a call, without changing it.
pub fn find(call: &ToolCall, sanitizers: &[Sanitizer]) -> Vec<Redaction> {
    let mut params = call.params.clone();
    Plan::of(sanitizers).params(&mut params).1
}

/// Redacts a call, parameters and payload alike. Nothing found leaves it as it came.
///
/// # Errors
/// When something was found and the payload can't be rewritten.
pub fn apply(call: &mut ToolCall, sanitizers: &[Sanitizer]) -> Result<Vec<Redaction>, Unredactable> {
    let plan = Plan::of(sanitizers);
    let mut params = call.params.clone();
    let (texts, mut redactions) = plan.params(&mut params);
    if redactions.iter().any(|one| one.path.ends_with(NAME)) {
        return Err(Unredactable::field_name());
    }
    let request = match &mut call.payload {
        Payload::Http(request) => Some(request),
        Payload::Mcp(mcp) => Some(&mut mcp.request),
        Payload::Tunnel | Payload::Caller => None,
    };
    if let Some(request) = request {
        redactions.extend(payload::rewrite(request, &texts, plan.everywhere())?);
        redactions.sort();
        redactions.dedup();
    }
    if let Payload::Mcp(mcp) = &mut call.payload
        && !redactions.is_empty()
    {
        mcp.rewritten().map_err(|why| Unredactable { reason: "mcp", message: why.message })?;
    }
    call.params = params;
    Ok(redactions)
}

/// Redacts what `kinds` name in what a tool answers, and adds the names of what it was to `found`. What is no text (an image, a
/// sound, another file in base64) is left as it is.
pub(crate) fn answered(value: &mut Value, kinds: &BTreeSet<Kind>, found: &mut BTreeSet<&'static str>) {
    let Value::Object(map) = value else {
        return match value {
            Value::Array(items) => items.iter_mut().for_each(|item| answered(item, kinds, found)),
            other => detect::redact_value("", other, kinds, found),
        };
    };
    let file = map.get("mimeType").and_then(Value::as_str).is_some_and(|kind| !kind.starts_with("text/"));
    for (name, value) in map.iter_mut() {
        match value {
            Value::String(_) if name == "blob" || (file && name == "data") => {}
            Value::Object(_) | Value::Array(_) => answered(value, kinds, found),
            _ => detect::redact_value(name, value, kinds, found),
        }
    }
}

/// What to look for and where, of all sanitizers together.
struct Plan<'a> {
    sanitizers: &'a [Sanitizer],
}

/// Texts as they came, and what becomes of them.
type Texts = std::collections::BTreeMap<String, String>;

impl<'a> Plan<'a> {
    fn of(sanitizers: &'a [Sanitizer]) -> Self {
        Self { sanitizers }
    }

    /// What is looked for wherever it stands.
    fn everywhere(&self) -> BTreeSet<Kind> {
        self.sanitizers.iter().filter(|one| one.params.is_none()).flat_map(|one| one.detect.iter().copied()).collect()
    }

    /// What is looked for at a place.
    fn kinds_at(&self, path: &[String]) -> BTreeSet<Kind> {
        let covers = |one: &&Sanitizer| {
            one.params.as_ref().is_none_or(|paths| paths.iter().any(|covered| path.starts_with(covered)))
        };
        self.sanitizers.iter().filter(covers).flat_map(|one| one.detect.iter().copied()).collect()
    }

    /// Redacts parameters; the texts that changed, and what was found.
    fn params(&self, params: &mut Map<String, Value>) -> (Texts, Vec<Redaction>) {
        let (mut texts, mut redactions) = (Texts::new(), Vec::new());
        self.map(params, &mut Vec::new(), &mut texts, &mut redactions);
        redactions.sort();
        redactions.dedup();
        (texts, redactions)
    }

    fn map(&self, map: &mut Map<String, Value>, path: &mut Vec<String>, texts: &mut Texts, found: &mut Vec<Redaction>) {
        for (name, value) in map.iter_mut() {
            let hidden = redact("", name, &self.kinds_at(path));
            let at: String =
                ["params"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
            let shown = hidden.map_or_else(
                || name.clone(),
                |(clean, kinds)| {
                    let path = format!("{at}{NAME}");
                    found.extend(kinds.into_iter().map(|kind| Redaction { kind: kind.to_owned(), path: path.clone() }));
                    clean
                },
            );
            path.push(shown);
            self.value(value, path, texts, found);
            path.pop();
        }
    }

    fn value(&self, value: &mut Value, path: &mut Vec<String>, texts: &mut Texts, found: &mut Vec<Redaction>) {
        match value {
            // Lists have the path of what they are the value of: their elements have no names.
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, path, texts, found)),
            Value::Object(map) => self.map(map, path, texts, found),
            _ => {
                let Some(text) = text_of(value).map(Cow::into_owned) else { return };
                let field = path.last().map(String::as_str).unwrap_or_default();
                let Some((clean, kinds)) = redact(field, &text, &self.kinds_at(path)) else { return };
                let at = format!("params.{}", path.join("."));
                found.extend(kinds.into_iter().map(|kind| Redaction { kind: kind.to_owned(), path: at.clone() }));
                *value = Value::String(clean.clone());
                texts.insert(text, clean);
            }
        }
    }
}
