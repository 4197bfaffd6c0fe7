//! The guide to what must not leave is true, and the scan says what it found and where, and nothing else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::guide::Guide;
use crate::process::{Folder, Gateway, raw, run, stdout, text};
use crate::upstream::Upstream;

#[test]
fn what_must_not_leave_stays_as_the_page_tells_it() {
    let tool = Upstream::start(None);
    let mut guide = Guide::open("dlp.md").instead_of("127.0.0.1:8001", tool.address);
    guide.follow();
    let reached = tool.seen();
    for raw in ["jane@example.org", "PRJ-104412", "4111111111111111"] {
        assert!(!reached.contains(raw), "{reached}");
    }
    assert!(reached.contains("desk@shop.example"), "what is allowed goes: {reached}");
    let token = reached.split("[TOKEN:email:").nth(1).and_then(|rest| rest.split(']').next()).expect("a token");
    assert!(token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_lowercase()), "{token}");
}

#[test]
fn a_scan_never_prints_a_value_and_says_no_by_its_code() {
    let folder = Folder::with("", &[]);
    let secret = format!("ghp_{}", "q7Zr2Lk9fX4vB1nT8cWmA5sD3gH6jK0pQ2wE");
    let path = folder.path("big.log");
    // Longer than what is read whole: a secret at every megabyte, and one over a border of blocks.
    let filler = "2026-11-28T12:00:00Z web-1 answered in 12 ms, nothing to see here at all\n";
    let mut log = String::with_capacity(20 << 20);
    let mut planted = 0;
    while log.len() < 17 << 20 {
        if log.len() >> 20 >= planted {
            log.push_str(&format!("token {secret}\n"));
            planted += 1;
        }
        log.push_str(filler);
    }
    std::fs::write(&path, &log).expect("written");
    let output = run(&["dlp", "scan", path.to_str().expect("text"), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let findings = found["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), planted, "{findings:?}");
    for one in findings {
        let at = |key: &str| usize::try_from(one[key].as_u64().expect("a place")).expect("short");
        assert_eq!(&log[at("start")..at("end")], secret);
        assert_eq!((one["type"].as_str(), one["rule"].as_str()), (Some("github_token"), Some("secrets")));
    }
    assert!(!text(&output).contains(&secret[4..]));
    std::fs::write(&path, "nothing").expect("written");
    assert_eq!(run(&["dlp", "scan", path.to_str().expect("text")]).status.code(), Some(0));
    assert_eq!(run(&["dlp", "scan", "/nowhere"]).status.code(), Some(2));
    assert_eq!(run(&["dlp", "scan", path.to_str().expect("text"), "--detect", "emial"]).status.code(), Some(2));
}

const ANSWERS: &str = "agent: reader
actions: [{name: http/request, sanitize: {results: [pii, secrets]}}]
---
agent: lenient
actions: [{name: http/request, sanitize: {results: [pii, secrets], unreadable: pass}}]
---
agent: free
actions: [{name: http/request}]
";

const MAIL: &str = "zelda.leaktest@mail.example";

/// A tool that answers by path, in pieces that end within a value.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let (kind, pieces): (&str, &[&str]) = match head.split(' ').nth(1).unwrap_or_default() {
        "/json" => ("application/json", &["{\"n\":1.5,\"to\":\"zelda.leak", "test@mail.example\"}"]),
        "/events" => (
            "text/event-stream",
            &[
                "id: 1\ndata: {\"to\":\"zelda.leak",
                "test@mail.example\"}\n\ndata: plain zelda.",
                "leaktest@mail.example\n\n",
            ],
        ),
        "/text" => ("text/plain; charset=utf-8", &["first\nto zelda.leak", "test@mail.example\nlast"]),
        "/broken" => ("application/json", &["{\"to\":\"zelda.leaktest@mail.example\""]),
        "/coding" => (
            "text/plain",
            if head.contains("accept-encoding: identity") { &["plain\n"] } else { &["zelda.leaktest@mail.example"] },
        ),
        _ => ("image/png", &["\u{1}zelda.leaktest@mail.example"]),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX-Contact: {MAIL}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    for part in [head].into_iter().chain(chunks).chain(["0\r\n\r\n".to_owned()]) {
        if stream.write_all(part.as_bytes()).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn answers_are_looked_through_where_the_policy_says_so() {
    let address = answering();
    let config = format!("routes: [{{name: tool, upstream: \"http://{address}\"}}]\n");
    let gateway = Gateway::start(&config, &[("a.yaml", ANSWERS)]);
    let tokens = ["reader", "lenient", "free"].map(|name| (name, gateway.folder.agent(name)));
    let ask = |agent: &str, path: &str| {
        let (_, token) = tokens.iter().find(|(name, _)| *name == agent).expect("there");
        let at = gateway.address("proxy");
        raw(
            at,
            &format!(
                "GET /r/tool/{path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n"
            ),
        )
    };
    for path in ["json", "events", "text"] {
        let shown = ask("reader", path);
        assert!(shown.starts_with("HTTP/1.1 200") && !shown.contains("leaktest"), "{path}: {shown}");
        assert!(shown.contains("[REDACTED:email]") && shown.contains("x-contact: [REDACTED:email]"), "{path}: {shown}");
        assert!(ask("free", path).contains("x-contact: zelda"), "nothing is looked for");
    }
    assert!(ask("reader", "json").contains("\"n\":1.5"), "the rest stays");
    let events = ask("reader", "events");
    assert!(events.contains("id: 1\n") && events.matches("[REDACTED:email]").count() == 3, "{events}");
    assert!(
        ask("reader", "text").contains("first\nto [REDACTED:email]\nlast")
            || ask("reader", "text").contains("[REDACTED:email]\n")
    );
    assert!(ask("reader", "coding").contains("plain"), "the tool was asked for no coding");
    for path in ["broken", "png"] {
        let refused = ask("reader", path);
        assert!(refused.starts_with("HTTP/1.1 502") && !refused.contains("leaktest"), "{path}: {refused}");
    }
    assert!(ask("lenient", "png").contains("leaktest"), "the policy lets what is no text pass");
    assert!(!ask("lenient", "json").contains("leaktest"));
}
