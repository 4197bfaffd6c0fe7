//! An entry's `labels`: what its calls leave in the session.

use std::collections::BTreeSet;

use super::super::Source;
use super::super::condition::Condition;
use super::super::tables::{Label, Origin};
use super::cache::Cache;
use super::{Draft, Report, conditions};
use crate::document::{Diagnostic, Fields, Place, Value, nearest};

/// Most labels of one entry.
const MAX_LABELS: usize = 32;

/// Reads `labels: [NAME]` (always) or `labels: {NAME: condition}`.
pub(super) fn read(source: &Source, fields: &mut Fields<'_>, cache: &mut Cache) -> Vec<Label> {
    let Some(node) = fields.node("labels") else { return Vec::new() };
    let mut labels = Vec::new();
    match &node.value {
        Value::List(_) => {
            for (place, name) in fields.texts("labels").unwrap_or_default() {
                if is_name(fields, &name, place) {
                    labels.push(Label { name, when: cache.constant(true) });
                }
            }
        }
        Value::Map(entries) => {
            for (key, node) in entries {
                let path = format!("labels.{}", key.name);
                let when = match &node.value {
                    Value::Bool(value) => Some(cache.constant(*value)),
                    Value::Text(text) => conditions::compile(source, fields, cache, &path, node.place, text),
                    other => {
                        let message = format!("expected a condition, true or false, found {}", other.kind());
                        fields.error_at(&path, node.place, message, None);
                        None
                    }
                };
                if let (true, Some(when)) = (is_name(fields, &key.name, key.place), when) {
                    labels.push(Label { name: key.name.clone(), when });
                }
            }
        }
        other => {
            let message = format!("expected a list of labels, or labels with conditions, found {}", other.kind());
            fields.error_at("labels", node.place, message, None);
        }
    }
    if labels.len() > MAX_LABELS {
        fields.error_at("labels", node.place, format!("more than {MAX_LABELS} labels in one entry"), None);
    }
    labels
}

fn is_name(fields: &mut Fields<'_>, name: &str, place: Place) -> bool {
    let good = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-:/".contains(letter));
    if !good {
        let message = format!("{name:?} can't be a label: 1 to 64 letters, digits and . _ - : /");
        fields.error_at("labels", place, message, None);
    }
    good
}

/// A condition that asks for a label which no entry of any policy leaves is never true.
pub(super) fn warn_of_unknown(drafts: &[Draft], report: &mut Report) {
    let entries = || drafts.iter().flat_map(|draft| draft.entries.iter().map(|(_, entry)| entry));
    let left: BTreeSet<&str> = entries().flat_map(|entry| &entry.labels).map(|label| label.name.as_str()).collect();
    let mut warn = |file: &str, place: Place, path: &str, condition: &Condition| {
        for label in condition.uses.labels.iter().filter(|label| !left.contains(label.as_str())) {
            let suggestion = nearest(label, left.iter().copied()).map(|near| format!("did you mean {near:?}?"));
            let message = format!("no entry leaves the label {label:?}, so it is in no session");
            report.warnings.push(Diagnostic::error(file, place, path, message).suggest(suggestion).warning());
        }
    };
    for draft in drafts {
        draft.deny.iter().for_each(|condition| warn(&draft.file, draft.place, "deny_if", condition));
    }
    for entry in entries() {
        let Origin { file, place, path, .. } = &entry.origin;
        entry.conditions().for_each(|condition| warn(file, *place, path, condition));
    }
}
