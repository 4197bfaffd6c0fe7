//! A call through a sidecar route of the real gateway, beside the same call direct and through nginx.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aegis_core::audit::{Event, Record};
use aegis_store::{Durability, Query, Store};
use anyhow::{Context as _, Result, ensure};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tempfile::TempDir;

use crate::dial::Way;
use crate::load::{self, Target};
use crate::process::{self, Home, Process, Serving};
use crate::report::{Round, Row, Section, median, number, short};
use crate::scene;

const RATE: u32 = 1_000;
const ROUNDS: usize = 5;
const OPEN: Duration = Duration::from_secs(3);
const CLOSED: Duration = Duration::from_secs(2);
/// Agents with a policy of their own.
const AGENTS: usize = 10;

/// A server that calls go through.
struct Server {
    name: &'static str,
    target: Target,
    process: Process,
    /// The gateway's folder, where it is one.
    home: Option<Home>,
    _dir: Option<TempDir>,
    open: Vec<Round>,
    closed: Vec<Round>,
    /// Processor time for a call, at the fixed rate and as fast as it goes.
    cpu: [Vec<Duration>; 2],
}

pub(crate) fn run(aegis: &Path, nginx: &Path, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut servers = servers(aegis, nginx, scratch)?;
    for round in 0..ROUNDS {
        eprintln!("bench: route, round {} of {ROUNDS}", round + 1);
        for server in &mut servers {
            runtime.block_on(server.open_round())?;
        }
        for server in &mut servers {
            runtime.block_on(server.closed_round())?;
        }
    }
    let mut rows = Vec::new();
    let summaries = servers.iter_mut().map(Server::summary).collect::<Result<Vec<_>>>()?;
    let (direct, reverse) = (summaries.first().context("direct")?, summaries.get(1).context("nginx")?);
    for summary in &summaries {
        rows.push(summary.open_row(direct));
    }
    for summary in &summaries {
        rows.push(summary.closed_row(reverse));
    }
    for (server, summary) in servers.into_iter().zip(&summaries).rev() {
        runtime.block_on(server.finish(summary.calls))?;
    }
    let note = format!(
        "One agent PATCHes a Deployment (1 KiB of JSON) on a sidecar route of the `aegis` binary: token, description, policy, record, \
         forwarding, outcome; configuration as it comes, {AGENTS} policies. Upstream and plain reverse proxy: one nginx process each. \
         32 kept connections; all of it, the load generator included, shares the machine. {ROUNDS} interleaved rounds of {} s and \
         {} s; the round in the middle is shown. At a fixed rate, latency counts from when a request was due; ours is the time added \
         at p99 to the direct call. **Aim:** under 1 ms added at p99 at {} requests/s; under 40 MB resident. Memory: resident at the end (at \
         its most). As fast as it goes: the peer is nginx as a reverse proxy.",
        OPEN.as_secs(),
        CLOSED.as_secs(),
        number(RATE.into(), ""),
    );
    Ok(Section { title: "Route", note, rows })
}

fn servers(aegis: &Path, nginx: &Path, scratch: &Path) -> Result<Vec<Server>> {
    let answer = "  server { listen LISTEN; location / { default_type application/json; \
                  return 200 '{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\"}}'; } }";
    let (upstream, upstream_at, upstream_dir) = process::nginx(nginx, scratch, answer)?;
    let reverse = format!(
        "  upstream tool {{ server {upstream_at}; keepalive 64; keepalive_requests 100000000; }}\n  server {{ listen LISTEN; location / {{ \
         proxy_pass http://tool; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"
    );
    let (reverse, reverse_at, reverse_dir) = process::nginx(nginx, scratch, &reverse)?;
    let mut servers = vec![
        Server::new("direct", direct(upstream_at, scene::TARGET)?, upstream, None, Some(upstream_dir)),
        Server::new("nginx", direct(reverse_at, scene::TARGET)?, reverse, None, Some(reverse_dir)),
    ];
    for (name, durability) in [("aegis, durable", "commit"), ("aegis, buffered", "buffered")] {
        let home = Home::new(aegis, scratch, AGENTS, upstream_at, &format!("audit: {{durability: {durability}}}"))?;
        let token = home.token(&scene::agent(0))?;
        let Serving { process, proxy, .. } = home.serve()?;
        let mut target = direct(proxy, &format!("/r/k8s{}", scene::TARGET))?;
        target.request.headers_mut().insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
        target.expected.insert("aegis-decision", HeaderValue::from_static("allow"));
        servers.push(Server::new(name, target, process, Some(home), None));
    }
    Ok(servers)
}

fn direct(address: SocketAddr, path: &str) -> Result<Target> {
    Target::new(Way::plain(address), scene::http_request(path, &address.to_string(), None)?)
}

impl Server {
    fn new(name: &'static str, target: Target, process: Process, home: Option<Home>, dir: Option<TempDir>) -> Self {
        Self {
            name,
            target,
            process,
            home,
            _dir: dir,
            open: Vec::new(),
            closed: Vec::new(),
            cpu: [Vec::new(), Vec::new()],
        }
    }

    async fn open_round(&mut self) -> Result<()> {
        let before = self.process.cpu()?;
        let round = load::open_loop(self.target.callers().await?, RATE, OPEN).await.context(self.name)?;
        self.cpu[0].push(per_call(self.process.cpu()? - before, &round));
        self.open.push(round);
        Ok(())
    }

    async fn closed_round(&mut self) -> Result<()> {
        let before = self.process.cpu()?;
        let round = load::closed_loop(self.target.callers().await?, CLOSED).await.context(self.name)?;
        self.cpu[1].push(per_call(self.process.cpu()? - before, &round));
        self.closed.push(round);
        Ok(())
    }

    fn summary(&mut self) -> Result<Summary> {
        let calls = self.open.iter().chain(&self.closed).map(|round| round.times.count()).sum();
        let (now, most) = self.process.memory()?;
        let [open_cpu, closed_cpu] = std::mem::take(&mut self.cpu);
        Ok(Summary {
            name: self.name,
            open: median(std::mem::take(&mut self.open), |round| round.times.quantile(0.99).as_secs_f64())?,
            closed: median(std::mem::take(&mut self.closed), |round| round.rate)?,
            open_cpu: median(open_cpu, Duration::as_secs_f64)?,
            closed_cpu: median(closed_cpu, Duration::as_secs_f64)?,
            memory: format!("{:.1} MB ({:.1})", now as f64 / 1024.0, most as f64 / 1024.0),
            calls,
        })
    }

    /// Stops it; every call that a gateway answered has to be on record, and how it ended.
    async fn finish(self, calls: u64) -> Result<()> {
        self.process.stop().context(self.name)?;
        let Some(home) = self.home else { return Ok(()) };
        // Opening records calls without an outcome as unknown: they would be among the newest.
        let store = Store::open(&home.data(), Durability::Buffered)?;
        let newest = Query { event: Some("outcome".to_owned()), limit: 1_000, ..Query::default() };
        let (records, newest) = (store.head(), store.query(newest).await?);
        store.close().await;
        let forwarded =
            |record: &Record| matches!(&record.event, Event::Outcome { outcome, .. } if outcome.result == "forwarded");
        ensure!(
            records >= 2 * calls && newest.iter().all(forwarded),
            "{}: {records} records of {calls} calls",
            self.name
        );
        Ok(())
    }
}

fn per_call(cpu: Duration, round: &Round) -> Duration {
    cpu.div_f64(round.times.count().max(1) as f64)
}

/// What a server did, in the rounds of the middle.
struct Summary {
    name: &'static str,
    open: Round,
    closed: Round,
    open_cpu: Duration,
    closed_cpu: Duration,
    memory: String,
    calls: u64,
}

impl Summary {
    fn open_row(&self, direct: &Self) -> Row {
        let times = |summary: &Self| summary.open.times.quantile(0.99);
        let what =
            format!("{} requests/s, {}; {} CPU per call", number(RATE.into(), ""), self.name, short(self.open_cpu));
        let row = Row { memory: self.memory.clone(), ..Row::latencies(what, &self.open.times) };
        if self.name == direct.name {
            return row;
        }
        let (own, base) = (times(self), times(direct));
        Row { ours: format!("+{}", short(own.saturating_sub(base))), ..row.beside_time(own, base) }
    }

    fn closed_row(&self, reverse: &Self) -> Row {
        let what = format!("as fast as it goes, {}; {} CPU per call", self.name, short(self.closed_cpu));
        Row::latencies(what, &self.closed.times).beside(self.closed.rate, reverse.closed.rate, "/s")
    }
}
