//! Typed reading of a mapping, with all of its errors collected.

use super::{Diagnostic, Key, Node, Place, Value};

/// A mapping being read key by key. Keys that nobody asks for are unknown, and [`Fields::finish`] says so.
///
/// ```
/// # use aegis_core::document::{Fields, parse};
/// let nodes = parse("a.yaml", "limit: 10\nbrust: 20\n")?;
/// let mut errors = Vec::new();
/// let mut fields = Fields::of("a.yaml", "rate", &nodes[0], &mut errors).expect("a mapping");
/// assert_eq!(fields.int("limit"), Some(10));
/// assert_eq!(fields.int("burst"), None);
/// fields.finish();
/// assert_eq!(errors[0].to_string(), "a.yaml:2:1: rate.brust: unknown key; did you mean `burst`?");
/// # Ok::<(), aegis_core::document::Diagnostic>(())
/// ```
pub struct Fields<'a> {
    file: &'a str,
    path: String,
    place: Place,
    entries: &'a [(Key, Node)],
    asked: Vec<String>,
    errors: &'a mut Vec<Diagnostic>,
}

impl<'a> Fields<'a> {
    /// Starts reading `node`, which must be a mapping; `path` is what errors call it. `None` when it isn't one.
    pub fn of(file: &'a str, path: &str, node: &'a Node, errors: &'a mut Vec<Diagnostic>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let message = format!("expected a mapping, found {}", node.value.kind());
            errors.push(Diagnostic::error(file, node.place, path, message));
            return None;
        };
        Some(Self { file, path: path.to_owned(), place: node.place, entries, asked: Vec::new(), errors })
    }

    /// Where the mapping starts.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The full name of a key of this mapping, for messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The raw value of `key`; also says that the key exists.
    pub fn node(&mut self, key: &str) -> Option<&'a Node> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        self.entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
    }

    /// The keys that nobody has asked for yet, for families such as `max_<param>`; mark one used with [`Fields::node`].
    pub fn unasked(&self) -> Vec<&'a Key> {
        self.entries.iter().map(|(key, _)| key).filter(|key| !self.asked.contains(&key.name)).collect()
    }

    /// Like [`Fields::node`], but missing is an error.
    pub fn required(&mut self, key: &str) -> Option<&'a Node> {
        let found = self.node(key);
        if found.is_none() {
            let (place, path) = (self.place, self.path.clone());
            self.errors.push(Diagnostic::error(self.file, place, &path, format!("`{key}` is missing")));
        }
        found
    }

    /// Text under `key`.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let node = self.node(key)?;
        self.read_text(key, node)
    }

    /// Text under `key`, which must be there.
    pub fn required_text(&mut self, key: &str) -> Option<String> {
        let node = self.required(key)?;
        self.read_text(key, node)
    }

    fn read_text(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            other => self.mistyped(key, node, "text", other.kind()),
        }
    }

    /// `true` or `false` under `key`.
    pub fn bool(&mut self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match &node.value {
            Value::Bool(value) => Some(*value),
            other => self.mistyped(key, node, "true or false", other.kind()),
        }
    }

    /// A whole number under `key`.
    pub fn int(&mut self, key: &str) -> Option<i64> {
        let node = self.node(key)?;
        match &node.value {
            Value::Int(value) => Some(*value),
            other => self.mistyped(key, node, "a whole number", other.kind()),
        }
    }

    /// A list under `key`.
    pub fn list(&mut self, key: &str) -> Option<&'a [Node]> {
        let node = self.node(key)?;
        match &node.value {
            Value::List(items) => Some(items),
            Value::Text(text) => {
                let hint = format!("write [{text:?}]");
                self.error_at(key, node.place, "expected a list, found text", Some(hint));
                None
            }
            other => self.mistyped(key, node, "a list", other.kind()),
        }
    }

    /// A list of texts under `key`, each with its place.
    pub fn texts(&mut self, key: &str) -> Option<Vec<(Place, String)>> {
        let items = self.list(key)?;
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push((item.place, text.clone())),
                other => return self.mistyped(key, item, "a list of texts", other.kind()),
            }
        }
        Some(texts)
    }

    /// A mapping under `key`, to be read the same way.
    pub fn map<'b>(&'b mut self, key: &str) -> Option<Fields<'b>>
    where
        'a: 'b,
    {
        let node = self.node(key)?;
        let path = self.path_of(key);
        Fields::of(self.file, &path, node, self.errors)
    }

    fn mistyped<T>(&mut self, key: &str, node: &Node, expected: &str, found: &str) -> Option<T> {
        self.error_at(key, node.place, format!("expected {expected}, found {found}"), None);
        None
    }

    /// Reports an error about `key` at `place`.
    pub fn error_at(&mut self, key: &str, place: Place, message: impl Into<String>, suggestion: Option<String>) {
        let path = self.path_of(key);
        self.errors.push(Diagnostic::error(self.file, place, &path, message).suggest(suggestion));
    }

    /// Ends the reading: every key that was never asked for is an error that names the nearest valid one.
    pub fn finish(self) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.name) {
                continue;
            }
            let suggestion = nearest(&key.name, self.asked.iter().map(String::as_str))
                .map(|name| format!("did you mean `{name}`?"))
                .unwrap_or_else(|| format!("valid keys: {}", self.asked.join(", ")));
            let path = if self.path.is_empty() { key.name.clone() } else { format!("{}.{}", self.path, key.name) };
            self.errors.push(Diagnostic::error(self.file, key.place, &path, "unknown key").suggest(Some(suggestion)));
        }
    }
}

/// The one of `valid` that `word` was probably meant to be, if any is near enough.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
