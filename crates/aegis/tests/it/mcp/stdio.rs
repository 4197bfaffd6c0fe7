//! `aegis mcp -- COMMAND` between a client's pipes and a real server: decided by the gateway, on its record, and closed when that
//! is gone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::conformance::peer;
use crate::process::{Gateway, aegis, raw};

const POLICY: &str = "agent: bot
actions:
  - {name: local/echo, required_params: [message], sanitize: {results: [pii]}}
  - {name: local/get-sum, max_a: 10}
";

struct Pipe {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next: u64,
}

impl Pipe {
    fn start(gateway: &Gateway, token: &str) -> Self {
        let mut command = aegis();
        command.args(["mcp", "--server", "local", "--gateway", &format!("http://{}", gateway.address("proxy")), "--"]);
        command.arg(peer("mcp-server-everything")).env("AEGIS_TOKEN", token);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut pipe = Self { child, stdin, stdout: BufReader::new(stdout), next: 0 };
        let client = json!({"name": "c", "version": "1"});
        pipe.ask("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}));
        pipe.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        pipe
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").expect("sent");
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("read") > 0, "it ended");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_behind_pipes_is_decided_by_the_gateway_and_nothing_passes_without_it() {
    let gateway = Gateway::start("mcp: [{name: local}]\n", &[("a.yaml", POLICY)]);
    let token = gateway.folder.agent("bot");
    let mut pipe = Pipe::start(&gateway, &token);
    let listed = pipe.ask("tools/list", json!({}));
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().expect("a list").iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["echo", "get-sum"], "{listed}");

    let echoed = pipe.call("echo", json!({"message": "call +44 20 7946 0958"}));
    assert_eq!(echoed["result"]["content"][0]["text"], "Echo: call [REDACTED:phone_number]", "{echoed}");
    let summed = pipe.call("get-sum", json!({"a": 2, "b": 3}));
    assert!(summed.to_string().contains('5'), "{summed}");
    let denied = pipe.call("get-sum", json!({"a": 11, "b": 3}));
    assert_eq!(denied["result"]["isError"], true, "{denied}");
    assert_eq!(denied["result"]["structuredContent"]["violations"][0]["rule"], "max_a");
    let unlisted = pipe.call("get-env", json!({}));
    assert_eq!(unlisted["result"]["structuredContent"]["code"], "PolicyViolation", "{unlisted}");

    let decisions = gateway.folder.decisions("bot");
    let said: Vec<(&str, &str)> = decisions
        .iter()
        .filter_map(|one| Some((one["call"]["action"].as_str()?, one["decision"].as_str()?)))
        .filter(|(action, _)| ["echo", "get-sum", "get-env"].contains(action))
        .collect();
    assert_eq!(said, [("echo", "allow"), ("get-sum", "allow"), ("get-sum", "deny"), ("get-env", "deny")]);

    drop(gateway);
    let closed = pipe.call("echo", json!({"message": "x"}));
    let words = closed["error"]["message"].as_str().expect("an error");
    assert!(words.contains("nothing was run"), "{closed}");
}

/// What an agent brings as the word of a server that it runs.
fn brings(gateway: &Gateway, token: &str, tool: &str) -> String {
    let list = json!({"tools": [{"name": tool, "description": "another one", "inputSchema": {"type": "object"}}]});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let body = json!({"request": request, "said": {"jsonrpc": "2.0", "id": 1, "result": list}}).to_string();
    let head = format!("POST /mcp/local HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}", body.len());
    let more = format!("Authorization: Bearer {token}\r\nAegis-Mcp: said\r\nContent-Type: application/json");
    raw(gateway.address("proxy"), &format!("{head}\r\n{more}\r\n\r\n{body}"))
}

#[test]
fn what_one_agent_says_that_its_server_said_changes_nothing_for_another() {
    let policies = format!("{POLICY}---\nagent: rival\nactions: [{{name: local/echo}}]\n");
    let gateway = Gateway::start("mcp: [{name: local}]\n", &[("a.yaml", &policies)]);
    let (bot, rival) = (gateway.folder.agent("bot"), gateway.folder.agent("rival"));
    let stranger = gateway.folder.agent("stranger");
    assert!(brings(&gateway, &rival, "echo").starts_with("HTTP/1.1 200"), "its own server may be anything");
    assert!(brings(&gateway, &stranger, "get-sum").starts_with("HTTP/1.1 403"), "nothing of it is granted");
    let mut pipe = Pipe::start(&gateway, &bot);
    let listed = pipe.ask("tools/list", json!({}));
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(2), "{listed}");
    brings(&gateway, &rival, "echo");
    let echoed = pipe.call("echo", json!({"message": "x"}));
    assert_eq!(echoed["result"]["content"][0]["text"], "Echo: x", "{echoed}");
}

#[test]
fn a_bad_token_gets_nothing_through() {
    let gateway = Gateway::start("mcp: [{name: local}]\n", &[("a.yaml", POLICY)]);
    let mut command = aegis();
    command.args(["mcp", "--gateway", &format!("http://{}", gateway.address("proxy")), "--", "cat"]);
    command.env("AEGIS_TOKEN", "forged").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).expect("sent");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
    // `cat` would have sent it back.
    assert!(line.contains("doesn't take the token"), "{line}");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}
