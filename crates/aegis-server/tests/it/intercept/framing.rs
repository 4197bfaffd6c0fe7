//! Messages that two parties could read differently: refused, and not one byte of them goes upstream.

use super::world::{POLICY, World};

const ROUTE: &str = "Host: a\r\nAuthorization: Bearer {token}\r\n";
const PROXY: &str = "Proxy-Authorization: Bearer {token}\r\n";

/// A message to a route, with more header lines and a body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /r/tool/x HTTP/1.1\r\n{ROUTE}{lines}\r\n{body}")
}

/// A message whose body is read before it is decided on.
fn scale(lines: &str, body: &str) -> String {
    let line = "PATCH /r/k8s/apis/apps/v1/namespaces/shop/deployments/web/scale HTTP/1.1\r\n";
    format!("{line}{ROUTE}Content-Type: application/merge-patch+json\r\n{lines}\r\n{body}")
}

/// A message to a route with this target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{ROUTE}\r\n")
}

/// A message to the proxy, with this request line and host.
fn proxied(line: &str, host: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{PROXY}\r\n")
}

fn refused() -> Vec<(&'static str, u16, String)> {
    let get = |lines: &str| format!("GET /r/tool/x HTTP/1.1\r\nAuthorization: Bearer {{token}}\r\n{lines}\r\n");
    vec![
        // Lengths and codings.
        ("differing lengths", 400, post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("a list of lengths", 400, post("Content-Length: 5, 5\r\n", "hello")),
        ("a signed length", 400, post("Content-Length: +5\r\n", "hello")),
        ("a negative length", 400, post("Content-Length: -1\r\n", "")),
        ("a hexadecimal length", 400, post("Content-Length: 0x5\r\n", "hello")),
        ("an empty length", 400, post("Content-Length: \r\n", "")),
        ("a length that overflows", 400, post("Content-Length: 99999999999999999999\r\n", "")),
        ("equal lengths", 400, post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        (
            "a length and a coding",
            400,
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "a coding and a length",
            400,
            post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        ("a name that resembles a framing header's", 400, post("Content_Length: 5\r\n", "")),
        ("lines that end with LF", 400, post("Content-Length: 5\r\n", "hello").replace("\r\n", "\n")),
        ("a GET with a body", 400, post("Content-Length: 5\r\n", "hello").replace("POST", "GET")),
        ("a fragment", 400, target("/r/tool/x#y")),
        ("a length over the limit", 413, scale("Content-Length: 70000\r\n", "")),
        ("a body that is shorter than its length", 400, scale("Content-Length: 50\r\n", "short")),
        ("an unknown coding", 400, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("a coding before chunked", 400, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("a coding after chunked", 400, post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        (
            "chunked in two lines",
            400,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        ("chunked twice", 400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("chunked with a parameter", 400, post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
        ("chunked behind a control character", 400, post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n")),
        ("a coding on HTTP/1.0", 400, post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("/1.1", "/1.0")),
        ("a chunk size that is none", 400, scale("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n")),
        ("a chunk size that overflows", 400, scale("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n")),
        (
            "a chunk that is longer than its size",
            400,
            scale("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"),
        ),
        ("a chunked body that doesn't end", 400, scale("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")),
        // Header lines.
        ("a folded line", 400, post("X-A: b\r\n c\r\n", "")),
        ("a folded coding", 400, post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
        ("a space before the colon", 400, post("Content-Length : 5\r\n", "hello")),
        ("a line without a colon", 400, post("nonsense\r\n", "")),
        ("a line that begins with a space", 400, format!("GET /r/tool/x HTTP/1.1\r\n X: y\r\n{ROUTE}\r\n")),
        ("a NUL in a value", 400, post("X-A: b\0c\r\n", "")),
        ("a bare CR in a value", 400, post("X-A: b\rc\r\n", "")),
        ("a head of 70 KB", 431, post(&format!("X-A: {}\r\n", "a".repeat(70_000)), "")),
        ("more than 100 headers", 431, post(&"X-A: b\r\n".repeat(120), "")),
        ("two override tokens", 400, post("Aegis-Override: a\r\nAegis-Override: b\r\n", "")),
        // The host.
        ("no Host", 400, get("")),
        ("Host twice", 400, get("Host: a\r\nHost: a\r\n")),
        ("an empty Host", 400, get("Host: \r\n")),
        ("Host with user info", 400, get("Host: u@a\r\n")),
        ("Host with port 0", 400, get("Host: a:0\r\n")),
        ("Host with a path", 400, get("Host: a/b\r\n")),
        ("Host with a list", 400, get("Host: a, b\r\n")),
        // The request line.
        ("a method in small letters", 400, target("/r/tool/x").replace("GET", "get")),
        ("no version", 400, "GET /r/tool/x\r\n\r\n".to_owned()),
        ("an unknown version", 505, target("/r/tool/x").replace("HTTP/1.1", "HTTP/3.0")),
        ("two spaces", 400, target(" /r/tool/x")),
        ("HTTP/2's preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("an SSH banner", 400, "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
        ("TLS to the plain listener", 400, "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n\r\n".to_owned()),
        // The target.
        ("dot segments", 400, target("/r/tool/a/../b")),
        ("encoded dot segments", 400, target("/r/tool/a/%2e%2e/b")),
        ("an empty segment", 400, target("/r/tool/a//b")),
        ("an encoded slash", 400, target("/r/tool/a%2fb")),
        ("a path parameter", 400, target("/r/tool/a;b/c")),
        ("a backslash", 400, target("/r/tool/a\\b")),
        ("an encoded NUL", 400, target("/r/tool/a%00b")),
        ("a cut-off escape", 400, target("/r/tool/a%2")),
        ("an unknown route", 400, target("/r/other/x")),
        ("an encoded route", 400, target("/r/t%6fol/x")),
        ("no tool", 404, target("/")),
        ("no tool, and an asterisk", 404, target("*").replace("GET", "OPTIONS")),
        // The forward proxy.
        ("https in absolute form", 400, proxied("GET https://tool.test/", "tool.test")),
        ("another scheme in absolute form", 400, proxied("GET ssh://tool.test/", "tool.test")),
        ("Host and target differ", 400, proxied("GET http://tool.test/", "other.test")),
        ("Host's and the target's ports differ", 400, proxied("GET http://tool.test/", "tool.test:81")),
        ("user info in the target", 400, proxied("GET http://u:p@tool.test/", "tool.test")),
        ("port 0", 400, proxied("GET http://tool.test:0/", "tool.test:0")),
        ("an empty port", 400, proxied("GET http://tool.test:/", "tool.test")),
        ("port 99999", 400, proxied("GET http://tool.test:99999/", "tool.test:99999")),
        ("a decimal address", 400, proxied("GET http://2130706433/", "2130706433")),
        ("a hexadecimal address", 400, proxied("GET http://0x7f000001/", "0x7f000001")),
        ("a short address", 400, proxied("GET http://127.1/", "127.1")),
        ("an octal address", 400, proxied("GET http://0177.0.0.1/", "0177.0.0.1")),
        ("an encoded host", 400, proxied("GET http://tool%2etest/", "tool%2etest")),
        // Tunnels.
        ("CONNECT without a port", 400, proxied("CONNECT tool.test", "tool.test")),
        ("CONNECT with a scheme", 400, proxied("CONNECT https://tool.test:443", "tool.test:443")),
        ("CONNECT with a path", 400, proxied("CONNECT /r/tool/x", "tool.test")),
        ("CONNECT with user info", 400, proxied("CONNECT u@tool.test:443", "tool.test:443")),
        ("CONNECT to port 0", 400, proxied("CONNECT tool.test:0", "tool.test:0")),
        ("CONNECT and another Host", 400, proxied("CONNECT tool.test:443", "other.test:443")),
        ("CONNECT with a body", 400, proxied("CONNECT tool.test:443", "tool.test:443\r\nContent-Length: 5") + "hello"),
        // Upgrades and credentials.
        ("an upgrade to tcp", 400, post("Connection: upgrade\r\nUpgrade: tcp\r\n", "")),
        ("two upgrades", 400, post("Connection: upgrade\r\nUpgrade: websocket, SPDY/3.1\r\n", "")),
        ("two credentials", 401, post("Authorization: Bearer {token}\r\n", "")),
        ("two proxy credentials", 407, proxied("GET http://tool.test/", &format!("tool.test\r\n{}", PROXY.trim_end()))),
    ]
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_sends_nothing_upstream() {
    let world = World::new(POLICY).await;
    let vectors = refused();
    assert!(vectors.len() >= 40);
    let mut wrong = Vec::new();
    for (what, status, message) in vectors {
        let answer = world.send(&message).await;
        if answer.status != status {
            wrong.push(format!("{what}: not {status} but {}\n{}", answer.head, answer.body));
        }
        assert_eq!(world.upstream.seen(), "", "{what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn a_refusal_of_a_malformed_request_is_on_record_with_its_sender() {
    let world = World::new(POLICY).await;
    let answer = world.send(&target("/r/tool/a/%2e%2e/b")).await;
    assert_eq!(answer.header("aegis-decision"), Some("deny"), "{}", answer.head);
    let decisions = world.decisions().await;
    let [decision] = &decisions[..] else { panic!("one decision: {decisions:?}") };
    assert_eq!(answer.header("aegis-decision-id"), Some(decision.decision_id.as_str()));
    assert_eq!(decision.agent.as_ref().map(|agent| agent.id.as_str()), Some("tester"));
    assert!(decision.reason.starts_with("request: "), "{}", decision.reason);
    assert_eq!(answer.json()["code"], "BadRequest");
}

#[tokio::test]
async fn what_can_be_read_in_one_way_goes_upstream_in_one_framing() {
    let world = World::new(POLICY).await;
    for (what, message) in [
        ("a chunk with an extension", post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n")),
        (
            "trailers",
            post("Transfer-Encoding: chunked\r\nTrailer: X-T\r\n", "5\r\nhello\r\n0\r\nX-T: smuggled\r\n\r\n"),
        ),
        (
            "HTTP/1.0 without Host",
            post("Content-Length: 5\r\n", "hello").replace("/1.1", "/1.0").replace("Host: a\r\n", ""),
        ),
        (
            "an offer of h2c",
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 5\r\n",
                "hello",
            ),
        ),
        (
            "a nominated header",
            post("Connection: X-Hop, Authorization\r\nX-Hop: hopped\r\nContent-Length: 5\r\n", "hello"),
        ),
        ("an expectation", post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello")),
    ] {
        let before = world.upstream.seen().len();
        let mut stream = world.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &world.fill(&message)).await.expect("sent");
        let mut answer = super::world::read_answer(&mut stream).await;
        if answer.status == 100 {
            answer = super::world::read_answer(&mut stream).await;
        }
        assert_eq!(answer.status, 200, "{what}: {}\n{}", answer.head, answer.body);
        let seen = world.upstream.seen()[before..].to_ascii_lowercase();
        let framings = seen.matches("content-length:").count() + seen.matches("transfer-encoding:").count();
        assert_eq!(framings, 1, "{what}: {seen}");
        assert!(seen.starts_with("post /x http/1.1\r\n") && seen.contains("hello"), "{what}: {seen}");
        for unwanted in ["x-t", "smuggled", "hopped", "h2c", "http2-settings", "expect", "bearer", "aegis-"] {
            assert!(!seen.contains(unwanted), "{what}: {unwanted} in {seen}");
        }
    }
}
