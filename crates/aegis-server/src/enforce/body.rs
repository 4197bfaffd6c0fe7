//! A body on its way, metered: counted, bounded in idle time, held to its declared length, and telling how it ended.
//!
//! Nothing is buffered: one frame goes through at a time, at the pace of whoever reads.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aegis_core::usage::{Reader, Usage};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{AnyBody, BodyError};

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// All of it went through.
    Complete,
    /// It broke; the words are for records.
    Broken(String),
    /// Whoever read it stopped reading.
    Abandoned,
}

/// Why a body breaks here and not at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("it ended before its declared length")]
    Short,
    #[error("it is longer than its declared length")]
    Long,
    #[error("the agent's identity was withdrawn")]
    Withdrawn,
}

/// See the module.
pub(super) struct Metered {
    inner: AnyBody,
    count: Arc<AtomicU64>,
    left: Option<u64>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    end: Option<oneshot::Sender<End>>,
    /// Who reads along, and where it says what it found.
    reader: Option<(Box<Reader>, Arc<OnceLock<Usage>>)>,
}

impl Metered {
    /// Meters `inner`: bytes are added to `count`; `declared` is the length it must have, if it has declared one; the
    /// receiver gets its end, once.
    pub(super) fn new(
        inner: AnyBody,
        count: Arc<AtomicU64>,
        declared: Option<u64>,
        idle: Duration,
    ) -> (Self, oneshot::Receiver<End>) {
        let (sender, receiver) = oneshot::channel();
        let end = Some(sender);
        (Self { inner, count, left: declared, idle, timer: None, cut: None, end, reader: None }, receiver)
    }

    /// Breaks off once `cut` is cancelled.
    pub(super) fn until(mut self, cut: &CancellationToken) -> Self {
        self.cut = Some(Box::pin(cut.clone().cancelled_owned()));
        self
    }

    /// Lets `reader` read along; what it found once all has gone through stands in `usage`.
    pub(super) fn read_by(mut self, reader: Option<Reader>, usage: &Arc<OnceLock<Usage>>) -> Self {
        self.reader = reader.map(|reader| (Box::new(reader), Arc::clone(usage)));
        self
    }

    fn ended(&mut self, end: End) {
        // Before the end is told: whoever waits for it looks there.
        if let Some((reader, usage)) = self.reader.take()
            && end == End::Complete
            && let Some(found) = reader.finish()
        {
            // Nobody else sets it.
            let _ = usage.set(found);
        }
        if let Some(sender) = self.end.take() {
            // Nobody waiting for it is fine: an upload's end matters only when the call fails.
            let _ = sender.send(end);
        }
    }

    fn broken(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ended(End::Broken(in_words(&*error)));
        Poll::Ready(Some(Err(error)))
    }

    fn counted(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let length = data.len() as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(length).ok_or(Fault::Long)?;
        }
        self.count.fetch_add(length, Ordering::Relaxed);
        if let Some((reader, _)) = &mut self.reader {
            reader.feed(data);
        }
        Ok(())
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready()) {
            this.cut = None;
            return this.broken(Fault::Withdrawn.into());
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                match this.counted(&frame) {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(fault) => this.broken(fault.into()),
                }
            }
            Poll::Ready(Some(Err(error))) => this.broken(error),
            Poll::Ready(None) if this.left.is_some_and(|left| left > 0) => this.broken(Fault::Short.into()),
            Poll::Ready(None) => {
                this.ended(End::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let idle = this.idle;
                ready!(this.timer.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
                this.broken(Fault::Idle(idle).into())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none_or(|left| left == 0) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(|| self.inner.size_hint(), SizeHint::with_exact)
    }
}

impl Drop for Metered {
    /// A reader that knows the length (or that there is no body) may never ask for the end.
    fn drop(&mut self) {
        let end = if self.is_end_stream() { End::Complete } else { End::Abandoned };
        self.ended(end);
    }
}

/// An error and its causes in one line.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.ends_with(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests;
