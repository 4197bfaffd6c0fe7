//! What happened: the record, by its numbers and by what it is about.

use std::time::Duration;

use aegis_store::Query;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout_at;

use super::ApiState;
use super::answer::{ApiError, Params};

/// The most records that one answer holds.
const MAX_RECORDS: u32 = 1000;

/// The longest that a reader may wait for something new, in seconds.
const MAX_WAIT: u64 = 60;

/// What a reader asks for. Without `after`: the newest ones. With it: those that follow, and `wait` seconds for the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    after: Option<u64>,
    wait: Option<u64>,
    limit: Option<u32>,
    event: Option<String>,
    agent: Option<String>,
    tool: Option<String>,
    action: Option<String>,
    decision: Option<aegis_core::decide::Verdict>,
    code: Option<aegis_core::problem::Code>,
    decision_id: Option<String>,
    since: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
}

/// `GET /v1/audit`.
pub(super) async fn records(
    State(state): State<ApiState>,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, ApiError> {
    read(&state, asked).await
}

/// `GET /v1/decisions`: the same, decisions only.
pub(super) async fn decisions(
    State(state): State<ApiState>,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, ApiError> {
    if asked.event.as_ref().is_some_and(|event| event != "decision") {
        return Err(ApiError::bad_request("/v1/decisions has decisions only; /v1/audit has the rest"));
    }
    read(&state, Asked { event: Some("decision".to_owned()), ..asked }).await
}

/// Records and `next`, which is the `after` of the request that goes on from here.
async fn read(state: &ApiState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let wait = Duration::from_secs(asked.wait.unwrap_or(0).min(MAX_WAIT));
    if asked.wait.is_some() && asked.after.is_none() {
        return Err(ApiError::bad_request("wait needs after: the number of the last record that you have"));
    }
    let following = asked.after.is_some();
    let query = Query {
        after: asked.after.unwrap_or(0),
        event: asked.event,
        agent: asked.agent,
        tool: asked.tool,
        action: asked.action,
        decision: asked.decision,
        code: asked.code,
        decision_id: asked.decision_id,
        since: asked.since,
        until: asked.until,
        limit: asked.limit.unwrap_or(100).clamp(1, MAX_RECORDS),
    };
    let unfiltered = query == Query { after: query.after, limit: query.limit, ..Query::default() };
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let head = state.store.head();
        // Whoever follows the whole log gets it without a gap; a filter gets the newest matches.
        let records = match following && unfiltered {
            true => state.store.tail(query.after, query.limit).await?,
            false => state.store.query(query.clone()).await?,
        };
        let next = records.last().map_or(head.max(query.after), |record| record.seq);
        let newer = timeout_at(deadline, state.store.wait_for_new(head));
        if !records.is_empty() || wait.is_zero() {
            return Ok(Json(json!({"records": records, "next": next})));
        }
        match newer.await {
            Ok(newest) => drop(newest?),
            Err(_) => return Ok(Json(json!({"records": [], "next": next}))),
        }
    }
}
