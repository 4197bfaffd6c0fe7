//! Whom policies are for, and whether two of them may be for the same agent.

use std::collections::BTreeSet;
use std::fmt;

use crate::policy::condition::Pattern;
use crate::policy::tables::Tables;

/// One way in which a policy says whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Selector {
    /// An agent, by name.
    Agent(String),
    /// Agents, by a glob.
    Glob(String),
    /// The agents of a group.
    Group(String),
}

/// All the ways in which a policy says it.
pub(super) type Selectors = BTreeSet<Selector>;

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) | Self::Glob(name) => f.write_str(name),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

impl Selector {
    /// Reads what [`Selector`]'s display writes: no agent's name has a colon or an asterisk.
    pub(super) fn read(text: &str) -> Self {
        match text.strip_prefix("group:") {
            Some(group) => Self::Group(group.to_owned()),
            None if text.contains('*') => Self::Glob(text.to_owned()),
            None => Self::Agent(text.to_owned()),
        }
    }

    pub(super) fn selects(&self, id: &str, groups: &[String]) -> bool {
        match self {
            Self::Agent(name) => name == id,
            Self::Glob(glob) => glob_matches(glob, id),
            Self::Group(group) => groups.contains(group),
        }
    }

    /// Whether there may be an agent that both select. Who is in which group isn't known here.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Group(_), _) | (_, Self::Group(_)) => true,
            (Self::Agent(a), Self::Agent(b)) => a == b,
            (Self::Agent(name), Self::Glob(glob)) | (Self::Glob(glob), Self::Agent(name)) => glob_matches(glob, name),
            (Self::Glob(a), Self::Glob(b)) => {
                let start = |glob: &'_ str| glob.split('*').next().unwrap_or_default().to_owned();
                let (a, b) = (start(a), start(b));
                a.starts_with(&b) || b.starts_with(&a)
            }
        }
    }

    /// Whether every agent that `other` selects is selected. Exact names only have to be looked at; what isn't known is no.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Glob(glob), _) if glob == "*" => true,
            (Self::Glob(glob), Self::Agent(name)) => glob_matches(glob, name),
            _ => self == other,
        }
    }
}

/// Whether there may be an agent that both select.
pub(super) fn meet(a: &Selectors, b: &Selectors) -> bool {
    a.iter().any(|one| b.iter().any(|other| one.meets(other)))
}

/// Whether `a` surely selects every agent that `b` does.
pub(super) fn covers(a: &Selectors, b: &Selectors) -> bool {
    b.iter().all(|other| a.iter().any(|one| one.covers(other)))
}

/// Whom each policy is for, by its position.
pub(super) fn of_all(tables: &Tables) -> Vec<Selectors> {
    let mut all = vec![Selectors::new(); tables.policies.len()];
    let mut add = |position: usize, selector: Selector| {
        all.get_mut(position).map(|selectors| selectors.insert(selector));
    };
    for (name, positions) in &tables.exact {
        positions.iter().for_each(|position| add(*position, Selector::Agent(name.clone())));
    }
    for (name, positions) in &tables.groups {
        positions.iter().for_each(|position| add(*position, Selector::Group(name.clone())));
    }
    for (pattern, position) in tables.globs.all() {
        add(position, Selector::Glob(glob_of(pattern)));
    }
    all
}

fn glob_matches(glob: &str, name: &str) -> bool {
    // A glob that can't be compiled was never loaded; should one come, it counts as one that meets everything.
    Pattern::glob(glob, None).map_or(true, |pattern| pattern.is_match(name))
}

/// The glob that a whole-text pattern was made of: the reverse of [`Pattern::glob`].
fn glob_of(pattern: &Pattern) -> String {
    let text = pattern.as_str();
    let inner = text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text);
    inner.replace("(?:.|\\n)*", "*").replace('\\', "")
}
