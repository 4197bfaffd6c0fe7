//! `GET /openapi.json`: the endpoints that agents and programs of others use, as OpenAPI 3.1. `api/openapi.json` is this document,
//! committed; a test holds the two, and the router, together.
//!
//! Deliberately absent: the operators' endpoints, which the command line speaks to.

use axum::Json;
use serde_json::{Value, json};

/// The endpoint.
pub(super) async fn show() -> Json<Value> {
    Json(document())
}

/// The document.
pub(super) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Aegis for agents",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Decisions for callers that enforce (OpenID AuthZEN 1.0), and the tokens that they need. \
                docs/decision-api.md is the guide.",
        },
        "paths": {
            "/access/v1/evaluation": {"post": decides("May this call be made?", "Evaluation", "Decision")},
            "/access/v1/evaluations": {"post": decides("The same for several, in their order.", "Evaluations", "Decisions")},
            "/access/v1/requests": {"post": submission()},
            "/access/v1/requests/{id}": {"get": status()},
            "/.well-known/authzen-configuration": {"get": public("Where the decision API's endpoints are.")},
            "/.well-known/jwks.json": {"get": public("The keys that tokens are signed with (RFC 7517).")},
            "/oauth2/token": {"post": token()},
            "/healthz": {"get": public("The process answers.")},
            "/readyz": {"get": public("It can decide and record; 503 where it can't.")},
            "/openapi.json": {"get": public("This document.")},
        },
        "components": {
            "securitySchemes": {"agent": {"type": "http", "scheme": "bearer", "bearerFormat": "at+jwt"}},
            "schemas": schemas(),
        },
    })
}

fn decides(summary: &str, asked: &str, answered: &str) -> Value {
    json!({
        "summary": summary,
        "security": [{"agent": []}],
        "requestBody": body(asked),
        "responses": responses(&[("200", "Decided: `decision` says how.", answered)], &["400", "401", "413", "503"]),
    })
}

fn submission() -> Value {
    let key = json!({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 256}});
    json!({
        "summary": "The handle of the task that a denial with `access_request` opened.",
        "security": [{"agent": []}],
        "parameters": [key],
        "requestBody": body("Submission"),
        "responses": responses(
            &[("202", "A human has yet to decide.", "Task"), ("201", "It is decided.", "Task")],
            &["400", "401", "404", "409", "410", "413", "503"],
        ),
    })
}

fn status() -> Value {
    json!({
        "summary": "How a task stands; held until it is decided, for up to `wait` seconds.",
        "security": [{"agent": []}],
        "parameters": [
            {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}},
            {"name": "wait", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 60}},
        ],
        "responses": responses(&[("200", "How it stands.", "Task")], &["400", "401", "404", "503"]),
    })
}

fn token() -> Value {
    let form = json!({"schema": {"type": "object", "required": ["grant_type"], "properties": {
        "grant_type": {"const": "client_credentials"},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
    }}});
    json!({
        "summary": "A token for an agent's API key (RFC 6749, section 4.4).",
        "requestBody": {"required": true, "content": {"application/x-www-form-urlencoded": form}},
        "responses": {
            "200": {"description": "`access_token`, `token_type`, `expires_in`.", "content": {"application/json": {}}},
            "400": {"description": "Another grant, or malformed.", "content": {"application/json": {}}},
            "401": {"description": "The key isn't valid.", "content": {"application/json": {}}},
        },
    })
}

fn public(summary: &str) -> Value {
    json!({"summary": summary, "responses": {"200": {"description": "JSON.", "content": {"application/json": {}}}}})
}

fn body(schema: &str) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}})
}

fn responses(good: &[(&str, &str, &str)], problems: &[&str]) -> Value {
    let good = good.iter().map(|(status, description, schema)| {
        let content = json!({"application/json": {"schema": reference(schema)}});
        ((*status).to_owned(), json!({"description": description, "content": content}))
    });
    let problem = json!({"application/problem+json": {"schema": reference("Problem")}});
    let problems = problems
        .iter()
        .map(|status| ((*status).to_owned(), json!({"description": "A problem (RFC 9457).", "content": problem})));
    Value::Object(good.chain(problems).collect())
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn schemas() -> Value {
    let object = json!({"type": "object"});
    let entity = json!({"type": "object", "required": ["type", "id"], "properties": {
        "type": {"type": "string"}, "id": {"type": "string"}, "properties": object,
    }});
    let action = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "properties": object,
    }});
    let parts = json!({
        "subject": reference("Entity"), "action": reference("Action"), "resource": reference("Entity"), "context": object,
    });
    let with = |name: &str, schema: Value| {
        let mut parts = parts.clone();
        if let Value::Object(parts) = &mut parts {
            parts.insert(name.to_owned(), schema);
        }
        parts
    };
    let denial = json!({"type": "object", "required": ["binding_token", "expires_at"], "properties": {
        "binding_token": {"type": "string"}, "expires_at": {"type": "string", "format": "date-time"},
        "evaluation_id": {"type": "string"},
    }});
    let task = json!({"type": "object", "required": ["id", "status", "status_endpoint"], "properties": {
        "id": {"type": "string"}, "status_endpoint": {"type": "string", "format": "uri"},
        "status": {"enum": ["pending", "approved", "denied", "cancelled", "expired"]},
        "expires_at": {"type": "string", "format": "date-time"}, "approval": object, "comment": {"type": "string"},
    }});
    let required = ["subject", "action", "resource"];
    json!({
        "Entity": entity,
        "Action": action,
        "Evaluation": {"type": "object", "required": required, "properties": parts},
        "Evaluations": {"type": "object", "properties": with(
            "evaluations",
            json!({"type": "array", "maxItems": aegis_core::authzen::MOST_EVALUATIONS, "items": object}),
        )},
        "Decision": {"type": "object", "required": ["decision"], "properties": {
            "decision": {"type": "boolean"}, "context": object,
        }},
        "Decisions": {"type": "object", "properties": {
            "evaluations": {"type": "array", "items": reference("Decision")},
        }},
        "Submission": {"type": "object", "required": ["subject", "action", "resource", "denial"], "properties": with(
            "denial",
            denial,
        )},
        "Task": {"type": "object", "required": ["task"], "properties": {"task": task, "result": object}},
        "Problem": {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string"}, "code": {"type": "string"}, "guidance": {"type": "string"},
            "retryable": {"type": "boolean"},
        }},
    })
}
