//! A server that runs where the agent is, behind `aegis mcp`: its messages are decided here and handed to the bridge, which keeps
//! the pipes. What the server says comes here too before the agent's client gets it.
//!
//! Invariants: what a bridge is told to hand on is on record before; a server's answer that can't be looked through isn't handed
//! back; what an agent brings as its server's word is looked through for that agent alone, and only where it may use the server. Deliberately absent: any belief that the agent runs the bridge and nothing beside it; where that matters, the server
//! belongs behind an address of its own.

use aegis_core::agent::Agent;
use aegis_core::call::{Body, HttpRequest, Payload, ToolCall};
use aegis_core::mcp::Message;
use aegis_core::policy::Asked;
use aegis_core::session::Session;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use serde_json::Value;

use super::review::{Review, whole};
use super::{Context, render};
use crate::answer;
use crate::enforce::AnyBody;
use crate::pipeline::{Incoming, Pipeline};

/// What a bridge says about what it sends, and we about what it gets.
const BRIDGE: HeaderName = HeaderName::from_static("aegis-mcp");
/// It brings what the server said, to be looked through.
const SAID: &str = "said";
/// The answer's body is the message to hand to the server.
const FORWARD: &str = "forward";

/// Whether a bridge brings what its server said.
pub(super) fn brings_answer(headers: &HeaderMap) -> bool {
    headers.get(BRIDGE).is_some_and(|value| value == SAID)
}

/// The message to hand to the server.
pub(super) fn forward(call: ToolCall) -> Response<AnyBody> {
    let Payload::Mcp(mcp) = call.payload else {
        return answer::undecided(StatusCode::SERVICE_UNAVAILABLE, "The gateway failed to decide this message.");
    };
    let bytes = match mcp.request.body {
        Body::Whole(bytes) => bytes,
        Body::Begun(_) | Body::Streamed => Bytes::new(),
    };
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(BRIDGE, HeaderValue::from_static(FORWARD));
    response
}

/// Looks through what a server said: `{"request": …, "said": …}`, the request being what it answers, if it answers one.
pub(super) async fn said(pipeline: &Pipeline, incoming: Incoming, mut context: Context) -> Response<AnyBody> {
    let Some(agent) = pipeline.agent_of(&incoming.credential) else {
        // Refused, recorded and answered like any other call without an identity.
        return render::refused(pipeline.handle(incoming).await, &context);
    };
    if !may_use(pipeline, &agent, &context) {
        let why = "nothing of this server is granted to this agent";
        return render::json(StatusCode::FORBIDDEN, &render::unshown(None, why));
    }
    let cannot = |why: &str| render::json(StatusCode::BAD_REQUEST, &render::unshown(None, why));
    let Some(bytes) = whole(incoming.body, pipeline.message_limit().saturating_mul(2)).await else {
        return cannot("what the server said is too large to be looked through");
    };
    let read: Option<Value> = aegis_core::mcp::answers::read(&bytes).ok();
    let Some(Value::Object(mut parts)) = read else { return cannot("what the server said can't be read") };
    let (request, said) = (parts.remove("request"), parts.remove("said").unwrap_or_default());
    if let (Some(request), Some(way)) = (request.filter(|request| !request.is_null()), &mut context.way) {
        let Ok(message) = Message::of(request) else { return cannot("the request can't be read") };
        way.seen.get_or_init(|| message);
    }
    let text = said.to_string();
    let shown = match Review::of(pipeline, "", &agent, &context) {
        None => Ok(None),
        Some(review) => review.bytes(text.as_bytes()).await,
    };
    match shown {
        Ok(changed) => render::text(StatusCode::OK, changed.unwrap_or(text)),
        Err(why) => render::json(StatusCode::BAD_GATEWAY, &render::unshown(said.get("id"), &why)),
    }
}

/// Whether anything of the server is granted to an agent.
fn may_use(pipeline: &Pipeline, agent: &Agent, context: &Context) -> bool {
    let Some(way) = &context.way else { return false };
    let (policies, catalogue) = pipeline.view_of(agent);
    let (headers, body) = (HeaderMap::new(), Body::Whole(Bytes::new()));
    let target = way.server.settings().path.clone();
    // What comes with any grant.
    let stream = HttpRequest { method: Method::GET, target, headers, body };
    let session = Session::default();
    catalogue
        .describe_mcp(way.server.server(), None, stream, None)
        .is_ok_and(|call| policies.may_call(Asked { agent, call: &call, now: Timestamp::now(), session: &session }))
}
