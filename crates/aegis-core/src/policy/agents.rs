//! Agents named by globs, found without trying every glob: most start with text, and an agent's name has few beginnings.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Serialize, Serializer};

use super::condition::Pattern;

/// The globs, by the text before their first `*`.
#[derive(Debug, Default)]
pub(super) struct Globs {
    by_prefix: BTreeMap<String, Vec<AgentGlob>>,
}

/// Agents by a glob.
#[derive(Debug, Serialize)]
struct AgentGlob {
    pattern: Pattern,
    /// Position in the policies.
    policy: usize,
}

impl Globs {
    /// Adds a policy's glob.
    pub(super) fn add(&mut self, glob: &str, pattern: Pattern, policy: usize) {
        let prefix = glob.split('*').next().unwrap_or_default();
        self.by_prefix.entry(prefix.to_owned()).or_default().push(AgentGlob { pattern, policy });
    }

    /// Every glob, with the position of its policy.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Pattern, usize)> {
        self.by_prefix.values().flatten().map(|glob| (&glob.pattern, glob.policy))
    }

    /// The policies whose glob is for this agent, in no order.
    pub(super) fn of(&self, agent: &str) -> impl Iterator<Item = usize> {
        let globs = self.buckets(agent).flatten();
        let found: Vec<usize> = globs.filter(|glob| glob.pattern.is_match(agent)).map(|glob| glob.policy).collect();
        found.into_iter()
    }

    /// The buckets whose prefix the agent's name starts with. The greatest prefix up to a bound either is one of the name, or
    /// what it has in common with the name bounds the next.
    fn buckets<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a Vec<AgentGlob>> {
        let mut bound = Some(agent);
        let up_to = |bound| self.by_prefix.range::<str, _>((Bound::Unbounded, Bound::Included(bound)));
        std::iter::from_fn(move || {
            loop {
                let (prefix, bucket) = up_to(bound?).next_back()?;
                let common = common_length(prefix, agent);
                if common == prefix.len() {
                    bound = prefix.char_indices().next_back().and_then(|(at, _)| agent.get(..at));
                    return Some(bucket);
                }
                bound = agent.get(..common);
            }
        })
    }
}

/// How long the beginning is that both have, in bytes of whole characters.
fn common_length(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// A list, in the order of the policies.
impl Serialize for Globs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut globs: Vec<&AgentGlob> = self.by_prefix.values().flatten().collect();
        globs.sort_by_key(|glob| glob.policy);
        globs.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
