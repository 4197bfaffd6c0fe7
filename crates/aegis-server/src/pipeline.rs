//! The life of one call: in → identify → describe → decide → admit → enforce and settle. Read it from top to bottom.

use aegis_core::describe::{Arrival, Unreadable};

use crate::enforce::{AnyBody, Toward};
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
        destination: aegis_core::call::Destination,
    },
    /// The forward proxy, CONNECT.
    Tunnel {
        /// Canonical destination.
        destination: aegis_core::call::Destination,
    },
}

/// One request, as an `intercept` adapter hands it over: framing checked, target canonical, hop-by-hop and identity
/// headers taken off, the body not read yet.
pub struct Incoming {
    /// By which way.
    pub way: Way,
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
    /// Set when the adapter found the request malformed: it is identified and recorded, then refused.
    pub unreadable: Option<Unreadable>,
}

/// The one pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {}

impl Pipeline {
    /// Takes one call through all six steps. Always answers; every answer passed a decision and bears its headers.
    pub async fn run(&self, incoming: Incoming) -> http::Response<AnyBody> {
        let _ = (incoming, Toward::Addresses(Vec::new()), |a: Arrival<'static>| a);
        todo!()
    }
}
