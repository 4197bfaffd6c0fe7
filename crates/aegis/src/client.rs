//! A small HTTP/1.1 client: the operators' commands ask a running gateway with it, and the demo's agents call through one.
//!
//! Plain HTTP only. Answers are read whole, up to [`ANSWER_LIMIT`]. Deliberately absent: TLS, redirects, retries.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most that is read of an answer, in bytes.
const ANSWER_LIMIT: usize = 64 << 20;
/// How long an answer may take; longer than the longest that the API makes a reader wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sends `request` to `address` (`host:port`) on a connection of its own and reads the answer.
///
/// # Errors
/// When there is no whole answer.
pub(crate) async fn send(address: &str, request: Request<Bytes>) -> Result<Response<Bytes>> {
    tokio::time::timeout(PATIENCE, exchange(address, request))
        .await
        .with_context(|| format!("{address} didn't answer within {} seconds", PATIENCE.as_secs()))?
}

async fn exchange(address: &str, request: Request<Bytes>) -> Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("can't connect to {address}"))?;
    let spoken = || format!("{address} doesn't speak HTTP as expected");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(spoken)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await.with_context(spoken)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| anyhow::anyhow!(error))?;
    driver.abort();
    Ok(Response::from_parts(head, body.to_bytes()))
}
