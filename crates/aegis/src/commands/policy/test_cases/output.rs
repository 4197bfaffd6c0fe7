//! Results, for people and for machines.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Coverage, Outcome, Results};
use crate::cli::Global;
use crate::commands;
use crate::style::Style;
use crate::table::{self, plain, plain_lines};

pub(super) fn print(results: &Results, global: &Global) -> Result<()> {
    commands::print(global, &document(results), |_| text(results, Style::stdout()))
}

fn document(results: &Results) -> Value {
    let failed = results.failed();
    let cases = results.outcomes.iter().map(|outcome| {
        let Outcome { file, line, name, actual, differences, .. } = outcome;
        json!({
            "case": name, "file": file, "line": line, "ok": outcome.passed(), "actual": actual, "differences": differences,
        })
    });
    let coverage = &results.coverage;
    let (seen, all) = coverage.counts();
    let missing = coverage.rules.iter().filter_map(|rule| match coverage.missing(rule) {
        (false, false) => None,
        (kept, broken) => Some(json!({"rule": rule, "never_kept": kept, "never_broken": broken})),
    });
    json!({
        "passed": results.outcomes.len() - failed,
        "failed": failed,
        "cases": cases.collect::<Vec<_>>(),
        "coverage": {
            "percent": coverage.percent(), "exercised": seen, "possible": all, "missing": missing.collect::<Vec<_>>(),
        },
    })
}

fn text(results: &Results, style: Style) -> String {
    let mut out = String::new();
    let mut file = "";
    // Writing to a String can't fail.
    for outcome in &results.outcomes {
        if outcome.file != file {
            file = &outcome.file;
            let _ = writeln!(out, "{}", style.bold(&plain(file)));
        }
        let name = plain(&outcome.name);
        if outcome.passed() {
            let _ = writeln!(out, "  {} {name}", style.green("✓"));
            continue;
        }
        let _ = writeln!(out, "  {} {name} ({}:{})", style.red("✗"), plain(&outcome.file), outcome.line);
        outcome.differences.iter().for_each(|difference| {
            let _ = writeln!(out, "      {}", plain_lines(difference));
        });
        outcome.actual.iter().flat_map(|actual| &actual.messages).for_each(|message| {
            let _ = writeln!(out, "      {}", style.dim(&format!("because {}", plain_lines(message))));
        });
    }
    out.push('\n');
    out.push_str(&uncovered(&results.coverage, style));
    let (seen, all) = results.coverage.counts();
    let failed = results.failed();
    let _ = writeln!(
        out,
        "{} passed, {failed} failed; {:.0}% of the rules exercised ({seen} of {all})",
        results.outcomes.len() - failed,
        results.coverage.percent().floor()
    );
    out
}

/// The rules of which something was never seen.
fn uncovered(coverage: &Coverage, style: Style) -> String {
    let mut rows = Vec::new();
    for rule in &coverage.rules {
        let never = match coverage.missing(rule) {
            (false, false) => continue,
            (true, true) => "asked",
            (true, false) => "kept",
            (false, true) => "broken",
        };
        rows.push(vec![plain(&rule.id), never.to_owned(), plain(&format!("{}:{}", rule.file, rule.place.line))]);
    }
    if rows.is_empty() {
        return String::new();
    }
    table::render(&["RULE", "NEVER", "WHERE"], &rows, style) + "\n"
}

/// The files that cases came from, for a summary.
pub(super) fn files(results: &[Outcome]) -> BTreeSet<&str> {
    results.iter().map(|outcome| outcome.file.as_str()).collect()
}
