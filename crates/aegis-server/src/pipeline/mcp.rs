//! Step 3 for MCP: the message, read once, then described. What it was is left for the adapter, which answers in its terms.

use std::sync::{Arc, OnceLock};

use aegis_core::agent::Agent;
use aegis_core::call::{Body, HttpRequest, ToolCall};
use aegis_core::describe::{Catalogue, Unreadable};
use aegis_core::mcp::{Message, headers};
use aegis_core::policy::PolicySet;
use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::Pipeline;
use super::body::read;
use super::case::{Case, Refused};
use jiff::Timestamp;

use crate::enforce::AnyBody;
use crate::identify::Credential;
use crate::mcp::{McpServer, StateKey};
use crate::trace::TraceContext;

/// A message's way in.
#[derive(Debug, Clone)]
pub struct McpWay {
    /// The server that it is for.
    pub(crate) server: Arc<McpServer>,
    /// The session that it names.
    pub(crate) session: Option<String>,
    /// The message, once it has been read.
    pub(crate) seen: Arc<OnceLock<Message>>,
    /// What it brings back of what we gave its client.
    pub(crate) state: Arc<OnceLock<String>>,
}

/// Describes what one request carries.
pub(super) async fn describe(
    case: &mut Case,
    way: &McpWay,
    head: http::request::Parts,
    body: AnyBody,
    limit: usize,
) -> Result<ToolCall, Refused> {
    let http::request::Parts { method, headers, .. } = head;
    let server = way.server.server();
    let target = way.server.settings().path.clone();
    if method != Method::POST {
        if !matches!(method, Method::GET | Method::DELETE) || way.server.is_bridged() {
            return Err(unreadable("mcp_http_method", "messages are sent with POST").into());
        }
        let request = HttpRequest { method, target, headers, body: Body::Whole(Bytes::new()) };
        return Ok(case.catalogue.describe_mcp(server, None, request, None)?);
    }
    check_type(&headers)?;
    let mut bytes = read(case, body, limit).await?;
    let mut message = Message::read(&bytes)?;
    if message.state().is_some_and(StateKey::is_ours)
        && let Some(state) = message.take_state()
    {
        // Ours alone: the server gets the call as it was before.
        way.state.get_or_init(|| state);
        bytes = Bytes::from(message.to_bytes());
    }
    // The first reading holds: a call that is taken through the pipeline again is the same message.
    let message = way.seen.get_or_init(|| message).clone();
    join(case, &message);
    let mirrors = message.name().filter(|_| message.method() == Message::CALL).map(|tool| way.server.mirrors(tool));
    let mirrors = mirrors.flatten();
    if !way.server.is_bridged() {
        headers::check(&headers, &message, mirrors.as_deref())?;
    }
    let request = HttpRequest { method, target, headers, body: Body::Whole(bytes) };
    Ok(case.catalogue.describe_mcp(server, Some(message), request, mirrors)?)
}

/// A message may say itself which trace it belongs to; a header that says it wins.
fn join(case: &mut Case, message: &Message) {
    if case.trace.parent_id.is_some() {
        return;
    }
    let Some((parent, state)) = message.trace() else { return };
    let mut headers = HeaderMap::new();
    for (name, text) in [("traceparent", parent), ("tracestate", state)] {
        if let Ok(value) = http::HeaderValue::from_str(text)
            && !text.is_empty()
        {
            headers.insert(name, value);
        }
    }
    case.trace = TraceContext::join(&headers, case.trace.trace_id);
}

fn check_type(headers: &HeaderMap) -> Result<(), Unreadable> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(unreadable("content_type", "a message is application/json, and its Content-Type has to say so"));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unreadable("content_encoding", "a message is taken as it is, not compressed"));
    }
    Ok(())
}

fn unreadable(reason: &str, message: &str) -> Unreadable {
    Unreadable { reason: reason.to_owned(), message: message.to_owned() }
}

impl Pipeline {
    /// What an agent's lists are judged by: the set that judges the agent, and the catalogue.
    pub(crate) fn view_of(&self, agent: &Agent) -> (Arc<PolicySet>, Arc<Catalogue>) {
        (Arc::clone(self.governing().judge_of(agent)), self.0.catalogue.load_full())
    }

    /// The agent that a credential proves; for what isn't a call.
    pub(crate) fn agent_of(&self, credential: &Credential) -> Option<Agent> {
        self.0.identify.verify(credential, Timestamp::now()).ok()
    }

    /// What is remembered.
    pub(crate) fn store(&self) -> &aegis_store::Store {
        &self.0.store
    }

    /// The largest message that is read, in bytes.
    pub(crate) fn message_limit(&self) -> usize {
        self.0.body_limit
    }
}
