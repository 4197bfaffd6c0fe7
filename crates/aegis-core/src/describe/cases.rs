//! The catalogue's own cases: a recorded request → the call that it must be.
//!
//! `expect` names what is compared: `unreadable` (a reason), or any of `action`, `classes`, `effect`, `params` (all of them),
//! `images` (references), `companion` (`no`, `oftool`, or the writes), `shape` (presence by parameter, or `open`), `cost`
//! (`0.10 USD`, or `unknown`), and single facts of `target`, `null` for one that there must not be.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::tool::{Case, Tool};
use super::{Arrival, Catalogue};
use crate::call::{Companion, Destination, Shape, ToolCall};

/// What a run over all cases found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// How many cases there are.
    pub cases: usize,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

/// A case that isn't what its tool says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The tool.
    pub tool: String,
    /// The case's name.
    pub case: String,
    /// What differs.
    pub message: String,
}

impl Catalogue {
    /// Runs the cases of all tools.
    pub fn check(&self) -> Checked {
        let mut checked = Checked { cases: 0, failures: Vec::new() };
        for tool in self.tools.values() {
            for case in &tool.cases {
                checked.cases += 1;
                if let Err(message) = self.check_case(tool, case) {
                    let failure = Failure { tool: tool.name.clone(), case: case.name.clone(), message };
                    checked.failures.push(failure);
                }
            }
        }
        checked
    }

    fn check_case(&self, tool: &Tool, case: &Case) -> Result<(), String> {
        let Value::Object(expect) = &case.expect else {
            return Err("`expect` must be a mapping".to_owned());
        };
        let upstream = Destination { scheme: "http".to_owned(), host: "case.invalid".to_owned(), port: 80 };
        let arrival = Arrival::Route { name: "case", tool: Some(&tool.name), cluster: None, upstream: &upstream };
        let actual = match self.match_raw(&wire(case), Some(&arrival)) {
            Ok(call) => observed(&call),
            Err(unreadable) => Map::from_iter([("unreadable".to_owned(), unreadable.reason.into())]),
        };
        let differs = |key: &str, expected: &Value, actual: Option<&Value>| match actual {
            Some(actual) if actual == expected => Ok(()),
            other => Err(format!("{key} is {}, expected {expected}", other.unwrap_or(&Value::Null))),
        };
        if let Some(reason) = actual.get("unreadable").filter(|_| !expect.contains_key("unreadable")) {
            return Err(format!("it is unreadable: {reason}"));
        }
        for (key, expected) in expect {
            match (key.as_str(), expected) {
                ("target", Value::Object(facts)) => {
                    for (fact, expected) in facts {
                        let stated = actual.get("target").and_then(|target| target.get(fact));
                        differs(&format!("target.{fact}"), expected, Some(stated.unwrap_or(&Value::Null)))?;
                    }
                }
                _ => differs(key, expected, actual.get(key))?,
            }
        }
        Ok(())
    }
}

/// A case's text as a message: the lines of its head end in CRLF; its body is without the last line break.
fn wire(case: &Case) -> Vec<u8> {
    let request = &case.request;
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let body = body.strip_suffix('\n').unwrap_or(body);
    let body = case.body.as_deref().unwrap_or(body.as_bytes());
    [format!("{}\r\n\r\n", head.replace('\n', "\r\n")).as_bytes(), body].concat()
}

/// Everything that a case may compare.
fn observed(call: &ToolCall) -> Map<String, Value> {
    let companion = match &call.companion {
        Companion::No => json!("no"),
        Companion::OfTool => json!("oftool"),
        Companion::OfTools(tools) => json!({"oftools": tools}),
        Companion::OfActions(names) => names.iter().map(|name| Value::from(name.action.as_str())).collect(),
    };
    let shape = match &call.shape {
        Shape::Open => json!("open"),
        Shape::Defined(params) => json!(params),
    };
    let images: Value = call.images.iter().map(|image| Value::from(image.reference.as_str())).collect();
    Map::from_iter([
        ("action".to_owned(), json!(call.action)),
        ("classes".to_owned(), json!(call.classes)),
        ("effect".to_owned(), json!(call.effect)),
        ("params".to_owned(), Value::Object(call.params.clone())),
        ("target".to_owned(), json!(call.target)),
        ("images".to_owned(), images),
        ("cost".to_owned(), json!(call.metering.estimate)),
        ("companion".to_owned(), companion),
        ("shape".to_owned(), shape),
    ])
}
