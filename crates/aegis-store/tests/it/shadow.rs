//! Counts of what was only watched: exact, bounded, without values, and as old as they may be.

use aegis_core::shadow::report::{Report, Tally};
use aegis_core::shadow::sighting::{Offending, Source};
use aegis_store::{Store, first_of_last};
use jiff::Timestamp;

use crate::calls::{observed, observed_action, unreadable};
use crate::{opened, reopened};

async fn tally(store: &Store) -> Tally {
    store.tally(&Source::Shadow, first_of_last(30, Timestamp::now())).await.expect("read")
}

async fn report(store: &Store) -> Report {
    Report::of(Source::Shadow, tally(store).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_under_concurrency_and_survive_a_restart() {
    let (dir, store) = opened().await;
    let tasks: Vec<_> = (0..400_u64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let (env, replicas) = if n % 4 == 0 { ("qa", 5) } else { ("staging", n) };
                drop(store.admit(observed(&format!("dec_{n}"), env, replicas), 0.1).await.expect("admitted"));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("done");
    }
    let seen = report(&store).await;
    // 51 to 399 without the multiples of four, which went to qa.
    let above = (51..400).filter(|n| n % 4 != 0).count() as u64;
    assert_eq!((seen.calls, seen.would_deny, seen.days), (400, 100 + above, 1));
    let max = seen.rules.iter().find(|rule| rule.key.rule == "max_replicas").expect("counted");
    assert_eq!((max.calls, max.values.iter().map(|value| value.calls).sum::<u64>()), (above, above));
    assert_eq!(max.threshold.as_deref(), Some("390"), "{max:?}");
    assert!(max.examples.len() <= 5 && max.examples.iter().all(|id| id.starts_with("dec_")));
    assert_eq!((seen.policies[0].calls, seen.policies[0].would_deny), (400, 100 + above));
    let records = store.query(aegis_store::Query { event: Some("decision".into()), limit: 1000, ..Default::default() });
    assert_eq!(records.await.expect("read").len(), 400, "a call that is counted is on record");

    let store = reopened(&dir, store).await;
    assert_eq!(report(&store).await, seen);
    store.close().await;
}

#[tokio::test]
async fn what_was_not_watched_is_not_counted() {
    let (_dir, store) = opened().await;
    store.deny(&unreadable("dec_1"), 0.1).await.expect("recorded");
    drop(store.admit(crate::calls::permit("dec_2"), 0.1).await.expect("admitted"));
    assert_eq!(report(&store).await.calls, 0);
    assert_eq!(store.last_candidate().await.expect("read"), None);
    store.close().await;
}

#[tokio::test]
async fn what_an_agent_chooses_cannot_fill_the_disk() {
    let (dir, store) = opened().await;
    // Each digit of these is another bucket: more than are told apart.
    let numbers = (1..=5).flat_map(|exponent| (10..100_u64).map(move |digits| digits * 10_u64.pow(exponent)));
    for number in numbers.clone() {
        drop(store.admit(observed(&format!("dec_{number}"), "staging", number), 0.1).await.expect("admitted"));
    }
    let max = report(&store).await.rules.remove(0);
    let above = numbers.filter(|number| *number > 50).count() as u64;
    assert_eq!(max.values.iter().map(|value| value.calls).sum::<u64>(), above, "none is lost");
    let others: u64 = max.values.iter().filter(|value| value.value == Offending::Other).map(|value| value.calls).sum();
    assert!(others > 0 && max.values.len() <= 201, "{others} of {above} in {}", max.values.len());
    assert_eq!(max.threshold, None, "too many are not known any more");

    // As if the day had as many rows as it may: another action is one of the others.
    store.close().await;
    let conn = rusqlite_of(&dir);
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                INSERT INTO shadow_rules SELECT day, candidate, active, policy, entry, rule, reason, change, effect, 'a' || i, action, 1
                FROM n, (SELECT * FROM shadow_rules LIMIT 1)";
    conn.execute(rows, []).expect("filled");
    drop(conn);
    let store = Store::open(dir.path(), aegis_store::Durability::Buffered).expect("opens again");
    drop(store.admit(observed_action("dec_x", "rollout"), 0.1).await.expect("admitted"));
    let max = report(&store).await.rules.remove(0);
    assert!(max.actions.iter().any(|action| action.name == "other" && action.calls == 1), "{:?}", max.actions);
    store.close().await;
}

#[tokio::test]
async fn old_counts_go_on_the_first_call_of_a_day() {
    let (dir, store) = opened().await;
    drop(store.admit(observed("dec_1", "staging", 60), 0.1).await.expect("admitted"));
    store.close().await;
    let conn = rusqlite_of(&dir);
    for table in ["shadow_calls", "shadow_policies", "shadow_rules", "shadow_values", "shadow_examples"] {
        conn.execute(&format!("UPDATE {table} SET day = day - 91"), []).expect("aged");
    }
    drop(conn);
    let store = Store::open(dir.path(), aegis_store::Durability::Buffered).expect("opens again");
    let all = store.tally(&Source::Shadow, first_of_last(366, Timestamp::now())).await.expect("read");
    assert_eq!((all.calls.len(), all.rules.len(), all.values.len(), all.examples.len()), (1, 1, 1, 1));
    drop(store.admit(observed("dec_2", "staging", 5), 0.1).await.expect("admitted"));
    let all = store.tally(&Source::Shadow, first_of_last(366, Timestamp::now())).await.expect("read");
    assert_eq!((all.calls.len(), all.rules.len(), all.values.len(), all.examples.len()), (1, 0, 0, 0));
    store.close().await;
}

fn rusqlite_of(dir: &tempfile::TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.path().join("aegis.db")).expect("opens")
}
