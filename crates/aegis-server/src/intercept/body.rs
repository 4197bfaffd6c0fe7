//! A client's body: data only, never idle for longer than its time, and drained for a moment when nobody reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as WireBody;
use tokio::time::{Sleep, sleep, timeout};

use crate::enforce::{AnyBody, BodyError};

/// How much is read and thrown away of the body of a refused call, and for how long: a client that is still sending would
/// get its connection reset, and never see why.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Nothing came for so long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?}")]
struct Idle(Duration);

struct Guarded {
    inner: Option<WireBody>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// Guards a body.
pub(super) fn guarded(inner: WireBody, idle: Duration) -> AnyBody {
    let ended = inner.is_end_stream();
    Guarded { inner: Some(inner), idle, timer: None, ended }.boxed()
}

impl Guarded {
    fn end<T>(&mut self, item: Option<T>) -> Poll<Option<T>> {
        self.ended = true;
        Poll::Ready(item)
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut().filter(|_| !this.ended) else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.timer = None;
                Poll::Ready(Some(Ok(frame)))
            }
            // Trailers end a body. They are dropped: nothing describes them, so nothing may forward them.
            Poll::Ready(Some(Ok(_)) | None) => this.end(None),
            Poll::Ready(Some(Err(error))) => this.end(Some(Err(error.into()))),
            Poll::Pending => {
                let idle = this.idle;
                ready!(this.timer.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
                this.end(Some(Err(Idle(idle).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().filter(|_| !self.ended).map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(mut rest) = self.inner.take().filter(|rest| !self.ended && !rest.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(timeout(LINGER_TIME, async move {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = rest.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(less) => left = less,
                    None => break,
                }
            }
        }));
    }
}
