//! `aegis agent`: who may come.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::print;
use crate::cli::{AgentCommand, Global};
use crate::operator::{Operator, segment};
use crate::style::Style;
use crate::table::{self, cell};

pub(super) async fn run(command: AgentCommand, operator: &Operator, global: &Global) -> Result<()> {
    let one = |name: &str| format!("/v1/agents/{}", segment(name));
    match command {
        AgentCommand::Add { name, groups } => {
            let body = json!({"id": name, "groups": groups});
            let added = operator.call(Method::POST, "/v1/agents", Some(body)).await?;
            print(global, &added, |_| {
                let next = format!("next: aegis token issue {name}, or aegis key add {name}");
                format!("agent {name} added\n{next}\n")
            })
        }
        AgentCommand::List => {
            let list = operator.call(Method::GET, "/v1/agents", None).await?;
            print(global, list.get("agents").unwrap_or(&Value::Null), |agents| {
                table(agents.as_array().into_iter().flatten())
            })
        }
        AgentCommand::Show { name } => {
            let agent = operator.call(Method::GET, &one(&name), None).await?;
            print(global, &agent, |agent| table([agent]))
        }
        AgentCommand::Suspend { name } => {
            let agent = operator.call(Method::POST, &format!("{}/suspend", one(&name)), None).await?;
            print(global, &agent, |_| format!("agent {name} suspended: every call of it is refused from now on\n"))
        }
        AgentCommand::Resume { name } => {
            let agent = operator.call(Method::POST, &format!("{}/resume", one(&name)), None).await?;
            print(global, &agent, |_| format!("agent {name} may work again\n"))
        }
        AgentCommand::Remove { name } => {
            operator.call(Method::DELETE, &one(&name), None).await?;
            print(global, &json!({"id": name, "removed": true}), |_| {
                format!("agent {name} removed; its keys and tokens never work again\n")
            })
        }
    }
}

fn table<'a>(agents: impl IntoIterator<Item = &'a Value>) -> String {
    let row = |agent: &Value| {
        let state = if agent.get("suspended") == Some(&Value::Bool(true)) { "suspended" } else { "active" };
        vec![cell(agent, "/id"), state.to_owned(), cell(agent, "/groups"), cell(agent, "/created_at")]
    };
    let rows: Vec<_> = agents.into_iter().map(row).collect();
    table::render(&["NAME", "STATE", "GROUPS", "ADDED"], &rows, Style::stdout())
}
