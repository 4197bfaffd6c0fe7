//! Bytes both ways, until both sides have ended, one fails, or nothing has moved for too long.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::sleep;

use super::Meter;

/// One direction's buffer.
const BUFFER: usize = 16 * 1024;

/// Relays between a client and an upstream, counting into `meter`.
///
/// # Errors
/// Why it ended early, in words for records.
pub(super) async fn relay(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    meter: &Meter,
    idle: Duration,
) -> Result<(), String> {
    let (client_read, client_write) = split(client);
    let (upstream_read, upstream_write) = split(upstream);
    let both = async {
        tokio::try_join!(pump(client_read, upstream_write, &meter.up), pump(upstream_read, client_write, &meter.down))
    };
    tokio::pin!(both);
    let mut moved = meter.moved();
    loop {
        tokio::select! {
            done = &mut both => return done.map(|_| ()).map_err(|error| format!("broken: {error}")),
            () = sleep(idle) => {
                let now = meter.moved();
                if now == moved {
                    return Err("idle".to_owned());
                }
                moved = now;
            }
        }
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(data) = buffer.get(..length).filter(|data| !data.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(data).await?;
        to.flush().await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}
