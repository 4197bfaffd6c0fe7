//! `aegis policy replay`: what a candidate would have said of the calls that were recorded.

mod tally;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use aegis_core::replay::Replay;
use anyhow::Result;
use tally::Tally;

use super::which;
use crate::cli::{FailOn, Global, ReplayArgs};
use crate::commands::{operate, print};
use crate::outcome::No;
use crate::style::Style;
use crate::traffic;

/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(args: &ReplayArgs, global: &Global) -> Result<()> {
    let candidate = which::load(args.candidate.as_deref(), BTreeMap::new(), global)?.policies;
    let replay = Replay::of(&candidate);
    let since = traffic::since(args.since.as_deref())?;
    let mut tally = Tally::default();
    let mut progress = Progress::start();
    match &args.file {
        Some(file) => traffic::from_file(file, |call| {
            if call.at >= since {
                tally.add(call, &replay);
            }
            progress.step();
            Ok(())
        })?,
        None => operate(global, async |operator| {
            let each = |call| {
                tally.add(serde_json::from_value(call)?, &replay);
                progress.step();
                Ok(())
            };
            traffic::from_gateway(operator, since, each).await
        })?,
    }
    progress.end();
    print(global, &tally.document(candidate.version()), |_| tally.text(candidate.version(), Style::stdout()))?;
    verdict(&tally, &args.fail_on)
}

/// Nothing replayed proves nothing, so that is a no as well.
fn verdict(tally: &Tally, fail_on: &[FailOn]) -> Result<()> {
    if tally.calls() == 0 {
        let hint = "none were recorded: `audit: {calls: 7d}` in aegis.yaml keeps them from then on";
        return Err(No(format!("there are no calls to replay; {hint}")).into());
    }
    for fail_on in fail_on {
        let (count, what) = match fail_on {
            FailOn::NewlyAllowed => (tally.newly_allowed(), "would be newly allowed"),
            FailOn::NewlyDenied => (tally.newly_denied(), "would be newly denied"),
            FailOn::Any => (tally.not_same(), "would be answered otherwise, or can't be judged"),
        };
        if count > 0 {
            return Err(No(format!("{count} of {} calls {what}", tally.calls())).into());
        }
    }
    Ok(())
}

/// How far it is, on a terminal; silent elsewhere.
struct Progress {
    shown: Option<Instant>,
    started: Instant,
    steps: u64,
}

impl Progress {
    fn start() -> Self {
        let now = Instant::now();
        Self { shown: std::io::stderr().is_terminal().then_some(now), started: now, steps: 0 }
    }

    fn step(&mut self) {
        self.steps += 1;
        let Some(shown) = self.shown.filter(|shown| shown.elapsed() >= SHOW_EVERY) else { return };
        let per_second = self.steps as f64 / (shown - self.started + shown.elapsed()).as_secs_f64();
        Self::show(&format!("{} calls replayed, {per_second:.0} per second", self.steps));
        self.shown = Some(Instant::now());
    }

    fn end(&self) {
        if self.shown.is_some() {
            Self::show("");
        }
    }

    /// Overwrites the line. What can't be shown isn't missed.
    fn show(text: &str) {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K{text}");
    }
}
