//! The same decision by the engines there are: native, regorus, a stock OPA server, and what of it the `cel` crate can say.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::call::ToolCall;
use aegis_core::decide::{Decision, decide};
use aegis_core::policy::{Asked, Engine, Evaluation, PolicySet};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use cel::Program;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::opa::{Asking, Opa};
use crate::policies::SIZES;
use crate::report::{Row, Section, Times, median, number, short};
use crate::scene;

const ROUNDS: usize = 5;
const CALLS: usize = 20_000;
const SLOW_CALLS: usize = 300;
/// Coprime to all sizes: visits the agents in an order that no cache foresees.
const STRIDE: usize = 7_919;
const DECISION: &str = "/v1/data/aegis/gate/evaluation";
const MEASURED: &str = "/v1/data/aegis/gate/evaluation?metrics=true";

/// One size, and everything that answers for it.
struct World {
    agents: usize,
    policies: PolicySet,
    programs: HashMap<String, Program>,
    opa: Opa,
    asking: Asking,
    /// One per agent.
    calls: Vec<(Agent, ToolCall)>,
    rounds: Vec<Round>,
}

struct Round {
    native: Times,
    decide: Times,
    regorus: Times,
    cel: Times,
    opa: Times,
    /// What OPA says that its evaluation took, without HTTP and JSON.
    opa_inside: Times,
}

pub(crate) fn run(opa: &Path, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut worlds = Vec::new();
    for agents in SIZES {
        let mut world = runtime.block_on(World::new(agents, opa, scratch))?;
        runtime.block_on(world.all_agree())?;
        worlds.push(world);
    }
    for round in 0..ROUNDS {
        // The sizes take turns, so that a disturbance meets all of them.
        for world in &mut worlds {
            let measured = runtime.block_on(world.round(round))?;
            world.rounds.push(measured);
        }
    }
    let base = worlds.first().context("there is a first size")?.middle(|round| &round.native)?.quantile(0.99);
    let mut rows = Vec::new();
    for world in &worlds {
        rows.extend(world.rows(base)?);
    }
    for world in worlds {
        world.opa.process.stop()?;
    }
    let note = format!(
        "The scene's call (a Kubernetes PATCH, described before), each by another agent, ten actions per agent. Native and \
         `decide()`: {} calls per size, the others {}; of {ROUNDS} interleaved rounds the one in the middle by p99 is shown. Before \
         that, all engines agree on an allowed call and on a refused one. regorus: its input document is made in that time. \
         OPA: one kept connection on loopback, input written before; *inside* is what it counts for its query alone. cel: what the \
         agent's policy says of this one action, written by hand as one expression; values are put into its context in that \
         time; it finds no policy, no entry and no words for a refusal. WASM is no part of this version. \
         **Aim:** native p99 ≤ 10 µs, flat to 10,000 agents. Ratio: how many times native's p50 at the same size; of native, its p99 to that with 10 agents.",
        number((ROUNDS * CALLS) as f64, ""),
        number((ROUNDS * SLOW_CALLS) as f64, ""),
    );
    Ok(Section { title: "Engines", note, rows })
}

impl World {
    async fn new(agents: usize, opa: &Path, scratch: &Path) -> Result<Self> {
        let policies = scene::policies(agents)?;
        let opa = Opa::start(opa, scratch, &policies.bundle(None))?;
        let asking = opa.connect().await?;
        let catalogue = scene::catalogue()?;
        let call = |index| Ok((Agent::named(scene::agent(index)), scene::call(&catalogue, scene::body(index)?)?));
        let calls = (0..agents).map(call).collect::<Result<Vec<_>>>()?;
        let program = |index| Ok((scene::agent(index), Program::compile(&scene::in_cel(index)).context("CEL")?));
        let programs = (0..agents).map(program).collect::<Result<_>>()?;
        Ok(Self { agents, policies, programs, opa, asking, calls, rounds: Vec::new() })
    }

    fn at(&self, nth: usize) -> Result<&(Agent, ToolCall)> {
        self.calls.get(nth % self.agents).context("there is one per agent")
    }

    /// Every engine allows the first agent's call, and refuses it with too many replicas.
    async fn all_agree(&mut self) -> Result<()> {
        let (agent, call) = self.at(0)?.clone();
        let refused = scene::call(&scene::catalogue()?, scene::refused_body(0)?)?;
        for (call, allowed) in [(call, true), (refused, false)] {
            let asked = Asked::of(&agent, &call);
            let native = self.policies.evaluate(asked);
            ensure!(native.findings.is_empty() == allowed && !native.matched.is_empty(), "native: {native:?}");
            ensure!(native == self.policies.evaluate_with(Engine::Rego, asked), "regorus agrees");
            let answer = self.asking.ask(DECISION, self.question(asked)).await?;
            ensure!(native == said(&answer)?, "OPA agrees");
            ensure!(self.in_cel(&agent, &call)? == allowed, "cel agrees");
        }
        Ok(())
    }

    fn question(&self, asked: Asked<'_>) -> Bytes {
        Bytes::from(json!({ "input": self.policies.input(asked) }).to_string())
    }

    fn in_cel(&self, agent: &Agent, call: &ToolCall) -> Result<bool> {
        let text = |text: &str| cel::Value::String(Arc::new(text.to_owned()));
        let mut context = cel::Context::default();
        context.add_variable_from_value("tool", text(&call.tool));
        context.add_variable_from_value("env", text(&call.environment.name));
        let replicas = call.params.get("replicas").and_then(Value::as_i64).context("replicas")?;
        context.add_variable_from_value("replicas", cel::Value::Int(replicas));
        let images = call.images.iter().map(|image| text(image.digest.as_deref().unwrap_or_default()));
        context.add_variable_from_value("images", cel::Value::List(Arc::new(images.collect())));
        match self.programs.get(&agent.id).context("a program")?.execute(&context) {
            Ok(cel::Value::Bool(truth)) => Ok(truth),
            other => bail!("cel: {other:?}"),
        }
    }

    async fn round(&mut self, round: usize) -> Result<Round> {
        // Making the other sizes may take longer than OPA keeps a connection that nobody uses.
        self.asking = self.opa.connect().await?;
        let mut times = Round {
            native: Times::new(),
            decide: Times::new(),
            regorus: Times::new(),
            cel: Times::new(),
            opa: Times::new(),
            opa_inside: Times::new(),
        };
        let now = Timestamp::now();
        for nth in 0..CALLS {
            let (agent, call) = self.at(round + nth * STRIDE)?;
            let asked = Asked::of(agent, call);
            let started = Instant::now();
            let evaluation = black_box(self.policies.evaluate(asked));
            times.native.add(started.elapsed());
            ensure!(evaluation.findings.is_empty(), "the call is allowed");
        }
        for nth in 0..CALLS {
            let (agent, call) = self.at(round + nth * STRIDE)?;
            let (call, facts) = (call.clone(), scene::facts(&self.policies, format!("dec_{nth:026}"), now));
            let started = Instant::now();
            let decision = decide(&self.policies, agent, call, &facts);
            times.decide.add(started.elapsed());
            ensure!(matches!(decision, Decision::Allow(_)), "the call is allowed");
        }
        for nth in 0..SLOW_CALLS {
            let (agent, call) = self.at(round + nth * STRIDE)?;
            let started = Instant::now();
            let truth = self.in_cel(agent, call)?;
            times.cel.add(started.elapsed());
            let asked = Asked::of(agent, call);
            let started = Instant::now();
            let evaluation = self.policies.evaluate_with(Engine::Rego, asked);
            times.regorus.add(started.elapsed());
            ensure!(truth && evaluation.findings.is_empty(), "the call is allowed");
        }
        for nth in 0..SLOW_CALLS {
            let (agent, call) = self.at(round + nth * STRIDE)?;
            let question = self.question(Asked::of(agent, call));
            let started = Instant::now();
            let answer = self.asking.ask(DECISION, question.clone()).await?;
            times.opa.add(started.elapsed());
            ensure!(said(&answer)?.findings.is_empty(), "the call is allowed");
            let answer: Value = serde_json::from_slice(&self.asking.ask(MEASURED, question).await?)?;
            let inside = answer.pointer("/metrics/timer_rego_query_eval_ns").and_then(Value::as_u64);
            times.opa_inside.add(Duration::from_nanos(inside.context("OPA's own time")?));
        }
        Ok(times)
    }

    /// The round in the middle, by p99.
    fn middle(&self, of: impl Fn(&Round) -> &Times) -> Result<&Times> {
        median(self.rounds.iter().map(of).collect(), |times| times.quantile(0.99).as_secs_f64())
    }

    fn rows(&self, base: Duration) -> Result<Vec<Row>> {
        let size = number(self.agents as f64, "");
        let native = self.middle(|round| &round.native)?;
        let row = |what: &str, of: fn(&Round) -> &Times| {
            let times = self.middle(of)?;
            let (ours, peer) = (native.quantile(0.5), times.quantile(0.5));
            let ratio = format!("{:.1}", peer.as_secs_f64() / ours.as_secs_f64());
            let row = Row::latencies(format!("{size} agents: {what}"), times);
            Ok::<_, anyhow::Error>(Row { ours: short(ours), peer: short(peer), ratio, ..row })
        };
        let own = Row::latencies(format!("{size} agents: **native**, the evaluation alone"), native);
        Ok(vec![
            own.beside_time(native.quantile(0.99), base),
            row("`decide()`: native, and everything that the record says of it", |round| &round.decide)?,
            row("`cel` crate, one expression", |round| &round.cel)?,
            row("regorus", |round| &round.regorus)?,
            row("OPA, inside", |round| &round.opa_inside)?,
            row("OPA server, over HTTP", |round| &round.opa)?,
        ])
    }
}

fn said(answer: &[u8]) -> Result<Evaluation> {
    let answer: Value = serde_json::from_slice(answer)?;
    Ok(serde_json::from_value(answer.get("result").context("OPA's decision")?.clone())?)
}
