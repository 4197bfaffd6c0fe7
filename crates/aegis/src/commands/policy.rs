//! `aegis policy`: check, test, compile and explain files, for which no gateway is asked; and the versions of a gateway.

mod canary;
mod candidate;
mod check;
mod compile;
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
use aegis_core::policy::{Options, PolicySet};
use anyhow::Result;

use super::operate;
use crate::cli::{Global, PolicyCommand};
use crate::config::Config;
use crate::load;
use crate::outcome::invalid;

pub(super) fn run(command: PolicyCommand, global: &Global) -> Result<()> {
    match command {
        PolicyCommand::Check(args) => check::run(&args, global),
        PolicyCommand::Test(args) => test_cases::run(&args, global),
        PolicyCommand::Compile { paths, wasm, out } => compile::run(&paths, wasm.as_deref(), &out, global),
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
        // The mode is part of a version; which engine decides is not.
        let options = Options { mode: config.mode, ..Options::default() };
        load::policies(&load::sources(paths, "policies")?, options, &catalogue.defined())
    }))
}
