//! `aegis demo`: four stories through the real gateway, against small real tools on loopback.
//!
//! Nothing here decides: the gateway is the one that `serve` runs, with the starter policies that `init` writes, in a folder
//! of its own that goes away at the end. Every story is told by what the tools themselves received.

mod caller;
mod stage;
mod stories;
#[cfg(test)]
mod tests;
mod tools;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;

use crate::cli::{Approve, DemoArgs, Global};
use crate::commands::TEMPLATES;
use crate::config::Config;
use crate::data;
use crate::gateway::{self, Running};
use crate::operator::{Operator, segment};
use crate::outcome::{No, invalid};
use crate::style::Style;
use caller::Caller;
use stage::{Form, Stage};
use stories::World;
use tools::Tools;

/// The configuration, with the stand-ins' addresses left open.
const CONFIG: &str = include_str!("../templates/demo.yaml");
/// The policy of the agent that has a budget for the day.
const AUTOSCALER: &str = include_str!("../templates/autoscaler.yaml");
/// The agents of the stories.
const AGENTS: [&str; 4] = ["deploy-manager", "autoscaler", "ci-runner", "billing-agent"];

/// Runs the demo.
///
/// # Errors
/// [`No`] when a story didn't go as it should; what went wrong otherwise.
pub(crate) async fn run(args: &DemoArgs, global: &Global) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("aegis-demo-").tempdir().context("no folder for the demo")?;
    let tools = Tools::start().await?;
    let config = lay_out(folder.path(), &tools, args)?;
    let mut running = start(&config).await?;
    let data_dir = folder.path().join("data");
    let operator = Operator::running(&data::note(&data_dir)?, &data_dir)?;
    let form = Form::of(global.json, std::io::stdout().is_terminal());
    let world = World {
        callers: callers(&operator, &running).await?,
        operator,
        policies: folder.path().join("policies"),
        config: config.clone(),
        manual: args.approve == Approve::Manual,
        tools: &tools,
    };
    let mut stage = Stage::new(form, Style::stdout());
    stage.open(&running.policy_version);
    let told = tokio::select! {
        told = stories::tell(&world, &mut stage) => told,
        stopped = interrupted() => stopped.and(Err(No("interrupted".to_owned()).into())),
    };
    let (passed, failed) = stage.close();
    if told.is_ok() && !args.once {
        stay(&config, &mut running, form).await?;
    }
    running.stop().await?;
    told?;
    if failed == 0 {
        Ok(())
    } else {
        Err(No(format!("{failed} of {} stories didn't go as they should", passed + failed)).into())
    }
}

/// Writes the starter pack and the demo's configuration; returns the latter's path.
fn lay_out(folder: &Path, tools: &Tools, args: &DemoArgs) -> Result<PathBuf> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("can't write {}", path.display()))
    };
    for (name, text) in TEMPLATES {
        write(name, text)?;
    }
    write("policies/autoscaler.yaml", AUTOSCALER)?;
    write("cluster.token", tools::CLUSTER_CREDENTIAL)?;
    let text = CONFIG
        .replace("@API@", &args.api.to_string())
        .replace("@KUBERNETES@", &tools.kubernetes.address.to_string())
        .replace("@PAYMENTS@", &tools.payments.address.to_string())
        .replace("@OUTSIDE@", &tools.outside.address.to_string())
        .replace("@SSH@", &tools.ssh.address.to_string());
    write("aegis.yaml", &text)?;
    Ok(folder.join("aegis.yaml"))
}

async fn start(config: &Path) -> Result<Running> {
    let config = Config::load(Some(config)).map_err(invalid)?;
    let loaded = gateway::load(&config).map_err(invalid)?;
    let mut running = gateway::start(config, loaded).await?;
    if let Some(reloader) = running.reloader.take() {
        tokio::spawn(reloader.watch());
    }
    Ok(running)
}

/// Registers the agents and gives each a token, as an operator would.
async fn callers(operator: &Operator, running: &Running) -> Result<Vec<Caller>> {
    let proxy = running.address("proxy").context("the gateway has no proxy listener")?;
    let mut callers = Vec::new();
    for name in AGENTS {
        operator.call(Method::POST, "/v1/agents", Some(json!({"id": name}))).await?;
        let issued = operator.call(Method::POST, &format!("/v1/agents/{}/tokens", segment(name)), None).await?;
        let token = issued.get("token").and_then(serde_json::Value::as_str).context("no token was issued")?;
        callers.push(Caller::new(name, proxy, token));
    }
    Ok(callers)
}

/// Stays up until interrupted.
async fn stay(config: &Path, running: &mut Running, form: Form) -> Result<()> {
    let address = |listening| running.address(listening).map(|address| address.to_string()).unwrap_or_default();
    let (api, proxy, config) = (address("api"), address("proxy"), config.display().to_string());
    match form {
        Form::Json => println!("{}", json!({"staying": true, "api": api, "proxy": proxy, "config": config})),
        Form::Plain | Form::Terminal => {
            println!("\nThe gateway stays up until Ctrl-C.\n  API    http://{api}\n  proxy  http://{proxy}");
            println!("\nIn another terminal:\n  export AEGIS_CONFIG={config}\n  alias aegis={}", own_name());
            for (arguments, what) in [
                ("audit tail --follow", "every decision, as it is recorded"),
                ("approvals list", "what waits for a human"),
                ("agent suspend ci-runner", "the kill switch"),
            ] {
                println!("  aegis {arguments:<25} # {what}");
            }
        }
    }
    tokio::select! {
        stopped = interrupted() => stopped,
        () = running.ended() => anyhow::bail!("the gateway ended by itself"),
    }
}

/// Waits until somebody wants us to stop.
async fn interrupted() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("can't wait for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

/// This binary, as it can be started again from anywhere.
fn own_name() -> String {
    std::env::current_exe().map_or_else(|_| "aegis".to_owned(), |path| path.display().to_string())
}
