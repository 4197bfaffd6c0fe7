//! `POST /access/v1/evaluation` and `/access/v1/evaluations`: questions in, decisions out.

use aegis_core::authzen::{Batch, Evaluation, NamedCall, Semantic, Subject};
use aegis_core::describe::Unreadable;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::json;

use super::super::ApiState;
use super::super::answer::ApiError;
use super::Decisions;
use super::answer::Told;
use super::attempts::Key;
use super::caller::{self, Caller};
use crate::identify::Credential;
use crate::pipeline::{Fits, Incoming, Way, random};
use crate::trace::TraceContext;

/// The name of this way in, for the record.
const VIA: &str = "authzen";

/// Everything that answering a question needs besides the question.
struct Asking {
    state: ApiState,
    decisions: Decisions,
    caller: Caller,
    headers: HeaderMap,
}

/// One question.
pub(super) async fn evaluation(
    State(state): State<ApiState>,
    Extension(decisions): Extension<Decisions>,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let (body, _room) = caller::body(&decisions, request).await?;
    let asking = Asking { state, decisions, caller, headers };
    Ok(asking.answer(Evaluation::read(&body)).await.into_response())
}

/// Several questions, or one.
pub(super) async fn evaluations(
    State(state): State<ApiState>,
    Extension(decisions): Extension<Decisions>,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let (body, _room) = caller::body(&decisions, request).await?;
    let asking = Asking { state, decisions, caller, headers };
    let (questions, semantic) = match Batch::read(&body) {
        Ok(Batch::Several { questions, semantic }) => (questions, semantic),
        Ok(Batch::One(question)) => return Ok(asking.answer(Ok(question)).await.into_response()),
        Err(unreadable) => return Ok(asking.answer(Err(unreadable)).await.into_response()),
    };
    let mut answers = Vec::with_capacity(questions.len());
    // One after the other: what one spends, the next doesn't have.
    for question in questions {
        let told = asking.answer(question).await;
        let last = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !told.decision(),
            Semantic::PermitOnFirstPermit => told.decision(),
        };
        answers.push(told.into_document());
        if last {
            break;
        }
    }
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(json!({"evaluations": answers}))).into_response())
}

impl Asking {
    /// One question, answered: by the yes that the same call has had before, if it had one.
    async fn answer(&self, question: Result<Evaluation, Unreadable>) -> Told {
        let question = match question {
            Ok(question) => question,
            Err(unreadable) => return self.decide(Err(unreadable), None).await,
        };
        let (Some(key), Some(digest)) = (self.key(&question), question.digest(&question.context_members())) else {
            return self.decide(Ok(()), Some(&question)).await;
        };
        let call = self.decisions.0.attempts.of(key, question.size());
        let mut tried = call.tried.lock().await;
        if tried.question.get_or_insert_with(|| digest.clone()) != &digest {
            let message = "context.call_id is another call's: each call has an id of its own in its session";
            let reused = Unreadable { reason: "call_id_reused".to_owned(), message: message.to_owned() };
            return self.decide(Err(reused), Some(&question)).await;
        }
        // Whoever was withdrawn meanwhile is refused, whatever it was told before; and other policies are asked anew.
        let (credential, _) = self.credential(&question);
        if let Some(told) = &tried.yes
            && let Ok(agent) = self.state.identify.verify(&credential, Timestamp::now())
            && self.decisions.0.pipeline.still_judges(&agent, told.policy_version())
        {
            return told.clone();
        }
        let told = self.decide(Ok(()), Some(&question)).await;
        tried.yes = told.decision().then(|| told.clone());
        told
    }

    /// Takes a question through the pipeline; or what is wrong with it, which is recorded there.
    async fn decide(&self, checked: Result<(), Unreadable>, question: Option<&Evaluation>) -> Told {
        let (credential, subject) = match question {
            Some(question) => self.credential(question),
            None => (self.caller.credential.clone(), Subject::Itself),
        };
        let call = checked.and_then(|()| match question {
            Some(question) => question.call(subject),
            None => Err(Unreadable { reason: "nothing_asked".to_owned(), message: "nothing is asked".to_owned() }),
        });
        let way = call.map(|NamedCall { tool, action, params }| Way::Function { tool, action, params });
        let trace = TraceContext::join(&self.headers, random());
        let mut incoming = Incoming::function(VIA, way, credential, trace);
        incoming.fits = question.cloned().map(|question| fits(question, subject));
        let handled = self.decisions.0.pipeline.handle(incoming).await;
        Told::of(&self.state, &self.decisions, question.map(|question| (question, subject)), handled)
    }

    /// What proves the subject of a question, and whose word its properties are.
    fn credential(&self, question: &Evaluation) -> (Credential, Subject) {
        if self.is_itself(question) {
            (self.caller.credential.clone(), Subject::Itself)
        } else {
            (self.caller.asking_for(question.principal()), Subject::Vouched)
        }
    }

    /// Whether the caller asks for itself. The users of an enforcement point choose their names, and may choose its: for it, the
    /// subject's type counts.
    fn is_itself(&self, question: &Evaluation) -> bool {
        let own = &self.caller.agent.id;
        let asks_for_others = self.state.identify.settings().peps.iter().any(|pep| pep.agent == *own);
        if asks_for_others { question.principal() == *own } else { question.is_about(own) }
    }

    /// What makes the question the same call as another; `None` where the caller doesn't say.
    fn key(&self, question: &Evaluation) -> Option<Key> {
        let attempt = question.attempt()?;
        let caller = self.caller.agent.id.clone();
        let subject = if self.is_itself(question) { caller.clone() } else { question.principal() };
        let registered = self.state.store.agent(&subject)?.created_at.as_microsecond();
        Some(Key { caller, subject, registered, attempt })
    }
}

/// Whether the caller can put in place what policy rewrites: asked before anything is on record as passing.
fn fits(question: Evaluation, subject: Subject) -> Fits {
    Box::new(move |passage| {
        let as_it_is = passage.explanation().redactions.is_empty();
        if as_it_is || (question.takes_rewrites() && question.rewritten(&passage.call().params, subject).is_some()) {
            return Ok(());
        }
        Err("policy wants parts of this call redacted, and whoever asks hasn't said that it can do that".to_owned())
    })
}
