//! `aegis policy`: check, compile and explain files, for which no gateway is asked; and the versions of a gateway.

mod canary;
mod explain;
mod mode;
mod publish;
mod versions;

use std::path::PathBuf;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Options, PolicySet};
use anyhow::{Context as _, Result};
use serde_json::json;

use super::{operate, print};
use crate::cli::{Global, PolicyCommand};
use crate::config::Config;
use crate::diagnostics;
use crate::load;
use crate::outcome::{No, invalid};
use crate::style::Style;

pub(super) fn run(command: PolicyCommand, global: &Global) -> Result<()> {
    match command {
        PolicyCommand::Check { paths } => check(&paths, global),
        PolicyCommand::Compile { paths, out } => {
            let policies = load_all(&paths, global)?.map_err(invalid)?;
            let bundle = policies.bundle(policies.publication());
            std::fs::write(&out, &bundle).with_context(|| format!("can't write {}", out.display()))?;
            let made = json!({"version": policies.version(), "policies": policies.len(), "written": out, "bytes": bundle.len()});
            print(global, &made, |_| {
                format!("{} with {} policies written to {}\n", policies.version(), policies.len(), out.display())
            })
        }
        PolicyCommand::Explain(args) => explain::run(&args, global),
        PolicyCommand::Versions(command) => {
            operate(global, async |operator| versions::run(command, operator, global).await)
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
        load::policies(&load::sources(paths, "policies")?, Options::default(), &catalogue.defined())
    }))
}

fn check(paths: &[PathBuf], global: &Global) -> Result<()> {
    let loaded = load_all(paths, global)?;
    let (found, version, count) = match &loaded {
        Ok(policies) => (policies.warnings(), Some(policies.version()), policies.len()),
        Err(errors) => (errors.as_slice(), None, 0),
    };
    let document = json!({"ok": loaded.is_ok(), "version": version, "policies": count, "diagnostics": found});
    print(global, &document, |_| {
        let rendered = diagnostics::render(found, Style::stdout());
        match version {
            Some(version) if count == 1 => format!("{rendered}1 policy is fine: {version}\n"),
            Some(version) => format!("{rendered}{count} policies are fine: {version}\n"),
            None => rendered,
        }
    })?;
    match loaded {
        Ok(_) => Ok(()),
        Err(errors) => Err(No(format!("{}: these policies would be refused", diagnostics::summary(&errors))).into()),
    }
}
