//! YAML and JSON documents with places: every value knows its file, line and column, so that every error about a
//! policy, a configuration or a catalogue entry can say where it is and what was probably meant.
//!
//! The reader is strict, because these files decide what agents may do: duplicate keys, anchors, aliases, tags,
//! non-string keys and deep nesting are errors. Scalars follow the YAML 1.2 core schema, so `no` is a string and
//! `0o17` an integer. JSON is read by the same rules (it is a subset of YAML 1.2).
//!
//! Deliberately absent: serde. A typed reader made with [`Fields`] collects all errors of a file, not the first one.

mod fields;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

pub use fields::{Fields, nearest};
pub(crate) use parse::check_characters;
pub use parse::parse;
use serde::{Deserialize, Serialize};

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value starts.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other finite number.
    Float(f64),
    /// Text, quoted or not.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where the key starts.
    pub place: Place,
    /// The key.
    pub name: String,
}

impl Value {
    /// What it is, in a reader's words: `a number`, `a list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The text of it, if it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The same value as JSON, without places.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => Json::from(*i),
            Value::Float(f) => serde_json::Number::from_f64(*f).map_or(Json::Null, Json::Number),
            Value::Text(t) => Json::String(t.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(entries.iter().map(|(k, v)| (k.name.clone(), v.to_json())).collect()),
        }
    }
}

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but says something that it probably doesn't mean.
    Warning,
}

/// A kind of diagnostics, for whoever wants to tell them apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// A name that never changes, e.g. `unknown-environment`.
    pub name: &'static str,
    /// What it is about, in a sentence.
    pub summary: &'static str,
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// One thing that is wrong with a file: what, where, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// What kind of thing it is, where that has a name.
    #[serde(rename = "code", skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub kind: Option<&'static Kind>,
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key that it is about, e.g. `actions[0].max_replicas`; empty at the top.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, when there is a good guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Box<str>>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(file: &str, place: Place, key: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind: None,
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            message: message.into(),
            suggestion: None,
        }
    }

    /// The same with a suggestion.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(|text| text.into().into_boxed_str());
        self
    }

    /// The same, as one of a kind.
    #[must_use]
    pub fn of(mut self, kind: &'static Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}
