//! The beginning of a body, read for what it asks, and the body with it in front again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aegis_core::describe::{Beginning, Unreadable};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::body::incomplete;
use super::case::{Case, Refused};
use crate::enforce::{AnyBody, BodyError};

/// How much of a refused body is heard out, and for how long.
const MOST_HEARD: usize = 256 << 20;
const HEARD_FOR: Duration = Duration::from_secs(60);
/// How much is read before it is looked at for the first time.
const FIRST: usize = 512;

/// Reads the beginning; the whole body, of which nothing is taken away, comes back beside it.
pub(super) async fn begin(case: &mut Case, body: AnyBody, beginning: Beginning) -> Result<(Bytes, AnyBody), Refused> {
    let since = Instant::now();
    let begun = read(case, body, beginning).await;
    case.waited_since(since);
    begun
}

async fn read(case: &mut Case, mut body: AnyBody, beginning: Beginning) -> Result<(Bytes, AnyBody), Refused> {
    let (mut bytes, mut look_at) = (BytesMut::new(), FIRST);
    loop {
        let frame = body.frame().await.transpose().map_err(incomplete)?;
        let ended = frame.is_none();
        let data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        if !case.held.as_mut().is_some_and(|held| held.take(data.len())) {
            return Err(Refused::no_room());
        }
        bytes.extend_from_slice(&data);
        if !ended && bytes.len() < look_at {
            continue;
        }
        if let Some(length) = beginning.length(&bytes)? {
            let bytes = bytes.freeze();
            let begun = bytes.get(..length).map(|begun| bytes.slice_ref(begun)).unwrap_or_default();
            return Ok((begun, AnyBody::new(Resumed { first: Some(bytes), rest: body })));
        }
        if ended {
            let message = "the body ends before it has said all that it asks for";
            return Err(Unreadable { reason: "body_incomplete".to_owned(), message: message.to_owned() }.into());
        }
        if bytes.len() > Beginning::MOST {
            return Err(Refused::too_large(Beginning::MOST));
        }
        // Doubled, so that a body of many small frames isn't read anew for each.
        look_at = bytes.len() * 2;
    }
}

/// Reads the rest of a body whose client doesn't listen before it has said all; whether that came to its end, within bounds.
pub(super) async fn hear_out(mut body: AnyBody) -> bool {
    let heard = async {
        let mut left = MOST_HEARD;
        while let Some(frame) = body.frame().await {
            let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(length)?;
        }
        Some(())
    };
    tokio::time::timeout(HEARD_FOR, heard).await.ok().flatten().is_some()
}

/// A body whose first bytes were read already.
struct Resumed {
    first: Option<Bytes>,
    rest: AnyBody,
}

impl Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take().filter(|first| !first.is_empty()) {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let (mut hint, rest) = (SizeHint::new(), self.rest.size_hint());
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            hint.set_upper(upper);
        }
        hint
    }
}
