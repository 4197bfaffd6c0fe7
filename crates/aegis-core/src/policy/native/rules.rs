//! Rules on parameters, judged.

use serde_json::{Map, Value};

use crate::call::{Presence, Shape, ToolCall};
use crate::money::CURRENCY;
use crate::policy::Reason;
use crate::policy::condition::SAFE;
use crate::policy::duration;
use crate::policy::param::Place;
use crate::policy::tables::{Bound, Check, List, Rule, Side, Unit};

/// Everything that keeps a call from keeping a rule.
pub(in crate::policy) fn judge(rule: &Rule, call: &ToolCall, mut each: impl FnMut(Reason)) {
    let mut is_there = false;
    for place in rule.param.places(&call.params) {
        is_there = true;
        match place {
            Place::Blocked => each(Reason::WrongType),
            Place::Value { value, beside } => judge_value(&rule.check, value, beside, &mut each),
        }
    }
    if !is_there && is_needed(rule, &call.shape) {
        each(Reason::Missing);
    }
}

/// Whether the absent parameter breaks the rule.
fn is_needed(rule: &Rule, shape: &Shape) -> bool {
    match rule.param.presence(shape) {
        Some(Presence::Required) => true,
        // What a partial write leaves out stays as it is, unless the author wants it said.
        Some(Presence::Partial) => matches!(rule.check, Check::Required),
        None => false,
    }
}

fn judge_value(check: &Check, value: &Value, beside: &Map<String, Value>, each: &mut impl FnMut(Reason)) {
    if let Some(reason) = unreadable(check, value, beside) {
        return each(reason);
    }
    if !matches!(check, Check::Required) {
        elements(value).iter().filter_map(|value| broken(check, value)).for_each(each);
    }
}

/// Why nothing of a value can be compared at all.
fn unreadable(check: &Check, value: &Value, beside: &Map<String, Value>) -> Option<Reason> {
    match check {
        Check::Required => (is_empty(value) || elements(value).iter().any(is_empty)).then_some(Reason::Missing),
        _ if matches!(value, Value::Array(items) if items.is_empty()) => Some(Reason::Missing),
        Check::Bound(Bound { currency: Some(currency), .. }) => match beside.get(CURRENCY) {
            None | Some(Value::Null) => Some(Reason::Missing),
            Some(Value::String(code)) if code.eq_ignore_ascii_case(currency.code()) => None,
            Some(Value::String(code)) if code.is_empty() => Some(Reason::Missing),
            Some(Value::String(_)) => Some(Reason::OtherCurrency),
            Some(_) => Some(Reason::WrongType),
        },
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.bytes().all(|byte| b" \t\r\n".contains(&byte)),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A list's elements, or the one value.
pub(in crate::policy) fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// Why one value doesn't keep a rule.
pub(in crate::policy) fn broken(check: &Check, value: &Value) -> Option<Reason> {
    match check {
        Check::Bound(bound) => {
            let number = match bound.unit {
                Unit::Number => value.as_f64(),
                Unit::Money => value.as_f64().filter(is_amount),
                Unit::Seconds => duration::of_value(value).filter(is_amount),
            };
            match (number, bound.side) {
                (None, _) => Some(Reason::WrongType),
                (Some(number), side) if is_out(number, bound) => Some(match side {
                    Side::Max => Reason::AboveMaximum,
                    Side::Min => Reason::BelowMinimum,
                }),
                _ => None,
            }
        }
        Check::Allowed(list) => match list.holds(value) {
            Some(true) => None,
            Some(false) => Some(Reason::NotAllowed),
            None => Some(Reason::WrongType),
        },
        Check::Denied(list) => match list.holds(value) {
            Some(true) => Some(Reason::Denied),
            Some(false) => None,
            None => Some(Reason::WrongType),
        },
        Check::Pattern { pattern, .. } => match value {
            Value::String(text) if pattern.is_match(text) => None,
            Value::String(_) => Some(Reason::PatternMismatch),
            _ => Some(Reason::WrongType),
        },
        Check::Required => None,
    }
}

/// No amount and no duration is below nothing: to many tools -1 is no limit at all.
fn is_amount(number: &f64) -> bool {
    *number >= 0.0
}

/// Exact: a bound is below 2^53, so a number that `f64` can't hold exactly is on the same side of it as its rounding.
fn is_out(number: f64, bound: &Bound) -> bool {
    match (bound.limit.as_f64(), bound.side) {
        (None, _) => true,
        (Some(limit), Side::Max) => number > limit,
        (Some(limit), Side::Min) => number < limit,
    }
}

impl List {
    /// Whether a value is listed; `None` for what the list says nothing of, such as a number where it has texts.
    fn holds(&self, value: &Value) -> Option<bool> {
        let has_texts = !self.texts.is_empty() || !self.globs.is_empty();
        let is_empty = !has_texts && self.numbers.is_empty() && self.bools.is_empty();
        match value {
            Value::String(text) if has_texts || is_empty => {
                Some(self.texts.contains(text) || self.globs.iter().any(|glob| glob.is_match(text)))
            }
            Value::Bool(value) if !self.bools.is_empty() || is_empty => Some(self.bools.contains(value)),
            Value::Number(number) if !self.numbers.is_empty() || is_empty => {
                let value = number.as_f64().filter(|value| value.abs() <= SAFE as f64)?;
                Some(self.numbers.iter().any(|listed| listed.as_f64() == Some(value)))
            }
            _ => None,
        }
    }
}
