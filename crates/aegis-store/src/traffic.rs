//! Calls kept for replay: written with their decision, forgotten by age and number.
//!
//! Off unless the operator turns it on ([`Store::keep_calls`]); what was kept before goes when it is turned off. What is kept
//! of a call, and what never is, [`aegis_core::call::recorded`] says.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aegis_core::call::recorded::RecordedCall;
use aegis_core::decide::Explanation;
use jiff::Timestamp;
use rusqlite::Connection;

use crate::Store;
use crate::error::StoreError;
use crate::records::json;
use crate::writer::Tx;

/// Most calls that are kept, the newest ones: about half a gigabyte.
const MOST: i64 = 500_000;
/// After how many kept calls the old ones are looked for.
const PRUNE_EVERY: i64 = 1_024;

/// What a decision is recorded with.
#[derive(Debug, Clone)]
pub struct Noted {
    /// How long the decision took, in milliseconds.
    pub latency_ms: f64,
    /// The call, where calls are kept.
    pub call: Option<Arc<RecordedCall>>,
}

impl From<f64> for Noted {
    /// Without the call.
    fn from(latency_ms: f64) -> Self {
        Self { latency_ms, call: None }
    }
}

/// A call as it is written. Made by the caller, off the writer's thread.
#[derive(Debug)]
pub(crate) struct KeptCall {
    at: Timestamp,
    body: String,
}

/// One page of kept calls.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptCalls {
    /// Oldest first.
    pub calls: Vec<RecordedCall>,
    /// The `after` of the page that follows; `None` when this is the last one.
    pub next: Option<u64>,
}

impl KeptCall {
    /// The call and what came of it, where calls are kept.
    pub(crate) fn of(call: Option<Arc<RecordedCall>>, explanation: &Explanation) -> Result<Option<Self>, StoreError> {
        let Some(call) = call else { return Ok(None) };
        let at = call.at;
        let decided = Arc::unwrap_or_clone(call).decided(explanation);
        let body = serde_json::to_string(&decided).map_err(StoreError::encoding("a call"))?;
        Ok(Some(Self { at, body }))
    }
}

impl Tx<'_> {
    /// Keeps a call, if there is one to keep; now and then forgets the old ones.
    pub(crate) fn keep_call(&self, call: Option<&KeptCall>) -> Result<(), StoreError> {
        let Some(KeptCall { at, body }) = call else { return Ok(()) };
        let mut insert = self.conn.prepare_cached("INSERT INTO traffic (at, body) VALUES (?1, ?2)")?;
        insert.execute((at.as_microsecond(), body))?;
        if self.conn.last_insert_rowid() % PRUNE_EVERY == 0
            && let Some(age) = self.keeps_calls
        {
            forget(self.conn, self.now, age)?;
        }
        Ok(())
    }
}

/// Forgets calls that are older than `age`, or not among the newest [`MOST`].
fn forget(conn: &Connection, now: Timestamp, age: Duration) -> Result<(), StoreError> {
    let oldest = now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    conn.prepare_cached("DELETE FROM traffic WHERE at < ?1")?.execute([oldest.as_microsecond()])?;
    let sql = "DELETE FROM traffic WHERE id <= (SELECT coalesce(max(id), 0) FROM traffic) - ?1";
    conn.prepare_cached(sql)?.execute([MOST])?;
    Ok(())
}

impl Store {
    /// Keeps calls for this long from now on; without a time keeps none, and forgets those that were kept.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_calls(&self, age: Option<Duration>) -> Result<(), StoreError> {
        *self.inner.shared.keeps_calls.write().unwrap_or_else(PoisonError::into_inner) = age;
        self.write(move |tx| match age {
            Some(age) => forget(tx.conn, tx.now, age),
            None => Ok(tx.conn.execute("DELETE FROM traffic", []).map(drop)?),
        })
        .await
    }

    /// Whether calls are kept.
    pub fn keeps_calls(&self) -> bool {
        self.inner.shared.keeps_calls.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Up to `limit` calls that were kept at `since` or later, after the page that said `after`.
    ///
    /// # Errors
    /// The database's.
    pub async fn kept_calls(&self, since: Timestamp, after: u64, limit: u32) -> Result<KeptCalls, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT id, body FROM traffic WHERE id > ?1 AND at >= ?2 ORDER BY id LIMIT ?3";
            let mut statement = conn.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), json::<RecordedCall>(&row.get::<_, String>(1)?, 1)?))
            };
            let rows = statement.query_map((after.cast_signed(), since.as_microsecond(), limit), read)?;
            let (ids, calls): (Vec<u64>, Vec<RecordedCall>) = rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            let full = u32::try_from(calls.len()).is_ok_and(|count| count == limit);
            Ok(KeptCalls { calls, next: ids.last().copied().filter(|_| full) })
        })
        .await
    }
}
