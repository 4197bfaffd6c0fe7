//! Several connections to one origin over HTTP/2, the least used first.
//!
//! hyper's client keeps one HTTP/2 connection per origin, and waits once its streams are used up: four slow watches would hold up
//! everything after them. So there are a few clients, and each call takes the one with the fewest calls under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::client::legacy::Client;

use super::AnyBody;
use super::connect::Connector;

/// Connections to one origin over HTTP/2. Servers allow about a hundred streams on each.
pub(super) const HTTP2_CONNECTIONS: usize = 8;

/// See the module. There is at least one.
pub(super) struct Shards {
    first: Shard,
    more: Vec<Shard>,
}

struct Shard {
    client: Client<Connector, AnyBody>,
    under_way: Arc<AtomicUsize>,
}

/// One client, counted as used until this is dropped.
pub(super) struct Held {
    pub(super) client: Client<Connector, AnyBody>,
    pub(super) call: UnderWay,
}

/// A call under way.
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Shards {
    pub(super) fn of(client: impl Fn() -> Client<Connector, AnyBody>, count: usize) -> Self {
        let shard = || Shard { client: client(), under_way: Arc::default() };
        Self { first: shard(), more: (1..count).map(|_| shard()).collect() }
    }

    /// The client with the fewest calls under way, the first of them: so that few calls share few connections.
    pub(super) fn least_used(&self) -> Held {
        let least = self.more.iter().fold(&self.first, |least, shard| {
            let fewer = shard.under_way.load(Ordering::Relaxed) < least.under_way.load(Ordering::Relaxed);
            if fewer { shard } else { least }
        });
        least.under_way.fetch_add(1, Ordering::Relaxed);
        Held { client: least.client.clone(), call: UnderWay(Arc::clone(&least.under_way)) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
