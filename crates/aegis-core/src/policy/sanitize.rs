//! `sanitize`: what has to be redacted from a call before it is forwarded. Finding and redacting it is done elsewhere; here it is
//! only said.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::param::{Param, serialize_names};
use super::tables::{Entry, Policy};
use super::{Asked, Mode, PolicySet, native};
use crate::agent::Agent;
use crate::sanitize::{Kind, Sanitizer};

/// `sanitize` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct Sanitize {
    pub(super) detect: BTreeSet<Kind>,
    #[serde(serialize_with = "names")]
    pub(super) params: Option<Vec<Param>>,
    /// What is looked for in answers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) results: BTreeSet<Kind>,
}

fn names<S: Serializer>(params: &Option<Vec<Param>>, serializer: S) -> Result<S::Ok, S::Error> {
    match params {
        Some(params) => serialize_names(params, serializer),
        None => serializer.serialize_none(),
    }
}

impl PolicySet {
    /// What has to be redacted from a call, by the entries that are for it.
    pub fn sanitizers(&self, asked: Asked<'_>) -> Vec<Sanitizer> {
        let mut found = Vec::new();
        for policy in native::policies_of(&self.tables, asked) {
            for entry in &policy.entries {
                let Some(sanitize) = &entry.sanitize else { continue };
                if !sanitize.detect.is_empty() && native::applies(policy, entry, asked.call) {
                    let params = sanitize.params.as_ref().map(|params| params.iter().map(Param::path).collect());
                    let detect = sanitize.detect.clone();
                    found.push(Sanitizer { policy: policy.id.clone(), mode: policy.mode, detect, params });
                }
            }
        }
        found
    }

    /// What has to be redacted from the answer to a call, by the enforced entries that are for it.
    pub fn redacted_answers(&self, asked: Asked<'_>) -> BTreeSet<Kind> {
        self.redacted(asked.agent, |policy, entry| native::applies(policy, entry, asked.call))
    }

    /// The same for an answer that may be to any call of the agent's.
    pub fn redacted_anywhere(&self, agent: &Agent) -> BTreeSet<Kind> {
        self.redacted(agent, |_, _| true)
    }

    fn redacted(&self, agent: &Agent, is_for: impl Fn(&Policy, &Entry) -> bool) -> BTreeSet<Kind> {
        let mine = self.tables.of_agent(agent).into_iter().filter_map(|position| self.tables.policies.get(position));
        let enforced = mine.filter(|policy| policy.mode == Mode::Enforce);
        let entries = enforced.flat_map(|policy| policy.entries.iter().map(move |entry| (policy, entry)));
        let asking = entries.filter(|(policy, entry)| entry.sanitize.is_some() && is_for(policy, entry));
        asking
            .filter_map(|(_, entry)| entry.sanitize.as_ref())
            .flat_map(|sanitize| sanitize.results.iter().copied())
            .collect()
    }
}
