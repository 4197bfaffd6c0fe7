//! What the path of a call reads without touching the disk: agents, keys, revocations, approvals that still answer something.
//!
//! A mirror of the database: rebuilt at open, changed only by the writer thread after a commit and before the commit's
//! commands are answered, so that whoever was told of a change sees it. Decisions of admission never rest on it; they read the
//! database inside their transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aegis_core::approval::{Approval, State};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::sessions::{LONGEST_IDLE, Used};
use crate::{AgentEntry, KeyEntry, McpTool};

/// How long a request that ran out of time waits for its agent to come and be told.
const UNTOLD: SignedDuration = SignedDuration::from_hours(24);

/// Longer than any budget's window.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(32 * 24);

/// One change of the mirror, to be made once its transaction is committed.
#[derive(Debug)]
pub(crate) enum Change {
    Agent(AgentEntry),
    AgentRemoved(String),
    Key([u8; 32], KeyEntry),
    KeysOfAgentRevoked(String, Timestamp),
    Revoked(String, Timestamp),
    Approval(Box<Approval>, Option<[u8; 32]>),
    Session(String, Used),
    Forget(Timestamp),
    /// A budget's window, by its key and start, and what it holds.
    Spent(String, Timestamp, u64),
    McpTool(McpTool),
}

#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) agents: HashMap<String, AgentEntry>,
    pub(crate) keys: HashMap<[u8; 32], KeyEntry>,
    pub(crate) revoked: HashMap<String, Timestamp>,
    approvals: HashMap<String, Approval>,
    /// (agent, call digest) → the newest approval's id.
    by_call: HashMap<(String, String), String>,
    by_token: HashMap<[u8; 32], String>,
    /// Each budget's newest window: its start, and what it holds.
    spent: HashMap<String, (Timestamp, u64)>,
    pub(crate) sessions: HashMap<String, Used>,
    /// Server → tool → what is known of it.
    pub(crate) mcp_tools: BTreeMap<String, BTreeMap<String, McpTool>>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    tables: RwLock<Tables>,
    /// Told after every change that takes away what an agent was trusted with.
    withdrawals: watch::Sender<()>,
    /// Told after every change of an approval.
    approvals: watch::Sender<()>,
}

impl Memory {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        // A panic while a change was made leaves whole entries: each is one insertion or removal.
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills it at the start.
    pub(crate) fn fill<E>(&self, fill: impl FnOnce(&mut Tables) -> Result<(), E>) -> Result<(), E> {
        fill(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes changes, in order.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let withdrawn = changes.iter().any(Change::withdraws);
        let approvals = changes.iter().any(|change| matches!(change, Change::Approval(..)));
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| tables.apply(change));
        drop(tables);
        if withdrawn {
            self.withdrawals.send_replace(());
        }
        if approvals {
            self.approvals.send_replace(());
        }
    }

    /// Changes whenever an approval did, after the mirror shows it.
    pub(crate) fn approval_changes(&self) -> watch::Receiver<()> {
        self.approvals.subscribe()
    }

    /// Changes whenever an agent or a token was withdrawn, after the mirror shows it.
    pub(crate) fn withdrawals(&self) -> watch::Receiver<()> {
        self.withdrawals.subscribe()
    }
}

impl Change {
    /// Whether what was admitted before may have to end.
    fn withdraws(&self) -> bool {
        match self {
            Self::Agent(entry) => entry.suspended,
            Self::AgentRemoved(_) | Self::Revoked(..) => true,
            Self::Key(..) | Self::KeysOfAgentRevoked(..) | Self::Approval(..) | Self::Forget(_) | Self::Spent(..) => {
                false
            }
            Self::Session(..) | Self::McpTool(_) => false,
        }
    }
}

impl Tables {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Agent(entry) => drop(self.agents.insert(entry.id.clone(), entry)),
            Change::AgentRemoved(id) => drop(self.agents.remove(&id)),
            Change::Key(hash, entry) => drop(self.keys.insert(hash, entry)),
            Change::KeysOfAgentRevoked(agent, at) => {
                let keys = self.keys.values_mut().filter(|key| key.agent == agent && key.revoked_at.is_none());
                keys.for_each(|key| key.revoked_at = Some(at));
            }
            Change::Revoked(jti, expires_at) => drop(self.revoked.insert(jti, expires_at)),
            Change::Approval(approval, token) => self.keep(*approval, token),
            Change::Session(agent, used) => drop(self.sessions.insert(agent, used)),
            Change::Forget(now) => self.forget(now),
            Change::Spent(key, since, spent) => self.spend(key, since, spent),
            Change::McpTool(one) => self.keep_mcp_tool(one),
        }
    }

    pub(crate) fn keep_mcp_tool(&mut self, one: McpTool) {
        self.mcp_tools.entry(one.server.clone()).or_default().insert(one.tool.clone(), one);
    }

    fn keep(&mut self, approval: Approval, token: Option<[u8; 32]>) {
        let id = approval.id.clone();
        if let Some(hash) = token {
            self.by_token.insert(hash, id.clone());
        }
        if !self.approvals.contains_key(&id) {
            let call = (approval.request.agent.id.clone(), approval.request.call_digest.clone());
            self.by_call.insert(call, id.clone());
        }
        self.approvals.insert(id, approval);
    }

    fn forget(&mut self, now: Timestamp) {
        self.sessions.retain(|_, used| now.duration_since(used.last) < LONGEST_IDLE);
        self.revoked.retain(|_, expires_at| now < *expires_at);
        let month_ago = now.saturating_sub(LONGEST_WINDOW).unwrap_or(now);
        self.spent.retain(|_, newest| month_ago < newest.0);
        self.approvals.retain(|_, approval| still_answers(approval, now));
        self.by_call.retain(|_, id| self.approvals.contains_key(id));
        self.by_token.retain(|_, id| self.approvals.contains_key(id));
    }

    fn spend(&mut self, key: String, since: Timestamp, spent: u64) {
        let newest = self.spent.entry(key).or_insert((since, spent));
        if newest.0 <= since {
            *newest = (since, spent);
        }
    }

    /// What the window that starts at `since` holds.
    pub(crate) fn spent(&self, key: &str, since: Timestamp) -> u64 {
        self.spent.get(key).filter(|newest| newest.0 == since).map_or(0, |newest| newest.1)
    }

    pub(crate) fn approval_for(&self, agent: &str, call_digest: &str) -> Option<&Approval> {
        if self.by_call.is_empty() {
            return None;
        }
        let id = self.by_call.get(&(agent.to_owned(), call_digest.to_owned()))?;
        self.approvals.get(id)
    }

    pub(crate) fn approval_by_id(&self, id: &str) -> Option<&Approval> {
        self.approvals.get(id)
    }

    pub(crate) fn approval_by_token(&self, hash: &[u8; 32]) -> Option<&Approval> {
        self.approvals.get(self.by_token.get(hash)?)
    }
}

/// Whether a call that comes at `now` could be answered differently because of this approval.
pub(crate) fn still_answers(approval: &Approval, now: Timestamp) -> bool {
    let until = approval.request.expires_at;
    match approval.state {
        State::Expired | State::Lapsed if approval.told => false,
        State::Pending | State::Approved | State::Expired | State::Lapsed => {
            now < until.saturating_add(UNTOLD).unwrap_or(until)
        }
        State::Rejected | State::Cancelled | State::Spent => now < until,
    }
}
