//! The API of port 4181: operators manage agents, keys, tokens and approvals and read what happened; agents get tokens;
//! anybody may ask for health and public keys.
//!
//! Invariants: an operator's endpoint needs the operator's token, an agent's is never one, and where a connection comes
//! from proves nothing; a refused credential is recorded like any other denial; what an operator changes is recorded with
//! the change; every error is a problem document (RFC 9457) that says what to do. Deliberately absent: CORS (a browser's
//! page of another origin has no business here), and any way to forward a call.

mod agents;
mod answer;
mod approvals;
mod audit;
mod authzen;
mod bundles;
mod candidate;
mod guard;
mod mcp;
mod openapi;
mod public;
mod reports;
#[cfg(test)]
mod tests;
mod traffic;
mod versions;

use std::sync::Arc;

use aegis_core::policy::PolicySet;
use aegis_store::Store;
pub use authzen::Decisions;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use tokio::sync::{Notify, watch};

use crate::bundle::{Bundles, SourceStatus};
use crate::events::Events;
use crate::identify::{Identify, OperatorToken};
use crate::unproven::Unproven;
use crate::versions::Versions;

/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Who an operator's changes are recorded as: there is one operator's token.
pub(crate) const OPERATOR: &str = "operator";

/// Gives the policies in force.
pub type CurrentPolicies = Arc<dyn Fn() -> Arc<PolicySet> + Send + Sync>;

/// What the API is made of. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Agents, keys, approvals and the record.
    pub store: Store,
    /// Issues tokens.
    pub identify: Arc<Identify>,
    /// Proves an operator.
    pub operator: OperatorToken,
    /// The policies in force.
    pub policies: CurrentPolicies,
    /// Their versions, and the candidate.
    pub versions: Versions,
    /// Signs and serves the bundle of the policies in force.
    pub bundles: Arc<Bundles>,
    /// How it stands with the bundle that policies are taken from, where they are; and what asks for it at once.
    pub source: Option<(watch::Receiver<SourceStatus>, Arc<Notify>)>,
    /// Tells what happens.
    pub events: Events,
    /// Decides for callers that enforce; `None` where nothing decides.
    pub decisions: Option<Decisions>,
    /// Records refusals of those who prove nothing.
    pub unproven: Unproven,
    /// Whether `/metrics` is answered without the operator's token.
    pub metrics_public: bool,
}

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let public = Router::new()
        .route("/healthz", get(public::healthz))
        .route("/openapi.json", get(openapi::show))
        .route("/readyz", get(public::readyz))
        .route("/.well-known/jwks.json", get(public::jwks))
        .route("/oauth2/token", post(public::token));
    let metrics = Router::new().route("/metrics", get(public::metrics));
    let (public, guarded) = match state.metrics_public {
        true => (public.merge(metrics), operators()),
        false => (public, operators().merge(metrics)),
    };
    let guarded = guarded
        .route_layer(from_fn(guard::to_the_end))
        .route_layer(from_fn_with_state(state.clone(), guard::operators_only));
    public
        .merge(guarded)
        .merge(authzen::routes(&state))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(guard::no_browsers))
        .layer(from_fn(guard::in_time))
        .layer(from_fn_with_state(state.clone(), guard::framed))
        .with_state(state)
}

/// What only operators may do.
fn operators() -> Router<ApiState> {
    Router::new()
        .route("/v1/agents", get(agents::list).post(agents::add))
        .route("/v1/agents/{id}", get(agents::show).delete(agents::remove))
        .route("/v1/agents/{id}/suspend", post(agents::suspend))
        .route("/v1/agents/{id}/resume", post(agents::resume))
        .route("/v1/agents/{id}/keys", get(agents::keys).post(agents::add_key))
        .route("/v1/agents/{id}/tokens", post(agents::issue))
        .route("/v1/keys/{id}", delete(agents::revoke_key))
        .route("/v1/tokens/revoke", post(agents::revoke_token))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::show))
        .route("/v1/approvals/{id}/approve", post(approvals::approve))
        .route("/v1/approvals/{id}/reject", post(approvals::reject))
        .route("/v1/approvals/{id}/cancel", post(approvals::cancel))
        .route("/v1/audit", get(audit::records))
        .route("/v1/decisions", get(audit::decisions))
        .route("/v1/traffic", get(traffic::calls))
        .route("/v1/reports/shadow", get(reports::shadow))
        .route("/v1/mcp/tools", get(mcp::tools))
        .route("/v1/mcp/tools/accept", post(mcp::accept))
        .merge(candidate::routes())
        .merge(versions::routes())
        .route("/v1/bundles/{name}", get(bundles::show))
        .route("/v1/bundles/{name}/key", get(bundles::key))
}
