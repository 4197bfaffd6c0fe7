//! Keys that hold conditions.

use super::super::Source;
use super::super::condition::{Condition, Refusal};
use super::super::tables::Shared;
use super::MAX_LIST;
use super::cache::Cache;
use crate::document::{Fields, Node, Place, Value};

/// `approval_needed`: a condition, or true or false.
pub(super) fn approval_needed(
    source: &Source,
    fields: &mut Fields<'_>,
    cache: &mut Cache,
) -> Option<Shared<Condition>> {
    let node = fields.node("approval_needed")?;
    match &node.value {
        Value::Bool(value) => Some(cache.constant(*value)),
        Value::Text(text) => compile(source, fields, cache, "approval_needed", node.place, text),
        other => {
            let message = format!("expected a condition, true or false, found {}", other.kind());
            fields.error_at("approval_needed", node.place, message, None);
            None
        }
    }
}

/// `deny_if`: a condition, or several.
pub(super) fn deny_if(source: &Source, fields: &mut Fields<'_>, cache: &mut Cache) -> Vec<Shared<Condition>> {
    const KEY: &str = "deny_if";
    let Some(node) = fields.node(KEY) else { return Vec::new() };
    let items: &[Node] = match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        fields.error_at(KEY, node.place, "expected a condition, found an empty list", None);
    }
    if items.len() > MAX_LIST {
        fields.error_at(KEY, node.place, format!("more than {MAX_LIST} values in one list"), None);
        return Vec::new();
    }
    let mut conditions = Vec::with_capacity(items.len());
    for item in items {
        match &item.value {
            Value::Text(text) => conditions.extend(compile(source, fields, cache, KEY, item.place, text)),
            other => {
                let message = format!("expected a condition, found {}", other.kind());
                let suggestion = matches!(other, Value::Bool(_)).then(|| "to refuse every call, leave the entry out");
                fields.error_at(KEY, item.place, message, suggestion.map(str::to_owned));
            }
        }
    }
    conditions
}

/// Compiles the condition at a place under a key.
pub(super) fn compile(
    source: &Source,
    fields: &mut Fields<'_>,
    cache: &mut Cache,
    key: &str,
    place: Place,
    text: &str,
) -> Option<Shared<Condition>> {
    match cache.condition(text) {
        Ok(condition) => Some(condition),
        Err(refusal) => {
            let (place, message) = locate(source, place, text, refusal);
            fields.error_at(key, place, message, None);
            None
        }
    }
}

/// The exact place where the condition stands as it is in one line of the file; else where it starts, and the offset in words.
fn locate(source: &Source, place: Place, text: &str, refusal: Refusal) -> (Place, String) {
    let Refusal { offset: Some(offset), message } = refusal else { return (place, refusal.message) };
    let line = source.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    let rest: String = line.chars().skip(place.column.saturating_sub(1)).collect();
    if rest.starts_with(text) {
        return (Place { column: place.column + offset, ..place }, message);
    }
    (place, format!("{message} (at character {} of the condition)", offset + 1))
}
