//! What a policy that loads says, and probably doesn't mean. Every finding is a warning with a name that never changes, so
//! that a pipeline can tell them apart.
//!
//! Invariant: no guesses. A lint speaks where the policy can't do what it says, whatever is called; what is only unusual is
//! the author's business. Deliberately absent: errors (those refuse the file while it is loaded).

mod agents;
mod conditions;
mod entries;
mod holes;

use std::collections::BTreeSet;

use super::tables::{Origin, Policy};
use super::{Diagnostic, PolicySet};
use crate::agent::Agent;
use crate::document::Kind;

/// What the policies are compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The environments that the operator's map can yield; `None` where the map isn't known.
    pub environments: Option<&'a BTreeSet<&'a str>>,
    /// The registered agents; `None` where they aren't known.
    pub agents: Option<&'a [Agent]>,
}

/// What loading finds besides errors.
pub(super) const EMPTY: Kind = Kind { name: "empty", summary: "A file, a policy or a list says nothing." };
pub(super) const INERT: Kind = Kind { name: "inert-rule", summary: "No defined action has what the rule is on." };
pub(super) const REPEATED: Kind = Kind { name: "repeated-value", summary: "A value stands twice in a list." };
pub(super) const UNKNOWN_ACTION: Kind =
    Kind { name: "unknown-action", summary: "The catalogue has no action or class of this name." };

/// All kinds of warnings, by name.
pub const LINTS: [&Kind; 16] = [
    &conditions::APPROVAL_UNUSED,
    &conditions::ALWAYS,
    &conditions::NO_ENVIRONMENT,
    &conditions::NEVER,
    &entries::DUPLICATE,
    &EMPTY,
    &entries::NEVER_APPLIES,
    &INERT,
    &agents::NOT_ENFORCED,
    &REPEATED,
    &holes::UNANCHORED,
    &UNKNOWN_ACTION,
    &agents::UNKNOWN_AGENT,
    &conditions::UNKNOWN_ENVIRONMENT,
    &conditions::UNKNOWN_WEEKDAY,
    &conditions::UNQUOTED,
];

impl PolicySet {
    /// What these policies probably don't mean, in the order of the files.
    pub fn lint(&self, surroundings: Surroundings<'_>) -> Vec<Diagnostic> {
        let mut found = agents::lint(&self.tables, surroundings.agents);
        for policy in &self.tables.policies {
            found.extend(entries::never_applying(policy));
            found.extend(conditions::of_policy(policy, surroundings.environments));
            found.extend(holes::lint(&policy.origin, policy.deny.iter().map(|condition| ("deny_if", &**condition))));
            for entry in &policy.entries {
                found.extend(conditions::of_entry(entry, surroundings.environments));
                found.extend(holes::lint(&entry.origin, conditions::conditions_of(entry)));
            }
        }
        found.extend(entries::duplicates(&self.tables.policies));
        found.sort_by(|a, b| (&a.file, a.line, a.column, &a.key).cmp(&(&b.file, b.line, b.column, &b.key)));
        found
    }
}

/// A finding at a key of an entry or a policy; at its start where it has no such key.
fn at(kind: &'static Kind, origin: &Origin, key: &str, message: String) -> Diagnostic {
    let place = *origin.keys.get(key).unwrap_or(&origin.place);
    let path = if origin.path.is_empty() { key.to_owned() } else { format!("{}.{key}", origin.path) };
    Diagnostic::error(&origin.file, place, &path, message).of(kind).warning()
}

/// Whom a policy is for, as its author named them: `groups` where it names no agent.
fn whom(policy: &Policy) -> &'static str {
    if policy.origin.keys.contains_key("agent") { "agent" } else { "groups" }
}

#[cfg(test)]
mod tests;
