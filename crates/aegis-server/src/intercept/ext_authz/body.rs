//! What a proxy sent of a body, and what that says about the body that it will send on.
//!
//! Invariant: only a body that is there whole, or that is known to be empty, is read. Any other is [`Absent`]: a call whose
//! description needs it is refused with the reason, one that doesn't goes on with the body unread, as a large one does on
//! Aegis's own listeners.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};

use super::stated::Bodies;
use crate::enforce::{AnyBody, BodyError};
use crate::pipeline::Absent;

/// What came.
#[derive(Debug)]
pub(super) enum Sent {
    /// These bytes, and nothing says that they are not all.
    Bytes {
        bytes: Bytes,
        /// Whether the proxy says that they are all. Envoy does.
        whole: bool,
    },
    /// The proxy says that it is a part.
    Part,
    /// A body still to be read, all of what the proxy sends.
    Stream {
        body: AnyBody,
        /// Whether the proxy says that it is all of the original's.
        whole: bool,
    },
}

const PARTIAL: Absent = Absent {
    reason: "partial",
    message: "the proxy sent a part of the body only, and this call can't be judged by a part: send less, or raise what the \
              proxy buffers (Envoy: with_request_body.max_request_bytes)",
};
const NOT_SENT: Absent = Absent {
    reason: "not_sent",
    message: "the proxy didn't send the body, and this call can't be judged without it: have the proxy send bodies and say so \
              (body: sent), or take the call through Aegis's own proxy or a route",
};

/// The body for the pipeline; and its bytes, where they are known already. `length` is the `Content-Length` of the original.
pub(super) fn resolve(sent: Sent, length: Option<&HeaderValue>, bodies: Bodies) -> (AnyBody, Option<Bytes>) {
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let known = match (sent, bodies) {
        // What was sent can't be what is passed on, which is nothing.
        (_, Bodies::Dropped) => Ok(Bytes::new()),
        (Sent::Stream { body, .. }, Bodies::Sent) | (Sent::Stream { body, whole: true }, _) => return (body, None),
        (Sent::Stream { .. }, Bodies::Unknown) => Err(NOT_SENT),
        (Sent::Part, _) => Err(PARTIAL),
        (Sent::Bytes { bytes, .. }, Bodies::Sent) if bytes.is_empty() && length.is_none_or(|length| length == 0) => Ok(bytes),
        (Sent::Bytes { bytes, .. }, _) if bytes.is_empty() && length == Some(0) => Ok(bytes),
        (Sent::Bytes { bytes, .. }, Bodies::Unknown) if bytes.is_empty() => Err(NOT_SENT),
        (Sent::Bytes { bytes, whole }, bodies) => match length {
            Some(length) if length == bytes.len() as u64 => Ok(bytes),
            None if whole || bodies == Bodies::Sent => Ok(bytes),
            _ => Err(PARTIAL),
        },
    };
    match known {
        Ok(bytes) => (Full::new(bytes.clone()).map_err(|never| match never {}).boxed(), Some(bytes)),
        Err(absent) => (missing(absent), None),
    }
}

/// A body whose length isn't known and that breaks when it is read.
struct Missing(Option<Absent>);

impl Body for Missing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(|absent| Err(absent.into())))
    }
}

fn missing(absent: Absent) -> AnyBody {
    Missing(Some(absent)).boxed()
}
