//! Numbers as a Markdown document.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use jiff::Timestamp;

/// One part of the benchmark.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What was done, and the aim.
    pub(crate) note: String,
    pub(crate) rows: Vec<Row>,
}

/// One line of a section's table; what a line doesn't have stays empty.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    /// A peer, or the same done directly.
    pub(crate) peer: String,
    pub(crate) ratio: String,
    pub(crate) p50: String,
    pub(crate) p99: String,
    pub(crate) memory: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// A row of latencies.
    pub(crate) fn latencies(what: impl Into<String>, times: &Times) -> Self {
        Self { p50: short(times.quantile(0.5)), p99: short(times.quantile(0.99)), ..Self::new(what) }
    }

    /// Sets ours, the peer's and their ratio.
    pub(crate) fn beside(mut self, ours: f64, peer: f64, unit: &str) -> Self {
        self.ours = number(ours, unit);
        self.peer = number(peer, unit);
        self.ratio = format!("{:.2}", ours / peer);
        self
    }

    /// The same of times.
    pub(crate) fn beside_time(mut self, ours: Duration, peer: Duration) -> Self {
        self.ours = short(ours);
        self.peer = short(peer);
        self.ratio = format!("{:.2}", ours.as_secs_f64() / peer.as_secs_f64());
        self
    }
}

/// Latencies in nanoseconds, to three digits, up to a minute.
#[derive(Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, 60_000_000_000, 3)
                .expect("a minute to three digits is what a histogram takes"),
        )
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).context("histograms of one shape can be added")
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

/// How much was done in one round, and how long each took.
pub(crate) struct Round {
    pub(crate) times: Times,
    /// A second.
    pub(crate) rate: f64,
}

impl Round {
    /// A round that ends now.
    pub(crate) fn new(times: Times, started: Instant) -> Self {
        let rate = times.count() as f64 / started.elapsed().as_secs_f64();
        Self { times, rate }
    }
}

/// The rounds' middle one, by `key`: a disturbed round on a shared machine is neither hidden nor believed.
pub(crate) fn median<T>(mut rounds: Vec<T>, key: impl Fn(&T) -> f64) -> Result<T> {
    rounds.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle).context("there was no round")
}

/// A time in microseconds, a long one in milliseconds.
pub(crate) fn short(time: Duration) -> String {
    match time.as_secs_f64() * 1e6 {
        micros if micros < 10.0 => format!("{micros:.2} µs"),
        micros if micros < 10_000.0 => number(micros, "µs"),
        micros => number(micros / 1e3, "ms"),
    }
}

/// Kilobytes, as the system counts them, in megabytes.
pub(crate) fn megabytes(kilobytes: u64) -> String {
    format!("{:.1} MB", kilobytes as f64 / 1024.0)
}

/// A number with its thousands apart.
pub(crate) fn number(value: f64, unit: &str) -> String {
    if value > 0.0 && value < 1.0 {
        return format!("{value:.2} {unit}").trim_end().to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if unit.is_empty() { text } else { format!("{text} {unit}") }
}

/// What was measured, when, and on what.
pub(crate) fn head(commit: &str, profile: &str) -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cpu = field(&read("/proc/cpuinfo")?, "model name");
    let memory = field(&read("/proc/meminfo")?, "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "- **Commit** {commit}, profile `{profile}`\n- **Date** {}\n- **Machine** {cores} cores of {cpu}, {memory}, Linux {}\n\
         - **Load of the machine before the run** {} (1, 5, 15 minutes)\n",
        Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        kernel.trim(),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    ))
}

/// The whole report.
pub(crate) fn document(head: &str, sections: &[Section]) -> Result<String> {
    let mut text = format!(
        "# Results\n\nWritten by `bench/run`; what each number means stands in [README.md](README.md). Read the ratios: they \
         are of one run on one machine.\n\n{head}"
    );
    for Section { title, note, rows } in sections {
        write!(text, "\n## {title}\n\n{note}\n\n")?;
        text.push_str("| what | ours | peer or direct | ratio | p50 | p99 | memory |\n");
        text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        for Row { what, ours, peer, ratio, p50, p99, memory } in rows {
            writeln!(text, "| {what} | {ours} | {peer} | {ratio} | {p50} | {p99} | {memory} |")?;
        }
    }
    Ok(text)
}
