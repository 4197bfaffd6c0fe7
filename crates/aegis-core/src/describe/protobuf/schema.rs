//! How Kubernetes' own kinds look in protobuf and what their fields are called in JSON: `kubernetes.json` beside this file,
//! which `scripts/kubernetes-schema` writes from the types that kubectl and client-go encode.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

static SCHEMA: LazyLock<Option<Schema>> = LazyLock::new(|| Schema::parse(include_str!("kubernetes.json")));

/// The kinds and the messages that they are made of.
#[derive(Debug)]
pub(super) struct Schema {
    kinds: HashMap<String, usize>,
    messages: Vec<Message>,
}

/// A message and its fields.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: String,
    fields: BTreeMap<u32, Field>,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// In JSON; empty: its own fields stand in its place.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether JSON leaves it out when it is zero.
    pub(super) omit_zero: bool,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int32,
    Int64,
    /// By its place in the schema.
    Message(usize),
    List(Box<Self>),
    Map(Box<Self>),
    Wrapped(Box<Self>),
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Json,
}

impl Kind {
    /// Whether it is a number on the wire.
    pub(super) fn is_varint(&self) -> bool {
        matches!(self, Self::Bool | Self::Int32 | Self::Int64)
    }

    fn parse(text: &str, places: &HashMap<&str, usize>) -> Option<Self> {
        if let Some(item) = text.strip_prefix("[]") {
            return Some(Self::List(Box::new(Self::parse(item, places)?)));
        }
        if let Some(of) = text.strip_prefix("{}") {
            return Some(Self::Map(Box::new(Self::parse(of, places)?)));
        }
        if let Some(item) = text.strip_prefix("list:") {
            return Some(Self::Wrapped(Box::new(Self::parse(item, places)?)));
        }
        if let Some(name) = text.strip_prefix('@') {
            return places.get(name).copied().map(Self::Message);
        }
        Some(match text {
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "quantity" => Self::Quantity,
            "int-or-string" => Self::IntOrString,
            "time" => Self::Time,
            "micro-time" => Self::MicroTime,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.get(&number)
    }
}

/// The file: `apiVersion kind` → message, and message → field number → `name type`; `?`: left out when zero.
#[derive(Deserialize)]
struct File {
    kinds: BTreeMap<String, String>,
    messages: BTreeMap<String, BTreeMap<u32, String>>,
}

impl Schema {
    /// The one that is built in, read on first use. `None` would be a broken build, which a test excludes.
    pub(super) fn get() -> Option<&'static Self> {
        SCHEMA.as_ref()
    }

    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        self.message(*self.kinds.get(&format!("{api_version} {kind}"))?)
    }

    pub(super) fn message(&self, place: usize) -> Option<&Message> {
        self.messages.get(place)
    }

    fn parse(text: &str) -> Option<Self> {
        let file: File = serde_json::from_str(text).ok()?;
        let places: HashMap<&str, usize> =
            file.messages.keys().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let field = |text: &String| {
            let (name, kind) = text.split_once(' ')?;
            let bare = kind.trim_start_matches('?');
            Some(Field { name: name.to_owned(), kind: Kind::parse(bare, &places)?, omit_zero: bare != kind })
        };
        let message = |(name, fields): (&String, &BTreeMap<u32, String>)| {
            let fields = fields.iter().map(|(number, text)| Some((*number, field(text)?))).collect::<Option<_>>()?;
            Some(Message { name: name.clone(), fields })
        };
        Some(Self {
            messages: file.messages.iter().map(message).collect::<Option<_>>()?,
            kinds: file
                .kinds
                .iter()
                .map(|(kind, message)| Some((kind.clone(), *places.get(message.as_str())?)))
                .collect::<Option<_>>()?,
        })
    }
}
