//! What can go wrong with the store. Every variant says what to do, where there is something to do.

use std::path::PathBuf;
use std::sync::Arc;

use aegis_core::approval::Refused;

/// What can go wrong with the store. Cheap to clone: one failed commit answers every command of its batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A file or folder can't be made, read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// Another process holds the data directory.
    #[error(
        "{}: the data directory is in use by process {holder}; stop it, or ask it through its API (AEGIS_URL)",
        .path.display()
    )]
    Held {
        /// The data directory.
        path: PathBuf,
        /// The process id, as the holder wrote it.
        holder: String,
    },
    /// The database is damaged.
    #[error(
        "{}: the database is damaged ({detail}). Nothing was changed. Restore {} from a backup, or move it and the files \
         beside it (…-wal, …-shm) away to start with an empty store",
        .path.display(), .path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The database was written by a newer Aegis.
    #[error(
        "{}: written by a newer Aegis (schema {found}, this one knows up to {known}); start that version, or restore a backup \
         from before the upgrade",
        .path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema's version.
        found: i64,
        /// The newest that this binary knows.
        known: i64,
    },
    /// The database failed.
    #[error("database: {0}")]
    Database(Arc<rusqlite::Error>),
    /// Something kept can't be read back, or can't be written as JSON.
    #[error("{what} can't be read or written: {source}")]
    Encoding {
        /// What.
        what: &'static str,
        /// Why.
        source: Arc<serde_json::Error>,
    },
    /// More commands wait than the store takes.
    #[error("too many commands wait for the store")]
    Overloaded,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// What was committed changed under our hands: nothing was written.
    #[error("{0} was changed by something else")]
    Conflict(String),
    /// There is no such thing.
    #[error("no {kind} {id:?}")]
    NotFound {
        /// `agent`, `key`, `approval`…
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// It is there already.
    #[error("{kind} {id:?} is there already")]
    Exists {
        /// `agent`, `key`…
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// It can't be named so.
    #[error("{0:?} can't name an agent: use 1 to 128 of a-z A-Z 0-9 . _ - @ /, starting with a letter or a digit")]
    BadName(String),
    /// The approval isn't in a state for this.
    #[error(transparent)]
    Approval(#[from] Refused),
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source: Arc::new(source) }
    }

    pub(crate) fn encoding(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Encoding { what, source: Arc::new(source) }
    }

    pub(crate) fn not_found(kind: &'static str, id: &str) -> Self {
        Self::NotFound { kind, id: id.to_owned() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
