//! `sanitize`: what has to be redacted from a call before it is forwarded. Finding and redacting it is done elsewhere; here it is
//! only said.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};

use super::param::{Param, serialize_names};
use super::{Asked, Mode, PolicySet, native};

/// Kinds of data that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// Protected health information.
    Phi,
    /// Personally identifiable information.
    Pii,
    /// Credentials.
    Secrets,
}

impl DataKind {
    /// Every kind, by its name in a policy.
    pub const ALL: [(&str, Self); 3] = [("phi", Self::Phi), ("pii", Self::Pii), ("secrets", Self::Secrets)];
}

/// A `sanitize` that applies to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitizer {
    /// The policy that says so.
    pub policy: String,
    /// Whether it redacts, or only observes.
    pub mode: Mode,
    /// What is looked for.
    pub detect: BTreeSet<DataKind>,
    /// Where: paths into the parameters, key by key; `None` is everywhere.
    pub params: Option<Vec<Vec<String>>>,
}

/// `sanitize` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct Sanitize {
    pub(super) detect: BTreeSet<DataKind>,
    #[serde(serialize_with = "names")]
    pub(super) params: Option<Vec<Param>>,
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
                if native::applies(policy, entry, asked.call) {
                    let params = sanitize.params.as_ref().map(|params| params.iter().map(Param::path).collect());
                    let detect = sanitize.detect.clone();
                    found.push(Sanitizer { policy: policy.id.clone(), mode: policy.mode, detect, params });
                }
            }
        }
        found
    }
}
