//! What comes into force by itself: at a start, and when the folder was edited.

use std::sync::PoisonError;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Archive, PolicySet, Publication, Source};
use aegis_store::{About, Origin, PolicyState};
use jiff::Timestamp;

use super::changes::Next;
use super::content::digest;
use super::{ChangeError, Changed, Content, GATEWAY, Now, Refused, Versions, Written, counted, whole};

type Found = Result<Vec<Source>, Vec<Diagnostic>>;

impl Versions {
    /// Puts in force what is to be in force at a start: the folder where it was edited since it was last taken, else what was
    /// in force before. What is wrong is told and recorded; the last good version stays, or everything is denied.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(&self) -> Result<(), ChangeError> {
        let _one = self.0.changing.lock().await;
        self.restore_trials().await?;
        let found = self.look().await;
        let Now { state, looked, .. } = self.now();
        let taken = match found {
            Some(found) if state.active.is_none() || state.taken != looked => {
                self.take_found(found, GATEWAY).await.map(Some)
            }
            _ => Ok(None),
        };
        match taken {
            Ok(Some(_)) => {}
            Err(error @ (ChangeError::Store(_) | ChangeError::Internal(_))) => return Err(error),
            Ok(None) | Err(_) => self.restore().await?,
        }
        Ok(())
    }

    /// Reads the folder again and puts it in force, whatever is in force now.
    ///
    /// # Errors
    /// [`ChangeError::Invalid`] with everything that is wrong with it, or the store's; the last good version stays in force.
    pub async fn take_folder(&self, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let no_folder = || ChangeError::Conflict("policies come from a bundle's URL, not from a folder".to_owned());
        let found = self.look().await.ok_or_else(no_folder)?;
        self.take_found(found, by).await
    }

    /// The same, if it was edited since it was last taken.
    ///
    /// # Errors
    /// As [`Versions::take_folder`].
    pub async fn take_folder_if_edited(&self) -> Result<Option<Changed>, ChangeError> {
        let _one = self.0.changing.lock().await;
        let Some(found) = self.look().await else { return Ok(None) };
        let now = self.now();
        if now.state.taken != now.looked {
            return self.take_found(found, GATEWAY).await.map(Some);
        }
        // What was refused since is gone from the folder again, and what came into force since then stays.
        if now.refused.is_some() && now.active.is_some() {
            self.set(Now { refused: None, ..now });
        }
        Ok(None)
    }

    /// Puts a bundle in force that came from a URL, verified. The modes that operators switched policies to here end with it;
    /// those of where it is from are in it.
    ///
    /// # Errors
    /// [`ChangeError::Invalid`] with what is wrong with it, or the store's; the last good version stays in force.
    pub async fn take_bundle(&self, bytes: Vec<u8>) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let result = match self.compile_bundle(bytes).await {
            Ok((policies, content, about)) => {
                let (by, note, origin) = (GATEWAY.to_owned(), about.note.clone(), Origin::BundleUrl);
                let taken = self.now().state.taken.or_else(|| Some(String::new()));
                self.activate(Next { policies, content, about, origin, by, note, taken }).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            self.refuse(Origin::BundleUrl, error).await;
        }
        result
    }

    async fn compile_bundle(&self, bytes: Vec<u8>) -> Result<(PolicySet, Content, About), ChangeError> {
        let (policies, content) = self.compile(Content::Bundle(bytes)).await.map_err(ChangeError::Invalid)?;
        let (author, note, risk) = match policies.publication() {
            Some(Publication { author, note, risk, .. }) => (author.clone(), note.clone(), Some(*risk)),
            None => (GATEWAY.to_owned(), String::new(), None),
        };
        let about = About { origin: Origin::BundleUrl, author, note, risk, policies: policies.len() };
        let written = match &content {
            Content::Bundle(bytes) if !policies.is_bundle() => {
                Archive::read(bytes).ok().and_then(|archive| archive.sources())
            }
            _ => None,
        };
        match written {
            // The files that were compared with what they compile to.
            Some((sources, modes)) => Ok((policies, Content::Written(Written { sources, modes }), about)),
            None => Ok((policies, content, about)),
        }
    }

    /// What the folder holds, where there is one; remembered as looked into.
    async fn look(&self) -> Option<Found> {
        let found = self.read_folder().await;
        self.0.now.write().unwrap_or_else(PoisonError::into_inner).looked = found.as_ref().map(digest);
        found
    }

    pub(super) async fn read_folder(&self) -> Option<Found> {
        let folder = self.0.settings.folder.clone()?;
        let read = tokio::task::spawn_blocking(move || folder());
        let broken = |error| Err(vec![whole(format!("the folder of policies can't be read: {error}"))]);
        Some(read.await.unwrap_or_else(broken))
    }

    /// Puts what was found in the folder in force, or tells what is wrong with it.
    async fn take_found(&self, found: Found, by: &str) -> Result<Changed, ChangeError> {
        let taken = Some(digest(&found));
        let compiled = match found {
            Ok(sources) => self.compile_new(sources).await,
            Err(errors) => Err(ChangeError::Invalid(errors)),
        };
        let result = match compiled {
            Ok((policies, content)) => {
                for warning in policies.warnings() {
                    let Diagnostic { file, line, key, message, suggestion, .. } = warning;
                    tracing::warn!(file, line, key, suggestion, "{message}");
                }
                let (by, note, origin) = (by.to_owned(), String::new(), Origin::Folder);
                let about =
                    About { origin, author: by.clone(), note: note.clone(), risk: None, policies: policies.len() };
                self.activate(Next { policies, content, about, origin, by, note, taken }).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            self.refuse(Origin::Folder, error).await;
        }
        result
    }

    /// Tells that policies were not put in force, and why.
    async fn refuse(&self, origin: Origin, error: &ChangeError) {
        let errors = match error {
            ChangeError::Invalid(errors) => errors.clone(),
            other => vec![whole(other.to_string())],
        };
        for Diagnostic { file, line, column, key, message, suggestion, .. } in &errors {
            tracing::error!(file, line, column, key, suggestion, "{message}");
        }
        let mut now = self.now();
        let stays = now.state.active.as_ref().map(|active| active.version.clone());
        let then = match (&stays, &now.active) {
            (Some(version), Some(_)) => format!("{version} stays in force"),
            (Some(version), None) => format!("{version}, which was in force before, is tried"),
            (None, _) => "there is none to stay in force".to_owned(),
        };
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        let detail = format!("{} ({}); the first: {first}", counted(errors.len(), "error", "errors"), origin.as_str());
        // Before it is told, so that whoever hears of it and looks finds it so.
        now.refused = Some(Refused { at: Timestamp::now(), origin, errors });
        self.set(now);
        self.events().policies_reloaded("refused");
        self.events().alarm("policies refused", &format!("{detail}; {then}"));
        let recorded = self.store().record_policy(stays.as_deref().unwrap_or("none"), "refused", &detail).await;
        if let Err(error) = recorded {
            self.events().alarm("a change of policies could not be recorded", &error.to_string());
        }
    }

    /// Puts in force again what the store says is in force; where that can't be, everything is denied.
    async fn restore(&self) -> Result<(), ChangeError> {
        let mut now = self.now();
        let Some(activation) = now.state.active.clone() else {
            self.set(now);
            self.events()
                .alarm("no policy is in force", "there is no last good version: every call is denied until one is");
            return Ok(());
        };
        match self.load(&activation.version).await {
            Ok((about, policies, content)) => {
                let version = policies.version().to_owned();
                // Another one where this gateway's mode, or Aegis itself, is another one than when it was stored.
                if version != activation.version {
                    tracing::warn!(
                        stored = activation.version,
                        policy_version = version,
                        "compiled anew: the mode or the version of Aegis has changed"
                    );
                }
                let detail = format!("{}, as before the start", counted(policies.len(), "policy", "policies"));
                let (policies, new) = self.described(policies, &content, about).await?;
                let state = PolicyState {
                    active: Some(aegis_store::Activation { version: version.clone(), ..activation }),
                    ..now.state.clone()
                };
                let loaded =
                    aegis_core::audit::Event::Policy { policy_version: version, change: "loaded".to_owned(), detail };
                self.store().change_policies(vec![new], state.clone(), vec![loaded]).await?;
                (now.state, now.active) = (state, Some(policies));
                self.set(now);
                Ok(())
            }
            Err(error @ ChangeError::Store(_)) => Err(error),
            Err(error) => {
                self.refuse(activation.origin, &error).await;
                self.events()
                    .alarm("no policy is in force", "the last good version can't be loaded: every call is denied");
                Ok(())
            }
        }
    }
}
