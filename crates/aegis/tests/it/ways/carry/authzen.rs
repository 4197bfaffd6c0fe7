//! The decision API: the call by its name, of an agent that asks for itself and can apply a rewrite.

use serde_json::{Value, json};

use super::super::data::Case;
use super::super::world::{World, agent};
use super::{Way, bearer, run};

pub(super) fn carry(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let call = case.call.as_ref().ok_or("the case has no name for it")?;
    let question = json!({
        "subject": {"type": "agent", "id": agent(way)},
        "action": {"name": "tools/call"},
        "resource": {
            "type": "tool",
            "id": format!("{}/{}", call.tool, call.action),
            "properties": {"arguments": call.params},
        },
        "context": {"supported_obligations": ["custom"]},
    });
    let url = format!("http://{}/access/v1/evaluation", world.gateway.address("api"));
    let sent =
        ["--header", "Content-Type: application/json", "--data-binary", &question.to_string(), &url].map(str::to_owned);
    let answer = run(&[&bearer(world, way)[..], &sent].concat());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
    let said = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    said("/context/evaluation_id").or_else(|| said("/decision_id")).ok_or_else(|| format!("no decision in {answer}"))
}
