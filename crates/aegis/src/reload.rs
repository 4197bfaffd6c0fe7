//! Policies that change on disk while the gateway runs: all of them load, or the last good version stays in force.
//!
//! The folder is looked at twice a second (names, sizes, times; then contents), and read when it has stayed the same for one
//! look; that needs nothing from the file system and works on mounted volumes too. `SIGHUP` and the API ask for the same at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aegis_core::document::Diagnostic;
use aegis_core::policy::DefinedAction;
use aegis_server::events::Events;
use aegis_server::versions::{ChangeError, Content, ReadFolder, Settings, Versions};
use aegis_store::Store;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::config::Config;
use crate::load;

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Who a signal's changes are recorded as.
const SIGNAL: &str = "signal";

/// Watches the folder of policies.
pub(crate) struct Reloader {
    /// `None` where policies come from a bundle's URL.
    folder: Option<PathBuf>,
    /// Asks for the bundle at once, where that is where they come from.
    poke: Option<Arc<Notify>>,
    /// What the folder looked like when it was last read.
    stamps: Stamps,
    versions: Versions,
    store: Store,
    events: Events,
}

type Stamps = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// How the policies of `config` are read and compiled; they must fit what is `defined`.
pub(crate) fn settings(
    config: &Config,
    store: Store,
    events: Events,
    defined: impl Fn() -> Result<Vec<DefinedAction>, Vec<Diagnostic>> + Send + Sync + 'static,
) -> Settings {
    let options = load::options(config);
    let folder = config.bundle.is_none().then(|| config.policies.clone());
    let read =
        |folder: PathBuf| -> ReadFolder { Arc::new(move || load::sources(std::slice::from_ref(&folder), "policies")) };
    Settings {
        store,
        events,
        compile: Arc::new(move |content: &Content| {
            Ok(content.compile(options.clone())?.fitted_to(&defined()?)?.as_of(Timestamp::now()))
        }),
        folder: folder.map(read),
    }
}

impl Reloader {
    /// A watcher of `folder`, whose content `versions` is about to take, or has taken.
    pub(crate) fn new(
        folder: Option<PathBuf>,
        poke: Option<Arc<Notify>>,
        versions: Versions,
        store: Store,
        events: Events,
    ) -> Self {
        let stamps = folder.as_deref().map(stamps).unwrap_or_default();
        Self { folder, poke, stamps, versions, store, events }
    }

    /// Looks at the folder from time to time, at once on a signal to, and sweeps approvals that ran out. Never ends.
    pub(crate) async fn watch(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = Stamps::new();
        loop {
            tokio::select! {
                _ = tick.tick() => self.look(&mut seen).await,
                _ = hangup.recv() => match &self.poke {
                    Some(poke) => poke.notify_one(),
                    None => self.told(self.versions.take_folder(SIGNAL).await),
                },
            }
            if let Err(error) = self.store.sweep(Timestamp::now()).await {
                self.events.alarm("approvals could not be swept", &error.to_string());
            }
        }
    }

    /// Takes the folder if it has changed since it was last read, and then stayed the same for one look: files are written in
    /// steps, and half a file may be a policy with its last rules missing.
    async fn look(&mut self, seen: &mut Stamps) {
        let Some(folder) = self.folder.clone() else { return };
        let stamps = match tokio::task::spawn_blocking(move || stamps(&folder)).await {
            Ok(stamps) => stamps,
            Err(error) => return self.events.alarm("the policies could not be looked at", &error.to_string()),
        };
        if stamps == self.stamps {
            return;
        }
        if stamps != *seen {
            *seen = stamps;
            return;
        }
        self.stamps = stamps;
        self.told(self.versions.take_folder_if_edited().await);
    }

    /// Policies that are refused have been told of by then; that nothing could be stored has not.
    fn told<T>(&self, taken: Result<T, ChangeError>) {
        match taken {
            Ok(_) | Err(ChangeError::Invalid(_)) => {}
            Err(error) => self.events.alarm("the policies could not be taken", &error.to_string()),
        }
    }
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
