//! A human's answer as a state machine: `apply(approval, event, now)`, pure, so that every order of events can be tested.
//!
//! pending → approved → spent, or → rejected | expired | cancelled; an approval that nobody spends in time lapses.
//! An approval is bound to one agent and to the digest of exactly what would run.

mod terms;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use terms::{ApprovalTerms, Requirement, Vote};

use crate::agent::Agent;
use crate::problem::{ApprovalInfo, Violation};

/// What a human is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub agent: Agent,
    /// Tool.
    pub tool: String,
    /// Action.
    pub action: String,
    /// Environment of the target.
    pub env: String,
    /// Where in the tool the call points.
    pub target: BTreeMap<String, String>,
    /// The parameters that will run: the approver sees what is approved.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Digest of exactly what would run.
    pub call_digest: String,
    /// The rules that ask.
    pub violations: Vec<Violation>,
    /// Who has to say yes; none is any one operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Requirement>,
    /// The version of the policy that asks.
    pub policy_version: String,
    /// The decision that asked first.
    pub decision_id: String,
    /// When.
    pub requested_at: Timestamp,
    /// Until when it may be decided and spent.
    pub expires_at: Timestamp,
}

/// A request and what has become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// `apr_…`
    pub id: String,
    /// What is asked.
    pub request: Request,
    /// What has become of it.
    pub state: State,
    /// How often the same call has asked.
    pub asked: u64,
    /// Who has said yes so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// Who decided, once somebody has; the last one needed, where several had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// What the human said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the agent has been told that it ran out of time: it is told once, and the next same call asks anew.
    #[serde(default)]
    pub told: bool,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for a human.
    Pending,
    /// A human said yes; not yet spent.
    Approved,
    /// A human said no.
    Rejected,
    /// Nobody answered in time.
    Expired,
    /// Withdrawn.
    Cancelled,
    /// Used by the one call it was for.
    Spent,
    /// Approved, and not used in time.
    Lapsed,
}

impl State {
    /// Every state there is.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Approved, Self::Rejected, Self::Expired, Self::Cancelled, Self::Spent, Self::Lapsed];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Spent => "spent",
            Self::Lapsed => "lapsed",
        }
    }
}

/// What can happen to an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The same call asks again.
    AskedAgain,
    /// A human says yes.
    Approve {
        /// Who.
        by: String,
        /// Why.
        comment: Option<String>,
    },
    /// A human says no.
    Reject {
        /// Who.
        by: String,
        /// Why.
        comment: Option<String>,
    },
    /// It is withdrawn.
    Cancel {
        /// By whom.
        by: String,
        /// Why.
        comment: Option<String>,
    },
    /// The call that it is for is admitted.
    Spend,
    /// Time has passed.
    Tick,
    /// The agent has been told that it ran out of time.
    Told,
}

/// Why an event doesn't apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is already decided, spent or over.
    #[error("the approval is {}, it can't be changed any more", .0.as_str())]
    Final(State),
    /// It waits for a human.
    #[error("the approval is still pending")]
    Pending,
    /// It has not run out of time.
    #[error("the approval is {}, it has not run out of time", .0.as_str())]
    InTime(State),
    /// The one who asks can't be the one who approves.
    #[error("{0} asked for this call, so {0} can't decide it")]
    OwnRequest(String),
    /// The policy asks others.
    #[error("the policy asks others about this call: {0}")]
    NotAsked(String),
    /// Several people are asked, and one person is one.
    #[error("{0} has approved this call already; others have to as well")]
    VotedAlready(String),
}

impl Approval {
    /// Whether it still answers the call that it is for at `now`, so that no new one may be opened beside it: it waits, it can
    /// be spent, or a human's no still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.request.expires_at
            && matches!(self.state, State::Pending | State::Approved | State::Rejected | State::Cancelled)
    }

    /// Whether those who said yes are all whom `requirements` ask: what the policies demand may have grown since.
    pub fn suffices(&self, requirements: &[Requirement]) -> bool {
        requirements.iter().all(|one| one.is_met(&self.votes))
    }

    /// Whether the request puts before humans all that `requirements` ask.
    pub fn covers(&self, requirements: &[Requirement]) -> bool {
        requirements.iter().all(|one| self.request.requirements.contains(one))
    }

    /// A new request.
    pub fn open(id: String, request: Request) -> Self {
        Self {
            id,
            request,
            state: State::Pending,
            asked: 1,
            votes: Vec::new(),
            decided_by: None,
            decided_at: None,
            comment: None,
            told: false,
        }
    }

    /// What the agent is told of it.
    pub fn info(&self, url: Option<String>) -> ApprovalInfo {
        ApprovalInfo {
            id: self.id.clone(),
            status: self.state.as_str().to_owned(),
            expires_at: self.request.expires_at,
            url,
        }
    }
}

/// Applies an event. Time is applied first: what has run out can't be approved or spent any more.
///
/// # Errors
/// Why the event doesn't apply; the approval stays as time has left it.
pub fn apply(approval: &Approval, event: &Event, now: Timestamp) -> Result<Approval, Refused> {
    let mut next = approval.clone();
    if now >= next.request.expires_at {
        next.state = match next.state {
            State::Pending => State::Expired,
            State::Approved => State::Lapsed,
            other => other,
        };
    }
    match event {
        Event::Tick => {}
        Event::Approve { by, comment } => {
            if next.state == State::Pending {
                vote(&mut next, by, now)?;
            }
            if next.state != State::Pending || next.suffices(&next.request.requirements) {
                decide(&mut next, State::Approved, by, comment, now)?;
            }
        }
        Event::Reject { by, comment } => {
            if next.state == State::Pending {
                asked(&next, by)?;
            }
            decide(&mut next, State::Rejected, by, comment, now)?;
        }
        Event::Cancel { by, comment } => match next.state {
            State::Pending | State::Approved => {
                next.state = State::Cancelled;
                next.decided_by = Some(by.clone());
                next.decided_at = Some(now);
                next.comment.clone_from(comment);
            }
            state => return Err(Refused::Final(state)),
        },
        Event::AskedAgain => match next.state {
            State::Pending => next.asked += 1,
            state => return Err(Refused::Final(state)),
        },
        Event::Spend => match next.state {
            State::Approved => next.state = State::Spent,
            State::Pending => return Err(Refused::Pending),
            state => return Err(Refused::Final(state)),
        },
        Event::Told => match next.state {
            State::Expired | State::Lapsed => next.told = true,
            state => return Err(Refused::InTime(state)),
        },
    }
    Ok(next)
}

/// Whether `by` may have a say at all.
fn asked(approval: &Approval, by: &str) -> Result<(), Refused> {
    let Request { agent, requirements, .. } = &approval.request;
    if agent.id == by || agent.chain.iter().any(|caller| caller == by) {
        return Err(Refused::OwnRequest(by.to_owned()));
    }
    if requirements.is_empty() || requirements.iter().any(|one| one.names(by)) {
        return Ok(());
    }
    let people: Vec<&str> = requirements.iter().flat_map(|one| &one.approvers).map(String::as_str).collect();
    Err(Refused::NotAsked(people.join(", ")))
}

fn vote(approval: &mut Approval, by: &str, now: Timestamp) -> Result<(), Refused> {
    asked(approval, by)?;
    if approval.votes.iter().any(|vote| vote.by == by) {
        return Err(Refused::VotedAlready(by.to_owned()));
    }
    approval.votes.push(Vote { by: by.to_owned(), at: now });
    Ok(())
}

fn decide(
    approval: &mut Approval,
    state: State,
    by: &str,
    comment: &Option<String>,
    now: Timestamp,
) -> Result<(), Refused> {
    if approval.state != State::Pending {
        return Err(Refused::Final(approval.state));
    }
    approval.state = state;
    approval.decided_by = Some(by.to_owned());
    approval.decided_at = Some(now);
    approval.comment.clone_from(comment);
    Ok(())
}

#[cfg(test)]
mod tests;
