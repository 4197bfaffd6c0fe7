//! A tunnel carries TLS to the host that was decided on, and nothing else.
//!
//! Nothing goes upstream before the client has sent a whole ClientHello whose server name is the tunnel's host (it may only
//! be left out for an IP address); nothing comes back before the upstream has answered it with a TLS record. So an SSH banner, or a plain
//! request, from either side ends the tunnel.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::raw::Raw;
use super::relay::relay;
use super::{Meter, Timeouts};
use crate::sni;

/// The longest ClientHello that is waited for. Real ones are under 4 KiB.
const HELLO_LIMIT: usize = 32 * 1024;
/// TLS record types that may come first from a server (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Why a tunnel was closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Closed {
    #[error("tunnel: not_tls")]
    NotTls,
    #[error("tunnel: sni_mismatch")]
    SniMismatch,
    #[error("tunnel: no_client_hello")]
    NoHello,
    #[error("tunnel: the client left")]
    ClientLeft,
    #[error("tunnel: upstream_silent")]
    UpstreamSilent,
    #[error("tunnel: {0}")]
    Relay(String),
}

/// Runs a tunnel from the client's 200 to its end.
pub(super) async fn run(
    client: OnUpgrade,
    upstream: Raw,
    host: &str,
    meter: &Meter,
    timeouts: &Timeouts,
) -> Result<(), Closed> {
    let client = timeout(timeouts.handshake, client).await.map_err(|_| Closed::ClientLeft)?;
    let client = TokioIo::new(client.map_err(|_| Closed::ClientLeft)?);
    converse(client, upstream, host, meter, timeouts).await
}

async fn converse(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut upstream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    meter: &Meter,
    timeouts: &Timeouts,
) -> Result<(), Closed> {
    let hello =
        timeout(timeouts.client_hello, client_hello(&mut client, host)).await.map_err(|_| Closed::NoHello)??;
    let broken = |error: std::io::Error| Closed::Relay(format!("broken: {error}"));
    upstream.write_all(&hello).await.map_err(broken)?;
    meter.up.fetch_add(hello.len() as u64, Ordering::Relaxed);
    let answer = first_record(&mut upstream, timeouts.client_hello).await?;
    client.write_all(&answer).await.map_err(broken)?;
    client.flush().await.map_err(broken)?;
    meter.down.fetch_add(answer.len() as u64, Ordering::Relaxed);
    relay(client, upstream, meter, timeouts.tunnel_idle).await.map_err(Closed::Relay)
}

/// Reads up to the end of a ClientHello that is for `host`; returns all bytes read.
async fn client_hello(client: &mut (impl AsyncRead + Unpin), host: &str) -> Result<Vec<u8>, Closed> {
    let mut seen = Vec::new();
    let mut acceptor = Acceptor::default();
    while seen.len() < HELLO_LIMIT {
        let mut buffer = [0; 4096];
        let length = client.read(&mut buffer).await.map_err(|_| Closed::ClientLeft)?;
        let mut unread = buffer.get(..length).filter(|data| !data.is_empty()).ok_or(Closed::ClientLeft)?;
        seen.extend_from_slice(unread);
        while !unread.is_empty() {
            if acceptor.read_tls(&mut unread).map_err(|_| Closed::NotTls)? == 0 {
                return Err(Closed::NotTls);
            }
            if let Some(accepted) = acceptor.accept().map_err(|_| Closed::NotTls)? {
                let agrees = sni::agrees(accepted.client_hello().server_name(), host);
                return if agrees { Ok(seen) } else { Err(Closed::SniMismatch) };
            }
        }
    }
    Err(Closed::NotTls)
}

/// The upstream's first bytes, when they begin a TLS record that answers a ClientHello.
async fn first_record(upstream: &mut (impl AsyncRead + Unpin), limit: Duration) -> Result<Vec<u8>, Closed> {
    let mut buffer = vec![0; 4096];
    let read = async {
        let mut filled = 0;
        while filled < 2 {
            let free = buffer.get_mut(filled..).unwrap_or_default();
            match upstream.read(free).await {
                Ok(0) | Err(_) => return Err(Closed::UpstreamSilent),
                Ok(length) => filled += length,
            }
        }
        Ok(filled)
    };
    let filled = timeout(limit, read).await.map_err(|_| Closed::UpstreamSilent)??;
    buffer.truncate(filled);
    match buffer.as_slice() {
        [ALERT | HANDSHAKE, 3, ..] => Ok(buffer),
        _ => Err(Closed::NotTls),
    }
}

#[cfg(test)]
mod tests;
