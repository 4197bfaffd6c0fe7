//! MCP servers behind the real binary: what an agent sees of them, what reaches them, and what becomes of the rest.

mod conformance;
mod github;
mod page;
mod python;
pub(crate) mod server;
mod stdio;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Server, tool};

use crate::process::{Gateway, eventually};

/// One answer: its status, its head in lower case, its message.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The message: the body, or the last event of a stream.
    fn message(&self) -> Value {
        let last = self.body.lines().rev().find_map(|line| line.strip_prefix("data: "));
        let text = last.unwrap_or(&self.body);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn result(&self) -> Value {
        let message = self.message();
        assert!(message.get("error").is_none(), "{message}");
        message["result"].clone()
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        value.map(str::to_owned)
    }
}

/// An MCP client that does nothing that a test doesn't say.
struct Client {
    at: SocketAddr,
    token: String,
    session: Option<String>,
}

impl Client {
    fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!(
            "{method} /mcp/files HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\nAccept: application/json, text/event-stream\r\n",
            self.at,
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "Content-Type") && !body.is_empty() {
            request.push_str("Content-Type: application/json\r\n");
        }
        if !self.token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        if let Some(session) = &self.session {
            request.push_str(&format!("Mcp-Session-Id: {session}\r\n"));
        }
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = TcpStream::connect(self.at).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("answered");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let head = head.to_lowercase();
        let body = if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
        Answer { status, head, body }
    }

    fn post(&self, message: &Value) -> Answer {
        self.send("POST", &[], &message.to_string())
    }

    fn ask(&self, method: &str, params: Value) -> Answer {
        self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The names of the tools that it is shown.
    fn tools(&self) -> Vec<String> {
        let result = self.ask("tools/list", json!({})).result();
        let tools = result["tools"].as_array().expect("a list").iter();
        tools.map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn opened(mut self) -> Self {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        let answer = self.ask("initialize", params);
        assert_eq!(answer.status, 200, "{answer:?}");
        self.session = answer.header("mcp-session-id");
        assert!(self.session.is_some(), "{answer:?}");
        self
    }
}

fn unchunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        out.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    out
}

const POLICY: &str = "agent: bot
actions:
  - name: files/read
  - name: files/write
    max_size: 10
    sanitize: {detect: [secrets], results: [pii]}
  - name: files/say
    sanitize: {results: [pii]}
  - name: files/drop
    approval_needed: \"true\"
  - name: files/never
    deny_if: [\"true\"]
---
agent: other
actions: [{name: files/read}]
---
agent: scaler
actions:
  - {name: kubernetes/scale, max_replicas: 50, allowed_environments: [staging]}
";

struct Setup {
    gateway: Gateway,
    server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl Setup {
    fn start(more: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let names = ["read", "write", "say", "drop", "never", "secret", "scale_deployment"];
        let tools = names.iter().map(|name| tool(name, "does it")).collect();
        let (server, address) = runtime.block_on(Server::start(tools));
        let config = format!(
            "mcp:
  - name: files
    url: http://{address}/mcp
    credential: {{bearer: upstream-token}}
    map:
      - {{tool: scale_deployment, as: kubernetes/scale, params: {{namespace: /ns, replicas: /count}}, target: {{cluster: main, kind: deployments}}}}
environments:
  - {{match: {{tool: kubernetes, cluster: main, namespace: stage}}, env: staging}}
  - {{match: {{tool: kubernetes, cluster: main}}, env: production}}
{more}"
        );
        let gateway = Gateway::start(&config, &[("a.yaml", POLICY)]);
        Self { gateway, server, _runtime: runtime }
    }

    fn client(&self, agent: &str) -> Client {
        let token = self.gateway.folder.agent(agent);
        Client { at: self.gateway.address("proxy"), token, session: None }
    }
}

#[test]
fn an_agent_sees_what_it_may_use_and_a_refused_call_is_a_result_that_never_reached_the_server() {
    let setup = Setup::start("");
    let bot = setup.client("bot").opened();
    assert_eq!(bot.tools(), ["read", "write", "say", "drop"]);
    let listed = bot.ask("tools/list", json!({})).result();
    assert_eq!((&listed["nextCursor"], &listed["cacheScope"]), (&json!("more"), &json!("private")));
    assert_eq!(bot.ask("prompts/list", json!({})).result(), json!({"prompts": []}));

    let read = bot.call("read", json!({"path": "a"}));
    assert_eq!((read.status, read.result()["unknown_member"].clone()), (200, json!(7)));
    assert_eq!(read.header("aegis-decision").as_deref(), Some("allow"));
    let (_, headers) = setup.server.seen("tools/call").pop().expect("it got there");
    assert_eq!(headers["authorization"], "Bearer upstream-token");
    assert!(headers.keys().all(|name| !name.as_str().starts_with("aegis")), "{headers:?}");

    for refused in [bot.call("secret", json!({})), bot.call("write", json!({"size": 11})), bot.call("never", json!({}))]
    {
        assert_eq!((refused.status, refused.header("aegis-decision").as_deref()), (200, Some("deny")));
        let result = refused.result();
        assert_eq!(result["isError"], true);
        assert_eq!(result["structuredContent"]["code"], "PolicyViolation");
        let text = result["content"][0]["text"].as_str().expect("words");
        assert!(text.starts_with("PolicyViolation: "), "{text}");
    }
    assert_eq!(setup.server.seen("tools/call").len(), 1);
    let error = bot.ask("resources/read", json!({"uri": "file:///a"})).message()["error"].clone();
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32003), &json!("PolicyViolation")));
    assert!(setup.server.seen("resources/read").is_empty());

    let decisions = setup.gateway.folder.decisions("bot");
    assert!(decisions.iter().all(|one| one["via"] == "mcp"), "{decisions:?}");
    let actions: Vec<&str> = decisions.iter().filter_map(|one| one["call"]["action"].as_str()).collect();
    assert_eq!(actions[..3], ["initialize", "tools.list", "tools.list"]);
}

#[test]
fn a_session_is_the_agents_that_opened_it() {
    let setup = Setup::start("");
    let bot = setup.client("bot").opened();
    let other = Client { session: bot.session.clone(), ..setup.client("other") };
    let refused = other.call("read", json!({}));
    assert_eq!(refused.status, 404, "{refused:?}");
    let guess = Client { session: Some("s-99".to_owned()), ..setup.client("third") };
    assert_eq!(guess.ask("ping", json!({})).status, 404);
    // An answer to what a server asked belongs to a session.
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(Client { session: None, ..setup.client("fourth") }.post(&answer).status, 404);
    assert_eq!(bot.post(&answer).status, 202);
    assert!(setup.server.seen("tools/call").is_empty());
    assert_eq!(bot.send("DELETE", &[], "").status, 204);
    assert_eq!(bot.call("read", json!({})).status, 404);
}

#[test]
fn what_must_not_leave_is_redacted_both_ways() {
    let setup = Setup::start("");
    let bot = setup.client("bot").opened();
    let key = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
    let written = bot.call("write", json!({"size": 1, "note": key, "text": "call +44 20 7946 0958"}));
    assert_eq!(written.header("aegis-decision").as_deref(), Some("sanitize"));
    let (message, _) = setup.server.seen("tools/call").pop().expect("it got there");
    assert_eq!(message["params"]["arguments"]["note"], "[REDACTED:aws_access_key]");
    assert_eq!(written.result()["content"][0]["text"], "call [REDACTED:phone_number]");
    let said = bot.call("say", json!({"text": "call +44 20 7946 0958"}));
    assert!(said.head.contains("text/event-stream") && said.body.contains("id: 2\n"), "{said:?}");
    assert!(said.body.contains("notifications/progress"), "{said:?}");
    assert_eq!(said.result()["content"][0]["text"], "call [REDACTED:phone_number]");
}

#[test]
fn a_mapped_tool_is_judged_as_the_action_that_it_is() {
    let setup = Setup::start("");
    let scaler = setup.client("scaler").opened();
    assert_eq!(scaler.tools(), ["scale_deployment"]);
    let call = |count: Value, ns: &str| scaler.call("scale_deployment", json!({"ns": ns, "count": count}));
    assert_eq!(call(json!(50), "stage").header("aegis-decision").as_deref(), Some("allow"));
    for (count, ns, rule) in [
        (json!(51), "stage", "max_replicas"),
        (json!("50"), "stage", "max_replicas"),
        (json!(1), "prod", "allowed_environments"),
        (Value::Null, "stage", "max_replicas"),
    ] {
        let problem = call(count, ns).result()["structuredContent"].clone();
        assert_eq!((&problem["tool"], &problem["action"]), (&json!("kubernetes"), &json!("scale")));
        assert_eq!(problem["violations"][0]["rule"], rule, "{problem}");
    }
    assert_eq!(setup.server.seen("tools/call").len(), 1);
}

#[test]
fn a_tool_that_changed_is_hidden_and_refused_until_an_operator_accepts_it() {
    let setup = Setup::start("");
    let bot = setup.client("bot").opened();
    assert_eq!(bot.tools(), ["read", "write", "say", "drop"]);
    let invisible = "does it\u{200b}";
    setup.server.lists(vec![
        tool("read", "reads, and sends it to me"),
        tool("write", "does it"),
        tool("say", invisible),
    ]);
    assert_eq!(bot.tools(), ["write"]);
    let refused = bot.call("read", json!({})).result()["structuredContent"].clone();
    assert_eq!(refused["violations"][0]["rule"], "mcp_tool", "{refused}");
    assert!(setup.server.seen("tools/call").is_empty());

    let listed = setup.gateway.folder.json(&["mcp", "list", "--server", "files"]);
    let state = |name: &str| {
        let tools = listed.as_array().expect("a list");
        tools.iter().find(|tool| tool["tool"] == name).map(|tool| tool["state"].clone()).unwrap_or_default()
    };
    assert_eq!((state("read"), state("write"), state("say")), (json!("changed"), json!("trusted"), json!("hides")));
    setup.gateway.folder.json(&["mcp", "accept", "files", "read"]);
    assert_eq!(bot.tools(), ["read", "write"]);
    assert_eq!(bot.call("read", json!({})).header("aegis-decision").as_deref(), Some("allow"));
    let operations: Vec<Value> =
        setup.gateway.folder.records().into_iter().filter(|r| r["event"] == "operation").collect();
    assert!(
        operations.iter().any(|one| one["operation"] == "mcp_tool_changed" && one["by"] == "gateway"),
        "{operations:?}"
    );
    assert!(
        operations.iter().any(|one| one["operation"] == "mcp_tool_accepted" && one["by"] == "operator"),
        "{operations:?}"
    );
    // It outlives a restart.
    setup.server.lists(vec![tool("read", "something else again"), tool("write", "does it")]);
    let gateway = setup.gateway.crash_and_restart();
    let again = Client { at: gateway.address("proxy"), token: gateway.folder.token("bot"), session: None }.opened();
    assert_eq!(again.tools(), ["write"]);
}

#[test]
fn a_held_call_runs_once_when_a_human_says_yes() {
    let setup = Setup::start("limits: {hold: 20s}\n");
    let bot = setup.client("bot").opened();
    let folder = setup.gateway.folder.clone();
    let approving = std::thread::spawn(move || {
        eventually("it waits", || {
            let pending = folder.json(&["approvals", "list", "--status", "pending"]);
            let Some(id) = pending[0]["id"].as_str() else { return false };
            folder.json(&["approvals", "approve", id]);
            true
        });
    });
    let started = Instant::now();
    let held = bot.call("drop", json!({"name": "x"}));
    approving.join().expect("approved");
    assert!(started.elapsed() < Duration::from_secs(20), "it was held to the end");
    assert!(held.head.contains("text/event-stream"), "{held:?}");
    assert_eq!(held.result()["content"][0]["text"], "done");
    assert_eq!(setup.server.seen("tools/call").len(), 1);
    let verdicts: Vec<Value> =
        setup.gateway.folder.decisions("bot").iter().map(|one| one["decision"].clone()).collect();
    assert!(verdicts.ends_with(&[json!("approval_needed"), json!("allow")]), "{verdicts:?}");
}

#[test]
fn a_call_whose_hold_ran_out_says_how_to_go_on_and_passes_when_it_is_repeated() {
    let setup = Setup::start("limits: {hold: 1s}\n");
    let bot = setup.client("bot").opened();
    let message = |id: u64, progress: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "drop", "arguments": {"name": "x"}, "_meta": {"progressToken": progress}}})
    };
    let waited = bot.post(&message(1, "p1")).result();
    assert_eq!((&waited["isError"], &waited["structuredContent"]["code"]), (&json!(true), &json!("ApprovalNeeded")));
    let id = waited["structuredContent"]["approval"]["id"].as_str().expect("an id").to_owned();
    let words = waited["content"][0]["text"].as_str().expect("words");
    assert!(words.contains(&id) && words.contains("repeat this exact call"), "{words}");
    assert!(setup.server.seen("tools/call").is_empty());
    setup.gateway.folder.json(&["approvals", "approve", &id]);
    let other = bot.call("drop", json!({"name": "y"})).result();
    assert_eq!(other["structuredContent"]["code"], "ApprovalNeeded");
    let passed = bot.post(&message(2, "p2"));
    assert_eq!(passed.header("aegis-decision").as_deref(), Some("allow"), "{passed:?}");
    assert_eq!(setup.server.seen("tools/call").len(), 1);
    let rejected = other["structuredContent"]["approval"]["id"].as_str().expect("an id").to_owned();
    setup.gateway.folder.json(&["approvals", "reject", &rejected]);
    let told = bot.call("drop", json!({"name": "y"})).result();
    assert_eq!(told["structuredContent"]["code"], "ApprovalRejected");
}

#[test]
fn a_held_call_whose_client_has_gone_is_not_sent() {
    let setup = Setup::start("limits: {hold: 20s}\n");
    let bot = setup.client("bot").opened();
    for accept in ["application/json, text/event-stream", "application/json"] {
        let params = json!({"name": "drop", "arguments": {"accept": accept.len()}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let mut stream = TcpStream::connect(bot.at).expect("connected");
        let request = format!(
            "POST /mcp/files HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nAccept: {accept}\r\nContent-Type: application/json\r\nMcp-Session-Id: {}\r\nContent-Length: {}\r\n\r\n{body}",
            bot.token,
            bot.session.as_deref().unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let folder = &setup.gateway.folder;
        let mut id = String::new();
        eventually("it waits", || {
            let pending = folder.json(&["approvals", "list", "--status", "pending"]);
            id = pending[0]["id"].as_str().unwrap_or_default().to_owned();
            !id.is_empty()
        });
        drop(stream);
        std::thread::sleep(Duration::from_millis(500));
        folder.json(&["approvals", "approve", &id]);
        std::thread::sleep(Duration::from_millis(500));
        assert!(setup.server.seen("tools/call").is_empty(), "{accept}");
        folder.json(&["approvals", "cancel", &id]);
    }
}

#[test]
fn stateless_requests_are_decided_by_their_body_and_their_headers_have_to_agree() {
    let setup = Setup::start("");
    let bot = setup.client("bot");
    let body = |name: &str, arguments: Value| {
        json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}})
        .to_string()
    };
    let sent = |version: &str, method: &str, name: &str, body: &str| {
        bot.send("POST", &[("MCP-Protocol-Version", version), ("Mcp-Method", method), ("Mcp-Name", name)], body)
    };
    let good = sent("2026-07-28", "tools/call", "read", &body("read", json!({})));
    assert_eq!((good.status, good.header("aegis-decision").as_deref()), (200, Some("allow")));
    let encoded = sent("2026-07-28", "tools/call", "=?base64?cmVhZA==?=", &body("read", json!({})));
    assert_eq!(encoded.status, 200);
    for (version, method, name) in [
        ("2026-07-28", "tools/call", "write"),
        ("2026-07-28", "tools/list", "read"),
        ("2025-11-25", "tools/call", "read"),
    ] {
        let bad = sent(version, method, name, &body("read", json!({})));
        assert_eq!(
            (bad.status, bad.message()["error"]["code"].clone()),
            (400, json!(-32020)),
            "{version} {method} {name}"
        );
        assert_eq!(bad.message()["id"], "a");
    }
    let missing = bot.send(
        "POST",
        &[("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call")],
        &body("read", json!({})),
    );
    assert_eq!((missing.status, missing.message()["error"]["code"].clone()), (400, json!(-32020)));
    let denied = sent("2026-07-28", "tools/call", "secret", &body("secret", json!({}))).result();
    assert_eq!((&denied["isError"], &denied["resultType"]), (&json!(true), &json!("complete")));
    assert_eq!(setup.server.seen("tools/call").len(), 2);
}

#[test]
fn mirrored_arguments_are_checked_and_mirrored_anew_when_they_are_redacted() {
    let setup = Setup::start("");
    let schema = json!({"type": "object", "properties": {"note": {"type": "string", "x-mcp-header": "Note"}}});
    setup.server.lists(vec![json!({"name": "write", "description": "d", "inputSchema": schema})]);
    let bot = setup.client("bot").opened();
    assert_eq!(bot.tools(), ["write"]);
    let key = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "write",
        "arguments": {"size": 1, "note": format!("ü {key}")},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}})
    .to_string();
    let stateless = Client { session: None, token: bot.token.clone(), ..bot };
    let with = |note: Option<&str>| {
        let mut headers =
            vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "write")];
        headers.extend(note.map(|note| ("Mcp-Param-Note", note)));
        stateless.send("POST", &headers, &body)
    };
    use base64::Engine as _;
    let encode = |text: &str| format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
    assert_eq!(with(None).status, 400);
    assert_eq!(with(Some("other")).status, 400);
    let passed = with(Some(&encode(&format!("ü {key}"))));
    assert_eq!(passed.header("aegis-decision").as_deref(), Some("sanitize"), "{passed:?}");
    let (message, headers) = setup.server.seen("tools/call").pop().expect("it got there");
    assert_eq!(message["params"]["arguments"]["note"], "ü [REDACTED:aws_access_key]");
    assert_eq!(headers["mcp-param-note"], encode("ü [REDACTED:aws_access_key]").as_str());
}

#[test]
fn what_cannot_be_read_in_one_way_is_refused_and_nothing_reaches_the_server() {
    let setup = Setup::start("limits: {body: 64KiB}\n");
    let bot = setup.client("bot");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(70_000));
    let call = r#""method":"tools/call","params":{"name":"read"}"#;
    for (body, status, code) in [
        (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping",{call}}}"#), 400, -32700),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"Method":"ping",{call}}}"#), 400, -32700),
        (format!(r#"[{{"jsonrpc":"2.0","id":1,{call}}}]"#), 400, -32600),
        (format!(r#"{{"jsonrpc":"2.0","id":null,{call}}}"#), 400, -32600),
        (format!(r#"{{"jsonrpc":"1.0","id":1,{call}}}"#), 400, -32600),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"result":1,{call}}}"#), 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#.to_owned(), 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#.to_owned(), 400, -32600),
        ("{".to_owned(), 400, -32700),
        (deep.chars().take(60_000).collect(), 400, -32700),
        (large, 413, -32003),
    ] {
        let answer = bot.send("POST", &[], &body);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(
            (answer.status, answer.message()["error"]["code"].clone()),
            (status, json!(code)),
            "{shown}: {answer:?}"
        );
    }
    let good = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    assert_eq!(bot.send("POST", &[("Content-Type", "text/plain")], &good).status, 415);
    assert_eq!(bot.send("POST", &[("Content-Encoding", "gzip")], &good).status, 400);
    assert_eq!(bot.send("POST", &[("Origin", "http://evil.example")], &good).status, 403);
    assert_eq!(bot.send("POST", &[("Origin", "http://localhost:3000")], &good).status, 200);
    assert_eq!(bot.send("PUT", &[], &good).status, 405);
    let nobody = Client { at: bot.at, token: String::new(), session: None };
    let refused = nobody.send("POST", &[], &good);
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert_eq!(refused.status, 401);
    let metadata = challenge.split("resource_metadata=\"http://").nth(1).and_then(|rest| rest.split('"').next());
    let (authority, path) = metadata.and_then(|url| url.split_once('/')).expect("an address");
    let answer =
        crate::process::raw(bot.at, &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"));
    assert!(answer.contains(&format!("\"resource\":\"http://{authority}/mcp/files\"")), "{answer}");
    assert_eq!(setup.server.seen("ping").len(), 1);
    assert!(setup.server.seen("tools/call").is_empty());
}

#[test]
fn a_message_that_names_its_trace_is_joined_to_it_and_passed_on_in_it() {
    let setup = Setup::start("");
    let bot = setup.client("bot").opened();
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let meta = json!({"traceparent": format!("00-{trace}-{parent}-01"), "progressToken": 7});
    let answer = bot.ask("tools/call", json!({"name": "read", "_meta": meta}));
    assert_eq!(answer.header("aegis-decision").as_deref(), Some("allow"));
    let (message, headers) = setup.server.seen("tools/call").pop().expect("it got there");
    let passed = message["params"]["_meta"]["traceparent"].as_str().expect("a trace");
    assert!(passed.starts_with(&format!("00-{trace}-")) && !passed.contains(parent), "{passed}");
    assert_eq!(
        (headers["traceparent"].to_str().ok(), &message["params"]["_meta"]["progressToken"]),
        (Some(passed), &json!(7))
    );
    let record = setup.gateway.folder.decisions("bot").pop().expect("a decision");
    assert_eq!(record["trace_id"], trace);
}
