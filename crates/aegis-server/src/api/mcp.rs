//! What MCP servers say of their tools, and an operator's word that it is accepted.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, Body, Params};
use super::{ApiState, OPERATOR};

/// Which tools to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    server: Option<String>,
}

/// Which tools to accept: one, or all of a server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    server: String,
    tool: Option<String>,
}

/// `GET /v1/mcp/tools[?server=NAME]`: every tool that a server has listed, and whether it is what was accepted.
pub(super) async fn tools(State(state): State<ApiState>, Params(asked): Params<Asked>) -> Json<Value> {
    let tools = state.store.mcp_tools(asked.server.as_deref()).into_iter().map(|tool| {
        let mut value = json!(tool);
        if let Some(value) = value.as_object_mut() {
            value.insert("state".to_owned(), tool.state().into());
        }
        value
    });
    Json(json!({"tools": tools.collect::<Vec<_>>()}))
}

/// `POST /v1/mcp/tools/accept`: what was seen last is what is trusted from now on.
pub(super) async fn accept(
    State(state): State<ApiState>,
    Body(accepted): Body<Accepted>,
) -> Result<Json<Value>, ApiError> {
    let Accepted { server, tool } = accepted;
    let tools = state.store.accept_mcp_tools(&server, tool.as_deref(), OPERATOR).await?;
    Ok(Json(json!({"accepted": tools})))
}
