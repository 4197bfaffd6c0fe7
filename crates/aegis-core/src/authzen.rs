//! What an AuthZEN 1.0 request asks, in our vocabulary: who, which tool, which action, with which parameters.
//!
//! Pure: bytes in, an [`Evaluation`] out; [`Evaluation::call`] names the tool's call that it is. The table is in
//! `docs/decision-api.md`, the reasons in ADR 0008.
//!
//! Invariants: JSON is read strictly (a duplicate key has two meanings, so it has none); a parameter has one value, whichever
//! part of the request it stands in; what a caller says about a subject never becomes what the subject itself has proven.
//! Deliberately absent: HTTP, tokens, who may ask for whom.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use read::{Batch, MOST_EVALUATIONS, Semantic};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::call::ToolCall;
use crate::describe::Unreadable;

/// The action of the tool form (COAZ's default for MCP): the resource is the tool.
const TOOLS_CALL: &str = "tools/call";
/// The resource type of the tool form.
const TOOL: &str = "tool";
/// The parameter that the resource's id becomes.
const ID: &str = "id";
/// The parameter that the subject's properties become.
const SUBJECT: &str = "subject";
/// The parameter that the context becomes.
const CONTEXT: &str = "context";
/// What a context says to the gateway and not about the call: it may change from one try to the next.
const MACHINERY: [&str; 5] = ["approval", "call_id", "framework", "session_id", "supported_obligations"];
/// The obligation that carries rewritten arguments.
const CUSTOM: &str = "custom";

/// One question: may this subject do this to that?
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Map<String, Value>,
}

/// A subject or a resource.
#[derive(Debug, Clone, PartialEq)]
struct Entity {
    kind: String,
    id: String,
    properties: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
struct Action {
    name: String,
    properties: Map<String, Value>,
}

/// The call of a tool that a question is about.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCall {
    /// The tool.
    pub tool: String,
    /// Its action.
    pub action: String,
    /// The parameters.
    pub params: Map<String, Value>,
}

/// What makes two tries one call, where the caller says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The caller's session.
    pub session: String,
    /// The call in it.
    pub call: String,
}

/// Whose word the subject's properties are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The agent asks for itself: what it says of itself proves nothing, and is left out.
    Itself,
    /// A policy enforcement point that the operator trusts tells them.
    Vouched,
}

impl Evaluation {
    /// The name under which the subject is registered when another asks for it: an agent's is its id, others have their type
    /// before it (`user/alice`), so that no user can be taken for an agent.
    pub fn principal(&self) -> String {
        match self.subject.kind.as_str() {
            "agent" => self.subject.id.clone(),
            kind => format!("{kind}/{}", self.subject.id),
        }
    }

    /// Whether the subject is this agent, which has proven itself: then its type is only a word.
    pub fn is_about(&self, agent: &str) -> bool {
        self.subject.id == agent || self.principal() == agent
    }

    /// The call that the question is about.
    ///
    /// # Errors
    /// A name that no policy could write, or a parameter with two values.
    pub fn call(&self, subject: Subject) -> Result<NamedCall, Unreadable> {
        if self.action.name == TOOLS_CALL && self.resource.kind == TOOL {
            return self.tool_form();
        }
        let tool = nameable("resource.type", &self.resource.kind)?;
        let action = nameable("action.name", &self.action.name)?;
        if tool == ToolCall::HTTP {
            let message = "resource.type \"http\" is kept for requests that the gateway itself reads: name the tool";
            return Err(unreadable("reserved_tool", message));
        }
        let mut params = Map::from_iter([(ID.to_owned(), Value::from(self.resource.id.as_str()))]);
        for (part, properties) in [("resource", &self.resource.properties), ("action", &self.action.properties)] {
            for (name, value) in properties {
                if matches!(name.as_str(), SUBJECT | CONTEXT) || params.get(name).is_some_and(|other| other != value) {
                    let message = format!(
                        "{part}.properties.{name} can't be told from another parameter of that name: give it another name"
                    );
                    return Err(unreadable("ambiguous_parameter", message));
                }
                params.insert(name.clone(), value.clone());
            }
        }
        if subject == Subject::Vouched && !self.subject.properties.is_empty() {
            params.insert(SUBJECT.to_owned(), Value::Object(self.subject.properties.clone()));
        }
        let context = self.stated(&self.context_members());
        if !context.is_empty() {
            params.insert(CONTEXT.to_owned(), Value::Object(context));
        }
        Ok(NamedCall { tool, action, params })
    }

    /// `tools/call` of a tool: its arguments are the parameters, and nothing else is one.
    fn tool_form(&self) -> Result<NamedCall, Unreadable> {
        let (tool, action) = self.resource.id.split_once('/').unwrap_or((&self.resource.id, &self.resource.id));
        let (tool, action) = (nameable("resource.id", tool)?, nameable("resource.id", action)?);
        if tool == ToolCall::HTTP {
            return Err(unreadable("reserved_tool", "the tool \"http\" is the gateway's own: name another"));
        }
        let arguments = "arguments";
        let mut properties = self.resource.properties.keys().chain(self.action.properties.keys());
        if let Some(other) = properties.find(|name| *name != arguments) {
            let message =
                format!("a tool's call has its parameters in resource.properties.arguments, not in {other:?}");
            return Err(unreadable("unknown_property", message));
        }
        let params = match (self.resource.properties.get(arguments), self.action.properties.is_empty()) {
            (None, true) => Map::new(),
            (Some(Value::Object(arguments)), true) => arguments.clone(),
            _ => {
                let message = "resource.properties.arguments has to be an object, and action.properties none";
                return Err(unreadable("arguments_malformed", message));
            }
        };
        Ok(NamedCall { tool, action, params })
    }

    /// Gives a rewritten call back in the parts that the caller knows; `None` where something was rewritten that isn't an
    /// argument or a property, so that a caller can't put it in place.
    pub fn rewritten(&self, params: &Map<String, Value>, subject: Subject) -> Option<Map<String, Value>> {
        let before = self.call(subject).ok()?.params;
        if self.action.name == TOOLS_CALL && self.resource.kind == TOOL {
            // Without what the catalogue has read out of the arguments besides.
            let arguments = params.iter().filter(|(name, _)| before.contains_key(*name));
            return Some(arguments.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        if [ID, SUBJECT, CONTEXT].iter().any(|fixed| before.get(*fixed) != params.get(*fixed)) {
            return None;
        }
        let properties = params.iter().filter(|(name, _)| {
            self.resource.properties.contains_key(*name) || self.action.properties.contains_key(*name)
        });
        Some(properties.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// What makes two tries one call: `context.session_id` and `context.call_id`, both.
    pub fn attempt(&self) -> Option<Attempt> {
        let text = |name| self.context.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Attempt { session: text("session_id")?, call: text("call_id")? })
    }

    /// Whether the caller can put rewritten arguments in place.
    pub fn takes_rewrites(&self) -> bool {
        let list = self.context.get("supported_obligations").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|one| one.as_str() == Some(CUSTOM)))
    }

    /// The members of the context that are about the call: those that bind an access request to it.
    pub fn context_members(&self) -> BTreeSet<String> {
        self.context.keys().filter(|name| !MACHINERY.contains(&name.as_str())).cloned().collect()
    }

    /// A digest of the question, with these members of its context; `None` where one of them is missing. Equal questions have
    /// equal digests, in whatever order and spacing they are written.
    pub fn digest(&self, members: &BTreeSet<String>) -> Option<String> {
        let text = self.text(members)?;
        let digest = Sha256::new().chain_update("aegis/question/v1\n").chain_update(text).finalize();
        Some(digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }

    /// How much of a caller's the question holds, in bytes.
    pub fn size(&self) -> usize {
        self.text(&self.context_members()).map_or(0, |text| text.len())
    }

    /// The question in one form, whatever order and spacing it came in: objects are in key order (`serde_json` without
    /// `preserve_order`).
    fn text(&self, members: &BTreeSet<String>) -> Option<String> {
        let context = self.stated(members);
        if context.len() != members.len() {
            return None;
        }
        let document = serde_json::json!({
            "subject": entity(&self.subject),
            "action": {"name": self.action.name, "properties": self.action.properties},
            "resource": entity(&self.resource),
            "context": context,
        });
        Some(document.to_string())
    }

    fn stated(&self, members: &BTreeSet<String>) -> Map<String, Value> {
        let kept = self.context.iter().filter(|(name, _)| members.contains(*name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn entity(entity: &Entity) -> Value {
    serde_json::json!({"type": entity.kind, "id": entity.id, "properties": entity.properties})
}

/// A tool's or an action's name, if a policy could write it: `tool/action` has no other slash, and no `*` that would be a glob.
fn nameable(path: &str, name: &str) -> Result<String, Unreadable> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "/*#|\"'\\".contains(c);
    if name.is_empty() || name.len() > 128 || name.contains(bad) {
        let message =
            format!("{path} can't be a name in a policy: 1 to 128 bytes, no blanks, and none of / * # | \" ' \\");
        return Err(unreadable("unnameable", message));
    }
    Ok(name.to_owned())
}

fn unreadable(reason: &str, message: impl Into<String>) -> Unreadable {
    Unreadable { reason: reason.to_owned(), message: message.into() }
}
