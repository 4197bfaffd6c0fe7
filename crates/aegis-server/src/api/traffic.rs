//! The calls that are kept for replay, page by page.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::answer::{ApiError, Params};

/// The most calls that one answer holds.
const MAX_CALLS: u32 = 1000;

/// What a reader asks for: those kept at `since` or later, after the page that said `after`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<u32>,
}

/// `GET /v1/traffic`: oldest first, with the `after` of the next page, or `null` when there is none.
pub(super) async fn calls(
    State(state): State<ApiState>,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, ApiError> {
    let limit = asked.limit.unwrap_or(MAX_CALLS).clamp(1, MAX_CALLS);
    let since = asked.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let page = state.store.kept_calls(since, asked.after.unwrap_or(0), limit).await?;
    Ok(Json(json!({"calls": page.calls, "next": page.next})))
}
