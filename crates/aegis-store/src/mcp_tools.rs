//! What MCP servers say of their tools, by hash. What was seen first is trusted, unless it hides something; from then on a change
//! is trusted once an operator accepts it. Every change of it is on record.

use std::collections::BTreeMap;

use aegis_core::mcp::tools::Definition;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use crate::Store;
use crate::error::StoreError;
use crate::memory::{Change, Tables};
use crate::writer::Tx;

/// The most tools that are kept of one server.
const MOST: usize = 10_000;
/// Who the gateway's own observations are recorded as.
const GATEWAY: &str = "gateway";

/// A tool of a server, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpTool {
    /// The server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// The hash of the definition that is trusted; `None` where none is yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted: Option<String>,
    /// The hash of the definition that was seen last.
    pub seen: String,
    /// What the last one hides from a human who reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hides: Option<String>,
    /// Since when it is as it was seen last.
    pub changed_at: Timestamp,
}

impl McpTool {
    /// Whether what was seen last is what is trusted.
    pub fn is_trusted(&self) -> bool {
        self.trusted.as_ref() == Some(&self.seen)
    }

    /// `trusted`, `changed` or `hides`.
    pub fn state(&self) -> &'static str {
        match (self.is_trusted(), &self.hides) {
            (true, _) => "trusted",
            (false, Some(_)) => "hides",
            (false, None) => "changed",
        }
    }
}

impl Store {
    /// A tool of a server; `None` when it was never listed.
    pub fn mcp_tool(&self, server: &str, tool: &str) -> Option<McpTool> {
        self.inner.shared.memory.read().mcp_tools.get(server)?.get(tool).cloned()
    }

    /// All tools of all servers that were ever listed, or of one server.
    pub fn mcp_tools(&self, server: Option<&str>) -> Vec<McpTool> {
        let tables = self.inner.shared.memory.read();
        let of = |(name, _): &(&String, &BTreeMap<String, McpTool>)| server.is_none_or(|server| server == *name);
        tables.mcp_tools.iter().filter(of).flat_map(|(_, tools)| tools.values()).cloned().collect()
    }

    /// Takes note of what a server lists. Only what is new or different is written.
    ///
    /// # Errors
    /// The database's; nothing of the list may be shown then.
    pub async fn see_mcp_tools(&self, server: &str, definitions: &[Definition]) -> Result<(), StoreError> {
        let news: Vec<Definition> = {
            let tables = self.inner.shared.memory.read();
            let known = tables.mcp_tools.get(server);
            let same = |one: &&Definition| {
                known.and_then(|known| known.get(&one.name)).is_some_and(|known| known.seen == one.hash)
            };
            definitions.iter().filter(|one| !same(one)).take(MOST).cloned().collect()
        };
        if news.is_empty() {
            return Ok(());
        }
        let server = server.to_owned();
        self.write(move |tx| news.iter().try_for_each(|one| see(tx, &server, one))).await
    }

    /// An operator accepts what was seen last: of one tool, or of all tools of the server. The tools that changed by that.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such tool; the database's.
    pub async fn accept_mcp_tools(
        &self,
        server: &str,
        tool: Option<&str>,
        by: &str,
    ) -> Result<Vec<McpTool>, StoreError> {
        let (server, tool, by) = (server.to_owned(), tool.map(str::to_owned), by.to_owned());
        self.write(move |tx| {
            let known: Vec<McpTool> = all(tx.conn)?
                .into_iter()
                .filter(|one| one.server == server && tool.as_ref().is_none_or(|tool| *tool == one.tool))
                .collect();
            if known.is_empty() {
                let id = tool.as_ref().map_or(server.clone(), |tool| format!("{server}/{tool}"));
                return Err(StoreError::not_found("MCP tool", &id));
            }
            let mut accepted = Vec::new();
            for mut one in known.into_iter().filter(|one| !one.is_trusted()) {
                one.trusted = Some(one.seen.clone());
                keep(tx, &one)?;
                tx.record_operation(&by, "mcp_tool_accepted", &subject(&one))?;
                accepted.push(one);
            }
            Ok(accepted)
        })
        .await
    }
}

fn subject(one: &McpTool) -> String {
    format!("{}/{} {}", one.server, one.tool, one.seen)
}

fn see(tx: &mut Tx<'_>, server: &str, one: &Definition) -> Result<(), StoreError> {
    let sql = "SELECT trusted, seen FROM mcp_tools WHERE server = ?1 AND tool = ?2";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?));
    let known = tx.conn.prepare_cached(sql)?.query_row((server, &one.name), row).optional()?;
    let hides = one.hides.map(str::to_owned);
    let (trusted, operation) = match &known {
        Some((_, seen)) if *seen == one.hash => return Ok(()),
        Some((trusted, _)) => (trusted.clone(), "mcp_tool_changed"),
        // Nothing is kept of the rest, so none of it is trusted.
        None if has_many(tx.conn, server)? => return Ok(()),
        None if hides.is_some() => (None, "mcp_tool_hides"),
        None => (Some(one.hash.clone()), "mcp_tool_seen"),
    };
    let (server, tool) = (server.to_owned(), one.name.clone());
    let now = McpTool { server, tool, trusted, seen: one.hash.clone(), hides, changed_at: tx.now };
    keep(tx, &now)?;
    tx.record_operation(GATEWAY, operation, &subject(&now))
}

/// Whether a server has listed more tools than any honest one.
fn has_many(conn: &Connection, server: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM mcp_tools WHERE server = ?1";
    let count: i64 = conn.prepare_cached(sql)?.query_row([server], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX) >= MOST)
}

fn keep(tx: &mut Tx<'_>, one: &McpTool) -> Result<(), StoreError> {
    let sql = "INSERT INTO mcp_tools (server, tool, trusted, seen, hides, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (server, tool) DO UPDATE SET trusted = excluded.trusted, seen = excluded.seen, \
               hides = excluded.hides, changed_at = excluded.changed_at";
    let values = params![one.server, one.tool, one.trusted, one.seen, one.hides, one.changed_at.as_microsecond()];
    tx.conn.prepare_cached(sql)?.execute(values)?;
    tx.change(Change::McpTool(one.clone()));
    Ok(())
}

fn all(conn: &Connection) -> Result<Vec<McpTool>, StoreError> {
    let sql = "SELECT server, tool, trusted, seen, hides, changed_at FROM mcp_tools";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let at = Timestamp::from_microsecond(row.get(5)?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Integer, error.into())
        })?;
        Ok(McpTool {
            server: row.get(0)?,
            tool: row.get(1)?,
            trusted: row.get(2)?,
            seen: row.get(3)?,
            hides: row.get(4)?,
            changed_at: at,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Fills the mirror.
pub(crate) fn remember(conn: &Connection, tables: &mut Tables) -> Result<(), StoreError> {
    all(conn)?.into_iter().for_each(|one| tables.keep_mcp_tool(one));
    Ok(())
}
