//! Step 3: as much of the body as the description needs, then the description.

use std::time::Instant;

use aegis_core::agent::Agent;
use aegis_core::call::{Body, HttpRequest, ToolCall};
use aegis_core::describe::{Answers, Arrival, BodyPlan, Undecoded, Unreadable, without_coding};
use aegis_core::problem::Code;
use aegis_core::session::Session;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::case::{Case, Refused};
use super::incoming::{Absent, Way};
use super::{Pipeline, begun, mcp};
use crate::enforce::{AnyBody, BodyError};

/// The largest body that is read although nothing depends on it, in bytes: so that its call can be approved.
const SMALL: u64 = 256 * 1024;

impl Pipeline {
    /// Describes a call of an agent; the body comes back when it is to be streamed.
    pub(super) async fn describe(
        &self,
        case: &mut Case,
        way: &Way,
        (head, body): (http::request::Parts, AnyBody),
        by: (&Agent, &Session),
    ) -> Result<(ToolCall, Option<AnyBody>), Refused> {
        let limit = self.0.body_limit;
        let Some(arrival) = arrival(way) else {
            return Ok((without_request(case, way, head, body, limit).await?, None));
        };
        let (request, streamed) = request(case, &arrival, head, body, limit).await?;
        let described = case.catalogue.describe_with(&arrival, request, &Answers::default())?;
        Ok((self.learn(case, way, &arrival, by, described).await?, streamed))
    }
}

/// By which way a request came; `None` for what is no plain request.
fn arrival(way: &Way) -> Option<Arrival<'_>> {
    Some(match way {
        Way::Tunnel { .. } | Way::Function { .. } | Way::Mcp(_) => return None,
        Way::Forward { destination } => Arrival::Forward { destination },
        Way::Intercepted { destination, tool, cluster } => {
            Arrival::Intercepted { destination, tool: tool.as_deref(), cluster: cluster.as_deref() }
        }
        Way::Route { name, tool, cluster, upstream } => {
            Arrival::Route { name, tool: tool.as_deref(), cluster: cluster.as_deref(), upstream }
        }
    })
}

/// Describes what is no plain request.
async fn without_request(
    case: &mut Case,
    way: &Way,
    head: http::request::Parts,
    body: AnyBody,
    limit: usize,
) -> Result<ToolCall, Refused> {
    match way {
        Way::Tunnel { destination } => Ok(case.catalogue.describe_tunnel(destination)),
        Way::Function { tool, action, params } => Ok(case.catalogue.describe_function(tool, action, params.clone())),
        Way::Mcp(way) => mcp::describe(case, way, head, body, limit).await,
        Way::Forward { .. } | Way::Intercepted { .. } | Way::Route { .. } => {
            Err(Refused::failed("a request was taken for none"))
        }
    }
}

/// The request with as much of its body as describing it needs; the body itself where it is to be streamed.
async fn request(
    case: &mut Case,
    arrival: &Arrival<'_>,
    mut head: http::request::Parts,
    body: AnyBody,
    limit: usize,
) -> Result<(HttpRequest, Option<AnyBody>), Refused> {
    let small = body.size_hint().exact().is_some_and(|size| size <= SMALL.min(limit as u64));
    let (read, streamed) = match case.catalogue.body_plan(arrival, &head) {
        BodyPlan::Optional if !small => (Body::Streamed, Some(body)),
        BodyPlan::Optional => (Body::Whole(read(case, body, limit).await?), None),
        BodyPlan::Exact => (Body::Whole(read(case, body, limit).await?), None),
        BodyPlan::Beginning(beginning) => {
            let (begun, whole) = begun::begin(case, body, beginning).await?;
            (Body::Begun(begun), Some(whole))
        }
        BodyPlan::Whole => {
            let sent = read(case, body, limit).await?;
            (Body::Whole(uncoded(case, &mut head.headers, sent, limit).await?), None)
        }
    };
    let target = head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    Ok((HttpRequest { method: head.method, target, headers: head.headers, body: read }, streamed))
}

/// The whole body, of at most `limit` bytes.
pub(super) async fn read(case: &mut Case, body: AnyBody, limit: usize) -> Result<Bytes, Refused> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refused::too_large(limit));
    }
    let since = Instant::now();
    let read = collect(case, body, limit).await;
    case.waited_since(since);
    read
}

/// The body without its content coding, where it has one: what is read is what is forwarded.
async fn uncoded(case: &mut Case, headers: &mut HeaderMap, sent: Bytes, limit: usize) -> Result<Bytes, Refused> {
    if !headers.contains_key(CONTENT_ENCODING) {
        return Ok(sent);
    }
    let (mut without, coded) = (headers.clone(), sent.clone());
    // Of its own, because a body of megabytes keeps a thread busy for milliseconds.
    let decoding = tokio::task::spawn_blocking(move || {
        let decoded = without_coding(&mut without, &coded, limit);
        (decoded, without)
    });
    let (decoded, without) = decoding.await.map_err(Refused::failed)?;
    match decoded {
        Ok(None) => Ok(sent),
        Ok(Some(decoded)) => {
            if !case.held.as_mut().is_some_and(|held| held.take(decoded.len())) {
                return Err(Refused::no_room());
            }
            *headers = without;
            Ok(decoded)
        }
        Err(Undecoded::Unreadable(unreadable)) => Err(unreadable.into()),
        Err(Undecoded::TooLarge) => Err(Refused::too_large(limit)),
    }
}

async fn collect(case: &mut Case, mut body: AnyBody, limit: usize) -> Result<Bytes, Refused> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(incomplete)?;
        let data = frame.into_data().unwrap_or_default();
        if data.len() > limit - bytes.len() {
            return Err(Refused::too_large(limit));
        }
        if !case.held.as_mut().is_some_and(|held| held.take(data.len())) {
            return Err(Refused::no_room());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// The body of a call that depends on it broke off, or was never there.
pub(super) fn incomplete(error: BodyError) -> Refused {
    match error.downcast_ref() {
        Some(Absent { reason, message }) => {
            Refused { code: Code::PolicyViolation, reason: format!("body: {reason}"), detail: (*message).to_owned() }
        }
        None => Refused::from(Unreadable {
            reason: "body_incomplete".to_owned(),
            message: format!("the body could not be read to its end: {error}"),
        }),
    }
}
