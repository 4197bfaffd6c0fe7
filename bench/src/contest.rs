//! Servers that are measured beside each other: in turns, so that a disturbance of the machine meets all of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use crate::load::{self, Target};
use crate::process::{self, Process};
use crate::report::{Round, Row, Times, median, megabytes, number, short};

/// What a decision may add at p99.
const AIM: Duration = Duration::from_micros(500);

/// One of those that are measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    target: Target,
    /// The process whose time and memory are told.
    process: Option<u32>,
    open: Vec<(Round, Duration)>,
    closed: Vec<Round>,
    fresh: Vec<Round>,
}

/// What is done in a round, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Requests a second at the fixed rate.
    pub(crate) rate: u32,
    pub(crate) open: Duration,
    pub(crate) closed: Duration,
}

/// What one did, in the rounds of the middle.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    open: Option<(Round, Duration)>,
    closed: Option<Round>,
    fresh: Option<Round>,
    memory: String,
    /// How many requests it answered.
    pub(crate) calls: u64,
}

impl Contender {
    pub(crate) fn new(name: &'static str, target: Target, process: Option<&Process>) -> Self {
        let process = process.map(Process::id);
        Self { name, target, process, open: Vec::new(), closed: Vec::new(), fresh: Vec::new() }
    }

    fn cpu(&self) -> Result<Duration> {
        self.process.map_or(Ok(Duration::ZERO), process::cpu_of)
    }

    async fn at_a_rate(&mut self, rate: u32, duration: Duration) -> Result<()> {
        let callers = self.target.callers().await?;
        let before = self.cpu()?;
        let round = load::open_loop(callers, rate, duration).await?;
        let cpu = (self.cpu()? - before).div_f64(round.times.count().max(1) as f64);
        self.open.push((round, cpu));
        Ok(())
    }

    fn measured(self) -> Result<Measured> {
        let rounds = [&self.closed, &self.fresh].into_iter().flatten().chain(self.open.iter().map(|(round, _)| round));
        let calls = rounds.map(|round| round.times.count()).sum();
        let memory = self.process.map(process::memory_of).transpose()?;
        let fastest = |rounds: Vec<Round>| (!rounds.is_empty()).then(|| median(rounds, |round| round.rate)).transpose();
        let by_p99 = |(round, _): &(Round, Duration)| round.times.quantile(0.99).as_secs_f64();
        Ok(Measured {
            name: self.name,
            open: (!self.open.is_empty()).then(|| median(self.open, by_p99)).transpose()?,
            closed: fastest(self.closed)?,
            fresh: fastest(self.fresh)?,
            memory: memory
                .map_or_else(String::new, |(now, most)| format!("{} ({:.1})", megabytes(now), most as f64 / 1024.0)),
            calls,
        })
    }
}

/// Measures all, round by round: at the fixed rate, then as fast as each goes.
pub(crate) fn requests(runtime: &Runtime, contenders: &mut [Contender], plan: Plan) -> Result<()> {
    for round in 0..plan.rounds {
        eprintln!("bench: round {} of {}", round + 1, plan.rounds);
        for one in &mut *contenders {
            runtime.block_on(one.at_a_rate(plan.rate, plan.open)).context(one.name)?;
        }
        for one in contenders.iter_mut().filter(|_| !plan.closed.is_zero()) {
            let done = runtime.block_on(async { load::closed_loop(one.target.callers().await?, plan.closed).await });
            one.closed.push(done.context(one.name)?);
        }
    }
    Ok(())
}

/// Measures new connections with one request each, as fast as each contender takes them.
pub(crate) fn set_ups(runtime: &Runtime, contenders: &mut [Contender], rounds: usize, each: Duration) -> Result<()> {
    for _ in 0..rounds {
        for one in &mut *contenders {
            let done = runtime.block_on(load::closed_loop(one.target.newcomers(), each));
            one.fresh.push(done.context(one.name)?);
        }
    }
    Ok(())
}

/// The middle rounds of all.
pub(crate) fn results(contenders: Vec<Contender>) -> Result<Vec<Measured>> {
    contenders.into_iter().map(Contender::measured).collect()
}

/// The one of this name.
pub(crate) fn named<'m>(all: &'m [Measured], name: &str) -> Result<&'m Measured> {
    all.iter().find(|one| one.name == name).with_context(|| format!("{name} is measured"))
}

impl Measured {
    fn times(&self) -> Result<&Times> {
        self.open.as_ref().map(|(round, _)| &round.times).with_context(|| format!("{} at a rate", self.name))
    }

    /// What it adds to `base` at p50 and p99.
    pub(crate) fn added(&self, base: &Self) -> Result<[Duration; 2]> {
        let (own, base) = (self.times()?, base.times()?);
        Ok([0.5, 0.99].map(|quantile| own.quantile(quantile).saturating_sub(base.quantile(quantile))))
    }

    /// A row of the latencies at the fixed rate, and what is added to `base`.
    pub(crate) fn at_a_rate(&self, base: Option<&Self>, rate: u32) -> Result<Row> {
        let (round, cpu) = self.open.as_ref().context("it was measured at a rate")?;
        let mut what = format!("{} /s, {}", number(rate.into(), ""), self.name);
        if !cpu.is_zero() {
            what += &format!("; {} CPU per request", short(*cpu));
        }
        if round.rate < f64::from(rate) * 0.9 {
            what += &format!("; **doesn't keep up: {}**", number(round.rate, "/s"));
        }
        let row = Row { memory: self.memory.clone(), ..Row::latencies(what, &round.times) };
        let Some(base) = base.filter(|base| base.name != self.name) else { return Ok(row) };
        let ([p50, p99], base) = (self.added(base)?, base.times()?.quantile(0.99));
        let row = row.beside_time(round.times.quantile(0.99), base);
        Ok(Row { ours: format!("+{}, +{}", short(p50), short(p99)), ..row })
    }

    /// A row of how many requests a second it answers, beside how many `aegis` does.
    pub(crate) fn at_most(&self, aegis: &Self) -> Result<Row> {
        let aegis = aegis.closed.as_ref().map(|round| round.rate);
        rates(format!("as fast as it goes, {}", self.name), self.closed.as_ref(), aegis)
    }

    /// A row of how many new connections a second it takes, beside how many `aegis` does.
    pub(crate) fn at_set_up(&self, aegis: &Self) -> Result<Row> {
        let aegis = aegis.fresh.as_ref().map(|round| round.rate);
        rates(format!("new connections, {}", self.name), self.fresh.as_ref(), aegis)
    }
}

fn rates(what: String, own: Option<&Round>, aegis: Option<f64>) -> Result<Row> {
    let own = own.with_context(|| format!("{what}: it was measured"))?;
    let aegis = aegis.with_context(|| format!("{what}: aegis was measured"))?;
    Ok(Row::latencies(what, &own.times).beside(aegis, own.rate, "/s"))
}

/// What becomes of the aim that at p99 no way in adds more than half a millisecond; each with what it is added to.
pub(crate) fn verdict(ours: &[(&Measured, &Measured)]) -> Result<String> {
    judged(ours.iter().map(|(own, base)| Ok((own.name, own.added(base)?[1]))))
}

/// The same where nothing else would take any time.
pub(crate) fn verdict_of_all(ours: &[Measured]) -> Result<String> {
    judged(ours.iter().map(|own| Ok((own.name, own.times()?.quantile(0.99)))))
}

fn judged(p99: impl Iterator<Item = Result<(&'static str, Duration)>>) -> Result<String> {
    let told = p99.map(|one| {
        let (name, p99) = one?;
        Ok(format!("{name} +{}, {}", short(p99), if p99 < AIM { "met" } else { "**missed**" }))
    });
    let told = told.collect::<Result<Vec<_>>>()?.join("; ");
    Ok(format!("**Aim:** under 0.5 ms added at p99 at 1,000 requests/s: {told}."))
}
