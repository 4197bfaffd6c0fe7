//! The Model Context Protocol, as far as a decision depends on it: one JSON-RPC message, read once and strictly.
//!
//! Two generations are spoken: revisions up to 2025-11-25 (a handshake, then sessions), and from 2026-07-28 on (stateless, each
//! request says its revision and mirrors what it asks in headers). Both are read alike; [`Message::is_stateless`] tells them apart.
//!
//! Invariants: what is decided on is the body; the headers that mirror it are checked against it ([`headers`]), never believed.
//! A message that two readers could take for two different ones is [`Unreadable`]: keys that stand twice or differ only by case,
//! a request that is also an answer, a batch. Deliberately absent: any trust in what a server says of its own tools.

pub mod answers;
pub mod headers;
pub mod tools;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::describe::{Argument, Unreadable, fold, strict_json};

/// The first revision without sessions.
pub const STATELESS: &str = "2026-07-28";
/// Where a stateless request says its revision.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Where a stateless request says what its client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Members of `_meta` that say nothing about what is done: they differ each time that a call is repeated.
const IMMATERIAL_META: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
/// Members of a message that mean something to every reader.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The same for `params`.
const PARAMS: [&str; 7] = ["name", "arguments", "uri", "_meta", "requestState", "inputResponses", "cursor"];
/// The longest name of a method or a tool that is read.
const LONGEST_NAME: usize = 256;

/// A configured server, as far as describing its messages depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The name in `/mcp/NAME`, which is the tool that policies speak of.
    pub name: String,
    /// Tools of it that are actions of the catalogue.
    pub map: Vec<Mapping>,
    /// Arguments of its tools that are programs; those of tools that stand for an action are the action's to tell.
    pub programs: Vec<Argument>,
}

/// A tool of a server that is an action of the catalogue: one policy covers the API and this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The server's tool.
    pub tool: String,
    /// The catalogue's tool.
    pub as_tool: String,
    /// Its action.
    pub as_action: String,
    /// Parameters of the action, and the JSON Pointers into the arguments that they are read at.
    pub params: Vec<(String, String)>,
    /// What the operator says about the target, e.g. its cluster.
    pub target: Vec<(String, String)>,
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has a method and an id, and gets an answer.
    Request,
    /// It has a method and no id.
    Notification,
    /// It answers a request.
    Answer,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    kind: Kind,
    body: Map<String, Value>,
}

impl Message {
    /// Asks for a tool to be run.
    pub const CALL: &str = "tools/call";
    /// Begins a session.
    pub const INITIALIZE: &str = "initialize";

    /// Reads one message.
    ///
    /// # Errors
    /// What makes it ambiguous or malformed; the reason starts with `json_` where it isn't even JSON, else with `mcp_`.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::of(strict_json(bytes)?)
    }

    /// The message that a value is.
    ///
    /// # Errors
    /// Why it isn't one.
    pub fn of(value: Value) -> Result<Self, Unreadable> {
        let body = match value {
            Value::Object(body) => body,
            Value::Array(_) => {
                return Err(unreadable(
                    "mcp_batch",
                    "a batch of messages is not taken: send each in a request of its own",
                ));
            }
            _ => return Err(unreadable("mcp_message", "a message is a JSON object")),
        };
        let kind = kind(&body)?;
        let message = Self { kind, body };
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), Unreadable> {
        match self.body.get("id") {
            None if self.kind != Kind::Answer => {}
            Some(Value::String(_)) => {}
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {}
            // An error about a message that could not be read has no id to name.
            None | Some(Value::Null) if self.body.contains_key("error") => {}
            _ => return Err(unreadable("mcp_id", "an `id` is a text or a whole number")),
        }
        match self.body.get("params") {
            None => {}
            Some(Value::Object(params)) => {
                one_case(params, &PARAMS)?;
                if let Some(Value::Object(meta)) = params.get("_meta") {
                    one_case(meta, &[PROTOCOL_VERSION, CLIENT_CAPABILITIES])?;
                }
            }
            Some(_) => return Err(unreadable("mcp_params", "`params` is an object")),
        }
        if self.kind == Kind::Answer {
            return Ok(());
        }
        if !is_name(self.method()) {
            return Err(unreadable("mcp_method", "`method` is not the name of a method"));
        }
        if self.method() == Self::CALL {
            self.arguments()?;
        }
        match self.subject() {
            Some(Value::String(_)) => Ok(()),
            None if !self.needs_subject() => Ok(()),
            _ => Err(unreadable("mcp_name", format!("{} needs a text in `{}`", self.method(), self.subject_key()))),
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The method; empty for an answer.
    pub fn method(&self) -> &str {
        self.body.get("method").and_then(Value::as_str).unwrap_or_default()
    }

    /// The id, by which its answer is known.
    pub fn id(&self) -> Option<&Value> {
        self.body.get("id")
    }

    /// Its parameters.
    pub fn params(&self) -> Option<&Map<String, Value>> {
        self.body.get("params").and_then(Value::as_object)
    }

    /// The whole of it.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The name of the tool or prompt, or the address of the resource, that it is about.
    pub fn name(&self) -> Option<&str> {
        self.subject().and_then(Value::as_str)
    }

    /// A tool's arguments, which may be absent.
    ///
    /// # Errors
    /// They are no object.
    pub fn arguments(&self) -> Result<Map<String, Value>, Unreadable> {
        match self.params().and_then(|params| params.get("arguments")) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(arguments)) => Ok(arguments.clone()),
            Some(_) => Err(unreadable("mcp_arguments", "`arguments` is an object")),
        }
    }

    /// What stands beside the parameters.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.params()?.get("_meta")?.as_object()
    }

    /// The revision that it says it is of; only stateless ones say one.
    pub fn revision(&self) -> Option<&str> {
        self.meta()?.get(PROTOCOL_VERSION)?.as_str()
    }

    /// Whether it belongs to the generation without sessions.
    pub fn is_stateless(&self) -> bool {
        self.revision().is_some_and(|revision| revision >= STATELESS)
    }

    /// Whether its client can be asked to open a URL for its user.
    pub fn opens_urls(&self) -> bool {
        let capabilities = self.meta().and_then(|meta| meta.get(CLIENT_CAPABILITIES));
        capabilities.and_then(|can| can.pointer("/elicitation/url")).is_some_and(Value::is_object)
    }

    /// The trace that it belongs to: `traceparent` and `tracestate`.
    pub fn trace(&self) -> Option<(&str, &str)> {
        let meta = self.meta()?;
        let text = |key: &str| meta.get(key).and_then(Value::as_str);
        Some((text("traceparent")?, text("tracestate").unwrap_or_default()))
    }

    /// Takes out what a caller told us in an earlier answer to send back, and gives it.
    pub fn take_state(&mut self) -> Option<String> {
        let params = self.body.get_mut("params")?.as_object_mut()?;
        params.remove("inputResponses");
        match params.remove("requestState") {
            Some(Value::String(state)) => Some(state),
            _ => None,
        }
    }

    /// What a caller was told in an earlier answer to send back.
    pub fn state(&self) -> Option<&str> {
        self.params()?.get("requestState")?.as_str()
    }

    /// Says in it which trace it belongs to, in place of what it said before.
    pub fn join(&mut self, traceparent: &str, tracestate: &str) {
        let Some(meta) = self.body.get_mut("params").and_then(|params| params.get_mut("_meta")) else { return };
        let Some(meta) = meta.as_object_mut().filter(|meta| meta.contains_key("traceparent")) else { return };
        meta.insert("traceparent".to_owned(), traceparent.into());
        meta.remove("tracestate");
        if !tracestate.is_empty() {
            meta.insert("tracestate".to_owned(), tracestate.into());
        }
    }

    /// What it means, the same for one that only repeats it: without its id, and without what tracks it.
    pub fn meaning(&self) -> Value {
        let mut body = self.body.clone();
        body.remove("id");
        let params = body.get_mut("params").and_then(Value::as_object_mut);
        if let Some(params) = params
            && let Some(Value::Object(meta)) = params.get_mut("_meta")
        {
            meta.retain(|key, _| !IMMATERIAL_META.contains(&key.as_str()));
            if meta.is_empty() {
                params.remove("_meta");
            }
        }
        Value::Object(body)
    }

    /// As bytes for the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        Value::Object(self.body.clone()).to_string().into_bytes()
    }

    fn needs_subject(&self) -> bool {
        matches!(self.method(), Self::CALL | "prompts/get" | "resources/read")
    }

    fn subject_key(&self) -> &'static str {
        if self.method().starts_with("resources/") { "uri" } else { "name" }
    }

    fn subject(&self) -> Option<&Value> {
        if !self.needs_subject() {
            return None;
        }
        self.params()?.get(self.subject_key())
    }
}

/// Whether a method only sets up, looks around or keeps up what is under way: every grant on the server brings it along.
pub fn is_handshake(method: &str) -> bool {
    method.starts_with("notifications/")
        || matches!(
            method,
            Message::INITIALIZE
                | "ping"
                | "server/discover"
                | "subscriptions/listen"
                | "logging/setLevel"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
        )
}

/// Whether a name is one that protocol methods have, so that a tool of that name could be taken for the method.
pub fn is_method(name: &str) -> bool {
    let families = ["tools", "prompts", "resources", "completion", "tasks", "logging", "server", "subscriptions"];
    is_handshake(name)
        || name.split_once('/').is_some_and(|(family, rest)| families.contains(&family) && !rest.is_empty())
}

/// The action that a method is: its name, with dots where an action's name can't have a slash. An action can't be a tool of the
/// server's too: see [`is_action`].
pub fn action_of(method: &str) -> String {
    method.replace('/', ".")
}

/// Whether a tool's name can be an action's: nothing that policies write otherwise, and no method of the protocol.
pub fn is_action(tool: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !tool.is_empty() && tool.len() <= 128 && tool.bytes().all(plain) && !is_method(&tool.replace('.', "/"))
}

/// Whether a text may name a tool or a method.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn kind(body: &Map<String, Value>) -> Result<Kind, Unreadable> {
    one_case(body, &MEMBERS)?;
    if body.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(unreadable("mcp_jsonrpc", "`jsonrpc` has to be \"2.0\""));
    }
    let has = |key: &str| body.contains_key(key);
    match (has("method"), has("id"), has("result"), has("error")) {
        (true, true, false, false) => Ok(Kind::Request),
        (true, false, false, false) => Ok(Kind::Notification),
        (false, true, true, false) | (false, _, false, true) => Ok(Kind::Answer),
        _ => Err(unreadable("mcp_message", "a message is a request, a notification, or one answer")),
    }
}

/// No key is the same as a known one but for case: some readers would take one for the other.
fn one_case(map: &Map<String, Value>, known: &[&str]) -> Result<(), Unreadable> {
    for key in map.keys() {
        let folded = fold(key);
        if let Some(meant) = known.iter().find(|known| *known != key && fold(known) == folded) {
            let message = format!(
                "the message has the key {key:?} where {meant:?} is meant: some readers take one for the other"
            );
            return Err(unreadable("json_key_case", message));
        }
    }
    Ok(())
}

fn unreadable(reason: &str, message: impl Into<String>) -> Unreadable {
    Unreadable { reason: reason.to_owned(), message: message.into() }
}
