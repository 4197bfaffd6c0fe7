//! The same policies as an OPA bundle, and as regorus' interpreter evaluates them.
//!
//! A bundle is a fixed evaluator (`gate.rego`), the conditions' rules (`condition.rego`, one rule per shape), and the tables as
//! data. Its bytes depend on the policies only. regorus' bytecode machine is not used: it lets through what OPA denies.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::condition::Shape;
use super::tables::Tables;
use super::{Asked, Evaluation, Finding, FindingEffect, Mode, Reason, duration};
use crate::call::{Companion, Presence, Shape as ParamShape};

/// The decision, whatever the policies say.
const GATE: &str = include_str!("rego/gate.rego");
/// What the generated rules are made of.
const CONDITION: &str = include_str!("rego/condition.rego");
/// What an engine is asked.
const QUERY: &str = "data.aegis.gate.evaluation";

/// `data.json`.
#[derive(Serialize)]
struct Data<'a> {
    aegis_tables: &'a Tables,
}

/// The content of a bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    condition: String,
    /// The tables' JSON; without spaces, keys sorted, as OPA hashes it for a signature.
    data: Vec<u8>,
}

impl Bundle {
    /// Writes the tables and the shapes of their conditions.
    pub(super) fn of(tables: &Tables, shapes: &BTreeSet<Shape>) -> Result<Self, serde_json::Error> {
        let mut condition = CONDITION.to_owned();
        for shape in shapes {
            condition.push_str(&shape.rego);
        }
        let data = serde_json::to_vec(&Data { aegis_tables: tables })?;
        Ok(Self { condition, data })
    }

    /// `pol_` and 12 digits of the content's digest.
    pub(super) fn version(&self) -> String {
        let mut hash = Sha256::new();
        for part in [GATE.as_bytes(), self.condition.as_bytes(), &self.data] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut version = String::from("pol_");
        for byte in hash.finalize().iter().take(6) {
            // Writing to a String can't fail.
            let _ = write!(version, "{byte:02x}");
        }
        version
    }

    /// The `.tar.gz`: files sorted, no times, no owners.
    pub(super) fn archive(&self, version: &str) -> io::Result<Vec<u8>> {
        let manifest = json!({
            "revision": version,
            "rego_version": 1,
            "roots": ["aegis/condition", "aegis/gate", "aegis_tables"],
        });
        let manifest = manifest.to_string();
        let gzip = flate2::GzBuilder::new().mtime(0).operating_system(255);
        let mut tar = tar::Builder::new(gzip.write(Vec::new(), flate2::Compression::default()));
        let files: [(&str, &[u8]); 4] = [
            ("/.manifest", manifest.as_bytes()),
            ("/aegis/condition.rego", self.condition.as_bytes()),
            ("/aegis/gate.rego", GATE.as_bytes()),
            ("/data.json", &self.data),
        ];
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, name.trim_start_matches('/'), content)?;
        }
        let mut gzip = tar.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    }

    /// The interpreter, ready to be cloned for each call.
    pub(super) fn interpreter(&self) -> Result<Interpreter, String> {
        let mut engine = regorus::Engine::new();
        let prepare = |engine: &mut regorus::Engine| {
            // As OPA does: a built-in that fails is undefined.
            engine.set_strict_builtin_errors(false);
            engine.add_policy("gate.rego".to_owned(), GATE.to_owned())?;
            engine.add_policy("condition.rego".to_owned(), self.condition.clone())?;
            let text = std::str::from_utf8(&self.data)?;
            engine.add_data(regorus::Value::from_json_str(text)?)?;
            // The first evaluation compiles; clones share what it made.
            engine.set_input(regorus::Value::new_object());
            engine.eval_rule(QUERY.to_owned())?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        };
        prepare(&mut engine).map_err(|error| error.to_string())?;
        Ok(Interpreter(engine))
    }
}

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
