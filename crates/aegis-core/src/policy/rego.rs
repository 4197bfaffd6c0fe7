//! A bundle's Rego, as regorus' interpreter evaluates it; what is in a bundle says [`super::bundle`].
//!
//! regorus' bytecode machine is not used: it lets through what OPA denies.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Evaluation, Finding, FindingEffect, Mode, Reason, duration};
use crate::call::{Companion, Presence, Shape as ParamShape};

/// What an engine is asked.
const QUERY: &str = "data.aegis.gate.evaluation";

/// A prepared regorus engine.
pub(super) struct Interpreter(regorus::Engine);

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interpreter")
    }
}

/// The document an engine answers with, read strictly: anything else is a failure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    matched: Vec<String>,
    findings: Vec<Finding>,
}

impl Interpreter {
    /// The interpreter over these modules (name, text) and data (JSON objects, merged), ready to be cloned for each call.
    pub(super) fn prepare<'a>(
        modules: impl Iterator<Item = (&'a str, &'a str)>,
        data: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<Self, String> {
        let mut engine = regorus::Engine::new();
        let prepare = |engine: &mut regorus::Engine| {
            // As OPA does: a built-in that fails is undefined.
            engine.set_strict_builtin_errors(false);
            for (name, text) in modules {
                engine.add_policy(name.to_owned(), text.to_owned())?;
            }
            for text in data {
                engine.add_data(regorus::Value::from_json_str(&text)?)?;
            }
            // The first evaluation compiles; clones share what it made.
            engine.set_input(regorus::Value::new_object());
            engine.eval_rule(QUERY.to_owned())?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        };
        prepare(&mut engine).map_err(|error| error.to_string())?;
        Ok(Self(engine))
    }

    /// Judges a call. Whatever goes wrong is a finding that denies.
    pub(super) fn evaluate(&self, asked: Asked<'_>) -> Evaluation {
        self.ask(asked).unwrap_or_else(|_| failed())
    }

    fn ask(&self, asked: Asked<'_>) -> Result<Evaluation, Box<dyn std::error::Error + Send + Sync>> {
        let mut engine = self.0.clone();
        let input: regorus::Value = serde_json::from_value(input(asked))?;
        engine.set_input(input);
        let answer = engine.eval_rule(QUERY.to_owned())?;
        let Answer { matched, findings } = serde_json::from_value(serde_json::to_value(&answer)?)?;
        Ok(Evaluation { matched, findings })
    }
}

/// What an engine that doesn't answer says: no.
pub(super) fn failed() -> Evaluation {
    let finding = Finding {
        policy: String::new(),
        entry: None,
        rule: "engine".to_owned(),
        reason: Reason::EngineFailed,
        effect: FindingEffect::Deny,
        mode: Mode::Enforce,
    };
    Evaluation { matched: Vec::new(), findings: vec![finding] }
}

/// The input document.
pub(super) fn input(asked: Asked<'_>) -> Value {
    let Asked { agent, call, .. } = asked;
    let shape = match &call.shape {
        ParamShape::Open => json!({ "open": true, "params": {} }),
        ParamShape::Defined(params) => {
            let params = params.iter().map(|(name, presence)| {
                let presence = match presence {
                    Presence::Required => "required",
                    Presence::Partial => "partial",
                };
                (name.clone(), Value::from(presence))
            });
            json!({ "open": false, "params": params.collect::<serde_json::Map<_, _>>() })
        }
    };
    let companion = match &call.companion {
        Companion::No => json!({ "of_tool": false, "of_actions": [] }),
        Companion::OfTool => json!({ "of_tool": true, "of_actions": [] }),
        Companion::OfActions(actions) => {
            let actions = actions.iter().map(|name| json!({ "action": name.action, "classes": name.classes }));
            json!({ "of_tool": false, "of_actions": actions.collect::<Vec<_>>() })
        }
    };
    let images = call.images.iter().map(|image| json!({ "repository": image.repository, "digest": image.digest }));
    let destination = match &call.destination {
        Some(to) => json!({ "scheme": to.scheme, "host": to.host, "port": to.port }),
        None => json!({}),
    };
    json!({
        "agent": { "id": agent.id, "groups": agent.groups },
        "tool": call.tool,
        "action": call.action,
        "classes": call.classes,
        "env": call.environment.name,
        "params": call.params,
        "seconds": duration::table(&call.params),
        "shape": shape,
        "images": images.collect::<Vec<_>>(),
        "companion": companion,
        "destination": destination,
    })
}
