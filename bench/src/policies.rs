//! Loading and compiling: how long it takes, and what it holds in memory.
//!
//! Each size is loaded in a process of its own, which is this program again: what one load leaves behind is no part of the
//! next one's memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::policy::{Asked, Engine, Options, PolicySet};
use anyhow::{Context as _, Result, bail, ensure};
use cel::Program;
use serde::{Deserialize, Serialize};

use crate::opa::Opa;
use crate::process::memory_of;
use crate::report::{Row, Section, median, megabytes, number, short};
use crate::scene;

/// How many agents, with ten actions each.
pub(crate) const SIZES: [usize; 3] = [10, 1_000, 10_000];
const ROUNDS: usize = 3;

/// What a process of its own says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Probed {
    seconds: f64,
    /// Resident before the policies were there, with them, and at most; in kB.
    before: u64,
    after: u64,
    most: u64,
    /// Of a bundle, where one was written.
    bytes: usize,
    /// Why it can't be done at this size, where it can't.
    refused: Option<String>,
}

/// What is done in a process of its own.
const KINDS: [&str; 5] = ["load", "write", "read", "regorus", "cel"];

pub(crate) fn run(opa: &Path, scratch: &Path) -> Result<Section> {
    let mut rows = Vec::new();
    for agents in SIZES {
        let size = number(agents as f64, "");
        let mut rounds: Vec<Vec<Probed>> = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..if agents > 1_000 { 1 } else { ROUNDS } {
            rounds.push(KINDS.into_iter().map(|kind| probe(kind, agents)).collect::<Result<_>>()?);
            theirs.push(opa_loads(opa, scratch, agents)?);
        }
        let (took, resident) = median(theirs, |(took, _)| took.as_secs_f64())?;
        for (nth, kind) in KINDS.into_iter().enumerate() {
            let of_kind: Vec<&Probed> = rounds.iter().filter_map(|round| round.get(nth)).collect();
            let probed = median(of_kind, |probed| probed.seconds)?;
            let Probed { seconds, before, after, most, bytes, refused } = probed;
            if let Some(why) = refused {
                rows.push(Row::new(format!("{size} agents: {}: **refused**, {why}", said(kind, *bytes))));
                continue;
            }
            let time = Duration::from_secs_f64(*seconds);
            let grown = format!("+{} ({} at most)", megabytes(after.saturating_sub(*before)), megabytes(*most));
            let row = Row { memory: grown, ..Row::new(format!("{size} agents: {}", said(kind, *bytes))) };
            rows.push(if kind == "read" { row.beside_time(time, took) } else { Row { ours: short(time), ..row } });
        }
        let row = Row::new(format!("{size} agents: a stock OPA, from its start until the bundle is in force"));
        rows.push(Row { peer: short(took), memory: megabytes(resident), ..row });
    }
    let note = format!(
        "So many agents, each with a policy of ten actions (a file of {:.1} kB) that has five digests per action and a condition. \
         Load: texts in memory to a policy set that decides, its bundle's files and version included. Each line is the one in the \
         middle of {ROUNDS}, of 10,000 agents the only one, each in a process of its own; memory is what the process grew by, and in brackets the most that it ever \
         held, sources included. OPA reads the same bundle, without its signature; ratio: reading the bundle to OPA's start with \
         it. cel: one program per agent, for one action of its ten.",
        scene::policy(0).len() as f64 / 1e3,
    );
    Ok(Section { title: "Load and compile", note, rows })
}

fn said(kind: &str, bytes: usize) -> String {
    match kind {
        "load" => "**load** and compile the YAML".to_owned(),
        "write" => format!("write the bundle ({:.2} MB)", bytes as f64 / 1e6),
        "read" => "read the bundle: compile its sources again, compare the files".to_owned(),
        "regorus" => "prepare regorus, with a first decision".to_owned(),
        _ => "compile programs of the `cel` crate".to_owned(),
    }
}

fn probe(kind: &str, agents: usize) -> Result<Probed> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["--probe", kind, &agents.to_string()]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the probe {kind}: {}", output.status);
    serde_json::from_slice(&output.stdout).context("what the probe says")
}

/// The process of its own.
pub(crate) fn probed(kind: &str, agents: usize) -> Result<Probed> {
    let sources = scene::sources(agents);
    let own = std::process::id();
    let prepared = match kind {
        "write" | "read" | "regorus" => Some(scene::load(&sources)?),
        _ => None,
    };
    let bundle = prepared.as_ref().filter(|_| kind == "read").map(|set| set.bundle(None));
    // What is read back must not stand beside what it was written from.
    let prepared = prepared.filter(|_| kind != "read");
    let (before, _) = memory_of(own)?;
    let started = Instant::now();
    let mut bytes = 0;
    let (seconds, after) = match (kind, &prepared, &bundle) {
        ("load", ..) => {
            let set = scene::load(&sources)?;
            let took = started.elapsed();
            ensure!(set.len() == agents, "every policy is there");
            (took, memory_of(own)?.0)
        }
        ("write", Some(set), _) => {
            let bundle = set.bundle(None);
            let took = started.elapsed();
            bytes = bundle.len();
            (took, memory_of(own)?.0)
        }
        ("read", _, Some(bundle)) => {
            let set = match PolicySet::from_bundle(bundle, Options::default()) {
                Ok((set, _)) => set,
                Err(error) => {
                    let (seconds, refused) = (started.elapsed().as_secs_f64(), Some(error.to_string()));
                    return Ok(Probed { seconds, before, after: before, most: before, bytes, refused });
                }
            };
            let took = started.elapsed();
            ensure!(set.len() == agents && !set.is_rego_only(), "every policy is there, and judged natively");
            (took, memory_of(own)?.0)
        }
        ("regorus", Some(set), _) => {
            let agent = Agent::named(scene::agent(0));
            let call = scene::call(&scene::catalogue()?, scene::body(0)?)?;
            let said = set.evaluate_with(Engine::Rego, Asked::of(&agent, &call));
            let took = started.elapsed();
            ensure!(said.findings.is_empty(), "the call is allowed");
            (took, memory_of(own)?.0)
        }
        ("cel", ..) => {
            let programs = (0..agents).map(|index| Program::compile(&scene::in_cel(index)));
            let programs = programs.collect::<Result<Vec<_>, _>>().context("CEL")?;
            let took = started.elapsed();
            ensure!(programs.len() == agents, "every program is there");
            (took, memory_of(own)?.0)
        }
        _ => bail!("no probe {kind}"),
    };
    let (_, most) = memory_of(own)?;
    Ok(Probed { seconds: seconds.as_secs_f64(), before, after, most, bytes, refused: None })
}

fn opa_loads(opa: &Path, scratch: &Path, agents: usize) -> Result<(Duration, u64)> {
    let server = Opa::start(opa, scratch, &scene::policies(agents)?.bundle(None))?;
    let (resident, _) = server.process.memory()?;
    let took = server.took;
    server.process.stop()?;
    Ok((took, resident))
}
