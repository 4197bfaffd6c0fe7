//! What only the tool itself can say of a call: which name an id stands for, what a change that can't be read here would make.
//!
//! Nothing is asked here: describing leaves a [`Question`] open, whoever has I/O and a credential may ask it, and the call is
//! described again with the [`Answers`]. What is open or failed is *unresolved*: a rule on such a parameter finds it missing, and
//! no line of the environment map that looks at it, or stands after one that does, counts.
//!
//! Invariants: a question's target is the catalogue's own template with single values percent-encoded into it, so that a value
//! can't lead anywhere else; it is a GET, a HEAD, or the call itself as a trial run that the tool promises to leave without effect.
//! Only this module makes a question.

use std::collections::{BTreeMap, BTreeSet};

use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::glob::Glob;
use super::pointer::Pointer;
use super::target::{Target, canonical_target};
use super::tool::{Action, Kind, Piece};
use crate::audit::Resolution;
use crate::call::{Body, Companion, HttpRequest, Shape, ToolCall};

/// The longest target of a question, in bytes.
const LONGEST: usize = 4096;
/// The longest value that is taken from an answer, as JSON, in bytes.
const LONGEST_VALUE: usize = 2048;

/// One request that an action asks, and what is read from its answer.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) head: bool,
    /// What the target starts with where the call's own path does, as where a server has its API under a prefix.
    pub(super) prefix: Option<String>,
    /// The target.
    pub(super) pieces: Vec<Slot>,
    pub(super) accept: Vec<String>,
    /// Whether its answer is good for the next call too: not of a name that agents can move.
    pub(super) keep: bool,
    pub(super) yields: Vec<Yield>,
    /// As it is written, for records.
    pub(super) label: String,
}

/// A part of a question's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) piece: Piece,
    pub(super) slashes: Slashes,
}

/// What becomes of the slashes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slashes {
    /// The value can't stand there.
    Refused,
    /// It is several segments.
    Kept,
    /// It is one segment, for a tool that takes `%2F` in one.
    Encoded,
}

/// A value that an answer has.
#[derive(Debug, Clone)]
pub(super) struct Yield {
    pub(super) name: String,
    pub(super) fact: bool,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) form: Form,
}

/// How a value has to look; one that doesn't isn't learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// What stands before it in the answer.
    pub(super) behind: String,
    /// One of these; none: any.
    pub(super) like: Vec<Glob>,
}

impl Form {
    fn read(&self, value: Value) -> Option<Value> {
        if *self == Self::default() {
            return Some(value);
        }
        let text = value.as_str()?.strip_prefix(self.behind.as_str())?;
        let value = Value::from(text);
        self.fits(&value).then_some(value)
    }

    /// Whether it could have been read from an answer.
    fn fits(&self, value: &Value) -> bool {
        self.like.is_empty() || value.as_str().is_some_and(|text| self.like.iter().any(|glob| glob.matches(text)))
    }
}

/// Where in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Pointer(Pointer),
    /// A header, in lower case.
    Header(String),
}

/// What is to be asked of the tool, over the way that the call takes, with Aegis's credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    method: Method,
    target: PathAndQuery,
    accept: String,
    wanted: Wanted,
    label: String,
    keep: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Wanted {
    Values(Vec<(String, Place, Form)>),
    /// The object that the call would make; the question carries the call's own body. With the action that it would be.
    Document {
        action: String,
        classes: BTreeSet<String>,
    },
}

/// What was read from one answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Values, by their names.
    Values(BTreeMap<String, Value>),
    /// The object that a trial run of the call made.
    Document(Value),
}

/// The answers so far; of what wasn't answered, why.
#[derive(Debug, Clone, Default)]
pub struct Answers(Vec<(Question, Result<Answer, String>)>);

/// A described call, and what is left to ask about it.
#[derive(Debug)]
pub struct Described {
    /// The call, as far as it is known.
    pub call: ToolCall,
    /// What the tool can say of it.
    pub open: Vec<Question>,
}

impl Question {
    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether its answer may be kept for the next call that asks it: a trial run's is of its own call.
    pub fn may_be_kept(&self) -> bool {
        self.keep
    }

    /// Whether it is a trial run, with the call's own method and body.
    pub fn is_of_one_call(&self) -> bool {
        matches!(self.wanted, Wanted::Document { .. })
    }

    /// What an agent must be granted, in some environment, before this is asked about its `call`: any action of the tool; of what
    /// is tried, that very action.
    pub fn presumes(&self, call: &ToolCall) -> ToolCall {
        match self.wanted.clone() {
            Wanted::Values(_) => ToolCall { companion: Companion::OfTool, ..call.clone() },
            Wanted::Document { action, classes } => ToolCall { action, classes, shape: Shape::Open, ..call.clone() },
        }
    }

    /// The request that asks it about `call`. It has none of the agent's headers, but for the media type of a body that it carries.
    pub fn request(&self, call: &HttpRequest) -> HttpRequest {
        let mut headers = HeaderMap::new();
        if let Ok(accept) = http::HeaderValue::from_str(&self.accept) {
            headers.insert(http::header::ACCEPT, accept);
        }
        // Some tools refuse requests without one.
        headers.insert(http::header::USER_AGENT, http::HeaderValue::from_static("aegis"));
        let mut body = Body::Whole(bytes::Bytes::new());
        if self.is_of_one_call() {
            headers.extend(call.headers.get(CONTENT_TYPE).map(|value| (CONTENT_TYPE, value.clone())));
            body = call.body.clone();
        }
        HttpRequest { method: self.method.clone(), target: self.target.clone(), headers, body }
    }

    /// Whether an answer of this status says what was asked.
    pub fn accepts(&self, status: http::StatusCode) -> bool {
        status == http::StatusCode::OK || (self.is_of_one_call() && status == http::StatusCode::CREATED)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// What it lacks, without any of its values.
    pub fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Answer, String> {
        let json = || super::json::parse(body).map_err(|_| "the answer is no plain JSON".to_owned());
        let Wanted::Values(wanted) = &self.wanted else { return json().map(Answer::Document) };
        let by_pointer = wanted.iter().any(|(_, place, _)| matches!(place, Place::Pointer(_)));
        let document = if by_pointer { json()? } else { Value::Null };
        let mut values = BTreeMap::new();
        for (name, place, form) in wanted {
            let value = match place {
                Place::Header(header) => single_header(headers, header).map(Value::String),
                Place::Pointer(pointer) => single_value(&document, pointer),
            };
            let value = value.and_then(|value| form.read(value));
            let value = value.ok_or_else(|| format!("the answer doesn't say {name}"))?;
            values.insert(name.clone(), value);
        }
        Ok(Answer::Values(values))
    }

    /// For the record: what was asked, without values, and how that went.
    pub fn resolution(&self, cached: bool, failed: Option<String>) -> Resolution {
        let names = match &self.wanted {
            Wanted::Values(wanted) => wanted.iter().map(|(name, ..)| name.clone()).collect(),
            Wanted::Document { .. } => Vec::new(),
        };
        Resolution { asked: self.label.clone(), names, cached, failed }
    }
}

impl Answers {
    /// Adds what a question was answered; in an error, why it wasn't.
    pub fn add(&mut self, question: Question, answer: Result<Answer, String>) {
        self.0.push((question, answer));
    }

    fn to(&self, question: &Question) -> Option<&Result<Answer, String>> {
        self.0.iter().find(|(asked, _)| asked == question).map(|(_, answer)| answer)
    }
}

/// What is known while a call is described.
#[derive(Debug, Default)]
pub(super) struct Asking<'a> {
    pub(super) answers: Option<&'a Answers>,
    pub(super) open: Vec<Question>,
}

impl Asking<'_> {
    /// The answer to a question; `Err(None)` while it is open, `Err(Some(why))` where it failed.
    fn ask(&mut self, question: Question) -> Result<Answer, Option<String>> {
        match self.answers.and_then(|answers| answers.to(&question)) {
            Some(Ok(answer)) => Ok(answer.clone()),
            Some(Err(why)) => Err(Some(why.clone())),
            None => {
                self.open.push(question);
                Err(None)
            }
        }
    }

    /// The object that this call would make, by a trial run of it. The error says why not.
    pub(super) fn trial(
        &mut self,
        method: &Method,
        target: &Target,
        action: &Action,
        (key, value): &(String, String),
    ) -> Result<Value, String> {
        if target.query.iter().any(|(own, given)| own == key && given != value) {
            return Err(format!("the query has a {key} of its own"));
        }
        let path = target.canonical.as_str();
        let added = match target.query.iter().any(|(own, _)| own == key) {
            true => path.to_owned(),
            false => format!("{path}{}{key}={value}", if path.contains('?') { '&' } else { '?' }),
        };
        let target = added.parse().map_err(|_| "it can't be tried".to_owned())?;
        let question = Question {
            method: method.clone(),
            target,
            accept: "application/json".to_owned(),
            wanted: Wanted::Document { action: action.name.clone(), classes: action.classes.clone() },
            label: format!("{method} with {key}={value}"),
            keep: false,
        };
        match self.ask(question) {
            Ok(Answer::Document(document)) => Ok(document),
            Ok(Answer::Values(_)) => Err("the tool's answer is of another kind".to_owned()),
            Err(why) => Err(why.unwrap_or_else(|| "the tool was not asked".to_owned())),
        }
    }

    /// Everything that an action's resolvers say of a call with this path, put where it belongs; the names of what they don't.
    pub(super) fn resolve(
        &mut self,
        action: &Action,
        path: &str,
        facts: &BTreeMap<String, String>,
        target: &mut BTreeMap<String, String>,
        params: &mut Map<String, Value>,
    ) -> BTreeSet<String> {
        let mut unresolved = BTreeSet::new();
        for resolver in &action.resolvers {
            let known = |name: &str| match unresolved.contains(name) {
                true => None,
                false => named(name, facts, target, params),
            };
            let answer = match resolver.question(path, known) {
                Some(question) => self.ask(question).ok(),
                None => None,
            };
            let values = match answer {
                Some(Answer::Values(values)) => values,
                Some(Answer::Document(_)) | None => BTreeMap::new(),
            };
            for found in &resolver.yields {
                match (values.get(&found.name), found.fact) {
                    (None | Some(Value::Null), _) => drop(unresolved.insert(found.name.clone())),
                    (Some(value), true) => match scalar(value) {
                        Some(text) => drop(target.insert(found.name.clone(), text)),
                        None => drop(unresolved.insert(found.name.clone())),
                    },
                    (Some(value), false) => drop(params.insert(found.name.clone(), value.clone())),
                }
            }
        }
        unresolved
    }
}

impl Resolver {
    /// The question, with its values; `None` when one of them isn't known or can't stand there.
    fn question(&self, path: &str, known: impl Fn(&str) -> Option<String>) -> Option<Question> {
        let under = |prefix: &&String| path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let mut text = self.prefix.iter().find(under).cloned().unwrap_or_default();
        for slot in &self.pieces {
            match &slot.piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Named(name) => push_encoded(&known(name)?, slot.slashes, &mut text)?,
            }
        }
        let target: PathAndQuery = text.parse().ok().filter(|_| text.len() <= LONGEST)?;
        // What isn't its own canonical form could be read as another path.
        canonical_target(&target).ok().filter(|canonical| *canonical == target)?;
        Some(Question {
            method: if self.head { Method::HEAD } else { Method::GET },
            target,
            accept: if self.accept.is_empty() { "application/json".to_owned() } else { self.accept.join(", ") },
            wanted: Wanted::Values(
                self.yields.iter().map(|one| (one.name.clone(), one.place.clone(), one.form.clone())).collect(),
            ),
            label: self.label.clone(),
            keep: self.keep,
        })
    }
}

impl Action {
    /// Names of the facts that only the tool can say.
    pub(super) fn resolved_facts(&self) -> impl Iterator<Item = &str> {
        self.yields().filter(|one| one.fact).map(|one| one.name.as_str())
    }

    /// The parameters that only the tool can say.
    pub(super) fn resolved_params(&self) -> impl Iterator<Item = &Yield> {
        self.yields().filter(|one| !one.fact)
    }

    /// The name of something that only the tool can say, and that the tool would never say so: of a call that is known by its name.
    pub(super) fn misnamed(&self, target: &BTreeMap<String, String>, params: &Map<String, Value>) -> Option<&str> {
        let stated =
            |name: &str| target.get(name).cloned().map(Value::String).into_iter().chain(params.get(name).cloned());
        let wrong = |one: &&Yield| stated(&one.name).any(|value| !value.is_null() && !one.form.fits(&value));
        self.yields().find(wrong).map(|one| one.name.as_str())
    }

    fn yields(&self) -> impl Iterator<Item = &Yield> {
        self.resolvers.iter().flat_map(|resolver| &resolver.yields)
    }

    /// Of a call that nobody asks the tool about: what of it isn't given.
    pub(super) fn not_given(&self, target: &BTreeMap<String, String>, params: &Map<String, Value>) -> BTreeSet<String> {
        let given = |one: &&Yield| match one.fact {
            true => target.contains_key(&one.name),
            false => params.get(&one.name).is_some_and(|value| !value.is_null()),
        };
        self.yields().filter(|one| !given(one)).map(|one| one.name.clone()).collect()
    }
}

/// A fact of the target, what the operator says first, or a parameter that is one plain value.
pub(super) fn named(
    name: &str,
    facts: &BTreeMap<String, String>,
    target: &BTreeMap<String, String>,
    params: &Map<String, Value>,
) -> Option<String> {
    facts.get(name).or_else(|| target.get(name)).cloned().or_else(|| scalar(params.get(name)?))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One segment, or several; what a server could take for another path is refused.
fn push_encoded(value: &str, slashes: Slashes, out: &mut String) -> Option<()> {
    for (index, segment) in value.split('/').enumerate() {
        if matches!(segment, "" | "." | "..") {
            return None;
        }
        match slashes {
            _ if index == 0 => {}
            Slashes::Refused => return None,
            Slashes::Kept => out.push('/'),
            Slashes::Encoded => out.push_str("%2F"),
        }
        for byte in segment.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Some(())
}

fn single_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= LONGEST_VALUE).map(str::to_owned)
}

fn single_value(document: &Value, pointer: &Pointer) -> Option<Value> {
    let mut found = Vec::new();
    pointer.find_exactly(document, &mut found)?;
    let value = match (pointer.is_multiple(), found.as_slice()) {
        (true, [_, ..]) => Value::Array(found.into_iter().cloned().collect()),
        (false, [one]) => Value::clone(one),
        _ => return None,
    };
    (value != Value::Null && value.to_string().len() <= LONGEST_VALUE).then_some(value)
}
