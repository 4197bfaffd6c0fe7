//! The rollout reports: what shadow mode let pass, and what a candidate would answer otherwise.

use aegis_core::shadow::report::{Report, Tally};
use aegis_core::shadow::sighting::Source;
use aegis_store::{Store, first_of_last};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;

use super::ApiState;
use super::answer::{ApiError, Params};

/// How far a report goes back, in days, where nothing else is asked for: as far as there are counts.
pub(super) const ALL_DAYS: u32 = 366;

/// What a report is asked for: the last `days` (UTC), today's included; one policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    days: Option<u32>,
    policy: Option<String>,
}

/// `GET /v1/reports/shadow[?days=7&policy=P]`.
pub(super) async fn shadow(
    State(state): State<ApiState>,
    Params(asked): Params<Asked>,
) -> Result<Json<Report>, ApiError> {
    let days = asked.days.unwrap_or(ALL_DAYS);
    if days == 0 {
        return Err(ApiError::bad_request("days counts today as the first: 1 or more"));
    }
    let report = of(&state.store, Source::Shadow, days).await?;
    Ok(Json(match asked.policy {
        Some(policy) => report.about(&policy),
        None => report,
    }))
}

/// What was watched by `source` on the last `days`.
pub(super) async fn of(store: &Store, source: Source, days: u32) -> Result<Report, ApiError> {
    let tally: Tally = store.tally(&source, first_of_last(days, Timestamp::now())).await?;
    Ok(Report::of(source, tally))
}
