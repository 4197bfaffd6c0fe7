//! An MCP server's tool that the operator maps to the action: `tools/call` with the parameters as its arguments.

use serde_json::{Value, json};

use super::super::data::Case;
use super::super::world::{Arrived, World};
use super::{Way, bearer, decision_of, run};

pub(super) fn carry(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let call = case.call.as_ref().ok_or("the case has no name for it")?;
    let params = json!({"name": call.action, "arguments": call.params});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let url = format!("http://{}/mcp/it", world.gateway.address("proxy"));
    let headers = ["Content-Type: application/json", "Accept: application/json, text/event-stream"];
    let headers = headers.into_iter().chain(["MCP-Protocol-Version: 2025-11-25"]).flat_map(|line| ["--header", line]);
    let sent = ["--data-binary", &message, &url];
    let arguments = headers.chain(sent).map(str::to_owned).chain(bearer(world, way)).collect::<Vec<_>>();
    decision_of(&run(&arguments))
}

/// The server got the call, with the arguments that were decided.
pub(super) fn reached(arrived: &Arrived, case: &Case, body: &str) {
    let message: Value = serde_json::from_str(&arrived.body).unwrap_or_else(|error| panic!("{error}: {arrived:?}"));
    let call = case.call.as_ref().expect("it was carried by its name");
    assert_eq!((&message["method"], &message["params"]["name"]), (&"tools/call".into(), &call.action.as_str().into()));
    let mut expected = Value::Object(call.params.clone());
    if case.reaches.is_some() {
        expected = serde_json::from_str(body).expect("the body that reaches the tool is JSON");
    }
    assert_eq!(message["params"]["arguments"], expected, "{}", case.case);
}
