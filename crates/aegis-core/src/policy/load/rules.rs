//! Rules on parameters: `max_`, `min_`, `allowed_`, `denied_`, `pattern_<param>`, and `required_params`.

use std::collections::BTreeSet;

use super::super::duration;
use super::super::lint::{EMPTY, REPEATED};
use super::super::param::Param;
use super::super::tables::{Bound, Check, List, Rule, Side, Unit};
use super::cache::Cache;
use super::keys::{self, Family};
use super::{MAX_LIST, values};
use crate::document::{Diagnostic, Fields, Key, Kind, Node, Value};

/// Most globs in a list.
const MAX_GLOBS: usize = 1_000;
/// The key of [`Check::Required`].
const REQUIRED: &str = "required_params";

/// Reads every rule of an entry, in the order of the file.
pub(super) fn read(
    file: &str,
    fields: &mut Fields<'_>,
    cache: &mut Cache,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Rule> {
    let mut reader = Reader { file, fields, cache, warnings };
    let mut rules = Vec::new();
    reader.required(&mut rules);
    for key in reader.fields.unasked() {
        let Some((family, param)) = keys::family(&key.name) else { continue };
        let Some(node) = reader.fields.node(&key.name) else { continue };
        let Some(param) = reader.param(key, family, param) else { continue };
        if let Some(check) = reader.check(&key.name, family, node) {
            rules.push(Rule { rule: key.name.clone(), param, check });
        }
    }
    reader.refuse_impossible_bounds(&rules);
    rules
}

struct Reader<'r, 'a> {
    file: &'r str,
    fields: &'r mut Fields<'a>,
    cache: &'r mut Cache,
    warnings: &'r mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn param(&mut self, key: &Key, family: Family, param: &str) -> Option<Param> {
        let mut refuse = |message: String, suggestion: String| {
            self.fields.error_at(&key.name, key.place, message, Some(suggestion));
            None
        };
        if param.is_empty() {
            return refuse("the parameter's name is missing".to_owned(), format!("write {}<param>", key.name));
        }
        if keys::is_environment(param) {
            let suggestion = match family {
                Family::Allowed => "did you mean `allowed_environments`?",
                _ => "write deny_if: env == \"…\"",
            };
            let message = "the environment is no parameter: it follows from the target".to_owned();
            return refuse(message, suggestion.to_owned());
        }
        match Param::parse(param) {
            Ok(param) => Some(param),
            Err(message) => refuse(message, "a path is written max_spec.replicas".to_owned()),
        }
    }

    fn check(&mut self, key: &str, family: Family, node: &Node) -> Option<Check> {
        match family {
            Family::Min => self.bound(key, Side::Min, node).map(Check::Bound),
            Family::Max => self.bound(key, Side::Max, node).map(Check::Bound),
            Family::Allowed => self.list(key, "an empty list allows nothing", node).map(Check::Allowed),
            Family::Denied => self.list(key, "an empty list denies nothing", node).map(Check::Denied),
            Family::Pattern => {
                let text = self.fields.text(key)?;
                match self.cache.pattern(&text) {
                    Ok(pattern) => Some(Check::Pattern { pattern, text }),
                    Err(message) => {
                        self.fields.error_at(key, node.place, message, None);
                        None
                    }
                }
            }
        }
    }

    fn bound(&mut self, key: &str, side: Side, node: &Node) -> Option<Bound> {
        let Value::Text(text) = &node.value else {
            let limit = values::number(self.fields, key, node)?;
            let text = limit.to_string();
            return Some(Bound { side, limit, unit: Unit::Number, currency: None, text });
        };
        if let Some((number, unit)) = values::quantity(text) {
            let (currency, minor) = match values::money(number, unit) {
                Ok(money) => money,
                Err((message, suggestion)) => {
                    self.fields.error_at(key, node.place, message, suggestion);
                    return None;
                }
            };
            let limit = currency.major(minor)?;
            let text = currency.shown(minor);
            return Some(Bound { side, limit, unit: Unit::Money, currency: Some(currency), text });
        }
        if let Some(ms) = duration::milliseconds(text) {
            let limit = duration::seconds(ms);
            return Some(Bound { side, limit, unit: Unit::Seconds, currency: None, text: text.clone() });
        }
        let suggestion = match text.parse::<f64>() {
            Ok(_) => format!("write {text} without quotes"),
            Err(_) => "a limit is a number, an amount such as 500 USD, or a duration such as 30m".to_owned(),
        };
        self.fields.error_at(key, node.place, "expected a number, found text", Some(suggestion));
        None
    }

    fn list(&mut self, key: &str, when_empty: &str, node: &Node) -> Option<List> {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                let suggestion = format!("write [{}]", node.to_json());
                let message = format!("expected a list, found {}", node.value.kind());
                self.fields.error_at(key, node.place, message, Some(suggestion));
                return None;
            }
            _ => return self.fields.list(key).map(|_| List::default()),
        };
        if items.len() > MAX_LIST {
            self.fields.error_at(key, node.place, format!("more than {MAX_LIST} values in one list"), None);
            return None;
        }
        if items.is_empty() {
            self.warn(&EMPTY, key, node, when_empty);
        }
        let mut list = List::default();
        let mut seen = BTreeSet::new();
        let mut good = true;
        for item in items {
            let shown = item.to_json();
            if seen.insert(shown.to_string()) {
                good &= self.list_item(key, item, &mut list);
                list.shown.push(shown);
            } else {
                self.warn(&REPEATED, key, item, "the value stands twice in the list");
            }
        }
        if list.globs.len() > MAX_GLOBS {
            let message = format!("more than {MAX_GLOBS} texts with `*` in one list: each is tried");
            self.fields.error_at(key, node.place, message, None);
            return None;
        }
        good.then_some(list)
    }

    fn list_item(&mut self, key: &str, item: &Node, list: &mut List) -> bool {
        match &item.value {
            Value::Text(text) if text.contains('*') && list.globs.len() > MAX_GLOBS => {}
            Value::Text(text) if text.contains('*') => match self.cache.glob(text, None) {
                Ok(glob) => list.globs.push(glob),
                Err(message) => {
                    self.fields.error_at(key, item.place, message, None);
                    return false;
                }
            },
            Value::Text(text) => {
                list.texts.insert(text.clone());
            }
            Value::Bool(value) => {
                list.bools.insert(*value);
            }
            Value::Int(_) | Value::Float(_) => match values::number(self.fields, key, item) {
                Some(number) => list.numbers.push(number),
                None => return false,
            },
            other => {
                let message = format!("expected text, a number, true or false, found {}", other.kind());
                self.fields.error_at(key, item.place, message, None);
                return false;
            }
        }
        true
    }

    fn required(&mut self, rules: &mut Vec<Rule>) {
        let Some(texts) = values::texts(self.fields, REQUIRED) else { return };
        let mut seen: Vec<String> = Vec::new();
        for (place, text) in texts {
            if keys::is_environment(&text) {
                let message = "the environment is no parameter: it follows from the target, and is always known";
                self.fields.error_at(REQUIRED, place, message, None);
            } else if seen.contains(&text) {
                let path = self.fields.path_of(REQUIRED);
                let message = "the parameter stands twice in the list";
                self.warnings.push(Diagnostic::error(self.file, place, &path, message).of(&REPEATED).warning());
            } else {
                match Param::parse(&text) {
                    Ok(param) => rules.push(Rule { rule: REQUIRED.to_owned(), param, check: Check::Required }),
                    Err(_) if text.is_empty() => {}
                    Err(message) => self.fields.error_at(REQUIRED, place, message, None),
                }
            }
            seen.push(text);
        }
    }

    /// Bounds that no value keeps, all of them on one parameter.
    fn refuse_impossible_bounds(&mut self, rules: &[Rule]) {
        for rule in rules {
            let Check::Bound(min @ Bound { side: Side::Min, .. }) = &rule.check else { continue };
            let of_same = rules.iter().filter(|other| other.param == rule.param);
            let max = of_same.filter_map(|other| match &other.check {
                Check::Bound(max @ Bound { side: Side::Max, .. }) => Some((other, max)),
                _ => None,
            });
            for (other, max) in max {
                let Some(place) = self.fields.node(&rule.rule).map(|node| node.place) else { continue };
                let message = if (min.unit, min.currency) != (max.unit, max.currency) {
                    format!("{} {} and {} {} are in different units", rule.rule, min.text, other.rule, max.text)
                } else if min.limit.as_f64() > max.limit.as_f64() {
                    format!("{} {} is above {} {}: no value keeps both", rule.rule, min.text, other.rule, max.text)
                } else {
                    continue;
                };
                self.fields.error_at(&rule.rule, place, message, None);
            }
        }
    }

    fn warn(&mut self, kind: &'static Kind, key: &str, at: &Node, message: &str) {
        let path = self.fields.path_of(key);
        self.warnings.push(Diagnostic::error(self.file, at.place, &path, message).of(kind).warning());
    }
}
