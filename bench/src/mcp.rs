//! `tools/call` through Aegis to a small MCP server, in both generations of the protocol, beside the server itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::contest::{self, Contender, Plan, named};
use crate::dial::Way;
use crate::load::Target;
use crate::process::{Home, Serving};
use crate::report::Section;

const PLAN: Plan = Plan { rounds: 3, rate: 1_000, open: Duration::from_secs(2), closed: Duration::from_secs(1) };
const AGENT: &str = "operator-bot";
const POLICY: &str =
    "agent: operator-bot\nactions:\n  - name: ops/deploy\n    max_replicas: 50\n    allowed_service: [web, api]\n";
const SESSION: &str = "mcp-session-id";
const SESSIONS: &str = "2025-11-25";
const STATELESS: &str = "2026-07-28";
/// How many bytes the tool's free text has: the message is about 1 KiB, as the other parts' calls are.
const NOTE_BYTES: usize = 800;

/// The MCP server, on a thread of its own; it ends when this is dropped.
struct Server {
    address: SocketAddr,
    _ends: oneshot::Sender<Infallible>,
}

impl Server {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (ends, ended) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { address, _ends: ends })
    }
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let message: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    let Some(id) = message.get("id") else {
        return Ok(response.status(202).body(Full::default())?);
    };
    let method = message.get("method").and_then(Value::as_str);
    let result = match method {
        Some("initialize") => json!({"protocolVersion": SESSIONS, "capabilities": {"tools": {}},
            "serverInfo": {"name": "ops", "version": "1"}}),
        Some("tools/list") => json!({"tools": [{"name": "deploy", "description": "Deploys a service.", "inputSchema": {
            "type": "object", "properties": {"service": {"type": "string"}, "replicas": {"type": "integer"},
            "note": {"type": "string"}}}}]}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": "deployed web"}]}),
        _ => json!({}),
    };
    let response = if method == Some("initialize") { response.header(SESSION, "s-1") } else { response };
    Ok(response.body(Full::from(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()))?)
}

/// Where a client sends its messages.
struct Endpoint {
    address: SocketAddr,
    path: &'static str,
    token: Option<String>,
}

impl Endpoint {
    fn post(&self, message: &Value, headers: &[(&str, &str)]) -> Result<Request<Bytes>> {
        let mut request = Request::post(self.path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(request.body(Bytes::from(message.to_string()))?)
    }

    async fn ask(&self, message: &Value, headers: &[(&str, &str)]) -> Result<(HeaderMap, Value)> {
        let (head, body) = Way::plain(self.address).connect().await?.send(self.post(message, headers)?).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(head.status.is_success(), "{message}: {} {text}", head.status);
        let answer = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).context("JSON")? };
        Ok((head.headers, answer))
    }

    /// Opens a session, as clients up to 2025-11-25 do; the calls in it.
    async fn in_session(&self) -> Result<Target> {
        let params =
            json!({"protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
        let (headers, _) = self.ask(&request("initialize", params), &[]).await?;
        let session = headers.get(SESSION).context("a session")?.to_str()?;
        let headers = [(SESSION, session), ("mcp-protocol-version", SESSIONS)];
        self.ask(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), &headers).await?;
        let (_, tools) = self.ask(&request("tools/list", json!({})), &headers).await?;
        ensure!(tools.pointer("/result/tools/0/name") == Some(&json!("deploy")), "the tool is listed: {tools}");
        self.calls(&request("tools/call", call(12)), &headers)
    }

    /// The calls that need no session, from 2026-07-28 on.
    fn stateless(&self) -> Result<Target> {
        let mut params = call(12);
        params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": STATELESS,
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {}});
        let headers = [("mcp-protocol-version", STATELESS), ("mcp-method", "tools/call"), ("mcp-name", "deploy")];
        self.calls(&request("tools/call", params), &headers)
    }

    fn calls(&self, message: &Value, headers: &[(&str, &str)]) -> Result<Target> {
        let mut target = Target::new(Way::plain(self.address), self.post(message, headers)?)?;
        target.is_answer = |body| body.windows(12).any(|part| part == b"deployed web");
        if self.token.is_some() {
            target.expected.insert("aegis-decision", HeaderValue::from_static("allow"));
        }
        Ok(target)
    }
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn call(replicas: u32) -> Value {
    json!({"name": "deploy", "arguments": {"service": "web", "replicas": replicas, "note": "word ".repeat(NOTE_BYTES / 5)}})
}

pub(crate) fn run(aegis: &Path, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::start()?;
    let config = format!("mcp:\n  - {{name: ops, url: \"http://{}/mcp\"}}\n", server.address);
    let home = Home::configured(aegis, scratch, &config, [(AGENT.to_owned(), POLICY.to_owned())])?;
    let token = home.token(AGENT)?;
    let Serving { process, proxy, .. } = home.serve()?;
    let direct = Endpoint { address: server.address, path: "/mcp", token: None };
    let ours = Endpoint { address: proxy, path: "/mcp/ops", token: Some(token) };
    let (direct_session, session) =
        runtime.block_on(async { anyhow::Ok((direct.in_session().await?, ours.in_session().await?)) })?;
    let refused = runtime.block_on(ours.ask(&request("tools/call", call(51)), &[(SESSION, "s-1")]))?.1;
    ensure!(refused.pointer("/result/isError") == Some(&Value::Bool(true)), "51 replicas are refused: {refused}");

    let mut contenders = vec![
        Contender::new("direct, session", direct_session, None),
        Contender::new("aegis, session", session, Some(&process)),
        Contender::new("direct, stateless", direct.stateless()?, None),
        Contender::new("aegis, stateless", ours.stateless()?, Some(&process)),
    ];
    contest::requests(&runtime, &mut contenders, PLAN)?;
    let all = contest::results(contenders)?;
    process.stop().context("aegis")?;
    runtime.block_on(
        home.has_recorded(all.iter().filter(|one| one.name.starts_with("aegis")).map(|one| one.calls).sum()),
    )?;

    let of = |name| named(&all, name);
    let pairs = [(of("aegis, session")?, of("direct, session")?), (of("aegis, stateless")?, of("direct, stateless")?)];
    let mut rows = Vec::new();
    for (ours, base) in pairs {
        rows.extend([base.at_a_rate(None, PLAN.rate)?, ours.at_a_rate(Some(base), PLAN.rate)?]);
    }
    for (ours, base) in pairs {
        rows.extend([base.at_most(ours)?, ours.at_most(ours)?]);
    }
    let note = format!(
        "`tools/call` of about 1 KiB over Streamable HTTP to a small MCP server in the benchmark's own process, which answers one \
         message as JSON: in a session (revision {SESSIONS}), and stateless ({STATELESS}, with the mirrored headers). Through Aegis: \
         token, message read, tool looked up, arguments decided, durable record, the answer looked through, outcome; 51 replicas are \
         refused before anything is measured. 32 connections; {} interleaved rounds of {} s and {} s, the one in the middle. Ours: \
         added to direct at p50 and p99; as fast as it goes: Aegis, what the row names, how many times that Aegis does. {}",
        PLAN.rounds,
        PLAN.open.as_secs(),
        PLAN.closed.as_secs(),
        contest::verdict(&pairs)?,
    );
    Ok(Section { title: "MCP", note, rows })
}
