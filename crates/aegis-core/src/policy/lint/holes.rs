//! Patterns that let through more than they look like.

use regex_syntax::hir::{Hir, HirKind, Look};

use super::super::condition::Condition;
use super::super::tables::Origin;
use super::at;
use crate::document::{Diagnostic, Kind};

pub(super) const UNANCHORED: Kind =
    Kind { name: "unanchored-alternation", summary: "One side of an alternation is anchored, the other is not." };

/// The findings of the patterns in these conditions, each with its key.
pub(super) fn lint<'a>(
    origin: &Origin,
    conditions: impl Iterator<Item = (&'static str, &'a Condition)>,
) -> Vec<Diagnostic> {
    let half_anchored = |condition: &Condition| condition.patterns().into_iter().any(is_half_anchored);
    let found = conditions.filter(|(_, condition)| half_anchored(condition));
    found
        .map(|(key, _)| {
            let message = "in a pattern `^` or `$` binds one side of the `|` only, so that the other is found anywhere";
            let hint = "put the alternatives in brackets: ^(?:a|b)$";
            at(&UNANCHORED, origin, key, message.to_owned()).suggest(Some(hint))
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
