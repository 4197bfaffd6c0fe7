//! What a tool answers over HTTP, looked through where a policy says so (`sanitize: {results}`), before the agent sees it.
//!
//! JSON is read whole, up to the largest body that is read; a stream of events event by event; any other text goes on line by line.
//! What can't be read is refused, or passes where the policy says so. The tool was told to send neither a coding nor a part.

use std::collections::BTreeSet;

use aegis_core::call::{Payload, ToolCall};
use aegis_core::decide::Explanation;
use aegis_core::policy::{Asked, PolicySet};
use aegis_core::sanitize::{Answers, Redactor};
use aegis_core::session::Session;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use http::{HeaderName, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::enforce::{AnyBody, BodyError, Channel, Failure};
use crate::sse::Events;

/// How many frames wait for a client that reads slowly.
const WAITING: usize = 16;

/// What is looked for in the answer to a call. MCP's answers are looked through by its own adapter.
pub(super) fn wanted(policies: &PolicySet, call: &ToolCall, explanation: &Explanation, now: Timestamp) -> Answers {
    match (&call.payload, &explanation.agent) {
        (Payload::Http(_), Some(agent)) => {
            policies.redacted_answers(Asked { agent, call, now, session: &Session::default() })
        }
        _ => Answers::default(),
    }
}

/// The answer as the agent may see it.
///
/// # Errors
/// Why it can't be shown.
pub(super) async fn reviewed(
    response: Response<AnyBody>,
    answers: Answers,
    limit: usize,
    decision_id: &str,
) -> Result<Response<AnyBody>, Failure> {
    if answers.is_empty() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let review = Review { answers, limit, decision_id: decision_id.to_owned() };
    let (mut head, body) = response.into_parts();
    review.headers(&mut head.headers);
    if body.is_end_stream() {
        return Ok(Response::from_parts(head, body));
    }
    let coded = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let form = if coded { Form::Unreadable } else { form(kind) };
    if form == Form::Unreadable {
        let why = if coded { "is compressed" } else { "is no text" };
        return if review.answers.pass_unreadable() {
            Ok(Response::from_parts(head, body))
        } else {
            Err(unshown(&format!("it {why}")))
        };
    }
    for name in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    let body = match form {
        Form::Json => review.whole(body).await?,
        Form::Events => review.stream(body, Reader::Events),
        _ => review.stream(body, Reader::Text),
    };
    Ok(Response::from_parts(head, body))
}

fn unshown(why: &str) -> Failure {
    Failure::Unreachable(format!("the tool's answer has to be looked through for what must not leave, and {why}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Events,
    Text,
    Unreadable,
}

fn form(kind: &str) -> Form {
    let mut parts = kind.split(';');
    let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| part.trim().to_ascii_lowercase().strip_prefix("charset=").map(str::to_owned));
    let plain = charset.is_none_or(|set| matches!(set.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    match media_type.as_str() {
        _ if !plain => Form::Unreadable,
        "application/json" => Form::Json,
        "text/event-stream" => Form::Events,
        "application/x-ndjson"
        | "application/jsonl"
        | "application/yaml"
        | "application/xml"
        | "application/javascript" => Form::Text,
        other if other.ends_with("+json") => Form::Json,
        other if other.starts_with("text/") || other.ends_with("+xml") || other.ends_with("+yaml") => Form::Text,
        _ => Form::Unreadable,
    }
}

enum Reader {
    Events,
    Text,
}

struct Review {
    answers: Answers,
    limit: usize,
    decision_id: String,
}

/// What frames the answer, and what is no text of the tool's.
fn stays(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "date"
            | "server"
            | "set-cookie"
            | "transfer-encoding"
            | "vary"
    )
}

impl Review {
    fn headers(&self, headers: &mut HeaderMap) {
        let mut found = BTreeSet::new();
        let mut gone = Vec::new();
        for (name, value) in headers.iter_mut().filter(|(name, _)| !stays(name)) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if let Some(clean) = self.answers.text(&text, &mut found) {
                match HeaderValue::from_str(&clean) {
                    Ok(clean) => *value = clean,
                    Err(_) => gone.push(name.clone()),
                }
            }
        }
        gone.into_iter().for_each(|name| {
            headers.remove(name);
        });
        self.tell(&found);
    }

    fn tell(&self, found: &BTreeSet<String>) {
        if !found.is_empty() {
            let kinds: Vec<&str> = found.iter().map(String::as_str).collect();
            tracing::info!(decision_id = self.decision_id, kinds = kinds.join(","), "an answer was redacted");
        }
    }

    /// A JSON body, redacted value by value.
    async fn whole(&self, mut body: AnyBody) -> Result<AnyBody, Failure> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::Unreachable(format!("the tool's answer broke off: {error}")))?;
            let data = frame.into_data().unwrap_or_default();
            if data.len() > self.limit.saturating_sub(bytes.len()) {
                return Err(unshown("it is too large"));
            }
            bytes.extend_from_slice(&data);
        }
        let bytes = bytes.freeze();
        let Some(text) = self.json(&bytes) else { return Err(unshown("it isn't the JSON that it says it is")) };
        Ok(full(text.map_or(bytes, Bytes::from)))
    }

    /// A JSON text, redacted; within `None` where nothing changes, `None` where it is no JSON.
    fn json(&self, bytes: &[u8]) -> Option<Option<String>> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Some(None);
        }
        // A key that stands twice would be one thing here and another for its reader.
        let mut value: Value = aegis_core::mcp::answers::read(bytes).ok()?;
        let mut found = BTreeSet::new();
        self.answers.value(&mut value, &mut found);
        self.tell(&found);
        Some((!found.is_empty()).then(|| value.to_string()))
    }

    /// A body that goes on as it comes.
    fn stream(self, mut body: AnyBody, reader: Reader) -> AnyBody {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut reading = match reader {
                Reader::Events => Reading::Events(Events::new(self.limit)),
                Reader::Text => Reading::Text { redactor: Redactor::new(&self.answers), rest: Vec::new() },
            };
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = sender.closed() => return,
                };
                let (passed, ended) = match frame {
                    None => (self.finish(&mut reading), true),
                    Some(Err(error)) => (Err(error), true),
                    Some(Ok(frame)) => (self.push(&mut reading, &frame.into_data().unwrap_or_default()), false),
                };
                let broken = passed.is_err();
                if passed.as_ref().is_ok_and(Bytes::is_empty) && !ended {
                    continue;
                }
                if sender.send(passed.map(Frame::data)).await.is_err() || broken || ended {
                    return;
                }
            }
        });
        Channel(receiver).boxed()
    }

    fn push(&self, reading: &mut Reading<'_>, bytes: &[u8]) -> Result<Bytes, BodyError> {
        match reading {
            Reading::Events(events) => self.events(events, bytes),
            Reading::Text { redactor, rest } => {
                rest.extend_from_slice(bytes);
                let whole = match std::str::from_utf8(rest) {
                    Ok(_) => rest.len(),
                    // A letter that isn't whole yet waits for its end.
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    Err(_) => return Err("the tool's answer is no UTF-8, so it can't be looked through".into()),
                };
                let tail = rest.split_off(whole);
                let text = String::from_utf8(std::mem::replace(rest, tail))?;
                Ok(redactor.push(&text).into())
            }
        }
    }

    fn finish<'a>(&'a self, reading: &mut Reading<'a>) -> Result<Bytes, BodyError> {
        match reading {
            Reading::Events(_) => Ok(Bytes::new()),
            Reading::Text { rest, .. } if !rest.is_empty() => Err("the tool's answer ends within a letter".into()),
            Reading::Text { redactor, .. } => {
                let (text, found) = std::mem::replace(redactor, Redactor::new(&self.answers)).finish();
                self.tell(&found);
                Ok(text.into())
            }
        }
    }

    fn events(&self, events: &mut Events, bytes: &[u8]) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::new();
        for event in events.push(bytes)? {
            let mut found = BTreeSet::new();
            let data = event.data().map(String::from_utf8).transpose()?;
            let changed = data.as_deref().and_then(|data| match self.json(data.as_bytes()) {
                Some(changed) => changed,
                None => self.answers.text(data, &mut found),
            });
            // Names, ids and comments can't be told anew one by one.
            let others: Vec<u8> = event
                .0
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.starts_with(b"data"))
                .collect::<Vec<_>>()
                .join(&b'\n');
            if self.answers.text(&String::from_utf8_lossy(&others), &mut found).is_some() {
                return Err("an event's name or comment holds what must not leave".into());
            }
            self.tell(&found);
            match changed {
                Some(changed) => out.extend_from_slice(&event.saying(&changed)),
                None => out.extend_from_slice(&event.0),
            }
        }
        Ok(out.freeze())
    }
}

enum Reading<'a> {
    Events(Events),
    Text { redactor: Redactor<'a>, rest: Vec<u8> },
}

fn full(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
