//! `sanitize`: what has to be redacted from a call before it is forwarded. Finding and redacting it is done elsewhere; here it is
//! only said.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::param::{Param, serialize_names};
use super::{Asked, PolicySet, native};
use crate::sanitize::{Kind, Sanitizer};

/// `sanitize` as an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct Sanitize {
    pub(super) detect: BTreeSet<Kind>,
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
