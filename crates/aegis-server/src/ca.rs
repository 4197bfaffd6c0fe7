//! Aegis's own certificate authority: made at the first start, kept in `ca/` of the data directory.
//!
//! `ca.key` (PKCS#8 PEM, mode 0600) never leaves the directory; `ca.pem` is what clients are told to trust. Leaf
//! certificates and their keys live in memory only and are new at every start, so there is none to renew or to steal.
//! Deliberately absent: interception of other hosts (a later issue) and revocation lists.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

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
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(String),
}

/// A certificate authority with its key.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    /// Opens the CA of `data_dir`, or makes it, valid from a day before `now`.
    ///
    /// The key is the CA: its certificate is made again where it is missing, and the other way round is an error.
    ///
    /// # Errors
    /// A file that can't be read or written, or isn't ours.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Self, CaError> {
        let dir = data_dir.join("ca");
        let (key_path, pem_path) = (dir.join("ca.key"), dir.join("ca.pem"));
        let damaged = |path: &Path, detail: String| CaError::Damaged { path: path.to_owned(), detail };
        let key = if key_path.exists() {
            let text = fs::read_to_string(&key_path).map_err(io_error(&key_path))?;
            KeyPair::from_pem(&text).map_err(|error| damaged(&key_path, error.to_string()))?
        } else if pem_path.exists() {
            return Err(damaged(&pem_path, "the certificate is there, its key ca.key is gone".to_owned()));
        } else {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io_error(&dir))?;
            let key = KeyPair::generate().map_err(make_error)?;
            write(&key_path, 0o600, key.serialize_pem().as_bytes())?;
            key
        };
        let params = params(&key, now)?;
        let pem = if pem_path.exists() {
            fs::read_to_string(&pem_path).map_err(io_error(&pem_path))?
        } else {
            let pem = params.self_signed(&key).map_err(make_error)?.pem();
            write(&pem_path, 0o644, pem.as_bytes())?;
            pem
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| damaged(&pem_path, error.to_string()))?
            .into_owned();
        if !certificate.windows(key.der_bytes().len()).any(|window| window == key.der_bytes()) {
            return Err(damaged(&pem_path, "it isn't the certificate of ca.key".to_owned()));
        }
        Ok(Self { issuer: Issuer::new(params, key), certificate, pem })
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
        let mut params = CertificateParams::new(names.to_vec()).map_err(make_error)?;
        params.distinguished_name = name("Aegis gateway");
        hold_for(&mut params, now, LEAF_DAYS)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).map_err(make_error)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| CaError::Make(error.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| CaError::Make(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The CA's parameters. The name holds a digest of the key, so that two installations' CAs can be told apart, and can be
/// made again from the key alone.
fn params(key: &KeyPair, now: Timestamp) -> Result<CertificateParams, CaError> {
    let digest = Sha256::digest(key.der_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Aegis CA {short}"));
    hold_for(&mut params, now, CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
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
