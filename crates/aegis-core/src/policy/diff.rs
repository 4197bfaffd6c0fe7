//! What changes between two sets of policies, in words: who may do more, who may do less.
//!
//! What an enforced answer depends on is, for one agent, what grants (entries, `egress`) and what restricts (their rules). More
//! grants or fewer restrictions are *more*, the other way round is *less*; what can be both is *different*, or two changes.
//! An entry that comes does both: it grants, and holds what another entry grants already to its own rules.
//!
//! Invariants:
//! - Of an agent whose changes are all *less* (*more*), no call gets a laxer (stricter) enforced answer; without changes,
//!   each call gets the same. A property test holds that.
//! - Order, file names and the names of whole policies change nothing. Whatever else differs in what is compiled is a change:
//!   what this module has no words for is *different*.
//! - `diff(a, b)` is `diff(b, a)` with *more* and *less* exchanged.
//!
//! Deliberately absent: the catalogue. Whether two entries can be for the same call is asked of their names only, so an
//! overlap may be reported that no tool has; one that a tool has is never left out.

mod agents;
mod entries;
mod modules;
mod policies;
mod rules;
#[cfg(test)]
mod tests;
mod values;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Mode, PolicySet};

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Somebody may do more.
    More,
    /// Some may be more, some less.
    Different,
    /// Somebody may do less.
    Less,
}

impl Direction {
    /// The wire form: `more`, `different`, `less`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::More => "more",
            Self::Different => "different",
            Self::Less => "less",
        }
    }

    fn reversed(self) -> Self {
        match self {
            Self::More => Self::Less,
            Self::Less => Self::More,
            Self::Different => Self::Different,
        }
    }
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Whom it is about: agents' names and globs, groups as `group:NAME`; `*` is everybody.
    pub agents: Vec<String>,
    /// The policy's id; empty for what no policy says.
    pub policy: String,
    /// The entry, as `policy/entry`; absent for rules of the whole policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The rule's key; `actions` for an entry that comes or goes, `agent` for a policy that does.
    pub rule: String,
    /// Which way it goes.
    pub direction: Direction,
    /// Whether it is enforced, before or after; what is only observed changes no answer.
    pub mode: Mode,
    /// What stood there; `null` for nothing.
    pub before: Value,
    /// What stands there; `null` for nothing.
    pub after: Value,
    /// All of it in a sentence.
    pub sentence: String,
}

impl Change {
    /// Whether it is about an agent of this name and these groups.
    pub fn is_about(&self, id: &str, groups: &[String]) -> bool {
        self.agents.iter().any(|text| agents::Selector::read(text).selects(id, groups))
    }
}

/// Everything that changes from `before` to `after`: what lets somebody do more first, then by policy, entry and rule.
pub fn diff(before: &PolicySet, after: &PolicySet) -> Vec<Change> {
    if before.foreign.is_some() || after.foreign.is_some() {
        return unreadable(before, after).into_iter().collect();
    }
    let mut changes = policies::compare(&before.tables, &after.tables);
    changes.extend(modules::compare(before.modules(), after.modules()));
    changes.sort_by(|a, b| {
        let key = |change: &'_ Change| (change.direction, change.mode);
        let place = |change: &'_ Change| (change.policy.clone(), change.entry.clone(), change.rule.clone());
        key(a).cmp(&key(b)).then_with(|| place(a).cmp(&place(b)))
    });
    changes
}

/// A bundle that is only Rego has no tables to compare: any other version of it may be any change.
fn unreadable(before: &PolicySet, after: &PolicySet) -> Option<Change> {
    (before.version() != after.version()).then(|| Change {
        agents: vec!["*".to_owned()],
        policy: String::new(),
        entry: None,
        rule: "rego".to_owned(),
        direction: Direction::Different,
        mode: Mode::Enforce,
        before: before.version().into(),
        after: after.version().into(),
        sentence: "every agent may be judged differently: one of the two is a bundle that is only Rego, which can't be compared"
            .to_owned(),
    })
}
