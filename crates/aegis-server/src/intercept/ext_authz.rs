//! The external authorizer: a proxy that isn't ours asks, and lets through or doesn't. Envoy over gRPC
//! (`envoy.service.auth.v3`), Envoy over HTTP, and forward-auth for nginx, Caddy, Traefik and HAProxy.
//!
//! Each form becomes an [`Original`], and by the same frame checks as on our own listeners an [`Incoming`] of which nothing is
//! forwarded. Invariants: what the proxy sends on is what was decided, so a path that isn't canonical, a body that isn't there
//! whole and is needed, and a redaction that the proxy can't do are refused; agents are known by what they send, never by where
//! a connection comes from. Deliberately absent: resolving names (the proxy connects), changing bodies (no form can).

mod answer;
mod body;
mod check;
mod forwarded;
mod grpc;
mod http;
mod original;
mod rewrite;
mod stated;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aegis_core::decide::Passage;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
pub(crate) use grpc::Services;
use tokio::task::JoinError;

use self::original::{Held, Original, TakenIn};
use self::rewrite::{Beyond, Reach, Rewrite};
use super::Intercept;
use crate::pipeline::{EnforcedBy, Fits, Handled, Incoming};
use crate::trace::TraceContext;

/// The adapter of all forms. Cheap to clone.
#[derive(Clone)]
pub struct ExtAuthz {
    intercept: Intercept,
    /// The largest body that is judged, in bytes.
    body_limit: usize,
}

/// What became of a call, and what is needed to tell it.
struct Checked {
    handled: Handled,
    held: Held,
    trace: TraceContext,
}

impl ExtAuthz {
    /// An adapter that decides about calls as `intercept` does.
    pub fn new(intercept: Intercept, body_limit: usize) -> Self {
        Self { intercept, body_limit }
    }

    /// Has a call decided, in a task of its own: a proxy that hangs up must not keep a decision from its record.
    async fn decide(&self, original: Original, via: &'static str, reach: Reach) -> Result<Checked, JoinError> {
        let Intercept { pipeline, routes, calls, .. } = &self.intercept;
        let taken_in = original.take_in(routes, |tool| pipeline.has_tool(tool));
        let TakenIn { way, credential, override_token, trace, head, body, held } = taken_in;
        let incoming = Incoming {
            way,
            via,
            enforced_by: EnforcedBy::Caller,
            fits: Some(fits(held.clone(), reach)),
            proxied: false,
            credential,
            override_token,
            trace: trace.clone(),
            head,
            body,
            upgrade: None,
        };
        let pipeline = pipeline.clone();
        let handled = calls.spawn(async move { pipeline.handle(incoming).await }).await?;
        Ok(Checked { handled, held, trace })
    }
}

/// What becomes of a check before anybody is identified: where it leads and what is described, or why it can't be read. For the
/// fuzz target.
#[doc(hidden)]
pub fn taken_in(request: CheckRequest) -> String {
    let TakenIn { way, head, held, .. } =
        check::original(request).take_in(&HashMap::new(), |tool| tool == "kubernetes");
    format!("{way:?} {} {} {:?} {:?} {:?}", head.method, head.uri, head.headers, held.query, held.body)
}

/// Whether the proxy can be told to send exactly the call that may pass.
fn fits(held: Held, reach: Reach) -> Fits {
    Box::new(move |passage: &Passage| {
        if passage.explanation().redactions.is_empty() {
            return Ok(());
        }
        Rewrite::between(&held, passage.call(), reach).map(drop).map_err(|Beyond(what)| {
            format!(
                "{what} would have to be redacted before it goes on, and this proxy can't be told to: take it out, or send the \
                 call through Aegis's own proxy or a route"
            )
        })
    })
}
