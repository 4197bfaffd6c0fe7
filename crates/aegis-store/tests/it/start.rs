//! What it takes to start, and what keeps it from starting.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use aegis_store::{Durability, Store, StoreError};

use crate::calls::permit;
use crate::opened;

fn refused(dir: &Path) -> StoreError {
    Store::open(dir, Durability::Commit).map(drop).expect_err("must not start")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn what_is_made_is_for_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("new/aegis-data");
    let started = Instant::now();
    let store = Store::open(&data, Durability::Commit).expect("opens");
    println!("a fresh store was ready after {:?}", started.elapsed());
    store.record_operation("operator", "test", "x").await.expect("records");
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).expect("lists") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn one_process_holds_it() {
    let (dir, store) = opened().await;
    let error = refused(dir.path());
    let pid = std::process::id().to_string();
    assert!(matches!(&error, StoreError::Held { holder, .. } if *holder == pid), "{error}");
    store.close().await;
    Store::open(dir.path(), Durability::Commit).expect("free again").close().await;
    assert!(matches!(store.record_operation("operator", "test", "x").await, Err(StoreError::Closed)));
    let denial = store.admit(permit("dec_1"), 0.1).await.expect_err("closed");
    assert_eq!(denial.explanation().reason, "store: the store is closed");
}

/// A file that is damaged in a way of `damage` refuses to start and is left as it is.
async fn damaged(damage: impl FnOnce(&Path)) -> StoreError {
    let (dir, store) = opened().await;
    for n in 0..200 {
        let _ = store.admit(permit(&format!("dec_{n}")), 0.1).await.expect("admitted").redeem();
    }
    store.close().await;
    let file = dir.path().join("aegis.db");
    damage(&file);
    let before = fs::read(&file).unwrap_or_default();
    let error = refused(dir.path());
    assert_eq!(fs::read(&file).unwrap_or_default(), before, "left as it is");
    error
}

fn overwrite(file: &Path, from: usize, to: usize) {
    let mut bytes = fs::read(file).expect("reads");
    let end = to.min(bytes.len());
    bytes[from..end].fill(0x5a);
    fs::write(file, bytes).expect("writes");
}

#[tokio::test]
async fn a_damaged_database_refuses_to_start_and_says_what_to_do() {
    let errors = [
        damaged(|file| overwrite(file, 0, 100)).await,
        damaged(|file| overwrite(file, 100, 4096)).await,
        damaged(|file| overwrite(file, 5 * 4096, 9 * 4096)).await,
        damaged(|file| {
            fs::write(file, "not a database at all, only some text that stands in its place").expect("writes")
        })
        .await,
        damaged(|file| {
            let length = fs::metadata(file).expect("there").len();
            fs::File::options().write(true).open(file).and_then(|file| file.set_len(length / 2)).expect("cuts");
        })
        .await,
        damaged(|file| {
            fs::remove_file(file).expect("removes");
            fs::write(file.with_file_name("aegis.db-wal"), "left over").expect("writes");
        })
        .await,
    ];
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{text}");
        assert!(text.contains("aegis.db") && text.contains("Restore") && text.contains("move"), "{text}");
    }
}

#[tokio::test]
async fn a_gap_in_the_log_refuses_to_start() {
    let error = damaged(|file| {
        let conn = rusqlite::Connection::open(file).expect("opens");
        conn.execute_batch("DROP TRIGGER records_never_go; DELETE FROM records WHERE seq = 17").expect("deletes");
    });
    let error = error.await;
    assert!(matches!(&error, StoreError::Corrupt { detail, .. } if detail.contains("missing")), "{error}");
}

#[tokio::test]
async fn the_log_can_only_grow() {
    let (dir, store) = opened().await;
    store.close().await;
    let conn = rusqlite::Connection::open(dir.path().join("aegis.db")).expect("opens");
    for sql in ["DELETE FROM records", "UPDATE records SET body = '{}'"] {
        let error = conn.execute(sql, []).expect_err("append-only");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_schema() {
    let error = damaged(|file| {
        let conn = rusqlite::Connection::open(file).expect("opens");
        conn.pragma_update(None, "user_version", 99).expect("updates");
    });
    let error = error.await;
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let conn = rusqlite::Connection::open(dir.path().join("aegis.db")).expect("opens");
    conn.execute_batch("CREATE TABLE theirs (x)").expect("creates");
    drop(conn);
    assert!(matches!(refused(dir.path()), StoreError::Corrupt { detail, .. } if detail.contains("another program")));
}
