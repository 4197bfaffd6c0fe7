//! What a server says of its tools: remembered by hash, so that a tool can't become another one behind its name.
//!
//! A tool's name, description, schemas and annotations are what a model reads and acts upon. They are hashed together; what was
//! seen first is what is trusted, until an operator accepts another. Annotations are a server's word about itself: nothing is
//! allowed because of them.

use serde_json::{Value, json};

use super::headers::Mirror;
use crate::call::Digest;

/// What of a tool's definition a model or a client acts upon.
const MEMBERS: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];
/// How deep a schema is looked into for headers.
const DEEPEST: usize = 16;

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What its definition hashes to.
    pub hash: String,
    /// What in it is hidden from a human who reads it, in words.
    pub hides: Option<&'static str>,
    /// The arguments that headers mirror.
    pub mirrors: Vec<Mirror>,
    /// Whether it says what its results look like.
    pub typed: bool,
}

impl Definition {
    /// Reads an element of a list of tools; `None` where it isn't one.
    pub fn read(tool: &Value) -> Option<Self> {
        let name = tool.get("name")?.as_str().filter(|name| super::is_name(name))?.to_owned();
        let meant: Vec<Value> = MEMBERS.iter().map(|key| tool.get(*key).cloned().unwrap_or(Value::Null)).collect();
        let meant = json!(meant);
        let hash = Digest::of(meant.to_string());
        let mut mirrors = Vec::new();
        if let Some(schema) = tool.get("inputSchema") {
            mirrored(schema, &mut Vec::new(), &mut mirrors);
        }
        let typed = tool.get("outputSchema").is_some_and(Value::is_object);
        Some(Self { name, hash: hash.to_string(), hides: hides(&meant), mirrors, typed })
    }
}

/// The properties that a schema has mirrored in headers.
fn mirrored(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mirror>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    if path.len() >= DEEPEST {
        return;
    }
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str) {
            found.push(Mirror { header: header.to_ascii_lowercase(), path: path.clone() });
        }
        mirrored(property, path, found);
        path.pop();
    }
}

/// What a text holds that a model reads and a human doesn't see.
fn hides(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(text) => hidden(text),
        Value::Array(items) => items.iter().find_map(hides),
        Value::Object(map) => map.iter().find_map(|(key, value)| hidden(key).or_else(|| hides(value))),
        _ => None,
    }
}

fn hidden(text: &str) -> Option<&'static str> {
    text.chars().find_map(|character| match character {
        '\u{1b}' | '\u{9b}' => Some("terminal escape sequences"),
        '\t' | '\n' | '\r' => None,
        '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{180e}' => {
            Some("characters without width")
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("characters that turn the direction of reading"),
        '\u{e0000}'..='\u{e007f}' => Some("letters that are not shown"),
        control if control.is_control() => Some("control characters"),
        _ => None,
    })
}
