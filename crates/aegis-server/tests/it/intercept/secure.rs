//! A tool under TLS that speaks HTTP/1.1 and HTTP/2 by ALPN, remembers what it was asked, and some that nobody should trust.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// A request that reached it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
}

/// A certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's TLS with a certificate for `name` that holds in these years.
    pub(super) fn server(&self, name: &str, years: (i32, i32)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let leaf = params.signed_by(&key, &self.0).expect("a certificate");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("a server's configuration");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Secure {
    pub(super) async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let this = Self { address, seen: Arc::default(), connections: Arc::default() };
        let (secure, acceptor) = (this.clone(), TlsAcceptor::from(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (secure, acceptor) = (secure.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    *secure.connections.lock().expect("no panic") += 1;
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| secure.clone().answer(request));
                    // How a connection ends is its client's affair.
                    let _ = if http2 {
                        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.max_concurrent_streams(4);
                        builder.serve_connection(TokioIo::new(stream), service).await
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await
                    };
                });
            }
        });
        this
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// Handshakes that ended well.
    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic")
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return Ok(self.health(request).await);
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        self.seen.lock().expect("no panic").push(Seen { line, headers: head.headers.clone(), body: body.clone() });
        if let Some(upgrade) = upgrade {
            return Ok(Self::echo(upgrade, head.headers["upgrade"].clone()));
        }
        let full = |text: &str| Full::new(Bytes::from(text.to_owned())).boxed_unsync();
        Ok(match path.as_str() {
            "/events" => Response::builder().header("content-type", "text/event-stream").body(events()).expect("made"),
            "/away" => Response::builder()
                .status(StatusCode::FOUND)
                .header("location", "https://10.0.0.1/secret")
                .body(full(""))
                .expect("made"),
            "/grpc.Echo/Say" => grpc(&body),
            "/grpc.Echo/Watch" => Response::builder().body(events()).expect("made"),
            _ => Response::builder().header("aegis-decision", "forged").body(full("done")).expect("made"),
        })
    }

    /// A service of tonic's.
    async fn health(&self, request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        let (headers, body) = (request.headers().clone(), Bytes::new());
        self.seen.lock().expect("no panic").push(Seen { line, headers, body });
        let (_, service) = tonic_health::server::health_reporter();
        let answer = service.oneshot(request.map(tonic::body::Body::new)).await;
        answer.expect("it answers").map(|body| body.map_err(|status| panic!("{status}")).boxed_unsync())
    }

    fn echo(
        upgrade: hyper::upgrade::OnUpgrade,
        protocol: http::HeaderValue,
    ) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.expect("upgraded"));
            let mut buffer = [0; 256];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header("connection", "upgrade").header("upgrade", protocol);
        response.body(Full::default().boxed_unsync()).expect("made")
    }
}

/// The message back, and the status in trailers.
fn grpc(message: &Bytes) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        trailers.insert("aegis-decision", http::HeaderValue::from_static("forged"));
        Some(Ok(trailers))
    };
    let body = Full::new(message.clone()).with_trailers(trailers).boxed_unsync();
    Response::builder().header("content-type", "application/grpc").body(body).expect("made")
}

/// One event at once, and then nothing for long.
fn events() -> UnsyncBoxBody<Bytes, Infallible> {
    Events { said: false, pause: Box::pin(tokio::time::sleep(Duration::from_secs(60))) }.boxed_unsync()
}

struct Events {
    said: bool,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.said {
            self.said = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: first\n\n")))));
        }
        self.pause.as_mut().poll(cx).map(|()| None)
    }
}
