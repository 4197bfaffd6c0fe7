//! Sessions: what agents have done since they were last idle. Written in the transaction that admits a call, so that parallel
//! calls of one agent lose nothing and a crash forgets nothing that was let through; read from the mirror in memory.
//!
//! Invariants: a session is an agent's, whatever token or connection its calls come by. Labels travel along the chain of
//! callers, both ways: a caller may tell what it knows, and learns what it called for. Counts don't. A session that was not used
//! for the idle time is as if it never was.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::session::{Marks, Session};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::Store;
use crate::error::StoreError;
use crate::memory::{Change, Tables};
use crate::writer::Tx;

/// The idle time where nobody says another.
pub(crate) const IDLE: SignedDuration = SignedDuration::from_mins(30);
/// The longest idle time; what is older is of no use to anybody.
pub(crate) const LONGEST_IDLE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session, and when a call was last admitted in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) last: Timestamp,
    pub(crate) session: Session,
}

impl Used {
    /// The session, unless it was idle for too long.
    fn alive(self, now: Timestamp, idle: SignedDuration) -> Option<Session> {
        (now.duration_since(self.last) < idle).then_some(self.session)
    }
}

impl Store {
    /// How long an agent does nothing until its session is forgotten; 30 minutes where this isn't said, 7 days at most.
    pub fn forget_sessions_after(&self, idle: Duration) {
        let longest = LONGEST_IDLE.unsigned_abs();
        let micros = i64::try_from(idle.min(longest).as_micros()).unwrap_or(i64::MAX);
        self.inner.session_idle.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn session_idle(&self) -> SignedDuration {
        SignedDuration::from_micros(self.inner.session_idle.load(Ordering::Relaxed))
    }

    /// What an agent has done before `now`, with the labels of those who called it.
    pub fn session(&self, agent: &Agent, now: Timestamp) -> Session {
        let idle = self.session_idle();
        let tables = self.inner.shared.memory.read();
        let alive = |id: &String| tables.sessions.get(id).cloned().and_then(|used| used.alive(now, idle));
        let mut session = alive(&agent.id).unwrap_or_default();
        agent.chain.iter().filter_map(alive).for_each(|caller| session.inherit(&caller));
        session
    }
}

/// Leaves a call's marks with its agent, and its labels with the callers.
pub(crate) fn leave(tx: &mut Tx<'_>, agent: &Agent, marks: &Marks, idle: SignedDuration) -> Result<(), StoreError> {
    let mut inherited = Session::default();
    let callers: BTreeSet<&String> = agent.chain.iter().filter(|caller| **caller != agent.id).collect();
    for caller in callers {
        let Some(mut session) = load(tx, caller, idle)? else {
            if !marks.labels.is_empty() {
                let session = Session { labels: marks.labels.clone(), ..Session::default() };
                keep(tx, caller, session)?;
            }
            continue;
        };
        inherited.inherit(&session);
        if !marks.labels.is_subset(&session.labels) {
            session.labels.extend(marks.labels.iter().cloned());
            keep(tx, caller, session)?;
        }
    }
    let before = load(tx, &agent.id, idle)?;
    if before.is_none() && marks.is_empty() && inherited.labels.is_empty() {
        return Ok(());
    }
    let mut session = before.unwrap_or_default();
    session.leave(marks);
    session.inherit(&inherited);
    keep(tx, &agent.id, session)
}

/// From the database, not from the mirror: an earlier command of the same commit may have changed it.
fn load(tx: &Tx<'_>, agent: &str, idle: SignedDuration) -> Result<Option<Session>, StoreError> {
    let mut statement = tx.conn.prepare_cached("SELECT last_used, body FROM sessions WHERE agent = ?1")?;
    let used = statement.query_row([agent], |row| read(row.get(0)?, &row.get::<_, String>(1)?)).optional()?;
    Ok(used.and_then(|used| used.alive(tx.now, idle)))
}

fn keep(tx: &mut Tx<'_>, agent: &str, session: Session) -> Result<(), StoreError> {
    let body = serde_json::to_string(&session).map_err(StoreError::encoding("a session"))?;
    let sql = "INSERT INTO sessions (agent, last_used, body) VALUES (?1, ?2, ?3) \
               ON CONFLICT (agent) DO UPDATE SET last_used = excluded.last_used, body = excluded.body";
    tx.conn.prepare_cached(sql)?.execute(params![agent, tx.now.as_microsecond(), body])?;
    tx.change(Change::Session(agent.to_owned(), Used { last: tx.now, session }));
    Ok(())
}

/// Forgets what no idle time would still keep.
pub(crate) fn forget(tx: &Tx<'_>) -> Result<(), StoreError> {
    let before = tx.now.saturating_sub(LONGEST_IDLE).map_or(i64::MIN, Timestamp::as_microsecond);
    tx.conn.prepare_cached("DELETE FROM sessions WHERE last_used <= ?1")?.execute([before])?;
    Ok(())
}

/// Fills the mirror.
pub(crate) fn remember(conn: &Connection, tables: &mut Tables) -> Result<(), StoreError> {
    let mut statement = conn.prepare("SELECT agent, last_used, body FROM sessions")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.sessions.insert(row.get(0)?, read(row.get(1)?, &row.get::<_, String>(2)?)?);
    }
    Ok(())
}

fn read(last: i64, body: &str) -> rusqlite::Result<Used> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
    };
    let last = Timestamp::from_microsecond(last).map_err(|error| wrong(error.into()))?;
    Ok(Used { last, session: serde_json::from_str(body).map_err(|error| wrong(error.into()))? })
}
