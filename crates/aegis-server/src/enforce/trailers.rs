//! Trailers of an answer: gRPC has its status in them.
//!
//! They pass where the upstream speaks HTTP/2, and without the names that no answer brings. Over HTTP/1.1 they are dropped: hardly
//! anybody reads them there, and some merge them into the head, after it was checked. A request's trailers are dropped by
//! `intercept`: gRPC has none, and nothing that describes a call reads them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyError, headers};

/// An answer's body, with the trailers that may pass.
pub(super) struct Trailed {
    inner: Incoming,
    pass: bool,
}

impl Trailed {
    pub(super) fn new(inner: Incoming, pass: bool) -> Self {
        Self { inner, pass }
    }
}

impl Body for Trailed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            match frame.into_trailers() {
                Err(data) => return Poll::Ready(Some(Ok(data))),
                Ok(mut trailers) if self.pass => {
                    headers::strip_connection(&mut trailers);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
