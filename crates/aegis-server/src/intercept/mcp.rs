//! The way in for the Model Context Protocol: Streamable HTTP at `/mcp/NAME`, one endpoint for both generations.
//!
//! What a client sends goes through the one pipeline like any other call; what comes back is looked through before the client
//! gets it ([`review`]): lists hold what the agent may use, and what policy wants redacted is. A refused call is an answer that a
//! model can read ([`render`]); one that waits for a human is held for a while ([`hold`]).
//!
//! Invariants: an answer is never forwarded that had to be looked through and couldn't be; a web page of another origin gets
//! nowhere. Deliberately absent: HTTP+SSE of 2024-11-05, batches, and any belief in what a server says of its own tools.

mod bridge;
mod hold;
mod render;
mod review;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aegis_core::describe::Unreadable;
use aegis_core::mcp::{Message, headers as mirrored};
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming as WireBody;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::way::Form;
use super::{Pace, body, credential, frame, headers, unreadable};
use crate::answer;
use crate::enforce::AnyBody;
use crate::mcp::McpServer;
use crate::pipeline::{EnforcedBy, Handled, Incoming, McpWay, Pipeline, Way, random};
use crate::trace::TraceContext;

/// The prefix of every server.
const SERVERS: &str = "/mcp/";
/// Where a client learns how to prove itself (RFC 9728 §3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp/";
/// The name of this way in records.
const VIA: &str = "mcp";

/// The servers, and how long a call that waits for a human is held.
#[derive(Clone, Default)]
pub struct McpDesk {
    servers: Arc<HashMap<String, Arc<McpServer>>>,
    hold: Duration,
    issuer: Option<Arc<str>>,
}

/// One request, taken in.
struct Taken {
    incoming: Incoming,
    way: Option<McpWay>,
    /// Where the client sees us.
    base: String,
    /// Whether its client takes a stream.
    streams: bool,
}

/// What a message is known by while it is answered.
#[derive(Clone)]
struct Context {
    way: Option<McpWay>,
    method: Method,
    /// Where a client learns how to prove itself.
    metadata: String,
}

impl McpDesk {
    /// A desk for these servers. `issuer` is who issues tokens, where that is an address.
    pub fn new(servers: impl IntoIterator<Item = Arc<McpServer>>, hold: Duration, issuer: Option<String>) -> Self {
        let servers = servers.into_iter().map(|server| (server.server().name.clone(), server)).collect();
        Self { servers: Arc::new(servers), hold, issuer: issuer.map(Arc::from) }
    }

    /// Whether a request is for an MCP server.
    pub(super) fn is_for(request: &Request<WireBody>) -> bool {
        let (uri, version) = (request.uri(), request.version());
        let absolute = uri.scheme_str() == Some("http") || (version != Version::HTTP_2 && uri.scheme().is_some());
        let ours = uri.path().starts_with(SERVERS) || uri.path().starts_with(METADATA);
        ours && !absolute && request.method() != Method::CONNECT
    }

    /// Answers one request; `secure` where it came by TLS.
    pub(super) async fn answer(
        &self,
        pipeline: Pipeline,
        request: Request<WireBody>,
        secure: bool,
        pace: Pace,
        gone: CancellationToken,
    ) -> Response<AnyBody> {
        if let Some(name) = request.uri().path().strip_prefix(METADATA) {
            return self.metadata(name, &request, secure);
        }
        let said = bridge::brings_answer(request.headers());
        let Taken { incoming, way, base, streams } = self.take_in(request, secure, pace);
        let name = way.as_ref().map(|way| way.server.server().name.clone()).unwrap_or_default();
        let method = incoming.head.method.clone();
        let context = Context { way, method, metadata: format!("{base}{METADATA}{name}") };
        if said && context.way.as_ref().is_some_and(|way| way.server.is_bridged()) {
            return bridge::said(&pipeline, incoming, context).await;
        }
        let again = hold::Again::of(&incoming);
        let handled = pipeline.handle(incoming).await;
        match hold::waits_for(&handled, &context) {
            Some(approval) if !self.hold.is_zero() => {
                let held = hold::Held { pipeline, context, again, approval, hold: self.hold, gone };
                held.answer(handled, streams).await
            }
            Some(_) => hold::pending(handled, &context),
            None => finish(&pipeline, handled, &context).await,
        }
    }

    fn take_in(&self, request: Request<WireBody>, secure: bool, pace: Pace) -> Taken {
        let (mut head, wire_body) = request.into_parts();
        let base = base(&head.uri, &head.headers, secure);
        let streams = accepts_stream(&head.headers);
        let found = frame::check(&head).and_then(|()| self.find(&head));
        let credential = credential::of(Form::Route, &head.headers);
        let override_token = credential::override_token(&head.headers);
        let trace = TraceContext::join(&head.headers, random());
        let injected = found.as_ref().is_ok_and(|way| way.server.settings().credential);
        credential::strip(Form::Route, &mut head.headers, injected);
        headers::strip_connection(&mut head.headers, false);
        for name in [ACCEPT_ENCODING, ORIGIN] {
            // Answers are looked through, so they have to come as they are; and the page that asks is ours to judge.
            head.headers.remove(name);
        }
        let (found, override_token) = match (found, override_token) {
            (Ok(way), Ok(token)) => (Ok(way), token),
            (Err(unreadable), _) | (_, Err(unreadable)) => (Err(unreadable), None),
        };
        let way = found.as_ref().ok().cloned();
        let enforced_by = match &way {
            Some(way) if way.server.is_bridged() => EnforcedBy::Caller,
            _ => EnforcedBy::Gateway,
        };
        let incoming = Incoming {
            way: found.map(Way::Mcp),
            via: VIA,
            enforced_by,
            fits: None,
            proxied: false,
            credential,
            override_token,
            trace,
            head,
            body: body::guarded(wire_body, pace, false),
            upgrade: None,
        };
        Taken { incoming, way, base, streams }
    }

    fn find(&self, head: &Parts) -> Result<McpWay, Unreadable> {
        let name = head.uri.path().strip_prefix(SERVERS).unwrap_or_default();
        let Some(server) = self.servers.get(name) else {
            return Err(unreadable("mcp_unknown_server", format!("there is no MCP server {name:?} here")));
        };
        if head.uri.query().is_some() {
            return Err(unreadable("mcp_query", "a message's address has no query"));
        }
        check_origin(&head.headers, &server.settings().origins)?;
        let session = one(&head.headers, &mirrored::SESSION_ID)?;
        Ok(McpWay { server: Arc::clone(server), session, seen: Arc::default(), state: Arc::default() })
    }

    /// RFC 9728 §2. Nothing in it depends on who asks.
    fn metadata(&self, name: &str, request: &Request<WireBody>, secure: bool) -> Response<AnyBody> {
        if !self.servers.contains_key(name) || !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::undecided(StatusCode::NOT_FOUND, "There is no such MCP server here.");
        }
        let mut document = json!({
            "resource": format!("{}{SERVERS}{name}", base(request.uri(), request.headers(), secure)),
            "resource_name": format!("MCP server {name}, through Aegis"),
            "bearer_methods_supported": ["header"],
        });
        if let (Some(issuer), Some(document)) = (&self.issuer, document.as_object_mut()) {
            document.insert("authorization_servers".to_owned(), json!([issuer.as_ref()]));
        }
        render::json(StatusCode::OK, &document)
    }
}

/// The answer to a message that isn't held.
async fn finish(pipeline: &Pipeline, handled: Handled, context: &Context) -> Response<AnyBody> {
    match handled {
        Handled::Forwarded { explanation, response } => {
            let response = review::reviewed(pipeline, &explanation, response, context).await;
            answer::passed(response, &explanation)
        }
        Handled::Admitted { explanation, call } => {
            let mut response = bridge::forward(*call);
            answer::stamp(response.headers_mut(), &explanation);
            response
        }
        refused => render::refused(refused, context),
    }
}

impl Context {
    /// The message, if it was read.
    fn message(&self) -> Option<&Message> {
        self.way.as_ref()?.seen.get()
    }
}

/// Where the client sees this gateway.
fn base(uri: &Uri, headers: &HeaderMap, secure: bool) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or("localhost");
    format!("{}://{authority}", if secure { "https" } else { "http" })
}

/// A browser says which page asks. One of this machine may, and those that the operator lists; any other may have got here by a
/// name that was made to point at us.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Unreadable> {
    let refused = || unreadable("mcp_origin", "web pages of this origin are not taken");
    let Some(origin) = one(headers, &ORIGIN).map_err(|_| refused())? else { return Ok(()) };
    if allowed.iter().any(|known| known.eq_ignore_ascii_case(&origin)) {
        return Ok(());
    }
    let uri: Uri = origin.parse().map_err(|_| refused())?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if here { Ok(()) } else { Err(refused()) }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|range| is(range, "text/event-stream")))
}

/// Whether a media type is this one, whatever its parameters.
fn is(value: &str, essence: &str) -> bool {
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(essence)
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default()
}

fn one(headers: &HeaderMap, name: &header::HeaderName) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() && !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(unreadable("mcp_header", format!("the header {name} is malformed, or there twice"))),
    }
}
