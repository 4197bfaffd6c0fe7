//! Opens the database: settings, the check that it is whole, the schema and its migrations.
//!
//! Invariant: nothing is written before it is known that the file is ours, whole, and not newer than this binary.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Durability;
use crate::error::StoreError;

/// `PRAGMA application_id`: "AEGI". Another program's database is refused.
const APPLICATION_ID: i64 = 0x4145_4749;

/// Databases up to this size are checked whole at every start; it keeps the start under 200 ms. Of larger ones every table but
/// the log is.
const CHECK_WHOLE: i64 = 16 << 20;

/// The schema, one step per version; a step that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0006_budgets.sql"),
    include_str!("schema/0004_shadow.sql"),
    include_str!("schema/0002_policy_versions.sql"),
    include_str!("schema/0003_sessions.sql"),
    include_str!("schema/0005_traffic.sql"),
    include_str!("schema/0007_mcp_tools.sql"),
];

/// The tables that a start depends on, small enough to be checked every time; those that the database has so far.
const SMALL_TABLES: &[&str] = &[
    "agents",
    "keys",
    "revocations",
    "approvals",
    "unsettled",
    "budgets",
    "charges",
    "policy_state",
    "policy_versions",
    "sessions",
    "mcp_tools",
];

/// Opens the connection that writes.
pub(crate) fn open(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    let damaged = |error: StoreError| as_corrupt(error, path);
    check(&conn, path).map_err(damaged)?;
    configure(&conn, durability).map_err(damaged)?;
    migrate(&mut conn).map_err(damaged)?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(conn)
}

fn configure(conn: &Connection, durability: Durability) -> Result<(), StoreError> {
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // FULL syncs the log at every commit; NORMAL at checkpoints only, which keeps the database whole but may lose the last
    // transactions when the power goes.
    let synchronous = match durability {
        Durability::Commit => "FULL",
        Durability::Buffered => "NORMAL",
    };
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // A checkpoint every 4 MiB: a call that waits for one waits less than for a rarer, larger one, and a start replays it
    // quickly.
    conn.pragma_update(None, "wal_autocheckpoint", 1000)?;
    conn.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    Ok(())
}

fn check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt { path: path.to_owned(), detail };
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma("user_version")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let application = pragma("application_id")?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found == 0 && application == 0 && tables == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(corrupt("it is a database of another program".to_owned()));
    }
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let whole = pragma("page_count")? * pragma("page_size")? <= CHECK_WHOLE;
    let mut findings = Vec::new();
    if whole {
        findings.push(quick_check(conn, "1")?);
        let gaps: bool =
            conn.query_row("SELECT count(*) <> coalesce(max(seq), 0) FROM records", [], |row| row.get(0))?;
        if gaps {
            return Err(corrupt("records are missing from the log".to_owned()));
        }
    } else {
        for table in SMALL_TABLES {
            // One that a migration is about to make isn't there yet.
            if conn.table_exists(None, *table)? {
                findings.push(quick_check(conn, table)?);
            }
        }
    }
    match findings.into_iter().find(|finding| finding != "ok") {
        Some(finding) => Err(corrupt(finding)),
        None => Ok(()),
    }
}

/// `argument`: the number of findings to stop at, or the table to look at.
fn quick_check(conn: &Connection, argument: &str) -> Result<String, StoreError> {
    Ok(conn.query_row(&format!("PRAGMA quick_check({argument})"), [], |row| row.get(0))?)
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let done: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let steps = MIGRATIONS.iter().zip(1_i64..).filter(|(_, version)| *version > done);
    for (step, version) in steps {
        let tx = conn.transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

fn as_corrupt(error: StoreError, path: &Path) -> StoreError {
    match &error {
        StoreError::Database(inner)
            if matches!(inner.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
        {
            StoreError::Corrupt { path: path.to_owned(), detail: inner.to_string() }
        }
        _ => error,
    }
}
