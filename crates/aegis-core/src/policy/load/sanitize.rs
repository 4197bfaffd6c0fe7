//! `sanitize: {detect, params, results, custom, allow, style, unreadable}`: of the call, and of what it is answered with.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::param::Param;
use super::super::sanitize::Sanitize;
use super::{MAX_LIST, values};
use crate::document::{Fields, Node, Value, nearest};
use crate::sanitize::{Custom, Detector, Kind, Style};

/// Most rules of its own that an entry has.
const MAX_CUSTOM: usize = 100;

/// Reads the key.
pub(super) fn sanitize(fields: &mut Fields<'_>) -> Option<Sanitize> {
    let mut inner = fields.map("sanitize")?;
    let results = names(&mut inner, "results");
    let custom = custom(&mut inner);
    if results.is_none() && custom.is_empty() {
        inner.required("detect");
    }
    let detect = names(&mut inner, "detect");
    let params = sanitized_params(&mut inner);
    if detect.is_none()
        && custom.is_empty()
        && let Some(node) = inner.node("params")
    {
        inner.error_at("params", node.place, "it says where `detect` looks, and there is no `detect`", None);
    }
    let allow =
        values::texts(&mut inner, "allow").unwrap_or_default().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let style = style(&mut inner);
    let unreadable = unreadable(&mut inner);
    inner.finish();
    let detector = |names: Option<BTreeSet<String>>, custom: Vec<Custom>| {
        let mut detector = Detector::new(names.unwrap_or_default()).with(custom, allow.clone(), style);
        detector.unreadable = unreadable;
        Arc::new(detector)
    };
    let answers = results.is_some();
    let results = detector(results, if answers { custom.clone() } else { Vec::new() });
    let detect = detector(detect, custom);
    let is_plain = detect.custom.is_empty() && allow.is_empty() && style == Style::Mask && !unreadable;
    let more = (!is_plain).then(|| Arc::clone(&detect));
    Some(Sanitize { detect, more, params, results })
}

/// What is looked for: families and types; `None` where the key isn't there.
fn names(inner: &mut Fields<'_>, key: &str) -> Option<BTreeSet<String>> {
    let node = inner.node(key)?;
    let mut found = BTreeSet::new();
    for (place, text) in values::texts(inner, key).unwrap_or_default() {
        if Detector::all_names().any(|name| name == text) {
            found.insert(text);
        } else if !text.is_empty() {
            let suggestion = nearest(&text, Detector::all_names()).map(|name| format!("did you mean `{name}`?"));
            let families = Kind::ALL.map(Kind::as_str).join(", ");
            let message = format!(
                "{text:?} is nothing that is detected: {families}, or one type, as `aegis dlp types` lists them"
            );
            inner.error_at(key, place, message, suggestion);
        }
    }
    if node.value == Value::List(Vec::new()) {
        inner.error_at(key, node.place, "nothing would be detected: the list is empty", None);
    }
    Some(found)
}

/// `custom: [{name, pattern | words, field}]`.
fn custom(inner: &mut Fields<'_>) -> Vec<Custom> {
    let Some(items) = inner.list("custom") else { return Vec::new() };
    if items.len() > MAX_CUSTOM {
        let place = inner.place();
        inner.error_at("custom", place, format!("more than {MAX_CUSTOM} rules"), None);
        return Vec::new();
    }
    let nodes: Vec<&Node> = items.iter().collect();
    let mut rules: Vec<Custom> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        match rule(node) {
            Ok(rule) if rules.iter().any(|other| other.name == rule.name) => {
                inner.error_at("custom", node.place, format!("two rules are called `{}`", rule.name), None);
            }
            Ok(rule) => rules.push(rule),
            Err(message) => inner.error_at("custom", node.place, format!("rule {}: {message}", index + 1), None),
        }
    }
    rules
}

/// The keys of a rule.
const RULE: [&str; 4] = ["name", "pattern", "words", "field"];

fn rule(node: &Node) -> Result<Custom, String> {
    let Value::Map(entries) = &node.value else {
        return Err(format!("expected a mapping, found {}", node.value.kind()));
    };
    for (key, _) in entries {
        if !RULE.contains(&key.name.as_str()) {
            let hint = nearest(&key.name, RULE).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(format!("unknown key `{}`{hint}", key.name));
        }
    }
    let text = |key: &str| match node.get(key) {
        None => Ok(None),
        Some(value) => {
            value.text().filter(|text| !text.is_empty()).map(Some).ok_or_else(|| format!("`{key}` isn't a text"))
        }
    };
    let name = text("name")?.ok_or("it has no name")?;
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.len() > 64 || !name.bytes().all(valid) {
        return Err("a name is lower-case letters, digits and underscores".to_owned());
    }
    if Detector::all_names().any(|other| other == name) {
        return Err(format!("`{name}` is the name of something that is detected anyhow"));
    }
    let field = text("field")?;
    match (text("pattern")?, node.get("words"), field) {
        (Some(pattern), None, field) => Custom::pattern(name, pattern, field),
        (None, Some(words), field) => {
            let Value::List(words) = &words.value else { return Err("`words` isn't a list".to_owned()) };
            let words: Option<Vec<String>> =
                words.iter().map(|word| word.text().filter(|word| !word.is_empty()).map(str::to_owned)).collect();
            let words = words
                .filter(|words| !words.is_empty() && words.len() <= MAX_LIST)
                .ok_or("`words` are texts, at least one")?;
            Custom::words(name, &words, field)
        }
        (None, None, Some(field)) => Ok(Custom::field(name, field)),
        (Some(_), Some(_), _) => Err("it has both `pattern` and `words`".to_owned()),
        (None, None, None) => Err("it has none of `pattern`, `words` and `field`".to_owned()),
    }
}

fn style(inner: &mut Fields<'_>) -> Style {
    let Some(node) = inner.node("style") else { return Style::Mask };
    let text = node.text().unwrap_or_default();
    let style = Style::ALL.into_iter().find(|style| style.as_str() == text);
    style.unwrap_or_else(|| {
        let names = Style::ALL.map(Style::as_str);
        let suggestion = nearest(text, names).map(|name| format!("did you mean `{name}`?"));
        inner.error_at("style", node.place, format!("expected one of {}", names.join(", ")), suggestion);
        Style::Mask
    })
}

/// `unreadable: pass` lets what can't be read through.
fn unreadable(inner: &mut Fields<'_>) -> bool {
    let Some(node) = inner.node("unreadable") else { return false };
    match node.text() {
        Some("pass") => true,
        Some("deny") => false,
        _ => {
            inner.error_at("unreadable", node.place, "expected `pass` or `deny`", None);
            false
        }
    }
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
