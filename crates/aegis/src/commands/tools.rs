//! `aegis tools`: the catalogue.

use aegis_core::call::{Destination, ToolCall};
use aegis_core::describe::{Arrival, Catalogue, Match};
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{print, read_input};
use crate::cli::{Global, RouteArgs, ToolsCommand};
use crate::config::Config;
use crate::load;
use crate::outcome::{No, invalid};
use crate::style::Style;
use crate::table::{self, cell};

pub(super) fn run(command: ToolsCommand, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let catalogue = load::catalogue(&config).map_err(invalid)?;
    match command {
        ToolsCommand::List => print(global, &serde_json::to_value(catalogue.tools())?, listed),
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
