//! An egress profile: one origin, reached, verified and proved to in one way, with its own pool of connections.
//!
//! Connections are never shared between profiles, so a pool's key holds everything that decided where they lead: a route,
//! or a destination with the addresses that were checked for it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::connect::{At, Connector, Dialer};
use super::presented::{Presented, Shown};
use super::settings::{Credential, Protocol, RouteUpstream, SettingsError, Upstream};
use super::shards::{HTTP2_CONNECTIONS, Held, Shards};
use super::sigv4::{Signer, Unsigned};
use super::{AnyBody, headers, tls};

/// Connections that nobody uses are closed after this; shorter than most servers' own limit, so that they close first.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept per profile.
const POOL_SIZE: usize = 64;

/// See the module.
pub(super) struct Profile {
    clients: Shards,
    origin: Upstream,
    authority: HeaderValue,
    credential: Option<Arc<Presented>>,
    signer: Option<Signer>,
    authenticated: bool,
    http2: bool,
    /// It leads to a proxy that takes plain requests; with what that is shown.
    forwards: Option<Option<HeaderValue>>,
}

/// Why a request can't be put on the wire.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsendable {
    /// It is no request.
    #[error(transparent)]
    Malformed(#[from] http::Error),
    /// It can't be signed.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
}

/// What makes an origin's TLS: the configuration and the name to verify.
type Verified = Option<(Arc<ClientConfig>, ServerName<'static>)>;

impl Profile {
    /// The profile of a route.
    ///
    /// # Errors
    /// What of the route can't be used.
    pub(super) fn of_route(
        route: &RouteUpstream,
        dialer: &Dialer,
        system: &Result<Arc<RootCertStore>, String>,
    ) -> Result<Self, SettingsError> {
        let wrong = |why: String| SettingsError::Route { route: route.name.clone(), why };
        let verified = if route.upstream.secure {
            let config = tls::client_config(&route.tls, route.protocol, system).map_err(wrong)?;
            let name = route.tls.server_name.as_deref().unwrap_or(&route.upstream.host);
            Some((config, server_name(name).map_err(wrong)?))
        } else {
            None
        };
        let (credential, signer) = match &route.credential {
            None => (None, None),
            Some(Credential::SigV4(keys)) => (None, Some(Signer::new(keys).map_err(wrong)?)),
            Some(header) => (Some(Presented::new(header).map_err(wrong)?), None),
        };
        let at = At::Host(route.upstream.host.clone(), route.upstream.port);
        let mut profile = Self::new(route.upstream.clone(), at, verified, route.protocol, dialer).map_err(wrong)?;
        profile.prove(credential.map(Arc::new), route.upstream.secure && route.tls.client.is_some());
        profile.authenticated |= signer.is_some();
        profile.signer = signer;
        Ok(profile)
    }

    /// What Aegis proves itself with there; `certified` when by a certificate too.
    pub(super) fn prove(&mut self, credential: Option<Arc<Presented>>, certified: bool) {
        self.authenticated = credential.is_some() || certified;
        self.credential = credential;
    }

    /// What the next request proves itself with.
    ///
    /// # Errors
    /// Why there is nothing now; then nothing may be sent.
    pub(super) async fn show(&self) -> Result<Option<Shown>, String> {
        match &self.credential {
            Some(credential) => credential.show().await.map(Some),
            None => Ok(None),
        }
    }

    /// The profile of a destination that an agent named, at addresses that were checked.
    ///
    /// # Errors
    /// The host can't be a server's name.
    pub(super) fn of_destination(
        origin: Upstream,
        at: At,
        config: Option<Arc<ClientConfig>>,
        protocol: Protocol,
        dialer: &Dialer,
    ) -> Result<Self, String> {
        let verified = config.map(|config| Ok::<_, String>((config, server_name(&origin.host)?))).transpose()?;
        Self::new(origin, at, verified, protocol, dialer)
    }

    fn new(origin: Upstream, at: At, verified: Verified, protocol: Protocol, dialer: &Dialer) -> Result<Self, String> {
        let http2 = protocol == Protocol::Http2;
        let tls = verified.map(|(config, name)| (TlsConnector::from(config), name));
        let connector = Connector { dialer: dialer.clone(), at, tls, http2 };
        let forwards = connector.forwards().map(|proxy| proxy.authorization().cloned());
        let client = || {
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_SIZE)
                .http2_only(http2)
                .set_host(false)
                .build(connector.clone())
        };
        let clients = Shards::of(client, if http2 { HTTP2_CONNECTIONS } else { 1 });
        let authority = origin.authority();
        let authority = HeaderValue::from_str(&authority).map_err(|_| format!("{authority:?} can't be a host"))?;
        Ok(Self { clients, origin, authority, credential: None, signer: None, authenticated: false, http2, forwards })
    }

    /// What sends. It repeats a request only when a pooled connection was closed before anything of it was written. Held until
    /// the answer has ended.
    pub(super) fn client(&self) -> Held {
        self.clients.least_used()
    }

    /// Whether it leads to a proxy that takes plain requests.
    pub(super) fn forwards(&self) -> bool {
        self.forwards.is_some()
    }

    /// Whether Aegis proves itself there.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether it is spoken to over HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        self.http2
    }

    /// The protocol to switch to, if the call asks for one and this origin can.
    pub(super) fn upgrade(&self, headers: &header::HeaderMap) -> Option<HeaderValue> {
        headers::upgrade(headers).filter(|_| !self.http2)
    }

    /// The request as it goes on the wire: joined to the base path, with the upstream's `Host`, Aegis's credential, the
    /// trace, and exact framing. `shown` is from [`Profile::show`]; `length` is the body's, when it is known.
    ///
    /// # Errors
    /// The joined target isn't one, or it can't be signed.
    pub(super) fn request(
        &self,
        call: aegis_core::call::HttpRequest,
        shown: Option<Shown>,
        upgrade: Option<&HeaderValue>,
        trace: &[(HeaderName, HeaderValue)],
        length: Option<u64>,
        body: AnyBody,
    ) -> Result<Request<AnyBody>, Unsendable> {
        let signing =
            self.signer.as_ref().map(|signer| Ok::<_, Unsigned>((signer, signer.asked(&call.headers, &call.body)?)));
        let signing = signing.transpose()?;
        let mut fields = call.headers;
        headers::strip_request(&mut fields, self.authenticated);
        fields.extend(trace.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        if let Some(Some(value)) = &self.forwards {
            fields.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        if let Some(protocol) = upgrade {
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(header::UPGRADE, protocol.clone());
        }
        let bodyless = http_body::Body::is_end_stream(&body) && !expects_body(&call.method);
        match length {
            Some(length) if !bodyless => {
                fields.insert(header::CONTENT_LENGTH, length.into());
            }
            // Said aloud, because the HTTP library leaves a GET's body of unknown length out.
            None if !bodyless && !self.http2 => {
                fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Some(_) | None => {}
        }
        if !self.http2 {
            fields.insert(header::HOST, self.authority.clone());
        } else if headers::is_grpc(&fields) {
            // Its servers look for it before they send the status in trailers.
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut request = Request::builder().method(call.method).uri(self.uri(&call.target)?).body(body)?;
        *request.headers_mut() = fields;
        if let Some((signer, asked)) = signing {
            signer.sign(asked, &self.authority, &mut request)?;
        }
        if let Some(shown) = shown {
            shown.apply(&mut request);
        }
        Ok(request)
    }

    fn uri(&self, target: &PathAndQuery) -> Result<Uri, http::Error> {
        let scheme = if self.origin.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let joined = format!("{}{target}", self.origin.base_path);
        Uri::builder().scheme(scheme).authority(self.authority.as_bytes()).path_and_query(joined).build()
    }
}

/// Whether a request of this method says that its body is empty (RFC 9110 §8.6).
fn expects_body(method: &http::Method) -> bool {
    matches!(*method, http::Method::POST | http::Method::PUT | http::Method::PATCH)
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} can't be a server's name"))
}

#[cfg(test)]
mod tests;
