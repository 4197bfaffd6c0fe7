//! A call that is known by its name, its parameters and what is known of its target, and not by a request: a function's, a
//! decision API's, an MCP tool's that stands for an action. What the catalogue defines under that name is what it is.
//!
//! Invariants: a name that stands for several entries is one of them only where they agree in everything that a rule depends on,
//! or where the target tells them apart; else it is `unknown`. A parameter that the definition doesn't have isn't dropped: rules
//! on it hold. Deliberately absent: facts about the target that only a request or an operator can state.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::defined::{companion, images_in, show_images};
use super::extract::Extracted;
use super::tool::{Action, From, Kind, Tool};
use super::written::{object, presences};
use super::{Catalogue, cost, statement};
use crate::call::{Presence, Shape, ToolCall};

impl Catalogue {
    /// Describes a call by its name. `target` is what is known of where it points; the definition's own places in a path
    /// (`namespace`, `kind`, `name`) are taken from the parameters too.
    pub fn describe_named(
        &self,
        tool: &str,
        action: &str,
        params: Map<String, Value>,
        mut target: BTreeMap<String, String>,
    ) -> ToolCall {
        let Some(tool) = self.tools.get(tool) else { return self.describe_undefined(tool, action, params, target) };
        let mut params = params;
        for name in &tool.ignore_case {
            if let Some(Value::String(text)) = params.get_mut(name) {
                tool.fold(name, text);
            }
            target.entry(name.clone()).and_modify(|text| tool.fold(name, text));
        }
        let unknown = |params, mut target: BTreeMap<String, String>, why: &str| {
            target.insert("unknown_because".to_owned(), why.to_owned());
            self.describe_undefined(&tool.name, ToolCall::UNKNOWN, params, target)
        };
        let named: Vec<&Action> =
            tool.actions.iter().filter(|entry| entry.name == action && action != ToolCall::UNKNOWN).collect();
        let places = named.iter().flat_map(|entry| &entry.templates).flat_map(|template| template.variables());
        for name in places.chain(named.iter().flat_map(|entry| entry.resolved_facts())) {
            let stated = params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            match (stated, target.get(name)) {
                (Some(stated), Some(known)) if stated != known => {
                    return unknown(params, target, "parameters and target contradict each other");
                }
                (Some(stated), None) => drop(target.insert(name.to_owned(), stated.to_owned())),
                _ => {}
            }
        }
        if let Some(name) = named.iter().find_map(|entry| entry.misnamed(&target, &params)) {
            // As an id where rules speak of names: those that deny one would be passed by the other.
            let why = format!("{name} isn't written as the tool itself says it");
            return unknown(params, target, &why);
        }
        match meant(tool, &named, &params, &target) {
            Some(entry) if statement::said_by(&params, &entry.programs().collect::<Vec<_>>()) => {
                unknown(params, target, "it says itself what is found out about it")
            }
            Some(entry) => self.named_as(tool, entry, params, target),
            None if named.is_empty() => unknown(params, target, "the catalogue has no action of this name"),
            None => {
                unknown(params, target, "the catalogue has several actions of this name: say the kind of the target")
            }
        }
    }

    fn named_as(
        &self,
        tool: &Tool,
        action: &Action,
        mut params: Map<String, Value>,
        target: BTreeMap<String, String>,
    ) -> ToolCall {
        for param in &action.params {
            if let (From::Path { variable, all }, false) = (&param.source, params.contains_key(&param.name))
                && let Some(text) = target.get(variable)
            {
                let text = Value::from(text.as_str());
                params.insert(param.name.clone(), if *all { Value::Array(vec![text]) } else { text });
            }
        }
        let images = images_in(action, &params);
        show_images(&images, &mut params);
        let shape = if action.open {
            Shape::Open
        } else {
            let mut defined = presences(action, object(tool, &params));
            for name in params.keys() {
                defined.entry(name.clone()).or_insert(Presence::Partial);
            }
            Shape::Defined(defined)
        };
        let unresolved = action.not_given(&target, &params);
        let known = Extracted { target, params, shape, images, unresolved };
        let mut call = self.defined_call(tool, action, companion(action), known);
        // It can't say them itself: that was asked before.
        let _ = statement::tell(&mut call, &action.programs().collect::<Vec<_>>());
        cost::meter(&mut call, action, None, &self.prices);
        call
    }
}

/// The entry that is meant: of those that the target admits, the ones that name it most closely, if they agree.
fn meant<'a>(
    tool: &Tool,
    named: &[&'a Action],
    params: &Map<String, Value>,
    target: &BTreeMap<String, String>,
) -> Option<&'a Action> {
    let close = |action: &Action| action.templates.iter().filter_map(|template| template.closeness(target)).max();
    let closest = named.iter().filter_map(|action| close(action)).max()?;
    let mut best = named.iter().filter(|action| close(action) == Some(closest)).copied();
    let first = best.next()?;
    let object = object(tool, params);
    let same = |other: &Action| {
        first.classes == other.classes
            && first.effect == other.effect
            && first.open == other.open
            && companion(first) == companion(other)
            && presences(first, object) == presences(other, object)
            && kinds(first) == kinds(other)
    };
    best.all(same).then_some(first)
}

fn kinds(action: &Action) -> BTreeMap<&str, Kind> {
    let own = action.params.iter().map(|param| (param.name.as_str(), param.kind));
    own.chain(action.resolved_params().map(|found| (found.name.as_str(), found.kind))).collect()
}
