//! A call of an action that the catalogue defines, put together from what is known of it, whether a request, a name or a test case
//! says that: in one place, so that a call has the same of its definition whichever way it comes.

use serde_json::{Map, Value};

use super::Catalogue;
use super::extract::{Extracted, images_of};
use super::tool::{Action, Kind, Tool};
use crate::call::{Companion, IMAGES, Image, Payload, ToolCall};
use crate::cost::Metering;

impl Catalogue {
    /// The call. What its programs do and what it costs isn't told yet, and nothing goes on the wire.
    pub(super) fn defined_call(
        &self,
        tool: &Tool,
        action: &Action,
        companion: &Companion,
        extracted: Extracted,
    ) -> ToolCall {
        let Extracted { target, params, shape, images, unresolved } = extracted;
        ToolCall {
            tool: tool.name.clone(),
            action: action.name.clone(),
            classes: action.classes.clone(),
            effect: action.effect,
            environment: self.environments.find(&tool.name, &target, &params, &unresolved),
            target,
            params,
            shape,
            images,
            frozen: action.frozen,
            companion: companion.clone(),
            destination: None,
            metering: Metering::default(),
            payload: Payload::Caller,
        }
    }
}

/// What comes with every path that leads to an action: a read is a companion where it is one by all of them.
pub(super) fn companion(action: &Action) -> &Companion {
    let mut all = action.companions.iter();
    all.next().filter(|first| all.all(|other| other == *first)).unwrap_or(&Companion::No)
}

/// The images that a call's parameters name, of an action that is known by its name.
pub(super) fn images_in(action: &Action, params: &Map<String, Value>) -> Vec<Image> {
    let own = action.params.iter().filter(|param| param.kind == Kind::Image).map(|param| param.name.as_str());
    let names = own.chain(action.images.as_ref().map(|_| IMAGES));
    names.filter_map(|name| params.get(name)).flat_map(images_of).collect()
}

/// Conditions, approvers and records see the same references as the image rules.
pub(super) fn show_images(images: &[Image], params: &mut Map<String, Value>) {
    if !images.is_empty() && !params.contains_key(IMAGES) {
        let references = images.iter().map(|image| Value::String(image.reference.clone()));
        params.insert(IMAGES.to_owned(), Value::Array(references.collect()));
    }
}
