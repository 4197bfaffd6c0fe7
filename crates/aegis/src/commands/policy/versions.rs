//! `aegis policy list|show|status|rollback`: the versions of a gateway.

use aegis_core::document::Diagnostic;
use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::cli::versions::VersionsCommand;
use crate::commands::print;
use crate::diagnostics;
use crate::operator::{Operator, query, segment};
use crate::style::Style;
use crate::table::{self, cell, time};

pub(super) async fn run(command: VersionsCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        VersionsCommand::Publish(args) => super::publish::run(args, operator, global).await,
        VersionsCommand::Mode(args) => super::mode::run(args, operator, global).await,
        VersionsCommand::Canary(args) => super::canary::run(args, operator, global).await,
        VersionsCommand::List => {
            let list = operator.call(Method::GET, "/v1/policies", None).await?;
            print(global, &list, listed)
        }
        VersionsCommand::Show { version, source } => {
            let path = format!(
                "/v1/policies/{}{}",
                segment(&version),
                query(&[("source", source.then(|| "true".to_owned()))])
            );
            print(global, &operator.call(Method::GET, &path, None).await?, shown)
        }
        VersionsCommand::Status => {
            let mut status = operator.call(Method::GET, "/v1/policies", None).await?;
            if let Some(status) = status.as_object_mut() {
                status.remove("versions");
            }
            print(global, &status, |status| described(operator, status))
        }
        VersionsCommand::Rollback { version, note } => {
            let body = json!({"version": version, "note": note});
            let answer = operator.call(Method::POST, "/v1/policies/rollback", Some(body)).await?;
            print_change(global, &answer, |answer| said(operator, answer, "rolled back:"))
        }
    }
}

/// Prints what a change led to, warnings of the policies first.
pub(super) fn print_change(global: &Global, answer: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
    print(global, answer, |answer| {
        format!("{}{}", diagnostics::render(&diagnostics_of(answer, "/warnings"), Style::stdout()), text(answer))
    })
}

/// What is in force after a change that put something in force.
pub(super) fn said(operator: &Operator, answer: &Value, done: &str) -> String {
    let version = cell(answer, "/active/version");
    let changed = answer.pointer("/changed").and_then(Value::as_bool).unwrap_or(true);
    match (changed, operator) {
        (false, _) => format!("{done} {version} was in force already\n"),
        (true, Operator::Running { .. }) => format!("{done} {version} is in force\n"),
        (true, Operator::Stopped { .. }) => format!("{done} {version} is in force from the gateway's next start\n"),
    }
}

fn diagnostics_of(answer: &Value, pointer: &str) -> Vec<Diagnostic> {
    let found = answer.pointer(pointer).cloned().unwrap_or_default();
    serde_json::from_value(found).unwrap_or_default()
}

fn listed(list: &Value) -> String {
    let role = |version: &str| {
        [
            ("/active/version", "in force"),
            ("/canary/version", "canary"),
            ("/candidate", "candidate"),
            ("/previous", "before"),
        ]
        .into_iter()
        .find(|(pointer, _)| cell(list, pointer) == version)
        .map_or("-", |(_, role)| role)
    };
    let row = |version: &Value| {
        let id = cell(version, "/version");
        let role = role(&id).to_owned();
        vec![
            id,
            role,
            time(version, "/created_at"),
            time(version, "/activated_at"),
            cell(version, "/origin"),
            cell(version, "/author"),
            cell(version, "/risk"),
            cell(version, "/policies"),
            cell(version, "/note"),
        ]
    };
    let rows: Vec<_> = list.pointer("/versions").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    let headings = ["VERSION", "ROLE", "STORED", "LAST IN FORCE", "ORIGIN", "AUTHOR", "RISK", "POLICIES", "NOTE"];
    table::render(&headings, &rows, Style::stdout())
}

fn shown(version: &Value) -> String {
    let cell = |pointer| cell(version, pointer);
    let rows = [
        ("version", cell("/version")),
        ("stored", time(version, "/created_at")),
        ("in force", time(version, "/activated_at")),
        ("origin", cell("/origin")),
        ("author", cell("/author")),
        ("note", cell("/note")),
        ("risk", cell("/risk")),
        ("policies", cell("/policies")),
        ("modes", cell("/modes")),
        ("files", cell("/files")),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
    for source in version.pointer("/sources").and_then(Value::as_array).into_iter().flatten() {
        let lines = source.pointer("/text").and_then(Value::as_str).unwrap_or_default();
        // Line by line, so that nothing in it moves the cursor.
        let lines: String = lines.lines().map(|line| format!("{}\n", printable(line))).collect();
        text.push_str(&format!("\n# {}\n{lines}", table::cell(source, "/file")));
    }
    text
}

/// Which calls a canary judges.
fn canary_of(status: &Value) -> String {
    let share = |of: &str| Some(status.pointer(&format!("/canary/of/{of}/share"))?.as_f64()? * 100.0);
    if let Some(share) = share("share_of_agents") {
        return format!("{share}% of the agents");
    }
    if let Some(share) = share("share_of_calls") {
        return format!("{share}% of the calls");
    }
    let named = [("agents", "/canary/of/named/agents"), ("groups", "/canary/of/named/groups")];
    let named = named.map(|(what, pointer)| (what, cell(status, pointer)));
    let named = named.iter().filter(|(_, names)| names != "-");
    named.map(|(what, names)| format!("{what} {names}")).collect::<Vec<_>>().join(" and ")
}

/// A line of a file, its tabs kept.
fn printable(line: &str) -> String {
    line.split('\t')
        .map(|part| if part.is_empty() { String::new() } else { cell(&json!(part), "") })
        .collect::<Vec<_>>()
        .join("\t")
}

fn described(operator: &Operator, status: &Value) -> String {
    let cell = |pointer| cell(status, pointer);
    let in_force = match (operator, status.pointer("/in_force").and_then(Value::as_bool)) {
        (Operator::Stopped { .. }, _) if status.pointer("/active/version").is_some() => {
            format!("{} (the gateway is stopped)", cell("/active/version"))
        }
        (Operator::Stopped { .. }, _) => {
            "nothing yet: the policies come into force when `aegis serve` starts".to_owned()
        }
        (_, Some(true)) => cell("/version"),
        _ => "nothing: every call is denied".to_owned(),
    };
    let mut rows = vec![("in force", in_force)];
    if status.pointer("/active/version").is_some() {
        rows.extend([
            ("since", time(status, "/active/at")),
            ("by", cell("/active/by")),
            ("from", cell("/active/origin")),
            ("note", cell("/active/note")),
            ("before", cell("/previous")),
        ]);
    }
    if status.pointer("/canary/version").is_some() {
        rows.push((
            "canary",
            format!("{} since {} for {}", cell("/canary/version"), time(status, "/canary/since"), canary_of(status)),
        ));
    }
    if cell("/candidate") != "-" {
        rows.push(("candidate", cell("/candidate")));
    }
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
    let refused = diagnostics_of(status, "/refused");
    if !refused.is_empty() {
        let (at, origin) = (time(status, "/refused_at"), cell("/refused_origin"));
        text.push_str(&format!(
            "\nrefused at {at}, from the {origin}:\n{}",
            diagnostics::render(&refused, Style::stdout())
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_described_in_words() {
        let of = |of: Value| canary_of(&json!({"canary": {"of": of}}));
        assert_eq!(of(json!({"share_of_agents": {"share": 0.5}})), "50% of the agents");
        assert_eq!(of(json!({"share_of_calls": {"share": 0.005}})), "0.5% of the calls");
        assert_eq!(of(json!({"named": {"agents": ["a", "b"], "groups": []}})), "agents a, b");
        assert_eq!(of(json!({"named": {"agents": ["a"], "groups": ["g"]}})), "agents a and groups g");
        let modes = |modes: Value| cell(&json!({"modes": modes}), "/modes");
        assert_eq!((modes(json!({})), modes(json!({"a": "shadow"}))), ("-".to_owned(), "a: shadow".to_owned()));
    }
}
