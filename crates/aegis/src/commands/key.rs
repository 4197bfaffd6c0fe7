//! `aegis key`: API keys, shown once when made.

use anyhow::Result;
use http::Method;
use serde_json::Value;

use super::print;
use crate::cli::{Global, KeyCommand};
use crate::operator::{Operator, segment};
use crate::style::Style;
use crate::table::{self, cell};

pub(super) async fn run(command: KeyCommand, operator: &Operator, global: &Global) -> Result<()> {
    let of = |agent: &str| format!("/v1/agents/{}/keys", segment(agent));
    match command {
        KeyCommand::Add(args) => {
            let agent = args.agent();
            let made = operator.call(Method::POST, &of(&agent), None).await?;
            if !global.json {
                eprintln!("key {} for {agent}; it is shown this once", cell(&made, "/id"));
            }
            print(global, &made, |made| format!("{}\n", cell(made, "/key")))
        }
        KeyCommand::List(args) => {
            let list = operator.call(Method::GET, &of(&args.agent()), None).await?;
            print(global, list.get("keys").unwrap_or(&Value::Null), |keys| {
                let pointers = ["/id", "/created_at", "/expires_at", "/revoked_at"];
                let row = |key: &Value| pointers.iter().map(|pointer| cell(key, pointer)).collect();
                let rows: Vec<_> = keys.as_array().into_iter().flatten().map(row).collect();
                table::render(&["KEY", "ADDED", "EXPIRES", "REVOKED"], &rows, Style::stdout())
            })
        }
        KeyCommand::Revoke { id } => {
            let revoked = operator.call(Method::DELETE, &format!("/v1/keys/{}", segment(&id)), None).await?;
            print(global, &revoked, |_| format!("key {id} revoked\n"))
        }
    }
}
