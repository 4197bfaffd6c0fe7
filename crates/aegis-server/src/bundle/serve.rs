//! The bundle that is served: signed once per version, and waited for by a bounded number of readers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::policy::PolicySet;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keys::SigningKey;
use super::signature::{SignatureError, sign};

/// The most readers that wait for a new version at once.
const MAX_WAITERS: usize = 256;
/// How often a waiting reader looks whether another version is in force.
const LOOK: Duration = Duration::from_millis(200);

/// Signs and keeps the bundle of the policies in force.
#[derive(Debug)]
pub struct Bundles {
    key: SigningKey,
    /// Signed last, and of which policies.
    latest: Mutex<Option<(Arc<PolicySet>, Served)>>,
    waiters: Semaphore,
    stop: CancellationToken,
}

/// A signed bundle.
#[derive(Debug, Clone)]
pub struct Served {
    /// Weak, since a signature over the same files differs each time it is made (RFC 9110 §8.8.3).
    pub etag: String,
    /// The `.tar.gz`.
    pub bytes: Bytes,
}

impl Bundles {
    /// Signs with `key`; whoever waits is let go at `stop`.
    pub fn new(key: SigningKey, stop: CancellationToken) -> Self {
        Self { key, latest: Mutex::default(), waiters: Semaphore::new(MAX_WAITERS), stop }
    }

    /// The key that it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The bundle of these policies. Blocks while it is made, which is once for each of them.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn of(&self, policies: &Arc<PolicySet>) -> Result<Served, SignatureError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, served)) = latest.as_ref()
            && Arc::ptr_eq(of, policies)
        {
            return Ok(served.clone());
        }
        let archive = policies.archive(policies.publication());
        let content: String =
            Sha256::digest(archive.write()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("W/\"{}.{content}\"", policies.version());
        let bytes = Bytes::from(sign(archive, &self.key, Timestamp::now())?.write());
        let served = Served { etag, bytes };
        *latest = Some((Arc::clone(policies), served.clone()));
        Ok(served)
    }

    /// A place among those who wait; `None` when there are too many.
    pub fn waiter(&self) -> Option<SemaphorePermit<'_>> {
        self.waiters.try_acquire().ok()
    }

    /// Waits until `current` gives other policies than `known`, but not longer than `wait`, nor past the gateway's end.
    pub async fn changed(&self, known: &Arc<PolicySet>, wait: Duration, current: impl Fn() -> Arc<PolicySet>) {
        let deadline = Instant::now() + wait;
        while Arc::ptr_eq(known, &current()) && Instant::now() < deadline {
            let next = deadline.min(Instant::now() + LOOK);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }
}
