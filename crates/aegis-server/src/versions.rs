//! Which policy version is in force, and how another one comes in its place: from the folder, published, by going back, by
//! switching a policy's mode, tried on a part of the calls first.
//!
//! Invariants:
//! - A version is stored before it is in force, in the transaction that records who put it there.
//! - One change at a time; a change that fails leaves everything as it is.
//! - The last activation wins. The folder is one when its content differs from what was last taken from it: an edit comes
//!   into force, and what was published survives a restart.
//! - What can't be loaded leaves the last good version in force; where there is none, everything is denied.
//!
//! Deliberately absent: what policies mean (the core's), files (the caller's), and the path of a call, which takes what
//! governs it from the pipeline.

mod changes;
mod content;
mod start;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Options, PolicySet, Source};
use aegis_store::{Activation, Origin, PolicyState, Store, StoreError};
pub use changes::{Changed, Publish};
pub use content::{Content, Written};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;
pub use trials::Which;

use crate::events::Events;
use crate::pipeline::{Canary, Governing, Pipeline};

/// Who changes are recorded as that nobody asked for: an edit of the folder, a start.
const GATEWAY: &str = "gateway";

/// Compiles what a version is made of, as this gateway does: its engine, its mode, its catalogue. Blocks.
pub type Compile = Arc<dyn Fn(&Content) -> Result<PolicySet, Vec<Diagnostic>> + Send + Sync>;

/// Reads the folder of policies. Blocks.
pub type ReadFolder = Arc<dyn Fn() -> Result<Vec<Source>, Vec<Diagnostic>> + Send + Sync>;

/// What it works with.
pub struct Settings {
    /// Keeps versions.
    pub store: Store,
    /// Tells.
    pub events: Events,
    /// Compiles.
    pub compile: Compile,
    /// Reads; `None` where policies come from a bundle's URL.
    pub folder: Option<ReadFolder>,
}

/// The policy versions of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Versions(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// Held during a change.
    changing: Mutex<()>,
    now: RwLock<Now>,
    /// Told of what governs; nobody where no gateway runs.
    pipeline: OnceLock<Pipeline>,
}

/// What holds at the moment.
#[derive(Clone, Default)]
struct Now {
    state: PolicyState,
    /// In force; `None` where no gateway runs, or nothing can be in force.
    active: Option<Arc<PolicySet>>,
    canary: Option<Canary>,
    candidate: Option<Arc<PolicySet>>,
    refused: Option<Refused>,
    /// Digest of the folder's content when it was last looked into; `None` where no gateway runs.
    looked: Option<String>,
}

/// Policies that were not put in force.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// Since when.
    pub at: Timestamp,
    /// Where they are from.
    pub origin: Origin,
    /// What is wrong with them.
    pub errors: Vec<Diagnostic>,
}

/// What is in force, since when, by whom, from where; and what isn't, and why.
#[derive(Debug, Clone)]
pub struct Status {
    /// What the store says.
    pub state: PolicyState,
    /// What decides; `None` where no gateway runs, or where everything is denied because nothing could be loaded.
    pub active: Option<Arc<PolicySet>>,
    /// What was refused last, if nothing came into force since.
    pub refused: Option<Refused>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The policies are refused.
    #[error("{} in the policies", counted(.0.len(), "error", "errors"))]
    Invalid(Vec<Diagnostic>),
    /// There is no such thing.
    #[error("there is no {0} {1:?}")]
    NotFound(&'static str, String),
    /// It can't be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// Ours.
    #[error("{0}")]
    Internal(String),
}

impl ChangeError {
    /// In a line: of policies that are refused, the first reason with its place.
    pub fn first(&self) -> String {
        match self {
            Self::Invalid(errors) => errors.first().map(ToString::to_string).unwrap_or_default(),
            other => other.to_string(),
        }
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { kind, id } => Self::NotFound(kind, id),
            other => Self::Store(other),
        }
    }
}

impl Versions {
    /// The versions that `settings.store` keeps. Nothing is in force yet: see [`Versions::start`].
    ///
    /// # Errors
    /// The database's.
    pub async fn open(settings: Settings) -> Result<Self, StoreError> {
        let now = Now { state: settings.store.policy_state().await?, ..Now::default() };
        let inner = Inner { settings, changing: Mutex::default(), now: RwLock::new(now), pipeline: OnceLock::new() };
        Ok(Self(Arc::new(inner)))
    }

    /// From now on, changes govern this pipeline.
    pub fn govern(&self, pipeline: Pipeline) {
        // A second one would be a second gateway on the same versions; the first stays.
        let _ = self.0.pipeline.set(pipeline);
    }

    /// What governs the calls of the gateway; `None` where none runs.
    pub fn governing(&self) -> Option<Arc<Governing>> {
        self.0.pipeline.get().map(Pipeline::governing)
    }

    /// What governs calls once a gateway runs.
    pub fn would_govern(&self) -> Governing {
        self.now().governing()
    }

    /// What is in force, and what isn't.
    pub fn status(&self) -> Status {
        let Now { state, active, refused, .. } = self.now();
        Status { state, active, refused }
    }

    /// Whether something is in force.
    pub fn in_force(&self) -> bool {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner).active.is_some()
    }

    /// Whether what is in force isn't what was last asked for.
    pub fn is_refused(&self) -> bool {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner).refused.is_some()
    }

    /// What a version is made of.
    ///
    /// # Errors
    /// [`ChangeError::NotFound`], or the store's.
    pub async fn content(&self, version: &str) -> Result<Content, ChangeError> {
        let (_, archive) = self.store().policy_version(version).await?;
        Content::read(archive).map_err(|error| ChangeError::Internal(format!("version {version}: {error}")))
    }

    fn store(&self) -> &Store {
        &self.0.settings.store
    }

    fn events(&self) -> &Events {
        &self.0.settings.events
    }

    fn now(&self) -> Now {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `now` says holds from this moment.
    fn set(&self, now: Now) {
        let governing = now.governing();
        self.events().policies_in_force(now.in_force().map(|(version, origin)| (version, origin.as_str())));
        self.events().policies_refused(now.refused.is_some());
        *self.0.now.write().unwrap_or_else(PoisonError::into_inner) = now;
        if let Some(pipeline) = self.0.pipeline.get() {
            pipeline.govern(governing);
        }
    }

    /// Compiles, off the threads that answer calls.
    async fn compile(&self, content: Content) -> Result<(PolicySet, Content), Vec<Diagnostic>> {
        let compile = Arc::clone(&self.0.settings.compile);
        let task = tokio::task::spawn_blocking(move || compile(&content).map(|policies| (policies, content)));
        task.await.unwrap_or_else(|error| Err(vec![whole(format!("the policies can't be compiled: {error}"))]))
    }

    /// The same for sources that are new: the modes that operators have switched policies to stay, where there is no doubt
    /// which policy is meant.
    async fn compile_new(&self, sources: Vec<Source>) -> Result<(PolicySet, Content), ChangeError> {
        let active = self.now().state.active;
        let modes = match &active {
            Some(Activation { version, .. }) => self.content(version).await?.modes(),
            None => BTreeMap::new(),
        };
        let written = Content::Written(Written { sources, modes: modes.clone() });
        let (policies, content) = self.compile(written).await.map_err(ChangeError::Invalid)?;
        let (kept, given_up): (BTreeMap<_, _>, BTreeMap<_, _>) =
            modes.into_iter().partition(|(id, _)| is_one(&policies, id));
        if given_up.is_empty() {
            return Ok((policies, content));
        }
        for policy in given_up.keys() {
            tracing::warn!(policy, "the mode that it was switched to is given up: no policy is surely this one");
        }
        let written = Written { sources: content.sources().to_vec(), modes: kept };
        self.compile(Content::Written(written)).await.map_err(ChangeError::Invalid)
    }
}

impl Now {
    fn governing(&self) -> Governing {
        let Some(active) = &self.active else { return Governing::withheld(nothing()) };
        let (canary, candidate) = (self.canary.clone(), self.candidate.clone());
        Governing { canary, candidate, ..Governing::by(Arc::clone(active)) }
    }

    /// The version in force, and where it is from.
    fn in_force(&self) -> Option<(&str, Origin)> {
        let origin = self.state.active.as_ref().map(|active| active.origin)?;
        Some((self.active.as_ref()?.version(), origin))
    }
}

/// The set that holds nothing, so that everything is denied.
pub fn nothing() -> PolicySet {
    PolicySet::load(&[], Options::default()).expect("a set without policies has nothing that could be refused")
}

/// Whether `id` names one policy beyond doubt: one without a name is numbered by the order of the files, which may change.
fn is_one(policies: &PolicySet, id: &str) -> bool {
    let numbered = |other: &str| other.strip_prefix(id).is_some_and(|rest| rest.starts_with('#'));
    !id.contains('#') && policies.ids().any(|other| other == id) && !policies.ids().any(numbered)
}

/// A count in words.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// An error that is about all of the policies.
fn whole(message: String) -> Diagnostic {
    Diagnostic::error("", aegis_core::document::Place { line: 1, column: 1 }, "", message)
}
