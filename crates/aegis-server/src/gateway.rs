//! All listeners: bound together, so that addresses are known (and printed) before the first call; run together; drained
//! together.
//!
//! Deliberately absent: printing, signals, configuration files.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming as WireBody;
use hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use crate::intercept::Intercept;
use crate::intercept::ext_authz::{ExtAuthz, Services};
use crate::intercept::listener::Listener;
use crate::intercept::slots::Slots;

/// Where to listen, and how much to take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The proxy, plain.
    pub proxy: Option<SocketAddr>,
    /// The proxy under a certificate. ALPN is set here.
    pub proxy_tls: Option<(SocketAddr, Arc<ServerConfig>)>,
    /// The API.
    pub api: Option<SocketAddr>,
    /// Envoy's external authorization, gRPC over plain HTTP/2.
    pub ext_authz: Option<SocketAddr>,
    /// Connections to the proxy, in all.
    pub connections: usize,
    /// Connections to the proxy from one address; all of this machine's are one.
    pub connections_per_client: usize,
    /// Connections to the API: its own, and the oldest makes room, so that agents can't keep operators out.
    pub api_connections: usize,
    /// The largest head of a request, in bytes.
    pub header_limit: usize,
    /// How long a client may take for its TLS handshake, its HTTP/2 preface, and each request's head.
    pub head_time: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub send_idle: Duration,
    /// How long calls under way may take after shutdown began.
    pub drain: Duration,
}

/// A listener and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// `proxy`, `proxy_tls`, `api` or `ext_authz`.
    pub listening: &'static str,
    /// The address; the port that the system chose for port 0.
    pub address: SocketAddr,
}

/// A listener can't be bound.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address} for `{listening}`: free that port, or choose another one")]
pub struct BindError {
    listening: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Listeners that are bound and not yet served.
pub struct Gateway {
    settings: Settings,
    proxy: Option<Socket>,
    proxy_tls: Option<Socket>,
    api: Option<Socket>,
    ext_authz: Option<Socket>,
}

struct Socket {
    listener: TcpListener,
    bound: Bound,
}

impl Gateway {
    /// Binds all listeners, or none.
    ///
    /// # Errors
    /// The first that can't be bound.
    pub async fn bind(settings: Settings) -> Result<Self, BindError> {
        let tls_address = settings.proxy_tls.as_ref().map(|(address, _)| *address);
        let proxy = bind("proxy", settings.proxy).await?;
        let proxy_tls = bind("proxy_tls", tls_address).await?;
        let api = bind("api", settings.api).await?;
        let ext_authz = bind("ext_authz", settings.ext_authz).await?;
        Ok(Self { settings, proxy, proxy_tls, api, ext_authz })
    }

    /// Every listener, with the address that it has.
    pub fn addresses(&self) -> Vec<Bound> {
        [&self.proxy, &self.proxy_tls, &self.api, &self.ext_authz]
            .into_iter()
            .flatten()
            .map(|socket| socket.bound)
            .collect()
    }

    /// Serves until `shutdown`, then takes no more and lets what is under way end. Tunnels and forwarded calls that
    /// outlive their client are the enforcer's to wait for.
    pub async fn run(self, intercept: Intercept, api: axum::Router, authorizer: ExtAuthz, shutdown: CancellationToken) {
        let Self { settings, proxy, proxy_tls, api: api_socket, ext_authz } = self;
        let slots = Slots::new(settings.connections, settings.connections_per_client, settings.send_idle);
        let plain = Listener {
            slots,
            tls: None,
            prior_knowledge: false,
            header_limit: settings.header_limit,
            head_time: settings.head_time,
            drain: shutdown.clone(),
            abort: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let (abort, connections) = (plain.abort.clone(), plain.connections.clone());
        let calls = intercept.calls().clone();
        let intercept = intercept.served_like(&plain);
        let service = |intercept: Intercept| {
            service_fn(move |request| {
                let intercept = intercept.clone();
                async move { Ok::<_, Infallible>(intercept.answer(request).await) }
            })
        };
        let (service, tls_service) = (service(intercept.clone()), service(intercept.over_tls()));
        if let Some(socket) = proxy {
            connections.spawn(plain.clone().run(socket.listener, service));
        }
        if let (Some(socket), Some((_, config))) = (proxy_tls, settings.proxy_tls) {
            let tls = Listener { tls: Some(acceptor(&config)), ..plain.clone() };
            connections.spawn(tls.run(socket.listener, tls_service));
        }
        if let Some(socket) = ext_authz {
            // A proxy's connections are few and last; newcomers must not push them out.
            let slots = Slots::new(settings.api_connections, settings.api_connections, settings.send_idle);
            let services = Services::new(authorizer.clone());
            // Before the first check of health can come: it would find no such service.
            services.look().await;
            let listener = Listener { slots, prior_knowledge: true, ..plain.clone() };
            connections.spawn(services.clone().tell_health(shutdown.clone()));
            let service = service_fn(move |request| services.clone().answer(request));
            connections.spawn(listener.run(socket.listener, service));
        }
        if let Some(socket) = api_socket {
            let api_listener =
                Listener { slots: Slots::where_the_oldest_goes(settings.api_connections, settings.send_idle), ..plain };
            let service = service_fn(move |request: Request<WireBody>| {
                let (authorizer, mut api) = (authorizer.clone(), api.clone());
                async move {
                    if ExtAuthz::takes(request.uri().path()) {
                        return Ok(authorizer.answer(request).await.map(axum::body::Body::new));
                    }
                    api.call(request).await
                }
            });
            connections.spawn(api_listener.run(socket.listener, service));
        }
        shutdown.cancelled().await;
        connections.close();
        calls.close();
        let drained = async {
            connections.wait().await;
            calls.wait().await;
        };
        if timeout(settings.drain, drained).await.is_err() {
            abort.cancel();
            connections.wait().await;
        }
    }
}

async fn bind(listening: &'static str, address: Option<SocketAddr>) -> Result<Option<Socket>, BindError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |source| BindError { listening, address, source };
    // tokio sets SO_REUSEADDR, so that a restart doesn't wait for old connections.
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some(Socket { listener, bound: Bound { listening, address } }))
}

fn acceptor(config: &Arc<ServerConfig>) -> TlsAcceptor {
    let mut config = ServerConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
