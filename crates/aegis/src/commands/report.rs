//! `aegis report`: what was watched, for people who decide whether to enforce it.

mod draw;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use aegis_core::policy::FindingEffect;
use aegis_core::shadow::Change;
use aegis_core::shadow::report::{Counted, Report, RuleReport};
use aegis_core::shadow::sighting::{Offending, Source};
use anyhow::{Context as _, Result};
use http::Method;

use super::print;
use crate::cli::{Global, ReportCommand, ShadowArgs};
use crate::config::duration;
use crate::operator::{Operator, query};
use crate::style::Style;
use crate::table::{self, plain};

/// How many rules, policies and agents a report shows.
const MOST_SHOWN: usize = 20;
/// How many names stand in one line.
const MOST_NAMES: usize = 3;

pub(super) async fn run(command: ReportCommand, operator: &Operator, global: &Global) -> Result<()> {
    let ReportCommand::Shadow(args) = command;
    let report = shadow(operator, &args).await?;
    print(global, &serde_json::to_value(&report)?, |_| rendered(&report, Style::stdout()))
}

/// What shadow mode has seen.
///
/// # Errors
/// What is wrong with the arguments, or in the way of the gateway.
pub(super) async fn shadow(operator: &Operator, args: &ShadowArgs) -> Result<Report> {
    let pairs = [("days", Some(days(&args.since)?.to_string())), ("policy", args.policy.clone())];
    let found = operator.call(Method::GET, &format!("/v1/reports/shadow{}", query(&pairs)), None).await?;
    serde_json::from_value(found).context("the gateway's answer is no report: is it another version?")
}

/// `7d` → 7: days are counted whole.
fn days(since: &str) -> Result<u32> {
    let of = |duration: std::time::Duration| u32::try_from(duration.as_secs().div_ceil(86_400)).ok();
    let days = duration(since).and_then(of).filter(|days| *days > 0);
    days.with_context(|| format!("--since {since}: expected a number of days such as 7d"))
}

/// A report of shadow mode, as people read it.
pub(super) fn rendered(report: &Report, style: Style) -> String {
    let mut out = heading("Shadow mode", report, style);
    if report.calls == 0 {
        out.push_str("No call was watched. Set `mode: shadow` in aegis.yaml, or in a policy, and let agents work.\n");
        return out;
    }
    warnings(&mut out, report, style);
    let would = report.would_deny + report.would_ask + report.would_sanitize;
    let lines = [
        ("would have been refused", report.would_deny),
        ("would have waited for a human", report.would_ask),
        ("would have been redacted", report.would_sanitize),
        ("would have passed as they did", report.calls.saturating_sub(would)),
    ];
    shares(&mut out, "calls watched", report.calls, &lines, style);
    rules(&mut out, "Rules", report, style);
    let rows: Vec<Vec<String>> = report
        .policies
        .iter()
        .map(|policy| {
            let held = policy.would_deny + policy.would_ask;
            let name = named(&policy.policy);
            vec![
                name,
                number(policy.calls),
                number(policy.would_deny),
                number(policy.would_ask),
                percent(held, policy.calls),
            ]
        })
        .collect();
    listed(&mut out, "Policies", &["POLICY", "CALLS", "REFUSED", "ASKED", "SHARE"], &rows, style);
    let rows: Vec<Vec<String>> = report
        .agents
        .iter()
        .map(|agent| {
            let held = agent.would_deny + agent.would_ask;
            let counts = [agent.calls, agent.would_deny, agent.would_ask].map(number);
            [vec![plain(&agent.agent)], counts.to_vec(), vec![percent(held, agent.calls)]].concat()
        })
        .collect();
    listed(&mut out, "Agents", &["AGENT", "CALLS", "REFUSED", "ASKED", "SHARE"], &rows, style);
    if !report.rules.is_empty() {
        out.push_str(&style.dim(
            "`aegis policy suggest` makes a patch of this; `aegis audit query --decision-id ID` shows one decision.\n",
        ));
    }
    out
}

/// A report of a candidate, as people read it.
pub(super) fn rendered_candidate(report: &Report, style: Style) -> String {
    let Source::Candidate { version, active } = &report.source else { return rendered(report, style) };
    let mut out = heading(&format!("Candidate {} beside {}", plain(version), plain(active)), report, style);
    if report.calls == 0 {
        out.push_str("No call was compared yet.\n");
        return out;
    }
    warnings(&mut out, report, style);
    let differ = report.stricter + report.looser + report.observed + report.failed;
    let lines = [
        ("it would newly hold back", report.stricter),
        ("it would newly let pass", report.looser),
        ("it would only observe otherwise", report.observed),
        ("it could not be evaluated on", report.failed),
        ("both agree on", report.calls.saturating_sub(differ)),
    ];
    shares(&mut out, "calls compared", report.calls, &lines, style);
    rules(&mut out, "Disagreements", report, style);
    let rows: Vec<Vec<String>> =
        report.policies.iter().map(|policy| vec![named(&policy.policy), number(policy.calls)]).collect();
    listed(&mut out, "Policies", &["POLICY", "DISAGREEMENTS"], &rows, style);
    let rows: Vec<Vec<String>> = report
        .agents
        .iter()
        .filter(|agent| agent.stricter + agent.looser > 0)
        .map(|agent| {
            let counts = [agent.calls, agent.stricter, agent.looser].map(number);
            [vec![plain(&agent.agent)], counts.to_vec()].concat()
        })
        .collect();
    listed(&mut out, "Agents", &["AGENT", "CALLS", "HELD BACK", "LET PASS"], &rows, style);
    out
}

fn heading(title: &str, report: &Report, style: Style) -> String {
    let span = match (report.first_day, report.last_day) {
        (Some(first), Some(last)) if first == last => format!("1 day, {first} (UTC)"),
        (Some(first), Some(last)) => format!("{} days with calls, {first} to {last} (UTC)", report.days),
        _ => "no day with calls".to_owned(),
    };
    format!("{}  {}\n\n", style.bold(title), style.dim(&span))
}

fn warnings(out: &mut String, report: &Report, style: Style) {
    for warning in &report.warnings {
        let _ = writeln!(out, "{} {warning}", style.yellow("!"));
    }
    if !report.warnings.is_empty() {
        out.push('\n');
    }
}

/// The whole, and how it falls apart.
fn shares(out: &mut String, whole: &str, calls: u64, lines: &[(&str, u64)], style: Style) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{:>9}  {}", number(calls), style.bold(whole));
    for (what, part) in lines.iter().filter(|(_, part)| *part > 0) {
        let bar = draw::bar(*part, calls, draw::WIDTH);
        let _ = writeln!(out, "{:>9}  {what:<31} {:>7}  {}", number(*part), percent(*part, calls), style.blue(&bar));
    }
    out.push('\n');
}

fn rules(out: &mut String, title: &str, report: &Report, style: Style) {
    if report.rules.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", style.bold(title));
    for rule in report.rules.iter().take(MOST_SHOWN) {
        one_rule(out, rule, report.days, style);
    }
    if report.rules.len() > MOST_SHOWN {
        let _ = writeln!(out, "  {} more rules: `--json` has them all\n", report.rules.len() - MOST_SHOWN);
    }
}

fn one_rule(out: &mut String, rule: &RuleReport, days: u64, style: Style) {
    let key = &rule.key;
    let place = if key.entry.is_empty() { named(&key.policy) } else { plain(&key.entry) };
    let follows = match (key.change, rule.effect) {
        (Change::Looser, _) => style.green("lets pass"),
        (Change::Failed, _) => style.red("fails"),
        (Change::Observed, _) => style.dim("observes otherwise"),
        (_, FindingEffect::Deny) => style.red("refuses"),
        (_, FindingEffect::Ask) => style.yellow("asks"),
        (_, FindingEffect::Sanitize) => style.cyan("redacts"),
    };
    let reason = key.reason.replace('_', " ");
    let _ =
        writeln!(out, "  {}  {follows}  {}", style.bold(&plain(&key.rule)), style.dim(&format!("{reason} · {place}")));
    let on = if days > 1 { format!(" on {} of {days} days", rule.days) } else { String::new() };
    let calls = if rule.calls == 1 { "1 call".to_owned() } else { format!("{} calls", number(rule.calls)) };
    let share = draw::percent(rule.share);
    let _ = writeln!(out, "    {calls} ({share}){on} · {} · {}", names(&rule.agents), names(&rule.actions));
    out.push_str(&draw::distribution(&rule.values, style));
    if let Some(threshold) = &rule.threshold {
        let label = if key.reason == "below_minimum" { "down to" } else { "up to" };
        let _ = writeln!(out, "    {label} {} lets 95 % of them through", style.bold(&draw::grouped(threshold)));
    }
    if let Some(example) = rule.examples.first() {
        let _ = writeln!(out, "    {}", style.dim(&format!("e.g. {}", plain(example))));
    }
    out.push('\n');
}

fn listed(out: &mut String, title: &str, headings: &[&str], rows: &[Vec<String>], style: Style) {
    if rows.is_empty() {
        return;
    }
    let shown = rows.get(..MOST_SHOWN).unwrap_or(rows);
    let _ = writeln!(out, "{}", style.bold(title));
    for line in table::render(headings, shown, style).lines() {
        let _ = writeln!(out, "  {line}");
    }
    if rows.len() > shown.len() {
        let _ = writeln!(out, "  and {} more", rows.len() - shown.len());
    }
    out.push('\n');
}

/// The first few, with their counts where there are several.
fn names(list: &[Counted]) -> String {
    let more = list.len().saturating_sub(MOST_NAMES);
    let first: Vec<String> = match list {
        [one] => vec![plain(&one.name)],
        many => many.iter().take(MOST_NAMES).map(|one| format!("{} {}", plain(&one.name), number(one.calls))).collect(),
    };
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", first.join(", "))
}

/// A policy's id; what no policy says, the default deny does.
fn named(policy: &str) -> String {
    if policy.is_empty() { "default deny".to_owned() } else { plain(policy) }
}

/// A value that broke a rule, as it is shown.
fn value(value: &Offending) -> String {
    match value {
        Offending::Number(text) => draw::grouped(text),
        Offending::Named(text) => plain(text),
        Offending::Hidden(text) => text.clone(),
        Offending::Type(text) => text.clone(),
        Offending::Other => "others".to_owned(),
    }
}

fn number(n: u64) -> String {
    draw::grouped(&n.to_string())
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { draw::percent(part as f64 / whole as f64) }
}
