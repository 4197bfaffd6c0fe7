//! kill -9 at random moments: whatever was acknowledged is there afterwards, nothing was spent twice, the log has no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aegis_core::audit::{Event, Record};
use aegis_core::decide::Verdict;
use aegis_store::{Durability, Store};

use crate::calls::{AGENT, asking, in_production, passage, permit, policies};

const CHILD: &str = "AEGIS_STORE_TEST_CHILD";
const ROUNDS: u64 = 50;

/// In the child: admits and spends as fast as it can, and says on standard output what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&dir), Durability::Commit).expect("opens");
    if store.agent(AGENT).is_none() {
        store.add_agent(AGENT, Vec::new(), "operator").await.expect("registers");
    }
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent listens");
    };
    say("ready".into());
    let base = store.head();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let policies = policies();
            for n in 0.. {
                let name = |kind: &str| format!("dec_{base}_{task}_{n}_{kind}");
                let admitted = store.admit(permit(&name("plain")), 0.1).await.expect("admitted");
                say(format!("admitted {}", name("plain")));
                drop(admitted.redeem());
                let replicas = base * 1000 + task * 100 + n;
                let ask = asking(in_production(&policies, &name("ask"), replicas, None));
                let (_, asked) = store.ask(ask, 0.1).await.expect("asked");
                say(format!("asked {}", asked.id));
                let (approved, _) = store.approve(&asked.id, "alice", None).await.expect("approved");
                // Two at once: one of them must lose.
                let twice = ["one", "two"].map(|which| {
                    let call = in_production(&policies, &name(which), replicas, Some(&approved));
                    let store = store.clone();
                    tokio::spawn(async move { store.admit(passage(call), 0.1).await })
                });
                for (which, spend) in ["one", "two"].into_iter().zip(twice) {
                    if let Ok(admitted) = spend.await.expect("no panic") {
                        say(format!("admitted {}", name(which)));
                        drop(admitted.redeem());
                    }
                }
            }
        });
    }
    tasks.join_all().await;
}

/// Runs the child, kills it after `life`, and returns what it acknowledged.
fn run_and_kill(dir: &Path, life: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "killed::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // The test harness writes the name of the test before it, on the same line.
    assert!(lines.by_ref().any(|line| line.ends_with("ready")), "the child did not start");
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(|| lines.collect::<Vec<_>>());
        std::thread::sleep(life);
        child.kill().expect("kills");
        child.wait().expect("ends");
        reader.join().expect("reads")
    });
    // Only whole lines of ours: the last one may be cut.
    reader.into_iter().filter(|line| line.starts_with("admitted dec_") || line.starts_with("asked apr_")).collect()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_spent_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let seed = RandomState::new().hash_one(0);
    println!("seed {seed:#x}");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let random = seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left((round % 64) as u32);
        acknowledged.extend(run_and_kill(dir.path(), Duration::from_millis(random % 120)));
        let store = Store::open(dir.path(), Durability::Commit).expect("starts again");
        let log = store.tail(0, u32::MAX).await.expect("reads");
        check(&log, &acknowledged);
        assert!(store.unsettled().await.expect("reads").is_empty(), "whatever was in flight is reported");
        for line in &acknowledged {
            if let Some(id) = line.strip_prefix("asked ") {
                store.approval(id).await.expect("an acknowledged request is there");
            }
        }
        store.close().await;
    }
    assert!(acknowledged.len() > 50, "only {} acknowledged: the test tests nothing", acknowledged.len());
}

fn check(log: &[Record], acknowledged: &[String]) {
    assert!(log.iter().map(|record| record.seq).eq(1..=log.len() as u64), "the log has a gap");
    let mut admitted = BTreeSet::new();
    let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
    let mut spent: BTreeMap<&str, u32> = BTreeMap::new();
    for record in log {
        match &record.event {
            Event::Decision { explanation, .. } if explanation.decision == Verdict::Allow => {
                assert!(admitted.insert(explanation.decision_id.as_str()), "admitted twice");
            }
            Event::Outcome { decision_id, .. } => *ended.entry(decision_id).or_default() += 1,
            Event::Approval { approval_id, change, .. } if change == "spent" => {
                *spent.entry(approval_id).or_default() += 1
            }
            _ => {}
        }
    }
    assert!(spent.values().all(|times| *times == 1), "an approval was spent twice");
    assert!(admitted.iter().all(|id| ended.get(id) == Some(&1)), "an admitted call has no outcome, or two");
    for line in acknowledged {
        if let Some(id) = line.strip_prefix("admitted ") {
            assert!(admitted.contains(id), "{id} was acknowledged and is not there");
        }
    }
}
