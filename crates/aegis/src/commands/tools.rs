//! `aegis tools`: the catalogue.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use aegis_core::call::{Destination, ToolCall};
use aegis_core::describe::{self, Arrival, Catalogue, Imported, Match};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{print, read_input};
use crate::cli::{Global, RouteArgs, ToolsCommand};
use crate::config::Config;
use crate::load;
use crate::outcome::{No, invalid};
use crate::style::Style;
use crate::table::{self, cell};

pub(super) fn run(command: ToolsCommand, global: &Global) -> Result<()> {
    if let ToolsCommand::Import { document, tool, out } = command {
        return import(&document, tool.as_deref(), out.as_deref(), global);
    }
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let catalogue = load::catalogue(&config).map_err(invalid)?;
    match command {
        // It needs no configuration.
        ToolsCommand::Import { .. } => Ok(()),
        ToolsCommand::List { tool: None } => print(global, &serde_json::to_value(catalogue.tools())?, listed),
        ToolsCommand::List { tool: Some(name) } => {
            let found = catalogue.tools().into_iter().find(|one| one.tool == name);
            let found = found.ok_or_else(|| No(format!("there is no tool {name:?}; aegis tools list has all")))?;
            print(global, &serde_json::to_value(found)?, one)
        }
        ToolsCommand::Check => check(&catalogue, global),
        ToolsCommand::Match { request, route } => {
            let call = described(&catalogue, &read_input(&request)?, &route)?;
            print(global, &serde_json::to_value(Match::from(&call))?, |value| format!("{value:#}\n"))
        }
    }
}

/// The call that a raw request is, coming by the given route.
///
/// # Errors
/// Why it can't be read.
pub(super) fn described(catalogue: &Catalogue, raw: &[u8], route: &RouteArgs) -> Result<ToolCall> {
    let upstream = Destination { scheme: "http".to_owned(), host: "localhost".to_owned(), port: 80 };
    let arrival = route.route_tool.as_deref().map(|tool| Arrival::Route {
        name: "given",
        tool: Some(tool),
        cluster: route.cluster.as_deref(),
        upstream: &upstream,
    });
    catalogue.match_raw(raw, arrival.as_ref()).context("the request can't be read as a tool call")
}

fn check(catalogue: &Catalogue, global: &Global) -> Result<()> {
    let checked = catalogue.check();
    print(global, &serde_json::to_value(&checked)?, |_| {
        let failures: String =
            checked.failures.iter().map(|f| format!("{}: {}: {}\n", f.tool, f.case, f.message)).collect();
        let passed = checked.cases - checked.failures.len();
        format!("{failures}{passed} cases passed, {} failed\n", checked.failures.len())
    })?;
    if checked.failures.is_empty() { Ok(()) } else { Err(No("some cases of the catalogue failed".to_owned()).into()) }
}

/// Makes a catalogue file of an OpenAPI document.
fn import(document: &Path, tool: Option<&str>, out: Option<&Path>, global: &Global) -> Result<()> {
    let text = String::from_utf8(read_input(document)?).context("the document is not UTF-8")?;
    let name = document.display().to_string();
    let Imported { text, tool, actions, skipped } =
        describe::import(&name, &text, tool).map_err(|why| No(why.to_string()))?;
    let summary = json!({"tool": tool, "actions": actions, "skipped": skipped});
    let Some(out) = out else {
        let mut printed = summary;
        if let Some(printed) = printed.as_object_mut() {
            printed.insert("file".to_owned(), text.as_str().into());
        }
        return print(global, &printed, |_| text);
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(out).with_context(|| {
            format!("can't make {}: a file that is there already isn't written over", out.display())
        })?;
    file.write_all(text.as_bytes()).with_context(|| format!("can't write {}", out.display()))?;
    print(global, &summary, |_| {
        format!("{tool}: {actions} actions, {} things left out; look through {}\n", skipped.len(), out.display())
    })
}

/// One tool, whole.
fn one(tool: &Value) -> String {
    let mut out = String::new();
    for (label, pointer) in [("tool", "/tool"), ("hosts", "/hosts"), ("refused as", "/deny_response")] {
        out.push_str(&format!("{label:<11} {}\n", cell(tool, pointer)));
    }
    format!("{out}\n{}", listed(&Value::Array(vec![tool.clone()])))
}

fn listed(tools: &Value) -> String {
    let mut rows = Vec::new();
    for tool in tools.as_array().into_iter().flatten() {
        for action in tool.get("actions").and_then(Value::as_array).into_iter().flatten() {
            let name = format!("{}/{}", cell(tool, "/tool"), cell(action, "/action"));
            rows.push(vec![name, cell(action, "/effect"), cell(action, "/classes")]);
        }
    }
    table::render(&["ACTION", "EFFECT", "CLASSES"], &rows, Style::stdout())
}
