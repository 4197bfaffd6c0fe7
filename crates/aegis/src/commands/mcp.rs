//! `aegis mcp`: the bridge to a server that runs where the agent is; what MCP servers say of their tools, and an operator's word that a change of it is accepted.

mod bridge;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::print;
use crate::cli::{BridgeArgs, Global, McpCommand};
use crate::operator::{Operator, query};
use crate::style::Style;
use crate::table::{self, cell, time};

/// Stands between a client and the server that `args` name.
pub(super) async fn bridge(args: BridgeArgs) -> Result<()> {
    bridge::run(args).await
}

pub(super) async fn run(command: McpCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        McpCommand::List { server } => {
            let path = format!("/v1/mcp/tools{}", query(&[("server", server)]));
            let list = operator.call(Method::GET, &path, None).await?;
            print(global, list.get("tools").unwrap_or(&Value::Null), |tools| {
                let rows: Vec<_> = tools.as_array().into_iter().flatten().map(row).collect();
                table::render(&["SERVER", "TOOL", "STATE", "SINCE", "DEFINITION", "HIDES"], &rows, Style::stdout())
            })
        }
        McpCommand::Accept { server, tool } => {
            let body = json!({"server": server, "tool": tool});
            let answer = operator.call(Method::POST, "/v1/mcp/tools/accept", Some(body)).await?;
            print(global, &answer, |answer| {
                let accepted = answer.get("accepted").and_then(Value::as_array);
                let lines: String = accepted
                    .into_iter()
                    .flatten()
                    .map(|one| {
                        format!("accepted {}/{} as {}\n", cell(one, "/server"), cell(one, "/tool"), cell(one, "/seen"))
                    })
                    .collect();
                if lines.is_empty() { "nothing to accept: it is what was accepted before\n".to_owned() } else { lines }
            })
        }
    }
}

fn row(tool: &Value) -> Vec<String> {
    let cell = |pointer| cell(tool, pointer);
    let since = time(tool, "/changed_at");
    vec![cell("/server"), cell("/tool"), cell("/state"), since, cell("/seen"), cell("/hides")]
}
