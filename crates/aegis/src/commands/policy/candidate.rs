//! `aegis policy candidate`: other policies, asked about the same live calls and not obeyed, until enough was seen to promote
//! them.

use std::path::PathBuf;

use aegis_core::shadow::report::Report;
use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};

use crate::cli::{CandidateCommand, Global, PromoteArgs};
use crate::commands::{print, report};
use crate::load;
use crate::operator::Operator;
use crate::outcome::{No, invalid};
use crate::style::Style;
use crate::table::cell;

const PATH: &str = "/v1/policies/candidate";

pub(super) async fn run(command: CandidateCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        CandidateCommand::Set { paths } => set(&paths, operator, global).await,
        CandidateCommand::Show => show(operator, global).await,
        CandidateCommand::Clear => {
            let cleared = operator.call(Method::DELETE, PATH, None).await?;
            print(global, &cleared, |cleared| format!("{} is watched no more\n", cell(cleared, "/version")))
        }
        CandidateCommand::Promote(args) => promote(&args, operator, global).await,
    }
}

async fn set(paths: &[PathBuf], operator: &Operator, global: &Global) -> Result<()> {
    let sources = load::sources(paths, "policies").map_err(invalid)?;
    let files: Vec<Value> = sources.iter().map(|source| json!({"file": source.file, "text": source.text})).collect();
    let set = operator.call(Method::PUT, PATH, Some(json!({"sources": files}))).await?;
    print(global, &set, |set| {
        format!(
            "{} ({}) is watched beside {}: `aegis policy candidate show` tells what it would change\n",
            cell(set, "/version"),
            counted(set),
            cell(set, "/active")
        )
    })
}

async fn show(operator: &Operator, global: &Global) -> Result<()> {
    let shown = operator.call(Method::GET, PATH, None).await?;
    let report: Option<Report> = serde_json::from_value(shown.get("report").cloned().unwrap_or_default())
        .context("the gateway's answer is no report: is it another version?")?;
    print(global, &shown, |shown| {
        let Some(report) = &report else {
            return "No candidate was ever watched: set one with `aegis policy candidate set PATH`.\n".to_owned();
        };
        let mut out = report::rendered_candidate(report, Style::stdout());
        let unmet: Vec<&str> =
            shown.get("unmet").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        out.push_str(&match (shown.get("watching"), unmet.as_slice()) {
            (Some(Value::Bool(false)), _) => "It is watched no more.\n".to_owned(),
            (_, []) => "Nothing stands in the way of `aegis policy candidate promote`.\n".to_owned(),
            (_, unmet) => format!("Not ready to be promoted: {}\n", unmet.join("; ")),
        });
        out
    })
}

async fn promote(args: &PromoteArgs, operator: &Operator, global: &Global) -> Result<()> {
    let body = json!({
        "force": args.force,
        "requirements": {
            "days": args.days,
            "calls": args.calls,
            "allow_new_blocks": args.allow_new_blocks,
            "allow_new_allows": args.allow_new_allows,
        },
    });
    let done = operator.call(Method::POST, &format!("{PATH}/promote"), Some(body)).await?;
    if done.get("version").is_none() {
        return Err(No("the gateway did not say what is in force now".to_owned()).into());
    }
    print(global, &done, |done| {
        let forced = match done.get("unmet").and_then(Value::as_array) {
            Some(unmet) if !unmet.is_empty() => format!(" (forced: {})", cell(done, "/unmet")),
            _ => String::new(),
        };
        format!("{} is in force instead of {}{forced}\n", cell(done, "/version"), cell(done, "/before"))
    })
}

fn counted(set: &Value) -> String {
    match set.get("policies").and_then(Value::as_u64) {
        Some(1) => "1 policy".to_owned(),
        _ => format!("{} policies", cell(set, "/policies")),
    }
}
