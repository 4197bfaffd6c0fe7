//! Aegis, remembering: the only SQL. Agents, keys, revocations, approvals, policy versions and the record.
//!
//! One SQLite database (write-ahead log) in a data directory that one process holds. Writes go to one thread, which commits
//! what is queued together; reads come from connections that only read; what the path of a call asks for is mirrored in memory.
//!
//! Reading order: [`Store`] (the door) → `writer` (group commit) → `admission` (law 2) → `approvals`, `agents`, `policies`,
//! `sessions` → `records` (the log) → `traffic` (calls kept for replay) → `memory` (the mirror) → `schema`, `dir` (how it
//! starts). Deliberately absent: HTTP, policy, telemetry.
//!
//! **Law 2, no effect without a record**: only [`Store::admit`] makes an [`Admitted`], in one transaction that consumes the
//! approval and appends the record. It has no public constructor, `Default`, `Clone` or serde. This does not compile:
//!
//! ```compile_fail
//! fn forge(passage: aegis_core::decide::Passage, receipt: aegis_store::Receipt) -> aegis_store::Admitted {
//!     aegis_store::Admitted { passage, receipt }
//! }
//! ```
//!
//! nor does this:
//!
//! ```compile_fail
//! fn twice(admitted: &aegis_store::Admitted) -> aegis_store::Admitted {
//!     admitted.clone()
//! }
//! ```
//!
//! nor taking the call out twice:
//!
//! ```compile_fail
//! fn twice(admitted: aegis_store::Admitted) {
//!     let (_call, _receipt) = admitted.redeem();
//!     let (_call, _receipt) = admitted.redeem();
//! }
//! ```
//!
//! while once does:
//!
//! ```
//! fn once(admitted: aegis_store::Admitted) -> (aegis_core::call::ToolCall, aegis_store::Receipt) {
//!     admitted.redeem()
//! }
//! ```

mod admission;
mod agents;
mod approvals;
mod budgets;
mod dir;
mod error;
mod mcp_tools;
mod memory;
mod policies;
mod records;
mod schema;
mod sessions;
mod shadow;
mod traffic;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

pub use admission::{Admitted, Receipt, Unsettled};
pub use agents::{AgentEntry, KeyEntry};
pub use error::StoreError;
pub use mcp_tools::McpTool;
pub use policies::{About, Activation, NewVersion, Origin, PolicyState, PolicyVersion, Trial, TrialOf};
pub use records::Query;
use rusqlite::Connection;
pub use shadow::first_of_last;
use tokio::sync::{mpsc, watch};
pub use traffic::{KeptCalls, Noted};

use crate::dir::DataDir;
use crate::memory::{Memory, Tables};
use crate::writer::{Command, Message, Shared, Tx, Writer, now_in_microseconds};

/// When an admission counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After the transaction is on disk (fsync).
    #[default]
    Commit,
    /// After it is in the write-ahead log; a power cut may lose the last moments.
    Buffered,
}

/// Everything that is remembered. Cheap to clone; one writer thread behind it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    database: PathBuf,
    /// Idle connections that only read; more are opened as needed, up to [`READERS`] are kept.
    readers: Mutex<Vec<Connection>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What texts are hashed with before they are counted.
    key: aegis_core::shadow::sighting::Key,
    /// How long a session is kept after its last call, in microseconds.
    session_idle: AtomicI64,
}

const READERS: usize = 4;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens (or makes, mode 0700) the data directory. One process at a time holds it. Blocks for some milliseconds.
    ///
    /// Admitted calls that an earlier process left without an outcome are recorded as unknown.
    ///
    /// # Errors
    /// [`StoreError::Held`], [`StoreError::Corrupt`], [`StoreError::Newer`], or what the disk says.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, StoreError> {
        let dir = DataDir::hold(dir)?;
        let database = dir.database()?;
        let conn = schema::open(&database, durability)?;
        let key = shadow::key(&conn)?;

        let memory = Memory::default();
        memory.fill(|tables: &mut Tables| {
            agents::remember(&conn, tables)?;
            budgets::remember(&conn, tables)?;
            sessions::remember(&conn, tables)?;
            mcp_tools::remember(&conn, tables)?;
            approvals::remember(&conn, tables, now_in_microseconds())
        })?;
        let head: i64 = conn.query_row("SELECT coalesce(max(seq), 0) FROM records", [], |row| row.get(0))?;
        let shared = Arc::new(Shared {
            memory,
            head: watch::Sender::new(head.cast_unsigned()),
            failure: RwLock::new(None),
            keeps_calls: RwLock::new(None),
        });

        let mut writer = Writer::new(conn, dir, Arc::clone(&shared));
        let (recovery, mut recovered) = Command::new(admission::recover);
        writer.commit(&mut vec![Box::new(recovery)]);
        let unknown = recovered.try_recv().map_err(|_| StoreError::Closed)??;
        if unknown > 0 {
            tracing::warn!(
                calls = unknown,
                "calls were in flight when the last process ended; their outcome is unknown"
            );
        }

        let (queue, receiver) = writer::queue();
        let thread = std::thread::Builder::new().name("aegis-store".to_owned()).spawn(move || writer.run(receiver));
        let thread = Mutex::new(Some(thread.map_err(StoreError::io(&database))?));
        let readers = Mutex::new(Vec::new());
        let session_idle = AtomicI64::new(i64::try_from(sessions::IDLE.as_micros()).unwrap_or(i64::MAX));
        Ok(Self { inner: Arc::new(Inner { queue, shared, database, readers, thread, key, session_idle }) })
    }

    /// Finishes what is queued, then closes the database and lets go of the data directory. Later commands get
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        // An error means that the writer is gone already.
        let _ = self.inner.queue.send(Message::Stop).await;
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(())))
        {
            tracing::error!("the store's writer ended in a panic");
        }
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the store takes writes. While the last commit failed, this tries a small write, so that it recovers by itself.
    ///
    /// # Errors
    /// Why it doesn't.
    pub async fn health(&self) -> Result<(), StoreError> {
        if self.inner.queue.is_closed() {
            return Err(StoreError::Closed);
        }
        let failed = self.inner.shared.failure.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if !failed {
            return Ok(());
        }
        let sql = "INSERT INTO probe (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
        self.write_or_refuse(move |tx| Ok(tx.conn.execute(sql, [tx.now.as_microsecond()]).map(drop)?)).await
    }

    /// Has a command done by the writer; waits while the queue is full. For what must not get lost to a busy moment.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (command, answer) = Command::new(work);
        self.inner.queue.send(Message::Work(Box::new(command))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Has a command done by the writer; refuses at once when the queue is full. For what comes with every call.
    async fn write_or_refuse<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (command, answer) = Command::new(work);
        self.inner.queue.try_send(Message::Work(Box::new(command))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads from the database, off the runtime's threads and off the writer.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let idle = || inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = idle().pop();
            let reader = match reader {
                Some(reader) => reader,
                None => schema::open_reader(&inner.database)?,
            };
            let result = read(&reader);
            if idle().len() < READERS && !inner.queue.is_closed() {
                idle().push(reader);
            }
            result
        });
        task.await.map_err(|_| StoreError::Closed)?
    }
}

#[cfg(test)]
mod tests;
