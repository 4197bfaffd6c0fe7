//! `aegis audit`: the record. With `--json` one record per line.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::Value;

use crate::cli::{AuditCommand, Global, QueryArgs};
use crate::operator::{Operator, query};
use crate::style::Style;
use crate::table::{cell, time};
use crate::traffic;

#[cfg(test)]
mod tests;

/// How long one request waits for something new, in seconds.
const WAIT: u64 = 30;

pub(super) async fn run(command: AuditCommand, operator: &Operator, global: &Global) -> Result<()> {
    match command {
        AuditCommand::Tail { lines, follow } => tail(operator, global, lines, follow).await,
        AuditCommand::Query(args) => {
            let found = operator.call(Method::GET, &path_of(args)?, None).await?;
            show(global, &found)
        }
        AuditCommand::Export(args) => export(operator, args.since.as_deref()).await,
    }
}

/// Writes the calls that are kept for replay.
async fn export(operator: &Operator, since: Option<&str>) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let each = |call: Value| writeln!(out, "{call}").context("can't write to standard output");
    traffic::from_gateway(operator, traffic::since(since)?, each).await?;
    out.flush().context("can't write to standard output")
}

async fn tail(operator: &Operator, global: &Global, lines: u32, follow: bool) -> Result<()> {
    let first = format!("/v1/audit{}", query(&[("limit", Some(lines.to_string()))]));
    let mut answer = operator.call(Method::GET, &first, None).await?;
    show(global, &answer)?;
    // A stopped gateway writes nothing more.
    if !follow || matches!(operator, Operator::Stopped { .. }) {
        return Ok(());
    }
    loop {
        let next = answer.get("next").and_then(Value::as_u64).context("an answer without `next`")?;
        let pairs = [("after", Some(next.to_string())), ("wait", Some(WAIT.to_string()))];
        answer = operator.call(Method::GET, &format!("/v1/audit{}", query(&pairs)), None).await?;
        show(global, &answer)?;
    }
}

fn path_of(args: QueryArgs) -> Result<String> {
    let time = |option, text: Option<String>| -> Result<Option<String>> {
        text.map(|text| traffic::moment(option, &text).map(|time| time.to_string())).transpose()
    };
    let (since, until) = (time("--since", args.since)?, time("--until", args.until)?);
    let pairs = [
        ("agent", args.agent),
        ("tool", args.tool),
        ("action", args.action),
        ("decision", args.decision),
        ("code", args.code),
        ("decision_id", args.decision_id),
        ("since", since),
        ("until", until),
        ("limit", Some(args.limit.to_string())),
    ];
    Ok(format!("/v1/audit{}", query(&pairs)))
}

fn show(global: &Global, answer: &Value) -> Result<()> {
    let style = Style::stdout();
    let mut out = std::io::stdout().lock();
    for record in answer.get("records").and_then(Value::as_array).into_iter().flatten() {
        let line = if global.json { record.to_string() } else { line(record, style) };
        writeln!(out, "{line}").context("can't write to standard output")?;
    }
    out.flush().context("can't write to standard output")
}

/// A record in a line: number, when, what kind, who, what, why.
fn line(record: &Value, style: Style) -> String {
    let text = |pointer| cell(record, pointer);
    let at = time(record, "/recorded_at");
    let event = text("/event");
    let (who, what) = match event.as_str() {
        "decision" => {
            let call = match record.get("call") {
                Some(_) => format!("{}/{}", text("/call/tool"), text("/call/action")),
                None => "-".to_owned(),
            };
            let what = format!("{call:<24} {:<11} {}  {}", text("/call/env"), text("/reason"), text("/decision_id"));
            (text("/agent/id"), what)
        }
        "outcome" => {
            ("-".to_owned(), format!("{}, status {}  {}", text("/result"), text("/status"), text("/decision_id")))
        }
        "approval" => {
            let by = if record.get("by").is_some() { format!(" by {}", text("/by")) } else { String::new() };
            (text("/agent_id"), format!("{} {}{by}", text("/approval_id"), text("/change")))
        }
        "operation" => (text("/by"), format!("{} {}", text("/operation"), text("/subject"))),
        "policy" => ("-".to_owned(), format!("{} {} ({})", text("/policy_version"), text("/change"), text("/detail"))),
        _ => ("-".to_owned(), record.to_string()),
    };
    let kind = match event.as_str() {
        // Shadow mode: it passed, and this is what enforcing would have made of it.
        "decision"
            if record.get("would_decision").is_some_and(|would| would.is_string() && *would != record["decision"]) =>
        {
            format!("would {}", if text("/would_decision") == "deny" { "deny" } else { "ask" })
        }
        "decision" => text("/decision"),
        _ => event,
    };
    let padded = format!("{kind:<15}");
    let coloured = match kind.as_str() {
        "allow" => style.green(&padded),
        "deny" => style.red(&padded),
        "approval_needed" | "would deny" | "would ask" => style.yellow(&padded),
        _ => style.dim(&padded),
    };
    format!("{:>5}  {}  {coloured}  {who:<16} {what}", text("/seq"), style.dim(&at))
}
