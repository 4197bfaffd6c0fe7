//! `aegis policy publish`: policies from files become a version of the gateway, and come into force.

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;

use super::versions::{print_change, said};
use crate::cli::Global;
use crate::cli::versions::{PublishArgs, RiskTier};
use crate::config::Config;
use crate::load;
use crate::operator::Operator;
use crate::outcome::invalid;
use crate::table::cell;

pub(super) async fn run(args: PublishArgs, operator: &Operator, global: &Global) -> Result<()> {
    let paths = match args.paths.is_empty() {
        true => vec![Config::load(global.config.as_deref()).map_err(invalid)?.policies],
        false => args.paths,
    };
    let sources = load::sources(&paths, "policies").map_err(invalid)?;
    let risk = args.risk.map(|risk| match risk {
        RiskTier::Low => "low",
        RiskTier::Medium => "medium",
        RiskTier::High => "high",
    });
    let activate = !args.no_activate;
    let sources = serde_json::to_value(sources).context("the policies can't be sent")?;
    let body =
        json!({"sources": sources, "note": args.note, "author": args.author, "risk": risk, "activate": activate});
    let answer = operator.call(Method::POST, "/v1/policies", Some(body)).await?;
    print_change(global, &answer, |answer| match activate {
        true => said(operator, answer, "published:"),
        false => {
            let version = cell(answer, "/about");
            format!("{version} stored; try it with `aegis policy canary {version} --share 5%`\n")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_sent_as_the_api_reads_them() {
        let source = aegis_core::policy::Source { file: "a.yaml".to_owned(), text: "agent: a\n".to_owned() };
        let sent = serde_json::to_value([source]).expect("JSON");
        assert_eq!(sent, json!([{"file": "a.yaml", "text": "agent: a\n"}]));
    }
}
