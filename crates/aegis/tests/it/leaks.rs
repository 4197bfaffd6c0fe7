//! What agents send must not lie about: every kind of value that must not leave goes in by every way and comes to every end (allowed,
//! redacted, refused, asked of a human, failed, unreadable, not authenticated), and is then in no log, no span, no file of the data
//! directory, no record, no metric and no answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::authzen::try_send;
use crate::mcp::server::{Server, tool};
use crate::process::{Gateway, eventually, raw, stdout};
use crate::upstream::{Upstream, serve};

const POLICIES: &str = "agent: open
egress: {allow: [tools.example]}
actions: [{name: http/request}, {name: \"notes/*\"}, {name: \"files/*\"}, {name: \"kubernetes/*\"}]
---
agent: clean
egress: {allow: [tools.example]}
actions:
  - {name: http/request, sanitize: {detect: [pii, phi, secrets]}}
  - {name: \"notes/*\", sanitize: {detect: [pii, phi, secrets]}}
  - {name: \"files/*\", sanitize: {detect: [pii, phi, secrets]}}
  - {name: \"kubernetes/*\", sanitize: {detect: [pii, phi, secrets]}}
---
agent: asker
actions:
  - {name: http/request, approval_needed: \"true\"}
  - {name: \"files/*\", approval_needed: \"true\"}
  - {name: \"kubernetes/*\", approval_needed: \"true\"}
---
agent: never
actions: [{name: read}]
---
agent: watched
mode: shadow
actions: [{name: http/request, sanitize: {detect: [pii, phi, secrets]}, deny_if: [\"path != 'x'\"]}]
";

/// What each agent is told of its calls: every one, by every way.
const AGENTS: [&str; 5] = ["open", "clean", "asker", "never", "watched"];

/// One value of each kind, put together here, so that no scanner takes this file for a leak. Each is found nowhere else.
fn values() -> Vec<String> {
    let jwt = [
        concat!("eyJ", "hbGciOiJIUzI1NiJ9"),
        concat!("eyJ", "zdWIiOiJsZWFrLXRlc3QifQ"),
        "c2lnbmF0dXJlLW9mLXRoZS1sZWFr",
    ]
    .join(".");
    vec![
        format!("ghp_{}", "q7Zr2Lk9fX4vB1nT8cWmA5sD3gH6jK0pQ2wE"),
        format!("AKIA{}", "QZ7YXW4VUT5SRP3N"),
        format!("glpat-{}", "Zx9Kq2Lm7Vb4Nt8Rw5Ys"),
        format!("xoxb-{}", "839201746512-918273645019-Qm7Zk2Xp9Lw4Vb8N"),
        format!("sk_live_{}", "9Kq2Lm7Vb4Nt8Rw5YsZx3Pd6"),
        format!("sk-proj-{}", "9Kq2Lm7Vb4Nt8Rw5YsZx3Pd6Hf1Jc0G"),
        jwt,
        format!("postgres://app:{}@db.internal/app", "Tr0ub4dorLeak"),
        "zelda.leaktest@mail.example".to_owned(),
        "5555 3412 4444 1115".to_owned(),
        "GB82WEST12345698765432".to_owned(),
        "219-09-9876".to_owned(),
        "+44 20 7946 0871".to_owned(),
        "1EG4-TE5-MK72".to_owned(),
        "RSSMRA85T10A562S".to_owned(),
        "Z8078221M".to_owned(),
        "131052-308T".to_owned(),
    ]
}

/// A value as it may stand in what is looked through.
fn forms(value: &str) -> Vec<String> {
    let quoted = Value::from(value).to_string();
    vec![value.to_owned(), percent(value), quoted.trim_matches('"').to_owned()]
}

fn percent(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

struct World {
    gateway: Gateway,
    tool: Upstream,
    mcp: Server,
    spans: Arc<Mutex<Vec<u8>>>,
    tokens: BTreeMap<&'static str, String>,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let spans: Arc<Mutex<Vec<u8>>> = Arc::default();
        let keep = Arc::clone(&spans);
        let app = axum::Router::new().fallback(move |body: Bytes| {
            keep.lock().unwrap().extend_from_slice(&body);
            async {}
        });
        let collector = runtime.block_on(serve(app));
        let (mcp, files) = runtime.block_on(Server::start(vec![tool("write", "writes")]));
        let tool = Upstream::start(None);
        let config = format!(
            "routes:\n  - {{name: shop, upstream: \"http://{}\"}}\n  - {{name: dead, upstream: \"http://127.0.0.1:9\"}}\n  - {{name: cluster, tool: kubernetes, upstream: \"http://{}\"}}\n\
             upstreams: {{\"tools.example:80\": \"{}\"}}\nmcp: [{{name: files, url: \"http://{files}/mcp\"}}]\n\
             limits: {{hold: 1ms}}\naudit: {{calls: 7d}}\ntelemetry: {{otlp: {{endpoint: \"http://{collector}\", protocol: http}}}}\n",
            tool.address, tool.address, tool.address
        );
        let gateway = Gateway::start(&config, &[("leaks.yaml", POLICIES)]);
        let tokens = AGENTS.map(|name| (name, gateway.folder.agent(name))).into();
        Self { gateway, tool, mcp, spans, tokens, _runtime: runtime }
    }

    fn proxy(&self) -> SocketAddr {
        self.gateway.address("proxy")
    }

    /// One value by every way, as one agent: what was answered.
    fn tell(&self, agent: &str, value: &str) -> Vec<String> {
        let token = &self.tokens[agent];
        let (signed, at) = (format!("Authorization: Bearer {token}\r\n"), self.proxy());
        let post = |target: &str, head: &str, body: &str| {
            raw(
                at,
                &format!(
                    "POST {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
            )
        };
        let json_head = format!("{signed}Content-Type: application/json\r\n");
        let note = json!({ "note": value }).to_string();
        let coded = percent(value);
        let proxied = format!("Proxy-Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let by_proxy = raw(
            at,
            &format!(
                "POST http://tools.example/notes?q={coded} HTTP/1.1\r\nHost: tools.example\r\nConnection: close\r\n{proxied}Content-Length: {}\r\n\r\n{note}",
                note.len()
            ),
        );
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": value}, "stringData": {"note": value}})
                .to_string();
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"owner": value}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": value, "args": [value],
                "env": [{"name": "NOTE", "value": value}]}]}}}})
        .to_string();
        let mut answers = vec![
            post(&format!("/r/shop/notes?q={coded}"), &format!("{json_head}X-Note: {value}\r\n"), &note),
            post(&format!("/r/shop/{coded}"), &json_head, "{}"),
            post(
                "/r/shop/notes",
                &format!("{signed}Content-Type: application/x-www-form-urlencoded\r\n"),
                &format!("note={coded}"),
            ),
            post("/r/shop/notes", &format!("{signed}Content-Type: text/plain\r\n"), value),
            post("/r/shop/notes", &json_head, &format!("{{\"note\": \"{value}\"")),
            post("/r/shop/notes", &format!("{signed}Content-Type: image/png\r\n"), value),
            post("/r/dead/notes", &json_head, &note),
            post(&format!("/r/{coded}/notes"), &json_head, &note),
            post("/r/shop/notes", &format!("Authorization: Bearer {}\r\n", value.replace(' ', "")), &note),
            post("/r/shop/notes", &format!("{json_head}Transfer-Encoding: {coded}\r\n"), &note),
            post(&format!("/r/cluster/api/v1/namespaces/{coded}/secrets"), &json_head, &secret),
            post(
                &format!("/r/cluster/apis/apps/v1/namespaces/web/deployments?fieldManager={coded}"),
                &json_head,
                &deployment,
            ),
            raw(
                at,
                &format!("CONNECT {}.tools.example:443 HTTP/1.1\r\nHost: x\r\n{proxied}\r\n", coded.replace('%', "-")),
            ),
            by_proxy,
            raw(
                at,
                &format!(
                    "POST http://{}.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{proxied}Content-Length: 0\r\n\r\n",
                    coded.replace(['%', '_'], "-")
                ),
            ),
            raw(at, &format!("GET /{value} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")),
        ];
        answers.extend(self.ask(token, value));
        answers.extend(self.call(token, value));
        answers
    }

    /// The decision API.
    fn ask(&self, token: &str, value: &str) -> Vec<String> {
        let question = |arguments: Value, id: &str| {
            json!({"subject": {"type": "agent", "id": "x"}, "action": {"name": "tools/call"},
                "resource": {"type": "tool", "id": id, "properties": {"arguments": arguments}},
                "context": {"supported_obligations": ["custom"]}})
        };
        let api = self.gateway.address("api");
        let signed = format!("Bearer {token}");
        let headers = [("Authorization", signed.as_str()), ("Content-Type", "application/json")];
        let questions = [
            question(json!({"text": value}), "notes/write"),
            question(json!({}), value),
            question(json!({value: 1}), "notes/write"),
        ];
        let send =
            |body: &str| try_send(api, "POST", "/access/v1/evaluation", &headers, body).map(|answer| answer.text);
        let broken = format!("{{\"subject\": \"{value}\"");
        questions.iter().map(Value::to_string).chain([broken]).filter_map(|body| send(&body)).collect()
    }

    /// MCP, without a session.
    fn call(&self, token: &str, value: &str) -> Vec<String> {
        let at = self.proxy();
        let signed = format!("Bearer {token}");
        let messages = [
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "write", "arguments": {"note": value}}}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": value, "arguments": {}}}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": format!("file:///{}", percent(value))}}),
        ];
        let headers = [
            ("Authorization", signed.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        messages
            .iter()
            .filter_map(|message| try_send(at, "POST", "/mcp/files", &headers, &message.to_string()))
            .map(|answer| answer.text)
            .collect()
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if let Ok(bytes) = std::fs::read(&entry) {
            found.push((entry.display().to_string(), bytes));
        }
    }
}

fn holds(bytes: &[u8], form: &str) -> bool {
    bytes.windows(form.len()).any(|window| window == form.as_bytes())
}

#[test]
fn no_value_that_was_sent_is_in_anything_that_is_kept_or_told() {
    let world = World::start();
    let values = values();
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    for value in &values {
        for agent in AGENTS {
            for (which, answer) in world.tell(agent, value).into_iter().enumerate() {
                kept.push((format!("answer {which} to {agent}"), answer.into_bytes()));
            }
        }
    }
    // It did happen: what is allowed has reached the tools as it was, what is redacted in its place.
    let seen = world.tool.seen();
    assert!(
        values.iter().all(|value| seen.contains(&*Value::from(value.as_str()).to_string())),
        "allowed calls reach the tool as they are"
    );
    assert!(seen.contains("[REDACTED:github_token]"), "redacted calls reach it redacted");
    assert!(!world.mcp.seen("tools/call").is_empty(), "MCP calls reach their server");
    let decisions = |agent: &str| world.gateway.folder.decisions(agent);
    let of = |agent: &str, decision: &str| decisions(agent).iter().filter(|one| one["decision"] == decision).count();
    assert!(
        of("open", "allow") > 0
            && of("clean", "sanitize") > 0
            && of("never", "deny") > 0
            && of("asker", "approval_needed") > 0
    );

    let gateway = &world.gateway;
    for args in [
        &["audit", "query", "--limit", "1000", "--json"][..],
        &["audit", "export", "--calls", "--since", "1h"],
        &["report", "shadow", "--json"],
        &["approvals", "list", "--status", "all", "--json"],
    ] {
        kept.push((args.join(" "), stdout(&gateway.folder.run(args)).into_bytes()));
    }
    let token = std::fs::read_to_string(gateway.folder.path("aegis-data/operator.token")).expect("a token");
    let operator = format!("Bearer {}", token.trim());
    for path in ["/metrics", "/v1/decisions", "/v1/approvals", "/v1/audit", "/v1/budgets"] {
        let answer =
            try_send(gateway.address("api"), "GET", path, &[("Authorization", &operator)], "").expect("answered");
        kept.push((path.to_owned(), answer.text.into_bytes()));
    }
    eventually("spans come", || holds(&world.spans.lock().unwrap(), "aegis.decision"));
    let folder = gateway.folder.clone();
    let World { gateway, spans, .. } = world;
    assert!(gateway.stop(), "it ends well, and exports what is left");
    kept.push(("spans".to_owned(), spans.lock().unwrap().clone()));
    files(&folder.path("aegis-data"), &mut kept);
    kept.push(("log".to_owned(), std::fs::read(folder.path("stderr.log")).expect("a log")));

    let mut leaks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for value in &values {
        for form in forms(value) {
            for (place, bytes) in kept.iter().filter(|(_, bytes)| holds(bytes, &form)) {
                let at = bytes.windows(form.len()).position(|window| window == form.as_bytes()).unwrap_or(0);
                let around =
                    String::from_utf8_lossy(&bytes[at.saturating_sub(90)..bytes.len().min(at + form.len() + 30)])
                        .into_owned();
                leaks.entry(place.clone()).or_default().push(around);
            }
        }
    }
    let told: Vec<String> =
        leaks.iter().map(|(place, found)| format!("{place}: {} times, first {:?}", found.len(), found[0])).collect();
    assert!(leaks.is_empty(), "{} places\n{}", leaks.len(), told.join("\n"));
}
