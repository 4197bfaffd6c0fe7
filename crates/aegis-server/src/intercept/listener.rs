//! A listener and its connections: accepted, bounded in number and time, served as HTTP/1.1 or (by ALPN, or where only that is
//! spoken) HTTP/2, drained.
//!
//! Invariants: TCP_NODELAY on every connection; nobody keeps one open without sending a handshake, a preface or a head in
//! time; on shutdown what is under way ends, what is idle closes. hyper's protocol sniffing isn't used: it waits without end.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::slots::{Slots, Slotted};
use super::{preface, wire};

/// HTTP/2: streams at once, and the size of a decoded header list.
const STREAMS: u32 = 128;
const HEADER_LIST: u32 = 32 * 1024;
/// HTTP/2: an idle connection is asked whether it still lives, and how long its answer may take.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(10);
/// Before accepting again after the system refused (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener serves with.
#[derive(Clone)]
pub(crate) struct Listener {
    /// How many connections it may have.
    pub(crate) slots: Slots,
    /// Certificate and ALPN, for a TLS listener.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Plain HTTP/2 by prior knowledge and nothing else (RFC 9113 §3.3), where there is no certificate.
    pub(crate) prior_knowledge: bool,
    /// The largest head, in bytes.
    pub(crate) header_limit: usize,
    /// How long a client may take for its TLS handshake, its HTTP/2 preface, and each request's head.
    pub(crate) head_time: Duration,
    /// Cancelled to drain.
    pub(crate) drain: CancellationToken,
    /// Cancelled when draining has taken too long.
    pub(crate) abort: CancellationToken,
    /// Its connections.
    pub(crate) connections: TaskTracker,
}

/// What answers a connection's requests.
pub(crate) trait Answer<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<B, S> Answer<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

impl Listener {
    /// Accepts until told to drain.
    pub(crate) async fn run<B>(self, socket: TcpListener, service: impl Answer<B>)
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.drain.cancelled() => return,
            };
            let Ok((stream, client)) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let Some(stream) = self.slots.admit(stream, client.ip()) else { continue };
            let (listener, service) = (self.clone(), service.clone());
            self.connections.spawn(async move {
                let (abort, must_go) = (listener.abort.clone(), stream.must_go());
                tokio::select! {
                    () = listener.connection(stream, client.ip(), service) => {}
                    () = abort.cancelled() => {}
                    () = must_go.cancelled() => {}
                }
            });
        }
    }

    async fn connection<B>(self, stream: Slotted, client: IpAddr, service: impl Answer<B>)
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Some(tls) = self.tls.clone() else {
            if !self.prior_knowledge {
                return self.http1(stream, client, service).await;
            }
            if let Ok(stream) = preface::read(stream, self.head_time).await {
                self.http2(stream, client, service).await;
            }
            return;
        };
        let Ok(Ok(stream)) = timeout(self.head_time, tls.accept(stream)).await else { return };
        self.decrypted(stream, client, service).await;
    }

    /// Serves what a TLS handshake has agreed on.
    pub(super) async fn decrypted<B, T>(&self, stream: TlsStream<T>, client: IpAddr, service: impl Answer<B>)
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return self.http1(stream, client, service).await;
        }
        if let Ok(stream) = preface::read(stream, self.head_time).await {
            self.http2(stream, client, service).await;
        }
    }

    async fn http1<B>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        client: IpAddr,
        service: impl Answer<B>,
    ) where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let (stream, service) = wire::join(stream, service, client, self.header_limit);
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.head_time).max_header_size(self.header_limit);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log(ended);
    }

    async fn http2<B>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        client: IpAddr,
        service: impl Answer<B>,
    ) where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEADER_LIST);
        builder.keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIME);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), wire::attend(service, client)));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log(ended);
    }
}

/// A connection's error is its client's affair: hyper has answered what could be answered.
fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
