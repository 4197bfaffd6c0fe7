//! File descriptors: as many as the system gives, shared out so that no agent can use them all up.
//!
//! Invariant: connections to the proxy can't take what the API, the store and the policies need. A process without a
//! descriptor left can't be told to suspend the agent that took them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is neither the proxy's nor the API's: the store, policies being read, telemetry, connections waiting for reuse.
const OWN: usize = 256;
/// The most that the API gets.
const API: usize = 1024;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// To the proxy.
    pub(crate) proxy: usize,
    /// To the API.
    pub(crate) api: usize,
}

impl Room {
    /// Raises the process's limit as far as it may, and shares it out: at most `wanted` for the proxy.
    pub(crate) fn make(wanted: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let most = if raised.is_ok() { limit.maximum } else { limit.current };
        let room = Self::within(most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)), wanted);
        if room.proxy < wanted {
            let message = "the limit of open files leaves less than `limits.connections`: raise it (`ulimit -n`)";
            tracing::warn!(limit = most, connections = room.proxy, wanted, "{message}");
        }
        room
    }

    /// A call through the proxy takes two: the agent's connection, and the upstream's.
    fn within(most: usize, wanted: usize) -> Self {
        let api = (most / 8).clamp(1, API);
        let proxy = (most.saturating_sub(OWN.min(most / 2) + api) / 2).clamp(1, wanted.max(1));
        Self { proxy, api }
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn the_proxy_never_takes_what_the_rest_needs() {
        assert_eq!(Room::within(1024, 10_000), Room { proxy: 320, api: 128 });
        assert_eq!(Room::within(524_288, 10_000), Room { proxy: 10_000, api: 1024 });
        assert_eq!(Room::within(usize::MAX, 10), Room { proxy: 10, api: 1024 });
        for most in [64, 256, 1000, 4096, 65_536] {
            let Room { proxy, api } = Room::within(most, usize::MAX);
            assert!(proxy >= 1 && 2 * proxy + api < most, "{most}: {proxy} {api}");
        }
    }
}
