//! A connection whose HTTP/1.1 framing is read strictly ([`framing`](super::framing)) before hyper sees it.
//!
//! A head that can't be taken isn't given to hyper: a request of ours goes in its place, marked [`Malformed`] for whoever
//! answers, so that the refusal comes in its turn behind the answers to what was sent before, has a body that says why, and
//! is on record. A body that can't be taken breaks off. After either, nothing of the connection is read as a request again.
//!
//! After a request for another protocol the connection waits for the answer to it: what follows is that protocol's, or the
//! next request, and never read as the one and used as the other.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::header::UPGRADE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::{Malformed, Reader};
use crate::pipeline::Client;

/// What hyper reads instead of a head that can't be taken. Whatever it is, only its mark makes it be answered as that.
const IN_ITS_PLACE: &[u8] = b"GET /malformed HTTP/1.1\r\nhost: malformed\r\nconnection: close\r\n\r\n";
/// How much is read at once where it has to be looked at.
const READ: usize = 8 * 1024;
/// How much of a body's end is read at once.
const PLAIN: usize = 64 * 1024;
/// How much of what a client sends before its request for another protocol is answered is kept.
const AHEAD: usize = 64 * 1024;
/// How much is read and thrown away behind what can't be taken, and for how long: a client that is still sending would get its
/// connection reset, and never see why.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What the connection and its service tell each other.
#[derive(Debug, Default)]
struct Gate {
    /// How many requests the service was given.
    arrived: u64,
    /// The one that stands in the place of something malformed.
    refused: Option<(u64, Malformed)>,
    /// Whether the request for another protocol was granted.
    switched: Option<bool>,
    waiting: Option<Waker>,
}

#[derive(Debug, Clone, Default)]
struct SharedGate(Arc<Mutex<Gate>>);

impl SharedGate {
    fn open(&self) -> MutexGuard<'_, Gate> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(super) struct Wire<T> {
    inner: T,
    reader: Reader,
    /// Read, and not given to hyper yet.
    bytes: BytesMut,
    /// How many of them may be.
    cleared: usize,
    ended: bool,
    /// Nothing more is given to hyper.
    over: bool,
    lingered: usize,
    lingering: Option<Pin<Box<Sleep>>>,
    gate: SharedGate,
}

/// The service of one connection: it is told what its requests are.
#[derive(Clone)]
pub(super) struct Attended<S> {
    service: S,
    client: Client,
    gate: SharedGate,
}

/// Joins a connection and its service.
pub(super) fn join<T, S>(inner: T, service: S, client: IpAddr, head_limit: usize) -> (Wire<T>, Attended<S>) {
    let attended = attend(service, client);
    let wire = Wire {
        inner,
        reader: Reader::new(head_limit),
        bytes: BytesMut::new(),
        cleared: 0,
        ended: false,
        over: false,
        lingered: 0,
        lingering: None,
        gate: attended.gate.clone(),
    };
    (wire, attended)
}

/// A service that is only told its client, for HTTP/2.
pub(super) fn attend<S>(service: S, client: IpAddr) -> Attended<S> {
    Attended { service, client: Client(client), gate: SharedGate::default() }
}

impl<T: AsyncRead + Unpin> Wire<T> {
    /// Takes what may go on, or what stands in its place. `false`: more has to be read first.
    fn advance(&mut self) -> io::Result<bool> {
        match self.reader.read(&self.bytes) {
            Ok(0) => Ok(false),
            Ok(cleared) => {
                self.cleared = cleared;
                Ok(true)
            }
            Err(malformed) => self.refuse(malformed).map(|()| true),
        }
    }

    fn refuse(&mut self, malformed: Malformed) -> io::Result<()> {
        self.over = true;
        self.bytes.clear();
        if !self.reader.is_at_head() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, malformed));
        }
        self.gate.open().refused = Some((self.reader.heads(), malformed));
        self.bytes.extend_from_slice(IN_ITS_PLACE);
        self.cleared = IN_ITS_PLACE.len();
        Ok(())
    }

    /// Reads more into `bytes`.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bytes.reserve(READ);
        let spare = tokio_util::io::poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.bytes);
        self.ended |= ready!(spare)? == 0;
        Poll::Ready(Ok(()))
    }

    /// Throws away what comes, so that the answer isn't lost with it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; READ];
        while !self.ended && self.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                Ok(()) | Err(_) => self.ended = true,
            }
        }
        Poll::Ready(())
    }

    /// Waits until it is known whose the next bytes are.
    fn poll_switched(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            {
                let mut gate = self.gate.open();
                if let Some(switched) = gate.switched.take() {
                    drop(gate);
                    self.reader.resume(switched);
                    return Poll::Ready(Ok(()));
                }
                gate.waiting = Some(cx.waker().clone());
            }
            if self.bytes.len() >= AHEAD {
                return Poll::Pending;
            }
            ready!(self.poll_fill(cx))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads what needs no reading by us straight to whoever wants it.
    fn poll_plain(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>, plain: u64) -> Poll<io::Result<()>> {
        let plain = usize::try_from(plain).unwrap_or(usize::MAX);
        let now = if plain >= out.remaining() {
            let before = out.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, out))?;
            out.filled().len() - before
        } else {
            let mut part = ReadBuf::new(out.initialize_unfilled_to(plain.min(PLAIN)));
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            let now = part.filled().len();
            out.advance(now);
            now
        };
        self.ended |= now == 0;
        self.reader.took(now as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.cleared > 0 {
                let now = this.cleared.min(out.remaining());
                out.put_slice(this.bytes.get(..now).unwrap_or_default());
                this.bytes.advance(now);
                this.cleared -= now;
                return Poll::Ready(Ok(()));
            }
            if this.over {
                // No end of it: hyper would take that for a client that has gone.
                ready!(this.poll_drain(cx));
                return Poll::Pending;
            }
            if this.reader.is_waiting() {
                if this.ended {
                    return Poll::Ready(Ok(()));
                }
                ready!(this.poll_switched(cx))?;
                continue;
            }
            if !this.bytes.is_empty() && this.advance()? {
                continue;
            }
            if this.ended {
                if this.reader.is_at_head() && !this.bytes.is_empty() {
                    this.refuse(Malformed::INCOMPLETE)?;
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            let plain = this.reader.plain();
            if this.bytes.is_empty() && plain > 0 {
                return this.poll_plain(cx, out, plain);
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.over {
                return Poll::Ready(Ok(()));
            }
        }
        if this.poll_drain(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let timer = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
        timer.as_mut().poll(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<B, S> Service<Request<Incoming>> for Attended<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let refused = {
            let mut gate = self.gate.open();
            let number = gate.arrived;
            gate.arrived += 1;
            gate.refused.filter(|(refused, _)| *refused == number)
        };
        request.extensions_mut().insert(self.client);
        if let Some((_, malformed)) = refused {
            request.extensions_mut().insert(malformed);
        }
        let connect = *request.method() == Method::CONNECT;
        let switches = connect || asks(request.headers());
        let (answering, gate) = (self.service.call(request), self.gate.clone());
        Box::pin(async move {
            let answer = answering.await;
            if let (true, Ok(response)) = (switches, &answer) {
                let status = response.status();
                let switched = status == StatusCode::SWITCHING_PROTOCOLS || (connect && status.is_success());
                let mut gate = gate.open();
                gate.switched = Some(switched);
                if let Some(waiting) = gate.waiting.take() {
                    waiting.wake();
                }
            }
            answer
        })
    }
}

/// The same question that the reader asks of a head.
fn asks(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}
