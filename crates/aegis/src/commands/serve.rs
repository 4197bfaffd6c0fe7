//! `aegis serve`: the gateway, until it is told to stop; `--check`: everything up to the first port.

use std::io::Write as _;
use std::net::SocketAddr;

use aegis_core::document::Diagnostic;
use aegis_core::policy::Mode;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{print, runtime};
use crate::cli::Global;
use crate::config::{Config, LogFormat};
use crate::outcome::{No, invalid};
use crate::style::Style;
use crate::{diagnostics, gateway, load};

/// One listener, as it is announced.
#[derive(Serialize)]
struct Listening {
    listening: &'static str,
    address: SocketAddr,
}

/// All listeners take calls.
#[derive(Serialize)]
struct Ready<'a> {
    /// Whether a policy is in force; without one every call is denied.
    ready: bool,
    policy_version: &'a str,
    mode: Mode,
    /// `current`, or `refused` where others were to be in force.
    policies: &'a str,
}

/// Runs the gateway.
pub(super) fn run(global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    log_as(config.telemetry.log)?;
    let loaded = gateway::load(&config).map_err(invalid)?;
    load::log(&config.warnings);
    runtime()?.block_on(async {
        // Before anything is announced, so that whoever reads the announcement can stop us in order.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut running = gateway::start(config, loaded).await?;
        for bound in &running.addresses {
            say(&Listening { listening: bound.listening, address: bound.address })?;
        }
        let policies = if running.refused { "refused" } else { "current" };
        let (ready, mode) = (running.in_force, running.mode);
        say(&Ready { ready, policy_version: &running.policy_version, mode, policies })?;
        let reloader = running.reloader.take().context("the gateway has nobody to watch its policies")?;
        let mut watch = tokio::spawn(reloader.watch());
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: no new calls, calls under way may end"),
            _ = terminate.recv() => tracing::info!("told to stop: no new calls, calls under way may end"),
            () = running.ended() => bail!("the gateway ended by itself; the log says why"),
            watched = &mut watch => bail!("nobody watches the policies any more: {watched:?}"),
        }
        // It uses the store, which closes next.
        watch.abort();
        running.stop().await
    })
}

/// Loads everything and says everything that is wrong.
pub(super) fn check(global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref());
    let (mut found, mut version) = (Vec::new(), None);
    match config {
        Err(errors) => found = errors,
        Ok(config) => {
            found.extend(config.warnings.iter().cloned());
            match gateway::check(&config) {
                Ok(policies) => {
                    found.extend_from_slice(policies.warnings());
                    version = Some(policies.version().to_owned());
                }
                Err(errors) => found.extend(errors),
            }
        }
    }
    let ok = !found.iter().any(is_error);
    let document = json!({"ok": ok, "policy_version": version, "diagnostics": found});
    print(global, &document, |_| {
        let rendered = diagnostics::render(&found, Style::stdout());
        if ok { format!("{rendered}ready to serve: {}\n", version.as_deref().unwrap_or("-")) } else { rendered }
    })?;
    if ok {
        Ok(())
    } else {
        Err(No(format!("{}: aegis serve would not run with these", diagnostics::summary(&found))).into())
    }
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == aegis_core::document::Severity::Error
}

/// A line for whoever started us. It is gone when nobody reads; serving goes on.
fn say(line: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(line)?;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("can't write to standard output")
        }
        _ => Ok(()),
    }
}

/// Log lines go to standard error; `RUST_LOG` chooses which.
fn log_as(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => subscriber.with_ansi(Style::stderr().is_coloured()).try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("logging can't be set up: {error}"))
}
