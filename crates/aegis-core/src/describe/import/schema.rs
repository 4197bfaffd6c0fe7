//! What of JSON Schema a catalogue can say: the fields of an object, their types, and which are required.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Deeper than any reference or composition that is meant.
const MAX_DEPTH: usize = 16;

/// The document that references are looked up in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) root: &'a Value,
}

/// The fields of an object.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) properties: BTreeMap<&'a str, &'a Value>,
    pub(super) required: BTreeSet<&'a str>,
    /// It has fields that aren't listed.
    pub(super) open: bool,
}

impl<'a> Document<'a> {
    /// What a reference leads to within the document; `None` where it leads out of it or nowhere.
    pub(super) fn resolved(self, mut value: &'a Value) -> Option<&'a Value> {
        for _ in 0..MAX_DEPTH {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Some(value) };
            value = self.root.pointer(reference.strip_prefix('#')?)?;
        }
        None
    }

    /// The fields of an object's schema.
    pub(super) fn fields(self, schema: &'a Value) -> Fields<'a> {
        let mut fields = Fields::default();
        self.collect(schema, &mut fields, 0);
        fields.open |= fields.properties.is_empty();
        fields
    }

    fn collect(self, schema: &'a Value, into: &mut Fields<'a>, depth: usize) {
        let Some(schema) = self.resolved(schema).and_then(Value::as_object).filter(|_| depth < MAX_DEPTH) else {
            into.open = true;
            return;
        };
        into.properties.extend(object(schema, "properties").map(|(name, schema)| (name.as_str(), schema)));
        into.required.extend(list(schema, "required").filter_map(Value::as_str));
        list(schema, "allOf").for_each(|part| self.collect(part, into, depth + 1));
        // One of several shapes: what is listed is listed, and none of it is sure.
        for part in list(schema, "oneOf").chain(list(schema, "anyOf")) {
            let mut one = Fields::default();
            self.collect(part, &mut one, depth + 1);
            into.open |= one.open || one.properties.is_empty();
            into.properties.extend(one.properties);
        }
        into.open |= matches!(schema.get("additionalProperties"), Some(Value::Bool(true) | Value::Object(_)));
        into.open |= self.kind(schema).is_some_and(|kind| kind != "object");
    }

    /// A schema's type; of several the first that isn't null.
    pub(super) fn kind(self, schema: &'a Map<String, Value>) -> Option<&'a str> {
        match schema.get("type")? {
            Value::String(kind) => Some(kind),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            _ => None,
        }
    }
}

pub(super) fn object<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.get(key).and_then(Value::as_object).into_iter().flatten()
}

pub(super) fn list<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}
