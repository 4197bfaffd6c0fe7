//! The commands, one file each. Each prints its result on standard output: text for people, with `--json` JSON for machines.

mod agent;
mod approvals;
mod audit;
mod bundle;
mod ca;
mod dlp;
mod init;
mod key;
mod mcp;
mod policy;
mod report;
mod schema;
mod serve;
mod token;
mod tools;

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::{Cli, Command, Global};
use crate::demo;
use crate::operator::Operator;

pub(crate) use init::TEMPLATES;

/// Runs one command.
///
/// # Errors
/// [`crate::outcome::No`] when the answer is no; what went wrong otherwise.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Demo(args) => runtime()?.block_on(demo::run(&args, &global)),
        Command::Init { dir } => init::run(&dir, &global),
        Command::Serve { check: true } => serve::check(&global),
        Command::Serve { check: false } => serve::run(&global),
        Command::Agent(command) => operate(&global, async |operator| agent::run(command, operator, &global).await),
        Command::Key(command) => operate(&global, async |operator| key::run(command, operator, &global).await),
        Command::Token(command) => token::run(command, &global),
        Command::Policy(command) => policy::run(command, &global),
        Command::Approvals(command) => {
            operate(&global, async |operator| approvals::run(command, operator, &global).await)
        }
        Command::Mcp { command: Some(command), .. } => {
            operate(&global, async |operator| mcp::run(command, operator, &global).await)
        }
        Command::Mcp { command: None, bridge: Some(args) } => runtime()?.block_on(mcp::bridge(args)),
        Command::Mcp { command: None, bridge: None } => {
            anyhow::bail!("name a server's command after `--`, or one of: list, accept (see `aegis mcp --help`)")
        }
        Command::Audit(command) => operate(&global, async |operator| audit::run(command, operator, &global).await),
        Command::Report(command) => operate(&global, async |operator| report::run(command, operator, &global).await),
        Command::Tools(command) => tools::run(command, &global),
        Command::Dlp(command) => dlp::run(command, &global),
        Command::Ca(command) => ca::run(command, &global),
        Command::Schema { name } => schema::run(name, &global),
        Command::Bundle(command) => bundle::run(command, &global),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            print(&global, &json!({"name": "aegis", "version": version}), |_| format!("aegis {version}\n"))
        }
    }
}

/// Reaches the gateway, runs `operation`, and lets go of it.
fn operate(global: &Global, operation: impl AsyncFnOnce(&Operator) -> Result<()>) -> Result<()> {
    runtime()?.block_on(async {
        let operator = Operator::reach(global.config.as_deref()).await?;
        let result = operation(&operator).await;
        operator.close().await;
        result
    })
}

/// As many threads as there are cores, which is what the work can use.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime can't be started")
}

/// Prints `value`: as JSON for machines, as `text` makes it for people.
fn print(global: &Global, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
    use std::io::Write as _;
    let text = if global.json { format!("{value:#}\n") } else { text(value) };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("can't write to standard output"),
    }
}

/// A file's bytes, or standard input's for `-`.
fn read_input(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("can't read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("can't read {}", path.display()))
}
