//! Durations: whole numbers with units, one after the other (`90s`, `1h30m`), as people and Go programs write them.
//!
//! Deliberately absent: fractions, signs, units longer than a day (a month has no fixed length).

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// The largest whole number that every JSON reader agrees on.
const SAFE: u64 = (1 << 53) - 1;
/// Longest text that is tried, in bytes.
const MAX_LENGTH: usize = 32;

/// A duration in milliseconds; `None` for what isn't one.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_LENGTH {
        return None;
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    Some(total).filter(|total| *total <= SAFE)
}

/// Milliseconds as the number of seconds that a rule compares with.
pub(super) fn seconds(milliseconds: u64) -> Number {
    match (milliseconds / 1_000, milliseconds % 1_000) {
        (whole, 0) => Number::from(whole),
        // Below 2^53, so the division is right to the last digit shown; a finite number is a JSON number.
        _ => Number::from_f64(milliseconds as f64 / 1_000.0).unwrap_or_else(|| Number::from(milliseconds)),
    }
}

/// The seconds that a parameter's value stands for: a duration's, or a bare number.
pub(super) fn of_value(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => milliseconds(text).and_then(|ms| seconds(ms).as_f64()),
        _ => None,
    }
}

/// All durations among some parameters, as written → in seconds. Rego can't read them itself, so it is told.
pub(super) fn table(params: &serde_json::Map<String, Value>) -> BTreeMap<&str, Number> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<&Value> = params.values().collect();
    while let Some(value) = pending.pop() {
        match value {
            Value::String(text) => found.extend(milliseconds(text).map(|ms| (text.as_str(), seconds(ms)))),
            Value::Array(items) => pending.extend(items),
            Value::Object(map) => pending.extend(map.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
