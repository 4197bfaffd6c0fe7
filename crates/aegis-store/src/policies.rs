//! Policy versions: that one came into force or was refused, and the sources of those that did, so that the last good one is
//! there when the files no longer are.

use aegis_core::audit::Event;
use aegis_core::policy::Source;
use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::StoreError;
use crate::records::{Entry, json};

/// A policy version with its sources.
#[derive(Debug, Clone)]
pub struct SavedPolicy {
    /// The version.
    pub version: String,
    /// What it was made from.
    pub sources: Vec<Source>,
}

/// A source, as kept.
#[derive(Serialize, Deserialize)]
struct SavedSource {
    file: String,
    text: String,
}

impl Store {
    /// Records that a policy version came into force (`loaded`) or was refused (`refused`).
    ///
    /// # Errors
    /// The database's.
    pub async fn record_policy(&self, version: &str, change: &str, detail: &str) -> Result<(), StoreError> {
        let (policy_version, change, detail) = (version.to_owned(), change.to_owned(), detail.to_owned());
        let entry = Entry::of(&Event::Policy { policy_version, change, detail })?;
        self.write(move |tx| tx.append(&entry).map(drop)).await
    }

    /// Keeps the sources of the version that is in force now.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_policy(&self, version: &str, sources: &[Source]) -> Result<(), StoreError> {
        let saved: Vec<_> = sources
            .iter()
            .map(|Source { file, text }| SavedSource { file: file.clone(), text: text.clone() })
            .collect();
        let saved = serde_json::to_string(&saved).map_err(StoreError::encoding("policy sources"))?;
        let version = version.to_owned();
        self.write(move |tx| {
            let sql = "INSERT INTO policies (version, number, sources)
                       VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM policies), ?2)
                       ON CONFLICT (version) DO UPDATE SET number = excluded.number, sources = excluded.sources";
            tx.conn.prepare_cached(sql)?.execute((version, saved))?;
            Ok(())
        })
        .await
    }

    /// The version that came into force last, with its sources.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_policy(&self) -> Result<Option<SavedPolicy>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT version, sources FROM policies ORDER BY number DESC LIMIT 1";
            let last = conn.prepare_cached(sql)?.query_row([], |row| {
                let saved: Vec<SavedSource> = json(&row.get::<_, String>(1)?, 1)?;
                let sources = saved.into_iter().map(|SavedSource { file, text }| Source { file, text }).collect();
                Ok(SavedPolicy { version: row.get(0)?, sources })
            });
            Ok(last.optional()?)
        })
        .await
    }
}
