//! Group commit: how many calls a second the store admits, beside a loop that only syncs the same disk.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use aegis_core::agent::Agent;
use aegis_core::audit::Outcome;
use aegis_core::decide::{Decision, Passage, decide};
use aegis_store::{Admitted, Durability, Query, Store};
use anyhow::{Result, anyhow, bail, ensure};
use jiff::Timestamp;

use crate::report::{Round, Row, Section, Times, median, number};
use crate::scene;

/// Calls at a time, and how many in all.
const LOADS: [(usize, usize); 4] = [(1, 500), (16, 4_000), (64, 8_000), (256, 8_000)];
const SYNCS: usize = 1_000;
const ROUNDS: usize = 3;

pub(crate) fn run(scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Runtime::new()?;
    let bytes = runtime.block_on(record_size(scratch))?;
    let mut syncs = Vec::new();
    let mut loads: Vec<Load> = [Durability::Commit, Durability::Buffered]
        .into_iter()
        .flat_map(|durability| {
            LOADS.map(|(at_once, calls)| Load { durability, at_once, calls, alone: Vec::new(), settled: Vec::new() })
        })
        .collect();
    for _ in 0..ROUNDS {
        syncs.push(sync_only(scratch, bytes)?);
        for load in &mut loads {
            runtime.block_on(load.round(scratch))?;
        }
    }
    let direct = median(syncs, |round| round.rate)?;
    let first = Row::latencies("write and fdatasync, one at a time", &direct.times);
    let mut rows = vec![Row { peer: number(direct.rate, "/s"), ..first }];
    for load in loads {
        rows.extend(load.rows(direct.rate)?);
    }
    let note = format!(
        "Admissions (one transaction: is the agent still good, the decision's record of {bytes} bytes and its indexes, the mark \
         that its outcome is open) by a real store, so many callers at a time; then the same with each call settled (a second \
         record). The direct line writes {bytes} bytes and calls `fdatasync`, in a loop on the same disk; the ratio is to that line. \
         p50 and p99: one admission, or one admission and its settlement. Of {ROUNDS} interleaved rounds the one in the middle is shown.",
    );
    Ok(Section { title: "Group commit", note, rows })
}

/// A store under a load, and how it did.
struct Load {
    durability: Durability,
    at_once: usize,
    calls: usize,
    alone: Vec<Round>,
    settled: Vec<Round>,
}

impl Load {
    async fn round(&mut self, scratch: &Path) -> Result<()> {
        let (at_once, calls) = (self.at_once, self.calls);
        let dir = tempfile::tempdir_in(scratch)?;
        let store = Store::open(dir.path(), self.durability)?;
        store.add_agent(&scene::agent(0), Vec::new(), "bench").await?;
        let mut passages = passages(2 * calls)?.into_iter();

        let before = store.head();
        let (alone, held) = spread(&store, passages.by_ref().take(calls).collect(), at_once, false).await?;
        ensure!(store.head() - before == calls as u64, "every admission is on record");
        let before = store.head();
        let (settled, _) = spread(&store, passages.collect(), at_once, true).await?;
        ensure!(store.head() - before == 2 * calls as u64, "every admission and every outcome is on record");
        self.alone.push(alone);
        self.settled.push(settled);
        // Closed before the unsettled ones are dropped: their last words are not what is measured.
        store.close().await;
        drop(held);
        Ok(())
    }

    fn rows(self, direct: f64) -> Result<[Row; 2]> {
        let name = match self.durability {
            Durability::Commit => "durable",
            Durability::Buffered => "buffered",
        };
        let row = |what: &str, rounds: Vec<Round>| -> Result<Row> {
            let middle = median(rounds, |round| round.rate)?;
            let what = format!("{name}, {} at a time: {what}", self.at_once);
            Ok(Row::latencies(what, &middle.times).beside(middle.rate, direct, "/s"))
        };
        Ok([row("admit", self.alone)?, row("admit, then settle", self.settled)?])
    }
}

/// Admits all passages, `at_once` at a time; the admissions that weren't settled come back.
async fn spread(store: &Store, passages: Vec<Passage>, at_once: usize, settle: bool) -> Result<(Round, Vec<Admitted>)> {
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
    Ok((Round::new(times, started), held))
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
        usage: None,
        cost: None,
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
    let (_, held) = spread(&store, passages(1)?, 1, false).await?;
    let query = Query { event: Some("decision".to_owned()), ..Query::default() };
    let records = store.query(query).await?;
    store.close().await;
    drop(held);
    ensure!(records.len() == 1, "one admission is one record");
    Ok(records.iter().map(|record| serde_json::to_vec(record).map(|json| json.len())).sum::<Result<usize, _>>()?)
}

/// Writes so many bytes and syncs them, again and again.
fn sync_only(scratch: &Path, bytes: usize) -> Result<Round> {
    let mut file: File = tempfile::tempfile_in(scratch)?;
    let (record, mut times) = (vec![b'x'; bytes], Times::new());
    let started = Instant::now();
    for _ in 0..SYNCS {
        let before = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.add(before.elapsed());
    }
    Ok(Round::new(times, started))
}
