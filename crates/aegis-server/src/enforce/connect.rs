//! Connections to upstreams: to addresses, never to names that somebody else resolves.
//!
//! Invariants: an agent-named destination is connected at the addresses that were checked for it, and nowhere else;
//! nothing is ever connected to Aegis's own listeners; TCP_NODELAY is always on.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::UpstreamProxy;
use super::raw::Raw;
use super::settings::{Timeouts, host_port};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DialError {
    #[error("its name can't be resolved: {0}")]
    Unresolvable(String),
    #[error("it is Aegis itself")]
    Own,
    #[error("it can't be connected to: {0}")]
    Refused(String),
    #[error("{0} took longer than {1:?}")]
    TimedOut(&'static str, std::time::Duration),
    #[error("its certificate is not trusted: {0}")]
    Certificate(String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("by way of the proxy: {0}")]
    Proxy(String),
}

type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// The resolver: a name and a port to addresses.
pub(super) type Lookup = Arc<dyn Fn(String, u16) -> LookupFuture + Send + Sync>;

/// The system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) }))
}

/// Resolves and connects. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) lookup: Lookup,
    pub(super) overrides: Arc<HashMap<String, SocketAddr>>,
    pub(super) own: Arc<ArcSwap<Vec<SocketAddr>>>,
    pub(super) timeouts: Timeouts,
    pub(super) proxy: Option<Arc<UpstreamProxy>>,
}

impl Dialer {
    /// The operator's address for a destination, if there is one.
    pub(super) fn overridden(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.overrides.get(&host_port(host, port)).copied()
    }

    /// The addresses of a host: an override, the literal itself, or one resolution.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if let Some(address) = self.overridden(host, port) {
            return Ok(vec![address]);
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let limit = self.timeouts.resolve;
        let mut found = timeout(limit, (self.lookup)(host.to_owned(), port))
            .await
            .map_err(|_| DialError::TimedOut("resolving its name", limit))?
            .map_err(|error| DialError::Unresolvable(error.to_string()))?;
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(DialError::Unresolvable("it has no address".to_owned()));
        }
        Ok(found)
    }

    /// Connects to `authority` through the proxy.
    pub(super) async fn proxied(&self, authority: &str) -> Result<Raw, DialError> {
        let proxy = self.proxy.as_ref().ok_or_else(|| DialError::Proxy("there is none".to_owned()))?;
        self.through(proxy, authority).await
    }

    /// Connects to the first of `addresses` that answers, sharing the time among them.
    pub(super) async fn dial(&self, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
        let limit = self.timeouts.connect;
        let deadline = Instant::now() + limit;
        let mut last = DialError::Unresolvable("it has no address".to_owned());
        for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
            if self.is_own(*address) {
                return Err(DialError::Own);
            }
            let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            last = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(|error| DialError::Refused(error.to_string()))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => DialError::Refused(error.to_string()),
                Err(_) => DialError::TimedOut("connecting", limit),
            };
        }
        Err(last)
    }

    /// Whether `address` is one of Aegis's own listeners.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        let to = address.ip().to_canonical();
        self.own.load().iter().filter(|own| own.port() == address.port()).any(|own| {
            let ip = own.ip().to_canonical();
            ip == to || to.is_unspecified() || (ip.is_unspecified() && is_local(to))
        })
    }
}

/// Whether an address is this machine's: only such a one can be bound. Nothing is sent.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Where a profile's connections go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// To the addresses that were checked.
    Addresses(Vec<SocketAddr>),
    /// To a host that the operator named, resolved for each new connection, or reached through the proxy.
    Host(String, u16),
    /// To this `host:port`, through the proxy.
    Proxied(String),
}

/// The connector of one profile. It takes no notice of the URI: where it leads is fixed.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) dialer: Dialer,
    pub(super) at: At,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) http2: bool,
}

impl Connector {
    /// The proxy that takes plain requests in absolute form, where it is one that resolves.
    pub(super) fn forwards(&self) -> Option<&UpstreamProxy> {
        let proxy = match &self.at {
            At::Addresses(_) => None,
            At::Host(host, port) => self.dialer.proxy_for(host, *port),
            At::Proxied(_) => self.dialer.proxy.as_ref().filter(|proxy| proxy.resolves),
        };
        proxy.filter(|_| self.tls.is_none()).map(|proxy| &**proxy)
    }

    async fn connect(self) -> Result<TokioIo<Stream>, DialError> {
        if let Some(proxy) = self.forwards() {
            return Ok(TokioIo::new(Stream::Forwarding(self.dialer.to_proxy(proxy).await?)));
        }
        let stream = match &self.at {
            At::Addresses(addresses) => Raw::Tcp(self.dialer.dial(addresses).await?),
            At::Host(host, port) => match self.dialer.proxy_for(host, *port) {
                Some(proxy) => self.dialer.through(proxy, &host_port(host, *port)).await?,
                None => Raw::Tcp(self.dialer.dial(&self.dialer.addresses(host, *port).await?).await?),
            },
            At::Proxied(authority) => self.dialer.proxied(authority).await?,
        };
        let Some((tls, name)) = self.tls else {
            return Ok(TokioIo::new(Stream::Plain(stream)));
        };
        let limit = self.dialer.timeouts.handshake;
        let stream = timeout(limit, tls.connect(name, stream))
            .await
            .map_err(|_| DialError::TimedOut("the TLS handshake", limit))?
            .map_err(|error| tls_error(&error))?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(DialError::Tls("it doesn't speak HTTP/2".to_owned()));
        }
        Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
    }
}

fn tls_error(error: &io::Error) -> DialError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => DialError::Certificate(why.to_string()),
        Some(other) => DialError::Tls(other.to_string()),
        None => DialError::Tls(error.to_string()),
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection to an upstream.
pub(super) enum Stream {
    /// As it is.
    Plain(Raw),
    /// To a proxy, which takes requests in absolute form.
    Forwarding(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<Raw>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Connected::new().negotiated_h2(),
            Self::Forwarding(_) => Connected::new().proxy(true),
            Self::Plain(_) | Self::Tls(_) => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Forwarding(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Forwarding(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Forwarding(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Forwarding(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Forwarding(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Forwarding(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
