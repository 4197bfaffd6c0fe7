//! The log: appended to inside the writer's transactions, read by anybody.

use aegis_core::audit::{Event, Record};
use aegis_core::decide::{Explanation, Verdict};
use aegis_core::problem::Code;
use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row, ToSql};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::StoreError;

/// An event as it is written: its JSON, and the columns that it is looked up by. Made by the caller, off the writer's thread.
#[derive(Debug)]
pub(crate) struct Entry {
    kind: &'static str,
    decision_id: Option<String>,
    agent: Option<String>,
    tool: Option<String>,
    action: Option<String>,
    decision: Option<&'static str>,
    code: Option<&'static str>,
    body: String,
}

impl Entry {
    /// The decision that `explanation` explains, without its raw values.
    pub(crate) fn of_decision(explanation: &Explanation, latency_ms: f64) -> Result<Self, StoreError> {
        Self::of(&Event::Decision { explanation: explanation.without_values(), latency_ms })
    }

    pub(crate) fn of(event: &Event) -> Result<Self, StoreError> {
        let body = serde_json::to_string(event).map_err(StoreError::encoding("a record"))?;
        let bare = Self {
            kind: event.kind(),
            decision_id: None,
            agent: None,
            tool: None,
            action: None,
            decision: None,
            code: None,
            body,
        };
        Ok(match event {
            Event::Decision { explanation, .. } => Self {
                decision_id: Some(explanation.decision_id.clone()),
                agent: explanation.agent.as_ref().map(|agent| agent.id.clone()),
                tool: explanation.call.as_ref().map(|call| call.tool.clone()),
                action: explanation.call.as_ref().map(|call| call.action.clone()),
                decision: Some(explanation.decision.as_str()),
                code: explanation.code.map(Code::name),
                ..bare
            },
            Event::Outcome { decision_id, .. } => Self { decision_id: Some(decision_id.clone()), ..bare },
            Event::Approval { decision_id, agent_id, .. } => {
                Self { decision_id: Some(decision_id.clone()), agent: Some(agent_id.clone()), ..bare }
            }
            Event::Operation { .. } | Event::Policy { .. } => bare,
        })
    }

    pub(crate) fn insert(&self, conn: &Connection, seq: u64, at: Timestamp) -> Result<(), StoreError> {
        let mut statement = conn.prepare_cached(
            "INSERT INTO records (seq, at, event, decision_id, agent, tool, action, decision, code, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        statement.execute(rusqlite::params![
            seq.cast_signed(),
            at.as_microsecond(),
            self.kind,
            self.decision_id,
            self.agent,
            self.tool,
            self.action,
            self.decision,
            self.code,
            self.body
        ])?;
        Ok(())
    }
}

/// Which records. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Numbered after this one.
    pub after: u64,
    /// Kind: `decision`, `outcome`, `approval`, `operation`, `policy`.
    pub event: Option<String>,
    /// Who asked.
    pub agent: Option<String>,
    /// Tool.
    pub tool: Option<String>,
    /// Action.
    pub action: Option<String>,
    /// Decision.
    pub decision: Option<Verdict>,
    /// Code of the refusal.
    pub code: Option<Code>,
    /// One decision and what came of it.
    pub decision_id: Option<String>,
    /// Written at this time or later.
    pub since: Option<Timestamp>,
    /// Written before this time.
    pub until: Option<Timestamp>,
    /// The newest so many.
    pub limit: u32,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            after: 0,
            event: None,
            agent: None,
            tool: None,
            action: None,
            decision: None,
            code: None,
            decision_id: None,
            since: None,
            until: None,
            limit: 100,
        }
    }
}

impl Query {
    fn conditions(&self) -> Vec<(&'static str, Box<dyn ToSql>)> {
        let text = |value: &Option<String>| value.clone().map(|text| Box::new(text) as Box<dyn ToSql>);
        let name = |value: Option<&'static str>| value.map(|text| Box::new(text) as Box<dyn ToSql>);
        let time = |value: Option<Timestamp>| value.map(|at| Box::new(at.as_microsecond()) as Box<dyn ToSql>);
        let after = (self.after > 0).then(|| Box::new(self.after.cast_signed()) as Box<dyn ToSql>);
        [
            ("seq > ?", after),
            ("event = ?", text(&self.event)),
            ("agent = ?", text(&self.agent)),
            ("tool = ?", text(&self.tool)),
            ("action = ?", text(&self.action)),
            ("decision = ?", name(self.decision.map(Verdict::as_str))),
            ("code = ?", name(self.code.map(Code::name))),
            ("decision_id = ?", text(&self.decision_id)),
            ("at >= ?", time(self.since)),
            ("at < ?", time(self.until)),
        ]
        .into_iter()
        .filter_map(|(condition, value)| Some((condition, value?)))
        .collect()
    }
}

impl Store {
    /// The first `limit` records after number `after`, in order: for following the log.
    ///
    /// # Errors
    /// The database's.
    pub async fn tail(&self, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT seq, at, body FROM records WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map((after.cast_signed(), limit), record)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest records that the query names, oldest of them first.
    ///
    /// # Errors
    /// The database's.
    pub async fn query(&self, query: Query) -> Result<Vec<Record>, StoreError> {
        self.read(move |conn| {
            let (conditions, mut values): (Vec<_>, Vec<_>) = query.conditions().into_iter().unzip();
            let filter = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
            values.push(Box::new(query.limit));
            let sql = format!("SELECT seq, at, body FROM records WHERE {filter} ORDER BY seq DESC LIMIT ?");
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), record)?;
            let mut records = rows.collect::<Result<Vec<_>, _>>()?;
            records.reverse();
            Ok(records)
        })
        .await
    }

    /// Number of the newest record; 0 when there is none.
    pub fn head(&self) -> u64 {
        *self.inner.shared.head.borrow()
    }

    /// Waits until there is a record after number `after`; the number of the newest one.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when there will be none.
    pub async fn wait_for_new(&self, after: u64) -> Result<u64, StoreError> {
        let mut head = self.inner.shared.head.subscribe();
        // The sender is in `shared`, which we hold: a closed store has to be noticed by its queue.
        tokio::select! {
            newest = head.wait_for(|newest| *newest > after) => newest.map(|newest| *newest).map_err(|_| StoreError::Closed),
            () = self.inner.queue.closed() => Err(StoreError::Closed),
        }
    }

    /// Records what an operator did that changes nothing here: `token.issue`, `policies.reload`…
    ///
    /// # Errors
    /// The database's.
    pub async fn record_operation(&self, by: &str, operation: &str, subject: &str) -> Result<(), StoreError> {
        let (by, operation, subject) = (by.to_owned(), operation.to_owned(), subject.to_owned());
        let entry = Entry::of(&Event::Operation { by, operation, subject })?;
        self.write(move |tx| tx.append(&entry).map(drop)).await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let event: String = row.get(2)?;
    Ok(Record { seq: row.get::<_, i64>(0)?.cast_unsigned(), at: time(row, 1)?, event: json(&event, 2)? })
}

/// A kept time.
pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| FromSqlError::other(error).into_column(column, Type::Integer))
}

/// A kept time that may be absent.
pub(crate) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null { Ok(None) } else { time(row, column).map(Some) }
}

/// Kept JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(text: &str, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| FromSqlError::other(error).into_column(column, Type::Text))
}

trait IntoColumn {
    fn into_column(self, column: usize, kind: Type) -> rusqlite::Error;
}

impl IntoColumn for FromSqlError {
    fn into_column(self, column: usize, kind: Type) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(self))
    }
}
