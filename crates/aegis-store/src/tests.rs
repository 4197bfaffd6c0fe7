use std::sync::Arc;

use aegis_core::problem::Code;

use super::*;
use crate::writer::Job;

#[path = "../tests/it/calls.rs"]
#[expect(dead_code, reason = "shared with the tests outside of the crate, which use all of it")]
mod calls;

use calls::{AGENT, permit};

async fn opened() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), Durability::Buffered).expect("opens");
    store.add_agent(AGENT, Vec::new(), "operator").await.expect("registers");
    (dir, store)
}

/// A writer that runs on this thread, so that a test says what is in a batch.
fn writer(dir: &Path) -> (Writer, Arc<Shared>) {
    let dir = DataDir::hold(dir).expect("holds");
    let conn = schema::open(&dir.database().expect("a file"), Durability::Buffered).expect("opens");
    let shared = Arc::new(Shared {
        memory: Memory::default(),
        head: watch::Sender::new(0),
        failure: RwLock::new(None),
        keeps_calls: RwLock::new(None),
    });
    (Writer::new(conn, dir, Arc::clone(&shared)), shared)
}

type Answer = tokio::sync::oneshot::Receiver<Result<(), StoreError>>;

fn command(work: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) -> (Box<dyn Job>, Answer) {
    let (command, answer) = Command::new(work);
    (Box::new(command), answer)
}

fn revoking(jti: &'static str) -> impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> {
    move |tx| {
        tx.change(memory::Change::Revoked(jti.to_owned(), tx.now));
        tx.record_operation("operator", "token.revoke", jti)
    }
}

fn run(writer: &mut Writer, commands: Vec<(Box<dyn Job>, Answer)>) -> Vec<Result<(), StoreError>> {
    let (mut jobs, answers): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    writer.commit(&mut jobs);
    answers.into_iter().map(|mut answer| answer.try_recv().expect("every command is answered")).collect()
}

#[test]
fn a_command_that_fails_is_rolled_back_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, shared) = writer(dir.path());
    let failing = |tx: &mut Tx<'_>| revoking("b")(tx).and(Err(StoreError::Overloaded));
    let answers = run(&mut writer, vec![command(revoking("a")), command(failing), command(revoking("c"))]);
    assert!(matches!(answers.as_slice(), [Ok(()), Err(StoreError::Overloaded), Ok(())]), "{answers:?}");
    assert_eq!(*shared.head.borrow(), 2, "the number of the one that failed is used by the next");
    let revoked = &shared.memory.read().revoked;
    assert!(revoked.contains_key("a") && !revoked.contains_key("b") && revoked.contains_key("c"));
}

#[test]
fn a_commit_that_fails_fails_everything_in_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, shared) = writer(dir.path());
    // A key without an agent, whose check waits for the commit.
    let orphan = |tx: &mut Tx<'_>| {
        tx.conn.pragma_update(None, "defer_foreign_keys", true)?;
        let sql = "INSERT INTO keys (id, agent, hash, created_at) VALUES ('k', 'nobody', x'00', 0)";
        Ok(tx.conn.execute(sql, []).map(drop)?)
    };
    let answers = run(&mut writer, vec![command(revoking("a")), command(orphan), command(revoking("b"))]);
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Database(_)))), "{answers:?}");
    assert_eq!(*shared.head.borrow(), 0);
    assert!(shared.memory.read().revoked.is_empty());
    assert!(shared.failure.read().expect("whole").is_some());

    assert!(matches!(run(&mut writer, vec![command(revoking("c"))]).as_slice(), [Ok(())]), "and it goes on");
    assert_eq!(*shared.head.borrow(), 1);
    assert!(shared.failure.read().expect("whole").is_none());
}

/// What SQLite does by itself after some I/O errors: the transaction is gone, with what earlier commands had written.
#[test]
fn a_transaction_that_sqlite_gave_up_is_nobodys_success() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, shared) = writer(dir.path());
    let gone =
        |tx: &mut Tx<'_>| tx.conn.execute("ROLLBACK", []).map_err(StoreError::from).and(Err(StoreError::Overloaded));
    let answers = run(&mut writer, vec![command(revoking("a")), command(gone), command(revoking("b"))]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(*shared.head.borrow(), 0);
    assert!(run(&mut writer, vec![command(revoking("c"))]).iter().all(Result::is_ok));
    assert_eq!(*shared.head.borrow(), 1);
}

#[tokio::test]
async fn a_full_disk_denies_and_recovers_by_itself() {
    let (_dir, store) = opened().await;
    let pages = |limit: i64| {
        move |tx: &mut Tx<'_>| {
            Ok(tx.conn.pragma_update_and_check(None, "max_page_count", limit, |row| row.get::<_, i64>(0))?)
        }
    };
    // A limit below what is used is raised to that: not one page more.
    store.write(pages(1)).await.expect("sets");
    let mut denied = None;
    for n in 0..200 {
        match store.admit(permit(&format!("dec_{n}")), 0.1).await {
            Ok(admitted) => drop(admitted.redeem()),
            Err(denial) => {
                denied = Some(denial);
                break;
            }
        }
    }
    let denial = denied.expect("the disk is full at some point");
    let explanation = denial.explanation();
    assert_eq!(explanation.code, Some(Code::GatewayUnavailable));
    assert!(
        explanation.reason.starts_with("store: database: ") && explanation.reason.contains("full"),
        "{}",
        explanation.reason
    );
    let head = store.head();
    let filling = |tx: &mut Tx<'_>| tx.record_operation("operator", "fill", &"x".repeat(100_000));
    assert!(store.write(filling).await.is_err());
    assert!(store.inner.shared.failure.read().expect("whole").is_some(), "readiness shows it");

    store.write(pages(1 << 30)).await.expect("sets");
    store.health().await.expect("healthy again");
    let _ = store.admit(permit("dec_after"), 0.1).await.expect("admitted again").redeem();
    let log = store.tail(0, u32::MAX).await.expect("reads");
    assert!(log.len() as u64 > head && log.iter().map(|record| record.seq).eq(1..=log.len() as u64), "no gap");
}
