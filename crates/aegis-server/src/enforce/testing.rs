//! Calls and upstreams for the tests of this module: real sockets on loopback, real TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use aegis_core::call::{Body, Companion, Destination, Effect, Environment, HttpRequest, Payload, Shape, ToolCall};
use bytes::Bytes;
use http::{HeaderMap, Method};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::settings::{Protocol, RouteUpstream, Tls};

pub(super) fn call(payload: Payload, destination: Option<Destination>) -> ToolCall {
    ToolCall {
        tool: "http".to_owned(),
        action: "request".to_owned(),
        classes: BTreeSet::new(),
        effect: Effect::Unknown,
        environment: Environment::named("unknown"),
        target: BTreeMap::new(),
        params: serde_json::Map::new(),
        shape: Shape::Open,
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination,
        metering: aegis_core::cost::Metering::default(),
        payload,
    }
}

pub(super) fn request(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str) -> HttpRequest {
    HttpRequest {
        method,
        target: target.parse().expect("a target"),
        headers: header_map(headers),
        body: Body::Whole(Bytes::from_static(body.as_bytes())),
    }
}

pub(super) fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
    }
    map
}

pub(super) fn route(upstream: &str) -> RouteUpstream {
    RouteUpstream {
        name: "tool".to_owned(),
        upstream: upstream.parse().expect("an upstream"),
        tls: Tls::default(),
        credential: None,
        protocol: Protocol::Http1,
    }
}

pub(super) fn destination(scheme: &str, host: &str, port: u16) -> Destination {
    Destination { scheme: scheme.to_owned(), host: host.to_owned(), port }
}

/// An upstream that treats each connection by `serve`.
pub(super) async fn upstream<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads up to the piece that `until` comes in.
pub(super) async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), until: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.windows(until.len()).any(|window| window == until.as_bytes()) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
    String::from_utf8(seen).expect("text")
}

/// A certificate authority and a server's TLS under it.
pub(super) struct Pki {
    /// The authority, as PEM.
    pub(super) ca: Vec<u8>,
    /// A server with a certificate for the names.
    pub(super) server: Arc<ServerConfig>,
}

pub(super) fn pki(names: &[&str]) -> Pki {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(names).expect("names").signed_by(&key, &authority).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .expect("a server's configuration");
    Pki { ca: authority.pem().into_bytes(), server: Arc::new(server) }
}
