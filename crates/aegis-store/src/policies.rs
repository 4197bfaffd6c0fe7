//! Policy versions: what each is made of, which one is in force, and that it came so.
//!
//! A version is named by what its content means, and that never changes. The state (what is in force, what is tried beside it) is one row,
//! and changes in one transaction with the versions that it names and the records of the change: a crash leaves the old
//! state or the new one, whole, and no state names a version that isn't there. Deliberately absent: what policies mean.

use aegis_core::audit::Event;
use aegis_core::policy::Risk;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::StoreError;
use crate::records::{Entry, json, optional_time, time};
use crate::writer::Tx;

/// How many versions are kept besides those that the state names.
const KEPT: u32 = 100;

/// How a version was made, or came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Read from the folder of policies.
    Folder,
    /// Published by an operator.
    Published,
    /// Fetched from a bundle's URL.
    BundleUrl,
    /// An operator went back to it.
    Rollback,
    /// An operator switched a policy's mode.
    Mode,
    /// It was tried on a share of agents or calls, and promoted.
    Canary,
    /// It was watched on live calls, and promoted.
    Candidate,
}

impl Origin {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Published => "published",
            Self::BundleUrl => "bundle-url",
            Self::Rollback => "rollback",
            Self::Mode => "mode",
            Self::Canary => "canary",
            Self::Candidate => "candidate",
        }
    }
}

/// What is told of a version besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// How it was made.
    pub origin: Origin,
    /// Who wrote it.
    pub author: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How much it can break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// How many policies it has.
    pub policies: usize,
}

/// A version to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Its name, by its content: `pol_…`.
    pub version: String,
    /// When it was made; of one that is kept already, the first time counts.
    pub created_at: Timestamp,
    /// What is told of it.
    pub about: About,
    /// What it is made of.
    pub archive: Vec<u8>,
}

/// A version, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Its name, by its content: `pol_…`.
    pub version: String,
    /// When it was made, or first kept.
    pub created_at: Timestamp,
    /// When it last came into force; `None` if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// What is told of it.
    #[serde(flatten)]
    pub about: About,
}

/// That a version came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Which.
    pub version: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// From where.
    pub origin: Origin,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A version that judges a part of the calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub version: String,
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
    /// Which calls.
    pub of: TrialOf,
}

/// Which calls a version on trial judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOf {
    /// Those of these agents, and of the agents in these groups.
    Named {
        /// Agents.
        #[serde(default)]
        agents: Vec<String>,
        /// Groups.
        #[serde(default)]
        groups: Vec<String>,
    },
    /// Those of a share of the agents: always the same ones while the trial lasts.
    ShareOfAgents {
        /// 0 to 1.
        share: f64,
        /// Which ones is drawn by it; an agent can't choose a name that is drawn.
        key: String,
    },
    /// A share of all calls.
    ShareOfCalls {
        /// 0 to 1.
        share: f64,
    },
}

/// What is in force, and what is tried beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyState {
    /// In force; `None` until something ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Activation>,
    /// In force before that: what a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Judges a part of the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Trial>,
    /// Asked about the same calls, and never obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Digest of the folder's (or the bundle URL's) content when it was last taken: it is taken again once it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
}

impl PolicyState {
    /// The versions that it names.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let active = self.active.as_ref().map(|active| active.version.as_str());
        let canary = self.canary.as_ref().map(|canary| canary.version.as_str());
        [active, self.previous.as_deref(), canary, self.candidate.as_deref()].into_iter().flatten()
    }
}

impl Store {
    /// Keeps versions, changes the state and records both, in one transaction. Of a version that is kept already only
    /// what it is made of is exchanged, which means the same. Versions beyond the newest hundred go, but none that the state
    /// names.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the state names a version that isn't kept, or the database's; nothing is changed then.
    pub async fn change_policies(
        &self,
        keep: Vec<NewVersion>,
        state: PolicyState,
        records: Vec<Event>,
    ) -> Result<(), StoreError> {
        let records = records.iter().map(Entry::of).collect::<Result<Vec<_>, _>>()?;
        let body = serde_json::to_string(&state).map_err(StoreError::encoding("the state of the policies"))?;
        self.write(move |tx| {
            for version in &keep {
                insert(tx, version)?;
            }
            for version in state.versions() {
                if !tx.conn.prepare_cached("SELECT 1 FROM policy_versions WHERE version = ?1")?.exists([version])? {
                    return Err(StoreError::not_found("policy version", version));
                }
            }
            if let Some(active) = &state.active {
                let sql = "UPDATE policy_versions SET activated_at = ?2 WHERE version = ?1";
                tx.conn.prepare_cached(sql)?.execute((&active.version, active.at.as_microsecond()))?;
            }
            let sql = "INSERT INTO policy_state (id, body) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
            tx.conn.prepare_cached(sql)?.execute([body])?;
            prune(tx, &state)?;
            records.iter().try_for_each(|entry| tx.append(entry).map(drop))
        })
        .await
    }

    /// What is in force.
    ///
    /// # Errors
    /// The database's.
    pub async fn policy_state(&self) -> Result<PolicyState, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT body FROM policy_state WHERE id = 1")?;
            let body: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
            body.map_or(Ok(PolicyState::default()), |body| {
                serde_json::from_str(&body).map_err(StoreError::encoding("the state of the policies"))
            })
        })
        .await
    }

    /// The versions that are kept, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn policy_versions(&self) -> Result<Vec<PolicyVersion>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(&format!("{VERSION} ORDER BY number DESC"))?;
            Ok(statement.query_map([], version)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A version and what it is made of.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the database's.
    pub async fn policy_version(&self, id: &str) -> Result<(PolicyVersion, Vec<u8>), StoreError> {
        let id = id.to_owned();
        self.read(move |conn| {
            let found = version_of(conn, &id)?;
            let archive = conn
                .prepare_cached("SELECT archive FROM policy_versions WHERE version = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            found.zip(archive).ok_or_else(|| StoreError::not_found("policy version", &id))
        })
        .await
    }

    /// Records that a policy version was refused, or something else that changes nothing here.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_policy(&self, version: &str, change: &str, detail: &str) -> Result<(), StoreError> {
        let (policy_version, change, detail) = (version.to_owned(), change.to_owned(), detail.to_owned());
        let entry = Entry::of(&Event::Policy { policy_version, change, detail })?;
        self.write(move |tx| tx.append(&entry).map(drop)).await
    }
}

fn insert(tx: &Tx<'_>, new: &NewVersion) -> Result<(), StoreError> {
    let about = serde_json::to_string(&new.about).map_err(StoreError::encoding("a policy version"))?;
    let sql = "INSERT INTO policy_versions (version, created_at, about, archive) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (version) DO UPDATE SET archive = excluded.archive";
    tx.conn.prepare_cached(sql)?.execute((&new.version, new.created_at.as_microsecond(), about, &new.archive))?;
    Ok(())
}

fn prune(tx: &Tx<'_>, state: &PolicyState) -> Result<(), StoreError> {
    let named: Vec<&str> = state.versions().collect();
    let named = serde_json::to_string(&named).map_err(StoreError::encoding("the state of the policies"))?;
    let sql = "DELETE FROM policy_versions WHERE version NOT IN (SELECT value FROM json_each(?1))
               AND number NOT IN (SELECT number FROM policy_versions ORDER BY number DESC LIMIT ?2)";
    tx.conn.prepare_cached(sql)?.execute((named, KEPT))?;
    Ok(())
}

const VERSION: &str = "SELECT version, created_at, activated_at, about FROM policy_versions";

fn version_of(conn: &Connection, id: &str) -> Result<Option<PolicyVersion>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{VERSION} WHERE version = ?1"))?;
    Ok(statement.query_row([id], version).optional()?)
}

fn version(row: &Row<'_>) -> rusqlite::Result<PolicyVersion> {
    let about: String = row.get(3)?;
    Ok(PolicyVersion {
        version: row.get(0)?,
        created_at: time(row, 1)?,
        activated_at: optional_time(row, 2)?,
        about: json(&about, 3)?,
    })
}
