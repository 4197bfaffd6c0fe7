//! What an adapter hands to the pipeline.

use aegis_core::call::Destination;
use aegis_core::describe::{Arrival, Unreadable};

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
        /// The upstream's host.
        host: String,
    },
    /// The forward proxy, absolute form.
    Forward {
        /// Canonical destination.
        destination: Destination,
    },
    /// The forward proxy, CONNECT.
    Tunnel {
        /// Canonical destination.
        destination: Destination,
    },
}

/// One request, as an `intercept` adapter hands it over: framing checked, target canonical, hop-by-hop and identity
/// headers taken off, the body not read yet.
pub struct Incoming {
    /// By which way; or why the request can't be read, then it is identified and recorded, and refused.
    pub way: Result<Way, Unreadable>,
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

impl Way {
    /// What describing the call depends on.
    pub(super) fn arrival(&self) -> Arrival<'_> {
        match self {
            Self::Route { name, tool, cluster, host } => {
                Arrival::Route { name, tool: tool.as_deref(), cluster: cluster.as_deref(), host }
            }
            Self::Forward { destination } | Self::Tunnel { destination } => Arrival::Forward { destination },
        }
    }
}
