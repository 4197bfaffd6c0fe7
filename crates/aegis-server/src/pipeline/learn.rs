//! Step 3, where a call names things by ids: the tool is asked what they stand for, and the call is described again.
//!
//! Invariants: nobody is asked for an agent that isn't identified or has no grant on the tool (an agent would learn from the refusal
//! what it may not see), nor for a call that its caller enforces, nor where Aegis has no credential of its own. What isn't asked is on
//! record as such, and stays unresolved in the call.

use std::time::Instant;

use aegis_core::agent::Agent;
use aegis_core::call::{HttpRequest, Payload, ToolCall};
use aegis_core::describe::{Answers, Arrival, Described, Question};
use aegis_core::policy::Asked;
use aegis_core::session::Session;

use super::case::{Case, Refused};
use super::incoming::Way;
use super::{EnforcedBy, Pipeline};
use crate::enforce::{Looked, Toward};

/// How many times an answer may lead to another question.
const ROUNDS: usize = 4;

impl Pipeline {
    /// The call with what the tool says of it.
    pub(super) async fn learn(
        &self,
        case: &mut Case,
        way: &Way,
        arrival: &Arrival<'_>,
        by: (&Agent, &Session),
        described: Described,
    ) -> Result<ToolCall, Refused> {
        if described.open.is_empty() {
            return Ok(described.call);
        }
        let since = Instant::now();
        let learnt = self.ask_all(case, way, arrival, by, described).await;
        case.waited_since(since);
        learnt
    }

    async fn ask_all(
        &self,
        case: &mut Case,
        way: &Way,
        arrival: &Arrival<'_>,
        (agent, session): (&Agent, &Session),
        mut described: Described,
    ) -> Result<ToolCall, Refused> {
        let mut answers = Answers::default();
        for _ in 0..ROUNDS {
            if described.open.is_empty() {
                return Ok(described.call);
            }
            let Described { call, open } = described;
            let asked = Asked { agent, call: &call, now: case.now, session };
            let toward = match self.may_ask(case, way, asked, &open).await {
                Ok(toward) => toward,
                Err(why) => {
                    not_asked(case, &open, why);
                    return Ok(call);
                }
            };
            let Payload::Http(request) = &call.payload else { return Ok(call) };
            for question in open {
                let Looked { cached, answer } =
                    self.0.enforcer.look_up(&toward, call.destination.as_ref(), &question, request).await;
                case.resolved.push(question.resolution(cached, answer.as_ref().err().cloned()));
                answers.add(question, answer);
            }
            described = case.catalogue.describe_with(arrival, HttpRequest::clone(request), &answers)?;
        }
        not_asked(case, &described.open, "it would take too many questions");
        Ok(described.call)
    }

    /// Where to ask; or why nobody is asked.
    async fn may_ask(
        &self,
        case: &Case,
        way: &Way,
        asked: Asked<'_>,
        open: &[Question],
    ) -> Result<Toward, &'static str> {
        const NO_CREDENTIAL: &str = "Aegis has no credential there";
        if case.enforced_by == EnforcedBy::Caller {
            return Err("the call isn't forwarded from here, so the tool isn't asked");
        }
        let granted = |question: &Question| {
            let presumed = question.presumes(asked.call);
            case.policies.may_call(Asked { call: &presumed, ..asked })
        };
        if case.guard().is_some() || !open.iter().all(granted) {
            return Err("no policy grants the agent this, so the tool isn't asked");
        }
        let toward = match way {
            Way::Route { name, .. } => Toward::Route(name.clone()),
            Way::Intercepted { .. } if case.policies.may_reach(asked) => {
                self.toward(None, asked.call).await.map_err(|_| "the host can't be reached")?
            }
            _ => return Err(NO_CREDENTIAL),
        };
        match self.0.enforcer.proves_itself(&toward, asked.call.destination.as_ref()) {
            true => Ok(toward),
            false => Err(NO_CREDENTIAL),
        }
    }
}

fn not_asked(case: &mut Case, open: &[Question], why: &str) {
    case.resolved.extend(open.iter().map(|question| question.resolution(false, Some(why.to_owned()))));
}
