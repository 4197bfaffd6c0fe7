//! Forwards what was admitted, and nothing else: [`Enforcer::forward`] consumes an [`Admitted`].

use std::net::SocketAddr;

use aegis_core::call::Destination;
use aegis_core::problem::Violation;
use aegis_store::Admitted;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;

use crate::trace::TraceContext;

/// An error on a body's way.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer, or of a request that is streamed.
pub type AnyBody = BoxBody<Bytes, BodyError>;

/// Where an admitted call goes.
#[derive(Debug, Clone)]
pub enum Toward {
    /// A route's upstream, by the route's name.
    Route(String),
    /// A destination that the agent named, at the addresses that were checked. Nothing resolves the name again.
    Addresses(Vec<SocketAddr>),
}

/// The parts of a request that can't wait in a permit: its live connection.
#[derive(Default)]
pub struct Live {
    /// The body, where the call says [`aegis_core::call::Body::Streamed`].
    pub body: Option<AnyBody>,
    /// The client's side of an upgrade or tunnel.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

/// How forwarding failed.
#[derive(Debug)]
pub enum Failure {
    /// The upstream refused, reset, or spoke nonsense: 502.
    Unreachable(String),
    /// The upstream took too long: 504.
    TimedOut(String),
}

/// Connections to upstreams, and the tasks that settle.
#[derive(Debug, Clone)]
pub struct Enforcer {}

impl Enforcer {
    /// The addresses that a named destination may be reached at: overrides first, else resolved once, every one checked.
    ///
    /// # Errors
    /// The guard that refuses it (`private_network`, `ip_literal`, `unresolvable`…).
    pub async fn resolve(&self, destination: &Destination) -> Result<Vec<SocketAddr>, Violation> {
        let _ = destination;
        todo!()
    }

    /// Forwards an admitted call in a task of its own, which settles it even if the client hangs up; returns the answer as
    /// soon as its head is there.
    ///
    /// # Errors
    /// The upstream's failure; it is settled already.
    pub async fn forward(
        &self,
        admitted: Admitted,
        live: Live,
        toward: Toward,
        trace: TraceContext,
        span_id: [u8; 8],
    ) -> Result<http::Response<AnyBody>, Failure> {
        let _ = (admitted, live, toward, trace, span_id);
        todo!()
    }
}
