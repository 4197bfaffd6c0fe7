//! `aegis policy diff`: what changes between two sets of policies, in words.
//!
//! More is red, less is green: what a reviewer must not miss is that somebody may do what was refused until now. A check that
//! turns green because rights were taken away is right about the risk, and whoever lost them will say so.

use std::collections::BTreeMap;

use aegis_core::policy::{self, Change, Direction, Mode};
use anyhow::Result;
use serde_json::json;

use super::which::{self, Which};
use crate::cli::{DiffArgs, Global};
use crate::commands::print;
use crate::outcome::No;
use crate::style::Style;

pub(super) fn run(args: &DiffArgs, global: &Global) -> Result<()> {
    let before = match &args.first {
        Some(first) => which::load(Some(first), BTreeMap::new(), global)?,
        None => which::in_force(global)?,
    };
    let Which { policies: before, switched } = before;
    // As publishing them would have it: modes that were switched stay.
    let after = which::load(args.second.as_deref(), switched, global)?.policies;
    let changes = policy::diff(&before, &after);
    let count = |direction| changes.iter().filter(|change| change.direction == direction).count();
    let (more, less, different) = (count(Direction::More), count(Direction::Less), count(Direction::Different));
    let document = json!({
        "before": before.version(), "after": after.version(),
        "more": more, "less": less, "different": different, "changes": changes,
    });
    print(global, &document, |_| {
        let style = Style::stdout();
        let lines: String = changes.iter().map(|change| line(change, style)).collect();
        let summary = match changes.len() {
            0 => "nothing changes for anybody".to_owned(),
            _ => format!("{more} more, {less} less, {different} different"),
        };
        format!("{lines}{} → {}: {summary}\n", before.version(), after.version())
    })?;
    let grows = |change: &&Change| change.direction != Direction::Less && change.mode == Mode::Enforce;
    match changes.iter().filter(grows).count() {
        0 => Ok(()),
        _ if !args.exit_code => Ok(()),
        1 => Err(No("1 change lets somebody do more, or may".to_owned()).into()),
        grown => Err(No(format!("{grown} changes let somebody do more, or may")).into()),
    }
}

fn line(change: &Change, style: Style) -> String {
    let sign = match change.direction {
        Direction::More => style.red("+ more"),
        Direction::Less => style.green("- less"),
        Direction::Different => style.yellow("~ diff"),
    };
    let place = change.entry.as_deref().unwrap_or(&change.policy);
    let place = style.dim(&format!("({})", [place, &change.rule].join(" ").trim()));
    format!("{sign}  {} {place}\n", change.sentence)
}
