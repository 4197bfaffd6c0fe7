//! Rules on parameters, in words.

use serde_json::Value;

use super::quoted;
use crate::call::ToolCall;
use crate::money::CURRENCY;
use crate::policy::native::{broken, elements, judge};
use crate::policy::param::Place;
use crate::policy::tables::{Bound, Check, List, Rule, Side, Unit};
use crate::policy::{Reason, duration};
use crate::problem::Violation;

/// Most values of a list that a message names.
const MAX_LISTED: usize = 10;

/// Completes a violation of one of these rules.
pub(super) fn violation(violation: &mut Violation, reason: Reason, rules: &[Rule], call: &ToolCall) {
    let Some(rule) = rules.iter().find(|rule| rule.rule == violation.rule) else { return };
    violation.param = Some(rule.param.name.clone());
    violation.limit = limit(&rule.check);
    violation.actual = culprit(rule, reason, call);
    let (param, name) = (shown(&rule.param.name), &rule.rule);
    let actual = violation.actual.as_ref();
    let value = actual.map_or("nothing".to_owned(), quoted_value);
    violation.message = match (&rule.check, reason) {
        (Check::Required, _) => {
            let names: Vec<&str> = rules.iter().filter_map(|rule| required(rule, reason, call)).collect();
            violation.param = names.first().map(|&name| name.to_owned());
            let names: Vec<String> = names.into_iter().map(shown).collect();
            let (are, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
            let how =
                if reason == Reason::Missing { "missing or empty" } else { "behind something that is no mapping" };
            format!("{} {are} {how}, but {name} needs {them}", names.join(", "))
        }
        (Check::Bound(bound), Reason::AboveMaximum) => format!("{param} {value} is above {name} {}", bound.text),
        (Check::Bound(bound), Reason::BelowMinimum) => format!("{param} {value} is below {name} {}", bound.text),
        (Check::Bound(bound), Reason::OtherCurrency) => {
            format!("{param} is in {value}, but {name} is {}: amounts in other currencies aren't compared", bound.text)
        }
        (Check::Allowed(list), Reason::NotAllowed) => match named(list) {
            listed if listed.is_empty() => format!("{param} {value} is not allowed; {name} lists nothing"),
            listed => format!("{param} {value} is not one of {name}: {listed}"),
        },
        (Check::Denied(_), Reason::Denied) => format!("{param} {value} is refused by {name}"),
        (Check::Pattern { text, .. }, Reason::PatternMismatch) => {
            format!("{param} {value} doesn't match {name} {}", quoted(text))
        }
        (check, Reason::WrongType) => {
            let found = actual.map_or("behind something that is no mapping", kind);
            match check {
                Check::Bound(bound) => format!("{param} is {found}, but {name} {} needs {}", bound.text, needs(check)),
                _ => format!("{param} is {found}, but {name} needs {}", needs(check)),
            }
        }
        (Check::Bound(bound), Reason::Missing) => match currency_is_missing(rule, call) {
            true => format!("{CURRENCY} is missing beside {param}, but {name} {} needs it", bound.text),
            false => format!("{param} is missing, but {name} {} needs it", bound.text),
        },
        _ => format!("{param} is missing, but {name} needs it"),
    };
}

/// A name without anything that ends a line or a quotation.
fn shown(param: &str) -> String {
    let quoted = quoted(param);
    quoted.trim_matches('"').to_owned()
}

fn limit(check: &Check) -> Option<Value> {
    match check {
        Check::Bound(Bound { unit: Unit::Number, limit, .. }) => Some(Value::Number(limit.clone())),
        Check::Bound(bound) => Some(bound.text.as_str().into()),
        Check::Allowed(list) => Some(list.shown.iter().take(MAX_LISTED).cloned().collect()),
        Check::Pattern { text, .. } => Some(text.as_str().into()),
        Check::Denied(_) | Check::Required => None,
    }
}

/// The value that breaks the rule for this reason; of numbers, the worst.
fn culprit(rule: &Rule, reason: Reason, call: &ToolCall) -> Option<Value> {
    if reason == Reason::OtherCurrency {
        let beside = rule.param.places(&call.params).filter_map(|place| match place {
            Place::Value { beside, .. } => beside.get(CURRENCY),
            Place::Blocked => None,
        });
        return beside.last().cloned();
    }
    let values = rule.param.places(&call.params).filter_map(|place| match place {
        Place::Value { value, .. } => Some(value),
        Place::Blocked => None,
    });
    let mut breaking = values.flat_map(elements).filter(|value| broken(&rule.check, value) == Some(reason));
    let number = |value: &Value| duration::of_value(value).unwrap_or_default();
    match &rule.check {
        Check::Bound(Bound { side: Side::Max, .. }) => breaking.max_by(|a, b| number(a).total_cmp(&number(b))),
        Check::Bound(Bound { side: Side::Min, .. }) => breaking.min_by(|a, b| number(a).total_cmp(&number(b))),
        _ => breaking.next(),
    }
    .cloned()
}

/// The name of a required parameter that breaks its rule for this reason.
fn required<'r>(rule: &'r Rule, reason: Reason, call: &ToolCall) -> Option<&'r str> {
    let mut breaks = false;
    if matches!(rule.check, Check::Required) {
        judge(rule, call, |found| breaks |= found == reason);
    }
    breaks.then_some(rule.param.name.as_str())
}

fn currency_is_missing(rule: &Rule, call: &ToolCall) -> bool {
    let Check::Bound(Bound { currency: Some(_), .. }) = &rule.check else { return false };
    rule.param.places(&call.params).any(|place| match place {
        Place::Value { value, beside } => {
            !elements(value).is_empty() && beside.get(CURRENCY).is_none_or(|code| code.is_null() || code == "")
        }
        Place::Blocked => false,
    })
}

fn quoted_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => kind(other).to_owned(),
    }
}

fn named(list: &List) -> String {
    let more = if list.shown.len() > MAX_LISTED { ", …" } else { "" };
    list.shown.iter().take(MAX_LISTED).map(quoted_value).collect::<Vec<_>>().join(", ") + more
}

fn needs(check: &Check) -> String {
    match check {
        Check::Bound(Bound { unit: Unit::Number, .. }) => "a number".to_owned(),
        Check::Bound(Bound { unit: Unit::Money, .. }) => {
            format!("a number that isn't negative, and a currency as text in `{CURRENCY}`")
        }
        Check::Bound(Bound { unit: Unit::Seconds, .. }) => {
            "a duration such as 90s, or a number of seconds that isn't negative".to_owned()
        }
        Check::Allowed(list) | Check::Denied(list) => {
            let kinds = [
                ("text", !list.texts.is_empty() || !list.globs.is_empty()),
                ("a number", !list.numbers.is_empty()),
                ("true or false", !list.bools.is_empty()),
            ];
            let kinds: Vec<&str> = kinds.into_iter().filter(|(_, has)| *has).map(|(kind, _)| kind).collect();
            if kinds.is_empty() { "text, a number, true or false".to_owned() } else { kinds.join(" or ") }
        }
        Check::Pattern { .. } => "text".to_owned(),
        Check::Required => "a value".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
