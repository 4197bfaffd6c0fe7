//! What operators do with versions: publish, go back, switch a mode.

use std::sync::Arc;

use aegis_core::audit::Event;
use aegis_core::policy::{Mode, PolicySet, Publication, Risk, Source};
use aegis_store::{About, Activation, NewVersion, Origin, StoreError};
use jiff::Timestamp;

use super::content::digest;
use super::{ChangeError, Content, Now, Versions, counted, is_one};

/// Policies to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The files.
    pub sources: Vec<Source>,
    /// Who wrote them.
    pub author: String,
    /// Why.
    pub note: String,
    /// How much they can break.
    pub risk: Option<Risk>,
    /// Whether they come into force, or are only stored.
    pub activate: bool,
}

/// What a change led to.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The version that it was about.
    pub policies: Arc<PolicySet>,
    /// Whether anything is different now.
    pub changed: bool,
}

/// A version that is to come into force.
pub(super) struct Next {
    pub(super) policies: PolicySet,
    pub(super) content: Content,
    pub(super) about: About,
    /// How it comes into force, by whom and why.
    pub(super) origin: Origin,
    pub(super) by: String,
    pub(super) note: String,
    /// Digest of the folder, when this makes what is in it a thing of the past.
    pub(super) taken: Option<String>,
}

impl Versions {
    /// Stores policies as a version, and puts it in force unless told not to.
    ///
    /// # Errors
    /// [`ChangeError::Invalid`] with everything that is wrong with them, or the store's; everything stays as it is.
    pub async fn publish(&self, publish: Publish, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let Publish { sources, author, note, risk, activate } = publish;
        let (policies, content) = self.compile_new(sources).await?;
        let about = About { origin: Origin::Published, author, note: note.clone(), risk, policies: policies.len() };
        if activate {
            let taken = Some(self.folder_before().await);
            let (origin, by) = (Origin::Published, by.to_owned());
            return self.activate(Next { policies, content, about, origin, by, note, taken }).await;
        }
        let (policies, new) = self.described(policies, &content, about).await?;
        let record = operation(by, "policy.store", policies.version(), &note);
        self.store().change_policies(vec![new], self.now().state, vec![record]).await?;
        Ok(Changed { policies, changed: true })
    }

    /// Puts an earlier version in force: the one named, else the one that was in force before.
    ///
    /// # Errors
    /// [`ChangeError::NotFound`], [`ChangeError::Conflict`] when there is none or it is in force already,
    /// [`ChangeError::Invalid`] when this gateway can't load it any more, or the store's.
    pub async fn rollback(&self, to: Option<String>, note: String, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let Now { state, active, .. } = self.now();
        let none = || {
            ChangeError::Conflict("no other version was in force before: name one, from `aegis policy list`".to_owned())
        };
        let version = to.or(state.previous).ok_or_else(none)?;
        if active.is_some_and(|active| active.version() == version) {
            return Err(ChangeError::Conflict(format!("version {version} is in force already")));
        }
        let (kept, policies, content) = self.load(&version).await?;
        let taken = Some(self.folder_before().await);
        let (origin, by) = (Origin::Rollback, by.to_owned());
        self.activate(Next { policies, content, about: kept, origin, by, note, taken }).await
    }

    /// Switches a policy to a mode whatever its file says, or (`None`) back to what its file says: another version.
    ///
    /// # Errors
    /// [`ChangeError::NotFound`] for the policy, [`ChangeError::Conflict`] when it isn't clear which policy that is or nothing is
    /// in force, or the store's.
    pub async fn set_mode(&self, policy: &str, mode: Option<Mode>, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let none = || ChangeError::Conflict("no policy is in force: publish some first".to_owned());
        let version = self.now().state.active.ok_or_else(none)?.version;
        let (about, before, content) = self.load(&version).await?;
        if !before.ids().any(|id| id == policy) {
            return Err(ChangeError::NotFound("policy", policy.to_owned()));
        }
        if !is_one(&before, policy) {
            let message = format!(
                "{policy:?} has no name of its own: which policy it is depends on the order of the files; give it a `name`"
            );
            return Err(ChangeError::Conflict(message));
        }
        let Content::Written(mut written) = content else {
            let message = format!("version {version} is a bundle of nothing but Rego: its policies can't be switched");
            return Err(ChangeError::Conflict(message));
        };
        match mode {
            Some(mode) => written.modes.insert(policy.to_owned(), mode),
            None => written.modes.remove(policy),
        };
        let (policies, content) = self.compile(Content::Written(written)).await.map_err(ChangeError::Invalid)?;
        let note = match mode {
            Some(Mode::Enforce) => format!("{policy}: enforce"),
            Some(Mode::Shadow) => format!("{policy}: shadow"),
            None => format!("{policy}: as its file says"),
        };
        let about = About { origin: Origin::Mode, author: by.to_owned(), note: note.clone(), ..about };
        let (origin, by) = (Origin::Mode, by.to_owned());
        self.activate(Next { policies, content, about, origin, by, note, taken: None }).await
    }

    /// Stores a version if it is new, and puts it in force: first on disk and on record, then for the next call.
    pub(super) async fn activate(&self, next: Next) -> Result<Changed, ChangeError> {
        self.activate_as(operation_of(next.origin), next).await
    }

    /// The same, recorded as this operation.
    pub(super) async fn activate_as(&self, did: &str, next: Next) -> Result<Changed, ChangeError> {
        let Next { policies, content, about, origin, by, note, taken } = next;
        let (policies, new) = self.described(policies, &content, about).await?;
        let mut now = self.now();
        let before = now.state.active.as_ref().map(|active| active.version.clone());
        let version = policies.version().to_owned();
        let changed = before.as_ref() != Some(&version) || now.active.is_none();
        if before.is_some() && before.as_ref() != Some(&version) {
            now.state.previous = before;
        }
        if now.state.canary.as_ref().is_some_and(|canary| canary.version == version) {
            (now.state.canary, now.canary) = (None, None);
        }
        if now.state.candidate.as_ref() == Some(&version) {
            (now.state.candidate, now.candidate) = (None, None);
        }
        // What a refused folder has to say is over once something else was chosen; switching a mode chooses nothing.
        if taken.is_some() {
            (now.state.taken, now.refused) = (taken, None);
        }
        let loaded = Event::Policy {
            policy_version: version.clone(),
            change: "loaded".to_owned(),
            detail: format!("{}, {}", counted(policies.len(), "policy", "policies"), origin.as_str()),
        };
        let records = vec![operation(&by, did, &version, &note), loaded];
        now.state.active = Some(Activation { version: version.clone(), at: Timestamp::now(), by, origin, note });
        self.store().change_policies(vec![new], now.state.clone(), records).await?;
        now.active = Some(Arc::clone(&policies));
        self.set(now);
        self.events().policies_reloaded(if changed { "activated" } else { "unchanged" });
        tracing::info!(
            policy_version = version,
            origin = origin.as_str(),
            policies = policies.len(),
            "policies in force"
        );
        Ok(Changed { policies, changed })
    }

    /// A stored version, compiled as this gateway does.
    pub(super) async fn load(&self, version: &str) -> Result<(About, PolicySet, Content), ChangeError> {
        let (kept, archive) = self.store().policy_version(version).await?;
        let content = Content::read(archive)
            .map_err(|error| ChangeError::Internal(format!("version {version} can't be read back: {error}")))?;
        let (policies, content) = self.compile(content).await.map_err(ChangeError::Invalid)?;
        Ok((kept.about, policies, content))
    }

    /// A version as it is to be kept, and the same with what its bundle tells of it: what was first told, where it is kept
    /// already, so that its bundle stays the same bytes.
    pub(super) async fn described(
        &self,
        policies: PolicySet,
        content: &Content,
        about: About,
    ) -> Result<(Arc<PolicySet>, NewVersion), ChangeError> {
        let version = policies.version().to_owned();
        let (about, created_at) = match self.store().policy_version(&version).await {
            Ok((kept, archive)) => {
                self.is_the_same(&policies, content, archive).await?;
                (kept.about, kept.created_at)
            }
            Err(StoreError::NotFound { .. }) => (about, to_microseconds(Timestamp::now())),
            Err(error) => return Err(error.into()),
        };
        let policies = match policies.publication() {
            Some(_) => policies,
            None => {
                let About { author, note, risk, .. } = about.clone();
                policies.published(Some(Publication { author, at: created_at, note, risk: risk.unwrap_or_default() }))
            }
        };
        let archive = content.kept().map_err(|error| ChangeError::Internal(error.to_string()))?;
        Ok((Arc::new(policies), NewVersion { version, created_at, about, archive }))
    }

    /// Refuses other policies under a name that is kept: it is short enough for somebody to make two that share it, and what
    /// was reviewed, and what is on record, is the first.
    async fn is_the_same(&self, policies: &PolicySet, content: &Content, kept: Vec<u8>) -> Result<(), ChangeError> {
        let internal = |error: &dyn std::fmt::Display| ChangeError::Internal(error.to_string());
        if content.kept().map_err(|error| internal(&error))? == kept {
            return Ok(());
        }
        // What can't be read or compiled any more means nothing that this could differ from.
        let Ok(kept) = Content::read(kept) else { return Ok(()) };
        let Ok((kept, _)) = self.compile(kept).await else { return Ok(()) };
        if !kept.decides_like(policies) {
            let name = policies.version();
            return Err(ChangeError::Conflict(format!(
                "other policies are kept under the name {name}: change something"
            )));
        }
        Ok(())
    }

    /// Digest of what in the folder is a thing of the past once something else is chosen: what the gateway has looked into. An
    /// edit that it hasn't seen yet still comes into force. Where no gateway runs, all that is there has been passed over.
    pub(super) async fn folder_before(&self) -> String {
        match self.now().looked {
            Some(looked) => looked,
            None => self.read_folder().await.as_ref().map(digest).unwrap_or_default(),
        }
    }
}

pub(super) fn operation(by: &str, operation: &str, version: &str, note: &str) -> Event {
    let subject = if note.is_empty() { version.to_owned() } else { format!("{version}: {note}") };
    Event::Operation { by: by.to_owned(), operation: operation.to_owned(), subject }
}

fn operation_of(origin: Origin) -> &'static str {
    match origin {
        Origin::Folder => "policy.take_folder",
        Origin::Published => "policy.publish",
        Origin::BundleUrl => "policy.take_bundle",
        Origin::Rollback => "policy.rollback",
        Origin::Mode => "policy.mode",
        Origin::Canary => "policy.canary_promote",
        Origin::Candidate => "policy.promote",
    }
}

/// As the store keeps it.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
