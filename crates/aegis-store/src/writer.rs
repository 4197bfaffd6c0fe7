//! The one writer: a thread that owns the connection, and group commit.
//!
//! It takes everything that is queued (up to [`BATCH`]), runs each command in a savepoint of one transaction, commits once, and
//! answers all. While a commit waits for the disk the queue fills, so the batch grows with the load and nothing waits on purpose.
//!
//! Invariants:
//! - A command is answered with success only after the commit that holds it succeeded.
//! - A command that fails is rolled back alone; a commit that fails, fails every command of its batch and is not tried again.
//! - The mirror in memory changes after the commit and before the answers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aegis_core::audit::Event;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::dir::DataDir;
use crate::error::StoreError;
use crate::memory::{Change, Memory};
use crate::records::Entry;

/// The most commands in one commit: at this size a commit takes about a millisecond, and larger ones gain little.
const BATCH: usize = 256;
/// The most commands that wait. More are refused: a second of backlog helps nobody.
const QUEUE: usize = 16_384;

/// What is put to the writer.
pub(crate) enum Message {
    Work(Box<dyn Job>),
    /// Finish what is queued before this, then end.
    Stop,
}

/// A command: runs once, is answered once.
pub(crate) trait Job: Send {
    /// Does the work; whether it stands.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    /// Tells the caller, after the commit or its failure.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// What the writer and everybody else share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) memory: Memory,
    /// Number of the newest committed record.
    pub(crate) head: watch::Sender<u64>,
    /// Why the last commit failed; `None` when it didn't.
    pub(crate) failure: RwLock<Option<StoreError>>,
    /// How long calls are kept for replay; `None` when they aren't.
    pub(crate) keeps_calls: RwLock<Option<Duration>>,
}

pub(crate) struct Writer {
    conn: Connection,
    head: u64,
    shared: Arc<Shared>,
    /// Held as long as the connection is open.
    _dir: DataDir,
}

/// What a batch has done, to be committed.
struct Done {
    head: u64,
    changes: Vec<Change>,
    failure: Option<StoreError>,
}

/// What a command works with: the transaction it is part of.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    /// When the command runs, in whole microseconds.
    pub(crate) now: Timestamp,
    pub(crate) keeps_calls: Option<Duration>,
    head: u64,
    changes: Vec<Change>,
}

impl Tx<'_> {
    /// Appends a record; its number.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let seq = self.head + 1;
        entry.insert(self.conn, seq, self.now)?;
        self.head = seq;
        Ok(seq)
    }

    /// Appends a record; its number.
    pub(crate) fn record(&mut self, event: &Event) -> Result<u64, StoreError> {
        self.append(&Entry::of(event)?)
    }

    /// Appends the record of what an operator did.
    pub(crate) fn record_operation(&mut self, by: &str, operation: &str, subject: &str) -> Result<(), StoreError> {
        let (by, operation, subject) = (by.to_owned(), operation.to_owned(), subject.to_owned());
        self.record(&Event::Operation { by, operation, subject }).map(drop)
    }

    /// Changes the mirror, once this is committed.
    pub(crate) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }
}

/// Opens the queue.
pub(crate) fn queue() -> (mpsc::Sender<Message>, mpsc::Receiver<Message>) {
    mpsc::channel(QUEUE)
}

impl Writer {
    pub(crate) fn new(conn: Connection, dir: DataDir, shared: Arc<Shared>) -> Self {
        let head = *shared.head.borrow();
        Self { conn, head, shared, _dir: dir }
    }

    /// Works until told to stop, or until nobody can ask any more.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(BATCH);
        let mut running = true;
        while running {
            match queue.blocking_recv() {
                Some(Message::Work(job)) => batch.push(job),
                Some(Message::Stop) | None => break,
            }
            while running && batch.len() < BATCH {
                match queue.try_recv() {
                    Ok(Message::Work(job)) => batch.push(job),
                    Ok(Message::Stop) => running = false,
                    Err(_) => break,
                }
            }
            self.commit(&mut batch);
        }
    }

    /// Runs a batch, commits it, and answers every command in it.
    pub(crate) fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        let (committed, failure) = match self.transact(batch) {
            Ok(failed_command) => (Ok(()), failed_command),
            Err(error) => (Err(error.clone()), Some(error)),
        };
        if let Some(error) = &failure {
            tracing::error!(commands = batch.len(), all = committed.is_err(), %error, "the database failed");
        }
        // Set before anybody is told, so that who was told sees it.
        *self.shared.failure.write().unwrap_or_else(PoisonError::into_inner) = failure;
        for job in batch.drain(..) {
            job.answer(committed.clone());
        }
    }

    /// On success, the database's error of a command that was rolled back alone, if there was one.
    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Option<StoreError>, StoreError> {
        self.execute("BEGIN IMMEDIATE")?;
        let done = self.run_all(batch).and_then(|result| self.execute("COMMIT").map(|()| result));
        match done {
            Ok(Done { head, changes, failure }) => {
                self.head = head;
                self.shared.memory.apply(changes);
                self.shared.head.send_if_modified(|known| std::mem::replace(known, head) != head);
                Ok(failure)
            }
            Err(error) => {
                // After some errors (a full disk, an I/O error) SQLite has rolled back by itself already.
                if !self.conn.is_autocommit() {
                    self.execute("ROLLBACK")?;
                }
                Err(error)
            }
        }
    }

    fn run_all(&self, batch: &mut [Box<dyn Job>]) -> Result<Done, StoreError> {
        let mut failure = None;
        let keeps_calls = *self.shared.keeps_calls.read().unwrap_or_else(PoisonError::into_inner);
        let (conn, now) = (&self.conn, Timestamp::UNIX_EPOCH);
        let mut tx = Tx { conn, now, keeps_calls, head: self.head, changes: Vec::new() };
        for job in batch {
            let (head, changes) = (tx.head, tx.changes.len());
            tx.now = now_in_microseconds();
            self.execute("SAVEPOINT command")?;
            match job.run(&mut tx) {
                Ok(()) => self.execute("RELEASE command")?,
                // The whole transaction is gone, and with it what earlier commands of the batch wrote: all of them fail.
                Err(error) if self.conn.is_autocommit() => return Err(error),
                Err(error) => {
                    failure = failure.or(Some(error).filter(|error| matches!(error, StoreError::Database(_))));
                    self.execute("ROLLBACK TO command")?;
                    self.execute("RELEASE command")?;
                    tx.head = head;
                    tx.changes.truncate(changes);
                }
            }
        }
        Ok(Done { head: tx.head, changes: tx.changes, failure })
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop).map_err(StoreError::from)
    }
}

/// The clock, as it is kept: whole microseconds.
pub(crate) fn now_in_microseconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A closure as a command.
pub(crate) struct Command<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Command<F, T> {
    pub(crate) fn new(work: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { work: Some(work), result: None, answer }, receiver)
    }
}

impl<F, T> Job for Command<F, T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        match work(tx) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                self.result = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (committed, self.result) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(result)) => result,
            // Not run, so its batch failed before it: `committed` says so. Should it not, this isn't a success either.
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // Nobody may be there to be told any more; what is in the result then takes care of itself (see `Receipt`).
        drop(self.answer.send(result));
    }
}
