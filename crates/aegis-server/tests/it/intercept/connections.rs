//! Slow, many and half-way connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{BODY_LIMIT, HEAD_TIME, PATIENCE, POLICY, World, read_answer};

const GET: &str = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n";

async fn ends(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    // Closed or reset: both are an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end");
    started.elapsed()
}

async fn tls(world: &World, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(world.certificate.clone().into()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(world.proxy_tls).await.expect("a connection");
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[tokio::test]
async fn a_head_that_doesnt_come_or_drips_is_closed() {
    let world = World::new(POLICY).await;
    let mut silent = world.connect().await;
    assert!(ends(&mut silent).await < HEAD_TIME * 5);

    let (mut reader, mut writer) = world.connect().await.into_split();
    let drip = tokio::spawn(async move {
        for byte in GET.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(ends(&mut reader).await < HEAD_TIME * 5);
    drip.abort();

    let mut no_handshake = TcpStream::connect(world.proxy_tls).await.expect("a connection");
    assert!(ends(&mut no_handshake).await < HEAD_TIME * 5);
    let mut no_preface = tls(&world, b"h2").await;
    no_preface.write_all(b"PRI * HT").await.expect("sent");
    assert!(ends(&mut no_preface).await < HEAD_TIME * 5);
}

#[tokio::test]
async fn a_body_that_stops_is_a_bad_request() {
    let world = World::new(POLICY).await;
    let message = GET.replace("GET", "POST").replace("Host", "Content-Length: 10\r\nHost") + "half";
    let answer = world.send(&message).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("BadRequest")), "{}", answer.body);
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_sees_why() {
    let world = World::new(POLICY).await;
    let size = BODY_LIMIT * 8;
    let line = "PATCH /r/k8s/apis/apps/v1/namespaces/shop/deployments/web/scale HTTP/1.1\r\nHost: a\r\n";
    let head = format!("{line}Authorization: Bearer {{token}}\r\nContent-Type: application/merge-patch+json\r\n");
    let whole = format!("{head}Content-Length: {size}\r\n\r\n{}", "a".repeat(size));
    assert_eq!(world.send(&whole).await.status, 413);
    let chunk = format!("{:x}\r\n{}\r\n", BODY_LIMIT / 2, "a".repeat(BODY_LIMIT / 2));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(6));
    let answer = world.send(&chunked).await;
    assert_eq!(
        (answer.status, answer.json()["reason"].as_str()),
        (413, Some("RequestEntityTooLarge")),
        "{}",
        answer.body
    );
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn pipelined_requests_are_each_decided_and_answered_in_order() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    let refused = GET.replace("/r/tool/x", "/r/tool/a//b");
    let message = [GET, refused.as_str(), GET].concat();
    stream.write_all(&world.fill(&message)).await.expect("sent");
    let mut seen = String::new();
    let read = async {
        while seen.matches("HTTP/1.1 ").count() < 3 || !seen.ends_with("ok") {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.expect("bytes");
            assert!(length > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    timeout(PATIENCE, read).await.expect("three answers");
    let statuses: Vec<&str> = seen.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200"]);
    assert_eq!(world.decisions().await.len(), 3);
    assert_eq!(world.upstream.seen().matches("GET /x").count(), 2);
}

#[tokio::test]
async fn shutdown_ends_what_is_under_way_and_closes_what_is_idle() {
    let world = World::with_pause(POLICY, Duration::from_millis(300)).await;
    let mut idle = world.connect().await;
    let mut busy = world.connect().await;
    busy.write_all(&world.fill(GET)).await.expect("sent");
    while world.upstream.seen().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    world.shutdown.cancel();
    let answer = read_answer(&mut busy).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    ends(&mut idle).await;
    timeout(PATIENCE, world.running).await.expect("drained").expect("no panic");
    assert!(TcpStream::connect(world.proxy).await.is_err(), "no new connections");
}

#[tokio::test]
async fn one_address_gets_only_its_share_of_connections() {
    let world = World::new(POLICY).await;
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(world.connect().await);
    }
    sleep(Duration::from_millis(50)).await;
    let mut over = world.connect().await;
    assert!(ends(&mut over).await < HEAD_TIME / 2);
    drop(held);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.send(GET).await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_doesnt_stop_the_record() {
    let world = World::with_pause(POLICY, Duration::from_millis(200)).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(GET)).await.expect("sent");
    while world.upstream.seen().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let settled = async {
        while !world.store.unsettled().await.expect("a list").is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("settled");
    assert_eq!(world.decisions().await.len(), 1);
}

#[tokio::test]
async fn the_tls_listener_speaks_both_versions() {
    let world = World::new(POLICY).await;
    let mut http1 = tls(&world, b"http/1.1").await;
    http1.write_all(&world.fill(GET)).await.expect("sent");
    let mut head = [0; 15];
    timeout(PATIENCE, http1.read_exact(&mut head)).await.expect("in time").expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    let io = TokioIo::new(tls(&world, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
    tokio::spawn(connection);
    let authority = world.proxy_tls;
    for (uri, credential, status) in [
        (format!("https://{authority}/r/tool/x"), "authorization", 200),
        (format!("https://{authority}/r/tool/a//b"), "authorization", 400),
        (format!("https://{authority}/r/tool/x"), "x-nothing", 401),
        (format!("https://{authority}/"), "authorization", 404),
        ("http://tool.test/x".to_owned(), "proxy-authorization", 200),
        ("http://other.test/x".to_owned(), "proxy-authorization", 403),
    ] {
        let request = Request::get(&uri)
            .header(credential, format!("Bearer {}", world.token))
            .body(Full::<Bytes>::default())
            .expect("a request");
        let answer = timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer");
        assert_eq!(answer.status(), status, "{uri}");
        answer.into_body().collect().await.expect("a body");
    }
}
