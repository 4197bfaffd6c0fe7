//! Policies that change on disk while the gateway runs: all of them load, or the last good version stays in force.
//!
//! The folder is looked at twice a second (names, sizes, times; then contents), and read when it has stayed the same for one
//! look; that needs nothing from the file system and works on mounted volumes too. `SIGHUP` and the API ask for the same at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aegis_core::document::Diagnostic;
use aegis_core::policy::{DefinedAction, Options, PolicySet, Source};
use aegis_server::events::Events;
use aegis_server::pipeline::Pipeline;
use aegis_store::Store;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::config::Config;
use crate::diagnostics;
use crate::load::{log, policies, sources};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Loads policies anew.
pub(crate) struct Reloader {
    folder: PathBuf,
    options: Options,
    /// What policies can be for; the catalogue stays as it is while the gateway runs.
    defined: Vec<DefinedAction>,
    pipeline: Pipeline,
    store: Store,
    events: Events,
    /// Where policies come from a bundle's URL instead of the folder: asks for it at once.
    remote: Option<Arc<Notify>>,
    /// One load at a time; what was loaded, or refused, last.
    last: Mutex<Last>,
    /// Apart from `last`, which is held while loading: whoever asks for health must not wait for that.
    refused: Mutex<Vec<Diagnostic>>,
}

type Stamps = Vec<(PathBuf, u64, Option<SystemTime>)>;

#[derive(Default)]
struct Last {
    stamps: Stamps,
    /// What the folder looked like the last time, when that was something new.
    seen: Stamps,
    texts: Vec<(String, String)>,
}

impl Reloader {
    /// A reloader for the policies of `config`, which `pipeline` has in force now, and which must fit what is `defined`.
    pub(crate) fn new(
        config: &Config,
        defined: Vec<DefinedAction>,
        pipeline: Pipeline,
        store: Store,
        events: Events,
        remote: Option<Arc<Notify>>,
    ) -> Self {
        let options = Options { engine: config.engine, mode: config.mode };
        let folder = config.policies.clone();
        let last = Last { stamps: stamps(&folder), seen: Stamps::new(), texts: texts(&read(&folder)) };
        let refused = Mutex::default();
        Self { folder, options, defined, pipeline, store, events, remote, last: Mutex::new(last), refused }
    }

    /// Loads the policies and puts them in force. Blocks: call it where that is allowed, inside a runtime.
    ///
    /// # Errors
    /// Everything that is wrong with them; the last good ones stay in force.
    pub(crate) fn reload(&self) -> Result<Arc<PolicySet>, Vec<Diagnostic>> {
        if let Some(remote) = &self.remote {
            remote.notify_one();
            return Ok(self.pipeline.policies());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.stamps = stamps(&self.folder);
        self.load(&mut last)
    }

    /// The same, if something has changed since it was last looked at.
    fn reload_if_changed(&self) {
        if self.remote.is_some() {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.folder);
        if stamps == last.stamps {
            return;
        }
        // Files are written in steps, and half a file may be a policy with its last rules missing.
        if stamps != last.seen {
            last.seen = stamps;
            return;
        }
        last.stamps = stamps;
        if texts(&read(&self.folder)) != last.texts {
            // What is wrong has been told by then.
            let _ = self.load(&mut last);
        }
    }

    /// What is wrong with the policies on disk, where older ones are in force for it.
    pub(crate) fn refused(&self) -> Vec<Diagnostic> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn load(&self, last: &mut Last) -> Result<Arc<PolicySet>, Vec<Diagnostic>> {
        let found = read(&self.folder);
        last.texts = texts(&found);
        self.put(|options, defined| found.and_then(|sources| policies(&sources, options, defined)))
    }

    /// Puts the policies in force that `load` gives, told how to load and what is defined. Blocks, like [`Self::reload`].
    ///
    /// # Errors
    /// What is wrong with them; the last good ones stay in force.
    pub(crate) fn put(
        &self,
        load: impl FnOnce(Options, &[DefinedAction]) -> Result<PolicySet, Vec<Diagnostic>>,
    ) -> Result<Arc<PolicySet>, Vec<Diagnostic>> {
        match load(self.options, &self.defined) {
            Ok(policies) => {
                log(policies.warnings());
                let (version, count) = (policies.version().to_owned(), policies.len());
                self.pipeline.put_in_force(Arc::new(policies));
                self.set_refused(Vec::new());
                tracing::info!(policy_version = version, policies = count, "policies loaded");
                self.record(&version, "loaded", &format!("{count} policies"));
                Ok(self.pipeline.policies())
            }
            Err(errors) => {
                let stays = self.pipeline.policies().version().to_owned();
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                let detail = format!("{}; the first: {first}", diagnostics::summary(&errors));
                self.events.alarm("policies refused", &format!("{detail}; {stays} stays in force"));
                self.record(&stays, "refused", &detail);
                self.set_refused(errors.clone());
                Err(errors)
            }
        }
    }

    /// Policies, loaded as those in force are: a candidate.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn compile(&self, sources: &[Source]) -> Result<PolicySet, Vec<Diagnostic>> {
        policies(sources, self.options, &self.defined)
    }

    fn set_refused(&self, errors: Vec<Diagnostic>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = errors;
    }

    fn record(&self, version: &str, change: &str, detail: &str) {
        let recorded = Handle::current().block_on(self.store.record_policy(version, change, detail));
        if let Err(error) = recorded {
            self.events.alarm("a change of policies could not be recorded", &error.to_string());
        }
    }

    /// Looks at the folder from time to time, at once on a signal to, and sweeps approvals that ran out. Never ends.
    pub(crate) async fn watch(self: Arc<Self>) -> std::io::Result<()> {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let this = Arc::clone(&self);
            let looked = tokio::select! {
                _ = tick.tick() => tokio::task::spawn_blocking(move || this.reload_if_changed()),
                _ = hangup.recv() => tokio::task::spawn_blocking(move || drop(this.reload())),
            };
            if let Err(error) = looked.await {
                self.events.alarm("the policies could not be looked at", &error.to_string());
            }
            if let Err(error) = self.store.sweep(Timestamp::now()).await {
                self.events.alarm("approvals could not be swept", &error.to_string());
            }
        }
    }
}

fn read(folder: &Path) -> Result<Vec<Source>, Vec<Diagnostic>> {
    sources(&[folder.to_owned()], "policies")
}

/// Names, sizes and times of the files; a folder that can't be read has none, and loading says why.
fn stamps(folder: &Path) -> Stamps {
    let mut paths = vec![folder.to_owned()];
    paths.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    paths.sort();
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        (path, metadata.as_ref().map_or(0, std::fs::Metadata::len), metadata.and_then(|data| data.modified().ok()))
    };
    paths.into_iter().map(stamp).collect()
}

/// What was read, or why not, for comparing.
fn texts(read: &Result<Vec<Source>, Vec<Diagnostic>>) -> Vec<(String, String)> {
    match read {
        Ok(sources) => sources.iter().map(|source| (source.file.clone(), source.text.clone())).collect(),
        Err(errors) => errors.iter().map(|error| (error.file.clone(), error.message.clone())).collect(),
    }
}
