//! The keys of bundles: `bundle-signing.key` in the data directory (ECDSA P-256, PKCS#8 in PEM), made at the first start,
//! and the public keys that fetched bundles are verified with.
//!
//! ES256 is what a stock OPA takes for bundles in its configuration (it refuses EdDSA there); to verify, RSA and Ed25519 keys
//! are taken too. A key's id is the SHA-256 of its public half (DER, SubjectPublicKeyInfo), the first 16 digits.

use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::identify::{IdentifyError, secret};

/// The name of the signing key in the data directory.
pub const SIGNING_KEY_FILE: &str = "bundle-signing.key";

/// A key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file can't be read or made.
    #[error(transparent)]
    File(#[from] IdentifyError),
    /// There is no such file.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// It is no private key that signs bundles. The reader's own words could hold a piece of it.
    #[error("{}: it is no ECDSA P-256 private key in PEM (PKCS#8)", .0.display())]
    NotSigning(PathBuf),
    /// It is no public key.
    #[error("it is no public key in PEM (SubjectPublicKeyInfo of ECDSA P-256, RSA or Ed25519)")]
    NotPublic,
    /// It can't be made.
    #[error("a key can't be made: {0}")]
    Make(String),
}

/// A private key that signs bundles.
pub struct SigningKey {
    id: String,
    encoding: EncodingKey,
    public_pem: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a data directory; it is made where there is none.
    ///
    /// # Errors
    /// When it can't be read or made, others may read it, or it is no such key.
    pub fn open(data_dir: &Path) -> Result<Self, KeyError> {
        let path = data_dir.join(SIGNING_KEY_FILE);
        if let Some(pem) = secret::read(&path)? {
            return Self::parse(&path, &pem);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| KeyError::Make(error.to_string()))?;
        let pem = key.serialize_pem();
        secret::create(&path, &pem)?;
        Self::parse(&path, &pem)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// As for [`SigningKey::open`]; none is made.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = secret::read(path)?.ok_or_else(|| KeyError::Missing(path.to_owned()))?;
        Self::parse(path, &pem)
    }

    fn parse(path: &Path, pem: &str) -> Result<Self, KeyError> {
        let bad = || KeyError::NotSigning(path.to_owned());
        let pair = KeyPair::from_pem(pem).map_err(|_| bad())?;
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(bad());
        }
        let encoding = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| bad())?;
        Ok(Self { id: key_id(&pair.subject_public_key_info()), encoding, public_pem: pair.public_key_pem() })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its public half, in PEM: what others verify with.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    pub(super) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }
}

/// A reader of keys of one kind.
type ReadPem = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

/// A public key that bundles are verified with.
#[derive(Clone)]
pub struct VerifyingKey {
    id: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({} {:?})", self.id, self.algorithm)
    }
}

impl VerifyingKey {
    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NotPublic)?;
        let kinds: [(Algorithm, ReadPem); 3] = [
            (Algorithm::ES256, DecodingKey::from_ec_pem),
            (Algorithm::RS256, DecodingKey::from_rsa_pem),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem),
        ];
        let mut readable = kinds.into_iter().filter_map(|(algorithm, read)| Some((algorithm, read(pem).ok()?)));
        let (algorithm, decoding) = readable.next().ok_or(KeyError::NotPublic)?;
        Ok(Self { id: key_id(&der), algorithm, decoding })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

fn key_id(public: &[u8]) -> String {
    Sha256::digest(public).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
