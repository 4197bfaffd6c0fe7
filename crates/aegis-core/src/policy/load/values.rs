//! The values that keys of a policy hold.

use std::collections::BTreeSet;

use super::super::condition::SAFE;
use super::super::egress::EgressPattern;
use super::super::tables::Rate;
use super::super::{Mode, duration};
use super::MAX_LIST;
use crate::document::{Fields, Node, Place, Value, nearest};
use crate::money::Currency;

/// Longest `rate` window and approval: 7 days, in milliseconds.
const MAX_DURATION_MS: u64 = 7 * 24 * 3_600_000;

/// A list of texts, none of them empty.
pub(super) fn texts(fields: &mut Fields<'_>, key: &str) -> Option<Vec<(Place, String)>> {
    let texts = fields.texts(key)?;
    if texts.len() > MAX_LIST {
        let place = fields.place();
        fields.error_at(key, place, format!("more than {MAX_LIST} values in one list"), None);
        return None;
    }
    for (place, text) in &texts {
        if text.is_empty() {
            fields.error_at(key, *place, "expected text, found nothing", None);
        }
    }
    Some(texts)
}

/// `mode`.
pub(super) fn mode(fields: &mut Fields<'_>) -> Option<Mode> {
    let node = fields.node("mode")?;
    match node.text() {
        Some("enforce") => return Some(Mode::Enforce),
        Some("shadow") => return Some(Mode::Shadow),
        _ => {}
    }
    let suggestion = node.text().and_then(|word| nearest(word, ["enforce", "shadow"]));
    let suggestion = suggestion.map(|word| format!("did you mean `{word}`?"));
    fields.error_at("mode", node.place, "expected `enforce` or `shadow`", suggestion);
    None
}

/// `tools`: names in full.
pub(super) fn tools(fields: &mut Fields<'_>) -> Option<BTreeSet<String>> {
    let texts = texts(fields, "tools")?;
    for (place, text) in &texts {
        if text.contains(['*', '/']) {
            fields.error_at("tools", *place, "tools are named in full, without `*` and `/`", None);
        }
    }
    Some(texts.into_iter().map(|(_, text)| text).collect())
}

/// `egress: {allow: […]}`.
pub(super) fn egress(fields: &mut Fields<'_>) -> Option<Vec<EgressPattern>> {
    let mut inner = fields.map("egress")?;
    let mut patterns = BTreeSet::new();
    if inner.required("allow").is_some() {
        for (place, text) in texts(&mut inner, "allow").unwrap_or_default() {
            match EgressPattern::parse(&text) {
                Ok(pattern) => {
                    patterns.insert(pattern);
                }
                Err(message) => inner.error_at("allow", place, message, None),
            }
        }
    }
    inner.finish();
    Some(patterns.into_iter().collect())
}

/// `rate: {limit, per, burst}`.
pub(super) fn rate(fields: &mut Fields<'_>) -> Option<Rate> {
    let mut inner = fields.map("rate")?;
    let limit = count(&mut inner, "limit");
    if inner.required("limit").is_none() || inner.required("per").is_none() {
        inner.finish();
        return None;
    }
    let per_ms = duration(&mut inner, "per");
    let burst = if inner.node("burst").is_some() { count(&mut inner, "burst") } else { limit };
    inner.finish();
    Some(Rate { limit: limit?, per_ms: per_ms?, burst: burst? })
}

fn count(fields: &mut Fields<'_>, key: &str) -> Option<u32> {
    let place = fields.node(key)?.place;
    let value = fields.int(key)?;
    match u32::try_from(value) {
        Ok(value @ 1..) => Some(value),
        _ => {
            fields.error_at(key, place, format!("expected 1 to {}, found {value}", u32::MAX), None);
            None
        }
    }
}

/// A duration under `key`, in milliseconds: whole numbers with `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(fields: &mut Fields<'_>, key: &str) -> Option<u64> {
    let place = fields.node(key)?.place;
    if matches!(fields.node(key)?.value, Value::Int(_) | Value::Float(_)) {
        fields.error_at(key, place, "a duration needs a unit", Some("such as 30m, 1s or 500ms".to_owned()));
        return None;
    }
    let text = fields.text(key)?;
    let parsed = duration::milliseconds(&text).filter(|ms| (1..=MAX_DURATION_MS).contains(ms));
    if parsed.is_none() {
        let message = format!("{text:?} is no duration from 1ms to 7d");
        fields.error_at(key, place, message, Some("write a whole number and ms, s, m, h or d".to_owned()));
    }
    parsed
}

/// A number that every JSON reader agrees on.
pub(super) fn number(fields: &mut Fields<'_>, key: &str, node: &Node) -> Option<serde_json::Number> {
    let number = match &node.value {
        Value::Int(value) if (-SAFE..=SAFE).contains(value) => Some(serde_json::Number::from(*value)),
        Value::Float(value) if value.abs() <= SAFE as f64 => serde_json::Number::from_f64(*value),
        Value::Int(_) | Value::Float(_) => {
            fields.error_at(key, node.place, "the number is beyond 2^53, where JSON readers stop agreeing", None);
            return None;
        }
        _ => None,
    };
    if number.is_none() {
        fields.error_at(key, node.place, format!("expected a number, found {}", node.value.kind()), None);
    }
    number
}

/// A number and its unit, such as `500 USD`.
pub(super) fn quantity(text: &str) -> Option<(&str, &str)> {
    let (number, unit) = text.trim().split_once(' ')?;
    let unit = unit.trim_start();
    let plain = number.starts_with(|c: char| c.is_ascii_digit()) && !unit.contains(char::is_whitespace);
    plain.then_some((number, unit))
}

/// An amount of money in its currency's smallest part; else what is wrong with it, and what to write.
pub(super) fn money(number: &str, unit: &str) -> Result<(Currency, u64), (String, Option<String>)> {
    let Some(currency) = Currency::of(unit) else {
        let hint = "a limit with a unit is money, with a currency's three letters of ISO 4217, such as 500 USD";
        return Err((format!("{unit:?} is no currency"), Some(hint.to_owned())));
    };
    if currency.code() != unit {
        let suggestion = format!("write {number} {currency}");
        return Err(("a currency is written in capitals".to_owned(), Some(suggestion)));
    }
    let minor = currency.parse(number).map_err(|error| (error.to_string(), None))?;
    Ok((currency, minor))
}

/// Refuses what aegis/v1 knows: ignoring it would allow what it forbids.
pub(super) fn later(fields: &mut Fields<'_>, key: &str, place: Place, what: &str) {
    fields.error_at(key, place, format!("{what} is known to aegis/v1, but this version can't enforce it yet"), None);
}
