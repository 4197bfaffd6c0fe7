//! A decision without I/O: identity, description, facts, policy.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::call::{HttpRequest, ToolCall};
use aegis_core::decide::{Decision, decide};
use aegis_core::describe::Catalogue;
use aegis_core::policy::{Asked, Engine, PolicySet};
use aegis_server::identify::{Credential, Identify, Settings};
use aegis_store::{Durability, Store};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::report::{Row, Section, Times, median, number, short};
use crate::scene;

const SIZES: [usize; 3] = [10, 1_000, 10_000];
const ROUNDS: usize = 9;
const CALLS_PER_ROUND: usize = 10_000;
const REGO_CALLS_PER_ROUND: usize = 200;
/// How many tokens are verified for the first time.
const NEW_TOKENS: usize = 5_000;
/// Coprime to all sizes: visits the agents in an order that no cache foresees.
const STRIDE: usize = 7_919;

/// A gateway's insides for so many agents, without a wire.
struct World {
    agents: usize,
    catalogue: Catalogue,
    policies: PolicySet,
    /// How long it took to load the policies.
    loading: Duration,
    store: Store,
    identify: Identify,
    /// One per agent.
    tokens: Vec<Credential>,
    bodies: Vec<Bytes>,
    first_identify: Times,
    rounds: Vec<Steps>,
    _dir: TempDir,
}

/// Where the time goes, in one round.
struct Steps {
    whole: Times,
    identify: Times,
    describe: Times,
    facts: Times,
    decide: Times,
    native: Times,
    rego: Times,
}

pub(crate) fn run(scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut worlds = Vec::new();
    for agents in SIZES {
        worlds.push(runtime.block_on(World::new(agents, scratch))?);
    }
    for round in 0..ROUNDS {
        // The sizes take turns, so that a disturbance meets all of them.
        for world in &mut worlds {
            let mut times = Steps::new();
            world.decide(round, &mut times)?;
            world.engines(round, &mut times)?;
            world.rounds.push(times);
        }
    }
    let note = format!(
        "One thread, {} calls of 1 KiB JSON per size, each by another agent. Whole: the token is checked (signature verified \
         before, registry and revocations asked), the Kubernetes call is described, the facts are fetched (rates that apply, the \
         approval by the call's digest), the policy is evaluated and the decision composed; no I/O. Of {ROUNDS} interleaved rounds the \
         one in the middle is shown. **Aim:** p99 under 100 µs, \
         flat within 1.5×. Ratio: to 10 agents, by p50; for regorus, to the native evaluator.",
        number((ROUNDS * CALLS_PER_ROUND) as f64, ""),
    );
    let base = worlds.first().context("there is a first size")?.middle(|times| &times.whole)?.quantile(0.5);
    let mut rows = Vec::new();
    for world in &worlds {
        rows.extend(world.rows(base)?);
    }
    let section = Section { title: "Decision", note, rows };
    runtime.block_on(async {
        for world in &worlds {
            world.store.close().await;
        }
    });
    Ok(section)
}

impl World {
    async fn new(agents: usize, scratch: &Path) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let store = Store::open(dir.path(), Durability::Buffered)?;
        let mut adding = tokio::task::JoinSet::new();
        for index in 0..agents {
            let store = store.clone();
            adding.spawn(async move { store.add_agent(&scene::agent(index), vec!["ci".to_owned()], "bench").await });
        }
        while let Some(added) = adding.join_next().await {
            added??;
        }
        let identify = Identify::open(dir.path(), store.clone(), Settings::default())?;
        let now = Timestamp::now();
        let issue = |index: usize| -> Result<Credential> {
            Ok(Credential::Bearer(identify.issue(&scene::agent(index % agents), None, now)?.token))
        };
        let mut first_identify = Times::new();
        for token in (0..NEW_TOKENS).map(issue) {
            let token = token?;
            let started = Instant::now();
            verify(&identify, &token, now)?;
            first_identify.add(started.elapsed());
        }
        let tokens = (0..agents).map(issue).collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        let policies = scene::policies(agents)?;
        let loading = started.elapsed();
        let bodies = (0..agents).map(scene::body).collect::<Result<Vec<_>>>()?;
        let catalogue = scene::catalogue()?;
        let rounds = Vec::new();
        let world = Self {
            agents,
            catalogue,
            policies,
            loading,
            store,
            identify,
            tokens,
            bodies,
            first_identify,
            rounds,
            _dir: dir,
        };
        world.warm()?;
        Ok(world)
    }

    /// Every token is seen once, and the interpreter is prepared.
    fn warm(&self) -> Result<()> {
        for token in &self.tokens {
            verify(&self.identify, token, Timestamp::now())?;
        }
        let agent = Agent::named(scene::agent(0));
        let call = self.describe(self.request(0))?;
        self.policies.evaluate_with(Engine::Rego, Asked::of(&agent, &call));
        Ok(())
    }

    fn request(&self, at: usize) -> HttpRequest {
        scene::request(self.bodies.get(at).cloned().unwrap_or_default())
    }

    fn describe(&self, request: HttpRequest) -> Result<ToolCall> {
        self.catalogue.describe(&scene::ARRIVAL, request).map_err(|error| anyhow!("{error}"))
    }

    /// The same steps as the server's pipeline takes, between two waits.
    fn decide(&self, round: usize, times: &mut Steps) -> Result<()> {
        for nth in 0..CALLS_PER_ROUND {
            let at = (round + nth * STRIDE) % self.agents;
            let (request, token) = (self.request(at), &self.tokens[at]);
            let id = format!("dec_{nth:026}");

            let started = Instant::now();
            let now = Timestamp::now();
            let agent = verify(&self.identify, token, now)?;
            let identified = Instant::now();
            let call = self.describe(request)?;
            let described = Instant::now();
            let rates = self.policies.rates(Asked::of(&agent, &call));
            let digest = call.digest().map(|digest| digest.to_string()).unwrap_or_default();
            let approval = self.store.approval_for(&agent.id, &digest);
            let facts = scene::facts(&self.policies, id, now);
            let fetched = Instant::now();
            let decision = decide(&self.policies, &agent, call, &facts);
            let decided = Instant::now();

            ensure!(rates.len() == 1 && approval.is_none(), "one rate applies, and there is no approval");
            if let Decision::Deny(denial) = &decision {
                bail!("not allowed: {}", denial.explanation().detail);
            }
            ensure!(matches!(decision, Decision::Allow(_)), "the call is allowed");
            times.identify.add(identified - started);
            times.describe.add(described - identified);
            times.facts.add(fetched - described);
            times.decide.add(decided - fetched);
            times.whole.add(decided - started);
        }
        Ok(())
    }

    /// The two evaluators on the same calls.
    fn engines(&self, round: usize, times: &mut Steps) -> Result<()> {
        for nth in 0..CALLS_PER_ROUND {
            let at = (round + nth * STRIDE) % self.agents;
            let (agent, call) = (Agent::named(scene::agent(at)), self.describe(self.request(at))?);
            let asked = Asked::of(&agent, &call);
            let started = Instant::now();
            let native = black_box(self.policies.evaluate_with(Engine::Native, asked));
            times.native.add(started.elapsed());
            if nth < REGO_CALLS_PER_ROUND {
                let started = Instant::now();
                let rego = self.policies.evaluate_with(Engine::Rego, asked);
                times.rego.add(started.elapsed());
                ensure!(native == rego, "the two evaluators agree");
            }
        }
        Ok(())
    }

    /// The round in the middle, by p99.
    fn middle(&self, of: impl Fn(&Steps) -> &Times) -> Result<&Times> {
        median(self.rounds.iter().map(of).collect(), |times| times.quantile(0.99).as_secs_f64())
    }

    fn rows(&self, base: Duration) -> Result<Vec<Row>> {
        let size = number(self.agents as f64, "");
        let named = |what: &str| format!("{size} agents: {what}");
        let row = |what: &str, of: fn(&Steps) -> &Times| {
            Ok::<_, anyhow::Error>(Row::latencies(named(what), self.middle(of)?))
        };
        let typical = |of: fn(&Steps) -> &Times| Ok::<_, anyhow::Error>(self.middle(of)?.quantile(0.5));
        Ok(vec![
            row("**whole**", |times| &times.whole)?.beside_time(typical(|times| &times.whole)?, base),
            row("– identity, token seen before", |times| &times.identify)?,
            row("– describe", |times| &times.describe)?,
            row("– facts", |times| &times.facts)?,
            row("– decide", |times| &times.decide)?,
            Row::latencies(named("identity, new token (signature checked)"), &self.first_identify),
            row("evaluate only, native", |times| &times.native)?,
            row("evaluate only, regorus", |times| &times.rego)?
                .beside_time(typical(|times| &times.rego)?, typical(|times| &times.native)?),
            Row { ours: short(self.loading), ..Row::new(named("load the policies")) },
        ])
    }
}

impl Steps {
    fn new() -> Self {
        let new = Times::new;
        Self { whole: new(), identify: new(), describe: new(), facts: new(), decide: new(), native: new(), rego: new() }
    }
}

fn verify(identify: &Identify, token: &Credential, now: Timestamp) -> Result<Agent> {
    identify.verify(token, now).map_err(|rejected| anyhow!("identity: {}", rejected.0))
}
