//! The policies that calls are judged by: one set in force, and perhaps one that is only watched.

use std::sync::Arc;

use aegis_core::policy::PolicySet;

/// What governs calls from one moment to the next; exchanged as a whole, so that a call sees one state of it.
#[derive(Debug, Clone)]
pub struct Governing {
    /// In force: it decides.
    pub active: Arc<PolicySet>,
    /// Asked about the same live calls, and never obeyed.
    pub candidate: Option<Arc<PolicySet>>,
}

impl Governing {
    /// Only `policies`, nothing watched.
    pub fn by(policies: PolicySet) -> Self {
        Self { active: Arc::new(policies), candidate: None }
    }
}
