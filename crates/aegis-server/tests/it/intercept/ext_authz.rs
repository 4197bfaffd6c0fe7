//! Envoy's checks over gRPC, as a client sends them: what is asked is decided as on a route, recorded, and nothing is sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use aegis_core::decide::{Explanation, Verdict};
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::world::{BODY_LIMIT, HEAD_TIME, PATIENCE, POLICY, World};

const SANITIZE: &str = "
agent: tester
egress: {allow: ['tool.test:80']}
actions:
  - name: http/request
    sanitize: {detect: [pii]}
";

/// A check, to be changed before it is sent.
struct Check {
    context: HashMap<String, String>,
    http: HttpRequest,
}

impl Check {
    fn new(world: &World, method: &str, path: &str) -> Self {
        let http = HttpRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            host: "tool.test".to_owned(),
            scheme: "http".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            ..HttpRequest::default()
        };
        let this = Self { context: HashMap::new(), http };
        this.header(":method", method).header(":path", path).header("authorization", &format!("Bearer {}", world.token))
    }

    /// Of the route to Kubernetes.
    fn scale(world: &World, replicas: u32) -> Self {
        let path = "/apis/apps/v1/namespaces/shop/deployments/web/scale";
        let body = json!({"spec": {"replicas": replicas}}).to_string();
        Self::new(world, "PATCH", path).context("aegis.route", "k8s").body("application/merge-patch+json", &body)
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.http.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn context(mut self, name: &str, value: &str) -> Self {
        self.context.insert(name.to_owned(), value.to_owned());
        self
    }

    fn body(mut self, media_type: &str, body: &str) -> Self {
        self.http.raw_body = body.as_bytes().to_vec();
        self.header("content-type", media_type).header("content-length", &body.len().to_string()).whole("false")
    }

    fn whole(self, word: &str) -> Self {
        self.header("x-envoy-auth-partial-body", word)
    }

    fn change(mut self, change: impl FnOnce(&mut HttpRequest)) -> Self {
        change(&mut self.http);
        self
    }

    fn request(self) -> CheckRequest {
        let request = Some(Request { http: Some(self.http), ..Request::default() });
        let attributes = AttributeContext { request, context_extensions: self.context, ..AttributeContext::default() };
        CheckRequest { attributes: Some(attributes) }
    }

    async fn send(self, world: &World) -> CheckResponse {
        client(world).await.check(self.request()).await.expect("an answer").into_inner()
    }

    async fn allowed(self, world: &World) -> OkHttpResponse {
        let response = self.send(world).await;
        assert_eq!(response.status.as_ref().map(|status| status.code), Some(0), "{response:?}");
        match response.http_response {
            Some(HttpResponse::OkResponse(ok)) => ok,
            other => panic!("{other:?}"),
        }
    }

    async fn denied(self, world: &World) -> (DeniedHttpResponse, Value) {
        let response = self.send(world).await;
        assert_ne!(response.status.as_ref().map(|status| status.code), Some(0), "{response:?}");
        match response.http_response {
            Some(HttpResponse::DeniedResponse(denied)) => {
                let body = serde_json::from_str(&denied.body).unwrap_or_else(|error| panic!("{error}: {denied:?}"));
                (denied, body)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The reason on record.
    async fn reason(self, world: &World) -> String {
        let (denied, _) = self.denied(world).await;
        assert!(denied.status.expect("a status").code >= 400);
        last(world).await.reason
    }
}

async fn client(world: &World) -> AuthorizationClient<Channel> {
    AuthorizationClient::connect(format!("http://{}", world.ext_authz)).await.expect("connected")
}

async fn last(world: &World) -> Explanation {
    world.decisions().await.pop().expect("a decision on record")
}

fn value<'a>(options: &'a [HeaderValueOption], name: &str) -> Option<&'a str> {
    let headers = options.iter().filter_map(|option| option.header.as_ref());
    headers.into_iter().find(|header| header.key == name).map(|header| header.value.as_str())
}

#[tokio::test]
async fn an_allowed_call_passes_with_the_decision_for_the_client_and_without_our_credential_upstream() {
    let world = World::new(POLICY).await;
    let ok = Check::scale(&world, 50).header("aegis-note", "x").allowed(&world).await;
    assert_eq!(value(&ok.response_headers_to_add, "aegis-decision"), Some("allow"));
    let decision = last(&world).await;
    assert_eq!(value(&ok.response_headers_to_add, "aegis-decision-id"), Some(decision.decision_id.as_str()));
    assert_eq!(value(&ok.response_headers_to_add, "aegis-policy-version"), Some(decision.policy_version.as_str()));
    let mut removed = ok.headers_to_remove.clone();
    removed.sort();
    assert_eq!(removed, ["aegis-note", "authorization"]);
    let parent = value(&ok.headers, "traceparent").expect("a trace");
    assert!(parent.contains(decision.trace_id.as_deref().expect("a trace")), "{parent}");
    assert_eq!((ok.headers.len(), ok.query_parameters_to_set.len()), (1, 0), "nothing else is changed");
    let call = decision.call.expect("a call");
    assert_eq!((call.tool.as_str(), call.action.as_str(), call.destination), ("kubernetes", "scale", None));
    assert_eq!(decision.via.as_deref(), Some("ext_authz"));
    assert_eq!(world.upstream.seen(), "", "the proxy sends it, not we");
}

#[tokio::test]
async fn a_refused_call_is_told_in_the_tools_own_words_with_the_reason_in_the_metadata() {
    let world = World::new(POLICY).await;
    let response = Check::scale(&world, 200).send(&world).await;
    let metadata = response.dynamic_metadata.expect("metadata");
    let Some(Kind::StructValue(ours)) = metadata.fields["aegis"].kind.clone() else { panic!("a struct") };
    let text = |name: &str| match &ours.fields[name].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        (text("decision"), text("agent_id"), text("tool")),
        ("deny".into(), "tester".into(), "kubernetes".into())
    );
    assert_eq!((text("action"), text("reason")), ("scale".into(), "max_replicas: above_maximum".into()));
    assert!(!ours.fields.values().any(|value| format!("{value:?}").contains("200")), "no raw value: {ours:?}");
    let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else { panic!("denied") };
    assert_eq!(denied.status.expect("a status").code, 403);
    assert_eq!(value(&denied.headers, "aegis-decision"), Some("deny"));
    let status: Value = serde_json::from_str(&denied.body).expect("JSON");
    assert_eq!((&status["kind"], &status["violations"][0]["actual"]), (&json!("Status"), &json!(200)));
}

#[tokio::test]
async fn the_host_decides_where_no_route_is_named_and_nobody_resolves_it() {
    let world = World::new(POLICY).await;
    Check::new(&world, "GET", "/orders?a=1").allowed(&world).await;
    let decision = last(&world).await;
    assert_eq!(
        decision.call.and_then(|call| call.destination).map(|to| to.to_string()).as_deref(),
        Some("tool.test:80")
    );
    for host in ["evil.test", "169.254.169.254", "tool.test:81", "tool.test.evil.test"] {
        let reason = Check::new(&world, "GET", "/").change(|http| http.host = host.to_owned()).reason(&world).await;
        assert!(reason.starts_with("egress"), "{host}: {reason}");
    }
    for host in ["u@tool.test", "tool.test:0", "2130706433", ""] {
        let reason = Check::new(&world, "GET", "/").change(|http| http.host = host.to_owned()).reason(&world).await;
        assert!(reason.starts_with("request: "), "{host}: {reason}");
    }
}

#[tokio::test]
async fn nobody_passes_without_an_identity_and_one_beside_the_upstreams_credential_leaves_that_alone() {
    let world = World::new(POLICY).await;
    let plain = || Check::new(&world, "GET", "/orders");
    let (denied, problem) = plain().header("authorization", "Bearer nonsense").denied(&world).await;
    assert_eq!((denied.status.expect("a status").code, &problem["code"]), (401, &json!("IdentityRejected")));
    assert!(value(&denied.headers, "www-authenticate").is_some());
    assert_eq!(last(&world).await.agent, None);
    let mine = plain().header("authorization", "Basic dTpw");
    let ok = mine.header("aegis-token", &world.token).allowed(&world).await;
    assert_eq!(ok.headers_to_remove, ["aegis-token"]);
    let ok =
        plain().header("authorization", "Basic dTpw").header("proxy-authorization", &format!("Bearer {}", world.token));
    assert_eq!(ok.allowed(&world).await.headers_to_remove, ["proxy-authorization"]);
    let twice = plain().change(|http| {
        let one = http.headers.remove("authorization").expect("a token");
        http.headers.insert("authorization".to_owned(), format!("{one},{one}"));
    });
    assert_eq!(twice.reason(&world).await, "identity: malformed");
}

#[tokio::test]
async fn only_a_whole_body_is_judged() {
    let world = World::new(POLICY).await;
    let part = |change: fn(&mut HttpRequest)| Check::scale(&world, 50).change(change);
    for (check, reason) in [
        (Check::scale(&world, 50).whole("true"), "body: partial"),
        (Check::scale(&world, 50).whole("false,true"), "body: partial"),
        (part(|http| http.raw_body.truncate(20)), "body: partial"),
        (part(|http| http.raw_body.clear()), "body: not_sent"),
        // The agent can say so too.
        (part(|http| drop(http.headers.remove("content-length"))), "body: partial"),
        (
            part(|http| {
                http.headers.remove("content-length");
                http.raw_body.clear();
            }),
            "body: not_sent",
        ),
        (part(|http| http.body = "{}".to_owned()), "request: check_request"),
        (
            part(|http| {
                http.raw_body.clear();
                http.body = "{\"spec\":{\"replicas\":50}}!".to_owned();
            }),
            "body: lossy",
        ),
    ] {
        assert_eq!(check.reason(&world).await, reason);
    }
    // At its limit Envoy calls a body whole, whether or not more of it follows.
    let unlimited = |most: &str| {
        let change = |http: &mut HttpRequest| drop(http.headers.remove("content-length"));
        Check::scale(&world, 50).change(change).context("aegis.body", most)
    };
    assert_eq!(unlimited("24").reason(&world).await, "body: partial");
    unlimited("25").allowed(&world).await;
    unlimited("sent").allowed(&world).await;
    let text = Check::scale(&world, 50).change(|http| {
        http.body = String::from_utf8(std::mem::take(&mut http.raw_body)).expect("text");
    });
    text.allowed(&world).await;
    // What nothing depends on may stay unread, as on a route.
    Check::new(&world, "POST", "/upload").header("content-length", "9999999").allowed(&world).await;
    assert!(last(&world).await.call.is_some_and(|call| call.call_digest.is_none()));
}

#[tokio::test]
async fn what_is_said_in_two_ways_or_not_at_all_is_refused_and_recorded() {
    let world = World::new(POLICY).await;
    let plain = || Check::new(&world, "GET", "/orders");
    let raw = |value: &str| HeaderMap {
        headers: vec![HeaderValue { key: "x-a".into(), raw_value: value.into(), ..HeaderValue::default() }],
    };
    for (check, reason) in [
        (plain().header(":path", "/other"), "check_request"),
        (plain().header(":method", "DELETE"), "check_request"),
        (plain().header("host", "other.test"), "host_mismatch"),
        (plain().header("x-note", "wow!"), "header_lossy"),
        (plain().change(|http| http.header_map = Some(raw("1"))), "check_request"),
        (plain().change(|http| http.query = "a=1".into()), "check_request"),
        (plain().change(|http| http.method = "get it".into()), "check_request"),
        (plain().change(|http| http.scheme = "ftp".into()), "scheme"),
        (plain().context("aegis.rout", "k8s"), "stated"),
        (plain().context("aegis.route", "nowhere"), "unknown_route"),
        (plain().context("aegis.tool", "kubernets"), "stated"),
        (plain().context("aegis.route", "k8s").context("aegis.cluster", "other"), "stated"),
        (plain().context("aegis.body", "some"), "stated"),
        (Check::new(&world, "TRACE", "/"), "method"),
        (Check::new(&world, "GET", "/a/../b"), "path_dot_segment"),
        (Check::new(&world, "GET", "/a//b"), "path_empty_segment"),
        (Check::new(&world, "GET", "/%61dmin"), "path_not_canonical"),
        (Check::new(&world, "GET", "http://tool.test/"), "target"),
        (Check::new(&world, "GET", "/a?x=1#2"), "target"),
        (Check::new(&world, "GET", ""), "target"),
        (Check::new(&world, "CONNECT", "/").context("aegis.route", "k8s"), "connect_target"),
    ] {
        assert_eq!(check.reason(&world).await, format!("request: {reason}"));
    }
    let nothing = client(&world).await.check(CheckRequest::default()).await.expect("an answer").into_inner();
    assert!(matches!(nothing.http_response, Some(HttpResponse::DeniedResponse(_))), "{nothing:?}");
    assert_eq!(last(&world).await.decision, Verdict::Deny);
    // An equal spelling of the query is the same to whoever reads it.
    Check::new(&world, "GET", "/orders?a=%7e&&b").allowed(&world).await;
}

#[tokio::test]
async fn the_operator_says_what_is_behind_the_proxy_and_the_agents_host_says_nothing() {
    let world = World::new(POLICY).await;
    let check = Check::scale(&world, 1).change(|http| http.host = "prod.evil.test".to_owned());
    let mut check = check.context("aegis.tool", "kubernetes").context("aegis.cluster", "main");
    check.context.remove("aegis.route");
    check.allowed(&world).await;
    assert_eq!(last(&world).await.call.map(|call| call.action).as_deref(), Some("scale"));
}

#[tokio::test]
async fn what_is_redacted_in_headers_and_query_is_set_and_a_body_refuses() {
    let world = World::new(SANITIZE).await;
    let mail = ["ann", "example.com"].join("@");
    let plain = |path: &str| Check::new(&world, "GET", path).context("aegis.body", "sent");
    let ok = plain("/find?to=%61nn%40example.com&x=1").header("x-from", &mail).allowed(&world).await;
    let set: Vec<_> = ok.query_parameters_to_set.iter().map(|one| (one.key.as_str(), one.value.as_str())).collect();
    let [("to", clean)] = set[..] else { panic!("{set:?}") };
    assert!(clean.contains("REDACTED") && !clean.contains("example"), "{clean}");
    assert!(value(&ok.headers, "x-from").is_some_and(|value| value.contains("REDACTED")), "{ok:?}");
    assert_eq!(value(&ok.response_headers_to_add, "aegis-decision"), Some("sanitize"));
    // A header that isn't ASCII is set too: left out, it would go on as it came.
    let note = plain("/find").header("x-note", &format!("f\u{fc}r {mail}")).allowed(&world).await;
    let note = value(&note.headers, "x-note").expect("the header is set");
    assert!(note.starts_with("f\u{fc}r ") && note.contains("REDACTED") && !note.contains("example"), "{note}");

    let body = json!({"message": mail}).to_string();
    let posted = Check::new(&world, "POST", "/say").body("application/json", &body);
    let (_, problem) = posted.denied(&world).await;
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.starts_with("the body would have to be redacted")),
        "{problem}"
    );
    let decision = last(&world).await;
    assert_eq!((decision.decision, decision.reason.as_str()), (Verdict::Deny, "sanitize: not_enforceable"));
    let twice = plain("/find?to=ann%40example.com&to=b").reason(&world).await;
    assert_eq!(twice, "sanitize: not_enforceable");
}

#[tokio::test]
async fn an_approval_is_asked_for_once_and_the_repeated_call_passes() {
    let policy = "agent: tester\nactions:\n  - name: kubernetes/scale\n    approval_needed: replicas > 10\n";
    let world = World::new(policy).await;
    let (denied, status) = Check::scale(&world, 20).denied(&world).await;
    assert_eq!((denied.status.expect("a status").code, &status["title"]), (403, &json!("ApprovalNeeded")));
    assert!(value(&denied.headers, "retry-after").is_some());
    let id = status["approval"]["id"].as_str().expect("an approval").to_owned();
    world.store.approve(&id, "alice", None).await.expect("approved");
    Check::scale(&world, 20).allowed(&world).await;
    let (_, again) = Check::scale(&world, 20).denied(&world).await;
    assert_eq!(again["title"], "ApprovalNeeded", "it held once");
}

#[tokio::test]
async fn health_is_readiness_and_ends_before_the_gateway_does() {
    let world = World::new(POLICY).await;
    let channel = Channel::from_shared(format!("http://{}", world.ext_authz)).expect("an address");
    let mut health = HealthClient::new(channel.connect().await.expect("connected"));
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(asked).await.expect("an answer").into_inner().status, 1, "{service:?}");
    }
    let mut watched = health.watch(HealthCheckRequest::default()).await.expect("watched").into_inner();
    assert_eq!(watched.message().await.expect("told").map(|told| told.status), Some(1));
    let policies = super::world::policies("agent: nobody\n");
    world.pipeline.govern(aegis_server::pipeline::Governing::withheld(policies));
    let told = timeout(PATIENCE, watched.message()).await.expect("in time").expect("told");
    assert_eq!(told.map(|told| told.status), Some(2), "no policy is in force");
}

#[tokio::test]
async fn who_says_nothing_or_speaks_something_else_is_let_go_and_too_much_is_not_read() {
    let world = World::new(POLICY).await;
    for opening in
        [&b""[..], b"PRI * HT", b"GET /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(world.ext_authz).await.expect("a connection");
        stream.write_all(opening).await.expect("sent");
        let since = Instant::now();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
        assert!(rest.is_empty() && since.elapsed() < HEAD_TIME * 5, "{opening:?}: {rest:?}");
    }
    let mut client = client(&world).await;
    let huge = Check::new(&world, "POST", "/upload").change(|http| http.raw_body = vec![b'a'; BODY_LIMIT + (2 << 20)]);
    let refused = client.check(huge.request()).await.expect("an answer").into_inner();
    assert!(matches!(refused.http_response, Some(HttpResponse::DeniedResponse(_))), "{refused:?}");
    assert_eq!(last(&world).await.decision, Verdict::Deny);
    let after = world.decisions().await.len();
    let mut hurried = tonic::Request::new(Check::new(&world, "GET", "/orders").request());
    hurried.set_timeout(Duration::from_nanos(1));
    client.check(hurried).await.expect_err("nobody waits that short");
    client.check(Check::new(&world, "GET", "/orders").request()).await.expect("the connection goes on");
    assert!(world.decisions().await.len() > after);
}

#[tokio::test]
async fn checks_under_way_end_before_the_gateway_does() {
    let world = World::new(POLICY).await;
    let mut client = client(&world).await;
    client.check(Check::new(&world, "GET", "/orders").request()).await.expect("an answer");
    world.shutdown.cancel();
    timeout(PATIENCE, world.running).await.expect("it ends").expect("in order");
}

/// A connection that sends messages as they are.
async fn raw(world: &World) -> http2::SendRequest<BoxBody<Bytes, Infallible>> {
    let stream = TcpStream::connect(world.ext_authz).await.expect("a connection");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("a connection");
    tokio::spawn(connection);
    sender
}

fn message(world: &World, body: BoxBody<Bytes, Infallible>) -> http::Request<BoxBody<Bytes, Infallible>> {
    let uri = format!("http://{}/envoy.service.auth.v3.Authorization/Check", world.ext_authz);
    let request = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    request.body(body).expect("a request")
}

#[tokio::test]
async fn a_check_that_cannot_be_decoded_is_refused_and_on_record() {
    let world = World::new(POLICY).await;
    // A path that isn't UTF-8, which Envoy passes on as it came: an error of gRPC would pass with failure_mode_allow.
    let check = b"\0\0\0\0\x09\x0a\x07\x22\x05\x12\x03\x22\x01\xff";
    let body = Full::new(Bytes::from_static(check)).boxed();
    let response = raw(&world).await.send_request(message(&world, body)).await.expect("an answer");
    assert_eq!(response.headers().get("grpc-status"), None, "{response:?}");
    let answer = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: CheckResponse = prost::Message::decode(answer.get(5..).expect("a message")).expect("an answer");
    assert!(matches!(answer.http_response, Some(HttpResponse::DeniedResponse(_))), "{answer:?}");
    assert_eq!(last(&world).await.decision, Verdict::Deny);
}

#[tokio::test]
async fn checks_that_never_come_keep_no_other_waiting() {
    let world = World::new(POLICY).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut sender = raw(&world).await;
        for _ in 0..100 {
            stalled.push(tokio::spawn(sender.send_request(message(&world, Never.boxed()))));
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let check = Check::new(&world, "GET", "/orders").allowed(&world);
    timeout(Duration::from_secs(2), check).await.expect("nobody is waited for");
    assert!(stalled.iter().all(|answer| !answer.is_finished()), "they would be waited for");
}

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}
