use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aegis_core::call::{Body, HttpRequest, Payload};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Opened, Unfinished};
use crate::enforce::connect::{Lookup, system_lookup};
use crate::enforce::egress::Egress;
use crate::enforce::settings::{
    Credential, PrivateNetworks, Protocol, Roots, RouteUpstream, Secret, Settings, Timeouts, Tls,
};
use crate::enforce::testing::{call, destination, pki, read_until, request, route, upstream};
use crate::enforce::{AnyBody, Failure, Live, Meter, Toward, tls};

fn egress(route: RouteUpstream) -> Egress {
    let timeouts = Timeouts {
        answer_head: Duration::from_millis(200),
        answer_idle: Duration::from_millis(200),
        upload_idle: Duration::from_millis(200),
        ..Timeouts::default()
    };
    Egress::new(Settings { routes: vec![route], timeouts, ..Settings::default() }, system_lookup()).expect("settings")
}

async fn open(egress: &Egress, request: HttpRequest, live: Live, meter: &Meter) -> Result<Opened, Failure> {
    egress.open(call(Payload::Http(request), None), live, &Toward::Route("tool".to_owned()), &[], meter).await
}

async fn get(route: RouteUpstream) -> Result<Opened, Failure> {
    open(&egress(route), request(Method::GET, "/x", &[], ""), Live::default(), &Meter::default()).await
}

/// An upstream that reads one request's head and answers with these bytes.
async fn answering(answer: &'static str) -> RouteUpstream {
    let address = upstream(move |mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(answer.as_bytes()).await.expect("written");
    })
    .await;
    route(&format!("http://{address}"))
}

fn streamed(body: &'static str, declared: Option<&str>) -> (HttpRequest, Live) {
    let mut request = request(Method::POST, "/x", &[], "");
    request.body = Body::Streamed;
    if let Some(declared) = declared {
        request.headers.insert("content-length", declared.parse().expect("a value"));
    }
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {});
    (request, Live { body: Some(AnyBody::new(body)), upgrade: None, until: None })
}

#[tokio::test]
async fn an_answer_comes_back_without_what_is_about_its_connection() {
    let upstream = answering(
        "HTTP/1.1 201 Created\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\nAegis-Decision: allow\r\n\
         X-Kept: 1\r\n\r\nhello",
    );
    let egress = egress(upstream.await);
    let meter = Meter::default();
    let body = request(Method::POST, "/x", &[], "body");
    let opened = open(&egress, body, Live::default(), &meter).await.expect("an answer");
    let (head, body) = opened.response.into_parts();
    assert_eq!(head.status, StatusCode::CREATED);
    assert!(head.headers.contains_key("x-kept"));
    for gone in ["connection", "x-hop", "aegis-decision"] {
        assert!(!head.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "hello");
    assert_eq!(opened.rest.finish(&meter, egress.timeouts()).await, Ok(()));
    assert_eq!((meter.up.load(Ordering::Relaxed), meter.down.load(Ordering::Relaxed)), (4, 5));
    assert_eq!(meter.status.load(Ordering::Relaxed), 201);
}

#[tokio::test]
async fn an_upstream_that_is_silent_or_gone_is_told_apart() {
    let address = upstream(|stream: TcpStream| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(stream);
    })
    .await;
    let silent = get(route(&format!("http://{address}"))).await.err();
    assert!(matches!(silent, Some(Failure::TimedOut(why)) if why.contains("did not answer")));
    let gone = get(route("http://127.0.0.1:1")).await.err();
    assert!(matches!(gone, Some(Failure::NotSent(why)) if why.contains("could not be reached")));
    let nonsense = get(answering("SSH-2.0-OpenSSH_9.9\r\n").await).await.err();
    assert!(matches!(nonsense, Some(Failure::Unreachable(why)) if why.contains("broke off")));
    let unasked =
        get(answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n").await);
    assert!(matches!(unasked.await.err(), Some(Failure::Unreachable(_))));
}

#[tokio::test]
async fn an_answer_that_breaks_or_stalls_is_not_complete() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let opened = get(answering(answer).await).await.expect("a head");
        opened.response.into_body().collect().await.expect_err("short");
        let ended = opened.rest.finish(&Meter::default(), &Timeouts::default()).await;
        assert!(matches!(ended, Err(Unfinished::Broken(why)) if why.starts_with("answer: ")));
    }
    let address = upstream(|mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await.expect("written");
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let opened = get(route(&format!("http://{address}"))).await.expect("a head");
    let error = opened.response.into_body().collect().await.expect_err("stalled");
    assert_eq!(error.to_string(), "nothing came for 200ms");
}

#[tokio::test]
async fn a_client_that_leaves_is_told_apart_from_an_upstream_that_breaks() {
    let opened = get(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await).await.expect("a head");
    drop(opened.response);
    assert_eq!(opened.rest.finish(&Meter::default(), &Timeouts::default()).await, Err(Unfinished::ClientLeft));
}

#[tokio::test]
async fn a_streamed_body_keeps_its_length_or_fails() {
    for (declared, framing) in [(Some("5"), "content-length: 5\r\n"), (None, "transfer-encoding: chunked\r\n")] {
        let (sender, mut seen) = mpsc::channel(1);
        let address = upstream(move |mut stream: TcpStream| {
            let sender = sender.clone();
            async move {
                let end = if declared.is_some() { "hello" } else { "0\r\n\r\n" };
                sender.send(read_until(&mut stream, end).await).await.expect("listening");
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
            }
        })
        .await;
        let (request, live) = streamed("hello", declared);
        open(&egress(route(&format!("http://{address}"))), request, live, &Meter::default()).await.expect("sent");
        let seen = seen.recv().await.expect("a request");
        assert!(seen.contains(framing), "{seen}");
    }
    for (declared, why) in
        [("9", "it ended before its declared length"), ("4", "it is longer than its declared length")]
    {
        let (request, live) = streamed("hello", Some(declared));
        let route = answering("").await;
        let failure = open(&egress(route), request, live, &Meter::default()).await.err();
        assert_eq!(failure, Some(Failure::BodyBroke(format!("the request's body broke off: {why}"))));
    }
}

async fn tls_upstream(names: &[&str]) -> (SocketAddr, Vec<u8>) {
    let pki = pki(names);
    let acceptor = TlsAcceptor::from(pki.server);
    let address = upstream(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    })
    .await;
    (address, pki.ca)
}

#[tokio::test]
async fn an_upstreams_certificate_is_always_verified() {
    let (address, ca) = tls_upstream(&["tool.internal"]).await;
    let https = |tls: Tls| RouteUpstream { tls, ..route(&format!("https://{address}/base")) };
    let named = |ca: &[u8], name: &str| Tls {
        roots: Roots::Pem(ca.to_vec()),
        server_name: Some(name.to_owned()),
        client: None,
    };
    let mut good = https(named(&ca, "tool.internal"));
    good.credential = Some(Credential::Bearer(Secret::new("upstreams")));
    let echo = get(good).await.expect("an answer").response.into_body().collect().await.expect("whole").to_bytes();
    let echo = String::from_utf8_lossy(&echo).into_owned();
    assert!(echo.starts_with("GET /base/x HTTP/1.1\r\n"), "{echo}");
    assert!(echo.contains("authorization: Bearer upstreams\r\n"), "{echo}");

    let stranger = pki(&["tool.internal"]).ca;
    for bad in [https(Tls::default()), https(named(&stranger, "tool.internal")), https(named(&ca, "other.internal"))] {
        let failure = get(bad).await.err();
        let untrusted = "the upstream could not be reached: its certificate is not trusted: ";
        assert!(matches!(&failure, Some(Failure::NotSent(why)) if why.starts_with(untrusted)), "{failure:?}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_once() {
    let RouteUpstream { upstream: tool, .. } = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_, port| {
        let port = if counter.fetch_add(1, Ordering::SeqCst) == 0 { port } else { 1 };
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
    });
    let settings = Settings { private_networks: PrivateNetworks::Allow, ..Settings::default() };
    let egress = Egress::new(settings, lookup).expect("settings");
    let destination = destination("http", "a.example", tool.port);
    let Ok(Toward::Addresses(checked)) = egress.resolve(&destination).await else { panic!("addresses") };
    let call = call(Payload::Http(request(Method::GET, "/", &[], "")), Some(destination));
    let opened = egress.open(call, Live::default(), &Toward::Addresses(checked), &[], &Meter::default()).await;
    assert_eq!(opened.expect("an answer").response.status(), StatusCode::OK);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// Two machines on one port: what was checked is the one, what the name says afterwards is the other.
#[tokio::test]
async fn a_name_that_is_rebound_leads_nowhere_else_however_often_it_is_connected() {
    let checked = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = checked.local_addr().expect("an address").port();
    let other = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.expect("the same port");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_, port| {
        let last = if counter.fetch_add(1, Ordering::SeqCst) == 0 { 1 } else { 2 };
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, last], port))]) })
    });
    let settings = Settings { private_networks: PrivateNetworks::Allow, ..Settings::default() };
    let egress = Egress::new(settings, lookup).expect("settings");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = checked.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let to = destination("http", "a.example", port);
    let toward = egress.resolve(&to).await.expect("an address");
    for _ in 0..3 {
        let call = call(Payload::Http(request(Method::GET, "/", &[], "")), Some(to.clone()));
        let opened = egress.open(call, Live::default(), &toward, &[], &Meter::default()).await;
        assert_eq!(opened.expect("an answer").response.status(), StatusCode::OK);
    }
    let reached = tokio::time::timeout(Duration::from_millis(50), other.accept()).await;
    assert!(reached.is_err() && asked.load(Ordering::SeqCst) == 1);
}

#[tokio::test]
async fn a_route_can_speak_http2() {
    let address = upstream(|stream: TcpStream| async move {
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            assert!(!request.headers().contains_key("host"));
            let (target, version) = (request.uri().to_string(), request.version());
            let body = request.into_body().collect().await?.to_bytes();
            let echo = format!("{version:?} {target} {}", String::from_utf8_lossy(&body));
            Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(echo))))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let route = RouteUpstream { protocol: Protocol::Http2, ..route(&format!("http://{address}/base")) };
    let body = request(Method::POST, "/x", &[], "body");
    let opened = open(&egress(route), body, Live::default(), &Meter::default()).await.expect("an answer");
    assert_eq!(opened.response.version(), http::Version::HTTP_11);
    let echo = opened.response.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(String::from_utf8_lossy(&echo), format!("HTTP/2.0 http://{address}/base/x body"));
}

#[tokio::test]
async fn nothing_goes_where_no_route_leads() {
    let toward = Toward::Route("other".to_owned());
    let call = call(Payload::Caller, None);
    let egress = egress(route("http://127.0.0.1:1"));
    assert!(egress.open(call, Live::default(), &toward, &[], &Meter::default()).await.is_err());
    assert!(egress.profile(&toward, None, false).is_err());
    assert!(egress.profile(&Toward::Addresses(Vec::new()), None, false).is_err());
}

/// A listener that sends every request on: CONNECT to `tunnel` (as `a.example`), all else by the route. It tells how each
/// call ended.
async fn gateway(egress: Egress, tunnel: SocketAddr) -> (SocketAddr, mpsc::Receiver<Result<(), Unfinished>>) {
    let (egress, (sender, ended)) = (Arc::new(egress), mpsc::channel(1));
    let address = upstream(move |stream| {
        let (egress, sender) = (Arc::clone(&egress), sender.clone());
        let service = service_fn(move |mut arrived: http::Request<hyper::body::Incoming>| {
            let (egress, sender) = (Arc::clone(&egress), sender.clone());
            async move {
                let live = Live { body: None, upgrade: Some(hyper::upgrade::on(&mut arrived)), until: None };
                let (call, toward) = if arrived.method() == Method::CONNECT {
                    let to = destination("tunnel", "a.example", tunnel.port());
                    (call(Payload::Tunnel, Some(to)), Toward::Addresses(vec![tunnel]))
                } else {
                    let mut request = request(Method::GET, "/x", &[], "");
                    request.headers = arrived.headers().clone();
                    (call(Payload::Http(request), None), Toward::Route("tool".to_owned()))
                };
                let meter = Meter::default();
                let opened = egress.open(call, live, &toward, &[], &meter).await.expect("an answer");
                tokio::spawn(async move {
                    let finished = opened.rest.finish(&meter, egress.timeouts()).await;
                    sender.send(finished).await.expect("listening");
                });
                Ok::<_, Failure>(opened.response)
            }
        });
        async move {
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
    .await;
    (address, ended)
}

#[tokio::test]
async fn a_granted_upgrade_goes_both_ways() {
    let address = upstream(|mut stream: TcpStream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Kept: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("written");
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.expect("echoed");
    })
    .await;
    let (gateway, mut ended) = gateway(egress(route(&format!("http://{address}"))), address).await;
    let mut client = TcpStream::connect(gateway).await.expect("connected");
    let ask = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(ask.as_bytes()).await.expect("written");
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("x-kept: 1"), "{head}");
    client.write_all(b"hello").await.expect("written");
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.expect("echoed");
    assert_eq!(&heard, b"hello");
    client.shutdown().await.expect("closed");
    assert_eq!(ended.recv().await, Some(Ok(())));
}

#[tokio::test]
async fn h2c_is_never_upgraded_to() {
    let (sender, mut seen) = mpsc::channel(1);
    let address = upstream(move |mut stream: TcpStream| {
        let sender = sender.clone();
        async move {
            sender.send(read_until(&mut stream, "\r\n\r\n").await).await.expect("listening");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("written");
        }
    })
    .await;
    let (gateway, _ended) = gateway(egress(route(&format!("http://{address}"))), address).await;
    let mut client = TcpStream::connect(gateway).await.expect("connected");
    let ask = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AA\r\n\r\n";
    client.write_all(ask.as_bytes()).await.expect("written");
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    let head = seen.recv().await.expect("a request");
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
}

#[tokio::test]
async fn a_tunnel_carries_tls_from_end_to_end_and_no_ssh() {
    let pki = pki(&["a.example"]);
    let acceptor = TlsAcceptor::from(pki.server);
    let address = upstream(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
            stream.shutdown().await.expect("closed");
        }
    })
    .await;
    let (gateway, mut ended) = gateway(egress(route("http://127.0.0.1:1")), address).await;
    let connect = async || {
        let mut client = TcpStream::connect(gateway).await.expect("connected");
        client.write_all(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await.expect("written");
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
        client
    };
    let roots = Tls { roots: Roots::Pem(pki.ca), ..Tls::default() };
    let config = tls::client_config(&roots, Protocol::Http1, &Err(String::new())).expect("a configuration");
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = TlsConnector::from(config).connect(name, connect().await).await.expect("a handshake");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 204 "));
    client.shutdown().await.expect("closed");
    drop(client);
    assert_eq!(ended.recv().await, Some(Ok(())));

    let mut client = connect().await;
    client.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.expect("written");
    assert_eq!(ended.recv().await, Some(Err(Unfinished::Broken("tunnel: not_tls".to_owned()))));
    assert_eq!(client.read(&mut [0; 16]).await.expect("closed"), 0);
}
