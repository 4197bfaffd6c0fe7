use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};

use super::{End, Metered};
use crate::enforce::{AnyBody, BodyError};

const IDLE: Duration = Duration::from_secs(5);

fn whole(text: &'static str) -> AnyBody {
    AnyBody::new(Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}))
}

/// Says its one word, then nothing for ever.
struct Stalling(Option<Bytes>);

impl Body for Stalling {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.take().map_or(Poll::Pending, |word| Poll::Ready(Some(Ok(Frame::data(word)))))
    }
}

#[tokio::test]
async fn bytes_are_counted_and_the_end_is_told() {
    let count = Arc::new(AtomicU64::new(0));
    let (body, end) = Metered::new(whole("hello"), count.clone(), Some(5), IDLE);
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "hello");
    assert_eq!(count.load(Ordering::Relaxed), 5);
    assert_eq!(end.await, Ok(End::Complete));
}

#[tokio::test]
async fn a_body_is_held_to_its_declared_length() {
    for (declared, words) in [(9, "it ended before its declared length"), (4, "it is longer than its declared length")]
    {
        let (body, end) = Metered::new(whole("hello"), Arc::default(), Some(declared), IDLE);
        assert_eq!(body.collect().await.expect_err("broken").to_string(), words);
        assert_eq!(end.await, Ok(End::Broken(words.to_owned())));
    }
}

#[tokio::test]
async fn silence_ends_a_body() {
    let stalling = AnyBody::new(Stalling(Some(Bytes::from_static(b"x"))));
    let (body, end) = Metered::new(stalling, Arc::default(), None, Duration::from_millis(30));
    assert_eq!(body.collect().await.expect_err("idle").to_string(), "nothing came for 30ms");
    assert!(matches!(end.await, Ok(End::Broken(_))));
}

#[tokio::test]
async fn a_reader_that_leaves_is_noticed_unless_nothing_was_left() {
    let (body, end) = Metered::new(whole("hello"), Arc::default(), None, IDLE);
    drop(body);
    assert_eq!(end.await, Ok(End::Abandoned));

    let (mut body, end) = Metered::new(whole("hello"), Arc::default(), None, IDLE);
    body.frame().await.expect("a frame").expect("data");
    drop(body);
    assert_eq!(end.await, Ok(End::Complete), "a reader that knows the length never asks for the end");
}
