//! The policy engines against the conformance cases, against each other, and against a real OPA.
//!
//! `AEGIS_TOOLS` names the folder that `opa` is in. Without it the tests fail, unless `AEGIS_WITHOUT_OPA=1` says that this run
//! does without; then they say so.

mod arbitrary;
mod builtins;
mod cel;
mod conditions;
mod conformance;
mod diff;
mod engines;
mod guide;
mod lint;
mod loading;
mod modules;
mod opa;
mod rego_v1;

use std::collections::{BTreeMap, BTreeSet};

use aegis_core::agent::Agent;
use aegis_core::call::{
    ActionName, Companion, Destination, Effect, Environment, Image, Payload, Presence, Shape, ToolCall,
};
use aegis_core::policy::{Asked, Engine, Evaluation, Mode, Options, PolicySet, Source};
use aegis_core::session::Session;
use jiff::Timestamp;
use serde_json::Value;

/// What is asked, as a case writes it.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    #[serde(default = "kubernetes")]
    tool: String,
    action: String,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default = "staging")]
    env: String,
    #[serde(default)]
    params: serde_json::Map<String, Value>,
    /// `None` is open.
    #[serde(default)]
    shape: Option<BTreeMap<String, Presence>>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default)]
    companion_of_tool: bool,
    /// Any grant of one of these tools brings it along.
    #[serde(default)]
    companion_of_tools: BTreeSet<String>,
    /// Actions, each with its classes.
    #[serde(default)]
    companion_of: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    destination: Option<Destination>,
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn staging() -> String {
    "staging".to_owned()
}

impl Call {
    fn describe(&self) -> ToolCall {
        let companion = match (self.companion_of_tool, self.companion_of.is_empty()) {
            _ if !self.companion_of_tools.is_empty() => Companion::OfTools(self.companion_of_tools.clone()),
            (true, _) => Companion::OfTool,
            (false, true) => Companion::No,
            (false, false) => Companion::OfActions(
                self.companion_of
                    .iter()
                    .map(|(action, classes)| ActionName {
                        action: action.clone(),
                        classes: classes.iter().cloned().collect(),
                    })
                    .collect(),
            ),
        };
        ToolCall {
            tool: self.tool.clone(),
            action: self.action.clone(),
            classes: self.classes.iter().cloned().collect(),
            effect: Effect::Write,
            environment: Environment::named(self.env.as_str()),
            target: BTreeMap::new(),
            params: self.params.clone(),
            shape: self.shape.clone().map_or(Shape::Open, Shape::Defined),
            images: self.images.clone(),
            frozen: false,
            companion,
            destination: self.destination.clone(),
            metering: aegis_core::cost::Metering::default(),
            payload: Payload::Caller,
        }
    }
}

/// Who asks, as a case writes it: an id, or an id and groups.
fn agent(id: &str, groups: &[String]) -> Agent {
    Agent { groups: groups.to_vec(), ..Agent::named(id) }
}

/// A call, and all that it is judged by.
#[derive(Debug)]
pub(crate) struct Question {
    agent: Agent,
    call: ToolCall,
    now: Timestamp,
    session: Session,
}

impl Question {
    fn asked(&self) -> Asked<'_> {
        Asked { agent: &self.agent, call: &self.call, now: self.now, session: &self.session }
    }
}

fn load(text: &str, mode: Mode) -> PolicySet {
    load_with(text, &[], mode)
}

/// Policies and custom modules.
fn load_with(text: &str, modules: &[String], mode: Mode) -> PolicySet {
    let modules = modules.iter().enumerate();
    let modules = modules.map(|(at, text)| Source { file: format!("module{at}.rego"), text: text.clone() });
    let sources: Vec<_> =
        [Source { file: "policy.yaml".to_owned(), text: text.to_owned() }].into_iter().chain(modules).collect();
    let options = Options { mode, ..Options::default() };
    PolicySet::load(&sources, options).unwrap_or_else(|errors| {
        panic!("{}\nin\n{text}", errors.iter().map(|error| format!("{error}\n")).collect::<String>())
    })
}

/// What both engines in this process say, which must be the same.
fn both(set: &PolicySet, asked: Asked<'_>) -> Evaluation {
    let native = set.evaluate_with(Engine::Native, asked);
    let rego = set.evaluate_with(Engine::Rego, asked);
    assert_eq!(native, rego, "native (left) and Rego (right) differ on {}", set.input(asked));
    native
}
