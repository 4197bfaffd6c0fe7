//! Versions on trial beside the one in force: a canary judges a part of the calls, a candidate is only watched.

use std::sync::Arc;

use aegis_core::policy::PolicySet;
use aegis_store::{About, NewVersion, Origin, PolicyState, Trial, TrialOf};
use jiff::Timestamp;

use super::changes::{Next, operation};
use super::{ChangeError, Changed, Content, Now, Publish, Versions};
use crate::pipeline::{Canary, CanaryOf, random};

/// Which calls a canary is to judge.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// Those of these agents, and of agents in these groups.
    Named {
        /// Agents.
        agents: Vec<String>,
        /// Groups.
        groups: Vec<String>,
    },
    /// Those of a share of the agents, 0 to 1.
    ShareOfAgents(f64),
    /// A share of the calls, 0 to 1.
    ShareOfCalls(f64),
}

impl Versions {
    /// Lets a version judge a part of the calls; the version in force goes on judging the others.
    ///
    /// # Errors
    /// As [`Versions::rollback`]; [`ChangeError::Conflict`] also for a share that isn't one.
    pub async fn start_canary(&self, version: &str, which: Which, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let conflict = |message: String| Err(ChangeError::Conflict(message));
        if let Which::ShareOfAgents(share) | Which::ShareOfCalls(share) = which
            && !(share > 0.0 && share <= 1.0)
        {
            return conflict("a share is more than 0 and at most 1".to_owned());
        }
        let now = self.now();
        if now.active.as_ref().is_some_and(|active| active.version() == version) {
            return conflict(format!("version {version} is in force already, for every call"));
        }
        let (about, policies, content) = self.load(version).await?;
        let (policies, new) = self.described(policies, &content, about).await?;
        let trial = Trial {
            version: policies.version().to_owned(),
            since: Timestamp::now(),
            by: by.to_owned(),
            of: trial_of(which),
        };
        let record = operation(by, "policy.canary", &trial.version, &described(&trial.of));
        let canary = Canary { policies: Arc::clone(&policies), of: canary_of(&trial.of) };
        let state = PolicyState { canary: Some(trial), ..now.state.clone() };
        self.store().change_policies(vec![new], state.clone(), vec![record]).await?;
        self.set(Now { state, canary: Some(canary), ..now });
        Ok(Changed { policies, changed: true })
    }

    /// Puts the canary in force for every call.
    ///
    /// # Errors
    /// [`ChangeError::Conflict`] when there is none, or the store's.
    pub async fn promote_canary(&self, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let version = self.now().state.canary.ok_or_else(no_canary)?.version;
        let (about, policies, content) = self.load(&version).await?;
        let taken = Some(self.folder_before().await);
        let (note, origin, by) = (about.note.clone(), Origin::Canary, by.to_owned());
        self.activate(Next { policies, content, about, origin, by, note, taken }).await
    }

    /// Ends the canary; the version in force judges every call again.
    ///
    /// # Errors
    /// As [`Versions::promote_canary`].
    pub async fn stop_canary(&self, by: &str) -> Result<String, ChangeError> {
        let _one = self.0.changing.lock().await;
        let now = self.now();
        let version = now.state.canary.as_ref().ok_or_else(no_canary)?.version.clone();
        let state = PolicyState { canary: None, ..now.state.clone() };
        let record = operation(by, "policy.canary_stop", &version, "");
        self.store().change_policies(Vec::new(), state.clone(), vec![record]).await?;
        self.set(Now { state, canary: None, ..now });
        Ok(version)
    }

    /// Watches policies beside those in force on the same calls, without obeying them; they are stored as a version.
    ///
    /// # Errors
    /// As [`Versions::publish`].
    pub async fn watch(&self, publish: Publish, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let Publish { sources, author, note, risk, .. } = publish;
        let (policies, content) = self.compile_new(sources).await?;
        let about = About { origin: Origin::Published, author, note, risk, policies: policies.len() };
        self.set_candidate(policies, content, about, by).await
    }

    /// Watches a version that is stored.
    ///
    /// # Errors
    /// As [`Versions::rollback`].
    pub async fn watch_version(&self, version: &str, by: &str) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        let (about, policies, content) = self.load(version).await?;
        self.set_candidate(policies, content, about, by).await
    }

    /// Ends the watching; the version that was watched.
    ///
    /// # Errors
    /// [`ChangeError::Conflict`] when none is, or the store's.
    pub async fn unwatch(&self, by: &str) -> Result<String, ChangeError> {
        let _one = self.0.changing.lock().await;
        let now = self.now();
        let watched = now.state.candidate.clone().ok_or_else(no_candidate)?;
        let state = PolicyState { candidate: None, ..now.state.clone() };
        let record = operation(by, "policy.candidate_clear", &watched, "");
        self.store().change_policies(Vec::new(), state.clone(), vec![record]).await?;
        self.set(Now { state, candidate: None, ..now });
        Ok(watched)
    }

    /// Puts the candidate in force, if it is still this one. Whether enough was seen of it, or that was `forced`, is the
    /// caller's to say.
    ///
    /// # Errors
    /// [`ChangeError::Conflict`] when it is another one, or the store's.
    pub async fn promote_candidate(
        &self,
        version: &str,
        forced: bool,
        note: String,
        by: &str,
    ) -> Result<Changed, ChangeError> {
        let _one = self.0.changing.lock().await;
        if self.now().state.candidate.as_deref() != Some(version) {
            return Err(no_candidate());
        }
        let (about, policies, content) = self.load(version).await?;
        let taken = Some(self.folder_before().await);
        let (origin, by) = (Origin::Candidate, by.to_owned());
        let did = if forced { "policy.promote_forced" } else { "policy.promote" };
        self.activate_as(did, Next { policies, content, about, origin, by, note, taken }).await
    }

    async fn set_candidate(
        &self,
        policies: PolicySet,
        content: Content,
        about: About,
        by: &str,
    ) -> Result<Changed, ChangeError> {
        let now = self.now();
        let (policies, new) = self.described(policies, &content, about).await?;
        let version = policies.version().to_owned();
        let record = operation(by, "policy.candidate", &version, "");
        let state = PolicyState { candidate: Some(version), ..now.state.clone() };
        self.store().change_policies(vec![new], state.clone(), vec![record]).await?;
        self.set(Now { state, candidate: Some(Arc::clone(&policies)), ..now });
        Ok(Changed { policies, changed: true })
    }

    /// The canary and the candidate of before the start. One that can't be loaded any more ends, and that is told: the
    /// version in force judges its calls.
    pub(super) async fn restore_trials(&self) -> Result<(), ChangeError> {
        let before = self.now();
        let (mut now, mut keep) = (before.clone(), Vec::new());
        if let Some(trial) = &mut now.state.canary {
            match self.restore_trial("canary", &trial.version, &mut keep).await? {
                Some(policies) => {
                    policies.version().clone_into(&mut trial.version);
                    now.canary = Some(Canary { policies, of: canary_of(&trial.of) });
                }
                None => now.state.canary = None,
            }
        }
        if let Some(version) = &mut now.state.candidate {
            match self.restore_trial("candidate", version, &mut keep).await? {
                Some(policies) => {
                    policies.version().clone_into(version);
                    now.candidate = Some(policies);
                }
                None => now.state.candidate = None,
            }
        }
        if now.state != before.state {
            self.store().change_policies(keep, now.state.clone(), Vec::new()).await?;
        }
        self.set(now);
        Ok(())
    }

    async fn restore_trial(
        &self,
        what: &str,
        version: &str,
        keep: &mut Vec<NewVersion>,
    ) -> Result<Option<Arc<PolicySet>>, ChangeError> {
        match self.load(version).await {
            Ok((about, policies, content)) => {
                let (policies, new) = self.described(policies, &content, about).await?;
                keep.push(new);
                Ok(Some(policies))
            }
            Err(error @ ChangeError::Store(_)) => Err(error),
            Err(error) => {
                self.events().alarm("a version on trial can't be loaded", &format!("{what} {version}: {error}"));
                let recorded = self.store().record_policy(version, "refused", &format!("{what} ended: {error}")).await;
                recorded.map_err(ChangeError::from).map(|()| None)
            }
        }
    }
}

fn no_candidate() -> ChangeError {
    ChangeError::Conflict("this version isn't watched: see `aegis policy candidate`".to_owned())
}

fn no_canary() -> ChangeError {
    ChangeError::Conflict("there is no canary: start one with `aegis policy canary VERSION --share 5%`".to_owned())
}

fn trial_of(which: Which) -> TrialOf {
    match which {
        Which::Named { agents, groups } => TrialOf::Named { agents, groups },
        Which::ShareOfAgents(share) => {
            let key = random::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
            TrialOf::ShareOfAgents { share, key }
        }
        Which::ShareOfCalls(share) => TrialOf::ShareOfCalls { share },
    }
}

/// As the pipeline has it.
pub(super) fn canary_of(of: &TrialOf) -> CanaryOf {
    match of {
        TrialOf::Named { agents, groups } => {
            CanaryOf::Named { agents: agents.iter().cloned().collect(), groups: groups.iter().cloned().collect() }
        }
        TrialOf::ShareOfAgents { share, key } => CanaryOf::ShareOfAgents { share: *share, key: key.clone() },
        TrialOf::ShareOfCalls { share } => CanaryOf::ShareOfCalls { share: *share },
    }
}

/// In words, without the key.
fn described(of: &TrialOf) -> String {
    match of {
        TrialOf::Named { agents, groups } => format!("agents {agents:?}, groups {groups:?}"),
        TrialOf::ShareOfAgents { share, .. } => format!("{} % of agents", share * 100.0),
        TrialOf::ShareOfCalls { share } => format!("{} % of calls", share * 100.0),
    }
}
