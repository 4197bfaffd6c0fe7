//! What an adapter hands to the pipeline.

use std::net::IpAddr;

use aegis_core::call::Destination;
use aegis_core::decide::Passage;
use aegis_core::describe::Unreadable;
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Map, Value};

use super::mcp::McpWay;
use crate::enforce::AnyBody;
use crate::identify::Credential;
use crate::trace::TraceContext;

/// By which way a call came in, owned; the pipeline borrows an [`Arrival`] from it.
#[derive(Debug, Clone)]
pub enum Way {
    /// A sidecar route.
    Route {
        /// The route's name.
        name: String,
        /// The tool that the operator says is behind it.
        tool: Option<String>,
        /// The operator's name for the cluster.
        cluster: Option<String>,
        /// The upstream.
        upstream: Destination,
    },
    /// The forward proxy, absolute form.
    Forward {
        /// Canonical destination.
        destination: Destination,
    },
    /// Inside of an intercepted CONNECT.
    Intercepted {
        /// Canonical destination: the CONNECT's.
        destination: Destination,
        /// The tool that the operator says is there.
        tool: Option<String>,
        /// The operator's name for the cluster there.
        cluster: Option<String>,
    },
    /// The forward proxy, CONNECT.
    Tunnel {
        /// Canonical destination.
        destination: Destination,
    },
    /// A tool by its name, with parameters: an SDK's function, the decision API. It has no wire of its own.
    Function {
        /// The tool.
        tool: String,
        /// Its action.
        action: String,
        /// The parameters.
        params: Map<String, Value>,
    },
    /// A message to an MCP server.
    Mcp(McpWay),
}

/// Who lets an admitted call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnforcedBy {
    /// We: it is forwarded from here.
    Gateway,
    /// Whoever asked (an external authorizer's proxy, an SDK): it gets the answer, and nothing is forwarded or resolved here.
    Caller,
}

/// Whether a caller that enforces can let exactly this call pass; if not, why, for the agent. Asked before anything of it is on
/// record as passing.
pub type Fits = Box<dyn Fn(&Passage) -> Result<(), String> + Send + Sync>;

/// A body that isn't there to be read, as the error that reading it ends with: a call that can be described without it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Absent {
    /// For the record: one word.
    pub reason: &'static str,
    /// For the caller: what to do.
    pub message: &'static str,
}

/// An extension of a request's head: the address it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) IpAddr);

/// An extension of a request's head: it isn't the one that was sent, which can't be read. [`Incoming::way`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headless;

/// One request, as an `intercept` adapter hands it over: framing checked, target canonical, hop-by-hop and identity
/// headers taken off, the body not read yet.
pub struct Incoming {
    /// By which way; or why the request can't be read, then it is identified and recorded, and refused.
    pub way: Result<Way, Unreadable>,
    /// The name of the way, for the record: `route`, `proxy`, `tunnel`, `ext_authz`…
    pub via: &'static str,
    /// Who lets it through.
    pub enforced_by: EnforcedBy,
    /// What a caller that enforces can do; `None` where there is nothing that it can't.
    pub fits: Option<Fits>,
    /// Whether it came to the proxy, as opposed to a route: a failed identity is 407 there, not 401.
    pub proxied: bool,
    /// What it brought to prove its identity.
    pub credential: Credential,
    /// A one-time override token (`Aegis-Override`), if it brought one.
    pub override_token: Option<String>,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// What would be forwarded.
    pub head: http::request::Parts,
    /// The body, not read yet.
    pub body: AnyBody,
    /// The client's side of an upgrade or tunnel, if it asks for one.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Incoming {
    /// A named tool's call, which has no HTTP request of its own and which its caller enforces.
    pub fn function(
        via: &'static str,
        way: Result<Way, Unreadable>,
        credential: Credential,
        trace: TraceContext,
    ) -> Self {
        Self {
            way,
            via,
            enforced_by: EnforcedBy::Caller,
            fits: None,
            proxied: false,
            credential,
            override_token: None,
            trace,
            head: http::Request::new(()).into_parts().0,
            body: Empty::new().map_err(|never| match never {}).boxed(),
            upgrade: None,
        }
    }
}
