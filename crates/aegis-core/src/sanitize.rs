//! What must not leave: personal data, health data and secrets are found by rule and check digit, and redacted in the call that
//! is forwarded. Deterministic: the same call gives the same call, and a redacted one is left as it is.
//!
//! Invariants: what is redacted in the parameters is redacted in the payload they were read from, everywhere it stands; a
//! payload that can't be rewritten without breaking it is refused, and so is a number, which a text can't stand for. A
//! [`Redaction`] says kind and place, never the value. Deliberately absent: guessing by names of people, and randomness of letters
//! without a word that says that it is a secret.

mod checks;
mod context;
mod detector;
mod encoded;
mod find;
mod look;
mod multipart;
mod payload;
mod rules;
mod scan;
pub mod shown;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::{Payload, ToolCall};
use crate::policy::Mode;
pub use detector::{Custom, Detector, Style, TokenKey};
use look::{Clean, Look, text_of};
pub use scan::{Finding, Scanner, scan, scan_text};
pub use stream::Redactor;

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
#[derive(Debug, Clone)]
pub struct Sanitizer {
    /// The policy that says so.
    pub policy: String,
    /// Whether it redacts, or only says what it would.
    pub mode: Mode,
    /// What is looked for, and what takes its place.
    pub detect: Arc<Detector>,
    /// In which parameters, each as its path of names; `None` is all of them.
    pub params: Option<Vec<Vec<String>>>,
    /// What tokens are made with.
    pub key: Option<TokenKey>,
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
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn integrity() -> Self {
        let message =
            "what must not leave is in a body that is known by its exact bytes, so it can't be redacted".to_owned();
        Self { reason: "integrity", message }
    }

    fn field_name() -> Self {
        Self::new("field_name", "the name of a field holds what must not leave, and a name can't be redacted")
    }

    fn number() -> Self {
        Self::new(
            "number",
            "a number holds what must not leave, and no text can stand for a number; send it as a text, or not at all",
        )
    }

    fn encoded() -> Self {
        Self::new("encoded", "what must not leave is encoded in a way that can't be written back as it came")
    }

    fn too_deep() -> Self {
        Self::new("too_deep", "a text is encoded in itself too often to be looked through for what must not leave")
    }
}

/// The end of a place that is the name of a field, not its value.
const NAME: &str = ".(name)";

/// What these sanitizers find in a call, without changing it.
pub fn find(call: &ToolCall, sanitizers: &[Sanitizer]) -> Vec<Redaction> {
    let mut params = call.params.clone();
    let unread = |why: Unredactable| vec![Redaction { kind: why.reason.to_owned(), path: "params".to_owned() }];
    Plan::of(sanitizers, true).params(&mut params).map_or_else(unread, |(_, found)| found)
}

/// Redacts a call, parameters and payload alike. Nothing found leaves it as it came.
///
/// # Errors
/// When something was found and the payload can't be rewritten.
pub fn apply(call: &mut ToolCall, sanitizers: &[Sanitizer]) -> Result<Vec<Redaction>, Unredactable> {
    let plan = Plan::of(sanitizers, false);
    let mut params = call.params.clone();
    let (texts, mut redactions) = plan.params(&mut params)?;
    if redactions.iter().any(|one| one.path.ends_with(NAME)) {
        return Err(Unredactable::field_name());
    }
    let request = match &mut call.payload {
        Payload::Http(request) => Some(request),
        Payload::Mcp(mcp) => Some(&mut mcp.request),
        Payload::Tunnel | Payload::Caller => None,
    };
    if let Some(request) = request {
        let frozen = call.frozen.then(|| request.body.clone());
        redactions.extend(payload::rewrite(request, &texts, &plan.everywhere(), &Look::of(sanitizers))?);
        if frozen.is_some_and(|body| body != request.body) {
            return Err(Unredactable::integrity());
        }
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

/// What is looked for in answers.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    detectors: Vec<(Arc<Detector>, Option<TokenKey>)>,
}

impl Answers {
    /// All of these.
    pub fn new(detectors: impl IntoIterator<Item = (Arc<Detector>, Option<TokenKey>)>) -> Self {
        Self { detectors: detectors.into_iter().collect() }
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.detectors.is_empty()
    }

    /// Whether what can't be read may be shown.
    pub fn pass_unreadable(&self) -> bool {
        self.detectors.iter().all(|(detector, _)| detector.unreadable)
    }

    fn look(&self) -> Look<'_> {
        Look::new(self.detectors.iter().map(|(detector, key)| (&**detector, key.as_ref()))).for_answers()
    }

    /// Redacts a text, and adds the names of what was in it to `found`. One that can't be looked through is taken out as a whole.
    pub fn text(&self, text: &str, found: &mut BTreeSet<String>) -> Option<String> {
        match self.look().text("", text) {
            Ok(clean) => clean.map(|clean| {
                found.extend(clean.kinds);
                clean.text
            }),
            Err(why) => {
                found.insert(why.reason.to_owned());
                Some(format!("[REDACTED:{}]", why.reason))
            }
        }
    }

    /// Redacts a value, and adds the names of what was in it to `found`.
    pub fn value(&self, value: &mut Value, found: &mut BTreeSet<String>) {
        if let Err(why) = self.look().value("", value, found) {
            found.insert(why.reason.to_owned());
            *value = Value::String(format!("[REDACTED:{}]", why.reason));
        }
    }
}

/// Has the tool answer so that the answer can be looked through: whole, and in no coding.
pub(crate) fn ask_for_plain(call: &mut ToolCall) {
    if let Payload::Http(request) = &mut call.payload {
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request.headers.remove(RANGE);
        request.headers.remove(IF_RANGE);
    }
}

/// Redacts what is looked for in what a tool answers, and adds the names of what it was to `found`. What is no text in a file in
/// base64 (an image, a sound) is left as it is.
pub(crate) fn answered(value: &mut Value, answers: &Answers, found: &mut BTreeSet<String>) {
    answered_by(value, &answers.look(), found);
}

fn answered_by(value: &mut Value, look: &Look<'_>, found: &mut BTreeSet<String>) {
    let Value::Object(map) = value else {
        return match value {
            Value::Array(items) => items.iter_mut().for_each(|item| answered_by(item, look, found)),
            other => answered_leaf("", other, look, found),
        };
    };
    let file = map.get("mimeType").and_then(Value::as_str).is_some_and(|kind| !kind.starts_with("text/"));
    for (name, value) in map.iter_mut() {
        match value {
            Value::String(text) if name == "blob" || (file && name == "data") => answered_file(text, look, found),
            Value::Object(_) | Value::Array(_) => answered_by(value, look, found),
            _ => answered_leaf(name, value, look, found),
        }
    }
}

/// A file in base64: what is a text in there is looked through as one. What can't be read (a picture) stays.
fn answered_file(text: &mut String, look: &Look<'_>, found: &mut BTreeSet<String>) {
    if let Ok(Some(clean)) = look.text("", text) {
        found.extend(clean.kinds);
        *text = clean.text;
    }
}

fn answered_leaf(field: &str, value: &mut Value, look: &Look<'_>, found: &mut BTreeSet<String>) {
    if let Err(why) = look.value(field, value, found) {
        found.insert(why.reason.to_owned());
        *value = Value::String(format!("[REDACTED:{}]", why.reason));
    }
}

/// What to look for and where, of all sanitizers together.
struct Plan<'a> {
    sanitizers: &'a [Sanitizer],
    /// Whether a number may become a text: where it is only said what was found.
    numbers: bool,
    /// By which of the sanitizers are for a place.
    looks: RefCell<Vec<(Vec<usize>, Rc<Look<'a>>)>>,
}

/// Texts as they came, and what becomes of them.
type Texts = std::collections::BTreeMap<String, Clean>;

impl<'a> Plan<'a> {
    fn of(sanitizers: &'a [Sanitizer], numbers: bool) -> Self {
        Self { sanitizers, numbers, looks: RefCell::default() }
    }

    /// What is looked for wherever it stands.
    fn everywhere(&self) -> Look<'a> {
        Look::of(self.sanitizers.iter().filter(|one| one.params.is_none()))
    }

    /// What is looked for at a place.
    fn at(&self, path: &[String]) -> Rc<Look<'a>> {
        let covers = |one: &Sanitizer| {
            one.params.as_ref().is_none_or(|paths| paths.iter().any(|covered| path.starts_with(covered)))
        };
        let which: Vec<usize> =
            (0..).zip(self.sanitizers).filter(|(_, one)| covers(one)).map(|(index, _)| index).collect();
        let mut looks = self.looks.borrow_mut();
        if let Some((_, look)) = looks.iter().find(|(of, _)| *of == which) {
            return Rc::clone(look);
        }
        let look = Look::of(self.sanitizers.iter().filter(|one| covers(one)));
        let look = Rc::new(if self.numbers { look.for_answers() } else { look });
        looks.push((which, Rc::clone(&look)));
        look
    }

    /// Redacts parameters; the texts that changed, and what was found.
    fn params(&self, params: &mut Map<String, Value>) -> Result<(Texts, Vec<Redaction>), Unredactable> {
        let mut done = Done::default();
        self.map(params, &mut Vec::new(), &mut done)?;
        done.found.sort();
        done.found.dedup();
        Ok((done.texts, done.found))
    }

    fn map(&self, map: &mut Map<String, Value>, path: &mut Vec<String>, done: &mut Done) -> Result<(), Unredactable> {
        let mut gone = Vec::new();
        for (name, value) in map.iter_mut() {
            let hidden = self.at(path).text("", name)?;
            let at: String =
                ["params"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
            let shown = match hidden {
                Some(clean) => {
                    done.add(&clean, &format!("{at}{NAME}"));
                    clean.text
                }
                None => name.clone(),
            };
            path.push(shown);
            if self.value(value, path, done)? {
                gone.push(name.clone());
            }
            path.pop();
        }
        gone.iter().for_each(|name| look::drop_member(map, name, true));
        Ok(())
    }

    /// Whether the value goes, with its name.
    fn value(&self, value: &mut Value, path: &mut Vec<String>, done: &mut Done) -> Result<bool, Unredactable> {
        match value {
            // Lists have the path of what they are the value of: their elements have no names.
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.value(item, path, done).map(|_| ()))?,
            Value::Object(map) => self.map(map, path, done)?,
            _ => {
                let Some(text) = text_of(value).map(std::borrow::Cow::into_owned) else { return Ok(false) };
                let field = path.last().map(String::as_str).unwrap_or_default();
                let Some(clean) = self.at(path).text(field, &text)? else { return Ok(false) };
                done.add(&clean, &format!("params.{}", path.join(".")));
                if value.is_number() && !self.numbers && !clean.drop {
                    return Err(Unredactable::number());
                }
                let drop = clean.drop;
                *value = Value::String(clean.text.clone());
                done.texts.insert(text, clean);
                return Ok(drop);
            }
        }
        Ok(false)
    }
}

/// What was done to parameters.
#[derive(Default)]
struct Done {
    texts: Texts,
    found: Vec<Redaction>,
}

impl Done {
    fn add(&mut self, clean: &Clean, path: &str) {
        self.found.extend(clean.kinds.iter().map(|kind| Redaction { kind: kind.clone(), path: path.to_owned() }));
    }
}
