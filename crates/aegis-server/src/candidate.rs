//! The candidate of a running gateway: loaded as its policies are, watched beside them, promoted in their place.
//!
//! Deliberately absent: whether it may be promoted, which is the core's to say ([`aegis_core::shadow::gate`]).

use std::sync::Arc;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{PolicySet, Source};

use crate::pipeline::{Governing, Pipeline};

/// Loads policies as this gateway does: its engine, its mode, its catalogue. Blocks.
pub type LoadPolicies = Arc<dyn Fn(&[Source]) -> Result<PolicySet, Vec<Diagnostic>> + Send + Sync>;

/// The candidate. Cheap to clone.
#[derive(Clone)]
pub struct Candidate {
    pipeline: Pipeline,
    load: LoadPolicies,
}

impl Candidate {
    /// The candidate of the gateway with this pipeline.
    pub fn of(pipeline: Pipeline, load: LoadPolicies) -> Self {
        Self { pipeline, load }
    }

    /// What governs calls now: the version in force, and the candidate.
    pub fn governing(&self) -> Arc<Governing> {
        self.pipeline.governing()
    }

    /// Loads policies and has them watched from the next call on. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with them; the candidate of before stays.
    pub fn set(&self, sources: &[Source]) -> Result<Arc<PolicySet>, Vec<Diagnostic>> {
        let policies = Arc::new((self.load)(sources)?);
        self.pipeline.watch(Some(Arc::clone(&policies)));
        Ok(policies)
    }

    /// Ends the watching.
    pub fn clear(&self) {
        self.pipeline.watch(None);
    }

    /// Puts the candidate in force, if it is still this one; whether it was.
    pub fn promote(&self, version: &str) -> bool {
        let governing = self.pipeline.governing();
        let Some(candidate) = governing.candidate.as_ref().filter(|candidate| candidate.version() == version) else {
            return false;
        };
        self.pipeline.govern(Governing { active: Arc::clone(candidate), candidate: None });
        true
    }
}
