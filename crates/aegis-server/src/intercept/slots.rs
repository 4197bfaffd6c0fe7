//! How many connections may be open, in all and from one address. A slot travels with its connection, tunnels and upgrades
//! included, and is given back when that closes.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The slots. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_per_client: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One slot, taken.
#[derive(Debug)]
struct Slot {
    slots: Slots,
    client: IpAddr,
}

/// A connection that holds its slot.
#[derive(Debug)]
pub(super) struct Slotted {
    stream: TcpStream,
    _slot: Slot,
}

impl Slots {
    pub(crate) fn new(most: usize, most_per_client: usize) -> Self {
        Self { taken: Arc::default(), most, most_per_client }
    }

    /// Gives `stream` a slot. `None` when there is none left: the connection is closed by that.
    pub(super) fn admit(&self, stream: TcpStream, client: IpAddr) -> Option<Slotted> {
        let client = client.to_canonical();
        let mut taken = self.taken();
        if taken.all >= self.most || taken.by_client.get(&client).is_some_and(|open| *open >= self.most_per_client) {
            return None;
        }
        taken.all += 1;
        *taken.by_client.entry(client).or_default() += 1;
        Some(Slotted { stream, _slot: Slot { slots: self.clone(), client } })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // A panic between two counts can't happen: nothing in between panics.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by_client.get_mut(&self.client).map_or(0, |open| {
            *open = open.saturating_sub(1);
            *open
        });
        if left == 0 {
            taken.by_client.remove(&self.client);
        }
    }
}

impl AsyncRead for Slotted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Slotted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
