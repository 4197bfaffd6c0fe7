//! Patterns that let through more than they look like.

use regex_syntax::hir::{Hir, HirKind, Look};

use super::super::tables::Entry;
use super::at;
use crate::document::{Diagnostic, Kind};

pub(super) const UNANCHORED: Kind =
    Kind { name: "unanchored-alternation", summary: "One side of an alternation is anchored, the other is not." };

/// The findings of one entry's patterns.
pub(super) fn lint(entry: &Entry) -> Vec<Diagnostic> {
    let patterns =
        entry.approval.iter().flat_map(|condition| condition.patterns()).map(|text| ("approval_needed", text));
    patterns
        .filter(|(_, text)| is_half_anchored(text))
        .map(|(key, _)| {
            let message =
                "in this pattern `^` or `$` binds one side of the `|` only, so that the other is found anywhere";
            at(&UNANCHORED, &entry.origin, key, message.to_owned())
                .suggest(Some("put the alternatives in brackets: ^(?:a|b)$"))
        })
        .collect()
}

/// Whether some, but not all, of the alternatives begin (or end) at the text's start (or end).
fn is_half_anchored(pattern: &str) -> bool {
    let Ok(hir) = regex_syntax::parse(pattern) else { return false };
    let HirKind::Alternation(sides) = hir.kind() else { return false };
    let mixed = |anchored: fn(&Hir) -> bool| sides.iter().any(anchored) && !sides.iter().all(anchored);
    mixed(|side| side.properties().look_set_prefix().contains(Look::Start))
        || mixed(|side| side.properties().look_set_suffix().contains(Look::End))
}
