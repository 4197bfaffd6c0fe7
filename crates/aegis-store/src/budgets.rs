//! The ledger of budgets: reserved in the transaction that admits a call, given back in the one that records that nothing was
//! done. Invariant: an enforced budget's window never holds more than its limit, whatever comes at once.

use aegis_core::budget::{BudgetLimit, Charge, Spend};
use aegis_core::problem::Code;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::Store;
use crate::admission::Refusal;
use crate::error::StoreError;
use crate::memory::{Change, Tables};
use crate::writer::Tx;

impl Store {
    /// What was spent of each of these budgets in the window that `now` is in.
    pub fn spends(&self, limits: Vec<BudgetLimit>, now: Timestamp) -> Vec<Spend> {
        if limits.is_empty() {
            return Vec::new();
        }
        let memory = self.inner.shared.memory.read();
        let spent = |limit: &BudgetLimit| memory.spent(&limit.key, limit.window.around(now).0);
        limits.into_iter().map(|limit| Spend { spent: spent(&limit), limit }).collect()
    }
}

/// Reserves all of `charges` for the record `seq`, or none and says which doesn't fit.
pub(crate) fn reserve(tx: &mut Tx<'_>, seq: u64, charges: &[Charge]) -> Result<(), StoreError> {
    for charge in charges {
        add(tx, &charge.key, charge.from, Some(charge.resets_at), i64::try_from(charge.amount).unwrap_or(i64::MAX))?;
        tx.conn.prepare_cached("INSERT INTO charges (seq, key, since, amount) VALUES (?1, ?2, ?3, ?4)")?.execute((
            seq.cast_signed(),
            &charge.key,
            charge.from.as_microsecond(),
            charge.amount.cast_signed(),
        ))?;
    }
    Ok(())
}

/// The first of `charges` that doesn't fit any more: others may have been faster since the decision.
pub(crate) fn exceeded(tx: &Tx<'_>, charges: &[Charge]) -> Result<Option<Refusal>, StoreError> {
    for charge in charges {
        let Some(limit) = charge.limit else { continue };
        let spent = spent(tx.conn, &charge.key, charge.from)?;
        if spent.checked_add(charge.amount).is_none_or(|sum| sum > limit) {
            let detail = format!("a budget of {} was used up while the call was decided", charge.policy);
            return Ok(Some(Refusal { code: Code::BudgetExceeded, reason: "budget: above_budget", detail }));
        }
    }
    Ok(None)
}

/// Ends the reservations of a call: given back, or spent for good.
pub(crate) fn settle(tx: &mut Tx<'_>, seq: u64, refund: bool) -> Result<(), StoreError> {
    let reserved: Vec<(String, i64, i64)> = {
        let mut statement =
            tx.conn.prepare_cached("DELETE FROM charges WHERE seq = ?1 RETURNING key, since, amount")?;
        let rows = statement.query_map([seq.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    for (key, since, amount) in reserved.into_iter().filter(|_| refund) {
        let since = Timestamp::from_microsecond(since).unwrap_or(Timestamp::MIN);
        add(tx, &key, since, None, -amount)?;
    }
    Ok(())
}

/// Changes what a window holds. A window is only opened with its end known; one that was swept stays away.
fn add(tx: &mut Tx<'_>, key: &str, since: Timestamp, until: Option<Timestamp>, amount: i64) -> Result<(), StoreError> {
    let spent: Option<i64> = match until {
        Some(until) => {
            let sql = "INSERT INTO budgets (key, since, until, spent) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (key, since) DO UPDATE SET spent = min(9223372036854775807, spent + excluded.spent)
                       RETURNING spent";
            let values = (key, since.as_microsecond(), until.as_microsecond(), amount);
            Some(tx.conn.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
        }
        None => {
            let sql = "UPDATE budgets SET spent = max(0, spent + ?3) WHERE key = ?1 AND since = ?2 RETURNING spent";
            let values = (key, since.as_microsecond(), amount);
            tx.conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?
        }
    };
    if let Some(spent) = spent {
        tx.change(Change::Spent(key.to_owned(), since, spent.cast_unsigned()));
    }
    Ok(())
}

fn spent(conn: &Connection, key: &str, since: Timestamp) -> Result<u64, StoreError> {
    let mut statement = conn.prepare_cached("SELECT spent FROM budgets WHERE key = ?1 AND since = ?2")?;
    let spent: Option<i64> = statement.query_row((key, since.as_microsecond()), |row| row.get(0)).optional()?;
    Ok(spent.unwrap_or(0).cast_unsigned())
}

/// Forgets windows that are over and that nothing is reserved in any more.
pub(crate) fn sweep(tx: &Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    // A day of grace: a node whose clock is behind may still be in the old window.
    let over = now.as_microsecond().saturating_sub(24 * 3600 * 1_000_000);
    let sql = "DELETE FROM budgets WHERE until <= ?1
               AND NOT EXISTS (SELECT 1 FROM charges WHERE charges.key = budgets.key AND charges.since = budgets.since)";
    tx.conn.prepare_cached(sql)?.execute([over])?;
    Ok(())
}

/// Fills the mirror.
pub(crate) fn remember(conn: &Connection, tables: &mut Tables) -> Result<(), StoreError> {
    let mut statement = conn.prepare("SELECT key, since, spent FROM budgets ORDER BY since")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let since = crate::records::time(row, 1)?;
        tables.apply(Change::Spent(row.get(0)?, since, row.get::<_, i64>(2)?.cast_unsigned()));
    }
    Ok(())
}
