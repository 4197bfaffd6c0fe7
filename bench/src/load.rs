//! Load on an HTTP server: at a fixed rate, and as fast as it answers.
//!
//! At a fixed rate every request has a time at which it is due, and its latency counts from there: a server that stalls makes
//! the requests behind it late, and that is in the numbers (no coordinated omission).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, Version};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::dial::{self, Connection, Way};
use crate::report::{Round, Times};

/// Requests under way at a time.
const CALLERS: usize = 32;
/// HTTP/2 connections that they share.
const CONNECTIONS: usize = 4;
/// New connections at a time.
const NEWCOMERS: usize = 8;
/// Slept through before a request is due, the rest is spun: sleeping is not exact enough.
const SPIN: Duration = Duration::from_micros(100);

/// Where requests go and what they are.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) way: Way,
    pub(crate) request: Request<Bytes>,
    /// What every answer's headers must hold, and what its body must be, so that no error is measured.
    pub(crate) expected: HeaderMap,
    pub(crate) is_answer: fn(&[u8]) -> bool,
}

/// One who sends a request and waits for its answer, again and again.
pub(crate) struct Caller {
    target: Target,
    /// None where each request has a connection of its own.
    connection: Option<Connection>,
}

impl Target {
    /// A target of which any answer that holds something is one.
    pub(crate) fn new(way: Way, request: Request<Bytes>) -> Result<Self> {
        let request = dial::in_version(request, way.version, way.tls.is_some())?;
        Ok(Self { way, request, expected: HeaderMap::new(), is_answer: |body| !body.is_empty() })
    }

    /// Those who send to it on connections that stay, each used once already.
    pub(crate) async fn callers(&self) -> Result<Vec<Caller>> {
        let mut callers: Vec<Caller> = Vec::with_capacity(CALLERS);
        let connections = if self.way.version == Version::HTTP_2 { CONNECTIONS } else { CALLERS };
        for nth in 0..CALLERS {
            let opened = nth.checked_sub(connections).and_then(|shared| callers.get(shared));
            let connection = match opened.and_then(|caller| caller.connection.as_ref()?.shared()) {
                Some(shared) => shared,
                None => self.way.connect().await?,
            };
            let mut caller = Caller { target: self.clone(), connection: Some(connection) };
            caller.call().await?;
            callers.push(caller);
        }
        Ok(callers)
    }

    /// Sends one request on a connection that is there; what stays of it.
    pub(crate) async fn one(&self, stream: TcpStream) -> Result<Connection> {
        let connection = Some(self.way.connect_on(stream).await?);
        let mut caller = Caller { target: self.clone(), connection };
        caller.call().await?;
        caller.connection.context("it is kept")
    }

    /// Those who open a connection for each request.
    pub(crate) fn newcomers(&self) -> Vec<Caller> {
        (0..NEWCOMERS).map(|_| Caller { target: self.clone(), connection: None }).collect()
    }
}

impl Caller {
    /// Sends the request; the answer has to be what is expected.
    pub(crate) async fn call(&mut self) -> Result<()> {
        let Self { target, connection } = self;
        let request = target.request.clone();
        let (head, body) = match connection {
            Some(connection) => connection.send(request).await?,
            None => target.way.connect().await?.send(request).await?,
        };
        let as_expected = target.expected.iter().all(|(name, value)| head.headers.get(name) == Some(value));
        ensure!(
            head.status.is_success() && as_expected && (target.is_answer)(&body),
            "an answer that isn't the expected one: {head:?} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}

/// Sends requests at a fixed rate.
pub(crate) async fn open_loop(callers: Vec<Caller>, rate: u32, duration: Duration) -> Result<Round> {
    let (due, queue) = mpsc::unbounded_channel::<Instant>();
    let queue = Arc::new(Mutex::new(queue));
    let senders: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut times = Times::new();
                loop {
                    let next = queue.lock().await.recv().await;
                    let Some(due) = next else { return Ok::<_, anyhow::Error>(times) };
                    caller.call().await?;
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

/// Sends the next request as soon as the last one is answered.
pub(crate) async fn closed_loop(callers: Vec<Caller>, duration: Duration) -> Result<Round> {
    let started = Instant::now();
    let senders: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            tokio::spawn(async move {
                let mut times = Times::new();
                while started.elapsed() < duration {
                    let sent = Instant::now();
                    caller.call().await?;
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
