//! A gRPC message → a document, by the fields that an action's entry lists.
//!
//! One message, uncompressed, in its frame of five bytes, as gRPC and gRPC-Web send a unary call. What is compressed, streamed, or
//! has a field that isn't listed is [`Decoded::Opaque`]. Invariant: nothing that a server might take for another value is read: a
//! single field that stands twice, another wire type than the listed one, a text that isn't UTF-8 are [`Unreadable`].
//! Deliberately absent: the base64 of `grpc-web-text`, groups, maps, fixed-size numbers.

use std::collections::BTreeMap;

use prost::encoding::{WireType, decode_key, decode_varint};
use serde_json::{Map, Value};

use super::Unreadable;
use super::body::Decoded;
use super::json::MAX_DEPTH;
use super::protobuf::wire;

/// A frame's flag and length.
const PREFIX: usize = 5;

/// The fields of a message, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(BTreeMap<u32, Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    name: String,
    kind: Kind,
    many: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Int,
    /// Its fields; none: it may be there, and nothing is read from it.
    Message(Option<Message>),
}

impl Field {
    /// Compiles `3 bool`, `8 string*`; `of` are a message's own fields.
    pub(super) fn parse(name: &str, text: &str, of: Option<Message>) -> Result<(u32, Self), String> {
        let expected =
            || format!("{text:?}: expected a number and string, bool, int or message, with a `*` if repeated");
        let (number, kind) = text.split_once(' ').ok_or_else(expected)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(expected)?;
        let many = kind.ends_with('*');
        let kind = match (kind.trim_end_matches('*'), of) {
            ("string", None) => Kind::Text,
            ("bool", None) => Kind::Bool,
            ("int", None) => Kind::Int,
            ("message", of) => Kind::Message(of),
            _ => return Err(expected()),
        };
        Ok((number, Self { name: name.to_owned(), kind, many }))
    }
}

impl Message {
    /// Adds a field; an error when its number is taken.
    pub(super) fn add(&mut self, number: u32, field: Field) -> Result<(), String> {
        match self.0.insert(number, field) {
            None => Ok(()),
            Some(other) => Err(format!("{number} is the number of {:?} already", other.name)),
        }
    }

    /// Whether what stands at these keys is read, should it be there; `*` is every element.
    pub(super) fn reads(&self, keys: &[&str]) -> bool {
        let Some((key, rest)) = keys.split_first() else { return true };
        let Some(field) = self.0.values().find(|field| field.name == *key) else { return false };
        let rest = if field.many && rest.first() == Some(&"*") { rest.get(1..).unwrap_or_default() } else { rest };
        match &field.kind {
            Kind::Text | Kind::Bool | Kind::Int => rest.is_empty(),
            Kind::Message(None) => false,
            Kind::Message(Some(message)) => message.reads(rest),
        }
    }
}

enum Stop {
    Opaque(String),
    Unreadable(Unreadable),
}

fn malformed(why: impl Into<String>) -> Unreadable {
    Unreadable::new("grpc_malformed", why)
}

/// Whether a body of this media type is framed so.
pub(super) fn takes(media_type: &str) -> bool {
    let kind = media_type.strip_suffix("+proto").unwrap_or(media_type);
    matches!(kind, "application/grpc" | "application/grpc-web")
}

/// Reads a whole body.
pub(super) fn read(body: &[u8], message: &Message) -> Result<Decoded, Unreadable> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(malformed("the gRPC frame is cut off"));
    };
    match flag {
        0 => {}
        1 => return Ok(Decoded::Opaque("the gRPC message is compressed".to_owned())),
        _ => return Err(malformed("the gRPC frame has a flag that isn't known")),
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length < rest.len() {
        return Ok(Decoded::Opaque("the call has several gRPC messages".to_owned()));
    }
    if length > rest.len() {
        return Err(malformed("the gRPC message is cut off"));
    }
    match fields(rest, message, 0) {
        Ok(document) => Ok(Decoded::Documents { documents: vec![Value::Object(document)], textual: false }),
        Err(Stop::Opaque(why)) => Ok(Decoded::Opaque(why)),
        Err(Stop::Unreadable(unreadable)) => Err(unreadable),
    }
}

fn fields(mut bytes: &[u8], message: &Message, depth: usize) -> Result<Map<String, Value>, Stop> {
    let broken = |_| Stop::Unreadable(malformed("the protobuf message can't be read"));
    if depth > MAX_DEPTH {
        return Err(Stop::Opaque("the protobuf message nests too deep".to_owned()));
    }
    let mut map = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).map_err(broken)?;
        let Some(field) = message.0.get(&number) else {
            return Err(Stop::Opaque(format!("the message has a field {number}, which the catalogue doesn't know")));
        };
        let other = || Stop::Unreadable(malformed(format!("the field {:?} is of another type", field.name)));
        let values = match (&field.kind, wire) {
            (Kind::Bool | Kind::Int, WireType::Varint) => {
                vec![number_of(&field.kind, decode_varint(&mut bytes).map_err(broken)?)]
            }
            (Kind::Bool | Kind::Int, WireType::LengthDelimited) if field.many => {
                let mut packed = delimited(&mut bytes)?;
                let mut values = Vec::new();
                while !packed.is_empty() {
                    values.push(number_of(&field.kind, decode_varint(&mut packed).map_err(broken)?));
                }
                values
            }
            (Kind::Text, WireType::LengthDelimited) => {
                let text = std::str::from_utf8(delimited(&mut bytes)?);
                let text = text.map_err(|_| Stop::Unreadable(malformed(format!("{:?} is not UTF-8", field.name))))?;
                vec![Value::from(text)]
            }
            (Kind::Message(inner), WireType::LengthDelimited) => {
                let within = delimited(&mut bytes)?;
                let inner = inner.as_ref().map(|inner| fields(within, inner, depth + 1)).transpose()?;
                vec![Value::Object(inner.unwrap_or_default())]
            }
            _ => return Err(other()),
        };
        if field.many {
            let all = map.entry(field.name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.extend(values);
            }
        } else if let Some(value) = values.into_iter().next()
            && map.insert(field.name.clone(), value).is_some()
        {
            // Readers take the last one, or merge messages.
            let message = format!("the field {:?} stands twice", field.name);
            return Err(Stop::Unreadable(Unreadable::new("grpc_duplicate_field", message)));
        }
    }
    Ok(map)
}

fn delimited<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Stop> {
    wire::delimited(bytes).ok_or_else(|| Stop::Unreadable(malformed("the protobuf message is cut off")))
}

fn number_of(kind: &Kind, varint: u64) -> Value {
    match kind {
        Kind::Bool => Value::Bool(varint != 0),
        // Two's complement, as protobuf has its `int32` and `int64`.
        _ => Value::from(i64::from_ne_bytes(varint.to_ne_bytes())),
    }
}

#[cfg(test)]
mod tests;
