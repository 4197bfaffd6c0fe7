//! `approval`.

use std::collections::BTreeSet;

use super::super::terms::ApprovalRule;
use super::values;
use crate::approval::Requirement;
use crate::document::{Fields, nearest};

/// Who an approver can be: what stands before the colon.
const APPROVERS: [&str; 5] = ["slack", "teams", "operator", "group", "user"];
/// Scopes of an approval that are known, and not enforced by this version.
const LATER_SCOPES: [&str; 3] = ["action", "environment", "session"];
/// Most approvers that can be asked for.
const MAX_COUNT: i64 = 20;

/// `approval: {expires, approvers, count, scope}`.
pub(super) fn approval(fields: &mut Fields<'_>) -> Option<ApprovalRule> {
    let mut inner = fields.map("approval")?;
    let place = inner.node("expires").map(|node| node.place);
    let ms = values::duration(&mut inner, "expires");
    if let (Some(place), Some(0..1000)) = (place, ms) {
        inner.error_at("expires", place, "an approval takes at least 1s", None);
    }
    let approvers = approvers(&mut inner);
    let count = count(&mut inner, &approvers);
    scope(&mut inner);
    inner.finish();
    let expires_s = ms.and_then(|ms| i64::try_from(ms / 1000).ok());
    Some(ApprovalRule { expires_s, requirement: Requirement { approvers: approvers.into_iter().collect(), count } })
}

fn approvers(inner: &mut Fields<'_>) -> BTreeSet<String> {
    let Some(texts) = values::texts(inner, "approvers") else { return BTreeSet::new() };
    if let (true, Some(node)) = (texts.is_empty(), inner.node("approvers")) {
        inner.error_at("approvers", node.place, "nobody could approve: the list is empty", None);
    }
    let mut approvers = BTreeSet::new();
    for (place, text) in texts {
        let (kind, name) = text.split_once(':').unwrap_or((text.as_str(), ""));
        let well_named = !name.is_empty()
            && name.len() <= 128
            && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"\"'\\,".contains(c));
        if APPROVERS.contains(&kind) && well_named {
            approvers.insert(text);
        } else if !text.is_empty() {
            let suggestion = match (text.contains(':'), nearest(kind, APPROVERS)) {
                (true, Some(near)) if near != kind => format!("did you mean `{near}:{name}`?"),
                (false, _) => format!("such as `group:{text}` or `user:{text}`"),
                _ => "write slack:…, teams:…, operator:…, group:… or user:…, without spaces".to_owned(),
            };
            inner.error_at("approvers", place, format!("{text:?} is no approver"), Some(suggestion));
        }
    }
    approvers
}

fn count(inner: &mut Fields<'_>, approvers: &BTreeSet<String>) -> u32 {
    let Some(node) = inner.node("count") else { return 1 };
    let Some(count) = inner.int("count") else { return 1 };
    // A group may have more people in it than there are names in the list.
    let people = approvers.iter().all(|approver| !approver.starts_with("group:"));
    if !(1..=MAX_COUNT).contains(&count) {
        inner.error_at("count", node.place, format!("expected 1 to {MAX_COUNT}, found {count}"), None);
    } else if people && !approvers.is_empty() && usize::try_from(count).is_ok_and(|count| count > approvers.len()) {
        let message = format!("{count} have to approve, but only {} may", approvers.len());
        inner.error_at("count", node.place, message, None);
    }
    u32::try_from(count).unwrap_or(1)
}

fn scope(inner: &mut Fields<'_>) {
    let Some(node) = inner.node("scope") else { return };
    match node.text() {
        Some("call") => {}
        Some(scope) if LATER_SCOPES.contains(&scope) => {
            values::later(inner, "scope", node.place, &format!("the scope `{scope}`"));
        }
        _ => inner.error_at("scope", node.place, "expected `call`", None),
    }
}
