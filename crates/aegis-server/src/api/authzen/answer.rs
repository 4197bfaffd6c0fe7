//! What became of a question, in AuthZEN's words.
//!
//! Invariants: `decision` is true only for what was admitted and can be done as it is answered; the context of a no has every
//! member of the problem document that other ways in would answer with.

use std::collections::BTreeSet;

use aegis_core::authzen::{Evaluation, Subject};
use aegis_core::call::ToolCall;
use aegis_core::decide::Explanation;
use aegis_core::describe::DenyShape;
use aegis_core::problem::Code;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::super::ApiState;
use super::Decisions;
use crate::answer::{self, Form};
use crate::identify::Binding;
use crate::pipeline::Handled;

/// The pipeline's reason for refusing what its caller can't put in place.
const NOT_ENFORCEABLE: &str = "sanitize: not_enforceable";

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Told {
    explanation: Box<Explanation>,
    decision: bool,
    context: Map<String, Value>,
    /// The question couldn't be read.
    malformed: bool,
}

impl Told {
    /// What became of a question.
    pub(super) fn of(
        state: &ApiState,
        decisions: &Decisions,
        asked: Option<(&Evaluation, Subject)>,
        handled: Handled,
    ) -> Self {
        let malformed = asked.is_none();
        match (handled, asked) {
            (Handled::Admitted { explanation, call }, Some((question, subject))) => {
                let context = permitted(&explanation, &call, question, subject);
                Self { decision: true, context, explanation, malformed }
            }
            (Handled::Refused { explanation, .. }, asked) => {
                let mut context = refused(&explanation);
                if let (Some(Code::ApprovalNeeded), Some((question, _))) = (explanation.code, asked)
                    && let Some(request) = access_request(state, decisions, &explanation, question)
                {
                    context.insert("reason".to_owned(), "approval_required".into());
                    context.insert("access_request".to_owned(), request);
                }
                Self { explanation, decision: false, context, malformed }
            }
            // Nothing is forwarded from here; if it was, that is our mistake, and no permission.
            (handled, _) => {
                let explanation = Box::new(handled.explanation().clone());
                tracing::error!(
                    decision_id = explanation.decision_id,
                    "a question was answered as if it were a request"
                );
                Self { context: refused(&explanation), explanation, decision: false, malformed }
            }
        }
    }

    pub(super) fn decision(&self) -> bool {
        self.decision
    }

    /// By which policies.
    pub(super) fn policy_version(&self) -> &str {
        &self.explanation.policy_version
    }

    /// As an answer among others.
    pub(super) fn into_document(self) -> Value {
        json!({"decision": self.decision, "context": self.context})
    }

    /// As the answer to a request. What is no decision about the question (who asks isn't known any more, the question can't
    /// be read, nothing can be recorded) is an error.
    pub(super) fn into_response(self) -> Response {
        let failed = match self.explanation.code {
            Some(Code::GatewayUnavailable) => true,
            Some(Code::IdentityRejected) => self.explanation.agent.is_none(),
            _ => self.malformed,
        };
        if failed && !self.decision {
            let form = Form { shape: DenyShape::Problem, proxied: false, head_only: false };
            return answer::refusal(&self.explanation, form).map(Body::new);
        }
        let explanation = self.explanation.clone();
        let mut response = Json(self.into_document()).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer::stamp(response.headers_mut(), &explanation);
        response
    }
}

/// What every context has.
fn common(explanation: &Explanation) -> Map<String, Value> {
    let call = explanation.call.as_ref();
    let members = json!({
        "evaluation_id": explanation.decision_id,
        "evaluated_at": explanation.at,
        "reason": explanation.reason,
        "decision": explanation.decision,
        "policy_version": explanation.policy_version,
        "trace_id": explanation.trace_id,
        "agent_id": explanation.agent.as_ref().map(|agent| &agent.id),
        "tool": call.map(|call| &call.tool),
        "action": call.map(|call| &call.action),
        "env": call.map(|call| &call.env),
        "would_decision": explanation.would_decision,
        "approval": explanation.approval,
    });
    let Value::Object(members) = members else { return Map::new() };
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// The context of a yes, with what the caller has to do about it: that it can was asked before the call was admitted.
fn permitted(
    explanation: &Explanation,
    call: &ToolCall,
    question: &Evaluation,
    subject: Subject,
) -> Map<String, Value> {
    let mut context = common(explanation);
    if !explanation.redactions.is_empty() {
        let arguments = question.rewritten(&call.params, subject).unwrap_or_default();
        let properties = json!({"vendor": "aegis", "action": "replace_arguments", "arguments": arguments});
        let obligation = json!({"id": "replace_arguments", "type": "custom", "properties": properties});
        context.insert("obligations".to_owned(), json!([obligation]));
    }
    context
}

/// The context of a no: the members of the problem document, and AuthZEN's.
fn refused(explanation: &Explanation) -> Map<String, Value> {
    let mut context = common(explanation);
    if let Some(Ok(Value::Object(problem))) = explanation.problem().map(serde_json::to_value) {
        context.extend(problem);
    }
    if explanation.reason == NOT_ENFORCEABLE {
        context.insert("reason".to_owned(), "obligation_unsupported".into());
    }
    context
}

/// Where to wait for a human, and what binds that to this question and this agent.
fn access_request(
    state: &ApiState,
    decisions: &Decisions,
    explanation: &Explanation,
    question: &Evaluation,
) -> Option<Value> {
    let approval = explanation.approval.as_ref()?;
    let members: BTreeSet<String> = question.context_members();
    let binding = Binding {
        sub: explanation.agent.as_ref()?.id.clone(),
        evaluation_id: explanation.decision_id.clone(),
        approval: approval.id.clone(),
        question: question.digest(&members)?,
        binding_context_members: members,
        denial_expires_at: approval.expires_at,
    };
    match state.identify.bind(binding, explanation.at) {
        Ok(token) => Some(json!({
            "endpoint": decisions.url("/access/v1/requests"),
            "expires_at": approval.expires_at,
            "binding_token": token,
        })),
        Err(error) => {
            tracing::error!(%error, "an access request can't be bound");
            None
        }
    }
}
