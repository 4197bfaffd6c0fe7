//! An agent of the demo: calls tools through the gateway over real TCP, and reads what it is answered.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client;

/// How long a tunnel may stay silent before it counts as dead.
const SILENCE: Duration = Duration::from_secs(15);

/// An agent with its token.
pub(super) struct Caller {
    /// Its name.
    pub(super) name: &'static str,
    proxy: SocketAddr,
    token: String,
}

/// What an agent is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// `Aegis-Decision`.
    pub(super) decision: String,
    /// The problem's code; empty when there is no problem.
    pub(super) code: String,
    /// The problem's detail.
    pub(super) detail: String,
    /// What the agent is told to do.
    pub(super) guidance: String,
    /// The rules that said no or ask.
    pub(super) rules: Vec<String>,
    /// The approval that it waits for.
    pub(super) approval: Option<String>,
    /// Seconds to wait.
    pub(super) retry_after: Option<u64>,
}

impl Caller {
    pub(super) fn new(name: &'static str, proxy: SocketAddr, token: &str) -> Self {
        Self { name, proxy, token: token.to_owned() }
    }

    /// Calls a route.
    pub(super) async fn route(&self, method: Method, path: &str, media: &str, body: &Value) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.proxy.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, media)
            .body(Bytes::from(body.to_string()))?;
        self.send(request).await
    }

    /// Gets a page through the forward proxy.
    pub(super) async fn get(&self, url: &str) -> Result<Answer> {
        let uri: http::Uri = url.parse()?;
        let host = uri.authority().context("a URL with a host")?.to_string();
        let request = Request::builder()
            .uri(uri)
            .header(HOST, host)
            .header(PROXY_AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Bytes::new())?;
        self.send(request).await
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        let (head, body) = client::send(&self.proxy.to_string(), request).await?.into_parts();
        Ok(Answer::read(head.status.as_u16(), &head.headers, &body))
    }

    /// Asks for a tunnel, and when there is one speaks SSH into it. Also returns what came back.
    pub(super) async fn ssh(&self, authority: &str) -> Result<(Answer, Vec<u8>)> {
        let stream = TcpStream::connect(self.proxy).await.context("can't connect to the gateway")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::connect(authority)
            .header(HOST, authority)
            .header(PROXY_AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::<Bytes>::new())?;
        let mut response = sender.send_request(request).await?;
        if !response.status().is_success() {
            let (head, body) = response.into_parts();
            return Ok((
                Answer::read(head.status.as_u16(), &head.headers, &body.collect().await?.to_bytes()),
                Vec::new(),
            ));
        }
        let answer = Answer::read(response.status().as_u16(), response.headers(), b"");
        let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await?);
        tunnel.write_all(b"SSH-2.0-agent\r\n").await?;
        let mut back = Vec::new();
        // Closed in order or torn down: either way there is no tunnel.
        let ended = tokio::time::timeout(SILENCE, tunnel.read_to_end(&mut back)).await;
        let _ = ended.context("the tunnel stayed open")?;
        Ok((answer, back))
    }
}

impl Answer {
    fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |pointer: &str| problem.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let violations = problem.get("violations").and_then(Value::as_array);
        let rule = |violation: &Value| violation.get("rule").and_then(Value::as_str).map(str::to_owned);
        Self {
            status,
            decision: header("aegis-decision").to_owned(),
            code: text("/title"),
            detail: text("/detail"),
            guidance: text("/guidance"),
            rules: violations.into_iter().flatten().filter_map(rule).collect(),
            approval: Some(text("/approval/id")).filter(|id| !id.is_empty()),
            retry_after: header("retry-after").parse().ok(),
        }
    }
}
