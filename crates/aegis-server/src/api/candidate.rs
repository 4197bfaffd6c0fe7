//! The candidate: set, looked at, cleared, promoted.

use std::sync::Arc;

use aegis_core::document::Diagnostic;
use aegis_core::policy::Source;
use aegis_core::shadow::gate::{Requirements, unmet};
use aegis_core::shadow::report::Report;
use aegis_core::shadow::sighting::Source as Watcher;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, Body, problem};
use super::{ApiState, OPERATOR, reports};
use crate::pipeline::Governing;
use crate::versions::{ChangeError, Changed, Publish};

/// The most bytes of policies that are taken at once.
const POLICIES_LIMIT: usize = 32 << 20;

/// How many mistakes a refusal tells in words.
const TOLD: usize = 10;

/// The endpoints.
pub(super) fn routes() -> Router<ApiState> {
    let one = get(show).put(set).delete(clear).layer(DefaultBodyLimit::max(POLICIES_LIMIT));
    Router::new().route("/v1/policies/candidate", one).route("/v1/policies/candidate/promote", post(promote))
}

/// The policies to watch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    sources: Vec<File>,
}

/// One policy file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: String,
    text: String,
}

/// Under which conditions to promote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    #[serde(default)]
    force: bool,
    #[serde(default)]
    requirements: Requirements,
}

fn running(state: &ApiState) -> Result<Arc<Governing>, ApiError> {
    state
        .versions
        .governing()
        .ok_or_else(|| ApiError::conflict("no gateway runs here: a candidate is watched on live calls"))
}

/// The candidate that is watched now beside the version in force, else the one that was watched last.
async fn watcher(state: &ApiState) -> Result<(Option<Watcher>, bool), ApiError> {
    let governing = state.versions.governing();
    let now = governing.and_then(|governing| {
        let version = governing.candidate.as_ref()?.version().to_owned();
        Some(Watcher::Candidate { version, active: governing.active.version().to_owned() })
    });
    match now {
        Some(watcher) => Ok((Some(watcher), true)),
        None => Ok((state.store.last_candidate().await?, false)),
    }
}

/// `GET /v1/policies/candidate`: what was seen of it; `candidate` is null where there was never one.
async fn show(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    let (watcher, watching) = watcher(&state).await?;
    let Some(watcher) = watcher else { return Ok(Json(json!({"watching": false, "report": null}))) };
    let report = reports::of(&state.store, watcher, reports::ALL_DAYS).await?;
    let missing = unmet(&report, &Requirements::default());
    Ok(Json(json!({"watching": watching, "report": report, "unmet": missing})))
}

/// `PUT /v1/policies/candidate`: loads policies as a candidate; the one of before goes.
async fn set(State(state): State<ApiState>, Body(New { sources }): Body<New>) -> Result<Response, ApiError> {
    let active = running(&state)?.active.version().to_owned();
    let sources: Vec<Source> = sources.into_iter().map(|File { file, text }| Source { file, text }).collect();
    let (author, note) = (OPERATOR.to_owned(), String::new());
    let publish = Publish { sources, author, note, risk: None, activate: false };
    match state.versions.watch(publish, OPERATOR).await {
        Ok(Changed { policies, .. }) => {
            let answer = json!({"version": policies.version(), "active": active, "policies": policies.len(), "warnings": policies.warnings()});
            Ok(Json(answer).into_response())
        }
        Err(ChangeError::Invalid(errors)) => Ok(invalid(&errors)),
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /v1/policies/candidate`.
async fn clear(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    running(&state)?.candidate.as_ref().ok_or_else(nothing_watched)?;
    let version = state.versions.unwatch(OPERATOR).await?;
    Ok(Json(json!({"version": version})))
}

/// `POST /v1/policies/candidate/promote`: puts it in force when enough was seen of it, or when that is forced.
async fn promote(State(state): State<ApiState>, Body(asked): Body<Promotion>) -> Result<Response, ApiError> {
    running(&state)?;
    let (Some(watcher), true) = watcher(&state).await? else { return Err(nothing_watched()) };
    let Watcher::Candidate { version, active } = watcher.clone() else { return Err(nothing_watched()) };
    let report = reports::of(&state.store, watcher, reports::ALL_DAYS).await?;
    let missing = unmet(&report, &asked.requirements);
    if !missing.is_empty() && !asked.force {
        return Ok(refused(&version, &report, &missing));
    }
    let forced = !missing.is_empty();
    // What was not met is part of the record: whoever reads it later learns what was known.
    let note = match forced {
        true => format!("instead of {active}, forced: {}", missing.join("; ")),
        false => format!("instead of {active}"),
    };
    state.versions.promote_candidate(&version, forced, note, OPERATOR).await?;
    Ok(Json(json!({"version": version, "before": active, "forced": forced, "unmet": missing})).into_response())
}

fn nothing_watched() -> ApiError {
    ApiError::conflict("no candidate is watched: set one with `aegis policy candidate set`")
}

/// 409: the gate stays shut, and every point that isn't met.
fn refused(version: &str, report: &Report, unmet: &[String]) -> Response {
    let document = json!({
        "type": "https://aegis.dev/problems/promotion-refused",
        "title": "PromotionRefused",
        "status": 409,
        "code": "PromotionRefused",
        "detail": format!("candidate {version} is not promoted: {}", unmet.join("; ")),
        "guidance": "Watch it for longer, allow what it changes, or force it.",
        "retryable": false,
        "unmet": unmet,
        "calls": report.calls,
        "days": report.days,
    });
    problem(StatusCode::CONFLICT, document)
}

/// 422: the first mistakes in the detail, which is what people see, and all of them beside it.
fn invalid(errors: &[Diagnostic]) -> Response {
    let first: Vec<String> = errors.iter().take(TOLD).map(ToString::to_string).collect();
    let more = if errors.len() > TOLD { format!("\nand {} more", errors.len() - TOLD) } else { String::new() };
    let document = json!({
        "type": "https://aegis.dev/problems/policy-invalid",
        "title": "PolicyInvalid",
        "status": 422,
        "code": "PolicyInvalid",
        "detail": format!("these policies are refused, so nothing was changed:\n{}{more}", first.join("\n")),
        "guidance": "Correct the files at the places given.",
        "retryable": false,
        "errors": errors,
    });
    problem(StatusCode::UNPROCESSABLE_ENTITY, document)
}
