//! Values of rules as their authors write them.

use serde_json::Value;

use crate::policy::budget::{Budget, BudgetUnit};
use crate::policy::egress::EgressPattern;

/// Whether a compiled value says nothing.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// `egress.allow` as an author would write it.
pub(super) fn egress(patterns: &[EgressPattern]) -> Value {
    let text = |pattern: &EgressPattern| {
        let star = if pattern.suffix { "*" } else { "" };
        let host = if pattern.host.contains(':') { format!("[{}]", pattern.host) } else { pattern.host.clone() };
        format!("{star}{host}{}", pattern.port.map(|port| format!(":{port}")).unwrap_or_default())
    };
    patterns.iter().map(|pattern| Value::String(text(pattern))).collect()
}

/// The texts of a list, joined.
pub(super) fn texts(list: &Value, nothing: &str) -> String {
    listed(list.as_array().into_iter().flatten().filter_map(Value::as_str), nothing)
}

/// Words joined by commas; `nothing` where there are none.
pub(super) fn listed<T: AsRef<str>>(words: impl IntoIterator<Item = T>, nothing: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    if words.is_empty() { nothing.to_owned() } else { words.join(", ") }
}

/// In the largest unit that it is a whole number of.
pub(super) fn duration(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
}

impl Budget {
    /// As an author would write its amount.
    pub(super) fn shown(&self) -> String {
        match &self.unit {
            BudgetUnit::Money(currency) => currency.shown(self.limit),
            unit => format!("{} {}", self.limit, unit.name()),
        }
    }
}
