//! A call as it is kept for replay: what policy is asked about, when, with which past, and what the policies said then.
//!
//! The audit holds no parameters, so it can't be asked "what would another policy have said?". Who wants to ask that has
//! calls recorded, for a time, and this is what is kept of each. Never kept: headers, bodies, credentials, ids of tokens.
//! Long texts become digests and what looks like a secret goes ([`redacted`] is the one place that says what does);
//! [`RecordedCall::cut`] names each place, because a rule that looks there can't be judged again.

mod redacted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Companion, Destination, Effect, Environment, Image, Payload, Shape, ToolCall};
use crate::agent::Agent;
use crate::decide::{Explanation, Verdict};
use crate::policy::{Asked, PolicySet};
use crate::replay::Answer;
use crate::session::Session;

/// One call, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCall {
    /// Who asked; without the token's id.
    pub agent: Agent,
    /// When.
    pub at: Timestamp,
    /// What the agent had done before.
    #[serde(default)]
    pub session: Session,
    /// What was asked.
    pub call: Described,
    /// The parameters of which something was cut or dropped, as `params.NAME` and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// What the policies said by themselves.
    pub answer: Answer,
    /// What came of it; absent until it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// `dec_…`
    pub decision_id: String,
    /// What was done.
    pub decision: Verdict,
}

/// A described call without its payload: the part that policy looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// As in [`ToolCall::tool`].
    pub tool: String,
    /// As in [`ToolCall::action`].
    pub action: String,
    /// As in [`ToolCall::classes`].
    #[serde(default)]
    pub classes: BTreeSet<String>,
    /// As in [`ToolCall::effect`].
    pub effect: Effect,
    /// As in [`ToolCall::environment`].
    pub environment: Environment,
    /// As in [`ToolCall::target`].
    #[serde(default)]
    pub target: BTreeMap<String, String>,
    /// As in [`ToolCall::params`].
    #[serde(default)]
    pub params: Map<String, Value>,
    /// As in [`ToolCall::shape`].
    pub shape: Shape,
    /// As in [`ToolCall::images`].
    #[serde(default)]
    pub images: Vec<Image>,
    /// As in [`ToolCall::companion`].
    pub companion: Companion,
    /// As in [`ToolCall::destination`].
    #[serde(default)]
    pub destination: Option<Destination>,
}

impl From<&ToolCall> for Described {
    fn from(call: &ToolCall) -> Self {
        Self {
            tool: call.tool.clone(),
            action: call.action.clone(),
            classes: call.classes.clone(),
            effect: call.effect,
            environment: call.environment.clone(),
            target: call.target.clone(),
            params: call.params.clone(),
            shape: call.shape.clone(),
            images: call.images.clone(),
            companion: call.companion.clone(),
            destination: call.destination.clone(),
        }
    }
}

impl From<Described> for ToolCall {
    /// A call that its caller would carry out: there is nothing of it left to forward.
    fn from(call: Described) -> Self {
        Self {
            tool: call.tool,
            action: call.action,
            classes: call.classes,
            effect: call.effect,
            environment: call.environment,
            target: call.target,
            params: call.params,
            shape: call.shape,
            images: call.images,
            // Kept is what was decided about, not its bytes.
            frozen: false,
            companion: call.companion,
            destination: call.destination,
            metering: crate::cost::Metering::default(),
            payload: Payload::Caller,
        }
    }
}

impl RecordedCall {
    /// What is kept of a call that these policies are asked about.
    pub fn of(asked: Asked<'_>, policies: &PolicySet) -> Self {
        let mut call = Described::from(asked.call);
        let answer = Answer::of(policies, asked, call.clone().into());
        let cut = redacted::redact(&mut call);
        Self {
            agent: Agent { token_id: None, ..asked.agent.clone() },
            at: asked.now,
            session: asked.session.clone(),
            call,
            cut,
            answer,
            decided: None,
        }
    }

    /// The same, with what came of it.
    #[must_use]
    pub fn decided(self, explanation: &Explanation) -> Self {
        let decision_id = explanation.decision_id.clone();
        Self { decided: Some(Decided { decision_id, decision: explanation.decision }), ..self }
    }
}
