//! A call as users write it down, in a policy's test case or to have it explained, and the call that the gateway makes of it.

use std::collections::BTreeMap;

use aegis_core::call::{Body, Destination, Effect, Environment, HttpRequest, ToolCall};
use aegis_core::describe::{Arrival, Catalogue, Written, canonical_destination};
use aegis_core::document::{Fields, Node, Value};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Map;

/// Scheme of a destination that opens a tunnel.
const TUNNEL: &str = "tunnel";

/// A call as it is written down.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenCall {
    written: Written,
    env: Option<String>,
    effect: Option<Effect>,
    destination: Option<Destination>,
}

impl WrittenCall {
    /// Reads a call's keys; what is wrong with them is reported by `fields`.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut written = Written {
            tool: fields.text("tool").unwrap_or_default(),
            action: fields.text("action").unwrap_or_default(),
            classes: texts(fields, "classes").into_iter().collect(),
            images: texts(fields, "images"),
            ..Written::default()
        };
        let env = fields.text("env");
        let effect = read_effect(fields);
        if let Some(node) = fields.node("params") {
            match node.to_json() {
                serde_json::Value::Object(params) => written.params = params,
                _ => wrong(fields, "params", node, "a mapping"),
            }
        }
        if let Some(node) = fields.node("target") {
            match serde_json::from_value::<BTreeMap<String, String>>(node.to_json()) {
                Ok(target) => written.target = target,
                Err(_) => wrong(fields, "target", node, "a mapping of texts"),
            }
        }
        let destination = read_destination(fields);
        Self { written, env, effect, destination }
    }

    /// Whether it says which action of which tool it is, or where it goes.
    pub(super) fn says_what(&self) -> bool {
        let Written { tool, action, .. } = &self.written;
        (!tool.is_empty() && !action.is_empty()) || (self.destination.is_some() && tool.is_empty() && action.is_empty())
    }

    /// The call that the gateway would make of it.
    ///
    /// # Errors
    /// What no request could say.
    pub(super) fn describe(self, catalogue: &Catalogue) -> Result<ToolCall> {
        let Self { written, env, effect, destination } = self;
        let mut call = match &destination {
            Some(destination) if written.tool.is_empty() => reach(catalogue, destination, written.params)?,
            _ => catalogue.describe_written(written)?,
        };
        if let Some(env) = env {
            call.environment = Environment::named(env);
        }
        if let Some(effect) = effect {
            call.effect = effect;
        }
        call.destination = destination.or(call.destination);
        Ok(call)
    }
}

/// What the forward proxy would make of a request for a host, or of a tunnel to it.
fn reach(catalogue: &Catalogue, destination: &Destination, params: Map<String, serde_json::Value>) -> Result<ToolCall> {
    if let Some(other) = params.keys().find(|name| !["method", "path"].contains(&name.as_str())) {
        bail!("a request for a destination has the parameters `method` and `path`, not `{other}`");
    }
    if destination.scheme == TUNNEL {
        return Ok(catalogue.describe_tunnel(destination));
    }
    let text = |name: &str, default: &str| match params.get(name) {
        None => Ok(default.to_owned()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("`{name}` is not text")),
    };
    let (method, path) = (text("method", "GET")?, text("path", "/")?);
    let request = HttpRequest {
        method: method.parse().with_context(|| format!("{method:?} is no HTTP method"))?,
        target: path.parse().with_context(|| format!("{path:?} is no path"))?,
        headers: http::HeaderMap::new(),
        body: Body::Whole(bytes::Bytes::new()),
    };
    Ok(catalogue.describe(&Arrival::Forward { destination }, request)?)
}

/// A list of texts; nothing where there is none.
pub(super) fn texts(fields: &mut Fields<'_>, key: &str) -> Vec<String> {
    fields.texts(key).unwrap_or_default().into_iter().map(|(_, text)| text).collect()
}

/// Says that a key holds something else than it should.
pub(super) fn wrong(fields: &mut Fields<'_>, key: &str, node: &Node, expected: &str) {
    fields.error_at(key, node.place, format!("expected {expected}, found {}", node.value.kind()), None);
}

fn read_effect(fields: &mut Fields<'_>) -> Option<Effect> {
    let node = fields.node("effect")?;
    let effect = serde_json::from_value(node.to_json()).ok();
    if effect.is_none() {
        let hint = Some("read, write, destroy, exec, spend, publish or unknown".to_owned());
        fields.error_at("effect", node.place, "this is no effect", hint);
    }
    effect
}

/// `{scheme, host, port}`; https where no scheme is given, and the scheme's own port where none is.
fn read_destination(fields: &mut Fields<'_>) -> Option<Destination> {
    let node = fields.node("destination")?;
    let mut inner = fields.map("destination")?;
    let scheme = inner.text("scheme").unwrap_or_else(|| "https".to_owned());
    let host = inner.required_text("host");
    let port = match node.get("port").map(|port| &port.value) {
        Some(Value::Int(port)) => u16::try_from(*port).ok(),
        Some(_) => None,
        None => match scheme.as_str() {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        },
    };
    inner.node("port");
    if port.is_none() {
        inner.error_at("port", node.place, "a port from 1 to 65535 is needed", None);
    }
    let destination = host.zip(port).and_then(|(host, port)| {
        let destination = canonical_destination(&scheme, &host, port);
        destination.map_err(|error| inner.error_at("host", node.place, error.message, None)).ok()
    });
    inner.finish();
    destination
}
