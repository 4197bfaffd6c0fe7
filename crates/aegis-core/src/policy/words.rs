//! Every word in what is compiled, the names of all parameters that are looked at among them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::PolicySet;

/// The words of a set of policies.
#[derive(Debug)]
pub struct Words {
    /// `None` where there is Rego of others, in which any word may be.
    known: Option<BTreeSet<String>>,
}

impl PolicySet {
    /// The words that these policies hold: whatever they look at is named by some of them.
    pub fn words(&self) -> Words {
        let tables =
            serde_json::to_value(&self.tables).ok().filter(|_| self.foreign.is_none() && self.modules().is_empty());
        let known = tables.map(|tables| {
            let mut words = BTreeSet::new();
            collect(&tables, &mut words);
            words
        });
        Words { known }
    }
}

impl Words {
    /// Whether any part of this path is among them.
    pub fn has_any_of(&self, path: &str) -> bool {
        self.known.as_ref().is_none_or(|known| parts(path).any(|part| known.contains(part)))
    }
}

/// The parts of a path; a name that holds a separator itself comes in several, here as there.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(['.', '[', ']']).filter(|part| !part.is_empty())
}

fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => words.extend(parts(text).map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => fields.iter().for_each(|(key, item)| {
            words.extend(parts(key).map(str::to_owned));
            collect(item, words);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
