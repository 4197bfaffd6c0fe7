//! What is kept and told of a call: names, places and words that an agent chose, without what must not leave.
//!
//! Policies say what is taken out of a call that is forwarded. What Aegis itself writes down or says (a record, a span, an error, a
//! message to a human) never holds any of it, whatever the policies: every built-in detector looks through it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{Answers, Detector};

static EVERYTHING: LazyLock<Answers> =
    LazyLock::new(|| Answers::new([(Detector::new(Detector::all_names()).into(), None)]));

/// Longest text of small letters, `_`, `-`, `.`, `/` and spaces that is not looked through: most names are such texts, and nothing that
/// is looked for is.
const PLAIN: usize = 24;

/// A text as it may be kept and told.
pub fn text(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    EVERYTHING.text(text, &mut BTreeSet::new()).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The same of a text that is owned.
pub fn owned(mut owned: String) -> String {
    if let Cow::Owned(clean) = text(&owned) {
        owned = clean;
    }
    owned
}

/// A value as it may be kept and told.
pub fn value(mut value: Value) -> Value {
    match &value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if is_plain(text) => {}
        _ => EVERYTHING.value(&mut value, &mut BTreeSet::new()),
    }
    value
}

/// Parameters as they may be kept and told.
pub fn params(params: Map<String, Value>) -> Map<String, Value> {
    match value(Value::Object(params)) {
        Value::Object(clean) => clean,
        // They couldn't be looked through, and this says so.
        other => Map::from_iter([("params".to_owned(), other)]),
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= PLAIN && text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-./ ".contains(&byte))
}
