//! A call that waits for a human: held while its client waits, then told how to go on.
//!
//! Where the client takes a stream, comments keep it open; the answer comes on it. On an answer of the human's the call goes
//! through the pipeline again, from identity to record, so that it is judged by the policies of that moment and runs once.
//!
//! Invariants: a call whose client has gone isn't sent. What a client says that its user answered is no approval: only the
//! store's is.

use std::time::{Duration, Instant};

use aegis_core::mcp::{Kind, Message};
use aegis_core::problem::{Code, Problem};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::review::{event, whole};
use super::{Context, VIA, content_type, finish, is, render};
use crate::answer;
use crate::enforce::{AnyBody, BodyError, Channel};
use crate::identify::Credential;
use crate::pipeline::{EnforcedBy, Handled, Incoming, Pipeline, Way};
use crate::trace::TraceContext;

/// How often a stream says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The name of the one input that is asked for.
const INPUT: &str = "aegis_approval";

type Sender = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

/// What takes a call through the pipeline again.
pub(super) struct Again {
    way: Option<Way>,
    credential: Credential,
    trace: TraceContext,
    head: http::request::Parts,
    enforced_by: EnforcedBy,
}

/// A call that is held.
pub(super) struct Held {
    pub(super) pipeline: Pipeline,
    pub(super) context: Context,
    pub(super) again: Again,
    /// The approval that it waits for.
    pub(super) approval: String,
    pub(super) hold: Duration,
    /// Cancelled when its client has gone.
    pub(super) gone: CancellationToken,
}

impl Again {
    pub(super) fn of(incoming: &Incoming) -> Self {
        let Incoming { way, credential, trace, head, enforced_by, .. } = incoming;
        let way = way.as_ref().ok().cloned();
        let (credential, trace, head) = (credential.clone(), trace.clone(), head.clone());
        Self { way, credential, trace, head, enforced_by: *enforced_by }
    }

    fn incoming(self, message: &Message) -> Option<Incoming> {
        let body = Full::new(Bytes::from(message.to_bytes())).map_err(|never| match never {}).boxed();
        Some(Incoming {
            way: Ok(self.way?),
            via: VIA,
            enforced_by: self.enforced_by,
            fits: None,
            proxied: false,
            credential: self.credential,
            override_token: None,
            trace: self.trace,
            head: self.head,
            body,
            upgrade: None,
        })
    }
}

/// The approval that a refused request waits for.
pub(super) fn waits_for(handled: &Handled, context: &Context) -> Option<String> {
    let Handled::Refused { explanation, .. } = handled else { return None };
    let asks = explanation.code == Some(Code::ApprovalNeeded);
    context.message().filter(|message| asks && message.kind() == Kind::Request)?;
    explanation.approval.as_ref().map(|approval| approval.id.clone())
}

/// What a client is told whose call still waits.
pub(super) fn pending(handled: Handled, context: &Context) -> Response<AnyBody> {
    let asked = asks_user(&handled, context);
    match asked {
        Some(result) => {
            let mut response = render::json(StatusCode::OK, &result);
            answer::stamp(response.headers_mut(), handled.explanation());
            response
        }
        None => render::refused(handled, context),
    }
}

/// The request that a client's user opens the page where the approval is decided; `None` where there is no page, or the client
/// can't.
fn asks_user(handled: &Handled, context: &Context) -> Option<Value> {
    let (message, way) = (context.message()?, context.way.as_ref()?);
    let explanation = handled.explanation();
    let takes = matches!(message.method(), Message::CALL | "prompts/get" | "resources/read");
    let approval = explanation.approval.as_ref().filter(|_| takes && message.is_stateless() && message.opens_urls())?;
    let url = approval.url.as_ref()?;
    let agent = explanation.agent.as_ref()?;
    let state = way.server.state_key().seal(&agent.id, message, Timestamp::now());
    let words = format!("A human has to approve this call ({}): {}", approval.id, explanation.detail);
    Some(json!({"jsonrpc": "2.0", "id": message.id(), "result": {
        "resultType": "input_required",
        "inputRequests": {INPUT: {"method": "elicitation/create", "params": {
            "mode": "url", "message": words, "url": url, "elicitationId": approval.id,
        }}},
        "requestState": state,
    }}))
}

impl Held {
    /// Holds the call, and answers it.
    pub(super) async fn answer(self, first: Handled, streams: bool) -> Response<AnyBody> {
        if !streams {
            return self.ended(first).await.unwrap_or_else(|| {
                answer::undecided(StatusCode::SERVICE_UNAVAILABLE, "The client of a held call has gone.")
            });
        }
        // From here on the client is there as long as its stream is; the head of its answer is about to be sent.
        let held = Self { gone: CancellationToken::new(), ..self };
        let (sender, receiver) = mpsc::channel(1);
        let mut response = Response::new(Channel(receiver).boxed());
        answer::stamp(response.headers_mut(), first.explanation());
        for (name, value) in [
            (CONTENT_TYPE, "text/event-stream"),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        tokio::spawn(held.stream(first, sender));
        response
    }

    /// The answer, at the end of the hold at the latest; `None` when its client has gone before it was sent.
    async fn ended(self, first: Handled) -> Option<Response<AnyBody>> {
        let Self { pipeline, context, again, approval, hold, gone } = self;
        let decided = tokio::select! {
            decided = pipeline.store().approval_after(&approval, hold) => decided,
            () = gone.cancelled() => return None,
        };
        let is_open = match decided {
            Ok(approval) => approval.state == aegis_core::approval::State::Pending,
            Err(error) => {
                tracing::error!(%error, "an approval could not be waited for");
                true
            }
        };
        if is_open {
            return Some(pending(first, &context));
        }
        let message = context.message()?.clone();
        let incoming = again.incoming(&message)?;
        let handled = pipeline.handle(incoming).await;
        Some(match waits_for(&handled, &context) {
            Some(_) => pending(handled, &context),
            None => finish(&pipeline, handled, &context).await,
        })
    }

    async fn stream(self, first: Handled, sender: Sender) {
        let Self { approval, gone, .. } = &self;
        let (comment, gone) = (Bytes::from(format!(": waiting for {approval}\n\n")), gone.clone());
        let limit = self.pipeline.message_limit();
        let id = self.context.message().and_then(Message::id).cloned();
        let mut ended = std::pin::pin!(self.ended(first));
        let mut since = Instant::now();
        let response = loop {
            tokio::select! {
                response = &mut ended => break response,
                () = sender.closed() => {
                    // Until it is sent on, nothing was; from then on it runs to its end, whoever listens.
                    gone.cancel();
                    let _ = (&mut ended).await;
                    return;
                }
                () = tokio::time::sleep(KEEP_ALIVE.saturating_sub(since.elapsed())) => {
                    since = Instant::now();
                    let _ = sender.send(Ok(Frame::data(comment.clone()))).await;
                }
            }
        };
        if let Some(response) = response {
            pass_on(response, &sender, limit, id.as_ref()).await;
        }
    }
}

/// An answer, as events of a stream that has begun.
async fn pass_on(response: Response<AnyBody>, sender: &Sender, limit: usize, id: Option<&Value>) {
    let streams = is(content_type(response.headers()), "text/event-stream");
    let mut body = response.into_body();
    if streams {
        while let Some(frame) = body.frame().await {
            let broken = frame.is_err();
            if sender.send(frame).await.is_err() || broken {
                return;
            }
        }
        return;
    }
    let bytes = whole(body, limit).await;
    let message = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let message = message.unwrap_or_else(|| render::unshown(id, "the server's answer is no message"));
    // A client that has gone hears nothing.
    let _ = sender.send(Ok(Frame::data(event(&message)))).await;
}

/// The words that go with a call that waits, for a model.
pub(super) fn words(problem: &Problem) -> Option<String> {
    let approval = problem.approval.as_ref().filter(|_| problem.code == Code::ApprovalNeeded)?;
    Some(format!(" Approval {} is pending: repeat this exact call once it is given.", approval.id))
}
