//! The entries of one policy, before and after.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::policies::{Scene, Turn, Whom};
use super::rules::{self, Rule, Rules};
use super::values::listed;
use super::{Change, Direction};
use crate::call::ToolCall;
use crate::policy::tables::{Entry, Name, Policy};

/// The pairs of entries that are one entry before and after, and those without a partner.
#[derive(Default)]
struct Pairs<'a> {
    both: Vec<(&'a Entry, &'a Entry)>,
    gone: Vec<&'a Entry>,
    come: Vec<&'a Entry>,
}

/// Compares the entries of a policy that is there before and after.
pub(super) fn compare(scene: &Scene<'_>, whom: &Whom<'_>, before: &Policy, after: &Policy, out: &mut Vec<Change>) {
    let Pairs { both, gone, come } = pair(before, after);
    for entry in gone {
        let elsewhere = others_grant(after, entry, None) || scene.grants_elsewhere(Turn::Goes, whom, after, entry);
        turns(Turn::Goes, whom, entry, elsewhere, out);
    }
    for entry in come {
        let elsewhere = others_grant(before, entry, None) || scene.grants_elsewhere(Turn::Comes, whom, before, entry);
        turns(Turn::Comes, whom, entry, elsewhere, out);
    }
    for (old, new) in both {
        // Its rules come to calls, or leave them, that something else grants.
        let elsewhere = |turn, policy: &Policy, entry: &Entry, twin: &Entry| {
            others_grant(policy, entry, Some(twin)) || scene.grants_elsewhere(turn, whom, policy, entry)
        };
        let overlaps = elsewhere(Turn::Comes, before, new, old) || elsewhere(Turn::Goes, after, old, new);
        changed(whom, old, new, overlaps, out);
    }
}

/// All that is compiled of an entry but its name in reports, for finding it again.
fn content(entry: &Entry) -> Value {
    let mut content = json!(entry);
    if let Some(fields) = content.as_object_mut() {
        fields.remove("label");
    }
    content
}

/// Entries of the same name belong together: those that are equal first, then in the order of the file.
fn pair<'a>(before: &'a Policy, after: &'a Policy) -> Pairs<'a> {
    let mut names: BTreeMap<&str, (Vec<&Entry>, Vec<&Entry>)> = BTreeMap::new();
    for entry in &before.entries {
        names.entry(name(entry, before)).or_default().0.push(entry);
    }
    for entry in &after.entries {
        names.entry(name(entry, after)).or_default().1.push(entry);
    }
    let mut pairs = Pairs::default();
    for (mut old, mut new) in names.into_values() {
        old.retain(|entry| {
            let own = content(entry);
            let same = new.iter().position(|other| content(other) == own);
            same.map(|at| new.remove(at)).is_none()
        });
        let most = old.len().min(new.len());
        pairs.gone.extend(old.drain(most..));
        pairs.come.extend(new.drain(most..));
        pairs.both.extend(old.into_iter().zip(new));
    }
    pairs
}

/// The entry's name as written.
fn name<'a>(entry: &'a Entry, policy: &Policy) -> &'a str {
    let rest = entry.label.strip_prefix(policy.id.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.unwrap_or(&entry.label);
    rest.split('#').next().unwrap_or(rest)
}

/// Whether another entry of the policy may grant a call that this one is for.
fn others_grant(policy: &Policy, entry: &Entry, except: Option<&Entry>) -> bool {
    let others = policy.entries.iter().filter(|other| except.is_none_or(|except| !std::ptr::eq(*other, except)));
    others.into_iter().any(|other| may_share(entry, other)) || egress_grants(policy, entry)
}

/// Whether a policy may grant a call that the entry is for.
pub(super) fn may_grant(policy: &Policy, entry: &Entry) -> bool {
    others_grant(policy, entry, None)
}

fn egress_grants(policy: &Policy, entry: &Entry) -> bool {
    policy.egress.is_some() && matches!(&entry.name, Name::Exact { tool, .. } if tool == ToolCall::HTTP)
}

/// Whether there may be a call that one entry is for and the other grants. A companion read has any name, so only the tools
/// can tell two entries apart.
fn may_share(a: &Entry, b: &Entry) -> bool {
    let lets = |entry: &Entry, tool: &str| {
        entry.name.may_be_of(tool) && entry.tools.as_ref().is_none_or(|tools| tools.contains(tool))
    };
    let named = |entry: &Entry| match &entry.name {
        Name::Exact { tool, .. } => Some(vec![tool.clone()]),
        _ => entry.tools.as_ref().map(|tools| tools.iter().cloned().collect()),
    };
    match named(a).or_else(|| named(b)) {
        Some(tools) => tools.iter().any(|tool| lets(a, tool) && lets(b, tool)),
        None => true,
    }
}

fn restricting(rules: &Rules) -> impl Iterator<Item = (&String, &Rule)> {
    rules.by_key.iter().filter(|(key, rule)| rule.restricts() && *key != "tools")
}

/// An entry that comes or goes. `elsewhere`: something else may grant what it is for.
pub(super) fn turns(turn: Turn, whom: &Whom<'_>, entry: &Entry, elsewhere: bool, out: &mut Vec<Change>) {
    let rules = rules::of_entry(entry);
    let own: Map<String, Value> = rules
        .by_key
        .iter()
        .filter(|(_, rule)| rule.restricts())
        .map(|(key, rule)| (key.clone(), rule.value()))
        .collect();
    let words = rules.by_key.iter().filter(|(_, rule)| rule.restricts()).map(|(key, rule)| rule.words(key));
    let words = listed(words, "without any rule");
    let (who, name) = (whom.words(), whom.entry_name(entry));
    let sentence = match turn {
        Turn::Comes => format!("{who} may do `{name}`: {words}"),
        Turn::Goes => format!("{who} may no longer do `{name}` by this entry, which was: {words}"),
    };
    let direction = turn.direction(Direction::More);
    out.push(whom.change(Some(entry), "actions", direction, turn.values(Value::Object(own.clone())), sentence));
    if elsewhere && restricting(&rules).next().is_some() {
        let sentence = match turn {
            Turn::Comes => format!("{who} must keep the rules of `{name}` also where something else allows the call"),
            Turn::Goes => {
                format!(
                    "{who} needn't keep the rules of `{name}` any more where something else allows the call: {words}"
                )
            }
        };
        let direction = turn.direction(Direction::Less);
        out.push(whom.change(Some(entry), "actions", direction, turn.values(Value::Object(own)), sentence));
    }
}

/// An entry that is there before and after.
fn changed(whom: &Whom<'_>, old: &Entry, new: &Entry, overlaps: bool, out: &mut Vec<Change>) {
    let (before, after) = (rules::of_entry(old), rules::of_entry(new));
    let keys: std::collections::BTreeSet<&String> = before.by_key.keys().chain(after.by_key.keys()).collect();
    let restricted = restricting(&before).chain(restricting(&after)).next().is_some();
    for key in keys {
        let (was, is) = (before.by_key.get(key), after.by_key.get(key));
        let Some(mut direction) = before.direction(&after, key) else { continue };
        if key == "tools" && restricted && overlaps {
            direction = Direction::Different;
        }
        out.push(whom.rule_changed(Some(new), key, direction, was, is));
    }
    for rule in before.by_key.keys().filter(|rule| after.by_key.contains_key(*rule)) {
        let (asked, asks) = (old.asks.contains(rule), new.asks.contains(rule));
        if asked == asks {
            continue;
        }
        let (direction, what) = match asks {
            true => (Direction::More, "asks a human instead of refusing"),
            false => (Direction::Less, "refuses instead of asking a human"),
        };
        let word = |asks: bool| json!(if asks { "approval_needed" } else { "deny" });
        let key = format!("on_violation.{rule}");
        let sentence = format!("{} in `{}`: {rule} {what}", whom.does(direction), whom.entry_name(new));
        out.push(whom.change(Some(new), &key, direction, (word(asked), word(asks)), sentence));
    }
}
