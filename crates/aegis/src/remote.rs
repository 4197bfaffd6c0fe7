//! Policies that come from a bundle's URL: fetched, verified, put in force, kept for the next start.
//!
//! The last good bundle is kept in the data directory as it came, signature and all, and is verified again before it is used.
//! A first start without one denies everything until a bundle has come. A bundle that is refused, and a source that can't be
//! reached, leave what is in force; both are told to the operator once, and shown as long as it lasts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{BundleError, DefinedAction, Options, PolicySet};
use aegis_server::bundle::{BundleSource, SourceError, SourceStatus, Taken};
use aegis_server::events::Events;
use aegis_server::versions::{ChangeError, Versions};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Bundle, Config, START};

/// The last good bundle, in the data directory.
const KEPT: &str = "bundle.tar.gz";

/// What asks the source, for as long as the gateway runs.
pub(crate) struct Remote {
    source: BundleSource,
    path: PathBuf,
    /// The last good bundle of before.
    kept: Option<Taken>,
    status: watch::Sender<SourceStatus>,
    poke: Arc<Notify>,
}

/// The policies at the start: those of the last good bundle, or none, which deny everything.
///
/// # Errors
/// What is wrong with the bundle that was kept.
pub(crate) fn at_start(
    config: &Config,
    bundle: &Bundle,
    options: Options,
    defined: &[DefinedAction],
) -> Result<PolicySet, Vec<Diagnostic>> {
    let path = config.data_dir.join(KEPT);
    let bad = |error: String| vec![Diagnostic::error(&path.display().to_string(), START, "", error).suggest(HINT)];
    match kept(&path, bundle).map_err(|error| bad(format!("{error:#}")))? {
        Some((_, taken)) => loaded(&path.display().to_string(), &taken, options, defined),
        None => PolicySet::load(&[], options),
    }
}

const HINT: Option<&str> = Some("move it away to start without policies, denying everything until a bundle comes");

/// The last good bundle, verified, and a source that can judge it.
fn kept(path: &Path, bundle: &Bundle) -> Result<Option<(BundleSource, Taken)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let source = BundleSource::new(bundle.settings.clone()).map_err(anyhow::Error::msg)?;
    let taken = source.kept(bytes)?;
    Ok(Some((source, taken)))
}

/// The policies of a bundle, which fit what is defined.
fn loaded(
    from: &str,
    taken: &Taken,
    options: Options,
    defined: &[DefinedAction],
) -> Result<PolicySet, Vec<Diagnostic>> {
    let refused = |error: BundleError| vec![Diagnostic::error(from, START, "", error.to_string())];
    PolicySet::from_archive(&taken.archive, options).map_err(refused)?.0.fitted_to(defined)
}

impl Remote {
    /// Ready to ask.
    ///
    /// # Errors
    /// When the source can't be set up, or what was kept can't be read.
    pub(crate) fn new(config: &Config, bundle: &Bundle) -> Result<Self> {
        let path = config.data_dir.join(KEPT);
        let (source, kept) = match kept(&path, bundle).with_context(|| path.display().to_string())? {
            Some((mut source, taken)) => {
                source.put_in_force(&taken);
                (source, Some(taken))
            }
            None => (BundleSource::new(bundle.settings.clone()).map_err(anyhow::Error::msg)?, None),
        };
        let status = SourceStatus { url: bundle.url.clone(), answered_at: None, stale_since: None, problem: None };
        Ok(Self { source, path, kept, status: watch::Sender::new(status), poke: Arc::default() })
    }

    /// The bundle that was kept, verified.
    pub(crate) fn kept(&self) -> Option<Vec<u8>> {
        self.kept.as_ref().map(|kept| kept.bytes.to_vec())
    }

    /// What makes it ask at once.
    pub(crate) fn poke(&self) -> Arc<Notify> {
        Arc::clone(&self.poke)
    }

    /// How it stands, from now on.
    pub(crate) fn status(&self) -> (watch::Receiver<SourceStatus>, Arc<Notify>) {
        (self.status.subscribe(), self.poke())
    }

    /// Asks and puts in force, until `stop`.
    pub(crate) async fn follow(mut self, versions: Versions, events: Events, stop: CancellationToken) {
        let asking = async {
            loop {
                self.once(&versions, &events).await;
                tokio::select! {
                    () = tokio::time::sleep(self.source.pause()) => {}
                    () = self.poke.notified() => {}
                }
            }
        };
        tokio::select! {
            () = asking => {}
            () = stop.cancelled() => {}
        }
    }

    async fn once(&mut self, versions: &Versions, events: &Events) {
        match self.source.next().await {
            Ok(None) => self.answered(),
            Ok(Some(taken)) => self.take(taken, versions, events).await,
            Err(error) => self.failed(&error, events),
        }
    }

    /// Puts a bundle in force, if it can be.
    async fn take(&mut self, taken: Taken, versions: &Versions, events: &Events) {
        match versions.take_bundle(taken.bytes.to_vec()).await {
            Ok(_) => {
                self.source.put_in_force(&taken);
                if let Err(error) = keep(&self.path, &taken.bytes) {
                    events.alarm("the bundle in force can't be kept for the next start", &format!("{error:#}"));
                }
                self.answered();
            }
            // What is wrong has been told by then.
            Err(error @ ChangeError::Invalid(_)) => {
                self.source.reject(&taken, error.first());
                self.answered();
            }
            Err(error) => {
                self.source.put_off();
                self.answered();
                self.status.send_modify(|status| status.problem = Some(error.first()));
            }
        }
    }

    /// It answers; what is wrong with the bundle that it has stays wrong while nothing is new.
    fn answered(&self) {
        self.status.send_modify(|status| {
            status.answered_at = Some(Timestamp::now());
            status.stale_since = None;
            status.problem = self.source.rejected().map(str::to_owned);
        });
    }

    fn failed(&self, error: &SourceError, events: &Events) {
        let (now, text) = (Timestamp::now(), error.to_string());
        let before = self.status.borrow().problem.clone();
        self.status.send_modify(|status| {
            if error.is_refusal() {
                status.answered_at = Some(now);
                status.stale_since = None;
            } else {
                status.stale_since = status.stale_since.or(status.answered_at).or(Some(now));
            }
            status.problem = Some(text.clone());
        });
        if before.as_ref() != Some(&text) {
            let url = &self.status.borrow().url;
            let what = if error.is_refusal() { "bundle refused" } else { "the bundle's source can't be reached" };
            events.alarm(what, &format!("{url}: {text}; what is in force stays"));
        }
    }
}

/// Writes the bundle beside the kept one, then in its place.
fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests;
