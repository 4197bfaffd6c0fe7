//! `aegis policy check`: what is wrong with policies, and what they probably don't mean.

use std::path::Path;

use aegis_core::agent::Agent;
use aegis_core::document::Diagnostic;
use aegis_core::policy::{PolicySet, Surroundings};
use aegis_server::identify::OPERATOR_TOKEN_FILE;
use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;

use super::sarif;
use crate::cli::{CheckArgs, Format, Global};
use crate::commands::{print, runtime};
use crate::config::{Config, DEFAULT_FILE, START};
use crate::diagnostics;
use crate::load;
use crate::operator::Operator;
use crate::outcome::{No, invalid};
use crate::style::Style;

pub(super) fn run(args: &CheckArgs, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let loaded = super::load_all(&args.paths, global)?;
    let (found, version, count) = match &loaded {
        Ok(policies) => (found(policies, args, &config, global)?, Some(policies.version()), policies.len()),
        Err(errors) => (errors.clone(), None, 0),
    };
    match (args.format, global.json) {
        (Format::Sarif, _) => {
            let global = Global { json: true, ..global.clone() };
            print(&global, &sarif::log(&found), |_| String::new())?;
        }
        (format, json) => {
            let document = json!({"ok": loaded.is_ok(), "version": version, "policies": count, "diagnostics": found});
            let global = Global { json: json || format == Format::Json, ..global.clone() };
            print(&global, &document, |_| {
                let rendered = diagnostics::render(&found, Style::stdout());
                version.map_or(rendered.clone(), |version| {
                    format!("{rendered}{}: {version}\n", verdict(count, found.len()))
                })
            })?;
        }
    }
    match loaded {
        Err(errors) => Err(No(format!("{}: these policies would be refused", diagnostics::summary(&errors))).into()),
        Ok(_) if args.deny_warnings && !found.is_empty() => {
            Err(No(format!("{}, and --deny-warnings was given", diagnostics::summary(&found))).into())
        }
        Ok(_) => Ok(()),
    }
}

/// Warnings and lints, in the order of the files.
fn found(policies: &PolicySet, args: &CheckArgs, config: &Config, global: &Global) -> Result<Vec<Diagnostic>> {
    // Without a configuration nothing is known of environments, and every name may be right.
    let configured = global.config.is_some() || Path::new(DEFAULT_FILE).exists();
    let catalogue = load::catalogue(config).map_err(invalid)?;
    let environments = catalogue.environments();
    // The agents of a data directory are those of its own policies, not of any that are named here.
    let mut found = policies.warnings().to_vec();
    let mut agents = None;
    if args.paths.is_empty() && config.data_dir.join(OPERATOR_TOKEN_FILE).exists() {
        match registered(global) {
            // Before the first is registered, none is missing.
            Ok(registered) => agents = Some(registered).filter(|agents| !agents.is_empty()),
            Err(error) => {
                let message = format!("nobody looked whether the agents are registered: {error:#}");
                found.push(Diagnostic::error(&config.data_dir.display().to_string(), START, "", message).warning());
            }
        }
    }
    let surroundings = Surroundings { environments: configured.then_some(&environments), agents: agents.as_deref() };
    found.extend(policies.lint(surroundings));
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(found)
}

/// The agents that the gateway knows.
fn registered(global: &Global) -> Result<Vec<Agent>> {
    runtime()?.block_on(async {
        let operator = Operator::reach(global.config.as_deref()).await?;
        let answer = operator.call(Method::GET, "/v1/agents", None).await;
        operator.close().await;
        let answer = answer?;
        let agents = answer.get("agents").cloned().unwrap_or_default();
        serde_json::from_value(agents).context("the gateway's answer about its agents can't be read")
    })
}

/// What is said of policies that load: warnings aren't fine.
fn verdict(policies: usize, warnings: usize) -> String {
    match (policies, warnings) {
        (1, 0) => "1 policy is fine".to_owned(),
        (_, 0) => format!("{policies} policies are fine"),
        (1, _) => format!("1 policy loads, {}", counted(warnings)),
        _ => format!("{policies} policies load, {}", counted(warnings)),
    }
}

fn counted(warnings: usize) -> String {
    if warnings == 1 { "with 1 warning".to_owned() } else { format!("with {warnings} warnings") }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn what_has_warnings_is_not_called_fine() {
        assert_eq!([verdict(1, 0), verdict(2, 0)], ["1 policy is fine", "2 policies are fine"]);
        assert_eq!(
            [verdict(1, 1), verdict(2, 3)],
            ["1 policy loads, with 1 warning", "2 policies load, with 3 warnings"]
        );
    }
}
