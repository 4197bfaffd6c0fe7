//! Law 2: a passage becomes an [`Admitted`] in the one transaction that spends its approval and records its decision.
//!
//! Also here: the other two answers (a denial, a request to a human) and how an admitted call ended. A decision is recorded
//! exactly once: by [`Store::admit`] or [`Store::ask`] when they succeed; what they refuse is a [`Denial`] that the caller
//! records with [`Store::deny`], like any other.

use std::sync::Weak;

use aegis_core::agent::Agent;
use aegis_core::approval::{self, Approval, Refused, State};
use aegis_core::audit::{Event, Outcome};
use aegis_core::call::ToolCall;
use aegis_core::decide::{Ask, Denial, Explanation, Passage};
use aegis_core::problem::Code;
use rusqlite::OptionalExtension as _;

use crate::error::StoreError;
use crate::records::Entry;
use crate::shadow::Seen;
use crate::traffic::{KeptCall, Noted};
use crate::writer::{Command, Message, Tx};
use crate::{Inner, Store, approvals, budgets, sessions};

/// A call that may be forwarded: it was allowed, and that is on record. Consumed by forwarding it.
#[derive(Debug)]
#[must_use = "an admitted call that nobody forwards is recorded as failed"]
pub struct Admitted {
    passage: Passage,
    receipt: Receipt,
}

impl Admitted {
    /// The call.
    pub fn call(&self) -> &ToolCall {
        self.passage.call()
    }

    /// Why it was admitted.
    pub fn explanation(&self) -> &Explanation {
        self.passage.explanation()
    }

    /// Takes the call out, once, and with it the duty to say how it ended.
    pub fn redeem(self) -> (ToolCall, Receipt) {
        let Self { passage, mut receipt } = self;
        receipt.redeemed = true;
        (passage.into_parts().0, receipt)
    }
}

/// What is left of an [`Admitted`] once its call is taken: the duty to say how it ended, with [`Store::settle`].
///
/// One that is dropped says so itself: the outcome is recorded as unknown, or as not forwarded when the call was never taken out.
#[must_use = "an admitted call without an outcome is reported as unknown"]
#[derive(Debug)]
pub struct Receipt {
    decision_id: String,
    seq: u64,
    redeemed: bool,
    settled: bool,
    store: Weak<Inner>,
}

impl Receipt {
    /// The decision.
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let Some(inner) = self.store.upgrade().filter(|_| !self.settled) else { return };
        let outcome = if self.redeemed {
            Outcome::unknown("whoever forwarded it did not say how it ended")
        } else {
            Outcome::not_forwarded("the caller went away before it was forwarded")
        };
        let (command, _) = Command::new(settlement(self.seq, self.decision_id.clone(), outcome));
        if inner.queue.try_send(Message::Work(Box::new(command))).is_err() {
            // It stays among the unsettled, and the next start records it as unknown.
            tracing::warn!(decision_id = self.decision_id, "the outcome of a dropped call can't be recorded now");
        }
    }
}

/// An admitted call whose outcome is not recorded yet: in flight, or unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Number of its decision's record.
    pub seq: u64,
    /// The decision.
    pub decision_id: String,
}

/// What becomes of a call once it is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is forwarded from here, and its outcome recorded.
    Forwarded,
    /// Its caller enforces.
    HandedOver,
}

/// Why a transaction refuses what was decided before it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

impl Store {
    /// Admits a passage: one transaction that checks that the agent and its token are still good, spends the approval,
    /// reserves the budgets and appends the decision.
    ///
    /// # Errors
    /// Any failure is a denial, which is not recorded yet: hand it to [`Store::deny`].
    pub async fn admit(&self, passage: Passage, noted: impl Into<Noted>) -> Result<Admitted, Denial> {
        match self.try_admit(&passage, noted.into(), Then::Forwarded).await {
            Ok(Ok(receipt)) => Ok(Admitted { passage, receipt }),
            Ok(Err(refusal)) => Err(not_admitted(passage, Ok(refusal))),
            Err(error) => Err(not_admitted(passage, Err(error))),
        }
    }

    /// The same for a call that its caller enforces (an external authorizer, the decision API): nothing of it is forwarded from
    /// here, so it never becomes an [`Admitted`], and how it ends isn't known. What it reserved stays spent.
    ///
    /// # Errors
    /// As [`Store::admit`].
    pub async fn hand_over(
        &self,
        passage: Passage,
        noted: impl Into<Noted>,
    ) -> Result<(ToolCall, Explanation), Denial> {
        match self.try_admit(&passage, noted.into(), Then::HandedOver).await {
            Ok(Ok(_)) => Ok(passage.into_parts()),
            Ok(Err(refusal)) => Err(not_admitted(passage, Ok(refusal))),
            Err(error) => Err(not_admitted(passage, Err(error))),
        }
    }

    async fn try_admit(
        &self,
        passage: &Passage,
        noted: Noted,
        then: Then,
    ) -> Result<Result<Receipt, Refusal>, StoreError> {
        let explanation = passage.explanation();
        let Some(agent) = explanation.agent.clone() else { return Ok(Err(nobody())) };
        let digest = explanation.call.as_ref().and_then(|call| call.call_digest.clone());
        let entry = Entry::of_decision(explanation, noted.latency_ms)?;
        let seen = Seen::of(explanation, &self.inner.key);
        let call = KeptCall::of(noted.call, explanation)?;
        let decision_id = explanation.decision_id.clone();
        let spends = passage.spends().map(str::to_owned);
        let charges = passage.charges().to_vec();
        let (marks, idle) = (passage.marks().cloned(), self.session_idle());
        let store = std::sync::Arc::downgrade(&self.inner);
        self.write_or_refuse(move |tx| {
            if let Some(refusal) = standing(tx, &agent)? {
                return Ok(Err(refusal));
            }
            if let Some(refusal) = budgets::exceeded(tx, &charges)? {
                return Ok(Err(refusal));
            }
            if let Some(id) = spends
                && let Err(refusal) = spend(tx, &id, &agent, digest.as_deref())?
            {
                return Ok(Err(refusal));
            }
            if let Some(marks) = marks {
                sessions::leave(tx, &agent, &marks, idle)?;
            }
            let seq = tx.append(&entry)?;
            seen.count(tx)?;
            tx.keep_call(call.as_ref())?;
            budgets::reserve(tx, seq, &charges)?;
            let settled = then == Then::HandedOver;
            if settled {
                budgets::settle(tx, seq, false)?;
            } else {
                let sql = "INSERT INTO unsettled (seq, decision_id) VALUES (?1, ?2)";
                tx.conn.prepare_cached(sql)?.execute((seq.cast_signed(), &decision_id))?;
            }
            Ok(Ok(Receipt { decision_id, seq, redeemed: false, settled, store }))
        })
        .await
    }

    /// Records a denial; where it tells the agent that its approval ran out of time, marks that as told.
    ///
    /// # Errors
    /// The database's. It stays a denial; the error is for the operator.
    pub async fn deny(&self, denial: &Denial, noted: impl Into<Noted>) -> Result<(), StoreError> {
        let Noted { latency_ms, call } = noted.into();
        let explanation = denial.explanation();
        let entry = Entry::of_decision(explanation, latency_ms)?;
        let seen = Seen::of(explanation, &self.inner.key);
        let call = KeptCall::of(call, explanation)?;
        let told = explanation.approval.as_ref().filter(|_| explanation.code == Some(Code::ApprovalExpired));
        let told = told.map(|approval| approval.id.clone());
        self.write_or_refuse(move |tx| {
            if let Some(approval) = told.map(|id| approvals::load(tx.conn, &id)).transpose()?.flatten() {
                // Refused only if it didn't run out after all; the agent then finds it as it is.
                let _ = approvals::apply(tx, &approval, &approval::Event::Told, None)?;
            }
            seen.count(tx)?;
            tx.append(&entry)?;
            tx.keep_call(call.as_ref())
        })
        .await
    }

    /// Opens the approval that is asked for, or counts another ask of the one that holds already, and records the decision.
    /// Returns the explanation with that approval in it.
    ///
    /// # Errors
    /// Any failure is a denial, which is not recorded yet: hand it to [`Store::deny`].
    pub async fn ask(&self, ask: Ask, noted: impl Into<Noted>) -> Result<(Explanation, Approval), Denial> {
        match self.try_ask(&ask, noted.into()).await {
            Ok(Ok(approval)) => {
                let (mut explanation, _) = ask.into_parts();
                explanation.approval = Some(approval.info(None));
                Ok((explanation, approval))
            }
            Ok(Err(Refusal { code, reason, detail })) => Err(ask.refuse(code, reason, detail)),
            Err(error) => {
                let (reason, detail) = unavailable(&error);
                Err(ask.refuse(Code::GatewayUnavailable, &reason, detail))
            }
        }
    }

    async fn try_ask(&self, ask: &Ask, noted: Noted) -> Result<Result<Approval, Refusal>, StoreError> {
        let Noted { latency_ms, call } = noted;
        let call = KeptCall::of(call, ask.explanation())?;
        let request = ask.request().clone();
        let seen = Seen::of(ask.explanation(), &self.inner.key);
        let mut explanation = ask.explanation().without_values();
        let id = approvals::new_id()?;
        self.write_or_refuse(move |tx| {
            if let Some(refusal) = standing(tx, &request.agent)? {
                return Ok(Err(refusal));
            }
            let approval = approvals::open_or_join(tx, id, request)?;
            explanation.approval = Some(approval.info(None));
            tx.record(&Event::Decision { explanation, latency_ms })?;
            seen.count(tx)?;
            tx.keep_call(call.as_ref())?;
            Ok(Ok(approval))
        })
        .await
    }

    /// Records how an admitted call ended.
    ///
    /// # Errors
    /// The database's; the call is then reported as unknown.
    pub async fn settle(&self, mut receipt: Receipt, outcome: Outcome) -> Result<(), StoreError> {
        receipt.settled = true;
        self.write(settlement(receipt.seq, std::mem::take(&mut receipt.decision_id), outcome)).await
    }

    /// The admitted calls whose outcome is not recorded yet, oldest first: those in flight. A start records what a crash left
    /// behind as unknown.
    ///
    /// # Errors
    /// The database's.
    pub async fn unsettled(&self) -> Result<Vec<Unsettled>, StoreError> {
        self.read(list_unsettled).await
    }
}

/// Records every admitted call that an earlier process left without an outcome as unknown.
pub(crate) fn recover(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let left = list_unsettled(tx.conn)?;
    let count = left.len();
    for Unsettled { seq, decision_id } in left {
        settlement(seq, decision_id, Outcome::unknown("the gateway stopped before it was settled"))(tx)?;
    }
    Ok(count)
}

fn list_unsettled(conn: &rusqlite::Connection) -> Result<Vec<Unsettled>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT seq, decision_id FROM unsettled ORDER BY seq")?;
    let rows = statement
        .query_map([], |row| Ok(Unsettled { seq: row.get::<_, i64>(0)?.cast_unsigned(), decision_id: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn settlement(
    seq: u64,
    decision_id: String,
    outcome: Outcome,
) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static {
    move |tx| {
        if tx.conn.prepare_cached("DELETE FROM unsettled WHERE seq = ?1")?.execute([seq.cast_signed()])? != 1 {
            return Err(StoreError::not_found("unsettled decision", &decision_id));
        }
        budgets::settle(tx, seq, outcome.refunds())?;
        tx.record(&Event::Outcome { decision_id, outcome }).map(drop)
    }
}

/// Whether the agent may still act: the kill switch holds at admission, whatever was true when the call came in. One that is
/// suspended may not act through another agent either.
fn standing(tx: &Tx<'_>, agent: &Agent) -> Result<Option<Refusal>, StoreError> {
    let refuse = |reason: &'static str| {
        let detail = "the agent's identity was withdrawn while the call was decided".to_owned();
        Ok(Some(Refusal { code: Code::IdentityRejected, reason, detail }))
    };
    let mut suspended = tx.conn.prepare_cached("SELECT suspended FROM agents WHERE id = ?1 AND removed_at IS NULL")?;
    let mut suspended = |id: &str| suspended.query_row([id], |row| row.get::<_, bool>(0)).optional();
    match suspended(&agent.id)? {
        None => return refuse("agent: unregistered"),
        Some(true) => return refuse("agent: suspended"),
        Some(false) => {}
    }
    for caller in &agent.chain {
        if suspended(caller)? == Some(true) {
            return refuse("agent: caller_suspended");
        }
    }
    if let Some(jti) = &agent.token_id
        && tx.conn.prepare_cached("SELECT 1 FROM revocations WHERE jti = ?1")?.exists([jti])?
    {
        return refuse("token: revoked");
    }
    Ok(None)
}

/// Spends an approval, if it is for exactly this agent and call and nobody was faster.
fn spend(tx: &mut Tx<'_>, id: &str, agent: &Agent, digest: Option<&str>) -> Result<Result<(), Refusal>, StoreError> {
    let refuse = |code, reason, detail: &str| Ok(Err(Refusal { code, reason, detail: detail.to_owned() }));
    let Some(approval) = approvals::load(tx.conn, id)? else {
        return refuse(Code::PolicyViolation, "approval: not_found", "the approval of this call is gone");
    };
    if approval.request.agent.id != agent.id || Some(approval.request.call_digest.as_str()) != digest {
        return refuse(Code::PolicyViolation, "approval: other_call", "the approval is for another call");
    }
    match approvals::apply(tx, &approval, &approval::Event::Spend, None)? {
        Ok(_) => Ok(Ok(())),
        Err(Refused::Final(State::Spent)) => refuse(
            Code::PolicyViolation,
            "approval: already_spent",
            "the approval of this call was used already; it holds once",
        ),
        Err(Refused::Final(State::Cancelled)) => refuse(
            Code::ApprovalCancelled,
            "approval: cancelled",
            "the approval was withdrawn while the call was decided",
        ),
        Err(Refused::Final(State::Rejected)) => {
            refuse(Code::ApprovalRejected, "approval: rejected", "the approval was rejected while the call was decided")
        }
        Err(Refused::Final(State::Expired | State::Lapsed)) => {
            refuse(Code::ApprovalExpired, "approval: lapsed", "the approval ran out of time while the call was decided")
        }
        Err(_) => refuse(Code::PolicyViolation, "approval: not_approved", "the approval of this call can't be spent"),
    }
}

fn nobody() -> Refusal {
    let detail = "a call without an agent can't be admitted".to_owned();
    Refusal { code: Code::GatewayUnavailable, reason: "store: no_agent", detail }
}

/// The denial that a passage becomes.
fn not_admitted(passage: Passage, why: Result<Refusal, StoreError>) -> Denial {
    match why {
        Ok(Refusal { code, reason, detail }) => passage.refuse(code, reason, detail),
        Err(error) => {
            let (reason, detail) = unavailable(&error);
            passage.refuse(Code::GatewayUnavailable, &reason, detail)
        }
    }
}

/// A store failure as the reason of a denial. The agent learns that it was ours; the operator reads the log.
fn unavailable(error: &StoreError) -> (String, &'static str) {
    (format!("store: {error}"), "the decision can't be recorded, so nothing was forwarded")
}
