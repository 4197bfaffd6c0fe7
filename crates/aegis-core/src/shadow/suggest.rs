//! Counts → a proposed change of the policies' text, with why.
//!
//! Invariants: a change widens what a policy says already (a maximum, a list), to what would have let 95 % of the observed
//! calls through, and only in place, so that comments stay; a change whose result isn't exactly what was meant is told in words
//! instead. What is told in words too: values that are redacted, rules without a limit to move, calls that no entry allows.
//! Deliberately absent: the gateway's own guards, which no policy can waive.

mod edit;

use edit::{Edit, Op};
use serde::Serialize;
use serde_json::Value as Json;

use super::Change;
use super::report::{Report, RuleReport, frequent};
use super::sighting::Offending;
use crate::call::Environment;
use crate::document::{self, Node, Value};
use crate::policy::{FindingEffect, PolicySet, Source};

/// Most names that a sentence holds.
const MOST_NAMES: usize = 3;

/// What to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Suggestion {
    /// Files that change, in the order of the sources.
    pub files: Vec<ChangedFile>,
    /// What can't be said as a change, most calls first.
    pub words: Vec<String>,
}

/// A file and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedFile {
    /// As its source is called.
    pub file: String,
    /// Its text.
    pub before: String,
    /// Its text with the changes.
    pub after: String,
    /// The changes, in the order of their lines.
    pub reasons: Vec<Reason>,
}

/// One change, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// The line that changes, of the text before, from 1.
    pub line: usize,
    /// What changes.
    pub what: String,
    /// Why: how many calls, by whom, on how many days.
    pub why: String,
}

/// Proposes changes of `sources`, which `policies` were loaded from, by what `report` (of shadow mode) says.
pub fn suggest(report: &Report, sources: &[Source], policies: &PolicySet) -> Suggestion {
    let mut suggestion = Suggestion::default();
    let mut edits: Vec<(String, Edit)> = Vec::new();
    for rule in report.rules.iter().filter(|rule| rule.key.change == Change::Stricter && !is_guard(rule)) {
        // Asking a human is what such a rule is for.
        if rule.effect != FindingEffect::Deny {
            continue;
        }
        match proposed(rule, report, sources, policies) {
            Proposal::Change(file, edit) => edits.push((file, edit)),
            Proposal::Words(words) => suggestion.words.push(words),
            Proposal::Nothing => {}
        }
    }
    for source in sources {
        let mut own: Vec<Edit> = Vec::new();
        for (_, edit) in edits.iter().filter(|(file, _)| *file == source.file) {
            if !own.iter().any(|other| other.path == edit.path) {
                own.push(edit.clone());
            }
        }
        if own.is_empty() {
            continue;
        }
        match edit::apply(source, &own) {
            Some((after, lines)) => {
                let reason = |(line, Edit { what, why, .. })| Reason { line, what, why };
                let mut reasons: Vec<Reason> = lines.into_iter().zip(own).map(reason).collect();
                reasons.sort();
                let (file, before) = (source.file.clone(), source.text.clone());
                suggestion.files.push(ChangedFile { file, before, after, reasons });
            }
            None => suggestion.words.extend(own.into_iter().map(|edit| format!("{}: {}", edit.what, edit.why))),
        }
    }
    suggestion
}

enum Proposal {
    Change(String, Edit),
    Words(String),
    /// The policies say it by now.
    Nothing,
}

/// A rule that stands in no policy and isn't about one that is missing.
fn is_guard(rule: &RuleReport) -> bool {
    rule.key.policy.is_empty() && !matches!(rule.key.rule.as_str(), "default_deny" | "egress")
}

fn proposed(rule: &RuleReport, report: &Report, sources: &[Source], policies: &PolicySet) -> Proposal {
    let key = &rule.key;
    let seen = seen(rule, report);
    let told = |what: String| Proposal::Words(format!("{}: {what}: {seen}", title(rule)));
    if key.policy.is_empty() {
        let names: Vec<String> = frequent(&rule.values).into_iter().filter_map(|share| named(&share.value)).collect();
        return match key.rule.as_str() {
            "egress" => told(format!("no policy of theirs has `egress`; they went to {}", list(&names))),
            _ if key.reason == "no_policy" => told("no policy is for these agents".to_owned()),
            _ => told("no entry allows this; add one if it should be allowed".to_owned()),
        };
    }
    let Some((file, document, path)) = found(rule, sources, policies) else {
        return told("the policies have changed since; nothing to point at".to_owned());
    };
    let Some(node) = path.iter().try_fold(&document, |node, step| step.of(node)) else {
        return told("the policies have changed since; nothing to point at".to_owned());
    };
    match (&node.value, &rule.threshold) {
        (Value::Int(_) | Value::Float(_) | Value::Text(_), Some(threshold)) => number(rule, node, threshold, &seen)
            .map_or_else(
                || told(format!("{threshold} would let 95 % of them through")),
                |edit| edit.map_or(Proposal::Nothing, |edit| Proposal::Change(file, Edit { path, ..edit })),
            ),
        (_, Some(threshold)) => told(format!("a limit of {threshold} would let 95 % of them through")),
        (Value::List(items), None) if key.reason == "not_allowed" && is_list_of_names(&key.rule) => {
            match additions(rule, items) {
                Ok(new) if new.is_empty() => Proposal::Nothing,
                Ok(new) => {
                    let values: Vec<String> = new.iter().map(|(name, _)| name.clone()).collect();
                    let what = format!("{}: + {}", title(rule), list(&values));
                    let op = Op::Push(new.into_iter().map(|(_, value)| value).collect());
                    Proposal::Change(file, Edit { path, op, what, why: seen })
                }
                Err(words) => told(words),
            }
        }
        _ => told(redacted(rule)),
    }
}

/// Which lists hold names that are counted as they are.
fn is_list_of_names(rule: &str) -> bool {
    matches!(rule, "allowed_environments" | "egress" | "allowed_images" | "allowed_image_digests")
}

/// The document of the rule's policy, and the way to the rule's value in it.
fn found(rule: &RuleReport, sources: &[Source], policies: &PolicySet) -> Option<(String, Node, Vec<edit::Step>)> {
    let key = &rule.key;
    let (file, place) = policies.place(&key.policy)?;
    let source = sources.iter().find(|source| source.file == file)?;
    let mut documents = document::parse(file, &source.text).ok()?.into_iter().enumerate();
    let (nth, document) = documents.find(|(_, node)| node.place == place)?;
    let mut path = vec![edit::Step::Document(nth)];
    if key.rule == "egress" {
        path.extend(["egress", "allow"].map(|key| edit::Step::Key(key.to_owned())));
    } else {
        let index = policies.entry_index(&key.policy, &key.entry)?;
        path.extend([
            edit::Step::Key("actions".to_owned()),
            edit::Step::Index(index),
            edit::Step::Key(key.rule.clone()),
        ]);
    }
    Some((file.to_owned(), document, path))
}

/// Moves a limit: `Some(None)` where it is there already, `None` where that can't be said.
fn number(rule: &RuleReport, node: &Node, threshold: &str, seen: &str) -> Option<Option<Edit>> {
    // An amount of money is compared, and so was counted, in whole units of its currency: `500 USD`.
    let (old, value) = match &node.value {
        Value::Text(text) => {
            let (old, currency) = text.split_once(' ')?;
            let is_currency = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
            (is_currency.then(|| old.parse::<f64>())?.ok()?, Json::from(format!("{threshold} {currency}")))
        }
        _ => (node.to_json().as_f64()?, serde_json::from_str(threshold).ok()?),
    };
    let new = threshold.parse::<f64>().ok()?;
    let wider = if rule.key.reason == "below_minimum" { new < old } else { new > old };
    if !wider {
        return Some(None);
    }
    let shown = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (old, new) = (shown(&node.to_json()), shown(&value));
    let what = format!("{}: {old} → {new}", title(rule));
    let why = format!("{old} would hold back {seen}; {new} lets 95 % of those through");
    Some(Some(Edit { path: Vec::new(), op: Op::Set(value), what, why }))
}

/// What is frequent and not listed yet: how it is told, and as an element of the list.
fn additions(rule: &RuleReport, items: &[Node]) -> Result<Vec<(String, Json)>, String> {
    let listed: Vec<Json> = items.iter().map(Node::to_json).collect();
    let is_listed =
        |name: &str| listed.iter().any(|item| *item == name || item.get("digest").is_some_and(|d| d == name));
    let as_maps = match listed.first() {
        Some(first) => first.is_object(),
        None => rule.key.rule == "allowed_images",
    };
    let mut new = Vec::new();
    for share in frequent(&rule.values) {
        let Some(name) = named(&share.value) else { return Err(redacted(rule)) };
        if is_listed(&name) {
            continue;
        }
        match rule.key.rule.as_str() {
            "allowed_environments" if name == Environment::UNKNOWN => {
                return Err(
                    "the environment of their target isn't known: map it under `environments` in aegis.yaml".to_owned()
                );
            }
            "egress" if is_address(&name) => {
                return Err(format!("{name} is an address, not a name: that stays refused"));
            }
            _ => {}
        }
        let images = matches!(rule.key.rule.as_str(), "allowed_images" | "allowed_image_digests");
        let value = if images && as_maps { serde_json::json!({"digest": name}) } else { Json::from(name.as_str()) };
        new.push((name, value));
    }
    Ok(new)
}

/// Whether a destination is an IP address and port.
fn is_address(destination: &str) -> bool {
    let host = destination.rsplit_once(':').map_or(destination, |(host, _)| host);
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

fn named(value: &Offending) -> Option<String> {
    match value {
        Offending::Named(name) => Some(name.clone()),
        _ => None,
    }
}

/// What can be said of values that nobody may see.
fn redacted(rule: &RuleReport) -> String {
    let values: Vec<String> = frequent(&rule.values)
        .into_iter()
        .map(|share| {
            let (_, text) = share.value.parts();
            format!("{text} ({})", share.calls)
        })
        .collect();
    let look = rule.examples.first().map(|id| format!("; look at {id}")).unwrap_or_default();
    match values.as_slice() {
        [] => format!("{}, so there is no limit to move{look}", rule.key.reason.replace('_', " ")),
        values => format!("the values are redacted: {}{look}", list(values)),
    }
}

fn title(rule: &RuleReport) -> String {
    match (rule.key.entry.as_str(), rule.key.policy.as_str()) {
        ("", "") => rule.key.rule.clone(),
        ("", policy) => format!("{policy}: {}", rule.key.rule),
        (entry, _) => format!("{entry}: {}", rule.key.rule),
    }
}

/// How often, by whom, on how many days.
fn seen(rule: &RuleReport, report: &Report) -> String {
    let plural = |n: u64, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let agents: Vec<String> = rule.agents.iter().map(|agent| agent.name.clone()).collect();
    format!("{} of {} by {} on {}", rule.calls, plural(report.calls, "call"), list(&agents), plural(rule.days, "day"))
}

fn list(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
