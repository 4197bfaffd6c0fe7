//! `application/vnd.kubernetes.protobuf` → the same document that the JSON body would be.
//!
//! The envelope is `k8s\0` and a message that says kind and version of the object it holds. Invariants: what comes of it is
//! all that the server reads, or nothing. A field, kind or encoding that isn't in the schema makes the body opaque; what two
//! decoders may read differently (a field twice, a number that doesn't fit, text that isn't UTF-8, a key twice) makes it
//! unreadable. Field names are those of JSON, and a zero that JSON leaves out is left out.

mod schema;
pub(super) mod wire;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Unreadable;
use super::body::Decoded;
use super::json::{self, MAX_DEPTH};
use schema::{Field, Kind, Message, Schema};
use wire::{Reader, Wire};

/// What the body starts with.
const PREFIX: &[u8] = b"k8s\0";

/// Why a body isn't read.
#[derive(Debug)]
enum Stop {
    /// It is well-formed, as far as can be told, and says something that isn't known here.
    Opaque(String),
    /// It is not well-formed, or two readers would read it differently.
    Unreadable(String),
}

type Read<T> = Result<T, Stop>;

fn malformed<T>(why: impl Into<String>) -> Read<T> {
    Err(Stop::Unreadable(why.into()))
}

fn opaque<T>(why: impl Into<String>) -> Read<T> {
    Err(Stop::Opaque(why.into()))
}

/// Reads a whole body.
pub(super) fn kubernetes(body: &[u8]) -> Result<Decoded, Unreadable> {
    match envelope(body) {
        Ok(document) => Ok(Decoded::Documents { documents: vec![document], textual: false }),
        Err(Stop::Opaque(why)) => Ok(Decoded::Opaque(format!("the body is protobuf that can't be read here: {why}"))),
        Err(Stop::Unreadable(why)) => {
            Err(Unreadable::new("protobuf_malformed", format!("the protobuf body can't be read: {why}")))
        }
    }
}

fn envelope(body: &[u8]) -> Read<Value> {
    let Some(rest) = body.strip_prefix(PREFIX) else {
        return malformed("it doesn't start as Kubernetes' protobuf does");
    };
    let [meta, raw, encoding, content_type] = parts(rest)?;
    if !encoding.unwrap_or_default().is_empty() || !content_type.unwrap_or_default().is_empty() {
        return opaque("what it holds is encoded otherwise");
    }
    let [api_version, kind, ..] = parts(meta.unwrap_or_default())?;
    let (api_version, kind) = (text(api_version.unwrap_or_default())?, text(kind.unwrap_or_default())?);
    if api_version.is_empty() || kind.is_empty() {
        return malformed("it doesn't say its kind and version");
    }
    let Some(schema) = Schema::get() else {
        return opaque("no schema is at hand");
    };
    let Some(message) = schema.kind(&api_version, &kind) else {
        return opaque(format!("{kind} of {api_version} is not in the schema"));
    };
    let mut document = Map::new();
    document.insert("apiVersion".to_owned(), api_version.into());
    document.insert("kind".to_owned(), kind.into());
    fields(schema, message, raw.unwrap_or_default(), 1, &mut document)?;
    Ok(Value::Object(document))
}

/// The envelope's messages: up to four fields, all of them bytes, each at most once.
fn parts(bytes: &[u8]) -> Read<[Option<&[u8]>; 4]> {
    let mut found = [None; 4];
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        let slot = usize::try_from(number).ok().and_then(|number| found.get_mut(number.checked_sub(1)?));
        let Some(slot) = slot else {
            return opaque(format!("its envelope has a field {number}"));
        };
        if slot.replace(wire.bytes()?).is_some() {
            return malformed(format!("its envelope has field {number} twice"));
        }
    }
    Ok(found)
}

/// Reads a message's fields into `out`.
fn fields(schema: &Schema, message: &Message, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Read<()> {
    if depth > MAX_DEPTH {
        return malformed(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    let mut seen = BTreeSet::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        let Some(field) = message.field(number) else {
            return opaque(format!("{} has a field {number} that is not in the schema", message.name));
        };
        if !matches!(field.kind, Kind::List(_) | Kind::Map(_)) && !seen.insert(number) {
            return malformed(format!("{} has field {number} twice", message.name));
        }
        read_field(schema, field, wire, depth, out)?;
    }
    Ok(())
}

fn read_field(schema: &Schema, field: &Field, wire: Wire<'_>, depth: usize, out: &mut Map<String, Value>) -> Read<()> {
    match &field.kind {
        Kind::List(item) => {
            let item = value(schema, item, wire, depth)?;
            match out.entry(field.name.clone()).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(list) => list.push(item),
                _ => return malformed(format!("{} is said twice", field.name)),
            }
        }
        Kind::Map(of) => {
            let (key, item) = entry(schema, of, wire.bytes()?, depth)?;
            match out.entry(field.name.clone()).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(map) if !map.contains_key(&key) => map.insert(key, item),
                _ => return malformed(format!("{} has the key {key:?} twice", field.name)),
            };
        }
        Kind::Message(inner) if field.name.is_empty() => {
            let Some(inner) = schema.message(*inner) else {
                return opaque("the schema is not whole");
            };
            fields(schema, inner, wire.bytes()?, depth + 1, out)?;
        }
        kind => {
            let value = value(schema, kind, wire, depth)?;
            if field.omit_zero && is_zero(&value) {
                return Ok(());
            }
            if out.insert(field.name.clone(), value).is_some() {
                return malformed(format!("{} is said twice", field.name));
            }
        }
    }
    Ok(())
}

/// An entry of a map: the key is field 1, the value field 2; a zero may be left out.
fn entry(schema: &Schema, of: &Kind, bytes: &[u8], depth: usize) -> Read<(String, Value)> {
    let (mut key, mut item) = (None, None);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        let twice = match number {
            1 => key.replace(text(wire.bytes()?)?).is_some(),
            2 => item.replace(value(schema, of, wire, depth + 1)?).is_some(),
            _ => return opaque(format!("a map's entry has a field {number}")),
        };
        if twice {
            return malformed("a map's entry has a field twice");
        }
    }
    let item = match item {
        Some(item) => item,
        None => value(schema, of, Wire::zero(of.is_varint()), depth + 1)?,
    };
    Ok((key.unwrap_or_default(), item))
}

fn value(schema: &Schema, kind: &Kind, wire: Wire<'_>, depth: usize) -> Read<Value> {
    Ok(match kind {
        Kind::Text => text(wire.bytes()?)?.into(),
        Kind::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Kind::Bool => match wire.varint()? {
            0 => false.into(),
            1 => true.into(),
            _ => return malformed("a yes-or-no is neither"),
        },
        Kind::Int32 => int32(wire)?.into(),
        Kind::Int64 => wire.varint()?.cast_signed().into(),
        Kind::Message(inner) => {
            let Some(inner) = schema.message(*inner) else {
                return opaque("the schema is not whole");
            };
            let mut map = Map::new();
            fields(schema, inner, wire.bytes()?, depth + 1, &mut map)?;
            Value::Object(map)
        }
        // A message that is a list in JSON: its items are field 1.
        Kind::Wrapped(item) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(wire.bytes()?);
            while let Some((number, wire)) = reader.field()? {
                match number {
                    1 => list.push(value(schema, item, wire, depth + 1)?),
                    _ => return opaque(format!("a list has a field {number}")),
                }
            }
            Value::Array(list)
        }
        Kind::Quantity => text(parts(wire.bytes()?)?[0].unwrap_or_default())?.into(),
        Kind::IntOrString => int_or_string(wire.bytes()?)?,
        Kind::Time => time(wire.bytes()?, "%Y-%m-%dT%H:%M:%SZ")?,
        Kind::MicroTime => time(wire.bytes()?, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        Kind::Json => match parts(wire.bytes()?)?[0].unwrap_or_default() {
            [] => Value::Null,
            json => json::parse(json).map_err(|why| Stop::Unreadable(why.message))?,
        },
        // They are only fields, never values of others.
        Kind::List(_) | Kind::Map(_) => return opaque("the schema has a list of lists"),
    })
}

fn text(bytes: &[u8]) -> Read<String> {
    std::str::from_utf8(bytes).map(str::to_owned).or_else(|_| malformed("a text in it is not UTF-8"))
}

/// A number of 32 bits; a negative one is written in 64.
fn int32(wire: Wire<'_>) -> Read<i32> {
    i32::try_from(wire.varint()?.cast_signed()).or_else(|_| malformed("a number in it is larger than its field"))
}

/// Two numbers and a text, each at most once: fields 1 and 2, and 3.
fn int_or_string(bytes: &[u8]) -> Read<Value> {
    let (mut kind, mut number, mut name) = (None, None, None);
    let mut reader = Reader::new(bytes);
    while let Some((field, wire)) = reader.field()? {
        let twice = match field {
            1 => kind.replace(wire.varint()?).is_some(),
            2 => number.replace(int32(wire)?).is_some(),
            3 => name.replace(text(wire.bytes()?)?).is_some(),
            _ => return opaque(format!("a number or text has a field {field}")),
        };
        if twice {
            return malformed(format!("a number or text has field {field} twice"));
        }
    }
    match kind.unwrap_or_default() {
        0 => Ok(number.unwrap_or_default().into()),
        1 => Ok(name.unwrap_or_default().into()),
        _ => malformed("a number or text is neither"),
    }
}

/// Seconds since 1970, and nanoseconds; nothing at all is no time.
fn time(bytes: &[u8], format: &str) -> Read<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (None, None);
    let mut reader = Reader::new(bytes);
    while let Some((field, wire)) = reader.field()? {
        let twice = match field {
            1 => seconds.replace(wire.varint()?.cast_signed()).is_some(),
            2 => nanoseconds.replace(int32(wire)?).is_some(),
            _ => return opaque(format!("a time has a field {field}")),
        };
        if twice {
            return malformed(format!("a time has field {field} twice"));
        }
    }
    let time = Timestamp::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default());
    match time {
        Ok(time) => Ok(time.strftime(format).to_string().into()),
        Err(_) => malformed("a time in it is none"),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
