//! JSON in which two readers can't see two things (RFC 8259, I-JSON of RFC 7493).
//!
//! Refused, each with its JSON Pointer where there is one: duplicate keys, nesting deeper than [`MAX_DEPTH`], integers beyond
//! 64 bits, numbers with more digits than a double keeps; and by `serde_json` itself: lone surrogates, a byte order mark,
//! trailing data. Keys that differ only by case are legal JSON (a ConfigMap may hold `README` and `readme`); they are
//! refused where a parameter is read from beside them, by [`super::pointer`].

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Unreadable;

/// Deeper nesting than any call of ours needs; bounds recursion.
pub(super) const MAX_DEPTH: usize = 64;
/// A double keeps this many significant decimal digits on a round trip (IEEE 754: 17).
const MAX_DIGITS: usize = 17;
/// Above it a double can't hold every integer.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads one JSON document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let found = RefCell::new(None);
    let seed = Strict { at: &Path::Root, depth: 0, found: &found };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    if let Some(unreadable) = found.into_inner() {
        return Err(unreadable);
    }
    let value = value.map_err(|error| Unreadable::new("json_malformed", format!("the body is not JSON: {error}")))?;
    check_digits(bytes)?;
    Ok(value)
}

/// The place of a value, as a list on the stack: rendered only for an error.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    at: &'a Path<'a>,
    depth: usize,
    found: &'a RefCell<Option<Unreadable>>,
}

impl<'a> Strict<'a> {
    fn refuse<E: serde::de::Error>(self, reason: &str, message: fmt::Arguments<'_>) -> E {
        *self.found.borrow_mut() = Some(Unreadable::new(reason, message.to_string()));
        E::custom(reason)
    }

    fn below(self, at: &'a Path<'a>) -> Self {
        Self { at, depth: self.depth + 1, found: self.found }
    }

    fn check_depth<E: serde::de::Error>(self) -> Result<(), E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse("json_depth", format_args!("the body nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(value.into()),
            Err(_) => Err(self.refuse("json_number", format_args!("the number at {} is too large", self.at))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) if value.abs() < MAX_EXACT => Ok(Value::Number(number)),
            _ => Err(self.refuse("json_number", format_args!("the number at {} is too large", self.at))),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(&Path::Index(self.at, list.len())))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let at = Path::Key(self.at, &key);
            let value = entries.next_value_seed(self.below(&at))?;
            if map.contains_key(&key) {
                let message = format_args!("the key at {at} stands twice in the same object");
                return Err(self.refuse("json_duplicate_key", message));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Refuses fractions with more digits than a double keeps: `50.00000000000000000001` is 50 for some and more for others.
/// The text is valid JSON already, so that outside of strings a digit or `-` starts a number.
fn check_digits(bytes: &[u8]) -> Result<(), Unreadable> {
    let (mut in_string, mut escaped, mut digits, mut fraction, mut exponent) = (false, false, 0, false, false);
    for byte in bytes {
        if in_string {
            (in_string, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'e' | b'E' => exponent = true,
            b'.' => fraction = true,
            // Zeros in front don't count; those behind a first digit do.
            b'0'..=b'9' => digits += usize::from(!exponent && (digits > 0 || *byte != b'0')),
            b'-' | b'+' => {}
            _ => (digits, fraction, exponent) = (0, false, false),
        }
        if digits > MAX_DIGITS && (fraction || exponent) {
            return Err(Unreadable::new("json_number", "a number in the body has more digits than can be kept"));
        }
    }
    Ok(())
}
