//! How many connections may be open, in all and from one address. A slot travels with its connection, tunnels and upgrades
//! included, and is given back when that closes.
//!
//! Who doesn't read what is sent to it gives its slot back after a while.
//!
//! Where there is none left, a newcomer is turned away; or, where anybody on the host may connect and an operator has to get
//! through (the API), the oldest connection makes room for it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// The slots. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_per_client: usize,
    oldest_goes: bool,
    send_idle: Duration,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
    /// Where the oldest goes: by age, what tells it to.
    by_age: BTreeMap<u64, CancellationToken>,
    admitted: u64,
}

/// One slot, taken.
#[derive(Debug)]
struct Slot {
    slots: Slots,
    client: IpAddr,
    age: u64,
}

/// A connection that holds its slot.
#[derive(Debug)]
pub(super) struct Slotted {
    stream: TcpStream,
    _slot: Slot,
    must_go: CancellationToken,
    send_idle: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Slots {
    /// `send_idle`: how long a client may take nothing of what is sent to it.
    pub(crate) fn new(most: usize, most_per_client: usize, send_idle: Duration) -> Self {
        Self { taken: Arc::default(), most, most_per_client, oldest_goes: false, send_idle }
    }

    /// Slots of which the oldest is given to a newcomer when all are taken, whoever has it.
    pub(crate) fn where_the_oldest_goes(most: usize, send_idle: Duration) -> Self {
        Self { taken: Arc::default(), most, most_per_client: usize::MAX, oldest_goes: true, send_idle }
    }

    /// Gives `stream` a slot. `None` when there is none left: the connection is closed by that.
    pub(super) fn admit(&self, stream: TcpStream, client: IpAddr) -> Option<Slotted> {
        let client = one_client(client);
        let must_go = CancellationToken::new();
        let mut taken = self.taken();
        if self.oldest_goes {
            taken.make_room(self.most);
        }
        if taken.all >= self.most || taken.by_client.get(&client).is_some_and(|open| *open >= self.most_per_client) {
            return None;
        }
        taken.all += 1;
        *taken.by_client.entry(client).or_default() += 1;
        taken.admitted += 1;
        let age = taken.admitted;
        if self.oldest_goes {
            taken.by_age.insert(age, must_go.clone());
        }
        drop(taken);
        let slot = Slot { slots: self.clone(), client, age };
        Some(Slotted { stream, _slot: slot, must_go, send_idle: self.send_idle, stalled: None })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // A panic between two counts can't happen: nothing in between panics.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Gives up the oldest slot if all are taken.
    fn make_room(&mut self, most: usize) {
        if self.by_age.len() >= most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            oldest.cancel();
            self.all = self.all.saturating_sub(1);
        }
    }
}

impl Slotted {
    /// Cancelled when this connection has to make room.
    pub(super) fn must_go(&self) -> CancellationToken {
        self.must_go.clone()
    }

    /// Ends a connection whose client takes nothing for too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stalled = None;
            return sent;
        }
        let idle = self.send_idle;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent")))
    }
}

/// The address that a client is counted under. All of 127.0.0.0/8 is this machine.
fn one_client(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    if address.is_loopback() { Ipv4Addr::LOCALHOST.into() } else { address }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        // One that made room has given its slot up already.
        if !self.slots.oldest_goes || taken.by_age.remove(&self.age).is_some() {
            taken.all = taken.all.saturating_sub(1);
        }
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
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, sent)
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
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.in_time(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn stream() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn this_machine_is_one_client_by_whatever_address() {
        let slots = Slots::new(9, 2, Duration::from_secs(9));
        let first = slots.admit(stream().await, ip("127.0.0.1"));
        let second = slots.admit(stream().await, ip("127.9.9.9"));
        assert!(first.is_some() && second.is_some());
        assert!(slots.admit(stream().await, ip("::1")).is_none());
        assert!(slots.admit(stream().await, ip("::ffff:127.0.0.3")).is_none());
        assert!(slots.admit(stream().await, ip("192.0.2.1")).is_some());
        drop(first);
        assert!(slots.admit(stream().await, ip("::1")).is_some());
    }

    #[tokio::test]
    async fn the_oldest_makes_room_where_it_has_to() {
        let slots = Slots::where_the_oldest_goes(2, Duration::from_secs(9));
        let here = ip("127.0.0.1");
        let first = slots.admit(stream().await, here).expect("a slot");
        let second = slots.admit(stream().await, here).expect("a slot");
        let third = slots.admit(stream().await, here).expect("a slot");
        assert!(first.must_go().is_cancelled() && !second.must_go().is_cancelled());
        drop((first, second));
        let fourth = slots.admit(stream().await, here).expect("a slot");
        assert!(!third.must_go().is_cancelled() && !fourth.must_go().is_cancelled());
        drop((third, fourth));
        let taken = slots.taken();
        assert!(taken.all == 0 && taken.by_client.is_empty() && taken.by_age.is_empty());
    }
}
