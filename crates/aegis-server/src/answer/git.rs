//! The refusal of a push in git's own words: a report that rejects each ref (gitprotocol-pack, "Report Status"), and the whole text as
//! a message of the remote.

use aegis_core::describe::PushedRefs;
use aegis_core::problem::Problem;

use super::spoken;

/// Its media type.
pub(super) const REPORT: &str = "application/x-git-receive-pack-result";
/// What one band's line holds at most.
const MOST: usize = 65_515;
/// What a ref's line says of the reason at most.
const MOST_REASON: usize = 300;

/// The whole answer.
pub(super) fn report(pushed: &PushedRefs, problem: &Problem) -> String {
    let reason: String = one_line(&problem.detail).chars().take(MOST_REASON).collect();
    let mut report = line("unpack ok\n");
    for name in &pushed.refs {
        report.push_str(&line(&format!("ng {name} {reason}\n")));
    }
    report.push_str("0000");
    if !pushed.side_band {
        return report;
    }
    let mut bands: String =
        chunks(&format!("{}\n", one_line(&spoken(problem)))).map(|text| line(&format!("\u{2}{text}"))).collect();
    bands.extend(chunks(&report).map(|text| line(&format!("\u{1}{text}"))));
    bands + "0000"
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// Text that can't be taken for another line, or for what steers a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Pieces that fit a line, cut between characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(MOST));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
