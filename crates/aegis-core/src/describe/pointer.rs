//! JSON Pointer (RFC 6901) with `*` for every element: where a parameter stands in a body.
//!
//! Invariant: nothing that a server might read at this place is passed over. A key that differs only by case from the one
//! asked for makes the body unreadable, since some servers' decoders ignore case (Go's `encoding/json` among them).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Unreadable;

/// A compiled pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pointer {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Key(String),
    /// `*`: every element of a list, or every value of an object.
    Each,
}

impl Pointer {
    /// Compiles `/a/b~1c/*/d`; the empty text is the whole document.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text).ok_or_else(|| format!("{text:?} is no JSON Pointer: it starts with `/`"))?;
        let token = |token: String| if token == "*" { Token::Each } else { Token::Key(token) };
        Ok(Self { tokens: tokens.into_iter().map(token).collect() })
    }

    /// The pointer to one key of the whole document.
    pub(super) fn key(name: &str) -> Self {
        Self { tokens: vec![Token::Key(name.to_owned())] }
    }

    /// This pointer, continued by `rest`.
    pub(super) fn join(&self, rest: &Self) -> Self {
        Self { tokens: self.tokens.iter().chain(&rest.tokens).cloned().collect() }
    }

    /// Its keys, `*` for each element.
    pub(super) fn keys(&self) -> Vec<&str> {
        fn key(token: &Token) -> &str {
            match token {
                Token::Key(key) => key,
                Token::Each => "*",
            }
        }
        self.tokens.iter().map(key).collect()
    }

    /// The key that it starts with.
    pub(super) fn first(&self) -> Option<&str> {
        self.tokens.first().and_then(|token| match token {
            Token::Key(key) => Some(key.as_str()),
            Token::Each => None,
        })
    }

    /// Whether it can stand for several values.
    pub(super) fn is_multiple(&self) -> bool {
        self.tokens.contains(&Token::Each)
    }

    /// Adds to `found` what stands there. Where the document has text or a number on the way, that is what's found: it isn't
    /// what a rule expects, so it can't pass for absent.
    pub(super) fn find<'v>(&self, document: &'v Value, found: &mut Vec<&'v Value>) -> Result<(), Unreadable> {
        walk(document, &self.tokens, found)
    }

    /// Adds to `found` what stands exactly there; `None` where the document isn't built like that.
    pub(super) fn find_exactly<'v>(&self, document: &'v Value, found: &mut Vec<&'v Value>) -> Option<()> {
        fn walk<'v>(value: &'v Value, tokens: &[Token], found: &mut Vec<&'v Value>) -> Option<()> {
            let Some((token, rest)) = tokens.split_first() else {
                found.push(value);
                return Some(());
            };
            match (token, value) {
                (Token::Key(key), Value::Object(map)) => walk(unambiguous(map, key).ok()??, rest, found),
                (Token::Key(key), Value::Array(list)) => walk(list.get(key.parse::<usize>().ok()?)?, rest, found),
                (Token::Each, Value::Array(list)) => list.iter().try_for_each(|child| walk(child, rest, found)),
                _ => None,
            }
        }
        walk(document, &self.tokens, found)
    }

    /// Whether one of the two stands for a place that is the other's, or below it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let same = |(a, b): (&Token, &Token)| a == b || *a == Token::Each || *b == Token::Each;
        self.tokens.iter().zip(&other.tokens).all(same)
    }

    /// Whether the place `path` is this place or below it.
    pub(super) fn covers(&self, path: &[Cow<'_, str>]) -> bool {
        self.tokens.len() <= path.len()
            && self.tokens.iter().zip(path).all(|(token, key)| match token {
                Token::Each => true,
                Token::Key(name) => name == key,
            })
    }
}

fn walk<'v>(value: &'v Value, tokens: &[Token], found: &mut Vec<&'v Value>) -> Result<(), Unreadable> {
    let Some((token, rest)) = tokens.split_first() else {
        found.push(value);
        return Ok(());
    };
    match (token, value) {
        (_, Value::Null) => Ok(()),
        (Token::Key(key), Value::Object(map)) => match unambiguous(map, key)? {
            Some(child) => walk(child, rest, found),
            None => Ok(()),
        },
        (Token::Key(key), Value::Array(list)) if key.parse::<usize>().is_ok() => {
            let child = key.parse::<usize>().ok().and_then(|index| list.get(index));
            child.map_or(Ok(()), |child| walk(child, rest, found))
        }
        (Token::Each, Value::Array(list)) => list.iter().try_for_each(|child| walk(child, rest, found)),
        (Token::Each, Value::Object(map)) => map.values().try_for_each(|child| walk(child, rest, found)),
        _ => {
            found.push(value);
            Ok(())
        }
    }
}

/// The value under a key of an object, found as a pointer finds it; `None` too where there is no object.
pub(super) fn field<'v>(value: &'v Value, key: &str) -> Result<Option<&'v Value>, Unreadable> {
    value.as_object().map_or(Ok(None), |map| unambiguous(map, key))
}

/// The value under `key`, when no other key is the same but for case.
fn unambiguous<'v>(map: &'v Map<String, Value>, key: &str) -> Result<Option<&'v Value>, Unreadable> {
    if let Some(other) = map.keys().find(|other| *other != key && same_but_case(other, key)) {
        let message =
            format!("the body has the key {other:?} where {key:?} is meant: some readers take one for the other");
        return Err(Unreadable::new("json_key_case", message));
    }
    Ok(map.get(key))
}

/// Equal under simple case folding, `ſ` and the Kelvin sign included.
pub(super) fn same_but_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    fold(a) == fold(b)
}

/// The same text for all that are the same but for case.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The decoded tokens of a JSON Pointer; `None` when it isn't one.
pub(super) fn tokens(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let rest = text.strip_prefix('/')?;
    Some(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// Whether all leaves (scalars, and objects and lists that are empty) are at places that `allowed` accepts.
pub(super) fn every_leaf(value: &Value, allowed: &impl Fn(&[Cow<'_, str>]) -> bool) -> bool {
    fn visit<'v>(value: &'v Value, path: &mut Vec<Cow<'v, str>>, allowed: &impl Fn(&[Cow<'_, str>]) -> bool) -> bool {
        let mut below = |key: Cow<'v, str>, child: &'v Value| {
            path.push(key);
            let kept = visit(child, path, allowed);
            path.pop();
            kept
        };
        match value {
            Value::Object(map) if !map.is_empty() => map.iter().all(|(key, child)| below(key.into(), child)),
            Value::Array(list) if !list.is_empty() => {
                list.iter().enumerate().all(|(index, child)| below(index.to_string().into(), child))
            }
            _ => allowed(path),
        }
    }
    visit(value, &mut Vec::new(), allowed)
}
