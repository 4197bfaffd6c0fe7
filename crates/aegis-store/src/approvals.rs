//! Approvals, kept: the state machine is the core's ([`aegis_core::approval`]), the rows and the tokens are here.
//!
//! Invariants: every change of state is recorded in the transaction that makes it; at most one approval per agent and call
//! holds; of an override token only the SHA-256 is kept.

use std::time::Duration;

use aegis_core::approval::{self, Approval, Event, Refused, Request, State};
use aegis_core::audit;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::Store;
use crate::budgets;
use crate::error::StoreError;
use crate::memory::{Change, Tables, still_answers};
use crate::records::json;
use crate::writer::Tx;

impl Store {
    /// The newest approval of `agent` for the call with this digest, in whatever state, as long as it can matter.
    pub fn approval_for(&self, agent: &str, call_digest: &str) -> Option<Approval> {
        self.inner.shared.memory.read().approval_for(agent, call_digest).cloned()
    }

    /// The approval that an override token (`ovr_…`) was issued for, as long as it can matter. Whether it is for this agent and
    /// this call is for the decision to say.
    pub fn override_matches(&self, token: &str) -> Option<Approval> {
        self.inner.shared.memory.read().approval_by_token(&hash_of(token)).cloned()
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the database's.
    pub async fn approval(&self, id: &str) -> Result<Approval, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| load(conn, &id)?.ok_or_else(|| StoreError::not_found("approval", &id))).await
    }

    /// One approval once it is decided or has run out of time, or as it is after `wait`.
    ///
    /// # Errors
    /// As [`Store::approval`].
    pub async fn approval_after(&self, id: &str, wait: Duration) -> Result<Approval, StoreError> {
        let mut changes = self.inner.shared.memory.approval_changes();
        let decided = async {
            loop {
                let pending = |approval: &Approval| approval.state == State::Pending;
                // One that isn't in the mirror can't change any more.
                if !self.inner.shared.memory.read().approval_by_id(id).is_some_and(pending) {
                    return;
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Out of time or decided: what is kept says which.
        let _ = tokio::time::timeout(wait, decided).await;
        self.approval(id).await
    }

    /// The newest approvals, newest first; of one state, if given.
    ///
    /// # Errors
    /// The database's.
    pub async fn approvals(&self, state: Option<State>, limit: u32) -> Result<Vec<Approval>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT body FROM approvals WHERE ?1 IS NULL OR state = ?1 ORDER BY number DESC LIMIT ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let rows =
                statement.query_map((state.map(State::as_str), limit), |row| json(&row.get::<_, String>(0)?, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A human says yes. Returns the approval and, once as many have said so as the policy asks for, its override token, which
    /// nobody can read again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Approval`] when it is over, or `by` asked for it or isn't asked; the database's.
    pub async fn approve(
        &self,
        id: &str,
        by: &str,
        comment: Option<String>,
    ) -> Result<(Approval, Option<String>), StoreError> {
        let token = format!("ovr_{}", URL_SAFE_NO_PAD.encode(random::<32>()?));
        let approval = self.decide(id, Event::Approve { by: by.to_owned(), comment }, Some(hash_of(&token))).await?;
        let token = (approval.state == State::Approved).then_some(token);
        Ok((approval, token))
    }

    /// A human says no.
    ///
    /// # Errors
    /// As [`Store::approve`].
    pub async fn reject(&self, id: &str, by: &str, comment: Option<String>) -> Result<Approval, StoreError> {
        self.decide(id, Event::Reject { by: by.to_owned(), comment }, None).await
    }

    /// Withdraws a request, or an approval that isn't spent yet.
    ///
    /// # Errors
    /// As [`Store::approve`].
    pub async fn cancel(&self, id: &str, by: &str, comment: Option<String>) -> Result<Approval, StoreError> {
        self.decide(id, Event::Cancel { by: by.to_owned(), comment }, None).await
    }

    async fn decide(&self, id: &str, event: Event, token: Option<[u8; 32]>) -> Result<Approval, StoreError> {
        let id = id.to_owned();
        let decided = self.write(move |tx| {
            let approval = load(tx.conn, &id)?.ok_or_else(|| StoreError::not_found("approval", &id))?;
            apply(tx, &approval, &event, token)
        });
        Ok(decided.await??)
    }

    /// Turns what is overdue at `now` into expired or lapsed, with its record, and forgets what can't matter any more. To be
    /// called every few seconds; correctness doesn't wait for it, since time is applied first wherever an approval is used.
    /// Returns the approvals that ran out.
    ///
    /// # Errors
    /// The database's.
    pub async fn sweep(&self, now: Timestamp) -> Result<Vec<Approval>, StoreError> {
        self.write(move |tx| {
            tx.now = now;
            let overdue = overdue(tx.conn, now)?;
            let mut over = Vec::with_capacity(overdue.len());
            for approval in overdue {
                over.extend(apply(tx, &approval, &Event::Tick, None)?);
            }
            tx.conn
                .prepare_cached("DELETE FROM revocations WHERE expires_at <= ?1")?
                .execute([now.as_microsecond()])?;
            budgets::sweep(tx, now)?;
            crate::sessions::forget(tx)?;
            tx.change(Change::Forget(now));
            Ok(over)
        })
        .await
    }
}

/// A new approval's id.
pub(crate) fn new_id() -> Result<String, StoreError> {
    Ok(random::<8>()?.iter().fold("apr_".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

/// The approval that holds for this call, asked once more; a new one, if none does.
pub(crate) fn open_or_join(tx: &mut Tx<'_>, id: String, request: Request) -> Result<Approval, StoreError> {
    let sql = "SELECT body FROM approvals WHERE agent = ?1 AND call_digest = ?2 ORDER BY number DESC LIMIT 1";
    let newest = tx
        .conn
        .prepare_cached(sql)?
        .query_row((&request.agent.id, &request.call_digest), |row| json::<Approval>(&row.get::<_, String>(0)?, 0));
    let mut newest = newest.optional()?;
    if let Some(outgrown) = newest.as_ref().filter(|newest| match newest.state {
        State::Pending => !newest.covers(&request.requirements),
        State::Approved => !newest.suffices(&request.requirements),
        _ => false,
    }) {
        // Others are asked now; what fewer say, or have said, opens nothing.
        let comment = Some("the policy asks others about this call now".to_owned());
        // Refused only if it ran out of time meanwhile.
        let _ = apply(tx, outgrown, &Event::Cancel { by: "aegis".to_owned(), comment }, None)?;
        newest = None;
    }
    if let Some(newest) = newest {
        match apply(tx, &newest, &Event::AskedAgain, None)? {
            Ok(joined) => return Ok(joined),
            // Decided since this call's facts were read: the same call, repeated, finds the answer.
            Err(Refused::Final(_)) if newest.holds(tx.now) => return Ok(newest),
            Err(_) => {}
        }
    }
    let approval = Approval::open(id, request);
    let Approval { id, request, .. } = &approval;
    let sql = "INSERT INTO approvals (id, agent, call_digest, state, expires_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.conn.prepare_cached(sql)?.execute((
        id,
        &request.agent.id,
        &request.call_digest,
        approval.state.as_str(),
        request.expires_at.as_microsecond(),
        encoded(&approval)?,
    ))?;
    record(tx, &approval, "requested")?;
    tx.change(Change::Approval(Box::new(approval.clone()), None));
    Ok(approval)
}

/// Applies an event to an approval as it is kept. Time comes first and stands even where the event is refused.
pub(crate) fn apply(
    tx: &mut Tx<'_>,
    before: &Approval,
    event: &Event,
    token: Option<[u8; 32]>,
) -> Result<Result<Approval, Refused>, StoreError> {
    let ticked = match approval::apply(before, &Event::Tick, tx.now) {
        Ok(ticked) => ticked,
        Err(refused) => return Ok(Err(refused)),
    };
    keep(tx, before, &ticked, None)?;
    match approval::apply(&ticked, event, tx.now) {
        Ok(after) => keep(tx, &ticked, &after, token).map(|()| Ok(after)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Writes a changed approval, if nothing else changed its state, and records a change of state.
fn keep(tx: &mut Tx<'_>, before: &Approval, after: &Approval, token: Option<[u8; 32]>) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    let sql = "UPDATE approvals SET state = ?1, body = ?2, token_hash = coalesce(?3, token_hash) WHERE id = ?4 AND state = ?5";
    let token = token.filter(|_| after.state == State::Approved);
    let token_hash = token.as_ref().map(<[u8; 32]>::as_slice);
    let changed = tx.conn.prepare_cached(sql)?.execute((
        after.state.as_str(),
        encoded(after)?,
        token_hash,
        &after.id,
        before.state.as_str(),
    ))?;
    if changed != 1 {
        return Err(StoreError::Conflict(after.id.clone()));
    }
    if before.state != after.state {
        record(tx, after, after.state.as_str())?;
    } else if before.votes.len() < after.votes.len() {
        record(tx, after, "vote")?;
    }
    tx.change(Change::Approval(Box::new(after.clone()), token));
    Ok(())
}

fn record(tx: &mut Tx<'_>, approval: &Approval, change: &str) -> Result<(), StoreError> {
    let human = matches!(approval.state, State::Approved | State::Rejected | State::Cancelled);
    tx.record(&audit::Event::Approval {
        approval_id: approval.id.clone(),
        decision_id: approval.request.decision_id.clone(),
        agent_id: approval.request.agent.id.clone(),
        change: change.to_owned(),
        by: match change {
            "vote" => approval.votes.last().map(|vote| vote.by.clone()),
            _ => approval.decided_by.clone().filter(|_| human),
        },
    })
    .map(drop)
}

/// Withdraws everything that an agent has asked for: its name may be given to another.
pub(crate) fn cancel_all_of(tx: &mut Tx<'_>, agent: &str, by: &str) -> Result<(), StoreError> {
    let sql = "SELECT body FROM approvals WHERE agent = ?1 AND state IN ('pending', 'approved')";
    let open: Vec<Approval> = {
        let mut statement = tx.conn.prepare_cached(sql)?;
        let rows = statement.query_map([agent], |row| json(&row.get::<_, String>(0)?, 0))?;
        rows.collect::<Result<_, _>>()?
    };
    for approval in open {
        let comment = Some("the agent was removed".to_owned());
        // Refused only where its time ran out just now, which is over as well.
        let _ = apply(tx, &approval, &Event::Cancel { by: by.to_owned(), comment }, None)?;
    }
    Ok(())
}

pub(crate) fn load(conn: &Connection, id: &str) -> Result<Option<Approval>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT body FROM approvals WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| json(&row.get::<_, String>(0)?, 0)).optional()?)
}

/// Fills the mirror with every approval that still answers a call.
pub(crate) fn remember(conn: &Connection, tables: &mut Tables, now: Timestamp) -> Result<(), StoreError> {
    let day_ago = now.as_microsecond().saturating_sub(24 * 3600 * 1_000_000);
    let mut statement = conn.prepare("SELECT body, token_hash FROM approvals WHERE expires_at > ?1 ORDER BY number")?;
    let mut rows = statement.query([day_ago])?;
    while let Some(row) = rows.next()? {
        let approval: Approval = json(&row.get::<_, String>(0)?, 0)?;
        if still_answers(&approval, now) {
            tables.apply(Change::Approval(Box::new(approval), row.get(1)?));
        }
    }
    Ok(())
}

fn overdue(conn: &Connection, now: Timestamp) -> Result<Vec<Approval>, StoreError> {
    let sql = "SELECT body FROM approvals WHERE state IN ('pending', 'approved') AND expires_at <= ?1 ORDER BY number";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([now.as_microsecond()], |row| json(&row.get::<_, String>(0)?, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn encoded(approval: &Approval) -> Result<String, StoreError> {
    serde_json::to_string(approval).map_err(StoreError::encoding("an approval"))
}

fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Randomness(error.to_string()))?;
    Ok(bytes)
}
