//! Wire in, wire out: one HTTP request becomes an [`Incoming`]. No rules here.
//!
//! Three forms on the proxy's listeners: `/r/NAME/…` (a sidecar route), absolute form (the forward proxy) and CONNECT (a
//! tunnel; to an intercepted host a connection whose requests are read, see [`within`]). A request whose framing or target can be read in two ways still goes to the pipeline, which identifies its
//! sender and records it; it is refused there. What isn't for any tool (`GET /`) gets a hint and no decision.
//!
//! Invariants: what the pipeline describes is what would be forwarded: hop-by-hop headers and every credential for Aegis are
//! off before; trailers are dropped; no body waits longer than its idle time. Deliberately absent: sniffing the protocol
//! (ALPN decides), h2c, extended CONNECT.

mod body;
mod credential;
pub mod ext_authz;
mod foreign;
pub(crate) mod frame;
pub mod framing;
mod grpc;
mod headers;
pub(crate) mod listener;
mod mcp;
mod preface;
pub(crate) mod slots;
#[cfg(test)]
mod tests;
mod way;
pub(crate) mod wire;
mod within;

use std::collections::HashMap;
use std::sync::Arc;

use aegis_core::call::Destination;
use aegis_core::describe::Unreadable;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming as WireBody;
pub use mcp::McpDesk;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
pub use within::{InterceptedHost, Interception};

pub use crate::hosts::{BadPattern, HostPattern};

pub use self::body::Pace;
use self::framing::Malformed;
use self::listener::Listener;
use self::way::Found;
use self::within::Via;
use crate::answer;
use crate::enforce::sigv4::Claim;
use crate::enforce::{AnyBody, SigV4};
use crate::pipeline::{EnforcedBy, Headless, Incoming, Pipeline, random};
use crate::trace::TraceContext;

/// A sidecar route, as far as taking a request in depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name in `/r/NAME/…`.
    pub name: String,
    /// The tool that the operator says is behind it.
    pub tool: Option<String>,
    /// The operator's name for the cluster.
    pub cluster: Option<String>,
    /// The upstream.
    pub upstream: Destination,
    /// Whether Aegis proves itself to the upstream: then nothing that the agent says about itself gets there.
    pub credential: bool,
    /// Where it does so by AWS's signature: agents sign too, with keys of the route's.
    pub sigv4: Option<Arc<SigV4>>,
    /// Whether a call that brings a credential for the upstream is refused.
    pub refuses_foreign: bool,
}

/// The adapter of the proxy's listeners. Cheap to clone.
#[derive(Clone)]
pub struct Intercept {
    pipeline: Pipeline,
    routes: Arc<HashMap<String, Route>>,
    pace: Pace,
    calls: TaskTracker,
    interception: Option<Arc<Interception>>,
    /// How the connections inside of intercepted ones are served.
    listener: Option<Listener>,
    mcp: McpDesk,
    secure: bool,
}

impl Intercept {
    /// An adapter for these routes, whose bodies keep this pace.
    pub fn new(pipeline: Pipeline, routes: impl IntoIterator<Item = Route>, pace: Pace) -> Self {
        let routes = routes.into_iter().map(|route| (route.name.clone(), route)).collect();
        let calls = TaskTracker::new();
        let (mcp, secure) = (McpDesk::default(), false);
        Self { pipeline, routes: Arc::new(routes), pace, calls, interception: None, listener: None, mcp, secure }
    }

    /// The same, with these hosts intercepted.
    #[must_use]
    pub fn intercepting(self, interception: Interception) -> Self {
        Self { interception: Some(Arc::new(interception)), ..self }
    }

    /// The same; connections inside of intercepted ones are served like those of `listener`.
    pub(crate) fn served_like(self, listener: &Listener) -> Self {
        Self { listener: Some(Listener { tls: None, ..listener.clone() }), ..self }
    }

    /// The calls under way: they outlive a client that hangs up.
    pub(crate) fn calls(&self) -> &TaskTracker {
        &self.calls
    }

    /// The same, with MCP servers behind `/mcp/NAME`.
    pub fn with_mcp(self, mcp: McpDesk) -> Self {
        Self { mcp, ..self }
    }

    /// The same, for a listener that speaks TLS.
    pub(crate) fn over_tls(self) -> Self {
        Self { secure: true, ..self }
    }

    async fn answer_mcp(&self, request: Request<WireBody>) -> Response<AnyBody> {
        let (desk, pipeline, secure, pace) = (self.mcp.clone(), self.pipeline.clone(), self.secure, self.pace);
        let gone = CancellationToken::new();
        // Dropped with this future, which is dropped when the client hangs up.
        let _guard = gone.clone().drop_guard();
        let call = self.calls.spawn(async move { desk.answer(pipeline, request, secure, pace, gone).await });
        call.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a message ended without an answer");
            answer::undecided(StatusCode::SERVICE_UNAVAILABLE, "The gateway failed to decide this message.")
        })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<WireBody>) -> Response<AnyBody> {
        if McpDesk::is_for(&request) {
            return self.answer_mcp(request).await;
        }
        let Some(incoming) = self.take_in(request) else {
            let hint = "This is Aegis's proxy. Use it as an HTTP proxy, or call a configured route: /r/NAME/...";
            return answer::undecided(StatusCode::NOT_FOUND, hint);
        };
        match self.intercepted(&incoming) {
            Some(found) => self.connect(incoming, found).await,
            None => self.run(incoming).await,
        }
    }

    /// Takes a call through the pipeline.
    async fn run(&self, incoming: Incoming) -> Response<AnyBody> {
        let closes = incoming.head.extensions.get::<Closes>().is_some();
        let (pipeline, grpc) = (self.pipeline.clone(), grpc::asks(&incoming.head));
        // A task of its own: a client that hangs up must not stop a call between its admission and its outcome.
        let call = self.calls.spawn(async move { pipeline.handle(incoming).await });
        let mut response = match call.await {
            Ok(handled) => match grpc {
                Some(kind) => grpc::answer(handled, kind),
                None => handled.into_response(),
            },
            Err(error) => {
                tracing::error!(%error, "a call ended without an answer");
                answer::undecided(StatusCode::SERVICE_UNAVAILABLE, "The gateway failed to decide this call.")
            }
        };
        if closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Reads the head. `None` when it isn't for any tool.
    fn take_in(&self, request: Request<WireBody>) -> Option<Incoming> {
        let form = match request.extensions().get::<Malformed>() {
            Some(_) => way::Form::Route,
            None => way::Form::of(request.method(), request.uri(), request.version())?,
        };
        Some(self.read(form, request, None))
    }

    /// The same for a request inside of an intercepted connection.
    fn take_in_within(&self, request: Request<WireBody>, via: &Via) -> Incoming {
        self.read(way::Form::Within, request, Some(via))
    }

    fn read(&self, form: way::Form, mut request: Request<WireBody>, via: Option<&Via>) -> Incoming {
        let upgrading = headers::upgrades(request.headers());
        let upgrade = (form == way::Form::Tunnel || upgrading).then(|| hyper::upgrade::on(&mut request));
        let (mut head, wire_body) = request.into_parts();
        let framed = match head.extensions.get::<Malformed>().copied() {
            Some(malformed) => {
                head.extensions.insert(Headless);
                Err(malformed.into())
            }
            None => frame::check(&head),
        };
        if framed.is_err() && head.version < Version::HTTP_2 {
            head.extensions.insert(Closes);
        }
        let found = framed.and_then(|()| match via {
            Some(via) => way::within(&head, via),
            None => way::read(form, &head, &self.routes),
        });
        if let Ok(Found { sigv4: Some(keys), .. }) = &found {
            let claim = Claim::of(&head, keys);
            head.extensions.insert(claim);
        }
        let credential = via.map_or_else(|| credential::of(form, &head.headers), |via| via.credential.clone());
        let override_token = credential::override_token(&head.headers);
        let trace = TraceContext::join(&head.headers, random());

        let injected = matches!(&found, Ok(found) if found.injected);
        // Where agents sign their requests, what they sign with is looked at with the signature.
        if let Ok(Found { injected, refuses_foreign, sigv4: None, .. }) = &found
            && let Some(foreign) = foreign::of(form, &head, *injected, *refuses_foreign)
        {
            head.extensions.insert(foreign);
        }
        credential::strip(form, &mut head.headers, injected);
        let expects = head.headers.contains_key(EXPECT);
        headers::strip_connection(&mut head.headers, upgrading);
        headers::join_cookies(&mut head);
        let way = found.map(|found| {
            head.uri = found.target.into();
            found.way
        });
        let (way, override_token) = match (way, override_token) {
            (Ok(way), Ok(token)) => (Ok(way), token),
            (Err(unreadable), _) | (_, Err(unreadable)) => (Err(unreadable), None),
        };
        let body = body::guarded(wire_body, self.pace, expects);
        Incoming {
            way,
            via: form.name(),
            enforced_by: EnforcedBy::Gateway,
            fits: None,
            proxied: form.is_proxied(),
            credential,
            override_token,
            trace,
            head,
            body,
            upgrade,
        }
    }
}

/// An extension of a request's head: its frame can be read in two ways, so that nothing behind it is read.
#[derive(Debug, Clone, Copy)]
struct Closes;

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        unreadable(malformed.reason, malformed.message)
    }
}

/// A request that can be read in two ways, or not at all: `reason` for the record, `message` for the caller.
fn unreadable(reason: &str, message: impl Into<String>) -> Unreadable {
    Unreadable { reason: reason.to_owned(), message: message.into() }
}
