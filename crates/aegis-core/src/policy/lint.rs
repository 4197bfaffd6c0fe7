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

/// What the policies are compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The environments that the operator's map can yield; `None` where the map isn't known.
    pub environments: Option<&'a BTreeSet<&'a str>>,
    /// The registered agents; `None` where they aren't known.
    pub agents: Option<&'a [Agent]>,
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lint {
    /// Its name.
    pub code: &'static str,
    /// What it is about, in a sentence.
    pub summary: &'static str,
}

/// All kinds of findings, by name.
pub const LINTS: [Lint; 10] = [
    Lint { code: conditions::APPROVAL_UNUSED, summary: "An approval is described, and nothing asks for one." },
    Lint { code: conditions::ALWAYS, summary: "A condition is true of every call." },
    Lint { code: conditions::NO_ENVIRONMENT, summary: "A condition is true in no environment that the map yields." },
    Lint { code: conditions::NEVER, summary: "A condition is true of no call." },
    Lint { code: entries::DUPLICATE, summary: "An entry says the same as another one." },
    Lint { code: entries::NEVER_APPLIES, summary: "An entry's name and tools exclude each other." },
    Lint { code: agents::NOT_ENFORCED, summary: "Only shadow policies are for an agent, so nothing is refused." },
    Lint { code: holes::UNANCHORED, summary: "One side of an alternation is anchored, the other is not." },
    Lint { code: agents::UNKNOWN_AGENT, summary: "No registered agent is one that the policy is for." },
    Lint { code: conditions::UNKNOWN_ENVIRONMENT, summary: "An environment is named that the map never yields." },
];

impl PolicySet {
    /// What these policies probably don't mean, in the order of the files.
    pub fn lint(&self, surroundings: Surroundings<'_>) -> Vec<Diagnostic> {
        let mut found = agents::lint(&self.tables, surroundings.agents);
        for policy in &self.tables.policies {
            found.extend(entries::never_applying(policy));
            for entry in &policy.entries {
                found.extend(conditions::lint(entry, surroundings.environments));
                found.extend(holes::lint(entry));
            }
        }
        found.extend(entries::duplicates(&self.tables.policies));
        found.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
        found
    }
}

/// A finding at a key of an entry or a policy; at its start where it has no such key.
fn at(code: &'static str, origin: &Origin, key: &str, message: String) -> Diagnostic {
    let place = *origin.keys.get(key).unwrap_or(&origin.place);
    let path = if origin.path.is_empty() { key.to_owned() } else { format!("{}.{key}", origin.path) };
    Diagnostic::error(&origin.file, place, &path, message).coded(code).warning()
}

/// Whom a policy is for, as its author named them: `groups` where it names no agent.
fn whom(policy: &Policy) -> &'static str {
    if policy.origin.keys.contains_key("agent") { "agent" } else { "groups" }
}

#[cfg(test)]
mod tests;
