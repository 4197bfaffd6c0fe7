//! Which rules there are, and which of them a call was judged by: what a run of test cases has shown, and what it hasn't.
//!
//! Derived from an [`Evaluation`], never a second judgement. A rule is *asked* where its entry is for the call and the call
//! has what the rule is on; it is then *broken* where a finding names it, and else *kept*; a budget, by what was spent of it.
//! Deliberately absent: `rate`, which says nothing of a single call.

use super::condition::Truth;
use super::tables::{Entry, Label, Origin, Policy};
use super::{Asked, Evaluation, Finding, PolicySet, Reason, native};
use crate::budget::Spend;
use crate::call::{IMAGES, ToolCall};
use crate::document::Place;
use crate::sanitize;

/// Keys that are rules.
const RULES: [&str; 11] = [
    "allowed_environments",
    "allowed_image_digests",
    "allowed_images",
    "approval_needed",
    "budget",
    "daily_budget",
    "deny_if",
    "egress",
    "labels",
    "required_params",
    "sanitize",
];
/// Families of keys that are rules on the parameter whose name follows.
const FAMILIES: [&str; 5] = ["max_", "min_", "allowed_", "denied_", "pattern_"];
/// What an entry itself is called in the inventory: that it is for a call at all.
const GRANT: &str = "name";

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// `policy/entry#rule`, or `policy#rule` for a rule of the whole policy. An entry stands there itself as `#name`.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Where it stands there.
    #[serde(flatten)]
    pub place: Place,
    /// Whether some call can keep it.
    pub can_be_kept: bool,
    /// Whether some call can break it.
    pub can_be_broken: bool,
}

/// What became of a rule that a call was judged by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exercised {
    /// The rule's id.
    pub id: String,
    /// Whether the call keeps it.
    pub kept: bool,
}

impl PolicySet {
    /// All rules, in the order of the files.
    pub fn rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for policy in &self.tables.policies {
            let own = rules_of(&policy.origin);
            rules.extend(
                own.map(|(key, place)| rule(format!("{}#{key}", policy.id), &policy.origin, place, true, true)),
            );
            for entry in &policy.entries {
                let origin = &entry.origin;
                let place = *origin.keys.get(GRANT).unwrap_or(&origin.place);
                rules.push(rule(format!("{}#{GRANT}", entry.label), origin, place, true, false));
                for (key, place) in rules_of(origin) {
                    let constant = entry.approval.as_ref().and_then(|condition| condition.is_constant());
                    let constant = constant.filter(|_| key == "approval_needed");
                    let always = |label: &Label| label.when.is_constant() == Some(true);
                    let can_be_broken = match key {
                        "labels" => !entry.labels.iter().any(always),
                        _ => constant != Some(false),
                    };
                    let id = format!("{}#{key}", entry.label);
                    rules.push(rule(id, origin, place, constant != Some(true), can_be_broken));
                }
            }
        }
        rules
    }

    /// The rules that a call was judged by, sorted; `evaluation` is what the policies said of it, `spends` what was
    /// spent of its budgets.
    pub fn exercised(&self, asked: Asked<'_>, evaluation: &Evaluation, spends: &[Spend]) -> Vec<Exercised> {
        let mut all = Vec::new();
        // That something is to be looked for is found of every call; what it comes to is what is found in this one.
        let sanitizers = self.sanitizers(asked);
        let redacts = |policy: &str| {
            let of_policy = sanitizers.iter().filter(|one| one.policy == policy);
            { of_policy }.any(|one| !sanitize::find(asked.call, std::slice::from_ref(one)).is_empty())
        };
        for policy in native::policies_of(&self.tables, asked) {
            let over = |key: &str| {
                spends.iter().any(|spend| spend.limit.policy == policy.id && spend.limit.rule == key && !spend.fits())
            };
            let found = |entry: Option<usize>, key: &str| {
                evaluation.findings.iter().any(|f| f.policy == policy.id && f.entry == entry && f.rule == key)
            };
            let broken = |entry: Option<usize>, key: &str| match key {
                "sanitize" => redacts(&policy.id),
                // Left is what the rule is there for, and counts as kept; a call that leaves nothing, as broken.
                "labels" => !leaves(entry.and_then(|index| policy.entries.get(index)), asked),
                _ => over(key) || found(entry, key),
            };
            for (key, _) in rules_of(&policy.origin) {
                let is_broken = broken(None, key);
                // What a policy says of destinations isn't asked where there is none.
                if is_broken || key != "egress" || asked.call.destination.is_some() {
                    all.push(Exercised { id: format!("{}#{key}", policy.id), kept: !is_broken });
                }
            }
            for (index, entry) in policy.entries.iter().enumerate() {
                if evaluation.matched.contains(&entry.label) {
                    all.push(Exercised { id: format!("{}#{GRANT}", entry.label), kept: true });
                }
                if !native::applies(policy, entry, asked.call) {
                    continue;
                }
                for (key, _) in rules_of(&entry.origin) {
                    let is_broken = broken(Some(index), key);
                    if is_broken || is_kept(policy, entry, index, key, asked.call, &evaluation.findings) {
                        all.push(Exercised { id: format!("{}#{key}", entry.label), kept: !is_broken });
                    }
                }
            }
        }
        all.sort();
        all.dedup();
        all
    }
}

/// Whether a call leaves any of an entry's labels.
fn leaves(entry: Option<&Entry>, asked: Asked<'_>) -> bool {
    entry.is_some_and(|entry| entry.labels.iter().any(|label| label.when.holds(asked) != Truth::False))
}

fn rule(id: String, origin: &Origin, place: Place, can_be_kept: bool, can_be_broken: bool) -> Rule {
    Rule { id, file: origin.file.clone(), place, can_be_kept, can_be_broken }
}

/// The rules that are written there, each with its place.
fn rules_of(origin: &Origin) -> impl Iterator<Item = (&str, Place)> {
    let is_rule = |key: &str| RULES.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family));
    origin.keys.iter().filter(move |(key, _)| is_rule(key)).map(|(key, place)| (key.as_str(), *place))
}

/// Whether a rule that no finding names was asked at all.
fn is_kept(policy: &Policy, entry: &Entry, index: usize, key: &str, call: &ToolCall, findings: &[Finding]) -> bool {
    match key {
        "allowed_environments" => {
            let listed = entry.environments.as_ref().is_none_or(|all| all.contains(&call.environment.name));
            let lifted = findings.iter().any(|finding| {
                let of_entry = finding.policy == policy.id && finding.entry == Some(index);
                of_entry && finding.rule == "approval_needed" && finding.reason == Reason::ApprovalCondition
            });
            listed || !lifted
        }
        "allowed_images" | "allowed_image_digests" => !call.images.is_empty(),
        "egress" => call.destination.is_some(),
        _ if RULES.contains(&key) => true,
        _ => FAMILIES
            .iter()
            .find_map(|family| key.strip_prefix(family))
            .is_some_and(|param| call.params.contains_key(param) || (param == IMAGES && !call.images.is_empty())),
    }
}

#[cfg(test)]
mod tests;
