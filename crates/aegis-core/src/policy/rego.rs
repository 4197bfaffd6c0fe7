//! A bundle's Rego, as regorus' interpreter evaluates it; what is in a bundle says [`super::bundle`].
//!
//! regorus' bytecode machine is not used: it lets through what OPA denies.

pub(super) mod builtins;
pub(super) mod engine;
pub(super) mod lint;
mod program;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::engine::{Engine, Failure};
pub(super) use self::lint::{Checked, Kind, Reach, components, place, read};
pub use self::program::Program;
use super::calendar::{TimeField, Zone};
use super::{Asked, Evaluation, Finding, FindingEffect, Mode, Reason, duration};
use crate::call::{Companion, Presence, Shape as ParamShape};

/// Longest time for one decision by the interpreter. It takes well under a millisecond; policies at their limits, some.
const LIMIT: Duration = Duration::from_secs(2);
/// What an engine is asked.
const QUERY: &str = "data.aegis.gate.evaluation";

/// A prepared engine.
#[derive(Debug)]
pub(super) struct Interpreter(Engine);

/// The document an engine answers with, read strictly: anything else is a failure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) matched: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

impl Interpreter {
    /// The interpreter over these modules (name, text) and data (JSON objects, merged), ready to be cloned for each call.
    pub(super) fn prepare<'a>(
        modules: impl Iterator<Item = (&'a str, &'a str)>,
        data: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<Self, Failure> {
        let mut engine = Engine::new(modules, data, LIMIT)?;
        // The first evaluation compiles; clones share what it made. Without an input a custom module may fail.
        match engine.prepare(QUERY) {
            Err(failure) if failure.defect => Err(failure),
            _ => Ok(Self(engine)),
        }
    }

    /// Judges a call. Whatever goes wrong is a finding that denies.
    pub(super) fn evaluate(&self, input: &Value) -> Evaluation {
        self.ask(input).unwrap_or_else(|failure| failed(&failure))
    }

    fn ask(&self, input: &Value) -> Result<Evaluation, Failure> {
        let mut engine = self.0.clone();
        engine.set_input(input)?;
        let answer = engine.ask(QUERY)?.ok_or_else(|| Failure::of_the_call("the decision is undefined"))?;
        let answer = serde_json::from_value(answer);
        let Answer { matched, findings } =
            answer.map_err(|_| Failure::of_the_call("the decision isn't the document that it should be"))?;
        Ok(Evaluation { matched, findings, failures: Vec::new() })
    }
}

/// What an engine that doesn't answer says: no.
pub(super) fn failed(why: &Failure) -> Evaluation {
    let finding = Finding {
        policy: String::new(),
        entry: None,
        rule: "engine".to_owned(),
        reason: Reason::EngineFailed,
        effect: FindingEffect::Deny,
        mode: Mode::Enforce,
        said: None,
    };
    Evaluation { matched: Vec::new(), findings: vec![finding], failures: vec![why.to_string()] }
}

/// The input document, with the time in these zones.
pub(super) fn input(asked: Asked<'_>, zones: &BTreeSet<Zone>) -> Value {
    let Asked { agent, call, now, session } = asked;
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
        Companion::No => json!({ "of_tool": false, "of_tools": [], "of_actions": [] }),
        Companion::OfTool => json!({ "of_tool": true, "of_tools": [], "of_actions": [] }),
        Companion::OfTools(tools) => json!({ "of_tool": false, "of_tools": tools, "of_actions": [] }),
        Companion::OfActions(actions) => {
            let actions = actions.iter().map(|name| json!({ "action": name.action, "classes": name.classes }));
            json!({ "of_tool": false, "of_tools": [], "of_actions": actions.collect::<Vec<_>>() })
        }
    };
    let params: serde_json::Map<_, _> = call.params.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    let images = call.images.iter().map(|image| json!({ "repository": image.repository, "digest": image.digest }));
    let destination = match &call.destination {
        Some(to) => json!({ "scheme": to.scheme, "host": to.host, "port": to.port }),
        None => json!({}),
    };
    let time = zones.iter().map(|zone| {
        let fields = TimeField::ALL.into_iter().map(|field| (field.name(), json!(field.at(now, zone))));
        (zone.name(), fields.collect::<BTreeMap<_, _>>())
    });
    json!({
        "agent": { "id": agent.id, "groups": agent.groups, "chain": agent.chain },
        "time": time.collect::<BTreeMap<_, _>>(),
        "session": { "labels": session.labels, "count": session.counts },
        "tool": call.tool,
        "action": call.action,
        "classes": call.classes,
        "env": call.environment.name,
        "seconds": duration::table(&call.params),
        "params": params,
        "shape": shape,
        "images": images.collect::<Vec<_>>(),
        "companion": companion,
        "destination": destination,
    })
}

/// A value with one spelling for each whole number: engines keep `50.0` and `50` apart, in what they print at least.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            match number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= builtins::MAX_WHOLE as f64) {
                #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
                Some(whole) => Value::from(whole as i64),
                None => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        _ => value.clone(),
    }
}
