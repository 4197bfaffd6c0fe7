//! `aegis mcp -- COMMAND`: stands between an MCP client's pipes and a server that it starts. Each message of the client is put
//! before the gateway, and handed to the server if the gateway says so; each of the server's is looked through there before the
//! client gets it.
//!
//! Invariants: nothing reaches the server that the gateway didn't hand on, on record; a gateway that can't be asked is a no, and
//! the client is told. One line is one message, of a bounded length. The server ends with the bridge. Its standard error is
//! passed through. Deliberately absent: rules, and keeping an agent from starting the server itself.

use std::collections::HashMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex as Turn, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::BridgeArgs;
use crate::client;
use crate::outcome::No;

/// The longest line, in bytes.
const LONGEST: u64 = 16 << 20;
/// How long the server may take to end once its client has gone.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The header by which gateway and bridge understand each other.
const BRIDGE: &str = "aegis-mcp";

/// What both directions share.
struct Bridge {
    /// `host:port` of the gateway.
    gateway: String,
    path: String,
    token: String,
    server: Turn<Option<ChildStdin>>,
    client: Mutex<std::io::Stdout>,
    /// What was handed on and isn't answered yet, by its id.
    asked: Mutex<HashMap<String, Value>>,
}

/// Runs until the client or the server ends.
pub(super) async fn run(args: BridgeArgs) -> Result<()> {
    let BridgeArgs { server, gateway, token, command } = args;
    let Some((program, arguments)) = command.split_first() else { bail!("name the server's command after `--`") };
    let uri: http::Uri = gateway.parse().with_context(|| format!("the gateway's address is no URL: {gateway}"))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/");
    let Some(authority) = authority else { bail!("--gateway looks like http://127.0.0.1:4180, it is {gateway}") };
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("AEGIS_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("can't start {program}"))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("the server has no output")?);
    let bridge = Arc::new(Bridge {
        gateway: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
        path: format!("/mcp/{server}"),
        token,
        server: Turn::new(stdin),
        client: Mutex::new(std::io::stdout()),
        asked: Mutex::default(),
    });
    let from_server = tokio::spawn(Arc::clone(&bridge).from_server(BufReader::new(stdout)));
    tokio::select! {
        read = Arc::clone(&bridge).from_client(lines_of_stdin()) => read?,
        status = child.wait() => return ended(status?),
    }
    // The server sees that its client has gone.
    drop(bridge.server.lock().await.take());
    let ended_well = timeout(LAST_WORDS, child.wait()).await;
    // What it said last is shown before we go.
    let _ = timeout(LAST_WORDS, from_server).await;
    match ended_well {
        Ok(status) => ended(status?),
        Err(_) => kill(child).await,
    }
}

async fn kill(mut child: Child) -> Result<()> {
    child.kill().await.context("the server can't be ended")
}

fn ended(status: std::process::ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(No(format!("the server ended with {status}")).into()) }
}

/// The lines of standard input, read by a thread of their own: a read of it can't be broken off.
fn lines_of_stdin() -> mpsc::Receiver<Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut bytes = Vec::new();
            let next = match stdin.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
                Ok(_) if bytes.last() == Some(&b'\n') => Ok(bytes),
                Ok(read) if read as u64 == LONGEST => Err(anyhow::anyhow!("a message is longer than {LONGEST} bytes")),
                // The end, or half a message, which is none.
                Ok(_) => return,
                Err(error) => Err(anyhow::Error::from(error).context("standard input broke")),
            };
            let broken = next.is_err();
            if sender.blocking_send(next).is_err() || broken {
                return;
            }
        }
    });
    receiver
}

/// The next line; `None` at the end.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = reader.take(LONGEST).read_until(b'\n', &mut bytes).await.context("a pipe broke")?;
    match bytes.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(bytes)),
        Some(_) if read as u64 == LONGEST => bail!("a message is longer than {LONGEST} bytes"),
        // Half a message is none.
        Some(_) => Ok(None),
    }
}

impl Bridge {
    async fn from_client(self: Arc<Self>, mut lines: mpsc::Receiver<Result<Vec<u8>>>) -> Result<()> {
        let mut calls = JoinSet::new();
        while let Some(bytes) = lines.recv().await {
            let bytes = bytes?;
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            // A request may wait for a human; what has no answer keeps its place.
            let waits = message.get("id").is_some() && message.get("method").is_some();
            let bridge = Arc::clone(&self);
            let decided = async move { bridge.decided(Bytes::from(bytes), &message).await };
            if waits {
                calls.spawn(decided);
            } else {
                decided.await;
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
        Ok(())
    }

    /// Puts a message of the client before the gateway, and does what that says.
    async fn decided(&self, bytes: Bytes, message: &Value) {
        let id = message.get("id").filter(|_| message.get("method").is_some());
        match self.ask(bytes, None).await {
            Ok(answer) if answer.headers().get(BRIDGE).is_some_and(|value| value == "forward") => {
                if let Some(id) = id {
                    self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), message.clone());
                }
                if let Err(error) = self.to_server(answer.body()).await {
                    self.refuse(id, &format!("the server can't be reached: {error:#}"));
                }
            }
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                self.refuse(id, "the gateway doesn't take the token: it may have expired");
            }
            // A refusal, in the client's own terms.
            Ok(answer)
                if id.is_some() && serde_json::from_slice::<Value>(answer.body()).is_ok_and(|v| v.is_object()) =>
            {
                self.to_client(answer.body());
            }
            Ok(answer) => self.refuse(id, &format!("the gateway refused it with status {}", answer.status())),
            Err(error) => self.refuse(id, &format!("the gateway can't be asked, so nothing was run: {error:#}")),
        }
    }

    /// Passes on what the server says, as far as the gateway lets it.
    async fn from_server(self: Arc<Self>, mut reader: BufReader<tokio::process::ChildStdout>) -> Result<()> {
        while let Some(bytes) = line(&mut reader).await? {
            let Ok(said) = serde_json::from_slice::<Value>(&bytes) else {
                eprintln!("aegis mcp: the server wrote something that is no message; it is dropped");
                continue;
            };
            let answers = said.get("method").is_none().then(|| said.get("id")).flatten();
            let request = answers
                .and_then(|id| self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.to_string()));
            if answers.is_some() && request.is_none() {
                eprintln!("aegis mcp: the server answered what nobody asked; it is dropped");
                continue;
            }
            let body = json!({"request": request, "said": said}).to_string();
            match self.ask(Bytes::from(body), Some("said")).await {
                Ok(answer) if answer.status() == StatusCode::OK => self.to_client(answer.body()),
                Ok(answer) => {
                    self.refuse(answers, &format!("the gateway doesn't show it, status {}", answer.status()));
                }
                Err(error) => self.refuse(answers, &format!("the gateway can't be asked: {error:#}")),
            }
        }
        Ok(())
    }

    async fn ask(&self, body: Bytes, what: Option<&str>) -> Result<Response<Bytes>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::HOST, &self.gateway)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(what) = what {
            request = request.header(BRIDGE, what);
        }
        let request = request.body(body).context("the token or the server's name can't be sent")?;
        client::send(&self.gateway, request).await
    }

    async fn to_server(&self, message: &[u8]) -> Result<()> {
        let mut server = self.server.lock().await;
        let pipe = server.as_mut().context("it has ended")?;
        pipe.write_all(&one_line(message)).await?;
        pipe.flush().await?;
        Ok(())
    }

    fn to_client(&self, message: &[u8]) {
        let line = one_line(message);
        let written = tokio::task::block_in_place(|| {
            let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            client.write_all(&line)?;
            client.flush()
        });
        if let Err(error) = written {
            eprintln!("aegis mcp: the client has gone: {error}");
        }
    }

    /// Tells the client, or where nothing is answered the operator, that something wasn't done.
    fn refuse(&self, id: Option<&Value>, why: &str) {
        eprintln!("aegis mcp: {why}");
        if let Some(id) = id {
            let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32003, "message": why}});
            self.to_client(error.to_string().as_bytes());
        }
    }
}

/// A message on one line: whoever wrote it may have broken it into several, which only white space can be.
fn one_line(message: &[u8]) -> Vec<u8> {
    let mut line: Vec<u8> =
        message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    while line.last() == Some(&b' ') {
        line.pop();
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_a_message_and_half_a_line_is_none() {
        let mut reader = BufReader::new(&b"{\"a\":1}\n{\"b\""[..]);
        assert_eq!(line(&mut reader).await.expect("read").as_deref(), Some(&b"{\"a\":1}\n"[..]));
        assert_eq!(line(&mut reader).await.expect("read"), None);
        assert_eq!(one_line(b"{\n \"a\": 1\r\n}\n"), b"{  \"a\": 1  }\n");
    }
}
