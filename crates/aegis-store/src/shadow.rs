//! Counts of what was only watched, written in the transaction that records the decision: a call that is on record is counted,
//! once.
//!
//! Invariants: no raw parameter's value reaches the database; what is kept is bounded, whatever agents send (of too many
//! different actions or values the rest counts as `other`), and goes after [`KEPT_DAYS`]. Deliberately absent: what the counts
//! mean, which is the core's ([`aegis_core::shadow::report`]).

use aegis_core::decide::Explanation;
use aegis_core::shadow::report::{CallCount, Example, PolicyCount, RuleCount, RuleKey, Tally, ValueCount};
use aegis_core::shadow::sighting::{Key, Offending, RuleSighting, Sighting, Source, sightings};
use jiff::civil::{Date, date};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use serde::de::DeserializeOwned;

use crate::Store;
use crate::approvals::random;
use crate::error::StoreError;
use crate::records::json;
use crate::writer::Tx;

/// How long counts are kept, in days.
const KEPT_DAYS: i64 = 90;
/// The most rows of calls, and of rules, that one day may have.
const MOST_ROWS: i64 = 5000;
/// The most different values of one rule that are told apart on one day.
const MOST_VALUES: i64 = 200;
/// How many decisions of each rule are kept to look at.
const EXAMPLES: u8 = 5;
/// How rows name what is one of too many.
const OTHER: &str = "other";

impl Store {
    /// What `source` has counted since a day (UTC), that day included.
    ///
    /// # Errors
    /// The database's.
    pub async fn tally(&self, source: &Source, since: Date) -> Result<Tally, StoreError> {
        let (candidate, active) = columns(source);
        let (candidate, active) = (candidate.to_owned(), active.to_owned());
        let since = number_of(since);
        self.read(move |conn| {
            let key = (candidate.as_str(), active.as_str(), since);
            Ok(Tally {
                calls: rows(conn, CALLS, key, call_count)?,
                policies: rows(conn, POLICIES, key, policy_count)?,
                rules: rows(conn, RULES, key, rule_count)?,
                values: rows(conn, VALUES, key, value_count)?,
                examples: rows(conn, EXAMPLE, key, example)?,
            })
        })
        .await
    }

    /// The candidate that was compared last, and the version that was in force beside it.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_candidate(&self) -> Result<Option<Source>, StoreError> {
        let sql = "SELECT candidate, active FROM shadow_calls WHERE candidate <> ''
                   GROUP BY candidate, active ORDER BY max(day) DESC, sum(calls) DESC LIMIT 1";
        self.read(move |conn| {
            let source = |row: &Row<'_>| Ok(Source::Candidate { version: row.get(0)?, active: row.get(1)? });
            Ok(conn.query_row(sql, [], source).optional()?)
        })
        .await
    }
}

/// The key of the texts' hashes; made at the first start.
pub(crate) fn key(conn: &Connection) -> Result<Key, StoreError> {
    let fresh: Key = random()?;
    conn.execute("INSERT INTO shadow_key (id, key) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING", [&fresh])?;
    Ok(conn.query_row("SELECT key FROM shadow_key WHERE id = 1", [], |row| row.get(0))?)
}

/// What is to be counted of one decision. Made by the caller, off the writer's thread.
#[derive(Debug)]
pub(crate) struct Seen(Vec<Sighting>);

impl Seen {
    pub(crate) fn of(explanation: &Explanation, key: &Key) -> Self {
        Self(sightings(explanation, key))
    }

    /// Counts it, with the record of its decision.
    pub(crate) fn count(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let day = number_of(Offset::UTC.to_datetime(tx.now).date());
        self.0.iter().try_for_each(|sighting| Counter::new(tx.conn, day, sighting).all())
    }
}

/// One sighting, being counted.
struct Counter<'a> {
    conn: &'a Connection,
    day: i64,
    sighting: &'a Sighting,
    candidate: &'a str,
    active: &'a str,
}

impl<'a> Counter<'a> {
    fn new(conn: &'a Connection, day: i64, sighting: &'a Sighting) -> Self {
        let (candidate, active) = columns(&sighting.source);
        Self { conn, day, sighting, candidate, active }
    }

    fn all(&self) -> Result<(), StoreError> {
        self.call()?;
        for (policy, would) in &self.sighting.policies {
            let sql = "INSERT INTO shadow_policies VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT DO UPDATE SET calls = calls + 1";
            let row = params![self.day, self.candidate, self.active, policy, would.as_str()];
            self.conn.prepare_cached(sql)?.execute(row)?;
        }
        self.sighting.rules.iter().try_for_each(|rule| self.rule(rule))
    }

    fn call(&self) -> Result<(), StoreError> {
        let Sighting { agent, tool, action, decision, would, change, .. } = self.sighting;
        let key = |tool, action| {
            let (decision, would, change) = (decision.as_str(), would.as_str(), change.as_str());
            (self.day, self.candidate, self.active, agent, tool, action, decision, would, change)
        };
        let again = "UPDATE shadow_calls SET calls = calls + 1 WHERE day = ?1 AND candidate = ?2 AND active = ?3
                     AND agent = ?4 AND tool = ?5 AND action = ?6 AND decision = ?7 AND would = ?8 AND change = ?9";
        if self.conn.prepare_cached(again)?.execute(key(tool.as_str(), action.as_str()))? > 0 {
            return Ok(());
        }
        let rows = self.rows_of_day("SELECT count(*) FROM shadow_calls WHERE day = ?1")?;
        if rows == 0 {
            prune(self.conn, self.day)?;
        }
        let first = "INSERT INTO shadow_calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1)
                     ON CONFLICT DO UPDATE SET calls = calls + 1";
        let key = if rows < MOST_ROWS { key(tool.as_str(), action.as_str()) } else { key(OTHER, OTHER) };
        self.conn.prepare_cached(first)?.execute(key)?;
        Ok(())
    }

    fn rule(&self, rule: &RuleSighting) -> Result<(), StoreError> {
        let Sighting { agent, tool, action, change, decision_id, .. } = self.sighting;
        let action = format!("{tool}/{action}");
        let effect = word(&rule.effect)?;
        let RuleSighting { policy, entry, rule: name, reason, value, .. } = rule;
        let row = |action| {
            let (day, candidate, active, change) = (self.day, self.candidate, self.active, change.as_str());
            (day, candidate, active, policy, entry, name, reason, change, effect.as_str(), agent, action)
        };
        let again = "UPDATE shadow_rules SET calls = calls + 1 WHERE day = ?1 AND candidate = ?2 AND active = ?3
                     AND policy = ?4 AND entry = ?5 AND rule = ?6 AND reason = ?7 AND change = ?8 AND effect = ?9
                     AND agent = ?10 AND action = ?11";
        if self.conn.prepare_cached(again)?.execute(row(action.as_str()))? == 0 {
            let rows = self.rows_of_day("SELECT count(*) FROM shadow_rules WHERE day = ?1")?;
            let first = "INSERT INTO shadow_rules VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1)
                         ON CONFLICT DO UPDATE SET calls = calls + 1";
            let action = if rows < MOST_ROWS { action.as_str() } else { OTHER };
            self.conn.prepare_cached(first)?.execute(row(action))?;
        }
        let example = "INSERT OR REPLACE INTO shadow_examples VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let slot = decision_id.bytes().last().unwrap_or_default() % EXAMPLES;
        let (candidate, active, change) = (self.candidate, self.active, change.as_str());
        let row = params![candidate, active, policy, entry, name, reason, change, slot, self.day, decision_id];
        self.conn.prepare_cached(example)?.execute(row)?;
        value.as_ref().map_or(Ok(()), |value| self.value(rule, value))
    }

    fn value(&self, rule: &RuleSighting, value: &Offending) -> Result<(), StoreError> {
        let RuleSighting { policy, entry, rule, reason, .. } = rule;
        let change = self.sighting.change.as_str();
        let row = |(kind, text)| {
            let (day, candidate, active) = (self.day, self.candidate, self.active);
            (day, candidate, active, policy, entry, rule, reason, change, kind, text)
        };
        let again = "UPDATE shadow_values SET calls = calls + 1 WHERE day = ?1 AND candidate = ?2 AND active = ?3
                     AND policy = ?4 AND entry = ?5 AND rule = ?6 AND reason = ?7 AND change = ?8
                     AND kind = ?9 AND value = ?10";
        if self.conn.prepare_cached(again)?.execute(row(value.parts()))? > 0 {
            return Ok(());
        }
        let different = "SELECT count(*) FROM shadow_values WHERE day = ?1 AND candidate = ?2 AND active = ?3
                         AND policy = ?4 AND entry = ?5 AND rule = ?6 AND reason = ?7 AND change = ?8";
        let of_rule = (self.day, self.candidate, self.active, policy, entry, rule, reason, change);
        let different: i64 = self.conn.prepare_cached(different)?.query_row(of_rule, |row| row.get(0))?;
        let first = "INSERT INTO shadow_values VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)
                     ON CONFLICT DO UPDATE SET calls = calls + 1";
        let parts = if different < MOST_VALUES { value.parts() } else { Offending::Other.parts() };
        self.conn.prepare_cached(first)?.execute(row(parts))?;
        Ok(())
    }

    fn rows_of_day(&self, sql: &str) -> Result<i64, StoreError> {
        Ok(self.conn.prepare_cached(sql)?.query_row([self.day], |row| row.get(0))?)
    }
}

/// Lets go of what is too old, on the first call of a day.
fn prune(conn: &Connection, day: i64) -> Result<(), StoreError> {
    for table in ["shadow_calls", "shadow_policies", "shadow_rules", "shadow_values", "shadow_examples"] {
        conn.execute(&format!("DELETE FROM {table} WHERE day < ?1"), [day - KEPT_DAYS])?;
    }
    Ok(())
}

const CALLS: &str = "SELECT day, agent, decision, would, change, sum(calls) FROM shadow_calls
    WHERE candidate = ?1 AND active = ?2 AND day >= ?3 GROUP BY day, agent, decision, would, change";
const POLICIES: &str = "SELECT policy, would, sum(calls) FROM shadow_policies
    WHERE candidate = ?1 AND active = ?2 AND day >= ?3 GROUP BY policy, would";
const RULES: &str = "SELECT policy, entry, rule, reason, change, day, effect, agent, action, calls FROM shadow_rules
    WHERE candidate = ?1 AND active = ?2 AND day >= ?3";
const VALUES: &str = "SELECT policy, entry, rule, reason, change, kind, value, sum(calls) FROM shadow_values
    WHERE candidate = ?1 AND active = ?2 AND day >= ?3 GROUP BY policy, entry, rule, reason, change, kind, value";
const EXAMPLE: &str = "SELECT policy, entry, rule, reason, change, decision_id FROM shadow_examples
    WHERE candidate = ?1 AND active = ?2 AND day >= ?3 ORDER BY decision_id DESC";

fn rows<T>(
    conn: &Connection,
    sql: &str,
    key: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(key, |row| read(row))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn call_count(row: &Row<'_>) -> rusqlite::Result<CallCount> {
    Ok(CallCount {
        day: day_of(row.get(0)?),
        agent: row.get(1)?,
        decision: read_word(row, 2)?,
        would: read_word(row, 3)?,
        change: read_word(row, 4)?,
        calls: count(row, 5)?,
    })
}

fn policy_count(row: &Row<'_>) -> rusqlite::Result<PolicyCount> {
    Ok(PolicyCount { policy: row.get(0)?, would: read_word(row, 1)?, calls: count(row, 2)? })
}

fn rule_count(row: &Row<'_>) -> rusqlite::Result<RuleCount> {
    Ok(RuleCount {
        key: rule_key(row)?,
        day: day_of(row.get(5)?),
        effect: read_word(row, 6)?,
        agent: row.get(7)?,
        action: row.get(8)?,
        calls: count(row, 9)?,
    })
}

fn value_count(row: &Row<'_>) -> rusqlite::Result<ValueCount> {
    let (kind, text): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(ValueCount { key: rule_key(row)?, value: Offending::of_parts(&kind, &text), calls: count(row, 7)? })
}

fn example(row: &Row<'_>) -> rusqlite::Result<Example> {
    Ok(Example { key: rule_key(row)?, decision_id: row.get(5)? })
}

fn rule_key(row: &Row<'_>) -> rusqlite::Result<RuleKey> {
    let (policy, entry, rule, reason) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(RuleKey { policy, entry, rule, reason, change: read_word(row, 4)? })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

/// The wire form of one of the core's words.
fn word(value: &impl serde::Serialize) -> Result<String, StoreError> {
    let text = serde_json::to_value(value).map_err(StoreError::encoding("a count"))?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

fn read_word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    json(&serde_json::Value::String(row.get(column)?).to_string(), column)
}

/// `candidate` and `active`, as rows have them.
fn columns(source: &Source) -> (&str, &str) {
    match source {
        Source::Shadow => ("", ""),
        Source::Candidate { version, active } => (version, active),
    }
}

const EPOCH: Date = date(1970, 1, 1);

fn number_of(day: Date) -> i64 {
    i64::from((day - EPOCH).get_days())
}

fn day_of(number: i64) -> Date {
    EPOCH.checked_add(number.days()).unwrap_or(Date::MAX)
}

/// The first of the last `days` days (UTC), today's included.
pub fn first_of_last(days: u32, now: Timestamp) -> Date {
    let today = Offset::UTC.to_datetime(now).date();
    today.checked_sub(i64::from(days.saturating_sub(1)).days()).unwrap_or(Date::MIN)
}
