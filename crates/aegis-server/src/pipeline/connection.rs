//! The pre-decision of an intercepted CONNECT: who asks, and whether it may name this host and port at all.
//!
//! Nothing is forwarded for it, so there is no admission; what is refused is on record like any call. Each request inside is a
//! call of its own, and comes by [`Pipeline::run`].

use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::decide::{Denial, Facts, reach};
use aegis_core::problem::Code;
use aegis_core::session::Session;
use http::Response;
use jiff::Timestamp;
use tokio::time::Instant;

use super::case::{Case, Refused};
use super::{Incoming, Pipeline, Way};
use crate::enforce::AnyBody;
use crate::identify::{Credential, Rejected};

impl Pipeline {
    /// The agent of a CONNECT that Aegis may answer itself, and `certificate`'s, which says why there is none. Only for an agent
    /// that may be connected there is it asked for: making one costs more than asking for it.
    ///
    /// # Errors
    /// The answer to one that is refused, which is on record.
    pub(crate) async fn open<C>(
        &self,
        incoming: Incoming,
        certificate: impl FnOnce() -> Result<C, String>,
    ) -> Result<(Agent, C), Response<AnyBody>> {
        let mut case = Case::open(self, &incoming);
        let opened = self.may_open(&mut case, incoming).and_then(|agent| match certificate() {
            Ok(certificate) => Ok((agent, certificate)),
            Err(why) => Err(Box::new(case.unread(Some(&agent), Refused::no_certificate(&why)))),
        });
        match opened {
            Ok(opened) => Ok(opened),
            Err(denial) => Err(self.refuse(&case, *denial).await.into_response()),
        }
    }

    fn may_open(&self, case: &mut Case, incoming: Incoming) -> Result<Agent, Box<Denial>> {
        let unread = |case: &Case, agent: Option<&Agent>, refused| Box::new(case.unread(agent, refused));
        let identified = self.0.identify.verify(&incoming.credential, case.now);
        let agent = identified.map_err(|Rejected(reason)| unread(case, None, Refused::identity(reason)))?;
        case.is_of(&agent);
        let way = incoming.way.map_err(|unreadable| unread(case, Some(&agent), unreadable.into()))?;
        let Way::Tunnel { destination } = way else { return Err(unread(case, Some(&agent), Refused::no_tunnel())) };
        let call = case.catalogue.describe_tunnel(&destination);
        let facts = Facts {
            guards: case.guard().into_iter().collect(),
            cross_check: case.drawn_below(self.0.engine_check),
            session: Session::default(),
            ..case.facts()
        };
        reach(&case.policies, &agent, &call, &facts)?;
        Ok(agent)
    }

    /// When a credential ends by its own word: what it opened, and nobody reads, ends with it.
    pub(crate) fn holds_until(&self, credential: &Credential, now: Timestamp) -> Instant {
        let left = self.0.identify.holds_until(credential).map(|until| until.duration_since(now));
        Instant::now() + left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(Duration::ZERO)
    }

    /// Ends when an agent, or the token that proved it, may act no longer.
    pub(crate) async fn withdrawn(&self, agent: &Agent) {
        self.0.store.withdrawn(agent).await;
    }
}

impl Refused {
    fn no_tunnel() -> Self {
        Self {
            code: Code::BadRequest,
            reason: "interception: no_tunnel".to_owned(),
            detail: "only a CONNECT can be intercepted".to_owned(),
        }
    }

    /// The words are for the operator's log; the agent can do nothing about it.
    fn no_certificate(why: &str) -> Self {
        tracing::error!(%why, "an intercepted host has no certificate: its CONNECT was refused");
        Self {
            code: Code::GatewayUnavailable,
            reason: "interception: no_certificate".to_owned(),
            detail: "this host is intercepted, and Aegis's CA can't sign for it: tell the operator".to_owned(),
        }
    }
}
