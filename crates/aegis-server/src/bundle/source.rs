//! Where policies are taken from when that is a URL: asked again and again, believed only when signed.
//!
//! Invariants: what [`BundleSource::next`] gives is signed under a key that the operator named, and not older than what is in
//! force. *Signed earlier* than that is a replay, always refused; *published earlier*, though signed later, is its
//! publisher's rollback, refused unless the operator allows it. Whoever can't be reached changes nothing.

use std::time::Duration;

use aegis_core::policy::{Archive, ArchiveError, BundleError};
use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::fetch::{Answer, Fetch};
use super::keys::VerifyingKey;
use super::signature::{SignatureError, verify};
use crate::enforce::{Roots, Secret, Upstream};

/// How long the server is asked to wait for something new.
const WAIT: Duration = Duration::from_secs(30);
/// The first pause after a failure; each further one doubles it, up to the time between polls.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// An answer that says "nothing new" sooner than this didn't wait: the server can't.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where to take bundles from, and which to believe.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The URL.
    pub url: Upstream,
    /// The keys, one of which must have signed.
    pub keys: Vec<VerifyingKey>,
    /// What is sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Whom to trust for `https`.
    pub roots: Roots,
    /// The time between two polls, and the longest pause after failures.
    pub poll: Duration,
    /// Whether to let the server wait for something new.
    pub long_poll: bool,
    /// Whether a bundle may be of an older publication than the one in force.
    pub allow_rollback: bool,
}

/// Why there is no newer bundle.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers, or not to the end.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// An answer other than a bundle.
    #[error("it answered {0} instead of a bundle{hint}", hint = hint(*.0))]
    Answered(u16),
    /// More than a bundle may hold.
    #[error("the bundle is too large")]
    TooLarge,
    /// It can't be unpacked.
    #[error("the bundle can't be unpacked: {0}")]
    Archive(#[from] ArchiveError),
    /// Its manifest can't be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It isn't signed, or not by whom it should be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It was signed before the one in force.
    #[error("the bundle was signed {}, before the one in force ({in_force}): an old one is being replayed, or its publisher must sign it again", said(*.signed))]
    Replayed {
        /// When.
        signed: Option<Timestamp>,
        /// When the one in force was.
        in_force: Timestamp,
    },
    /// It was published before the one in force.
    #[error("the bundle was published {}, before the one in force ({in_force}): `allow_rollback: true` takes it", said(*.published))]
    RolledBack {
        /// When.
        published: Option<Timestamp>,
        /// When the one in force was.
        in_force: Timestamp,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": is the token right?",
        300..=399 => ": redirects are not followed",
        _ => "",
    }
}

fn said(at: Option<Timestamp>) -> String {
    at.map_or("at a time that it doesn't say".to_owned(), |at| at.to_string())
}

impl SourceError {
    /// Whether something was answered that must not be used; else the source is out of reach.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Answered(_))
    }
}

/// How it stands with the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Its URL.
    pub url: String,
    /// When it last answered.
    pub answered_at: Option<Timestamp>,
    /// Since when it hasn't, if it should have.
    pub stale_since: Option<Timestamp>,
    /// Why it can't be reached, or its bundle isn't taken.
    pub problem: Option<String>,
}

/// A bundle whose signature and age are good.
#[derive(Debug)]
pub struct Taken {
    /// Its files.
    pub archive: Archive,
    /// As it came.
    pub bytes: Bytes,
    age: Age,
    digest: [u8; 32],
    etag: Option<HeaderValue>,
}

/// What says how old a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Age {
    signed: Option<Timestamp>,
    published: Option<Timestamp>,
}

/// Asks one URL.
pub struct BundleSource {
    settings: SourceSettings,
    fetch: Fetch,
    /// Of the last bundle that was judged: in force, or rejected.
    etag: Option<HeaderValue>,
    /// The same bundle's SHA-256.
    digest: Option<[u8; 32]>,
    /// Whether the server lets us wait.
    waits: bool,
    in_force: Option<Age>,
    /// Why the last bundle could not be put in force.
    rejected: Option<String>,
    pause: Duration,
    failures: u32,
}

impl BundleSource {
    /// # Errors
    /// What can't be used of the settings.
    pub fn new(settings: SourceSettings) -> Result<Self, String> {
        let fetch = Fetch::new(&settings)?;
        Ok(Self {
            settings,
            fetch,
            etag: None,
            digest: None,
            waits: false,
            in_force: None,
            rejected: None,
            pause: Duration::ZERO,
            failures: 0,
        })
    }

    /// A bundle of earlier times, from this machine: it must be signed like one that comes.
    ///
    /// # Errors
    /// Why it must not be used.
    pub fn kept(&self, bytes: Bytes) -> Result<Taken, SourceError> {
        let digest = Sha256::digest(&bytes).into();
        judge(bytes, digest, None, &self.settings.keys)
    }

    /// Asks once. `None` when nothing is new.
    ///
    /// # Errors
    /// Why there is none, or it must not be used; what is in force stays.
    pub async fn next(&mut self) -> Result<Option<Taken>, SourceError> {
        let started = Instant::now();
        let result = self.ask().await;
        let poll = self.settings.poll;
        let waits = self.settings.long_poll && self.waits;
        self.pause = match &result {
            Ok(None) if waits && started.elapsed() >= AT_ONCE => Duration::ZERO,
            Ok(Some(_)) if waits => Duration::ZERO,
            Ok(_) => jittered(poll),
            Err(_) => jittered(FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(poll)),
        };
        self.failures = if result.is_err() { self.failures.saturating_add(1) } else { 0 };
        result
    }

    async fn ask(&mut self) -> Result<Option<Taken>, SourceError> {
        // Asked for also where nothing is known yet: the answer then says whether the server can.
        let wait = self.settings.long_poll.then_some(WAIT);
        let answer = self.fetch.get(self.etag.as_ref(), wait).await?;
        let Answer::New { bytes, etag, long_polling } = answer else { return Ok(None) };
        self.waits = long_polling && etag.is_some();
        let (keys, known, again) = (self.settings.keys.clone(), self.digest, etag.clone());
        let judged = tokio::task::spawn_blocking(move || match Sha256::digest(&bytes).into() {
            // The same again: after a start, or from a server that knows no ETag.
            digest if known == Some(digest) => Ok(None),
            digest => judge(bytes, digest, etag, &keys).map(Some),
        });
        let Some(taken) = judged.await.map_err(|error| SourceError::Unreachable(error.to_string()))?? else {
            self.etag = again;
            return Ok(None);
        };
        older(self.in_force, taken.age, self.settings.allow_rollback)?;
        Ok(Some(taken))
    }

    /// How long to wait before asking again. Never the same, so that a fleet doesn't ask at once.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// `taken` is in force: nothing older will be given from now on.
    pub fn put_in_force(&mut self, taken: &Taken) {
        self.in_force = Some(taken.age);
        self.rejected = None;
        self.etag.clone_from(&taken.etag);
        self.digest = Some(taken.digest);
    }

    /// `taken` can't be put in force: it isn't asked for again.
    pub fn reject(&mut self, taken: &Taken, why: String) {
        self.rejected = Some(why);
        self.etag.clone_from(&taken.etag);
        self.digest = Some(taken.digest);
    }

    /// What was given can't be dealt with now, through no fault of its own: it is asked for again, after a pause.
    pub fn put_off(&mut self) {
        self.pause = jittered(self.settings.poll);
    }

    /// Why the newest bundle is not in force.
    pub fn rejected(&self) -> Option<&str> {
        self.rejected.as_deref()
    }
}

fn judge(
    bytes: Bytes,
    digest: [u8; 32],
    etag: Option<HeaderValue>,
    keys: &[VerifyingKey],
) -> Result<Taken, SourceError> {
    let signed = verify(Archive::read(&bytes)?, keys)?;
    let published = signed.archive.publication()?.map(|publication| publication.at);
    Ok(Taken { archive: signed.archive, bytes, age: Age { signed: signed.at, published }, digest, etag })
}

/// Refuses what is older than what is in force.
fn older(in_force: Option<Age>, new: Age, allow_rollback: bool) -> Result<(), SourceError> {
    let Some(old) = in_force else { return Ok(()) };
    let before = |new: Option<Timestamp>, old: Option<Timestamp>| old.filter(|old| new.is_none_or(|new| new < *old));
    if let Some(in_force) = before(new.signed, old.signed) {
        return Err(SourceError::Replayed { signed: new.signed, in_force });
    }
    match before(new.published, old.published) {
        Some(in_force) if !allow_rollback => Err(SourceError::RolledBack { published: new.published, in_force }),
        _ => Ok(()),
    }
}

/// Between three quarters and all of `pause`.
fn jittered(pause: Duration) -> Duration {
    // Without randomness all come at once, which is no reason not to come.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.75 + 0.25 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Age, SourceError, older};

    fn age(signed: Option<i64>, published: Option<i64>) -> Age {
        let at = |second: Option<i64>| second.map(|second| Timestamp::from_second(second).expect("a time"));
        Age { signed: at(signed), published: at(published) }
    }

    #[test]
    fn what_is_older_is_refused() {
        let in_force = Some(age(Some(100), Some(50)));
        let taken = |new: Age, rollback: bool| older(in_force, new, rollback);
        assert!(older(None, age(None, None), false).is_ok());
        assert!(taken(age(Some(100), Some(50)), false).is_ok());
        assert!(taken(age(Some(101), Some(51)), false).is_ok());
        for rollback in [false, true] {
            for replayed in [age(Some(99), Some(60)), age(None, Some(60)), age(Some(99), None)] {
                assert!(matches!(taken(replayed, rollback), Err(SourceError::Replayed { .. })), "{replayed:?}");
            }
        }
        for back in [age(Some(200), Some(49)), age(Some(200), None)] {
            assert!(matches!(taken(back, false), Err(SourceError::RolledBack { .. })), "{back:?}");
            assert!(taken(back, true).is_ok());
        }
        assert!(older(Some(age(None, None)), age(None, None), false).is_ok());
    }
}
