//! `aegis approvals`: what waits for a human, and the human's answer.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::print;
use crate::cli::{AnswerArgs, ApprovalsCommand, Global};
use crate::operator::{Operator, query, segment};
use crate::style::Style;
use crate::table::{self, cell, time};

pub(super) async fn run(command: ApprovalsCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        ApprovalsCommand::List { status } => {
            let path = format!("/v1/approvals{}", query(&[("status", status)]));
            let list = operator.call(Method::GET, &path, None).await?;
            print(global, list.get("approvals").unwrap_or(&Value::Null), |approvals| {
                let rows: Vec<_> = approvals.as_array().into_iter().flatten().map(row).collect();
                let headings = ["APPROVAL", "STATE", "AGENT", "CALL", "ENV", "ASKED", "EXPIRES", "WHAT"];
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
                if answer.get("override_token").is_none_or(Value::is_null) {
                    return format!(
                        "{}: your yes is on record; others have to say so as well: {}\n",
                        args.id,
                        asked(answer)
                    );
                }
                let token = cell(answer, "/override_token");
                format!(
                    "{} approved: {agent} repeats the same call, and it passes once\noverride token, shown this once, which that call \
                     may carry as Aegis-Override: {token}\n",
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

/// Who is asked, and how many of them.
fn asked(answer: &Value) -> String {
    let requirements = answer.pointer("/approval/request/requirements").and_then(Value::as_array);
    let one = |requirement: &Value| format!("{} of {}", cell(requirement, "/count"), cell(requirement, "/approvers"));
    requirements.into_iter().flatten().map(one).collect::<Vec<_>>().join("; ")
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
        time(approval, "/request/expires_at"),
        what(approval),
    ]
}

/// What would run, in a line: the target's name, and the parameters that don't just repeat the target.
fn what(approval: &Value) -> String {
    let target = |key: &str| approval.pointer("/request/target").and_then(|target| target.get(key));
    let names = ["namespace", "name"].iter().filter_map(|key| target(key)?.as_str()).collect::<Vec<_>>().join("/");
    let params = approval.pointer("/request/params").and_then(Value::as_object).into_iter().flatten();
    let params = params.filter(|(key, value)| target(key) != Some(value)).map(|(key, value)| format!("{key}={value}"));
    let words: Vec<String> = std::iter::once(names).chain(params).filter(|word| !word.is_empty()).collect();
    cell(&Value::String(words.join(" ")), "")
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
        ("asked", format!("{} time(s), first at {}", cell("/asked"), time(approval, "/request/requested_at"))),
        ("expires", time(approval, "/request/expires_at")),
    ];
    let violations = approval.pointer("/request/violations").and_then(Value::as_array);
    rows.extend(violations.into_iter().flatten().map(|violation| ("because", table::cell(violation, "/message"))));
    let requirements = approval.pointer("/request/requirements").and_then(Value::as_array);
    rows.extend(
        requirements
            .into_iter()
            .flatten()
            .map(|one| ("needs", format!("{} of {}", table::cell(one, "/count"), table::cell(one, "/approvers")))),
    );
    let votes = approval.get("votes").and_then(Value::as_array);
    rows.extend(
        votes
            .into_iter()
            .flatten()
            .map(|vote| ("yes", format!("by {} at {}", table::cell(vote, "/by"), time(vote, "/at")))),
    );
    if approval.get("decided_by").is_some() {
        rows.push(("decided", format!("by {} at {}", cell("/decided_by"), time(approval, "/decided_at"))));
        rows.push(("comment", cell("/comment")));
    }
    rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::what;

    #[test]
    fn what_would_run_is_said_in_a_line() {
        let request = json!({
            "target": {"namespace": "prod-shop", "name": "web", "kind": "deployments"},
            "params": {"namespace": "prod-shop", "kind": "deployments", "replicas": 20, "note": "a\nb"},
        });
        assert_eq!(what(&json!({"request": request})), "prod-shop/web note=\"a\\nb\" replicas=20");
        assert_eq!(what(&json!({"request": {"params": {}}})), "-");
    }
}
