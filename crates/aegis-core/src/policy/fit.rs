//! Policies against the actions that are defined: rules that could never apply, and names that nothing has.
//!
//! A rule on a parameter that an action doesn't have doesn't apply to it, so a mistyped `max_<param>` would drop a cap without
//! a word. Functions that an SDK describes have no definition: where an entry may be meant for them, it is only a warning.

use std::collections::BTreeSet;

use super::budget::BudgetUnit;
use super::lint::{INERT, UNKNOWN_ACTION};
use super::param::Param;
use super::tables::{Check, Entry, Name, Policy, Tables, Unit, has_tool};
use super::{DefinedAction, Diagnostic};
use crate::call::{IMAGES, ToolCall};
use crate::document::nearest;
use crate::money::{AMOUNT, CURRENCY};

/// Errors and warnings, in the order of the policies.
pub(super) fn compare(tables: &Tables, defined: &[DefinedAction]) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let tools: BTreeSet<&str> = defined.iter().map(|action| action.tool.as_str()).collect();
    for policy in &tables.policies {
        for entry in &policy.entries {
            let fit = Fit { policy, entry, tools: &tools };
            let actions: Vec<&DefinedAction> = defined.iter().filter(|action| fit.is_for(action)).collect();
            if actions.is_empty() {
                warnings.extend(fit.unknown_name(defined));
            } else {
                fit.rules(&actions, &mut errors, &mut warnings);
            }
        }
    }
    (errors, warnings)
}

struct Fit<'a> {
    policy: &'a Policy,
    entry: &'a Entry,
    /// All tools that have a definition.
    tools: &'a BTreeSet<&'a str>,
}

/// A parameter that a rule names.
struct Named<'a> {
    rule: &'a str,
    /// What stands before the parameter in the key; `None` where no other parameter can be meant.
    family: Option<&'a str>,
    param: &'a str,
    /// The parameter that a definition must have.
    head: &'a str,
}

impl<'a> Named<'a> {
    fn of(rule: &'a str, family: &'a str, param: &'a Param) -> Self {
        Self { rule, family: Some(family), param: &param.name, head: param.head() }
    }
}

impl Fit<'_> {
    fn lets_through(&self, tool: &str) -> bool {
        has_tool(self.policy.tools.as_ref(), tool) && has_tool(self.entry.tools.as_ref(), tool)
    }

    fn is_for(&self, action: &DefinedAction) -> bool {
        self.lets_through(&action.tool) && self.entry.name.is_for(&action.tool, &action.action, &action.classes)
    }

    /// Whether some tool without a definition may be meant.
    fn may_be_undefined(&self) -> bool {
        let named = match &self.entry.name {
            Name::Exact { tool, .. } => return !self.tools.contains(tool.as_str()),
            Name::Glob { .. } => self.entry.origin.name.split('/').next().filter(|tool| !tool.contains('*')),
            Name::Bare { .. } => None,
        };
        let listed = self.entry.tools.as_ref().or(self.policy.tools.as_ref());
        let listed = listed.map(|tools| tools.iter().filter(|tool| self.lets_through(tool)).map(String::as_str));
        match (named, listed) {
            (Some(tool), _) => !self.tools.contains(tool),
            (None, Some(mut listed)) => listed.any(|tool| !self.tools.contains(tool)),
            (None, None) => true,
        }
    }

    fn rules(&self, actions: &[&DefinedAction], errors: &mut Vec<Diagnostic>, warnings: &mut Vec<Diagnostic>) {
        let (closed, open): (Vec<&DefinedAction>, Vec<&DefinedAction>) =
            actions.iter().partition(|action| action.params.is_some());
        if closed.is_empty() {
            return;
        }
        let params: BTreeSet<&str> = actions.iter().flat_map(|a| &a.params).flatten().map(String::as_str).collect();
        for Named { rule, family, param, head } in self.named() {
            if params.contains(param) || params.contains(head) {
                continue;
            }
            let near = family.and_then(|family| Some((family, nearest(param, params.iter().copied())?)));
            let message = match open.is_empty() {
                true => format!(
                    "no action that this entry is for ({}) has the parameter `{param}`: the rule would never apply",
                    examples(actions)
                ),
                false => format!(
                    "no action that this entry is for ({}) has the parameter `{param}`: the rule would do nothing but \
                     deny those that may have any ({})",
                    examples(&closed),
                    examples(&open)
                ),
            };
            match near {
                Some((family, near)) => {
                    errors.push(self.at(rule, message, Some(format!("did you mean `{family}{near}`?"))));
                }
                // It is for those that may have any parameter.
                None if !open.is_empty() => {}
                None if self.may_be_undefined() => {
                    let hint = "functions that an SDK describes may have it; name their `tools` if they are meant";
                    warnings.push(self.at(rule, message, Some(hint.to_owned())).of(&INERT).warning());
                }
                None => errors.push(self.at(rule, message, None)),
            }
        }
    }

    /// Every parameter that the entry names, and by which rule.
    fn named(&self) -> impl Iterator<Item = Named<'_>> {
        let Entry { images, rules, budgets, sanitize, .. } = self.entry;
        let images = images.iter().map(|rule| Named { rule: &rule.rule, family: None, param: IMAGES, head: IMAGES });
        let rules = rules.iter().flat_map(|rule| {
            let family = match &rule.check {
                Check::Required => "",
                _ => rule.rule.strip_suffix(&rule.param.name).unwrap_or_default(),
            };
            let money = matches!(&rule.check, Check::Bound(bound) if bound.unit == Unit::Money);
            // A path's currency is in the mapping that the path leads into.
            let currency = (money && rule.param.head() == rule.param.name).then_some(Named {
                rule: &rule.rule,
                family: None,
                param: CURRENCY,
                head: CURRENCY,
            });
            [Some(Named::of(&rule.rule, family, &rule.param)), currency].into_iter().flatten()
        });
        let budgets = budgets.iter().filter_map(|budget| match &budget.unit {
            BudgetUnit::Requests => None,
            BudgetUnit::Money(_) => Some(Named { rule: budget.rule, family: None, param: AMOUNT, head: AMOUNT }),
            BudgetUnit::Param(param) => Some(Named::of(budget.rule, "", param)),
        });
        let sanitized = sanitize.iter().flat_map(|sanitize| sanitize.params.iter().flatten());
        let sanitized = sanitized.map(|param| Named::of("sanitize", "", param));
        images.chain(rules).chain(budgets).chain(sanitized)
    }

    /// Nothing that is defined is what the entry is for. Where it names a tool without a definition, that is as it should be.
    fn unknown_name(&self, defined: &[DefinedAction]) -> Option<Diagnostic> {
        let listed = self.entry.tools.as_ref().or(self.policy.tools.as_ref());
        if listed.is_some_and(|listed| !listed.iter().any(|tool| self.tools.contains(tool.as_str()))) {
            return None;
        }
        let name = &self.entry.origin.name;
        let full: BTreeSet<String>;
        let names: BTreeSet<&str> = if name.contains('/') {
            full = defined.iter().map(|action| format!("{}/{}", action.tool, action.action)).collect();
            full.iter().map(String::as_str).collect()
        } else {
            let known =
                defined.iter().filter(|action| action.action != ToolCall::UNKNOWN && self.lets_through(&action.tool));
            known.flat_map(|a| a.classes.iter().chain([&a.action])).map(String::as_str).collect()
        };
        let what = if name.contains('/') { "action" } else { "action or class" };
        let message =
            format!("the catalogue has no {what} `{name}`: only a function that an SDK describes can be meant");
        let near = nearest(name, names).filter(|near| near != name).map(|near| format!("did you mean `{near}`?"));
        Some(self.at("name", message, near).of(&UNKNOWN_ACTION).warning())
    }

    fn at(&self, key: &str, message: String, suggestion: Option<String>) -> Diagnostic {
        let origin = &self.entry.origin;
        let place = *origin.keys.get(key).unwrap_or(&origin.place);
        Diagnostic::error(&origin.file, place, &format!("{}.{key}", origin.path), message).suggest(suggestion)
    }
}

/// A few of the actions, in words.
fn examples(actions: &[&DefinedAction]) -> String {
    const MOST: usize = 3;
    let names: BTreeSet<String> = actions.iter().map(|action| format!("{}/{}", action.tool, action.action)).collect();
    let more = if names.len() > MOST { ", …" } else { "" };
    names.into_iter().take(MOST).collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests;
