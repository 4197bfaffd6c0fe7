//! `approval` and `sanitize`.

use std::collections::BTreeSet;

use super::super::param::Param;
use super::super::sanitize::Sanitize;
use super::super::terms::ApprovalRule;
use super::values;
use crate::approval::Requirement;
use crate::document::{Fields, nearest};
use crate::sanitize::Kind;

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

/// `sanitize: {detect, params, results}`: of the call, and of what it is answered with.
pub(super) fn sanitize(fields: &mut Fields<'_>) -> Option<Sanitize> {
    let mut inner = fields.map("sanitize")?;
    let results = kinds(&mut inner, "results");
    if results.is_none() {
        inner.required("detect");
    }
    let detect = kinds(&mut inner, "detect");
    let params = sanitized_params(&mut inner);
    if detect.is_none()
        && let Some(node) = inner.node("params")
    {
        inner.error_at("params", node.place, "it says where `detect` looks, and there is no `detect`", None);
    }
    inner.finish();
    Some(Sanitize { detect: detect.unwrap_or_default(), params, results: results.unwrap_or_default() })
}

/// What is looked for; `None` where the key isn't there.
fn kinds(inner: &mut Fields<'_>, key: &str) -> Option<BTreeSet<Kind>> {
    let node = inner.node(key)?;
    let mut found = BTreeSet::new();
    for (place, text) in values::texts(inner, key).unwrap_or_default() {
        match Kind::ALL.into_iter().find(|kind| kind.as_str() == text) {
            Some(kind) => {
                found.insert(kind);
            }
            None => {
                let names = Kind::ALL.map(Kind::as_str);
                let suggestion = nearest(&text, names).map(|name| format!("did you mean `{name}`?"));
                let message = format!("{text:?} is nothing that is detected: {}", names.join(", "));
                inner.error_at(key, place, message, suggestion);
            }
        }
    }
    if node.value == crate::document::Value::List(Vec::new()) {
        inner.error_at(key, node.place, "nothing would be detected: the list is empty", None);
    }
    Some(found)
}

fn sanitized_params(inner: &mut Fields<'_>) -> Option<Vec<Param>> {
    let node = inner.node("params")?;
    let texts = values::texts(inner, "params")?;
    if texts.is_empty() {
        let suggestion = Some("leave `params` out to look at all of them".to_owned());
        inner.error_at("params", node.place, "nothing would be looked at: the list is empty", suggestion);
    }
    let mut params: Vec<Param> = Vec::new();
    for (place, text) in texts {
        match Param::parse(text.strip_prefix("params.").unwrap_or(&text)) {
            Ok(param) if params.contains(&param) => {}
            Ok(param) => params.push(param),
            Err(_) if text.is_empty() => {}
            Err(message) => inner.error_at("params", place, message, Some("write params.message".to_owned())),
        }
    }
    params.sort_by(|a, b| a.name.cmp(&b.name));
    Some(params)
}
