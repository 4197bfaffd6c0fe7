//! Leaf certificates of intercepted hosts: made when first asked for, kept in memory, made anew before they end.
//!
//! All of them hold one key, which is new at every start and never written. The CA is looked at again every few seconds, so
//! that one that has been rotated signs from then on; one that has ended, or can't be read, signs nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use super::{CERTIFICATE, Ca, CaError, DIR, make_error};

/// How long a leaf holds, in days, and after how long it is made anew.
const DAYS: i64 = 7;
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Leaves that are kept.
const KEPT: u64 = 4096;
/// How often the CA's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// See the module.
pub struct Leaves {
    source: Source,
    state: ArcSwap<State>,
    looked: Mutex<Instant>,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    base: ServerConfig,
}

/// Where the CA is.
enum Source {
    /// Aegis's own, in a data directory.
    Own(PathBuf),
    /// The operator's: certificate and key.
    Given(PathBuf, PathBuf),
}

struct State {
    ca: Ca,
    changed: Option<SystemTime>,
    leaves: Cache<String, Arc<Leaf>>,
}

struct Leaf {
    config: Arc<ServerConfig>,
    made: Timestamp,
}

impl Leaves {
    /// Leaves of the CA in `data_dir`, which is made where there is none.
    ///
    /// # Errors
    /// The CA can't be made or opened.
    pub fn own(data_dir: PathBuf, now: Timestamp) -> Result<Self, CaError> {
        let ca = Ca::open(&data_dir, now)?;
        Self::of(ca, Source::Own(data_dir))
    }

    /// Leaves of a CA of the operator's.
    ///
    /// # Errors
    /// It can't be read.
    pub fn given(certificate: PathBuf, key: PathBuf) -> Result<Self, CaError> {
        let ca = Ca::read(&certificate, &key)?;
        Self::of(ca, Source::Given(certificate, key))
    }

    fn of(ca: Ca, source: Source) -> Result<Self, CaError> {
        let wrong = |error: rustls::Error| CaError::Make(error.to_string());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = KeyPair::generate().map_err(make_error)?;
        let signer = signer(&provider, &key)?;
        let mut base = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(Vec::new(), Arc::clone(&signer)))));
        base.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        base.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(wrong)?;
        let state = ArcSwap::from_pointee(State::of(ca, source.changed()));
        Ok(Self { source, state, looked: Mutex::new(Instant::now()), key, signer, base })
    }

    /// How TLS is spoken with a client that wants `host` (a canonical name or an IP address).
    ///
    /// # Errors
    /// Why no certificate can be shown: the CA has ended or can't be read, or the host fits in none.
    pub fn config(&self, host: &str, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        self.look()?;
        let state = self.state.load();
        if now >= state.ca.until {
            let (path, ended) = (state.ca.path.clone(), state.ca.until.to_string());
            return Err(CaError::Expired { path, ended });
        }
        let fresh = |leaf: &Arc<Leaf>| now >= leaf.made && now < leaf.made.saturating_add(RENEW_AFTER).unwrap_or(now);
        if let Some(leaf) = state.leaves.get(host).filter(fresh) {
            return Ok(Arc::clone(&leaf.config));
        }
        let chain = state.ca.leaf(&[host.to_owned()], &self.key, DAYS, now)?;
        let shown = CertifiedKey::new(chain, Arc::clone(&self.signer));
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(shown));
        let config = Arc::new(config);
        state.leaves.insert(host.to_owned(), Arc::new(Leaf { config: Arc::clone(&config), made: now }));
        Ok(config)
    }

    /// Reads the CA again where its file has changed.
    fn look(&self) -> Result<(), CaError> {
        // Nothing panics while it is held.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() >= LOOK_EVERY {
            // One that can't be read is looked at for each leaf: none is signed until it can.
            self.look_now()?;
            *looked = Instant::now();
        }
        Ok(())
    }

    /// The same, now.
    pub(super) fn look_now(&self) -> Result<(), CaError> {
        let changed = self.source.changed();
        // A file that isn't there is about to be written: a rotation is under way.
        if changed.is_some() && changed != self.state.load().changed {
            let ca = match &self.source {
                Source::Own(data_dir) => Ca::reopen(data_dir)?,
                Source::Given(certificate, key) => Ca::read(certificate, key)?,
            };
            self.state.store(Arc::new(State::of(ca, changed)));
        }
        Ok(())
    }
}

impl State {
    fn of(ca: Ca, changed: Option<SystemTime>) -> Self {
        Self { ca, changed, leaves: Cache::builder().max_capacity(KEPT).build() }
    }
}

impl Source {
    /// When the certificate was last written.
    fn changed(&self) -> Option<SystemTime> {
        let path = match self {
            Self::Own(data_dir) => data_dir.join(DIR).join(CERTIFICATE),
            Self::Given(certificate, _) => certificate.clone(),
        };
        path.metadata().and_then(|metadata| metadata.modified()).ok()
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("ca", &self.state.load().ca.path).finish_non_exhaustive()
    }
}

fn signer(provider: &CryptoProvider, key: &KeyPair) -> Result<Arc<dyn SigningKey>, CaError> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| CaError::Make(error.to_owned()))?;
    provider.key_provider.load_private_key(der).map_err(|error| CaError::Make(error.to_string()))
}
