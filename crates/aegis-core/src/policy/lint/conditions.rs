//! Environments and conditions that no call can meet.

use std::collections::BTreeSet;

use super::super::condition::{Condition, Truth};
use super::super::tables::{Entry, Origin, Policy};
use super::at;
use crate::call::Environment;
use crate::document::{Diagnostic, Kind, nearest};

pub(super) const ALWAYS: Kind = Kind { name: "condition-always-true", summary: "A condition is true of every call." };
pub(super) const APPROVAL_UNUSED: Kind =
    Kind { name: "approval-unused", summary: "An approval is described, and nothing asks for one." };
pub(super) const NEVER: Kind = Kind { name: "condition-never-true", summary: "A condition is true of no call." };
pub(super) const NO_ENVIRONMENT: Kind =
    Kind { name: "condition-in-no-environment", summary: "A condition is true in no environment that the map yields." };
pub(super) const UNKNOWN_ENVIRONMENT: Kind =
    Kind { name: "unknown-environment", summary: "An environment is named that the map never yields." };
pub(super) const UNKNOWN_WEEKDAY: Kind =
    Kind { name: "unknown-weekday", summary: "A condition compares the weekday with what is none." };
pub(super) const UNQUOTED: Kind =
    Kind { name: "unquoted-text", summary: "A condition names a parameter where a text was probably meant." };

/// What `time.weekday` can be.
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// What older YAML reads as true or false; in a condition it is a parameter.
const YES_AND_NO: [&str; 4] = ["yes", "no", "on", "off"];

/// The findings of one entry; `known` are the environments of the operator's map.
pub(super) fn of_entry(entry: &Entry, known: Option<&BTreeSet<&str>>) -> Vec<Diagnostic> {
    let origin = &entry.origin;
    let mut found = Vec::new();
    for environment in entry.environments.iter().flatten() {
        found.extend(known.and_then(|known| unknown(origin, "allowed_environments", environment, known)));
    }
    for (key, condition) in conditions_of(entry) {
        found.extend(of_condition(origin, key, condition, known));
    }
    let asks = entry.approval.is_some() || !entry.asks.is_empty();
    if origin.keys.contains_key("approval") && !asks {
        let message = "nothing in this entry asks for an approval".to_owned();
        let hint = "add `approval_needed`, or `on_violation` for one of its rules";
        found.push(at(&APPROVAL_UNUSED, origin, "approval", message).suggest(Some(hint)));
    }
    found
}

/// The findings of a whole policy's own conditions.
pub(super) fn of_policy(policy: &Policy, known: Option<&BTreeSet<&str>>) -> Vec<Diagnostic> {
    policy.deny.iter().flat_map(|condition| of_condition(&policy.origin, "deny_if", condition, known)).collect()
}

/// All conditions of an entry, each with its key.
pub(super) fn conditions_of(entry: &Entry) -> impl Iterator<Item = (&'static str, &Condition)> {
    let approval = entry.approval.iter().map(|condition| ("approval_needed", &**condition));
    let deny = entry.deny.iter().map(|condition| ("deny_if", &**condition));
    // A label without a condition is one whose condition is `true`.
    let labels = entry.labels.iter().map(|label| ("labels", &*label.when));
    approval.chain(deny).chain(labels.filter(|(_, condition)| condition.is_constant() != Some(true)))
}

fn of_condition(origin: &Origin, key: &str, condition: &Condition, known: Option<&BTreeSet<&str>>) -> Vec<Diagnostic> {
    let finding = |kind: &'static Kind, message: &str, hint: &str| {
        vec![at(kind, origin, key, message.to_owned()).suggest(Some(hint.to_owned()))]
    };
    match (condition.in_any_call(None), condition.is_constant()) {
        (Truth::False, Some(_)) => return finding(&NEVER, "`false` is true of no call", "leave it out"),
        (Truth::False, None) => {
            return finding(&NEVER, "this condition is true of no call", "correct it, or leave it out");
        }
        (Truth::True, None) => return finding(&ALWAYS, "this condition is true of every call", "if so, write `true`"),
        _ => {}
    }
    let mut found = mistaken_words(origin, key, condition);
    let Some(known) = known else { return found };
    found.extend(condition.environments().into_iter().filter_map(|name| unknown(origin, key, name, known)));
    let somewhere = known.iter().copied().chain([Environment::UNKNOWN]);
    let nowhere = somewhere.into_iter().all(|name| condition.in_any_call(Some(name)) == Truth::False);
    if nowhere && found.is_empty() {
        found = finding(&NO_ENVIRONMENT, "this condition is true in no environment of the map", &listed(known));
    }
    found
}

/// Words that are read as something else than they look like.
fn mistaken_words(origin: &Origin, key: &str, condition: &Condition) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for name in condition.weekdays().into_iter().filter(|name| !WEEKDAYS.contains(name)) {
        let near = WEEKDAYS.into_iter().find(|day| name.to_lowercase().starts_with(&day.to_lowercase()));
        let hint = near.map_or_else(|| WEEKDAYS.join(", "), |near| format!("did you mean {near:?}?"));
        let message = format!("`time.weekday` is never {name:?}");
        found.push(at(&UNKNOWN_WEEKDAY, origin, key, message).suggest(Some(hint)));
    }
    for name in condition.unquoted() {
        let message =
            format!("`{name}` without quotes is a parameter; where the call has none of this name, this denies");
        let hint = format!("write {name:?} if the text is meant, `params.{name}` if the parameter is");
        found.push(at(&UNQUOTED, origin, key, message).suggest(Some(hint)));
    }
    if let Some(name) = condition.only_name().filter(|name| YES_AND_NO.contains(name)) {
        let message = format!("`{name}` is a parameter here; where the call has none of this name, this denies");
        let hint = "write `true` or `false`, or `params.NAME` if the parameter is meant".to_owned();
        found.push(at(&UNQUOTED, origin, key, message).suggest(Some(hint)));
    }
    found
}

fn unknown(origin: &Origin, key: &str, name: &str, known: &BTreeSet<&str>) -> Option<Diagnostic> {
    if known.contains(name) || name == Environment::UNKNOWN {
        return None;
    }
    let message = format!("no target is ever in environment {name:?}");
    // An abbreviation is farther from its word than a typing error.
    let abbreviated = known.iter().copied().filter(|known| known.starts_with(name) || name.starts_with(known));
    let near = nearest(name, known.iter().copied()).or_else(|| { abbreviated }.next());
    let hint = near.map_or_else(|| listed(known), |near| format!("did you mean {near:?}?"));
    Some(at(&UNKNOWN_ENVIRONMENT, origin, key, message).suggest(Some(hint)))
}

fn listed(known: &BTreeSet<&str>) -> String {
    match known.iter().copied().collect::<Vec<_>>().join(", ").as_str() {
        "" => "the configuration's `environments` map is empty: every target is in \"unknown\"".to_owned(),
        names => format!("the configuration's `environments` map yields: {names}"),
    }
}
