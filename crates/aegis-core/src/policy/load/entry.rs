//! One entry of `actions`.

use std::collections::BTreeSet;

use super::super::Source;
use super::super::condition::{Condition, Pattern, Refusal};
use super::super::tables::{AllowedImage, Entry, ImageRule, MaxRule, Name, Origin};
use super::{MAX_LIST, Report, values};
use crate::call::{Image, ToolCall};
use crate::document::{Diagnostic, Fields, Node, Place, Value};

/// Keys of an entry that the next versions bring.
const LATER: [&str; 6] = ["required_params", "deny_if", "sanitize", "budget", "daily_budget", "egress"];
/// Families of such keys.
const LATER_FAMILIES: [&str; 4] = ["min_", "allowed_", "denied_", "pattern_"];
/// The fixed keys that start like one of the families: a key this close to one is that key, mistyped.
const NEAR_FAMILIES: [&str; 3] = ["allowed_environments", "allowed_images", "allowed_image_digests"];

/// Reads an entry; its name as written comes with it.
pub(super) fn read(source: &Source, index: usize, node: &Node, report: &mut Report) -> Option<(String, Entry)> {
    let file = source.file.as_str();
    let path = format!("actions[{index}]");
    let mut image_errors = Vec::new();
    let mut fields = Fields::of(file, &path, node, &mut report.errors)?;
    let name = fields.required_text("name");
    let matcher = name.as_deref().zip(node.get("name")).and_then(|(name, at)| read_name(&mut fields, name, at.place));
    let tools = values::tools(&mut fields);
    let environments =
        values::texts(&mut fields, "allowed_environments").map(|list| list.into_iter().map(|(_, text)| text).collect());
    let approval = read_condition(source, &mut fields);
    let expires_s = read_approval(&mut fields);
    let images = ["allowed_images", "allowed_image_digests"];
    let images: Vec<ImageRule> =
        images.into_iter().filter_map(|rule| read_images(file, &path, rule, &mut fields, &mut image_errors)).collect();
    let rate = values::rate(&mut fields);
    fields.node("on_violation");
    let max = read_maxima(&mut fields);
    let mut rules: BTreeSet<&str> = max.iter().map(|rule| rule.rule.as_str()).collect();
    rules.extend(images.iter().map(|rule| rule.rule.as_str()));
    rules.extend(node.get("allowed_environments").map(|_| "allowed_environments"));
    let asks = read_on_violation(&mut fields, &rules);
    values::refuse_later(&mut fields, is_later);
    fields.finish();
    report.errors.append(&mut image_errors);
    warn_of_empty_lists(file, &path, node, report);
    let name = name?;
    let origin = origin(file, &path, &name, node);
    let entry = Entry {
        origin,
        name: matcher?,
        label: String::new(),
        tools,
        environments,
        approval,
        expires_s,
        images,
        max,
        asks,
        rate,
    };
    Some((name, entry))
}

/// Where the entry and its keys stand.
fn origin(file: &str, path: &str, name: &str, node: &Node) -> Origin {
    let keys = match &node.value {
        Value::Map(keys) => keys.as_slice(),
        _ => &[],
    };
    Origin {
        file: file.to_owned(),
        path: path.to_owned(),
        place: node.place,
        name: name.to_owned(),
        keys: keys.iter().map(|(key, _)| (key.name.clone(), key.place)).collect(),
    }
}

fn is_later(key: &str) -> bool {
    let family = LATER_FAMILIES.iter().any(|family| key.strip_prefix(family).is_some_and(|param| !param.is_empty()));
    let mistyped = NEAR_FAMILIES.iter().any(|near| strsim::osa_distance(key, near) <= 2);
    LATER.contains(&key) || (family && !mistyped)
}

fn read_name(fields: &mut Fields<'_>, name: &str, place: Place) -> Option<Name> {
    let word = |text: &str| {
        !text.is_empty()
            && text.len() <= 128
            && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"#|\"'\\".contains(c))
    };
    let mut refuse = |message: String, suggestion: Option<&str>| {
        fields.error_at("name", place, message, suggestion.map(str::to_owned));
        None
    };
    let Some((tool, action)) = name.split_once('/') else {
        return match name {
            ToolCall::UNKNOWN => {
                refuse("`unknown` calls are allowed by tool only".to_owned(), Some("write tool/unknown"))
            }
            _ if name.contains('*') => {
                refuse("a class or action is named in full".to_owned(), Some("a glob has two parts: */*"))
            }
            _ if word(name) => Some(Name::Bare { text: name.to_owned() }),
            _ => refuse(format!("{name:?} can't be an action"), None),
        };
    };
    if !word(tool) || !word(action) || action.contains('/') {
        return refuse(format!("{name:?} can't be a tool and an action"), Some("write tool/action"));
    }
    if !name.contains('*') {
        return Some(Name::Exact { tool: tool.to_owned(), action: action.to_owned() });
    }
    match (Pattern::glob(tool, Some('/')), Pattern::glob(action, Some('/'))) {
        (Ok(tool), Ok(action)) => Some(Name::Glob { tool, action }),
        (Err(message), _) | (_, Err(message)) => refuse(message, None),
    }
}

fn read_condition(source: &Source, fields: &mut Fields<'_>) -> Option<Condition> {
    let node = fields.node("approval_needed")?;
    let text = match &node.value {
        Value::Bool(value) => return Some(Condition::constant(*value)),
        Value::Text(text) => text,
        other => {
            let message = format!("expected a condition, true or false, found {}", other.kind());
            fields.error_at("approval_needed", node.place, message, None);
            return None;
        }
    };
    match Condition::compile(text) {
        Ok(condition) => Some(condition),
        Err(refusal) => {
            let (place, message) = locate(source, node.place, text, refusal);
            fields.error_at("approval_needed", place, message, None);
            None
        }
    }
}

/// The exact place where the condition stands as it is in one line of the file; else where it starts, and the offset in words.
fn locate(source: &Source, place: Place, text: &str, refusal: Refusal) -> (Place, String) {
    let Refusal { offset: Some(offset), message } = refusal else { return (place, refusal.message) };
    let line = source.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    let rest: String = line.chars().skip(place.column.saturating_sub(1)).collect();
    if rest.starts_with(text) {
        return (Place { column: place.column + offset, ..place }, message);
    }
    (place, format!("{message} (at character {} of the condition)", offset + 1))
}

/// `approval: {expires}`, in seconds.
fn read_approval(fields: &mut Fields<'_>) -> Option<i64> {
    let mut inner = fields.map("approval")?;
    let place = inner.node("expires").map(|node| node.place);
    let ms = values::duration(&mut inner, "expires");
    if let (Some(place), Some(0..1000)) = (place, ms) {
        inner.error_at("expires", place, "an approval takes at least 1s", None);
    }
    values::refuse_later(&mut inner, |key| ["approvers", "count", "scope"].contains(&key));
    inner.finish();
    i64::try_from(ms? / 1000).ok()
}

fn read_maxima(fields: &mut Fields<'_>) -> Vec<MaxRule> {
    let mut rules = Vec::new();
    for key in fields.unasked() {
        let Some(param) = key.name.strip_prefix("max_") else { continue };
        let Some(node) = fields.node(&key.name) else { continue };
        if param.is_empty() {
            fields.error_at(
                &key.name,
                key.place,
                "the parameter's name is missing",
                Some("write max_<param>".to_owned()),
            );
            continue;
        }
        if let Some(max) = values::number(fields, &key.name, node) {
            rules.push(MaxRule { rule: key.name.clone(), param: param.to_owned(), max });
        }
    }
    rules
}

fn read_images(
    file: &str,
    path: &str,
    rule: &str,
    fields: &mut Fields<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Option<ImageRule> {
    let items = fields.list(rule)?;
    if items.len() > MAX_LIST {
        let place = fields.place();
        fields.error_at(rule, place, format!("more than {MAX_LIST} values in one list"), None);
        return None;
    }
    let mut allowed = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}.{rule}[{index}]");
        if let Value::Text(text) = &item.value {
            let entry = check_digest(text).map(|()| AllowedImage { digest: text.clone(), repository: None });
            let synonym = rule == "allowed_image_digests";
            match entry {
                Ok(entry) if synonym => allowed.extend([entry]),
                Ok(_) => errors.push(
                    Diagnostic::error(file, item.place, &path, "expected a mapping, found text")
                        .suggest(Some(format!("write {{digest: \"{text}\"}}"))),
                ),
                Err(message) => errors.push(Diagnostic::error(file, item.place, &path, message)),
            }
            continue;
        }
        let Some(mut image) = Fields::of(file, &path, item, errors) else { continue };
        let digest = image.required_text("digest");
        let repository = image.text("repository");
        let mut check = |key: &str, result: Result<(), String>| {
            if let (Err(message), Some(at)) = (&result, item.get(key)) {
                image.error_at(key, at.place, message.as_str(), None);
            }
            result.is_ok()
        };
        let digest = digest.filter(|digest| check("digest", check_digest(digest)));
        let canonical = repository.map(|repository| canonical_repository(&repository));
        let good = canonical.as_ref().is_none_or(|result| check("repository", result.clone().map(drop)));
        image.finish();
        if let (Some(digest), true) = (digest, good) {
            allowed.extend([AllowedImage { digest, repository: canonical.and_then(Result::ok) }]);
        }
    }
    Some(ImageRule { rule: rule.to_owned(), allowed: allowed.into_iter().collect() })
}

/// `sha256:` and 64 hexadecimal digits in lower case (OCI image specification, "Registered algorithms").
fn check_digest(text: &str) -> Result<(), String> {
    let Some(hex) = text.strip_prefix("sha256:") else {
        return Err("an image digest is sha256: and 64 hexadecimal digits".to_owned());
    };
    if hex.contains('…') || hex.contains("...") {
        return Err(
            "this digest is a placeholder: write the image's real one, sha256: and 64 hexadecimal digits".to_owned()
        );
    }
    if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let found = match hex.chars().find(|letter| !matches!(letter, '0'..='9' | 'a'..='f')) {
        Some(letter) => format!("{letter:?}"),
        None => format!("{} of them", hex.len()),
    };
    Err(format!("an image digest has 64 hexadecimal digits in lower case behind sha256:, this has {found}"))
}

fn canonical_repository(text: &str) -> Result<String, String> {
    let repository = Image::read(text).repository.ok_or_else(|| format!("{text:?} is no repository"))?;
    let last = text.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Err("a repository has no tag and no digest; the digest has a key of its own".to_owned());
    }
    Ok(repository)
}

/// `on_violation: {RULE: approval_needed|deny}`: the rules that ask.
fn read_on_violation(fields: &mut Fields<'_>, rules: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut asks = BTreeSet::new();
    let Some(mut inner) = fields.map("on_violation") else { return asks };
    for &rule in rules {
        let Some(node) = inner.node(rule) else { continue };
        match node.text() {
            Some("approval_needed") => {
                asks.insert(rule.to_owned());
            }
            Some("deny") => {}
            _ => inner.error_at(rule, node.place, "expected `approval_needed` or `deny`", None),
        }
    }
    for key in inner.unasked() {
        inner.node(&key.name);
        let suggestion = crate::document::nearest(&key.name, rules.iter().copied())
            .map(|name| format!("did you mean `{name}`?"))
            .unwrap_or_else(|| format!("its rules: {}", rules.iter().copied().collect::<Vec<_>>().join(", ")));
        inner.error_at(&key.name, key.place, "the entry has no such rule", Some(suggestion));
    }
    asks
}

fn warn_of_empty_lists(file: &str, path: &str, node: &Node, report: &mut Report) {
    for key in ["tools", "allowed_environments", "allowed_images", "allowed_image_digests"] {
        if let Some(Node { place, value: Value::List(items) }) = node.get(key)
            && items.is_empty()
        {
            let message = "an empty list allows nothing";
            report.warnings.push(Diagnostic::error(file, *place, &format!("{path}.{key}"), message).warning());
        }
    }
}
