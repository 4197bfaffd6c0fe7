//! `sanitize`: what has to be redacted from a call before it is forwarded. Finding and redacting it is done elsewhere; here it is
//! only said.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::param::{Param, serialize_names};
use super::tables::{Entry, Policy};
use super::{Asked, Mode, PolicySet, native};
use crate::agent::Agent;
use crate::sanitize::{Answers, Detector, Sanitizer};

/// `sanitize` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct Sanitize {
    /// Families, types and the names of the entry's own rules.
    #[serde(serialize_with = "names_of")]
    pub(super) detect: Arc<Detector>,
    /// The entry's own rules, what passes, and what is put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<Arc<Detector>>,
    #[serde(serialize_with = "names")]
    pub(super) params: Option<Vec<Param>>,
    /// What is looked for in answers.
    #[serde(serialize_with = "names_of", skip_serializing_if = "nothing")]
    pub(super) results: Arc<Detector>,
}

fn nothing(detector: &Arc<Detector>) -> bool {
    detector.is_empty()
}

fn names_of<S: Serializer>(detector: &Arc<Detector>, serializer: S) -> Result<S::Ok, S::Error> {
    let custom = detector.custom.iter().map(|rule| rule.name.as_str());
    let names: std::collections::BTreeSet<&str> = detector.names.iter().map(String::as_str).chain(custom).collect();
    names.serialize(serializer)
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
                    let detect = Arc::clone(&sanitize.detect);
                    let key = self.token_key.clone();
                    found.push(Sanitizer { policy: policy.id.clone(), mode: policy.mode, detect, params, key });
                }
            }
        }
        found
    }

    /// What has to be redacted from the answer to a call, by the enforced entries that are for it.
    pub fn redacted_answers(&self, asked: Asked<'_>) -> Answers {
        self.redacted(asked.agent, |policy, entry| native::applies(policy, entry, asked.call))
    }

    /// The same for an answer that may be to any call of the agent's.
    pub fn redacted_anywhere(&self, agent: &Agent) -> Answers {
        self.redacted(agent, |_, _| true)
    }

    fn redacted(&self, agent: &Agent, is_for: impl Fn(&Policy, &Entry) -> bool) -> Answers {
        let mine = self.tables.of_agent(agent).into_iter().filter_map(|position| self.tables.policies.get(position));
        let enforced = mine.filter(|policy| policy.mode == Mode::Enforce);
        let entries = enforced.flat_map(|policy| policy.entries.iter().map(move |entry| (policy, entry)));
        let asking = entries.filter(|(policy, entry)| entry.sanitize.is_some() && is_for(policy, entry));
        let wanted =
            asking.filter_map(|(_, entry)| entry.sanitize.as_ref()).filter(|sanitize| !sanitize.results.is_empty());
        Answers::new(wanted.map(|sanitize| (Arc::clone(&sanitize.results), self.token_key.clone())))
    }
}
