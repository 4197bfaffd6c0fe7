//! What the data directory holds, opened: the store, the keys, the operator's token.
//!
//! `gateway.json` is written by a running gateway so that operators' commands find its API; it is a hint, the store's lock
//! is the truth.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_server::api::ApiState;
use aegis_server::bundle::{Bundles, SigningKey};
use aegis_server::events::{self, Events};
use aegis_server::identify::{self, Identify, OperatorToken};
use aegis_server::unproven::Unproven;
use aegis_server::versions::{self, Versions};
use aegis_store::{Store, StoreError};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::{load, reload};

/// The name of the note that a running gateway leaves.
const NOTE: &str = "gateway.json";

/// How long to wait for whoever holds the data directory to let go of it, or to say where its API is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(3);

/// An open data directory.
#[derive(Clone)]
pub(crate) struct DataDir {
    /// Agents, approvals, the record.
    pub(crate) store: Store,
    /// Issues and checks tokens.
    pub(crate) identify: Arc<Identify>,
    /// Proves an operator.
    pub(crate) operator: OperatorToken,
    /// Signs bundles.
    pub(crate) bundles: Arc<Bundles>,
    /// Lets go of those who wait for another bundle.
    pub(crate) stop: CancellationToken,
    /// Spans, metrics, log lines.
    pub(crate) events: Events,
}

/// What a running gateway leaves in the data directory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    /// Its API.
    pub(crate) api: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
}

impl DataDir {
    /// Opens the data directory of `config`, and makes what isn't there yet. Needs a runtime: spans are exported on it.
    ///
    /// # Errors
    /// What can't be opened; [`StoreError::Held`] when a gateway runs on it.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let (dir, durability) = (config.data_dir.clone(), config.durability);
        let store = tokio::task::spawn_blocking(move || Store::open(&dir, durability)).await??;
        store.forget_sessions_after(config.session_idle);
        let settings = identify::Settings {
            token_ttl: config.token_ttl,
            peps: config.decision_api.peps.clone(),
            ..identify::Settings::default()
        };
        let identify = Arc::new(Identify::open(&config.data_dir, store.clone(), settings)?);
        let operator = OperatorToken::open(&config.data_dir)?;
        identify::make_redaction_key(&config.data_dir)?;
        let settings = events::Settings { otlp: config.telemetry.otlp.clone(), ..events::Settings::default() };
        let events = Events::new(&settings)?;
        let stop = CancellationToken::new();
        let bundles = Arc::new(Bundles::new(SigningKey::open(&config.data_dir)?, stop.clone()));
        Ok(Self { store, identify, operator, bundles, stop, events })
    }

    /// The same for a gateway that starts: an operator's command that holds the directory is soon done, and waited for.
    ///
    /// # Errors
    /// As for [`Self::open`]; another gateway isn't waited for.
    pub(crate) async fn open_when_free(config: &Config) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match Self::open(config).await {
                Ok(data) => return Ok(data),
                Err(error) => error,
            };
            let Some(StoreError::Held { holder, .. }) = error.downcast_ref::<StoreError>() else { return Err(error) };
            let is_a_gateway = note(&config.data_dir).is_ok_and(|note| note.pid.to_string() == *holder);
            if is_a_gateway || Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The API over this data directory alone, where no gateway runs: no policy is in force, and what is published is
    /// in force when one starts.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn api(&self, config: Config) -> Result<ApiState> {
        let (store, events) = (self.store.clone(), self.events.clone());
        let config = Arc::new(config);
        let catalogued = Arc::clone(&config);
        let defined = move || load::catalogue(&catalogued).map(|catalogue| catalogue.defined());
        let versions = Versions::open(reload::settings(&config, store.clone(), events.clone(), defined)).await?;
        let nothing = Arc::new(versions::nothing());
        Ok(ApiState {
            store,
            identify: Arc::clone(&self.identify),
            operator: self.operator.clone(),
            policies: Arc::new(move || Arc::clone(&nothing)),
            versions,
            bundles: Arc::clone(&self.bundles),
            source: None,
            unproven: Unproven::new(self.store.clone(), events.clone()),
            events,
            decisions: None,
            metrics_public: false,
        })
    }

    /// Writes what is left, and lets go of the directory.
    pub(crate) async fn close(&self) {
        self.store.close().await;
        self.events.shutdown(FLUSH).await;
    }
}

/// Leaves the note of a gateway whose API is at `api`.
///
/// # Errors
/// When it can't be written.
pub(crate) fn leave_note(data_dir: &Path, api: SocketAddr) -> Result<()> {
    let path = data_dir.join(NOTE);
    let note = serde_json::to_vec(&Note { api, pid: std::process::id() })?;
    std::fs::write(&path, note).with_context(|| format!("can't write {}", path.display()))
}

/// Takes the note away, if it is there.
///
/// # Errors
/// When it can't be removed.
pub(crate) fn remove_note(data_dir: &Path) -> Result<()> {
    let path = data_dir.join(NOTE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What the gateway that runs on this data directory has left: where its API can be reached from here.
///
/// # Errors
/// When there is no note, or it can't be read.
pub(crate) fn note(data_dir: &Path) -> Result<Note> {
    let path = data_dir.join(NOTE);
    let hint = || format!("{} doesn't say where the gateway's API is; set AEGIS_URL", path.display());
    let text = std::fs::read(&path).with_context(hint)?;
    let mut note: Note = serde_json::from_slice(&text).with_context(hint)?;
    if note.api.ip().is_unspecified() {
        note.api.set_ip(match note.api {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(note)
}
