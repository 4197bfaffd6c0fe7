//! One entry of `actions`.

use std::collections::BTreeSet;

use super::super::Source;
use super::super::lint::EMPTY;
use super::super::tables::{Check, Entry, ImageRule, Name, Origin};
use super::cache::Cache;
use super::{Report, budgets, conditions, images, keys, labels, rules, terms, values};
use crate::call::ToolCall;
use crate::document::{Diagnostic, Fields, Node, Place, Value};

/// Reads an entry; its name as written comes with it.
pub(super) fn read(
    source: &Source,
    index: usize,
    node: &Node,
    cache: &mut Cache,
    report: &mut Report,
) -> Option<(String, Entry)> {
    let file = source.file.as_str();
    let path = format!("actions[{index}]");
    let mut image_errors = Vec::new();
    let mut warnings = Vec::new();
    let mut fields = Fields::of(file, &path, node, &mut report.errors)?;
    let name = fields.required_text("name");
    let matcher =
        name.as_deref().zip(node.get("name")).and_then(|(name, at)| read_name(&mut fields, cache, name, at.place));
    let tools = values::tools(&mut fields);
    let environments =
        values::texts(&mut fields, "allowed_environments").map(|list| list.into_iter().map(|(_, text)| text).collect());
    let approval = conditions::approval_needed(source, &mut fields, cache);
    let terms = terms::approval(&mut fields);
    let deny = conditions::deny_if(source, &mut fields, cache);
    let labels = labels::read(source, &mut fields, cache);
    let images: Vec<ImageRule> = ["allowed_images", "allowed_image_digests"]
        .into_iter()
        .filter_map(|rule| images::read(file, &path, rule, &mut fields, &mut image_errors))
        .collect();
    let sanitize = super::sanitize::sanitize(&mut fields);
    let egress = values::egress(&mut fields);
    let rate = values::rate(&mut fields);
    let budgets = budgets::read(&mut fields);
    fields.node("on_violation");
    let rules = rules::read(file, &mut fields, cache, &mut warnings);
    let readable = rules.iter().filter(|rule| !matches!(rule.check, Check::Required)).map(|rule| rule.rule.as_str());
    let mut may_ask: BTreeSet<&str> = readable.chain(images.iter().map(|rule| rule.rule.as_str())).collect();
    may_ask.extend(["allowed_environments", "egress"].into_iter().filter(|key| node.get(key).is_some()));
    let asks = read_on_violation(&mut fields, &may_ask);
    keys::finish(fields);
    report.errors.append(&mut image_errors);
    report.warnings.extend(warnings);
    warn_of_empty_lists(file, &path, node, report);
    let name = name?;
    let origin = origin(file, &path, &name, node);
    let (name_as_written, name) = (name, matcher?);
    let entry = Entry {
        origin,
        name,
        label: String::new(),
        tools,
        environments,
        approval,
        terms,
        deny,
        images,
        rules,
        egress,
        sanitize,
        asks,
        rate,
        budgets,
        labels,
    };
    Some((name_as_written, entry))
}

/// Where an entry or a policy, and its keys, stand.
pub(super) fn origin(file: &str, path: &str, name: &str, node: &Node) -> Origin {
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

fn read_name(fields: &mut Fields<'_>, cache: &mut Cache, name: &str, place: Place) -> Option<Name> {
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
    match (cache.glob(tool, Some('/')), cache.glob(action, Some('/'))) {
        (Ok(tool), Ok(action)) => Some(Name::Glob { tool, action }),
        (Err(message), _) | (_, Err(message)) => refuse(message, None),
    }
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
            .unwrap_or_else(|| match rules.iter().copied().collect::<Vec<_>>().join(", ").as_str() {
                "" => "it has none that could ask: add the rule first".to_owned(),
                names => format!("its rules: {names}"),
            });
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
            report
                .warnings
                .push(Diagnostic::error(file, *place, &format!("{path}.{key}"), message).of(&EMPTY).warning());
        }
    }
}
