//! `aegis approvals`: what waits for a human, and the human's answer.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::print;
use crate::cli::{AnswerArgs, ApprovalsCommand, Global};
use crate::operator::{Operator, query, segment};
use crate::style::Style;
use crate::table::{self, cell};

pub(super) async fn run(command: ApprovalsCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        ApprovalsCommand::List { status } => {
            let path = format!("/v1/approvals{}", query(&[("status", status)]));
            let list = operator.call(Method::GET, &path, None).await?;
            print(global, list.get("approvals").unwrap_or(&Value::Null), |approvals| {
                let rows: Vec<_> = approvals.as_array().into_iter().flatten().map(row).collect();
                let headings = ["APPROVAL", "STATE", "AGENT", "CALL", "ENV", "ASKED", "EXPIRES"];
                table::render(&headings, &rows, Style::stdout())
            })
        }
        ApprovalsCommand::Show { id } => {
            let approval = operator.call(Method::GET, &format!("/v1/approvals/{}", segment(&id)), None).await?;
            print(global, &approval, described)
        }
        ApprovalsCommand::Approve(args) => {
            let answer = decide(operator, &args, "approve").await?;
            print(global, &answer, |answer| {
                let agent = cell(answer, "/approval/request/agent/id");
                let token = cell(answer, "/override_token");
                format!(
                    "{} approved: the same call of {agent} passes once\noverride token, shown this once: {token}\n",
                    args.id
                )
            })
        }
        ApprovalsCommand::Reject(args) => {
            let answer = decide(operator, &args, "reject").await?;
            print(global, &answer, |_| format!("{} rejected\n", args.id))
        }
        ApprovalsCommand::Cancel(args) => {
            let answer = decide(operator, &args, "cancel").await?;
            print(global, &answer, |_| format!("{} cancelled\n", args.id))
        }
    }
}

async fn decide(operator: &Operator, args: &AnswerArgs, verb: &str) -> Result<Value> {
    let path = format!("/v1/approvals/{}/{verb}", segment(&args.id));
    operator.call(Method::POST, &path, Some(json!({"comment": args.comment}))).await
}

fn call(approval: &Value) -> String {
    format!("{}/{}", cell(approval, "/request/tool"), cell(approval, "/request/action"))
}

fn row(approval: &Value) -> Vec<String> {
    let cell = |pointer| cell(approval, pointer);
    vec![
        cell("/id"),
        cell("/state"),
        cell("/request/agent/id"),
        call(approval),
        cell("/request/env"),
        cell("/asked"),
        cell("/request/expires_at"),
    ]
}

/// One approval in full: the approver sees what will run.
fn described(approval: &Value) -> String {
    let cell = |pointer| cell(approval, pointer);
    let mut rows = vec![
        ("approval", cell("/id")),
        ("state", cell("/state")),
        ("agent", cell("/request/agent/id")),
        ("call", call(approval)),
        ("environment", cell("/request/env")),
        ("target", cell("/request/target")),
        ("parameters", cell("/request/params")),
        ("asked", format!("{} times, first at {}", cell("/asked"), cell("/request/requested_at"))),
        ("expires", cell("/request/expires_at")),
    ];
    let violations = approval.pointer("/request/violations").and_then(Value::as_array);
    rows.extend(violations.into_iter().flatten().map(|violation| ("because", table::cell(violation, "/message"))));
    if approval.get("decided_by").is_some() {
        rows.push(("decided", format!("by {} at {}", cell("/decided_by"), cell("/decided_at"))));
        rows.push(("comment", cell("/comment")));
    }
    rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}
