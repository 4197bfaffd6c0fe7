//! The life of one call: in → identify → describe → decide → admit → enforce and settle. Read it from top to bottom.
//!
//! Invariants: every way out is an answer with a recorded decision behind it; policies and catalogue are taken once per
//! call, so a decision has exactly one version; whatever goes wrong on the way is a denial that says which.
//! Deliberately absent: rules (the core's), wire formats (`intercept`'s and `answer`'s), SQL (the store's).

mod begun;
mod body;
mod candidate;
mod case;
mod connection;
mod facts;
mod foreign;
mod governing;
mod handled;
mod incoming;
mod launch;
mod learn;
mod mcp;
mod parts;
mod rates;
mod recorded;
mod retire;
mod review;
mod room;
mod sender;
mod signed;

use std::sync::Arc;

use aegis_core::decide::{Decision, Denial, Facts, Passage, decide};
use aegis_core::policy::Asked;
use aegis_core::problem::Violation;
use case::Case;
pub(crate) use case::{decision_id, random};
pub(crate) use foreign::Foreign;
pub use governing::{Canary, CanaryOf, Governing};
pub use handled::Handled;
use http::Response;
pub use incoming::{Absent, EnforcedBy, Fits, Incoming, Way};
pub(crate) use incoming::{Client, Headless};
use launch::Wire;
pub use mcp::McpWay;
use parts::Inner;
pub use parts::Parts;
pub use retire::retire;

use crate::enforce::{AnyBody, Live};

/// The one pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline(Arc<Inner>);

impl Pipeline {
    /// Takes one call through all six steps and answers over HTTP; see [`Pipeline::handle`].
    pub async fn run(&self, incoming: Incoming) -> Response<AnyBody> {
        self.handle(incoming).await.into_response()
    }

    /// Takes one call through all six steps. Always answers, and every answer passed a decision.
    ///
    /// Run it in a task of its own: dropped half way, an admitted call would stay without an outcome.
    pub async fn handle(&self, incoming: Incoming) -> Handled {
        let mut case = Case::open(self, &incoming);
        match self.judge(&mut case, incoming).await {
            Ok((Decision::Allow(permit) | Decision::Sanitize(permit), wire)) => {
                self.pass(&case, Passage::Permit(permit), wire).await
            }
            Ok((Decision::Observe(observed), wire)) => self.pass(&case, Passage::Observed(observed), wire).await,
            Ok((Decision::ApprovalNeeded(ask), wire)) => {
                case.hear_out(wire.live.body).await;
                self.ask(&case, ask).await
            }
            Ok((Decision::Deny(denial), wire)) => {
                case.hear_out(wire.live.body).await;
                self.refuse(&case, denial).await
            }
            Err(denial) => self.refuse(&case, denial).await,
        }
    }

    /// Steps 2 to 4: who asks, what is asked, what follows.
    async fn judge(&self, case: &mut Case, incoming: Incoming) -> Result<(Decision, Wire), Denial> {
        let Incoming { way, credential, override_token, head, body, upgrade, fits, .. } = incoming;
        let foreign = head.extensions.get::<Foreign>().map(Foreign::guard);
        let agent = self.sender(case, &way, &head, &credential).map_err(|denial| *denial)?;
        case.is_of(&agent);

        let way = way.map_err(|unreadable| case.unread(Some(&agent), unreadable.into()))?;
        case.held = Some(self.0.room.enter(&agent.id));
        let verified = signed::verified(case, head, body, self.0.body_limit).await;
        let (head, body) = verified.map_err(|refused| case.unread(Some(&agent), refused))?;
        let session = self.session(case, &agent);
        let described = self.describe(case, &way, (head, body), (&agent, &session)).await;
        let (call, body) = described.map_err(|refused| case.unread(Some(&agent), refused))?;

        case.is_about(&call);
        let asked = Asked { agent: &agent, call: &call, now: case.now, session: &session };
        case.keep_call(&self.0.store, asked);
        let (toward, guard) = self.reach(case, &way, asked).await;
        let (approval, other) = self.approval(&case.policies, asked, override_token.as_deref());
        let guards: Vec<Violation> = case.guard().into_iter().chain(foreign).chain(guard).chain(other).collect();
        let opinion = self.opinion(case, asked, &guards);
        let over_rate = self.0.rates.over(case.policies.rates(asked));
        let spends = self.0.store.spends(case.policies.budgets(asked), case.now);
        let facts = Facts {
            approval: approval.as_ref(),
            over_rate,
            spends,
            guards,
            cross_check: case.drawn_below(self.0.engine_check),
            session,
            ..case.facts()
        };
        let decision = decide(&case.policies, &agent, call, &facts).beside(opinion);
        let until = upgrade.as_ref().map(|_| self.holds_until(&credential, case.now));
        Ok((decision, Wire { toward, live: Live { body, upgrade, until }, fits }))
    }

    /// Steps 5 and 6: admitted and on record, then forwarded; or handed to the caller that enforces it.
    async fn pass(&self, case: &Case, passage: Passage, wire: Wire) -> Handled {
        if case.enforced_by == EnforcedBy::Caller {
            return self.hand_over(case, passage, wire.fits).await;
        }
        let (toward, passage) = match self.launch(wire.toward, passage).await {
            Ok(both) => both,
            Err(denial) => return self.refuse(case, *denial).await,
        };
        let answers = review::wanted(&case.policies, passage.call(), passage.explanation(), case.now);
        let latency = case.latency();
        let admitted = match self.0.store.admit(passage, case.noted(latency)).await {
            Ok(admitted) => admitted,
            Err(denial) => return self.refuse(case, denial).await,
        };
        let explanation = Box::new(admitted.explanation().clone());
        let span_id = self.0.events.decided(&explanation, &case.trace, latency);
        let forwarded = self.0.enforcer.forward(admitted, wire.live, toward, case.trace.clone(), span_id).await;
        let shown = match forwarded {
            Ok(response) => review::reviewed(response, answers, self.0.body_limit, &explanation.decision_id).await,
            Err(failure) => Err(failure),
        };
        match shown {
            Ok(response) => Handled::Forwarded { explanation, response },
            Err(failure) => Handled::Failed { failure, form: case.form(&explanation), explanation },
        }
    }
}
