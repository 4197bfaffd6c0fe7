//! The three ways in, allowed and refused.

use aegis_core::decide::Verdict;
use aegis_server::pipeline::Governing;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::world::{PATIENCE, POLICY, World, policies, read_answer};

fn scale(replicas: u32) -> String {
    let body = json!({"spec": {"replicas": replicas}}).to_string();
    format!(
        "PATCH /r/k8s/apis/apps/v1/namespaces/shop/deployments/web/scale HTTP/1.1\r\nHost: a\r\n\
         Authorization: Bearer {{token}}\r\nContent-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_allowed_call_reaches_the_routes_upstream_without_its_credential() {
    let world = World::new(POLICY).await;
    let answer = world
        .send("GET /r/tool/orders?a=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nX-Mine: kept\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{}", answer.head);
    assert_eq!(answer.header("aegis-decision"), Some("allow"));
    assert!(!answer.head.contains("forged"), "{}", answer.head);
    assert!(answer.header("aegis-policy-version").is_some_and(|version| version.starts_with("pol_")));
    let seen = world.upstream.seen();
    assert!(seen.starts_with("GET /orders?a=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-mine: kept") && seen.contains("traceparent: "), "{seen}");
    assert!(!seen.contains(&world.token), "{seen}");
}

#[tokio::test]
async fn a_token_beside_the_upstreams_own_credential_leaves_it_alone() {
    let world = World::new(POLICY).await;
    let message = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nAuthorization: Basic dTpw\r\n\r\n";
    assert_eq!(world.send(message).await.status, 200);
    let seen = world.upstream.seen();
    assert!(seen.contains("authorization: Basic dTpw") && !seen.contains(&world.token), "{seen}");
}

#[tokio::test]
async fn a_scale_above_the_maximum_is_refused_in_kubernetes_own_words() {
    let world = World::new(POLICY).await;
    let answer = world.send(&scale(200)).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let status = answer.json();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["reason"], "Forbidden");
    assert_eq!(status["title"], "PolicyViolation");
    assert_eq!(status["violations"][0]["rule"], "max_replicas");
    assert_eq!(status["violations"][0]["limit"], 50);
    assert!(status["message"].as_str().is_some_and(|message| message.contains("max_replicas")), "{status}");
    assert_eq!(world.upstream.seen(), "");
    assert_eq!(world.send(&scale(50)).await.status, 200);
    assert!(world.upstream.seen().contains(r#"{"spec":{"replicas":50}}"#));
}

#[tokio::test]
async fn a_missing_or_forged_token_is_refused_in_one_wording_and_recorded() {
    let world = World::new(POLICY).await;
    let mut details = Vec::new();
    for line in ["", "Authorization: Bearer forged\r\n", "Authorization: Basic dTpw\r\n", "Aegis-Token: x.y.z\r\n"] {
        let answer = world.send(&format!("GET /r/tool/x HTTP/1.1\r\nHost: a\r\n{line}\r\n")).await;
        assert_eq!(answer.status, 401, "{line}");
        assert!(answer.header("www-authenticate").is_some());
        details.push(answer.json()["detail"].clone());
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    let at_proxy = world.send("GET http://tool.test/ HTTP/1.1\r\nHost: tool.test\r\n\r\n").await;
    assert_eq!(at_proxy.status, 407);
    assert!(at_proxy.header("proxy-authenticate").is_some());
    let decisions = world.decisions().await;
    assert_eq!(decisions.len(), 5);
    assert!(decisions.iter().all(|decision| decision.reason.starts_with("identity: ")));
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn the_forward_proxy_reaches_what_egress_allows_and_nothing_else() {
    let world = World::new(POLICY).await;
    let get = |url: &str, host: &str| {
        format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Bearer {{token}}\r\n\r\n")
    };
    for (url, host) in [("http://other.test/x", "other.test"), ("http://127.0.0.1/x", "127.0.0.1")] {
        let answer = world.send(&get(url, host)).await;
        assert_eq!((answer.status, answer.header("aegis-decision")), (403, Some("deny")), "{url}");
        assert_eq!(world.upstream.seen(), "", "{url}");
    }
    let answer = world.send(&get("http://TOOL.test./x?y=1", "tool.test.")).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.head, answer.body);
    let seen = world.upstream.seen();
    assert!(seen.starts_with("GET /x?y=1 HTTP/1.1\r\n") && seen.contains("host: tool.test\r\n"), "{seen}");
    assert!(!seen.contains(&world.token), "{seen}");
}

#[tokio::test]
async fn basic_with_the_token_as_password_opens_the_proxy() {
    use base64::Engine as _;
    let world = World::new(POLICY).await;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("tester:{}", world.token));
    let message =
        format!("GET http://tool.test/ HTTP/1.1\r\nHost: tool.test\r\nProxy-Authorization: Basic {pair}\r\n\r\n");
    assert_eq!(world.send(&message).await.status, 200);
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Bearer {{token}}\r\n\r\n")
}

fn client_hello(name: &str) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("bytes");
    hello
}

#[tokio::test]
async fn a_tunnel_carries_tls_to_the_host_that_was_decided_on() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&connect("tool.test:443"))).await.expect("sent");
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.header("aegis-decision")), (200, Some("allow")), "{}", answer.head);
    stream.write_all(&client_hello("tool.test")).await.expect("sent");
    let mut record = [0; 7];
    timeout(PATIENCE, stream.read_exact(&mut record)).await.expect("in time").expect("the upstream's alert");
    assert_eq!(record[0], 21);
}

#[tokio::test]
async fn an_ssh_banner_is_no_tunnel_and_neither_is_a_port_that_egress_doesnt_list() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&connect("tool.test:443"))).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 200);
    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.expect("sent");
    let mut rest = Vec::new();
    // Closed or reset: both are an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end");
    assert!(rest.is_empty());
    for target in ["tool.test:22", "other.test:443", "127.0.0.1:443", "169.254.169.254:80"] {
        let answer = world.send(&connect(target)).await;
        assert_eq!(answer.status, 403, "{target}: {}", answer.head);
        assert_eq!(answer.json()["code"], "PolicyViolation");
    }
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn a_websocket_passes_once_it_is_decided_on() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    let message = "GET /r/tool/ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(&world.fill(message)).await.expect("sent");
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.header("aegis-decision")), (101, Some("allow")), "{}", answer.head);
    let mut seen = answer.body.into_bytes();
    while seen.len() < 5 {
        let mut buffer = [0; 16];
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("in time").expect("bytes");
        seen.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(seen, b"hello");
}

#[tokio::test]
async fn an_approved_call_goes_through_once() {
    let policy = "agent: tester\nactions:\n  - name: http/request\n    approval_needed: method == 'POST'\n";
    let world = World::new(policy).await;
    let post = |lines: &str| {
        format!(
            "POST /r/tool/pay HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {{token}}\r\n{lines}Content-Length: 5\r\n\r\norder"
        )
    };
    let asked = world.send(&post("")).await;
    assert_eq!((asked.status, asked.header("aegis-decision")), (403, Some("approval_needed")), "{}", asked.body);
    assert!(asked.header("retry-after").is_some());
    let problem = asked.json();
    assert_eq!(problem["code"], "ApprovalNeeded");
    assert_eq!(problem["retryable"], true);
    let id = problem["approval"]["id"].as_str().expect("an approval");
    assert_eq!(world.send(&post("")).await.json()["approval"]["id"], id, "asking again is the same request");
    let (_, token) = world.store.approve(id, "operator", None).await.expect("approved");
    let token = token.expect("one yes is enough");
    let other = world.send(&post("Aegis-Override: ovr_other\r\n")).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (403, Some("PolicyViolation")));
    assert_eq!(world.upstream.seen(), "");
    let done = world.send(&post(&format!("Aegis-Override: {token}\r\n"))).await;
    assert_eq!((done.status, done.header("aegis-decision")), (200, Some("allow")), "{}", done.body);
    assert_eq!(world.upstream.seen().matches("POST /pay").count(), 1);
    assert!(!world.upstream.seen().contains(&token));
    assert_eq!(world.send(&post("")).await.json()["code"], "ApprovalNeeded");
}

#[tokio::test]
async fn a_rate_refuses_what_is_over_it_and_says_when() {
    let policy = "agent: tester\nrate: {limit: 2, per: 1m, burst: 2}\nactions:\n  - name: http/request\n";
    let world = World::new(policy).await;
    let get = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n";
    assert_eq!(world.send(get).await.status, 200);
    assert_eq!(world.send(get).await.status, 200);
    let over = world.send(get).await;
    assert_eq!((over.status, over.json()["code"].as_str()), (429, Some("RateLimited")), "{}", over.body);
    assert!(over.header("retry-after").is_some());
}

#[tokio::test]
async fn shadow_mode_lets_pass_and_says_what_it_would_have_done() {
    let policy = "agent: tester\nmode: shadow\nactions:\n  - name: kubernetes/scale\n    max_replicas: 50\n";
    let world = World::new(policy).await;
    let answer = world.send(&scale(200)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("aegis-decision"), Some("allow"));
    assert_eq!(answer.header("aegis-would-decision"), Some("deny"));
    let decisions = world.decisions().await;
    assert_eq!(decisions[0].would_decision, Some(Verdict::Deny));
    let named = "GET http://tool.test/x HTTP/1.1\r\nHost: tool.test\r\nProxy-Authorization: Bearer {token}\r\n\r\n";
    assert_eq!(world.send(named).await.status, 200, "resolved after the decision");
}

#[tokio::test]
async fn a_reload_holds_from_the_next_call_on_and_an_empty_set_denies() {
    let world = World::new(POLICY).await;
    let get = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n";
    let before = world.send(get).await;
    assert_eq!(before.status, 200);
    world.pipeline.govern(Governing::by(policies("agent: somebody-else\nactions:\n  - name: http/request\n")));
    let after = world.send(get).await;
    assert_eq!(after.status, 403);
    assert_ne!(before.header("aegis-policy-version"), after.header("aegis-policy-version"));
}

#[tokio::test]
async fn a_suspended_agent_is_refused_at_once() {
    let world = World::new(POLICY).await;
    world.store.suspend_agent("tester", "operator").await.expect("suspended");
    let get = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n";
    assert_eq!(world.send(get).await.status, 401);
    assert_eq!(world.upstream.seen(), "");
}
