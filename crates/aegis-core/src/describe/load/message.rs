//! An action's `message`: the fields of a gRPC message that are read.

use super::super::body::Decoder;
use super::super::grpc::{Field, Message};
use super::super::pointer::Pointer;
use super::super::tool::{Action, From};
use super::Context;
use crate::document::{Node, Value};

/// `{name: 1 string, resources: {field: "7 message*", of: {…}}}`
pub(super) fn read(context: &mut Context<'_>, path: &str, node: Option<&Node>) -> Message {
    let mut message = Message::default();
    for (name, node) in context.entries(path, node) {
        let path = format!("{path}.{name}");
        let (text, of) = match &node.value {
            Value::Map(_) => {
                let Some(mut fields) = context.fields(&path, node) else { continue };
                let text = fields.required_text("field");
                fields.required("of");
                fields.finish();
                let of = read(context, &path, node.get("of"));
                (text, Some(of))
            }
            _ => (context.texts(&path, Some(node)).first().map(|(_, text)| (*text).to_owned()), None),
        };
        let Some(text) = text else { continue };
        let added = Field::parse(name, &text, of).and_then(|(number, field)| message.add(number, field));
        if let Err(why) = added {
            context.error(node, &path, why);
        }
    }
    message
}

/// What is asked of a message has to be read from it.
pub(super) fn check(context: &mut Context<'_>, path: &str, node: &Node, action: &Action) {
    if !action.decoders.contains(&Decoder::Grpc) {
        return;
    }
    let params = action.params.iter().filter_map(|param| match &param.source {
        From::Pointer(pointer) => Some(pointer),
        _ => None,
    });
    let asked = params.chain(action.target.values()).chain(action.body.iter().map(|(pointer, _)| pointer));
    let unread = |pointer: &&Pointer| !action.message.reads(&pointer.keys());
    if let Some(pointer) = asked.into_iter().find(unread) {
        context.error(node, path, format!("`message` doesn't say how to read /{}", pointer.keys().join("/")));
    }
}
