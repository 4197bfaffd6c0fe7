//! One value of a document, changed in its text: nothing else moves.
//!
//! The places come from the reader; how far a value reaches is found in the text. So every result is read again and compared
//! with what was meant, and one that differs is no result.

use serde_json::Value as Json;

use crate::document::{self, Node, Place, Value};
use crate::policy::Source;

/// A step from a file to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// One of the file's documents.
    Document(usize),
    /// A key of a mapping.
    Key(String),
    /// An element of a list.
    Index(usize),
}

/// What to do with a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    /// Another number, or amount.
    Set(Json),
    /// More elements, at the end of a list.
    Push(Vec<Json>),
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    /// Where the value is.
    pub(super) path: Vec<Step>,
    /// What becomes of it.
    pub(super) op: Op,
    /// The same in words.
    pub(super) what: String,
    /// Why.
    pub(super) why: String,
}

impl Step {
    /// The value that it leads to. The first step of a path stands in its document already.
    pub(super) fn of<'a>(&self, node: &'a Node) -> Option<&'a Node> {
        match (self, &node.value) {
            (Self::Document(_), _) => Some(node),
            (Self::Key(key), _) => node.get(key),
            (Self::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        }
    }
}

/// The text with all edits made, and the line of each edit (from 1, in the text as it was); `None` when the result isn't what
/// was meant.
pub(super) fn apply(source: &Source, edits: &[Edit]) -> Option<(String, Vec<usize>)> {
    let documents = document::parse(&source.file, &source.text).ok()?;
    let mut meant: Vec<Json> = documents.iter().map(Node::to_json).collect();
    let mut splices = Vec::new();
    for edit in edits {
        let [Step::Document(nth), ..] = edit.path.as_slice() else { return None };
        let node = edit.path.iter().try_fold(documents.get(*nth)?, |node, step| step.of(node))?;
        splices.push(splice(&source.text, node, &edit.op)?);
        change(edit.path.iter().skip(1).try_fold(meant.get_mut(*nth)?, step_into)?, &edit.op)?;
    }
    let line = |splice: &Splice| Some(source.text.get(..splice.at)?.matches('\n').count() + 1);
    let lines: Vec<usize> = splices.iter().map(line).collect::<Option<_>>()?;
    // From the end, so that what comes before keeps its place.
    splices.sort_by_key(|splice| std::cmp::Reverse(splice.at));
    let mut text = source.text.clone();
    for Splice { at, remove, insert } in splices {
        text.replace_range(at..at.checked_add(remove)?, &insert);
    }
    let read: Vec<Json> = document::parse(&source.file, &text).ok()?.iter().map(Node::to_json).collect();
    (read == meant).then_some((text, lines))
}

fn step_into<'a>(json: &'a mut Json, step: &Step) -> Option<&'a mut Json> {
    match step {
        Step::Document(_) => Some(json),
        Step::Key(key) => json.get_mut(key),
        Step::Index(index) => json.get_mut(index),
    }
}

fn change(json: &mut Json, op: &Op) -> Option<()> {
    match op {
        Op::Set(value) => *json = value.clone(),
        Op::Push(values) => json.as_array_mut()?.extend(values.iter().cloned()),
    }
    Some(())
}

/// At a byte: so many bytes go, this comes.
struct Splice {
    at: usize,
    remove: usize,
    insert: String,
}

fn splice(text: &str, node: &Node, op: &Op) -> Option<Splice> {
    let at = offset(text, node.place)?;
    match (op, &node.value) {
        (Op::Set(value), _) => {
            let old = text.get(at..end(text, node)?)?;
            // Quotes stay as they are.
            let bare = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let insert = match old.chars().next()? {
                quote @ ('"' | '\'') => format!("{quote}{bare}{quote}"),
                _ => bare,
            };
            Some(Splice { at, remove: old.len(), insert })
        }
        (Op::Push(values), Value::List(items)) if text.get(at..)?.starts_with('[') => {
            let new: Vec<String> = values.iter().map(written).collect();
            match items.last() {
                None => Some(Splice { at: at + 1, remove: 0, insert: new.join(", ") }),
                Some(last) => Some(Splice { at: end(text, last)?, remove: 0, insert: format!(", {}", new.join(", ")) }),
            }
        }
        (Op::Push(values), Value::List(items)) => {
            let (first, last) = (items.first()?, items.last()?);
            let line = text.lines().nth(first.place.line - 1)?;
            let lead: String = line.chars().take(first.place.column - 1).collect();
            // A dash on a line of its own, or after a key: its elements aren't lines of one kind.
            if lead.trim() != "-" {
                return None;
            }
            let at = offset(text, Place { line: last_line(last) + 1, column: 1 }).unwrap_or(text.len());
            let start = if text.get(..at)?.ends_with('\n') { "" } else { "\n" };
            let new: String = values.iter().map(|value| format!("{lead}{}\n", written(value))).collect();
            Some(Splice { at, remove: 0, insert: format!("{start}{new}") })
        }
        _ => None,
    }
}

/// The byte at a place; `None` behind the last line.
fn offset(text: &str, place: Place) -> Option<usize> {
    let mut start = 0;
    for _ in 1..place.line {
        start += text.get(start..)?.find('\n')? + 1;
    }
    let line = text.get(start..)?;
    let column = line.char_indices().nth(place.column - 1).map_or(line.len(), |(at, _)| at);
    Some(start + column)
}

/// Where a value ends that stands in one line: a scalar's last character, a mapping's `}`.
fn end(text: &str, node: &Node) -> Option<usize> {
    let start = offset(text, node.place)?;
    let rest = text.get(start..)?;
    let length = match rest.chars().next()? {
        quote @ ('"' | '\'') => {
            let body = rest.get(1..)?;
            // An escape would need a reader: what it is taken for is checked at the end.
            body.find(quote)? + 2
        }
        '{' => rest.find('}')? + 1,
        _ => {
            let stop = rest.find([',', ']', '}', '\n', '#']).unwrap_or(rest.len());
            rest.get(..stop)?.trim_end().len()
        }
    };
    Some(start + length)
}

fn last_line(node: &Node) -> usize {
    let inner = match &node.value {
        Value::List(items) => items.iter().map(last_line).max(),
        Value::Map(entries) => entries.iter().map(|(_, node)| last_line(node)).max(),
        _ => None,
    };
    inner.unwrap_or(node.place.line).max(node.place.line)
}

/// A value as an element of a list: bare words bare, everything else in quotes.
fn written(value: &Json) -> String {
    match value {
        Json::String(text) if is_bare(text) => text.clone(),
        Json::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A word that every reader of YAML takes for text.
fn is_bare(text: &str) -> bool {
    let word = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    word && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n")
}
