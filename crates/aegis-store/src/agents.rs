//! Who may come: agents, their API keys, and the tokens that were revoked.
//!
//! Invariants: every change is recorded with who made it; a removed agent leaves a tombstone, so that nothing that was issued
//! to it works for a later agent of the same name. Deliberately absent: tokens and keys themselves; of a key only a hash is kept.

use aegis_core::agent::{Agent, valid_name};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::memory::{Change, Tables};
use crate::records::{json, optional_time, time};
use crate::{Store, approvals};

/// A registered agent, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEntry {
    /// Name.
    pub id: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Whether it is suspended: every call of it is refused at once.
    pub suspended: bool,
    /// When it was added; no two agents of one name have the same, so that it tells their tokens apart.
    pub created_at: Timestamp,
}

/// An API key, as kept: never the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Its public name.
    pub id: String,
    /// Whose it is.
    pub agent: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Until when it is good; `None`: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Since when it isn't good any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl KeyEntry {
    /// Whether it is good at `now`: neither revoked nor expired.
    pub fn good_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl Store {
    /// A registered agent.
    pub fn agent(&self, id: &str) -> Option<AgentEntry> {
        self.inner.shared.memory.read().agents.get(id).cloned()
    }

    /// All registered agents, by name.
    pub fn agents(&self) -> Vec<AgentEntry> {
        let mut agents: Vec<_> = self.inner.shared.memory.read().agents.values().cloned().collect();
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        agents
    }

    /// Registers an agent.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Exists`], or the database's.
    pub async fn add_agent(&self, id: &str, groups: Vec<String>, by: &str) -> Result<AgentEntry, StoreError> {
        if let Some(bad) = std::iter::once(id).chain(groups.iter().map(String::as_str)).find(|name| !valid_name(name)) {
            return Err(StoreError::BadName(bad.to_owned()));
        }
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write(move |tx| {
            let tombstone = tx.conn.prepare_cached("SELECT removed_at FROM agents WHERE id = ?1")?;
            let removed_at = { tombstone }.query_row([&id], |row| optional_time(row, 0)).optional()?;
            let created_at = match removed_at {
                Some(None) => return Err(StoreError::Exists { kind: "agent", id }),
                // After the removed agent's time, even where the clock has gone back.
                Some(Some(removed_at)) => {
                    tx.now.max(removed_at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(removed_at))
                }
                None => tx.now,
            };
            let entry = AgentEntry { id, groups, suspended: false, created_at };
            let groups = serde_json::to_string(&entry.groups).map_err(StoreError::encoding("groups"))?;
            let sql = "INSERT INTO agents (id, groups, suspended, created_at) VALUES (?1, ?2, 0, ?3)
                       ON CONFLICT (id) DO UPDATE SET groups = excluded.groups, suspended = 0, removed_at = NULL,
                         created_at = excluded.created_at";
            tx.conn.prepare_cached(sql)?.execute((&entry.id, groups, entry.created_at.as_microsecond()))?;
            tx.record_operation(&by, "agent.add", &entry.id)?;
            tx.change(Change::Agent(entry.clone()));
            Ok(entry)
        })
        .await
    }

    /// Suspends an agent: the kill switch. Once this returns, no call of it is admitted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the database's.
    pub async fn suspend_agent(&self, id: &str, by: &str) -> Result<AgentEntry, StoreError> {
        self.set_suspended(id, true, "agent.suspend", by).await
    }

    /// Ends a suspension.
    ///
    /// # Errors
    /// As [`Store::suspend_agent`].
    pub async fn resume_agent(&self, id: &str, by: &str) -> Result<AgentEntry, StoreError> {
        self.set_suspended(id, false, "agent.resume", by).await
    }

    async fn set_suspended(
        &self,
        id: &str,
        suspended: bool,
        operation: &'static str,
        by: &str,
    ) -> Result<AgentEntry, StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write(move |tx| {
            let entry = AgentEntry { suspended, ..load(tx.conn, &id)? };
            tx.conn.prepare_cached("UPDATE agents SET suspended = ?1 WHERE id = ?2")?.execute((suspended, &id))?;
            tx.record_operation(&by, operation, &id)?;
            tx.change(Change::Agent(entry.clone()));
            Ok(entry)
        })
        .await
    }

    /// Removes an agent: its keys are revoked, its requests withdrawn, its tokens worthless even if the name is added again.
    ///
    /// # Errors
    /// As [`Store::suspend_agent`].
    pub async fn remove_agent(&self, id: &str, by: &str) -> Result<AgentEntry, StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write(move |tx| {
            let entry = load(tx.conn, &id)?;
            let now = tx.now.as_microsecond();
            tx.conn.prepare_cached("UPDATE agents SET removed_at = ?1 WHERE id = ?2")?.execute((now, &id))?;
            let sql = "UPDATE keys SET revoked_at = ?1 WHERE agent = ?2 AND revoked_at IS NULL";
            tx.conn.prepare_cached(sql)?.execute((now, &id))?;
            approvals::cancel_all_of(tx, &id, &by)?;
            tx.record_operation(&by, "agent.remove", &id)?;
            tx.change(Change::AgentRemoved(id.clone()));
            tx.change(Change::KeysOfAgentRevoked(id, tx.now));
            Ok(entry)
        })
        .await
    }

    /// Adds an API key of an agent: `id` is its public name, `hash` the SHA-256 of the key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the agent, [`StoreError::Exists`] for the id or hash, or the database's.
    pub async fn add_key(
        &self,
        agent: &str,
        hash: [u8; 32],
        id: &str,
        expires_at: Option<Timestamp>,
        by: &str,
    ) -> Result<KeyEntry, StoreError> {
        let (agent, id, by) = (agent.to_owned(), id.to_owned(), by.to_owned());
        self.write(move |tx| {
            load(tx.conn, &agent)?;
            let entry = KeyEntry { id, agent, created_at: tx.now, expires_at, revoked_at: None };
            if tx.conn.prepare_cached("SELECT 1 FROM keys WHERE id = ?1 OR hash = ?2")?.exists((&entry.id, hash))? {
                return Err(StoreError::Exists { kind: "key", id: entry.id });
            }
            let sql = "INSERT INTO keys (id, agent, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            let expires = entry.expires_at.map(|at| at.as_microsecond());
            tx.conn.prepare_cached(sql)?.execute((&entry.id, &entry.agent, hash, tx.now.as_microsecond(), expires))?;
            tx.record_operation(&by, "key.add", &format!("{} of {}", entry.id, entry.agent))?;
            tx.change(Change::Key(hash, entry.clone()));
            Ok(entry)
        })
        .await
    }

    /// Revokes an API key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none or it is revoked already, or the database's.
    pub async fn revoke_key(&self, id: &str, by: &str) -> Result<KeyEntry, StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write(move |tx| {
            let sql = "SELECT id, agent, created_at, expires_at, revoked_at, hash FROM keys WHERE id = ?1 AND revoked_at IS NULL";
            let found = tx.conn.prepare_cached(sql)?.query_row([&id], |row| Ok((key(row)?, row.get(5)?))).optional()?;
            let Some((entry, hash)) = found else { return Err(StoreError::not_found("key", &id)) };
            let entry = KeyEntry { revoked_at: Some(tx.now), ..entry };
            let now = tx.now.as_microsecond();
            tx.conn.prepare_cached("UPDATE keys SET revoked_at = ?1 WHERE id = ?2")?.execute((now, &id))?;
            tx.record_operation(&by, "key.revoke", &format!("{id} of {}", entry.agent))?;
            tx.change(Change::Key(hash, entry.clone()));
            Ok(entry)
        })
        .await
    }

    /// The API keys of an agent (of all, if `None`), oldest first, revoked ones included.
    pub fn keys(&self, agent: Option<&str>) -> Vec<KeyEntry> {
        let memory = self.inner.shared.memory.read();
        let of_agent = |key: &&KeyEntry| agent.is_none_or(|agent| key.agent == agent);
        let mut keys: Vec<_> = memory.keys.values().filter(of_agent).cloned().collect();
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        keys
    }

    /// The API key with this SHA-256, revoked and expired ones included: see [`KeyEntry::good_at`].
    pub fn key_by_hash(&self, hash: &[u8; 32]) -> Option<KeyEntry> {
        self.inner.shared.memory.read().keys.get(hash).cloned()
    }

    /// Revokes a token by its `jti`; remembered until a little after it expires.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_token(&self, jti: &str, expires_at: Timestamp, by: &str) -> Result<(), StoreError> {
        // Whoever checks expiry may allow for a clock that is a little off.
        let until = expires_at.saturating_add(SignedDuration::from_mins(5)).unwrap_or(expires_at);
        let (jti, by) = (jti.to_owned(), by.to_owned());
        self.write(move |tx| {
            let sql = "INSERT INTO revocations (jti, expires_at) VALUES (?1, ?2)
                       ON CONFLICT (jti) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)";
            tx.conn.prepare_cached(sql)?.execute((&jti, until.as_microsecond()))?;
            tx.record_operation(&by, "token.revoke", &jti)?;
            tx.change(Change::Revoked(jti, until));
            Ok(())
        })
        .await
    }

    /// Whether a token was revoked.
    pub fn is_revoked(&self, jti: &str) -> bool {
        self.inner.shared.memory.read().revoked.contains_key(jti)
    }

    /// Ends once `agent` may act no longer: it, a caller in its chain, or its token was suspended, removed or revoked.
    ///
    /// [`Store::admit`] judges this once; what runs on after it (a body, an upgrade, a tunnel) has to wait for it.
    pub async fn withdrawn(&self, agent: &Agent) {
        let mut withdrawals = self.inner.shared.memory.withdrawals();
        // An agent that was removed and added again meanwhile is another one.
        let registered = self.agent(&agent.id).map(|entry| entry.created_at);
        loop {
            let entry = self.agent(&agent.id).filter(|entry| Some(entry.created_at) == registered);
            let suspended_caller = agent.chain.iter().any(|id| self.agent(id).is_some_and(|caller| caller.suspended));
            let revoked = agent.token_id.as_deref().is_some_and(|jti| self.is_revoked(jti));
            if entry.is_none_or(|entry| entry.suspended) || suspended_caller || revoked {
                return;
            }
            if withdrawals.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Fills the mirror.
pub(crate) fn remember(conn: &Connection, tables: &mut Tables) -> Result<(), StoreError> {
    let mut statement = conn.prepare(&format!("{AGENT} WHERE removed_at IS NULL"))?;
    for entry in statement.query_map([], agent)? {
        tables.apply(Change::Agent(entry?));
    }
    let mut statement = conn.prepare("SELECT id, agent, created_at, expires_at, revoked_at, hash FROM keys")?;
    for entry in statement.query_map([], |row| Ok((row.get(5)?, key(row)?)))? {
        let (hash, entry) = entry?;
        tables.apply(Change::Key(hash, entry));
    }
    let mut statement = conn.prepare("SELECT jti, expires_at FROM revocations")?;
    for revocation in statement.query_map([], |row| Ok((row.get(0)?, time(row, 1)?)))? {
        let (jti, expires_at) = revocation?;
        tables.apply(Change::Revoked(jti, expires_at));
    }
    Ok(())
}

const AGENT: &str = "SELECT id, groups, suspended, created_at FROM agents";

fn load(conn: &Connection, id: &str) -> Result<AgentEntry, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{AGENT} WHERE id = ?1 AND removed_at IS NULL"))?;
    statement.query_row([id], agent).optional()?.ok_or_else(|| StoreError::not_found("agent", id))
}

fn agent(row: &Row<'_>) -> rusqlite::Result<AgentEntry> {
    let groups: String = row.get(1)?;
    Ok(AgentEntry {
        id: row.get(0)?,
        groups: json(&groups, 1)?,
        suspended: row.get(2)?,
        created_at: time(row, 3)?,
    })
}

fn key(row: &Row<'_>) -> rusqlite::Result<KeyEntry> {
    Ok(KeyEntry {
        id: row.get(0)?,
        agent: row.get(1)?,
        created_at: time(row, 2)?,
        expires_at: optional_time(row, 3)?,
        revoked_at: optional_time(row, 4)?,
    })
}
