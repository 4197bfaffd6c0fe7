//! A client's body: data only, never idle for longer than its time, never slower than its rate, and drained for a moment when
//! nobody reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as WireBody;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::enforce::{AnyBody, BodyError};

/// How much is read and thrown away of the body of a refused call, and for how long: a client that is still sending would
/// get its connection reset, and never see why.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Nothing came for so long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?}")]
struct Idle(Duration);

/// It comes too slowly.
#[derive(Debug, thiserror::Error)]
#[error("it comes at less than {0} bytes a second")]
struct Slow(u32);

/// What a client's body has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long it may pause; also how long it may stay below its rate.
    pub idle: Duration,
    /// How many bytes have to come each second, over all the time that is waited for it. 0: any.
    pub rate: u32,
}

struct Guarded {
    inner: Option<WireBody>,
    pace: Pace,
    /// The client sends nothing before it is told to go on, which reading does.
    expects: bool,
    /// Since when the client is waited for.
    waiting: Option<Instant>,
    waited: Duration,
    came: u64,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// Guards a body.
pub(super) fn guarded(inner: WireBody, pace: Pace, expects: bool) -> AnyBody {
    let ended = inner.is_end_stream();
    let (waiting, waited, came) = (None, Duration::ZERO, 0);
    Guarded { inner: Some(inner), pace, expects, waiting, waited, came, timer: None, ended }.boxed()
}

impl Guarded {
    /// Counts what came, and whether that was too little for the time that it took. Only the client's time counts, not that of
    /// whoever reads.
    fn is_slow(&mut self, came: usize) -> bool {
        self.came = self.came.saturating_add(came as u64);
        self.waited += self.waiting.take().map_or(Duration::ZERO, |since| since.elapsed());
        let over = self.waited.saturating_sub(self.pace.idle);
        !over.is_zero() && (self.came as f64) < f64::from(self.pace.rate) * over.as_secs_f64()
    }

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
        this.expects = false;
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.timer = None;
                if this.is_slow(frame.data_ref().map_or(0, Bytes::len)) {
                    let rate = this.pace.rate;
                    return this.end(Some(Err(Slow(rate).into())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // Trailers end a body. They are dropped: nothing describes them, so nothing may forward them.
            Poll::Ready(Some(Ok(_)) | None) => this.end(None),
            Poll::Ready(Some(Err(error))) => this.end(Some(Err(error.into()))),
            Poll::Pending => {
                let idle = this.pace.idle;
                this.waiting.get_or_insert_with(Instant::now);
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
        let over = self.ended || self.expects;
        let Some(mut rest) = self.inner.take().filter(|rest| !over && !rest.is_end_stream()) else { return };
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
