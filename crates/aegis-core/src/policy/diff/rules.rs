//! The rules of an entry or a policy, each with what it means to be laxer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use super::Direction;
use crate::policy::condition::Condition;
use crate::policy::egress::EgressPattern;
use crate::policy::tables::{AllowedImage, Entry, Policy, Rate};

/// How long an approval may take where no entry says another time.
const EXPIRES_S: i64 = crate::policy::APPROVAL_TTL_S;

/// One rule. All but [`Rule::Lifetime`] restrict: one that comes is less, one that goes is more.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// Only these; a longer list is more.
    Only(BTreeSet<String>),
    /// Only these images; a longer list is more, and so is one that names no repository.
    Images(Vec<AllowedImage>),
    /// Up to this number.
    AtMost { param: String, max: Number },
    /// Asks a human; `compiled` is what is compared, because a text can be written in many ways.
    Asks { text: String, compiled: Value, lifts: bool },
    /// So many calls.
    Calls(Rate),
    /// How long an approval holds, in seconds; a longer time is more. Not a restriction: there is always one.
    Lifetime(i64),
    /// What this module has no words for.
    Other(Value),
}

/// Rules by their keys.
pub(super) type Rules = BTreeMap<String, Rule>;

/// What has words of its own here; everything else of what is compiled is [`Rule::Other`].
const ENTRY_KEYS: [&str; 10] =
    ["name", "label", "tools", "environments", "approval", "expires_s", "images", "max", "asks", "rate"];
const POLICY_KEYS: [&str; 6] = ["id", "mode", "tools", "egress", "rate", "entries"];

/// The rules of an entry, `tools` among them, without `on_violation`.
pub(super) fn of_entry(entry: &Entry) -> Rules {
    let mut rules = others(entry, &ENTRY_KEYS);
    let mut add = |key: &str, rule: Option<Rule>| rules.extend(rule.map(|rule| (key.to_owned(), rule)));
    add("tools", entry.tools.clone().map(Rule::Only));
    add("allowed_environments", entry.environments.clone().map(Rule::Only));
    add("approval_needed", entry.approval.as_ref().and_then(|condition| asks(condition, entry.environments.is_some())));
    add("approval.expires", Some(Rule::Lifetime(entry.expires_s.unwrap_or(EXPIRES_S))));
    for images in &entry.images {
        add(&images.rule, Some(Rule::Images(images.allowed.clone())));
    }
    for max in &entry.max {
        add(&max.rule, Some(Rule::AtMost { param: max.param.clone(), max: max.max.clone() }));
    }
    add("rate", entry.rate.map(Rule::Calls));
    rules
}

/// The rules of a whole policy, without its egress, which grants as well.
pub(super) fn of_policy(policy: &Policy) -> Rules {
    let mut rules = others(policy, &POLICY_KEYS);
    rules.extend(policy.tools.clone().map(|tools| ("tools".to_owned(), Rule::Only(tools))));
    rules.extend(policy.rate.map(|rate| ("rate".to_owned(), Rule::Calls(rate))));
    rules
}

fn others(compiled: &impl Serialize, known: &[&str]) -> Rules {
    // What can't be written as JSON was never compiled.
    let Ok(Value::Object(fields)) = serde_json::to_value(compiled) else { return Rules::new() };
    let unknown = fields.into_iter().filter(|(key, value)| !known.contains(&key.as_str()) && !is_nothing(value));
    unknown.map(|(key, value)| (key, Rule::Other(value))).collect()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn asks(condition: &Condition, lifts: bool) -> Option<Rule> {
    let compiled = json!(condition);
    (condition.text != "false").then(|| Rule::Asks { text: condition.text.clone(), compiled, lifts })
}

impl Rule {
    /// Whether calls can break it.
    pub(super) fn restricts(&self) -> bool {
        !matches!(self, Self::Lifetime(_))
    }

    /// As an author would write it.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Only(list) => json!(list),
            Self::Images(list) => list.iter().map(image).collect(),
            Self::AtMost { max, .. } => Value::Number(max.clone()),
            Self::Asks { text, .. } => json!(text),
            Self::Calls(rate) => json!({"limit": rate.limit, "per": duration(rate.per_ms), "burst": rate.burst}),
            Self::Lifetime(seconds) => json!(duration(seconds.unsigned_abs().saturating_mul(1000))),
            Self::Other(value) => value.clone(),
        }
    }

    /// In words, to follow what may be done.
    pub(super) fn words(&self, key: &str) -> String {
        match self {
            Self::Only(list) if key == "tools" => format!("of {}", listed(list, "no tool")),
            Self::Only(list) => format!("in {}", listed(list, "no environment")),
            Self::Images(list) if list.len() == 1 => "only 1 listed image".to_owned(),
            Self::Images(list) => format!("only {} listed images", list.len()),
            Self::AtMost { param, max } => format!("{param} up to {max}"),
            Self::Asks { text, .. } if text == "true" => "after asking a human".to_owned(),
            Self::Asks { text, .. } => format!("after asking a human where {text}"),
            Self::Calls(Rate { limit, per_ms, burst }) => {
                let burst = if burst == limit { String::new() } else { format!(", {burst} at once") };
                format!("{limit} calls per {}{burst}", duration(*per_ms))
            }
            Self::Lifetime(_) => format!("approvals hold {}", self.value().as_str().unwrap_or_default()),
            Self::Other(value) => format!("{key} {value}"),
        }
    }
}

/// Which way a rule changes; `None` when it doesn't.
pub(super) fn direction(before: Option<&Rule>, after: Option<&Rule>) -> Option<Direction> {
    match (before, after) {
        (before, after) if before == after => None,
        (Some(before), None) => Some(comes(before).reversed()),
        (None, Some(after)) => Some(comes(after)),
        (Some(before), Some(after)) => between(before, after),
        (None, None) => None,
    }
}

fn comes(rule: &Rule) -> Direction {
    match rule {
        // It asks about what was allowed, and lifts a refusal of what wasn't.
        Rule::Asks { lifts: true, .. } | Rule::Other(_) => Direction::Different,
        _ => Direction::Less,
    }
}

fn between(before: &Rule, after: &Rule) -> Option<Direction> {
    match (before, after) {
        (Rule::Only(a), Rule::Only(b)) => by(a.is_subset(b), b.is_subset(a)),
        (Rule::Images(a), Rule::Images(b)) => by(all_listed(a, b), all_listed(b, a)),
        (Rule::AtMost { max: a, .. }, Rule::AtMost { max: b, .. }) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => by(a <= b, b <= a),
            _ => Some(Direction::Different),
        },
        (Rule::Calls(a), Rule::Calls(b)) => by(allows_as_many(a, b), allows_as_many(b, a)),
        (Rule::Lifetime(a), Rule::Lifetime(b)) => by(a <= b, b <= a),
        // The same condition, written differently.
        (Rule::Asks { compiled: a, .. }, Rule::Asks { compiled: b, .. }) if a == b => None,
        _ => Some(Direction::Different),
    }
}

/// From: whether the second allows all that the first does, and the other way round.
fn by(all_that_was: bool, all_that_will_be: bool) -> Option<Direction> {
    match (all_that_was, all_that_will_be) {
        (true, true) => None,
        (true, false) => Some(Direction::More),
        (false, true) => Some(Direction::Less),
        (false, false) => Some(Direction::Different),
    }
}

fn all_listed(some: &[AllowedImage], list: &[AllowedImage]) -> bool {
    let lists = |own: &AllowedImage, image: &AllowedImage| {
        own.digest == image.digest && (own.repository.is_none() || own.repository == image.repository)
    };
    some.iter().all(|image| list.iter().any(|own| lists(own, image)))
}

fn allows_as_many(a: &Rate, b: &Rate) -> bool {
    let share = |rate: &Rate, other: &Rate| u128::from(rate.limit) * u128::from(other.per_ms);
    share(a, b) <= share(b, a) && a.burst <= b.burst
}

/// Which way a list of destinations changes.
pub(super) fn egress_direction(before: &[EgressPattern], after: &[EgressPattern]) -> Option<Direction> {
    by(all_reachable(before, after), all_reachable(after, before))
}

fn all_reachable(some: &[EgressPattern], list: &[EgressPattern]) -> bool {
    let host = |own: &EgressPattern, other: &EgressPattern| {
        own.host == other.host && own.suffix == other.suffix
            || own.suffix && other.host.ends_with(&own.host) && other.host != own.host
    };
    let reached = |pattern: &EgressPattern, port: u16| {
        list.iter().any(|own| {
            host(own, pattern)
                && match own.port {
                    Some(own) => own == port,
                    None => matches!(port, 80 | 443),
                }
        })
    };
    some.iter().all(|pattern| match pattern.port {
        Some(port) => reached(pattern, port),
        None => reached(pattern, 80) && reached(pattern, 443),
    })
}

/// `egress.allow` as an author would write it.
pub(super) fn egress_value(patterns: &[EgressPattern]) -> Value {
    let text = |pattern: &EgressPattern| {
        let star = if pattern.suffix { "*" } else { "" };
        let host = if pattern.host.contains(':') { format!("[{}]", pattern.host) } else { pattern.host.clone() };
        format!("{star}{host}{}", pattern.port.map(|port| format!(":{port}")).unwrap_or_default())
    };
    patterns.iter().map(|pattern| Value::String(text(pattern))).collect()
}

fn image(image: &AllowedImage) -> Value {
    let mut fields = Map::new();
    fields.extend(image.repository.as_ref().map(|repository| ("repository".to_owned(), json!(repository))));
    fields.insert("digest".to_owned(), json!(image.digest));
    Value::Object(fields)
}

/// Words joined by commas; `nothing` where there are none.
pub(super) fn listed<T: AsRef<str>>(words: impl IntoIterator<Item = T>, nothing: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    if words.is_empty() { nothing.to_owned() } else { words.join(", ") }
}

/// In the largest unit that it is a whole number of.
fn duration(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, unit)| ms > 0 && ms % unit == 0);
    whole.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
}
