//! A call that somebody wrote down by its name and parameters (a policy's test case, a decision to be explained) → the call
//! that the gateway would make of a request for it.
//!
//! What no catalogue entry defines is a function without a definition, as [`Catalogue::describe_function`] has it. What one
//! defines has its classes, effect and parameters from there; a parameter that the definition doesn't have is refused, since
//! no request could have it. Deliberately absent: a payload.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Map, Value};

use super::cost::CostModel;
use super::defined::{companion, images_in, show_images};
use super::extract::Extracted;
use super::image::image;
use super::tool::{Action, From, Kind, Needed, Object, Param, Tool};
use super::{Catalogue, Unreadable, cost, statement};
use crate::call::{IMAGES, Image, Presence, Shape, ToolCall};
use crate::document::nearest;

/// A call as somebody writes it down.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Tool.
    pub tool: String,
    /// Action.
    pub action: String,
    /// Its classes; of a defined action they say which of several entries of one name is meant, and may be left out.
    pub classes: BTreeSet<String>,
    /// Where in the tool it points, for the environment map.
    pub target: BTreeMap<String, String>,
    /// Parameters.
    pub params: Map<String, Value>,
    /// References of the images that it would run, in addition to those in parameters.
    pub images: Vec<String>,
}

impl Catalogue {
    /// Describes a call that is written down.
    ///
    /// # Errors
    /// What the action's definition doesn't have: a parameter, a class.
    pub fn describe_written(&self, written: Written) -> Result<ToolCall, Unreadable> {
        let tool = self.tools.get(&written.tool);
        let entries: Vec<(&Tool, &Action)> = tool
            .into_iter()
            .flat_map(|tool| tool.actions.iter().map(move |action| (tool, action)))
            .filter(|(_, action)| action.name == written.action && action.name != ToolCall::UNKNOWN)
            .collect();
        if entries.is_empty() {
            return Ok(self.written_undefined(written));
        }
        let (tool, action) = entry(&entries, &written)?;
        Ok(self.written_as(tool, action, written))
    }

    fn written_undefined(&self, written: Written) -> ToolCall {
        let Written { tool, action, classes, target, params, images } = written;
        let mut call = self.describe_undefined(&tool, &action, params, target);
        call.images.extend(images.iter().map(|reference| Image::read(reference)));
        ToolCall { classes, ..call }
    }

    fn written_as(&self, tool: &Tool, action: &Action, written: Written) -> ToolCall {
        let Written { target, mut params, images, .. } = written;
        let object = object(tool, &params);
        let mut found = images_in(action, &params);
        found.extend(images.iter().map(|reference| image(&Value::from(reference.as_str()))));
        show_images(&found, &mut params);
        let shape = if action.open { Shape::Open } else { Shape::Defined(presences(action, object)) };
        let programs: Vec<_> = action.programs().collect();
        // Who writes a call down may say them.
        let tells = !statement::said_by(&params, &programs);
        let unresolved = action.not_given(&target, &params);
        let known = Extracted { target, params, shape, images: found, unresolved };
        let mut call = self.defined_call(tool, action, companion(action), known);
        if tells {
            let _ = statement::tell(&mut call, &programs);
        }
        cost::meter(&mut call, action, None, &self.prices);
        call
    }
}

/// The kind of object that the parameters name, where they name one.
pub(super) fn object<'a>(tool: &'a Tool, params: &Map<String, Value>) -> Option<&'a Object> {
    tool.objects.get(params.get("kind")?.as_str()?)
}

/// Which parameters the action has, of an object of this kind; of an unnamed kind all that any kind has.
pub(super) fn presences(action: &Action, object: Option<&Object>) -> BTreeMap<String, Presence> {
    // The strictest method: a call that is written down is meant as a whole, not as a change of something.
    let method = action.methods.iter().find(|method| **method != Method::PATCH).or(action.methods.first());
    let presence = |needed: Needed| method.map_or(Presence::Required, |method| needed.in_method(method));
    let lacks = |at: &str| object.is_some_and(|object| !object.at.contains_key(at));
    let has = |param: &&Param| !matches!(&param.source, From::At(at) if lacks(at));
    let mut defined: BTreeMap<String, Presence> =
        action.params.iter().filter(has).map(|param| (param.name.clone(), presence(param.needed))).collect();
    defined.extend(action.resolved_params().map(|param| (param.name.clone(), Presence::Required)));
    let image_params = action.params.iter().filter(has).filter(|param| param.kind == Kind::Image);
    if let Some(strictest) = image_params.map(|param| presence(param.needed)).min_by_key(|p| *p != Presence::Required) {
        defined.insert(IMAGES.to_owned(), strictest);
    }
    for (name, language) in action.programs() {
        let of_text = defined.get(name).copied().unwrap_or(Presence::Partial);
        for fact in language.facts() {
            defined.entry((*fact).to_owned()).or_insert(of_text);
        }
    }
    if matches!(action.cost, Some(CostModel::Tokens(_))) {
        defined.insert(cost::TOKENS.to_owned(), Presence::Required);
    }
    if let Some(images) = action.images.as_ref().filter(|images| !images.under.as_deref().is_some_and(lacks)) {
        defined.insert(IMAGES.to_owned(), presence(images.needed));
    }
    defined
}

/// The entry that is meant: the first that has the classes and all the parameters; one that knows its parameters before an
/// open one.
fn entry<'a>(entries: &[(&'a Tool, &'a Action)], written: &Written) -> Result<(&'a Tool, &'a Action), Unreadable> {
    let name = format!("{}/{}", written.tool, written.action);
    let classed: Vec<_> = entries.iter().filter(|(_, action)| written.classes.is_subset(&action.classes)).collect();
    if classed.is_empty() {
        let known: BTreeSet<&str> =
            entries.iter().flat_map(|(_, action)| &action.classes).map(String::as_str).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{name} is not in all of these classes; by its definition it is in: {known}");
        return Err(Unreadable::new("written_class", message));
    }
    let unknown = |tool: &Tool, action: &Action| {
        let defined = presences(action, object(tool, &written.params));
        let has_images = defined.contains_key(IMAGES) || written.images.is_empty();
        written
            .params
            .keys()
            .find(|name| !defined.contains_key(*name))
            .cloned()
            .or((!has_images).then(|| IMAGES.into()))
    };
    let exact = classed.iter().find(|(tool, action)| !action.open && unknown(tool, action).is_none());
    if let Some(&&found) = exact.or_else(|| classed.iter().find(|(_, action)| action.open)) {
        return Ok(found);
    }
    let culprit = classed.first().and_then(|(tool, action)| unknown(tool, action)).unwrap_or_default();
    let known: BTreeSet<String> = classed
        .iter()
        .flat_map(|(tool, action)| presences(action, object(tool, &written.params)).into_keys())
        .collect();
    let hint = match nearest(&culprit, known.iter().map(String::as_str)) {
        Some(near) if near != culprit => format!("did you mean `{near}`?"),
        _ => format!("it has: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    Err(Unreadable::new("written_param", format!("{name} has no parameter `{culprit}`; {hint}")))
}

#[cfg(test)]
mod tests;
