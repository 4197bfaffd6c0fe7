//! What a server sends back, before an agent sees it: lists that hold only what the agent may use, and nothing that policy wants
//! redacted.
//!
//! A list is known by its shape and not by what was asked: an answer may come on another stream than its request (a resumed one),
//! where nobody knows any more what it answers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::describe::{Unreadable, strict_json};
use crate::sanitize::{Answers, answered};

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources.
    Resources,
    /// Templates of resources.
    Templates,
}

impl Listed {
    const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }
}

/// Reads an answer. A key that stands twice would be one thing here and another for its client.
///
/// # Errors
/// Why it can't be read.
pub fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    strict_json(bytes)
}

/// The lists that an answer holds.
pub fn lists(message: &Value) -> impl Iterator<Item = (Listed, &Vec<Value>)> {
    let result = message.get("result");
    Listed::ALL.into_iter().filter_map(move |listed| Some((listed, result?.get(listed.key())?.as_array()?)))
}

/// Leaves in an answer's lists what `keep` says; whether something went. A list that is somebody's own says that it is: no cache
/// on the way may show it to others.
pub fn filter(message: &mut Value, keep: impl Fn(Listed, &Value) -> bool) -> bool {
    let mut changed = false;
    let Some(result) = message.get_mut("result").and_then(Value::as_object_mut) else { return false };
    for listed in Listed::ALL {
        let Some(Value::Array(items)) = result.get_mut(listed.key()) else { continue };
        let before = items.len();
        items.retain(|item| keep(listed, item));
        changed |= items.len() != before;
        let shared = result.get("cacheScope").is_some_and(|scope| scope != "private");
        if shared || (result.contains_key("ttlMs") && !result.contains_key("cacheScope")) {
            result.insert("cacheScope".to_owned(), "private".into());
            changed = true;
        }
    }
    changed
}

/// Redacts what `kinds` name anywhere in what is said; the names of what was found.
pub fn redact(message: &mut Value, kinds: &Answers) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if kinds.is_empty() {
        return found;
    }
    for part in ["result", "error", "params"] {
        if let Some(value) = message.get_mut(part) {
            answered(value, kinds, &mut found);
        }
    }
    found
}
