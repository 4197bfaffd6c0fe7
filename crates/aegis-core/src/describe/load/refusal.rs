//! A tool's `deny_response`.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::super::refusal::{DenyShape, OwnShape};
use super::Context;
use crate::document::{Node, Value};

const NAMED: [(&str, DenyShape); 4] = [
    ("problem", DenyShape::Problem),
    ("kubernetes_status", DenyShape::KubernetesStatus),
    ("text", DenyShape::Text),
    ("git", DenyShape::Git(None)),
];
const EXPECTED: &str =
    "expected problem, kubernetes_status, text, git, or the tool's own: {body: {error: \"{message}\"}}";

/// A name, or a shape of the tool's own.
pub(super) fn read(context: &mut Context<'_>, node: Option<&Node>) -> DenyShape {
    let path = "deny_response";
    let Some(node) = node else { return DenyShape::Problem };
    if let Some(text) = node.text() {
        let named = NAMED.into_iter().find(|(name, _)| *name == text).map(|(_, shape)| shape);
        return named.unwrap_or_else(|| {
            context.error(node, path, EXPECTED);
            DenyShape::Problem
        });
    }
    own(context, path, node).map_or(DenyShape::Problem, |own| DenyShape::Own(Arc::new(own)))
}

fn own(context: &mut Context<'_>, path: &str, node: &Node) -> Option<OwnShape> {
    let mut fields = context.fields(path, node)?;
    let media_type = fields.text("media_type").unwrap_or_else(|| "application/json".to_owned());
    let status_line = fields.bool("status_line").unwrap_or(false);
    let body = fields.required("body").cloned();
    fields.node("headers");
    fields.finish();
    if HeaderValue::from_str(&media_type).is_err() {
        context.error(node, path, "`media_type` can't stand in a header");
    }
    let body = body?;
    if !matches!(body.value, Value::Map(_)) && body.text().is_none() {
        context.error(&body, path, "`body` is an object, or a text");
    }
    let places = body.to_json().to_string();
    if !places.contains("{message}") {
        context.error(&body, path, "`body` has no place for the reason: write {message} where the client looks for it");
    }
    let mut headers = Vec::new();
    for (name, value) in context.entries(&format!("{path}.headers"), node.get("headers")) {
        let fits = |text: &&str| HeaderValue::from_str(text).is_ok();
        match (HeaderName::from_bytes(name.as_bytes()), value.text().filter(fits)) {
            (Ok(name), Some(text)) => headers.push((name.as_str().to_owned(), text.to_owned())),
            _ => context.error(value, path, format!("{name:?} is no header with a text")),
        }
    }
    Some(OwnShape { media_type, body: body.to_json(), status_line, headers })
}
