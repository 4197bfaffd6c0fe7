//! Group commit: how many calls a second the store admits, beside a loop that only syncs the same disk.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::audit::Outcome;
use aegis_core::decide::{Decision, Passage, decide};
use aegis_store::{Admitted, Durability, Query, Store};
use anyhow::{Result, anyhow, bail, ensure};
use jiff::Timestamp;

use crate::report::{Row, Section, Times, number};
use crate::scene;

/// Calls at a time, and how many in all.
const LOADS: [(usize, usize); 4] = [(1, 1_500), (16, 8_000), (64, 16_000), (256, 16_000)];
const SYNCS: usize = 1_500;

pub(crate) fn run(scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows = Vec::new();
    let (baseline, bytes) = runtime.block_on(async {
        let bytes = record_size(scratch).await?;
        Ok::<_, anyhow::Error>((sync_only(scratch, bytes)?, bytes))
    })?;
    let per_second = SYNCS as f64 / baseline.0.as_secs_f64();
    rows.push(Row {
        peer: number(per_second, "/s"),
        ..Row::latencies("write and fdatasync, one at a time", &baseline.1)
    });
    for durability in [Durability::Commit, Durability::Buffered] {
        let name = match durability {
            Durability::Commit => "durable",
            Durability::Buffered => "buffered",
        };
        for (at_once, calls) in LOADS {
            let run = runtime.block_on(admissions(scratch, durability, at_once, calls))?;
            let row = Row::latencies(format!("{name}, {at_once} at a time: admit"), &run.admit);
            rows.push(row.beside(calls as f64 / run.admitted.as_secs_f64(), per_second, "/s"));
            let row = Row::latencies(format!("{name}, {at_once} at a time: admit, then settle"), &run.both);
            rows.push(row.beside(calls as f64 / run.settled.as_secs_f64(), per_second, "/s"));
        }
    }
    let note = format!(
        "Admissions (one transaction: is the agent still good, the decision's record of {bytes} bytes and its indexes, the mark \
         that its outcome is open) by a real store, so many callers at a time; then the same with each call settled (a second \
         record). The direct line writes {bytes} bytes and calls `fdatasync`, in a loop on the same disk; the ratio is to that line. \
         p50 and p99: one admission, or one admission and its settlement.",
    );
    Ok(Section { title: "Group commit", note, rows })
}

/// How one store did under one load.
struct Run {
    admitted: Duration,
    admit: Times,
    settled: Duration,
    both: Times,
}

async fn admissions(scratch: &Path, durability: Durability, at_once: usize, calls: usize) -> Result<Run> {
    let dir = tempfile::tempdir_in(scratch)?;
    let store = Store::open(dir.path(), durability)?;
    store.add_agent(&scene::agent(0), Vec::new(), "bench").await?;
    let mut passages = passages(2 * calls)?.into_iter();

    let before = store.head();
    let (admitted, admit, held) = spread(&store, passages.by_ref().take(calls).collect(), at_once, false).await?;
    ensure!(store.head() - before == calls as u64, "every admission is on record");
    let before = store.head();
    let (settled, both, _) = spread(&store, passages.collect(), at_once, true).await?;
    ensure!(store.head() - before == 2 * calls as u64, "every admission and every outcome is on record");
    // Closed before the unsettled ones are dropped: their last words are not what is measured.
    store.close().await;
    drop(held);
    Ok(Run { admitted, admit, settled, both })
}

/// Admits all passages, `at_once` at a time; the admissions that weren't settled come back.
async fn spread(
    store: &Store,
    passages: Vec<Passage>,
    at_once: usize,
    settle: bool,
) -> Result<(Duration, Times, Vec<Admitted>)> {
    let mut shares: Vec<Vec<Passage>> = (0..at_once).map(|_| Vec::new()).collect();
    for (nth, passage) in passages.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(nth % at_once) {
            share.push(passage);
        }
    }
    let started = Instant::now();
    let callers: Vec<_> = shares.into_iter().map(|share| tokio::spawn(caller(store.clone(), share, settle))).collect();
    let (mut times, mut held) = (Times::new(), Vec::new());
    for caller in callers {
        let (its_times, its_held) = caller.await??;
        times.merge(&its_times)?;
        held.extend(its_held);
    }
    Ok((started.elapsed(), times, held))
}

async fn caller(store: Store, passages: Vec<Passage>, settle: bool) -> Result<(Times, Vec<Admitted>)> {
    let (mut times, mut held) = (Times::new(), Vec::with_capacity(passages.len()));
    for passage in passages {
        let started = Instant::now();
        let admitted = store.admit(passage, 0.02).await.map_err(|denial| anyhow!("{}", denial.explanation().detail))?;
        if settle {
            let (_call, receipt) = admitted.redeem();
            store.settle(receipt, outcome()).await?;
        } else {
            held.push(admitted);
        }
        times.add(started.elapsed());
    }
    Ok((times, held))
}

fn outcome() -> Outcome {
    Outcome {
        result: "forwarded".to_owned(),
        status: Some(200),
        error: None,
        duration_ms: 1.5,
        bytes_up: 1024,
        bytes_down: 512,
    }
}

/// Permits for so many calls, from the decision itself.
fn passages(count: usize) -> Result<Vec<Passage>> {
    let (catalogue, policies, body) = (scene::catalogue()?, scene::policies(1)?, scene::body(0)?);
    let agent = Agent::named(scene::agent(0));
    let passage = |nth: usize| -> Result<Passage> {
        let request = scene::request(body.clone());
        let call = catalogue.describe(&scene::ARRIVAL, request).map_err(|error| anyhow!("{error}"))?;
        let facts = scene::facts(&policies, format!("dec_{nth:026}"), Timestamp::now());
        match decide(&policies, &agent, call, &facts) {
            Decision::Allow(permit) => Ok(Passage::Permit(permit)),
            other => bail!("not allowed: {other:?}"),
        }
    };
    (0..count).map(passage).collect()
}

/// How many bytes the record of one admission has.
async fn record_size(scratch: &Path) -> Result<usize> {
    let dir = tempfile::tempdir_in(scratch)?;
    let store = Store::open(dir.path(), Durability::Buffered)?;
    store.add_agent(&scene::agent(0), Vec::new(), "bench").await?;
    let (_, _, held) = spread(&store, passages(1)?, 1, false).await?;
    let query = Query { event: Some("decision".to_owned()), ..Query::default() };
    let records = store.query(query).await?;
    store.close().await;
    drop(held);
    ensure!(records.len() == 1, "one admission is one record");
    Ok(records.iter().map(|record| serde_json::to_vec(record).map(|json| json.len())).sum::<Result<usize, _>>()?)
}

/// Writes so many bytes and syncs them, again and again.
fn sync_only(scratch: &Path, bytes: usize) -> Result<(Duration, Times)> {
    let mut file: File = tempfile::tempfile_in(scratch)?;
    let (record, mut times) = (vec![b'x'; bytes], Times::new());
    let started = Instant::now();
    for _ in 0..SYNCS {
        let before = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.add(before.elapsed());
    }
    Ok((started.elapsed(), times))
}
