//! The keys that tokens are signed with: Ed25519, PKCS#8 in PEM, under `keys/` in the data directory.
//!
//! `keys/token.key` signs; every other `keys/token-*.key` only verifies. To rotate: rename `token.key` to
//! `token-ANYTHING.key` and start again: a new `token.key` is made, and the old one verifies until it is removed.

use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::{IdentifyError, secret};

/// The key that signs.
const SIGNING: &str = "token.key";

/// The keys of one data directory.
#[derive(Debug)]
pub(super) struct Keys {
    signing: EncodingKey,
    kid: String,
    verifying: Vec<Verifying>,
}

#[derive(Debug)]
struct Verifying {
    kid: String,
    key: DecodingKey,
    jwk: Jwk,
}

impl Keys {
    /// Reads all keys; makes the signing key at first start.
    ///
    /// # Errors
    /// When one of them can't be read or isn't an Ed25519 key: a key left out is a rotation that nobody asked for.
    pub(super) fn open(data_dir: &Path) -> Result<Self, IdentifyError> {
        let folder = data_dir.join("keys");
        let path = folder.join(SIGNING);
        let pem = match secret::read(&path)? {
            Some(pem) => pem,
            None => {
                let pem = generate()?;
                secret::create(&path, &pem)?;
                pem
            }
        };
        let (signing, newest) = parse(&path, &pem)?;
        let kid = newest.kid.clone();
        let mut verifying = vec![newest];
        for path in older(&folder)? {
            if let Some(pem) = secret::read(&path)? {
                verifying.push(parse(&path, &pem)?.1);
            }
        }
        Ok(Self { signing, kid, verifying })
    }

    /// The signing key and its id.
    pub(super) fn signing(&self) -> (&EncodingKey, &str) {
        (&self.signing, &self.kid)
    }

    /// The key with this id.
    pub(super) fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.iter().find(|known| known.kid == kid).map(|known| &known.key)
    }

    /// The public halves (RFC 7517 §5), the signing key first.
    pub(super) fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.verifying.iter().map(|known| known.jwk.clone()).collect() }
    }
}

fn older(folder: &Path) -> Result<Vec<PathBuf>, IdentifyError> {
    let failed = |source| IdentifyError::File { path: folder.to_owned(), source };
    let entries: Result<Vec<_>, io::Error> = fs::read_dir(folder).map_err(failed)?.collect();
    let mut paths: Vec<PathBuf> = entries
        .map_err(failed)?
        .into_iter()
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with("token-") && name.ends_with(".key"))
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}

fn parse(path: &Path, pem: &str) -> Result<(EncodingKey, Verifying), IdentifyError> {
    let bad =
        |error: jsonwebtoken::errors::Error| IdentifyError::BadKey { path: path.to_owned(), detail: error.to_string() };
    let signing = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(bad)?;
    let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::EdDSA).map_err(bad)?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(bad)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(&jwk).map_err(bad)?;
    Ok((signing, Verifying { kid, key, jwk }))
}

/// A new key: PKCS#8 version 1 (RFC 8410 §7), which every tool reads, as PEM (RFC 7468 §10).
fn generate() -> Result<String, IdentifyError> {
    let failed = |_| IdentifyError::Random("no Ed25519 key could be made".to_owned());
    let der = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(failed)?;
    // An Ed25519 key is 48 bytes: 64 characters, which is exactly one line of PEM.
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref())))
}
