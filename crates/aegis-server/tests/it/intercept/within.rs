//! Intercepted connections: real TLS on both sides, HTTP/1.1 and HTTP/2, and everything that must not pass.

use std::collections::HashMap;
use std::time::Duration;

use aegis_core::decide::Verdict;
use aegis_core::problem::Code;
use aegis_server::enforce::Roots;
use aegis_server::intercept::InterceptedHost;
use aegis_server::pipeline::Governing;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::secure::{Authority, Secure};
use super::world::{HEAD_TIME, Interceptable, PATIENCE, World, policies, read_answer};

/// A rule on a parameter: it would refuse a tunnel, and holds for every request inside of an intercepted connection.
const POLICY: &str = "
agent: tester
egress: {allow: ['*.in.test:443', 'tool.test:443']}
actions:
  - name: http/request
    denied_path: ['/secret*']
    approval_needed: method == 'DELETE'
";

struct Setup {
    world: World,
    tool: Secure,
}

impl Setup {
    async fn new() -> Self {
        Self::with(POLICY, None).await
    }

    async fn with(policy: &str, token_ttl: Option<Duration>) -> Self {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let now = (2020, 2120);
        let tool = Secure::start(authority.server("a.in.test", now)).await;
        let mut overrides = HashMap::from([("a.in.test:443".to_owned(), tool.address)]);
        let cluster = Secure::start(authority.server("k8s.in.test", now)).await.address;
        overrides.insert("k8s.in.test:443".to_owned(), cluster);
        for (host, config) in [
            ("expired.in.test", authority.server("expired.in.test", (2020, 2021))),
            ("early.in.test", authority.server("early.in.test", (2110, 2120))),
            ("wrong.in.test", authority.server("other.in.test", now)),
            ("unknown.in.test", stranger.server("unknown.in.test", now)),
        ] {
            overrides.insert(format!("{host}:443"), Secure::start(config).await.address);
        }
        let also = Interceptable {
            hosts: [("k8s.in.test", Some("kubernetes")), ("*.in.test", None)].map(intercepted).into(),
            overrides,
            roots: Roots::SystemAnd(authority.pem().into_bytes()),
            token_ttl,
        };
        Self { world: World::intercepting(policy, also).await, tool }
    }

    /// The tunnel of a CONNECT that was answered with 200.
    async fn connect(&self, target: &str) -> TcpStream {
        let (status, stream) = self.try_connect(target).await;
        assert_eq!(status, 200, "{target}");
        stream
    }

    async fn try_connect(&self, target: &str) -> (u16, TcpStream) {
        let mut stream = self.world.connect().await;
        let message =
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Bearer {{token}}\r\n\r\n");
        stream.write_all(&self.world.fill(&message)).await.expect("sent");
        (read_answer(&mut stream).await.status, stream)
    }

    async fn tls(&self, host: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        let stream = self.connect(&format!("{host}:443")).await;
        handshake(stream, host, &self.world.ca, alpn).await.expect("a handshake")
    }

    async fn http1(&self, host: &str) -> http1::SendRequest<Full<Bytes>> {
        let stream = self.tls(host, &["http/1.1"]).await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection.with_upgrades());
        sender
    }

    async fn http2(&self, host: &str) -> http2::SendRequest<Full<Bytes>> {
        let stream = self.tls(host, &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.expect("a connection");
        tokio::spawn(connection);
        sender
    }

    /// One request on a connection of its own, over HTTP/1.1.
    async fn get(&self, host: &str, path: &str) -> (StatusCode, http::HeaderMap, String) {
        let request = Request::get(path).header("host", host).body(Full::default()).expect("a request");
        read(self.http1(host).await.send_request(request).await.expect("an answer")).await
    }

    /// The reasons on record, oldest first.
    async fn reasons(&self) -> Vec<String> {
        self.world.decisions().await.into_iter().map(|decision| decision.reason).collect()
    }

    /// Waits for so many records.
    async fn recorded(&self, count: usize) -> Vec<String> {
        timeout(PATIENCE, async {
            loop {
                let reasons = self.reasons().await;
                if reasons.len() >= count {
                    return reasons;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("records")
    }
}

fn intercepted((pattern, tool): (&str, Option<&str>)) -> InterceptedHost {
    let pattern = pattern.parse().expect("a pattern");
    let (tool, cluster) = (tool.map(str::to_owned), tool.map(|_| "main".to_owned()));
    InterceptedHost { pattern, tool, cluster, credential: false, refuses_foreign: false }
}

async fn handshake(stream: TcpStream, sni: &str, ca: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = sni.to_owned().try_into().expect("a name");
    timeout(PATIENCE, TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream)).await.expect("in time")
}

async fn read(response: Response<Incoming>) -> (StatusCode, http::HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.expect("in time").expect("a body").to_bytes();
    (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
}

fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads to the end; what came.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    // Closed or reset: both are an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end");
    rest
}

#[tokio::test]
async fn each_request_inside_is_a_call_of_its_own_over_both_versions() {
    let setup = Setup::new().await;
    for version in ["HTTP/1.1", "HTTP/2.0"] {
        let request = |path: &str| match version {
            "HTTP/1.1" => Request::post(path).header("host", "a.in.test"),
            _ => Request::post(format!("https://a.in.test{path}")),
        };
        let mut allowed = request("/build?x=1").header("authorization", "Bearer upstreams-own");
        allowed = allowed.header("proxy-authorization", "Bearer ignored").header("aegis-token", "ignored");
        let allowed = allowed.body(Full::from("body")).expect("a request");
        let denied = request("/secret/a").body(Full::default()).expect("a request");
        let (allowed, denied) = if version == "HTTP/1.1" {
            let mut sender = setup.http1("a.in.test").await;
            let allowed = read(sender.send_request(allowed).await.expect("an answer")).await;
            (allowed, read(sender.send_request(denied).await.expect("an answer")).await)
        } else {
            let mut sender = setup.http2("a.in.test").await;
            let allowed = read(sender.send_request(allowed).await.expect("an answer")).await;
            (allowed, read(sender.send_request(denied).await.expect("an answer")).await)
        };
        assert_eq!((allowed.0, allowed.2.as_str()), (StatusCode::OK, "done"), "{version}: {allowed:?}");
        assert_eq!(header(&allowed.1, "aegis-decision"), "allow", "the upstream's own is not it");
        assert_eq!(denied.0, StatusCode::FORBIDDEN, "{version}: {denied:?}");
        assert!(denied.2.contains("denied_path") && denied.2.contains("PolicyViolation"), "{}", denied.2);
    }
    let seen = setup.tool.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for seen in seen {
        assert_eq!((seen.line.as_str(), &seen.body[..]), ("POST /build?x=1 HTTP/1.1", &b"body"[..]));
        assert_eq!(header(&seen.headers, "host"), "a.in.test");
        assert_eq!(header(&seen.headers, "authorization"), "Bearer upstreams-own");
        assert!(!seen.headers.contains_key("proxy-authorization") && !seen.headers.contains_key("aegis-token"));
        assert!(seen.headers.contains_key("traceparent"));
    }
    let decisions = setup.world.decisions().await;
    let verdicts: Vec<_> = decisions.iter().map(|decision| decision.decision).collect();
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny, Verdict::Allow, Verdict::Deny], "none for the CONNECTs");
    let call = decisions[0].call.as_ref().expect("a call");
    let destination = call.destination.as_ref().expect("a destination");
    assert_eq!((destination.scheme.as_str(), destination.host.as_str(), destination.port), ("https", "a.in.test", 443));
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("http", "request"));
}

#[tokio::test]
async fn the_operator_says_what_is_behind_a_host() {
    let policy =
        "agent: tester\negress: {allow: ['*.in.test']}\nactions: [{name: kubernetes/scale, max_replicas: 50}]\n";
    let setup = Setup::with(policy, None).await;
    for (replicas, status) in [(50, StatusCode::OK), (51, StatusCode::FORBIDDEN)] {
        let path = "/apis/apps/v1/namespaces/shop/deployments/web/scale";
        let request = Request::patch(path).header("host", "k8s.in.test");
        let request = request.header("content-type", "application/merge-patch+json");
        let request = request.body(Full::from(format!("{{\"spec\":{{\"replicas\":{replicas}}}}}"))).expect("a request");
        let answer = read(setup.http1("k8s.in.test").await.send_request(request).await.expect("an answer")).await;
        assert_eq!(answer.0, status, "{}", answer.2);
        assert!(status == StatusCode::OK || answer.2.contains("\"kind\":\"Status\""), "{}", answer.2);
    }
    let decisions = setup.world.decisions().await;
    assert!(decisions.iter().all(|decision| decision.call.as_ref().is_some_and(|call| call.action == "scale")));
}

#[tokio::test]
async fn the_same_policy_refuses_a_tunnel_to_a_host_that_is_not_intercepted() {
    let setup = Setup::new().await;
    let mut stream = setup.world.connect().await;
    let message =
        "CONNECT tool.test:443 HTTP/1.1\r\nHost: tool.test:443\r\nProxy-Authorization: Bearer {token}\r\n\r\n";
    stream.write_all(&setup.world.fill(message)).await.expect("sent");
    let answer = read_answer(&mut stream).await;
    assert_eq!(answer.status, 403);
    let rules: Vec<_> =
        answer.json()["violations"].as_array().expect("violations").iter().map(|v| v["rule"].clone()).collect();
    assert!(rules.contains(&"denied_path".into()), "{rules:?}");
    assert_eq!(setup.world.upstream.seen(), "");
}

#[tokio::test]
async fn the_connect_is_judged_by_identity_and_egress() {
    let setup = Setup::new().await;
    assert_eq!(setup.try_connect("a.in.test:443").await.0, 200);
    assert_eq!(setup.try_connect("a.in.test:8443").await.0, 403, "egress lists port 443");
    let anonymous = "CONNECT a.in.test:443 HTTP/1.1\r\nHost: a.in.test:443\r\n\r\n";
    let answer = setup.world.send(anonymous).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (407, Some("IdentityRejected")));
    assert!(answer.header("proxy-authenticate").is_some());
    setup.world.pipeline.govern(Governing::by(policies("agent: somebody-else\nactions:\n  - name: http/request\n")));
    assert_eq!(setup.try_connect("a.in.test:443").await.0, 403, "no policy is for it any more");
    let decisions = setup.world.decisions().await;
    let reasons: Vec<_> = decisions.iter().map(|decision| decision.reason.as_str()).collect();
    assert_eq!(reasons, ["egress: not_allowed", "identity: missing", "default_deny: no_policy"]);
    assert_eq!(decisions[0].call.as_ref().expect("a call").action, "connect");
}

#[tokio::test]
async fn what_an_entry_lists_is_asked_of_each_request() {
    let policy = "agent: tester\nactions:\n  - name: http/request\n    egress: {allow: ['a.in.test']}\n";
    let setup = Setup::with(policy, None).await;
    assert_eq!(setup.get("a.in.test", "/x").await.0, StatusCode::OK);
    let (status, _, body) = setup.get("unknown.in.test", "/x").await;
    assert!(status == StatusCode::FORBIDDEN && body.contains("egress"), "{status} {body}");
}

#[tokio::test]
async fn a_bad_upstream_chain_never_becomes_a_good_answer() {
    let setup = Setup::new().await;
    for host in ["expired.in.test", "early.in.test", "wrong.in.test", "unknown.in.test"] {
        let (status, _, body) = setup.get(host, "/x").await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{host}: {body}");
        assert!(body.contains("UpstreamFailed") && body.contains("certificate"), "{host}: {body}");
    }
    assert!(setup.tool.seen().is_empty());
}

#[tokio::test]
async fn a_request_for_another_host_than_the_connect_is_refused() {
    let setup = Setup::new().await;
    for (target, host) in [
        ("/x", "b.in.test"),
        ("/x", "a.in.test:8443"),
        ("/x", "a.in.test.evil.test"),
        ("https://b.in.test/x", "b.in.test"),
        ("http://a.in.test/x", "a.in.test"),
        ("https://a.in.test/x", "b.in.test"),
        ("https://u@a.in.test/x", "a.in.test"),
    ] {
        let request = Request::get(target).header("host", host).body(Full::default()).expect("a request");
        let (status, _, body) =
            read(setup.http1("a.in.test").await.send_request(request).await.expect("an answer")).await;
        assert!(status == StatusCode::BAD_REQUEST && body.contains("BadRequest"), "{target} {host}: {status} {body}");
    }
    for target in ["https://b.in.test/x", "https://a.in.test:8443/x", "http://a.in.test/x"] {
        let request = Request::get(target).body(Full::default()).expect("a request");
        let (status, _, body) =
            read(setup.http2("a.in.test").await.send_request(request).await.expect("an answer")).await;
        assert!(status == StatusCode::BAD_REQUEST && body.contains("BadRequest"), "{target}: {status} {body}");
    }
    // The same host in other spellings is the same host.
    for host in ["A.IN.test", "a.in.test.", "a.in.test:443"] {
        let request = Request::get("/x").header("host", host).body(Full::default()).expect("a request");
        let (status, ..) = read(setup.http1("a.in.test").await.send_request(request).await.expect("an answer")).await;
        assert_eq!(status, StatusCode::OK, "{host}");
    }
    assert_eq!(setup.tool.seen().len(), 3);
    assert!(setup.tool.seen().iter().all(|seen| header(&seen.headers, "host") == "a.in.test"));
}

#[tokio::test]
async fn what_is_not_tls_to_the_host_is_closed_and_recorded() {
    let setup = Setup::new().await;
    let plain: [&[u8]; 3] =
        [b"SSH-2.0-OpenSSH_9.9\r\n", b"POST /x HTTP/1.1\r\nHost: a.in.test\r\n\r\n", b"\x16\x03\x01\x00\x05hello"];
    for said in plain {
        let mut stream = setup.connect("a.in.test:443").await;
        stream.write_all(said).await.expect("sent");
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer[0] == 21, "an alert at most: {answer:?}");
    }
    let other = handshake(setup.connect("a.in.test:443").await, "b.in.test", &setup.world.ca, &[]).await;
    assert!(other.is_err());
    let address = handshake(setup.connect("a.in.test:443").await, "127.0.0.1", &setup.world.ca, &[]).await;
    assert!(address.is_err(), "no name, and the host is none that could do without");
    let distrusting = handshake(setup.connect("a.in.test:443").await, "a.in.test", &Authority::new().pem(), &[]).await;
    assert!(distrusting.is_err());
    let reasons = setup.recorded(6).await;
    let expected = ["not_tls", "not_tls", "not_tls", "sni_mismatch", "sni_mismatch", "ca_not_trusted"];
    assert_eq!(reasons, expected.map(|reason| format!("request: {reason}")));
    let decisions = setup.world.decisions().await;
    assert!(decisions.iter().all(|decision| decision.agent.as_ref().is_some_and(|agent| agent.id == "tester")));
    assert!(decisions.iter().all(|decision| decision.code == Some(Code::BadRequest)));
    assert_eq!(setup.tool.connections(), 0);
}

#[tokio::test]
async fn silence_in_the_tunnel_is_closed_in_time() {
    let setup = Setup::new().await;
    let started = std::time::Instant::now();
    assert!(rest(setup.connect("a.in.test:443").await).await.is_empty());
    let mut half = setup.connect("a.in.test:443").await;
    half.write_all(b"\x16\x03\x01").await.expect("sent");
    assert!(rest(half).await.is_empty());
    let mut no_preface = setup.tls("a.in.test", &["h2"]).await;
    no_preface.write_all(b"PRI * HT").await.expect("sent");
    rest(no_preface).await;
    let mut no_head = setup.tls("a.in.test", &["http/1.1"]).await;
    no_head.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    rest(no_head).await;
    assert!(started.elapsed() < HEAD_TIME * 20);
    assert_eq!(setup.reasons().await, ["request: tls_timeout", "request: tls_timeout"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_next_request_is_judged_anew() {
    let setup = Setup::new().await;
    let (status, headers, _) = setup.get("a.in.test", "/away").await;
    assert_eq!((status, header(&headers, "location")), (StatusCode::FOUND, "https://10.0.0.1/secret"));
    assert_eq!(setup.tool.seen().len(), 1);
    assert_eq!(setup.try_connect("10.0.0.1:443").await.0, 403, "where it leads is asked like anything else");
}

#[tokio::test]
async fn events_come_as_they_are_sent() {
    let setup = Setup::new().await;
    let request = Request::get("https://a.in.test/events").body(Full::default()).expect("a request");
    let mut sender = setup.http2("a.in.test").await;
    let mut response = sender.send_request(request).await.expect("an answer");
    let first = timeout(Duration::from_secs(5), response.body_mut().frame()).await.expect("at once");
    assert_eq!(first.expect("a frame").expect("data").into_data().ok(), Some(Bytes::from("data: first\n\n")));
    let request = Request::get("/events").header("host", "a.in.test").body(Full::default()).expect("a request");
    let mut response = setup.http1("a.in.test").await.send_request(request).await.expect("an answer");
    let first = timeout(Duration::from_secs(5), response.body_mut().frame()).await.expect("at once");
    assert!(first.expect("a frame").expect("data").is_data());
}

#[tokio::test]
async fn upgrades_pass_where_their_handshake_is_allowed() {
    let setup = Setup::new().await;
    for (protocol, path, expected) in
        [("websocket", "/ws", 101), ("SPDY/3.1", "/exec", 101), ("websocket", "/secret", 403)]
    {
        let request = Request::get(path).header("host", "a.in.test").header("connection", "upgrade");
        let request = request.header("upgrade", protocol).body(Full::<Bytes>::default()).expect("a request");
        // kubectl offers no ALPN with its upgrades.
        let stream = setup.tls("a.in.test", &[]).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection.with_upgrades());
        let mut response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status().as_u16(), expected, "{protocol} {path}");
        if expected != 101 {
            continue;
        }
        assert_eq!(header(response.headers(), "upgrade"), protocol);
        let mut upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("upgraded"));
        upgraded.write_all(b"ping").await.expect("sent");
        let mut heard = [0; 4];
        timeout(PATIENCE, upgraded.read_exact(&mut heard)).await.expect("in time").expect("heard");
        assert_eq!(&heard, b"ping");
    }
    assert_eq!(setup.tool.seen().len(), 2);
}

#[tokio::test]
async fn grpc_is_spoken_over_http2_and_keeps_its_trailers() {
    let setup = Setup::new().await;
    let request = Request::post("https://a.in.test/grpc.Echo/Say").header("content-type", "application/grpc+proto");
    let request = request.header("te", "trailers").body(Full::from("message")).expect("a request");
    let mut sender = setup.http2("a.in.test").await;
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(header(response.headers(), "aegis-decision"), "allow");
    let collected = timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect("a body");
    let trailers = collected.trailers().cloned().expect("trailers");
    assert_eq!((header(&trailers, "grpc-status"), trailers.len()), ("0", 1), "and nothing forged: {trailers:?}");
    assert_eq!(collected.to_bytes(), Bytes::from("message"));
    let seen = setup.tool.seen();
    assert_eq!(seen[0].line, "POST https://a.in.test/grpc.Echo/Say HTTP/2.0");
    assert_eq!((header(&seen[0].headers, "te"), &seen[0].body[..]), ("trailers", &b"message"[..]));

    let denied = Request::post("https://a.in.test/secret.Echo/Say").header("content-type", "application/grpc");
    let denied = denied.body(Full::from("message")).expect("a request");
    let (status, headers, body) = read(sender.send_request(denied).await.expect("an answer")).await;
    assert_eq!((status, body.as_str(), header(&headers, "content-type")), (StatusCode::OK, "", "application/grpc"));
    assert_eq!((header(&headers, "grpc-status"), header(&headers, "aegis-decision")), ("7", "deny"));
    let message = header(&headers, "grpc-message");
    assert!(message.starts_with("PolicyViolation: ") && message.contains("path"), "{message}");
    assert_eq!(setup.tool.seen().len(), 1);
}

/// tonic on both ends.
#[tokio::test]
async fn a_grpc_service_is_used_through_it_and_refused_in_its_own_words() {
    let policy = POLICY.replace("['/secret*']", "['*/Watch']");
    let setup = Setup::with(&policy, None).await;
    let stream = setup.tls("a.in.test", &["h2"]).await;
    let handshake = http2::handshake::<_, _, tonic::body::Body>(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("a connection");
    tokio::spawn(connection);
    let channel = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = HealthClient::with_origin(channel, "https://a.in.test".parse().expect("an origin"));
    let answer = client.check(HealthCheckRequest::default()).await.expect("healthy");
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    assert_eq!(answer.metadata().get("aegis-decision").map(|value| value.as_bytes()), Some(&b"allow"[..]));
    let unknown = client.check(HealthCheckRequest { service: "none".to_owned() }).await.expect_err("the tool's own");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let refused = client.watch(HealthCheckRequest::default()).await.expect_err("denied");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(refused.message().contains("PolicyViolation") && refused.message().contains("path"), "{refused}");
    assert_eq!(setup.tool.seen().len(), 2);
}

#[tokio::test]
async fn long_streams_of_grpc_hold_nobody_up() {
    let setup = Setup::new().await;
    let call = |path: &str| {
        let request = Request::post(format!("https://a.in.test{path}")).header("content-type", "application/grpc");
        request.body(Full::from("message")).expect("a request")
    };
    let mut sender = setup.http2("a.in.test").await;
    let mut watches = Vec::new();
    // The tool takes four streams on a connection.
    for _ in 0..12 {
        let answer = timeout(PATIENCE, sender.send_request(call("/grpc.Echo/Watch"))).await.expect("in time");
        watches.push(answer.expect("an answer"));
    }
    let answer = timeout(Duration::from_secs(5), sender.send_request(call("/grpc.Echo/Say"))).await.expect("held up");
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    assert!(setup.tool.connections() > 2, "{}", setup.tool.connections());
}

#[tokio::test]
async fn a_suspended_agents_connection_is_cut() {
    let setup = Setup::new().await;
    let mut idle = setup.tls("a.in.test", &["http/1.1"]).await;
    let mut streaming = setup.http2("a.in.test").await;
    let request = Request::get("https://a.in.test/events").body(Full::default()).expect("a request");
    let mut response = streaming.send_request(request).await.expect("an answer");
    assert!(response.body_mut().frame().await.expect("a frame").is_ok());
    setup.world.store.suspend_agent("tester", "operator").await.expect("suspended");
    rest(&mut idle).await;
    let cut = timeout(PATIENCE, response.body_mut().frame()).await.expect("cut");
    assert!(cut.is_none_or(|frame| frame.is_err()));
    assert_eq!(setup.try_connect("a.in.test:443").await.0, 407);
}

#[tokio::test]
async fn a_revoked_token_is_refused_inside_too() {
    let setup = Setup::new().await;
    let mut sender = setup.http1("a.in.test").await;
    let get = || Request::get("/x").header("host", "a.in.test").body(Full::default()).expect("a request");
    assert_eq!(read(sender.send_request(get()).await.expect("an answer")).await.0, StatusCode::OK);
    let jti = setup.world.decisions().await[0].agent.clone().expect("an agent").token_id.expect("a token");
    setup.world.store.revoke_token(&jti, jiff::Timestamp::MAX, "operator").await.expect("revoked");
    // Cut at once, or refused: never forwarded.
    if let Ok(response) = sender.send_request(get()).await {
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    }
    assert_eq!(setup.tool.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_takes_no_request_once_its_token_has_ended_and_a_tunnel_ends() {
    let policy = "agent: tester\negress: {allow: ['*.in.test:443', 'tool.test:443']}\n";
    let setup = Setup::with(policy, Some(Duration::from_secs(1))).await;
    let mut sender = setup.http1("a.in.test").await;
    let get = || Request::get("/x").header("host", "a.in.test").body(Full::default()).expect("a request");
    assert_eq!(read(sender.send_request(get()).await.expect("an answer")).await.0, StatusCode::OK);
    // An upgraded connection is read by nobody: it ends with the token, some leeway for clocks later.
    let stream = setup.tls("a.in.test", &[]).await;
    let (mut upgrading, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/ws").header("host", "a.in.test").header("connection", "upgrade");
    let request = request.header("upgrade", "websocket").body(Empty::<Bytes>::new()).expect("a request");
    let mut response = upgrading.send_request(request).await.expect("an answer");
    let upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("upgraded"));
    rest(upgraded).await;
    if let Ok(response) = sender.send_request(get()).await {
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    }
    assert_eq!(setup.tool.seen().len(), 2);
}

#[tokio::test]
async fn a_rotated_ca_signs_at_once_and_old_clients_go_on() {
    let setup = Setup::new().await;
    let before = setup.world.ca.clone();
    assert_eq!(setup.get("a.in.test", "/x").await.0, StatusCode::OK);
    let dir = setup.world.dir.path();
    aegis_server::ca::rotate(dir, jiff::Timestamp::now()).expect("rotated");
    let after = aegis_server::ca::exported(dir, jiff::Timestamp::now()).expect("exported");
    assert!(after.ends_with(&before) && after.matches("BEGIN CERTIFICATE").count() == 2);
    let (new, _) = after.split_once("-----END CERTIFICATE-----").expect("two");
    let new = format!("{new}-----END CERTIFICATE-----\n");
    // The gateway looks at its CA every two seconds.
    let deadline = std::time::Instant::now() + PATIENCE;
    while handshake(setup.connect("a.in.test:443").await, "a.in.test", &new, &[]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the new CA is never taken up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(handshake(setup.connect("a.in.test:443").await, "a.in.test", &before, &[]).await.is_ok(), "vouched for");
}

#[tokio::test]
async fn an_approval_inside_is_asked_and_spent() {
    let setup = Setup::new().await;
    let delete = |token: Option<&str>| {
        let request = Request::delete("https://a.in.test/app");
        let request = token.iter().fold(request, |request, token| request.header("aegis-override", *token));
        request.body(Full::default()).expect("a request")
    };
    let mut sender = setup.http2("a.in.test").await;
    let (status, headers, body) = read(sender.send_request(delete(None)).await.expect("an answer")).await;
    assert_eq!((status, header(&headers, "aegis-decision")), (StatusCode::FORBIDDEN, "approval_needed"), "{body}");
    let problem: serde_json::Value = serde_json::from_str(&body).expect("a problem");
    let id = problem["approval"]["id"].as_str().expect("an approval");
    let (_, token) = setup.world.store.approve(id, "operator", None).await.expect("approved");
    let token = token.expect("one yes is enough");
    let (status, ..) = read(sender.send_request(delete(Some(&token))).await.expect("an answer")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(setup.tool.seen().iter().all(|seen| !seen.headers.contains_key("aegis-override")));
}

#[tokio::test]
async fn shutdown_lets_a_call_inside_end_and_takes_no_more() {
    let setup = Setup::new().await;
    let mut sender = setup.http2("a.in.test").await;
    let request = Request::get("https://a.in.test/x").body(Full::default()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), StatusCode::OK);
    setup.world.shutdown.cancel();
    timeout(PATIENCE, setup.world.running).await.expect("drained").expect("no panic");
}
