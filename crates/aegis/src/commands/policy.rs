//! `aegis policy`: check, test, compile and explain files, for which no gateway is asked; and the versions of a gateway.

mod canary;
mod candidate;
mod check;
mod diff;
mod explain;
mod mode;
mod publish;
mod replay;
mod sarif;
mod suggest;
mod test_cases;
mod versions;
mod which;
mod written;

use std::path::PathBuf;

use aegis_core::document::Diagnostic;
use aegis_core::policy::PolicySet;
use anyhow::{Context as _, Result};
use serde_json::json;

use super::{operate, print};
use crate::cli::{Global, PolicyCommand};
use crate::config::Config;
use crate::load;
use crate::outcome::invalid;

pub(super) fn run(command: PolicyCommand, global: &Global) -> Result<()> {
    match command {
        PolicyCommand::Check(args) => check::run(&args, global),
        PolicyCommand::Test(args) => test_cases::run(&args, global),
        PolicyCommand::Compile { paths, out } => {
            let policies = load_all(&paths, global)?.map_err(invalid)?;
            let bundle = policies.bundle(policies.publication());
            std::fs::write(&out, &bundle).with_context(|| format!("can't write {}", out.display()))?;
            let made = json!({"version": policies.version(), "policies": policies.len(), "written": out, "bytes": bundle.len()});
            print(global, &made, |_| {
                let count = match policies.len() {
                    1 => "1 policy".to_owned(),
                    more => format!("{more} policies"),
                };
                format!("{} with {count} written to {}\n", policies.version(), out.display())
            })
        }
        PolicyCommand::Explain(args) => explain::run(&args, global),
        PolicyCommand::Diff(args) => diff::run(&args, global),
        PolicyCommand::Replay(args) => replay::run(&args, global),
        PolicyCommand::Versions(command) => {
            operate(global, async |operator| versions::run(command, operator, global).await)
        }
        PolicyCommand::Suggest(args) => suggest::run(&args, global),
        PolicyCommand::Candidate(command) => {
            operate(global, async |operator| candidate::run(command, operator, global).await)
        }
    }
}

/// The policies of `paths`, or of the configuration where none is named; they must fit the configuration's catalogue.
fn load_all(paths: &[PathBuf], global: &Global) -> Result<Result<PolicySet, Vec<Diagnostic>>> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    if paths.is_empty() {
        return Ok(load::all(&config).map(|(_, policies)| policies));
    }
    Ok(load::catalogue(&config).and_then(|catalogue| {
        load::policies(&load::sources(paths, "policies")?, load::options(&config), &catalogue.defined())
    }))
}
