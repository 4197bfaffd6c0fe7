//! Decisions while other policies come into force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::call::ToolCall;
use aegis_core::decide::{Decision, decide};
use aegis_core::policy::{PolicySet, Source};
use aegis_server::pipeline::retire;
use anyhow::{Context as _, Result, anyhow, ensure};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::report::{Row, Section, Times, number, short};
use crate::scene;

const AGENTS: usize = 10_000;
/// How long it is measured before the first reload and after the last.
const CALM: Duration = Duration::from_secs(3);
const RELOADS: usize = 2;
/// Coprime to the number of agents.
const STRIDE: usize = 7_919;
/// A decision is due so often.
const EVERY: Duration = Duration::from_micros(200);

/// What is measured at one time.
struct Phase {
    decide: Times,
    /// How late a decision was, measured from when it was due.
    due: Times,
    versions: Vec<String>,
}

pub(crate) fn run() -> Result<Section> {
    // Two versions that differ in every policy.
    let sources = [scene::sources(AGENTS), changed(scene::sources(AGENTS))];
    let current = ArcSwap::from_pointee(scene::load(sources.first().context("there are two")?)?);
    let catalogue = scene::catalogue()?;
    let call = |index| Ok((Agent::named(scene::agent(index)), scene::call(&catalogue, scene::body(index)?)?));
    let calls = (0..AGENTS).map(call).collect::<Result<Vec<_>>>()?;

    let is_over = |until: Instant| move || Instant::now() >= until;
    // Once unmeasured, so that every page is there.
    decide_until(&current, &calls, is_over(Instant::now() + CALM / 3))?;
    let before = decide_until(&current, &calls, is_over(Instant::now() + CALM))?;
    let done = AtomicBool::new(false);
    let (during, loads) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let loads = reload(&current, &sources);
            done.store(true, Ordering::Release);
            loads
        });
        let during = decide_until(&current, &calls, || done.load(Ordering::Acquire));
        Ok::<_, anyhow::Error>((during?, loading.join().map_err(|_| anyhow!("the loader ended in a panic"))??))
    })?;
    let after = decide_until(&current, &calls, is_over(Instant::now() + CALM))?;

    ensure!(before.versions.len() == 1 && after.versions.len() == 1, "one version before, one after");
    ensure!(during.versions.len() == 2, "decisions were made under both versions");
    let base = before.decide.quantile(0.99);
    let row = |what: &str, phase: &Phase| {
        let longest = short(phase.due.quantile(1.0));
        let what =
            format!("{what}: `decide()`, {} of them; latest answer {longest}", number(phase.decide.count() as f64, ""));
        Row::latencies(what, &phase.decide).beside_time(phase.decide.quantile(0.99), base)
    };
    let due = |what: &str, phase: &Phase| {
        Row::latencies(format!("{what}: from when it was due"), &phase.due)
            .beside_time(phase.due.quantile(0.99), before.due.quantile(0.99))
    };
    let rows = vec![
        row("before", &before),
        row("during", &during),
        row("after", &after),
        due("before", &before),
        due("during", &during),
        due("after", &after),
        Row { ours: short(loads), ..Row::new("one load, while decisions are made") },
    ];
    let note = format!(
        "{} agents, ten actions each. One thread decides (every {} µs one is due, by another agent); meanwhile another loads and \
         swaps in a version in which every policy is changed, {RELOADS} times without a pause. Every decision names the version of the \
         set that it was made by, and none fails. Ratio: to before, by p99.",
        number(AGENTS as f64, ""),
        EVERY.as_micros(),
    );
    Ok(Section { title: "Reload", note, rows })
}

fn changed(mut sources: Vec<Source>) -> Vec<Source> {
    for source in &mut sources {
        source.text = source.text.replace("max_replicas: ", "max_replicas: 1");
    }
    sources
}

/// Loads the versions in turn; how long a load took on average.
fn reload(current: &ArcSwap<PolicySet>, sources: &[Vec<Source>; 2]) -> Result<Duration> {
    let started = Instant::now();
    for nth in 1..=RELOADS {
        let next = scene::load(sources.get(nth % 2).context("there are two")?)?;
        ensure!(next.version() != current.load().version(), "it is another version");
        // As the gateway does it.
        retire(vec![current.swap(Arc::new(next))]);
    }
    Ok(started.elapsed() / u32::try_from(RELOADS)?)
}

fn decide_until(
    current: &ArcSwap<PolicySet>,
    calls: &[(Agent, ToolCall)],
    is_over: impl Fn() -> bool,
) -> Result<Phase> {
    let mut phase = Phase { decide: Times::new(), due: Times::new(), versions: Vec::new() };
    let first = Instant::now();
    let mut nth: u32 = 0;
    while !is_over() {
        let due = first + EVERY * nth;
        let (agent, call) = calls.get(nth as usize * STRIDE % calls.len()).context("there is one per agent")?;
        let (call, id, now) = (call.clone(), format!("dec_{nth:026}"), Timestamp::now());
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let started = Instant::now();
        // As a call holds its policies: until it is answered.
        let policies = current.load_full();
        let decision = decide(&policies, agent, call, &scene::facts(&policies, id, now));
        phase.decide.add(started.elapsed());
        let Decision::Allow(permit) = decision else { return Err(anyhow!("a call was not allowed")) };
        let version = &permit.explanation().policy_version;
        ensure!(version == policies.version(), "one version per decision");
        if !phase.versions.contains(version) {
            phase.versions.push(version.clone());
        }
        drop(policies);
        phase.due.add(due.elapsed());
        nth += 1;
    }
    Ok(phase)
}
