//! What a server sends back, looked through before its client sees it: lists hold what the agent may use, tools that aren't what
//! they were are hidden, and what policy wants redacted is.
//!
//! Invariants: an answer that has to be looked through and can't be (compressed, too large, no JSON) is not shown. A list is
//! noted, on disk, before it is shown. Answers that nothing has to be done to are passed on as they come.

use std::sync::Arc;

use aegis_core::agent::Agent;
use aegis_core::decide::Explanation;
use aegis_core::describe::Catalogue;
use aegis_core::mcp::answers::{self, Listed};
use aegis_core::mcp::tools::Definition;
use aegis_core::mcp::{Message, headers};
use aegis_core::policy::{Asked, PolicySet};
use aegis_core::sanitize::Answers;
use aegis_core::session::Session;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{Method, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Context, content_type, is, render};
use crate::enforce::{AnyBody, BodyError, Channel};
use crate::mcp::McpServer;
use crate::pipeline::Pipeline;
use crate::sse::{self, Events};

/// How many events wait for a client that reads slowly.
const WAITING: usize = 16;

/// What is done to the answers of one request.
pub(super) struct Review {
    server: Arc<McpServer>,
    agent: Agent,
    policies: Arc<PolicySet>,
    catalogue: Arc<Catalogue>,
    redacts: Answers,
    /// Whether lists may be among them.
    lists: bool,
    limit: usize,
    decision_id: String,
}

/// The answer as the client may see it.
pub(super) async fn reviewed(
    pipeline: &Pipeline,
    explanation: &Explanation,
    response: Response<AnyBody>,
    context: &Context,
) -> Response<AnyBody> {
    let (Some(way), Some(agent)) = (&context.way, &explanation.agent) else { return response };
    sessions(&way.server, agent, &response, context);
    let Some(review) = Review::of(pipeline, &explanation.decision_id, agent, context) else { return response };
    if response.headers().contains_key(CONTENT_ENCODING) {
        return cannot(context, "the server's answer is compressed, and it has to be looked through");
    }
    let kind = content_type(response.headers());
    if is(kind, "text/event-stream") {
        return review.stream(response);
    }
    let (mut head, body) = response.into_parts();
    if body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    let Some(bytes) = whole(body, review.limit).await else {
        return cannot(context, "the server's answer broke off, or it is too large to be looked through");
    };
    if bytes.is_empty() || (!head.status.is_success() && serde_json::from_slice::<Value>(&bytes).is_err()) {
        if !review.redacts.is_empty() && !bytes.is_empty() {
            // The status says that it failed; its words can't be looked through.
            for name in [CONTENT_LENGTH, CONTENT_TYPE, ETAG] {
                head.headers.remove(name);
            }
            return Response::from_parts(head, full(Bytes::new()));
        }
        return Response::from_parts(head, full(bytes));
    }
    match review.bytes(&bytes).await {
        Ok(None) => Response::from_parts(head, full(bytes)),
        Ok(Some(changed)) => {
            for name in [CONTENT_LENGTH, ETAG] {
                head.headers.remove(name);
            }
            Response::from_parts(head, full(Bytes::from(changed)))
        }
        Err(why) => cannot(context, &why),
    }
}

/// Whose session is opened or ended by what was just answered.
fn sessions(server: &McpServer, agent: &Agent, response: &Response<AnyBody>, context: &Context) {
    let opened = response.headers().get(headers::SESSION_ID).and_then(|id| id.to_str().ok());
    let opens = context.message().is_some_and(|message| message.method() == Message::INITIALIZE);
    match (opened, context.way.as_ref().and_then(|way| way.session.as_deref())) {
        (Some(id), _) if opens && response.status().is_success() => server.opened(id, &agent.id),
        (_, Some(id)) if context.method == Method::DELETE && response.status().is_success() => server.ended(id),
        _ => {}
    }
}

fn cannot(context: &Context, why: &str) -> Response<AnyBody> {
    let id = context.message().and_then(Message::id);
    render::json(StatusCode::BAD_GATEWAY, &render::unshown(id, why))
}

fn full(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

pub(super) async fn whole(mut body: AnyBody, limit: usize) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        if data.len() > limit.saturating_sub(bytes.len()) {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes.freeze())
}

impl Review {
    /// `None` where nothing has to be done.
    pub(super) fn of(pipeline: &Pipeline, decision_id: &str, agent: &Agent, context: &Context) -> Option<Self> {
        let way = context.way.as_ref()?;
        let (policies, catalogue) = pipeline.view_of(agent);
        let message = context.message();
        let method = message.map(Message::method).unwrap_or_default();
        // A stream may bring the answer to anything that was asked in its session.
        let lists = message.is_none() || method.ends_with("/list") || method == "subscriptions/listen";
        let redacts = match message {
            Some(message) if method == Message::CALL => {
                let call = catalogue.possible_mcp_tool(way.server.server(), message.name().unwrap_or_default());
                let session = Session::default();
                policies.redacted_answers(Asked { agent, call: &call, now: Timestamp::now(), session: &session })
            }
            _ => policies.redacted_anywhere(agent),
        };
        (lists || !redacts.is_empty()).then(|| Self {
            server: Arc::clone(&way.server),
            agent: agent.clone(),
            policies,
            catalogue,
            redacts,
            lists,
            limit: pipeline.message_limit(),
            decision_id: decision_id.to_owned(),
        })
    }

    /// One message, changed; `None` where it isn't.
    ///
    /// # Errors
    /// Why it may not be shown.
    pub(super) async fn bytes(&self, bytes: &[u8]) -> Result<Option<String>, String> {
        let mut value = answers::read(bytes).map_err(|why| format!("the server's answer can't be read: {why}"))?;
        let mut changed = false;
        if self.lists {
            let tools = answers::lists(&value).filter(|(listed, _)| *listed == Listed::Tools);
            let definitions: Vec<Definition> =
                tools.flat_map(|(_, tools)| tools).filter_map(Definition::read).collect();
            if !definitions.is_empty() {
                let noted = self.server.see(&self.agent, &definitions).await;
                noted.map_err(|error| {
                    tracing::error!(%error, "a list of tools could not be noted");
                    "the list of tools can't be noted, so it isn't shown".to_owned()
                })?;
            }
            changed |= answers::filter(&mut value, |listed, item| self.shows(listed, item));
        }
        let found = answers::redact(&mut value, &self.redacts);
        if !found.is_empty() {
            let kinds: Vec<String> = found.into_iter().collect();
            tracing::info!(decision_id = self.decision_id, kinds = kinds.join(","), "an answer was redacted");
            changed = true;
        }
        Ok(changed.then(|| value.to_string()))
    }

    /// Whether an element of a list is for this agent.
    fn shows(&self, listed: Listed, item: &Value) -> bool {
        let server = self.server.server();
        let call = match listed {
            Listed::Tools => {
                let Some(definition) = Definition::read(item) else { return false };
                if let Some(why) = self.server.distrusted(&self.agent, &definition) {
                    tracing::warn!(
                        server = server.name,
                        tool = definition.name,
                        reason = why.reason,
                        "a tool is hidden"
                    );
                    return false;
                }
                self.catalogue.possible_mcp_tool(server, &definition.name)
            }
            Listed::Prompts => self.catalogue.possible_mcp_method(server, "prompts/get"),
            Listed::Resources | Listed::Templates => self.catalogue.possible_mcp_method(server, "resources/read"),
        };
        let session = Session::default();
        self.policies.may_call(Asked { agent: &self.agent, call: &call, now: Timestamp::now(), session: &session })
    }

    /// A stream of events, each looked through before it goes on.
    fn stream(self, response: Response<AnyBody>) -> Response<AnyBody> {
        let (mut head, mut body) = response.into_parts();
        head.headers.remove(CONTENT_LENGTH);
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut events = Events::new(self.limit);
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = sender.closed() => return,
                };
                let passed = match frame {
                    None => return,
                    Some(Err(error)) => Err(error),
                    Some(Ok(frame)) => self.events(&mut events, &frame.into_data().unwrap_or_default()).await,
                };
                let broken = passed.is_err();
                if sender.send(passed.map(Frame::data)).await.is_err() || broken {
                    return;
                }
            }
        });
        Response::from_parts(head, Channel(receiver).boxed())
    }

    async fn events(&self, events: &mut Events, bytes: &[u8]) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::new();
        for event in events.push(bytes)? {
            let Some(data) = event.data().filter(|data| !data.is_empty()) else {
                out.extend_from_slice(&event.0);
                continue;
            };
            match self.bytes(&data).await {
                Ok(None) => out.extend_from_slice(&event.0),
                Ok(Some(changed)) => out.extend_from_slice(&event.saying(&changed)),
                Err(why) => return Err(why.into()),
            }
        }
        Ok(out.freeze())
    }
}

/// An event that holds a message.
pub(super) fn event(message: &Value) -> Bytes {
    sse::said(&message.to_string())
}
