//! What is fetched before a decision, so that the decision itself is pure: where the call would go, and the approval at hand.

use std::net::IpAddr;
use std::time::Instant;

use aegis_core::agent::Agent;
use aegis_core::approval::Approval;
use aegis_core::call::ToolCall;
use aegis_core::decide::approval_digest;
use aegis_core::policy::{Asked, PolicySet};
use aegis_core::problem::Violation;
use aegis_core::session::Session;

use super::case::{self, Case};
use super::{EnforcedBy, Pipeline, Way};
use crate::enforce::Toward;

impl Pipeline {
    /// Where a call would go. A name is looked up only if some policy lets the agent name it: a lookup carries data out.
    pub(super) async fn reach(
        &self,
        case: &mut Case,
        way: &Way,
        asked: Asked<'_>,
    ) -> (Option<Toward>, Option<Violation>) {
        let since = Instant::now();
        let found = self.find(case, way, asked).await;
        case.waited_since(since);
        found
    }

    async fn find(&self, case: &Case, way: &Way, asked: Asked<'_>) -> (Option<Toward>, Option<Violation>) {
        match way {
            Way::Mcp(mcp) => {
                let state = mcp.state.get().map(String::as_str);
                let guard = mcp.server.guard(asked.agent, asked.call, mcp.session.as_deref(), state);
                (mcp.server.settings().route.clone().map(Toward::Route), guard)
            }
            // Whoever lets it through resolves names and connects; an address that stands in the call is judged all the same.
            _ if case.enforced_by == EnforcedBy::Caller => (None, self.literal(asked.call).await.err()),
            Way::Function { .. } => (None, Some(case::no_destination())),
            Way::Route { name, .. } => (Some(Toward::Route(name.clone())), None),
            Way::Forward { .. } | Way::Intercepted { .. } | Way::Tunnel { .. } if !case.policies.may_reach(asked) => {
                (None, None)
            }
            Way::Forward { .. } | Way::Intercepted { .. } | Way::Tunnel { .. } => {
                match self.toward(None, asked.call).await {
                    Ok(toward) => (Some(toward), None),
                    Err(violation) => (None, Some(violation)),
                }
            }
        }
    }

    /// Where a call goes that may be resolved.
    pub(super) async fn toward(&self, known: Option<Toward>, call: &ToolCall) -> Result<Toward, Violation> {
        match (known, &call.destination) {
            (Some(toward), _) => Ok(toward),
            (None, Some(destination)) => self.0.enforcer.resolve(destination).await,
            (None, None) => Err(case::no_destination()),
        }
    }

    /// Checks a destination that is an address already.
    async fn literal(&self, call: &ToolCall) -> Result<(), Violation> {
        match &call.destination {
            Some(destination) if destination.host.parse::<IpAddr>().is_ok() => {
                self.0.enforcer.resolve(destination).await.map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What the agent has done before, where some policy asks.
    pub(super) fn session(&self, case: &Case, agent: &Agent) -> Session {
        let asks = case.policies.uses_sessions() || case.candidate.as_ref().is_some_and(|set| set.uses_sessions());
        if asks { self.0.store.session(agent, case.now) } else { Session::default() }
    }

    /// The approval at hand: the one that an override token stands for, else the newest for exactly this call. A token that
    /// stands for another agent's approval, another call's or none is a mistake that is said, and denies.
    pub(super) fn approval(
        &self,
        policies: &PolicySet,
        asked: Asked<'_>,
        token: Option<&str>,
    ) -> (Option<Approval>, Option<Violation>) {
        let agent = asked.agent;
        let digest = approval_digest(policies, asked).map(|digest| digest.to_string());
        let Some(token) = token else {
            return (digest.and_then(|digest| self.0.store.approval_for(&agent.id, &digest)), None);
        };
        let fits = |found: &Approval| {
            found.request.agent.id == agent.id && Some(&found.request.call_digest) == digest.as_ref()
        };
        match self.0.store.override_matches(token).filter(fits) {
            Some(approval) => (Some(approval), None),
            None => (None, Some(case::other_override())),
        }
    }
}
