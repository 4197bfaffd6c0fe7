//! What is asked: [`ToolCall`], the one vocabulary of every protocol.
//!
//! A call names a tool and an action of it, the environment that its target is in, and its parameters, whatever wire
//! it came by. Policy is written against these names only, so a decision can't depend on the wire.
//!
//! Invariant: the payload that a call carries is the one that its parameters were read from; nothing parses it again.

mod image;
pub mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
pub(crate) use image::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cost::Metering;
use crate::describe::Unreadable;
use crate::mcp::{Message, headers, headers::Mirror};

/// One call of a tool, described.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The tool, e.g. `kubernetes`; `http` when no catalogue entry knows the target.
    pub tool: String,
    /// The action of the tool, e.g. `scale`; [`ToolCall::UNKNOWN`] when the tool is known and the call isn't.
    pub action: String,
    /// The semantic classes the action is in, e.g. `deploy` and `scale`.
    pub classes: BTreeSet<String>,
    /// What the action does to the target.
    pub effect: Effect,
    /// The environment the target is in.
    pub environment: Environment,
    /// Where in the tool the call points, e.g. `cluster`, `namespace`, `kind`, `name`; matched by the environment map.
    pub target: BTreeMap<String, String>,
    /// The parameters that policy may speak of.
    pub params: serde_json::Map<String, Value>,
    /// Which parameters the action has.
    pub shape: Shape,
    /// The images that the call would run, when the action can name any.
    pub images: Vec<Image>,
    /// Whether its body stays as it is, because its bytes are what they are known by.
    pub frozen: bool,
    /// The writes whose grant also grants this read.
    pub companion: Companion,
    /// The network destination, when the agent named one.
    pub destination: Option<Destination>,
    /// What is known of its cost.
    pub metering: Metering,
    /// What goes on the wire if the call is allowed.
    pub payload: Payload,
}

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Looks only.
    Read,
    /// Changes something.
    Write,
    /// Removes something.
    Destroy,
    /// Runs code at the target.
    Exec,
    /// Moves money.
    Spend,
    /// Makes something public.
    Publish,
    /// Not known: judged like the worst.
    Unknown,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destroy => "destroy",
            Self::Exec => "exec",
            Self::Spend => "spend",
            Self::Publish => "publish",
            Self::Unknown => "unknown",
        })
    }
}

/// Where the target is, by the operator's mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The mapped name; [`Environment::UNKNOWN`] when nothing in the map matches.
    pub name: String,
    /// What the call itself says, when it says something else; such a call is denied.
    pub contradicted_by: Option<String>,
}

impl Environment {
    /// The name of an environment that no mapping knows.
    pub const UNKNOWN: &str = "unknown";

    /// The environment `name`, which nothing contradicts.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), contradicted_by: None }
    }
}

/// Which parameters an action has: what a missing one means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// No definition (an SDK's function, plain HTTP): a parameter that a rule needs and that is missing denies.
    Open,
    /// By definition. A rule on a parameter that isn't here doesn't apply to the action.
    Defined(BTreeMap<String, Presence>),
}

/// What it means when a defined parameter is absent from a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// The call has to say it; absent denies where a rule needs it.
    Required,
    /// Absent leaves the target as it is (a patch); a rule applies when it is present.
    Partial,
}

/// The name under which [`ToolCall::images`] are declared in a [`Shape`].
pub const IMAGES: &str = "images";

/// A container image that a call names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As the call writes it.
    pub reference: String,
    /// Registry and repository in full (`docker.io/library/nginx`); `None` when the reference is malformed.
    pub repository: Option<String>,
    /// `sha256:` and 64 hexadecimal digits; `None` when there is none or it is malformed.
    pub digest: Option<String>,
}

/// Whether a call is a read that comes with a write: discovery, or a look at the object that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Companion {
    /// It stands alone: it must be granted by name.
    No,
    /// Any granted action of the tool grants it, in any environment (discovery).
    OfTool,
    /// Any granted action of one of these tools grants it, in any environment (discovery of what stands for several).
    OfTools(BTreeSet<String>),
    /// A grant of one of these actions, in this environment, grants it.
    OfActions(Vec<ActionName>),
}

/// An action and its classes, as an entry of a policy names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionName {
    /// The action.
    pub action: String,
    /// Its classes.
    pub classes: BTreeSet<String>,
}

/// A network destination, canonical: an A-label in lower case without a trailing dot, or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// `http`, `https` or `tunnel`.
    pub scheme: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What goes on the wire.
#[derive(Debug, Clone)]
pub enum Payload {
    /// An HTTP request.
    Http(HttpRequest),
    /// A message of the Model Context Protocol.
    Mcp(McpRequest),
    /// A tunnel to the destination.
    Tunnel,
    /// Nothing of ours: the caller enforces (decision API, external authorizer).
    Caller,
}

/// The exact HTTP request to forward.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Method.
    pub method: http::Method,
    /// Path and query, canonical.
    pub target: http::uri::PathAndQuery,
    /// End-to-end headers, without the agent's credentials.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Body,
}

/// An MCP message, and the request that carries it.
#[derive(Debug, Clone)]
pub struct McpRequest {
    /// The server that it is for.
    pub server: String,
    /// The exact request: its body is the message as it came, unknown members included; empty where a stream is opened or closed.
    pub request: HttpRequest,
    /// The message.
    pub message: Option<Message>,
    /// The arguments that headers mirror, where that is known.
    pub mirrors: Option<Vec<Mirror>>,
}

impl McpRequest {
    /// Reads the message anew from the body, which was changed, and mirrors it anew.
    ///
    /// # Errors
    /// What became of it can't be sent.
    pub(crate) fn rewritten(&mut self) -> Result<(), Unreadable> {
        let Body::Whole(body) = &self.request.body else { return Ok(()) };
        if self.message.is_none() {
            return Ok(());
        }
        let message = Message::read(body)?;
        if message.is_stateless() {
            headers::write(&mut self.request.headers, &message, self.mirrors.as_deref())?;
        }
        self.message = Some(message);
        Ok(())
    }
}

/// A request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Read whole; these bytes are forwarded.
    Whole(Bytes),
    /// This beginning was read, which says what is asked; the rest is forwarded as it comes.
    Begun(Bytes),
    /// Forwarded as it comes, unread. An approval can't cover it.
    Streamed,
}

/// A SHA-256, shown as `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a content.
    pub(crate) fn of(content: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ToolCall {
    /// The action of a known tool's call that its catalogue entry doesn't know.
    pub const UNKNOWN: &str = "unknown";
    /// The tool of everything that no catalogue entry knows.
    pub const HTTP: &str = "http";
    /// The action of a plain HTTP request to a target that no catalogue entry knows.
    pub const REQUEST: &str = "request";
    /// The action of a tunnel.
    pub const CONNECT: &str = "connect";

    /// Digest of the parameters alone: equal for calls that ask the same, whatever wire they came by.
    pub fn params_digest(&self) -> Digest {
        let mut hash = Canonical::new("aegis/params/v1");
        hash.json(&Value::Object(self.params.clone()));
        hash.finish()
    }

    /// Digest of everything that would run: tool, action, environment, target, parameters, destination, and the exact
    /// payload (method, target, headers that may mean something, body). An approval is bound to it. `None` for a body that wasn't read.
    pub fn digest(&self) -> Option<Digest> {
        let mut hash = Canonical::new("aegis/call/v1");
        hash.text(&self.tool);
        hash.text(&self.action);
        hash.text(&self.environment.name);
        hash.bytes(&(self.target.len() as u64).to_be_bytes());
        for (key, value) in &self.target {
            hash.text(key);
            hash.text(value);
        }
        hash.json(&Value::Object(self.params.clone()));
        hash.text(&self.destination.as_ref().map(ToString::to_string).unwrap_or_default());
        match &self.payload {
            Payload::Caller => hash.text("caller"),
            Payload::Tunnel => hash.text("tunnel"),
            Payload::Http(request) => {
                let (Body::Whole(body) | Body::Begun(body)) = &request.body else { return None };
                if matches!(request.body, Body::Begun(_)) {
                    // What follows is named by its hashes in the beginning.
                    hash.text("begun");
                }
                hash.text(request.method.as_str());
                hash.text(request.target.as_str());
                hash.headers(&request.headers, &[]);
                hash.bytes(body);
            }
            Payload::Mcp(McpRequest { server, request, message, .. }) => {
                hash.text("mcp");
                hash.text(server);
                hash.text(request.method.as_str());
                hash.headers(&request.headers, &IMMATERIAL_MCP);
                hash.json(&message.as_ref().map_or(Value::Null, Message::meaning));
            }
        }
        Some(hash.finish())
    }
}

/// Headers that don't say what is done, or never reach the tool, and that clients change when they repeat a call; with a `-` at
/// the end, all that start so. Any other header may say it (`SOAPAction`, `X-Amz-Target`, `X-HTTP-Method-Override`, `Upgrade`).
const IMMATERIAL: [&str; 32] = [
    "accept",
    "accept-",
    "aegis-",
    "amz-sdk-",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "connection",
    "content-length",
    "date",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "kubectl-",
    "pragma",
    "priority",
    "proxy-",
    "sec-websocket-key",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "user-agent",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-b3-",
    "x-correlation-id",
    "x-forwarded-",
    "x-request-id",
];

/// The same for MCP: what mirrors the message, which is in the digest itself, and what names a session or a place in a stream.
const IMMATERIAL_MCP: [&str; 3] = ["content-type", "last-event-id", "mcp-"];

/// A hash over length-prefixed parts, so that no two different lists of parts are the same bytes.
struct Canonical(Sha256);

impl Canonical {
    fn new(domain: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.text(domain);
        hash
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// By name, each with its values in their order; without the [`IMMATERIAL`].
    fn headers(&mut self, headers: &http::HeaderMap, besides: &[&str]) {
        let is = |name: &str, known: &str| name == known || (known.ends_with('-') && name.starts_with(known));
        let names = headers.keys().map(http::HeaderName::as_str);
        let names: BTreeSet<&str> =
            names.filter(|name| !IMMATERIAL.iter().chain(besides).any(|known| is(name, known))).collect();
        self.bytes(&(names.len() as u64).to_be_bytes());
        for name in names {
            let values = headers.get_all(name);
            self.text(name);
            self.bytes(&(values.iter().count() as u64).to_be_bytes());
            values.iter().for_each(|value| self.bytes(value.as_bytes()));
        }
    }

    /// Objects are in key order already (`serde_json` without `preserve_order`), so the text is canonical.
    fn json(&mut self, value: &Value) {
        self.text(&value.to_string());
    }

    fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
