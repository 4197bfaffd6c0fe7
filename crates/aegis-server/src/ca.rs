//! Aegis's own certificate authority: made at the first start, kept in `ca/` of the data directory.
//!
//! `ca.key` (PKCS#8 PEM, mode 0600) never leaves the directory; `ca.pem` is what clients are told to trust. Leaf
//! certificates and their keys live in memory only and are new at every start, so there is none to steal; see [`leaves`] for
//! those of intercepted hosts, and [`rotate`] for how one CA follows another.
//! Deliberately absent: revocation lists.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

mod leaves;
mod rotate;
#[cfg(test)]
mod tests;

pub use leaves::Leaves;
pub use rotate::{Rotated, exported, rotate};

/// Where it is kept: the folder, the key, the certificate.
const DIR: &str = "ca";
const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";

/// How long the CA holds, in days.
const CA_DAYS: i64 = 3650;
/// How long a leaf holds, in days. Clients refuse leaves that hold much longer.
const LEAF_DAYS: i64 = 397;

/// What can go wrong with the CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file can't be made, read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in a file isn't what we wrote.
    #[error("{}: {detail}; restore the folder from a backup, or move it away to start with a new CA", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A key that others may read.
    #[error("{} may be read by others (mode {mode:03o}): run `chmod 600` on it, and make the next CA with `aegis ca rotate` if it was seen", .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(String),
    /// The CA's own certificate has ended: what it signs now, nobody would trust.
    #[error("{}: the CA ended on {ended}: make the next one with `aegis ca rotate`", .path.display())]
    Expired {
        /// Which.
        path: PathBuf,
        /// When it did.
        ended: String,
    },
}

/// A certificate authority with its key.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    path: PathBuf,
    /// What is sent after a leaf: this CA, and its predecessor's word for it where there is one.
    chain: Vec<CertificateDer<'static>>,
    /// When its certificate ends.
    until: Timestamp,
}

impl Ca {
    /// Opens the CA of `data_dir`, or makes it, valid from a day before `now`.
    ///
    /// The key is the CA: its certificate is made again where it is missing, and the other way round is an error.
    ///
    /// # Errors
    /// A file that can't be read or written, or isn't ours.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Self, CaError> {
        let dir = data_dir.join(DIR);
        let (key_path, pem_path) = (dir.join(KEY), dir.join(CERTIFICATE));
        let key = if key_path.exists() {
            own_key(&key_path)?
        } else if pem_path.exists() {
            return Err(damaged(&pem_path, "the certificate is there, its key ca.key is gone"));
        } else {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io_error(&dir))?;
            let key = KeyPair::generate().map_err(make_error)?;
            write(&key_path, 0o600, key.serialize_pem().as_bytes())?;
            key
        };
        if !pem_path.exists() {
            let pem = params(&key, now)?.self_signed(&key).map_err(make_error)?.pem();
            write(&pem_path, 0o644, pem.as_bytes())?;
        }
        Self::with(key, &pem_path, &dir.join(rotate::VOUCHED))
    }

    /// Reads a CA of the operator's own: a certificate (then those that lead to what clients trust), and its key.
    ///
    /// # Errors
    /// A file that can't be read, or isn't what it should be.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        Self::with(read_key(key)?, certificate, Path::new(""))
    }

    /// Reads the CA of `data_dir`, and makes nothing.
    fn reopen(data_dir: &Path) -> Result<Self, CaError> {
        let dir = data_dir.join(DIR);
        Self::with(own_key(&dir.join(KEY))?, &dir.join(CERTIFICATE), &dir.join(rotate::VOUCHED))
    }

    /// `vouched` is the predecessor's certificate of the same key, where there is one.
    fn with(key: KeyPair, path: &Path, vouched: &Path) -> Result<Self, CaError> {
        let pem = fs::read_to_string(path).map_err(io_error(path))?;
        let mut chain = certificates(path, &pem)?;
        let certificate = chain.first().cloned().ok_or_else(|| damaged(path, "there is no certificate in it"))?;
        let (_, read) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| damaged(path, format!("it can't be read: {error}")))?;
        if read.public_key().raw != key.subject_public_key_info() {
            return Err(damaged(path, "it isn't the certificate of ca.key"));
        }
        if !read.is_ca() {
            return Err(damaged(path, "it is no certificate of an authority (its basic constraints don't say CA)"));
        }
        let until = Timestamp::from_second(read.validity().not_after.timestamp());
        let until = until.map_err(|error| damaged(path, error.to_string()))?;
        if let Ok(text) = fs::read_to_string(vouched) {
            let word = certificates(vouched, &text)?;
            // One that was left by a rotation that didn't end speaks for another key.
            chain.extend(word.into_iter().filter(|word| speaks_for(word, &key)));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(make_error)?;
        Ok(Self { issuer, pem, path: path.to_owned(), chain, until })
    }

    /// The CA's certificate in PEM, for clients to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// A TLS configuration with a fresh leaf certificate for `names` (DNS names and IP addresses), valid from a day before
    /// `now`, offering HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// A name that no certificate can hold.
    pub fn server_config(&self, names: &[String], now: Timestamp) -> Result<Arc<rustls::ServerConfig>, CaError> {
        let key = KeyPair::generate().map_err(make_error)?;
        let chain = self.leaf(names, &key, LEAF_DAYS, now)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| CaError::Make(error.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| CaError::Make(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A leaf for `names` with its chain, valid from a day before `now` to `days` after it.
    fn leaf(
        &self,
        names: &[String],
        key: &KeyPair,
        days: i64,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, CaError> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(make_error)?;
        params.distinguished_name = name("Aegis gateway");
        hold_for(&mut params, now, days)?;
        params.serial_number = Some(serial());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(key, &self.issuer).map_err(make_error)?;
        Ok([leaf.der().clone()].into_iter().chain(self.chain.iter().cloned()).collect())
    }
}

/// A number that no other certificate has: many leaves share one key, and what is derived from the key would be the same.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = crate::pipeline::random();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

/// Aegis's own key: whoever else may read it can speak in the name of every intercepted host.
fn own_key(path: &Path) -> Result<KeyPair, CaError> {
    let mode = path.metadata().map_err(io_error(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CaError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    read_key(path)
}

fn read_key(path: &Path) -> Result<KeyPair, CaError> {
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    KeyPair::from_pem(&text).map_err(|error| damaged(path, error.to_string()))
}

fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|error| damaged(path, error.to_string()))
}

/// Whether a certificate holds this key.
fn speaks_for(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let read = x509_parser::parse_x509_certificate(certificate);
    read.is_ok_and(|(_, read)| read.public_key().raw == key.subject_public_key_info())
}

fn damaged(path: &Path, detail: impl Into<String>) -> CaError {
    CaError::Damaged { path: path.to_owned(), detail: detail.into() }
}

/// The CA's parameters. The name holds a digest of the key, so that two installations' CAs can be told apart, and can be
/// made again from the key alone.
fn params(key: &KeyPair, now: Timestamp) -> Result<CertificateParams, CaError> {
    let digest = Sha256::digest(key.der_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Aegis CA {short}"));
    hold_for(&mut params, now, CA_DAYS)?;
    // One below it: its successor, which it vouches for.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Valid from a day before `now`, for clocks that differ, to `days` after it. `rcgen` takes whole days.
fn hold_for(params: &mut CertificateParams, now: Timestamp, days: i64) -> Result<(), CaError> {
    let day = |offset: i64| {
        let date = now.to_zoned(TimeZone::UTC).date().checked_add(Span::new().days(offset));
        let date = date.map_err(|error| CaError::Make(error.to_string()))?;
        Ok(rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs()))
    };
    params.not_before = day(-1)?;
    params.not_after = day(days)?;
    Ok(())
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CaError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io_error(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Io { path, source }
}

fn make_error(error: rcgen::Error) -> CaError {
    CaError::Make(error.to_string())
}
