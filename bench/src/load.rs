//! Load on an HTTP server: at a fixed rate, and as fast as it answers.
//!
//! At a fixed rate every request has a time at which it is due, and its latency counts from there: a server that stalls makes
//! the requests behind it late, and that is in the numbers (no coordinated omission).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::report::{Round, Times};

/// Connections, each with one request under way at most.
const CONNECTIONS: usize = 32;
/// Slept through before a request is due, the rest is spun: sleeping is not exact enough.
const SPIN: Duration = Duration::from_micros(100);

/// Where requests go and what they are.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) request: Request<Bytes>,
    /// What every answer's headers must hold, so that no error is measured.
    pub(crate) expected: HeaderMap,
}

/// Sends requests at a fixed rate.
pub(crate) async fn open_loop(target: &Target, rate: u32, duration: Duration) -> Result<Round> {
    let connections = connect(target).await?;
    let (due, queue) = mpsc::unbounded_channel::<Instant>();
    let queue = Arc::new(Mutex::new(queue));
    let senders: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (target, queue) = (target.clone(), Arc::clone(&queue));
            tokio::spawn(async move {
                let mut times = Times::new();
                loop {
                    let next = queue.lock().await.recv().await;
                    let Some(due) = next else { return Ok::<_, anyhow::Error>(times) };
                    exchange(&mut connection, &target).await?;
                    times.add(due.elapsed());
                }
            })
        })
        .collect();
    let started = Instant::now();
    let pacer = std::thread::spawn(move || {
        let count = rate * u32::try_from(duration.as_secs()).unwrap_or(1);
        for nth in 0..count {
            let at = started + Duration::from_secs(1) * nth / rate;
            std::thread::sleep(at.saturating_duration_since(Instant::now()).saturating_sub(SPIN));
            while Instant::now() < at {
                std::hint::spin_loop();
            }
            if due.send(at).is_err() {
                return;
            }
        }
    });
    let round = gather(senders, started).await?;
    ensure!(pacer.join().is_ok(), "the pacer ended in a panic");
    Ok(round)
}

/// Sends the next request on a connection as soon as the last one is answered.
pub(crate) async fn closed_loop(target: &Target, duration: Duration) -> Result<Round> {
    let connections = connect(target).await?;
    let started = Instant::now();
    let senders: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut times = Times::new();
                while started.elapsed() < duration {
                    let sent = Instant::now();
                    exchange(&mut connection, &target).await?;
                    times.add(sent.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    gather(senders, started).await
}

async fn gather(senders: Vec<tokio::task::JoinHandle<Result<Times>>>, started: Instant) -> Result<Round> {
    let mut times = Times::new();
    for sender in senders {
        times.merge(&sender.await??)?;
    }
    Ok(Round::new(times, started))
}

/// Opens all connections, and uses each once.
async fn connect(target: &Target) -> Result<Vec<SendRequest<Full<Bytes>>>> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(target.address).await.with_context(|| target.address.to_string())?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        exchange(&mut sender, target).await?;
        connections.push(sender);
    }
    Ok(connections)
}

async fn exchange(connection: &mut SendRequest<Full<Bytes>>, target: &Target) -> Result<()> {
    connection.ready().await?;
    let response = connection.send_request(target.request.clone().map(Full::new)).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let as_expected = target.expected.iter().all(|(name, value)| head.headers.get(name) == Some(value));
    ensure!(
        head.status.is_success() && as_expected && !body.is_empty(),
        "an answer that isn't the expected one: {head:?} {}",
        String::from_utf8_lossy(&body)
    );
    Ok(())
}
