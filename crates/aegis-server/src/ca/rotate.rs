//! One CA follows another, and clients that know only the one before go on trusting what is signed.
//!
//! The old key certifies the new one (`vouched.pem`, sent with every leaf) and is gone after that; the old certificate stays in
//! `previous.pem` until it ends, and is exported beside the new one. So the new CA is in force at once, and clients can be given
//! its certificate at leisure.
//!
//! A rotation that is cut off leaves one CA or the other, whole: the key is the CA, and its certificate is made again where it is
//! missing.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair};

use super::{CERTIFICATE, Ca, CaError, DIR, KEY, certificates, io_error, make_error, params, write};

/// The predecessor's certificate of the CA's key.
pub(super) const VOUCHED: &str = "vouched.pem";
/// The certificates of former CAs that haven't ended.
const PREVIOUS: &str = "previous.pem";

/// What a rotation has done.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The new CA's certificate.
    pub certificate: String,
    /// Until when the old one is trusted by whoever has it.
    pub previous_until: Timestamp,
}

/// Makes the next CA of `data_dir`, in force from now on.
///
/// # Errors
/// A file that can't be read or written; nothing has changed then, or everything.
pub fn rotate(data_dir: &Path, now: Timestamp) -> Result<Rotated, CaError> {
    let old = Ca::open(data_dir, now)?;
    let dir = data_dir.join(DIR);
    let key = KeyPair::generate().map_err(make_error)?;
    let new = params(&key, now)?;
    let certificate = new.self_signed(&key).map_err(make_error)?.pem();
    let word = vouch(&old.issuer, new, &key)?;
    replace(&dir.join(PREVIOUS), 0o644, &[old.pem.as_str(), &previous(data_dir, now)?].concat())?;
    replace(&dir.join(VOUCHED), 0o644, &word)?;
    let pem_path = dir.join(CERTIFICATE);
    fs::remove_file(&pem_path).map_err(io_error(&pem_path))?;
    replace(&dir.join(KEY), 0o600, &key.serialize_pem())?;
    replace(&pem_path, 0o644, &certificate)?;
    Ok(Rotated { certificate, previous_until: old.until })
}

/// What clients are to trust: the CA's certificate, then those before it that haven't ended.
///
/// # Errors
/// A file that can't be read, or isn't what it should be.
pub fn exported(data_dir: &Path, now: Timestamp) -> Result<String, CaError> {
    let ca = Ca::open(data_dir, now)?;
    Ok([ca.certificate_pem(), &previous(data_dir, now)?].concat())
}

/// The certificates of former CAs that haven't ended at `now`, in PEM.
fn previous(data_dir: &Path, now: Timestamp) -> Result<String, CaError> {
    let path = data_dir.join(DIR).join(PREVIOUS);
    if !path.exists() {
        return Ok(String::new());
    }
    let text = fs::read_to_string(&path).map_err(io_error(&path))?;
    let end = "-----END CERTIFICATE-----";
    let mut kept = String::new();
    for block in text.split_inclusive(end).filter(|block| block.contains(end)) {
        let holds = certificates(&path, block)?.first().is_some_and(|certificate| {
            let read = x509_parser::parse_x509_certificate(certificate);
            read.is_ok_and(|(_, read)| read.validity().not_after.timestamp() > now.as_second())
        });
        if holds {
            kept.push_str(block.trim_start());
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// The new CA's certificate, signed by the old one.
fn vouch(old: &Issuer<'_, KeyPair>, new: rcgen::CertificateParams, key: &KeyPair) -> Result<String, CaError> {
    let mut params = new;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, old).map_err(make_error)?.pem())
}

/// Puts a file in the place of another, whole.
fn replace(path: &Path, mode: u32, text: &str) -> Result<(), CaError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error(&temporary)(error)),
        Ok(()) | Err(_) => {}
    }
    write(&temporary, mode, text.as_bytes())?;
    fs::rename(&temporary, path).map_err(io_error(path))
}
