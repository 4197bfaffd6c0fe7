//! OPA's bundle signatures: `.signatures.json` holds one JWT over the names and digests of all other files.

use std::collections::BTreeMap;

use aegis_core::policy::{Archive, FileDigest};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::{SigningKey, VerifyingKey};

/// Why a bundle's signature isn't good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has none.
    #[error("the bundle is not signed: it has no {}", Archive::SIGNATURES_FILE)]
    Unsigned,
    /// The signature can't be read.
    #[error("the bundle's signature can't be read: {0}")]
    Malformed(String),
    /// No key that was given made it.
    #[error("the bundle is signed by {}, not by {known}", .key.as_deref().map_or("an unnamed key".to_owned(), |key| format!("key {key:?}")))]
    UnknownKey {
        /// The key that it names.
        key: Option<String>,
        /// The keys that were given.
        known: String,
    },
    /// It names a key that was given, which didn't make it.
    #[error("the bundle's signature is not one of key {0}, which it names: it was changed or forged")]
    Forged(String),
    /// A file isn't what was signed.
    #[error("{0} is not what was signed: it was changed")]
    Changed(String),
    /// A file that the signature doesn't list.
    #[error("{0} was added: the signature doesn't list it")]
    Added(String),
    /// A file that the signature lists and that isn't there.
    #[error("{0} is missing: the signature lists it")]
    Removed(String),
}

/// A bundle whose signature is good.
#[derive(Debug)]
pub struct Signed {
    /// Its files.
    pub archive: Archive,
    /// When it was signed, where that is said: `iat`.
    pub at: Option<Timestamp>,
    /// The id of the key.
    pub key: String,
}

#[derive(Serialize, Deserialize)]
struct Signatures {
    signatures: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    files: Vec<FileDigest>,
    /// When, in seconds since the Unix epoch (RFC 7519 §4.1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// What the key is meant for, in OPA's words; never written here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
}

/// The same bundle, signed at `now`, in place of a signature that it has.
///
/// # Errors
/// When a file isn't the JSON that its name says, or nothing can be signed.
pub fn sign(archive: Archive, key: &SigningKey, now: Timestamp) -> Result<Archive, SignatureError> {
    let files = archive.digests().map_err(SignatureError::Malformed)?;
    let claims = Claims { files, iat: Some(now.as_second()), scope: String::new() };
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::ES256) };
    let unsigned = |error: &dyn std::fmt::Display| SignatureError::Malformed(error.to_string());
    let token = jsonwebtoken::encode(&header, &claims, key.encoding()).map_err(|error| unsigned(&error))?;
    let text = serde_json::to_vec(&Signatures { signatures: vec![token] }).map_err(|error| unsigned(&error))?;
    Ok(archive.with(Archive::SIGNATURES_FILE, text))
}

/// Verifies a bundle under one of `keys`.
///
/// # Errors
/// What is wrong: with which file, which key.
pub fn verify(archive: Archive, keys: &[VerifyingKey]) -> Result<Signed, SignatureError> {
    let text = archive.file(Archive::SIGNATURES_FILE).ok_or(SignatureError::Unsigned)?;
    let malformed = |detail: String| SignatureError::Malformed(detail);
    let Signatures { signatures } =
        serde_json::from_slice(text).map_err(|error| malformed(format!("{}: {error}", Archive::SIGNATURES_FILE)))?;
    let [token] = signatures.as_slice() else {
        return Err(malformed(format!("one signature is expected, there are {}", signatures.len())));
    };
    let (claims, key) = claims(token, keys)?;
    if !claims.scope.is_empty() {
        return Err(malformed(format!("it is for the scope {:?}, which nothing here has", claims.scope)));
    }
    compare(&archive, &claims.files)?;
    let at = claims.iat.map(Timestamp::from_second).transpose().map_err(|error| malformed(format!("iat: {error}")))?;
    let key = key.id().to_owned();
    Ok(Signed { archive, at, key })
}

/// What the token says, if one of the keys made it.
fn claims<'a>(token: &str, keys: &'a [VerifyingKey]) -> Result<(Claims, &'a VerifyingKey), SignatureError> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| SignatureError::Malformed(error.to_string()))?;
    if header.crit.is_some() {
        return Err(SignatureError::Malformed("its header asks for extensions that nobody here knows".to_owned()));
    }
    for key in keys {
        let mut validation = Validation::new(key.algorithm());
        // There is no time by which a bundle ends; when it was signed is judged by whoever takes it.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        match jsonwebtoken::decode::<Claims>(token, key.decoding(), &validation) {
            Ok(data) => return Ok((data.claims, key)),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
                return Err(SignatureError::Malformed(error.to_string()));
            }
            Err(_) => {}
        }
    }
    match header.kid {
        Some(kid) if keys.iter().any(|key| key.id() == kid) => Err(SignatureError::Forged(kid)),
        key => {
            let known: Vec<String> = keys.iter().map(|key| format!("{:?}", key.id())).collect();
            Err(SignatureError::UnknownKey { key, known: known.join(", ") })
        }
    }
}

/// Every file is listed, every listed file is there, and each is what was signed.
fn compare(archive: &Archive, listed: &[FileDigest]) -> Result<(), SignatureError> {
    let mut left: BTreeMap<&str, &FileDigest> = BTreeMap::new();
    for file in listed {
        if file.algorithm != FileDigest::ALGORITHM {
            let detail = format!("{} is digested with {:?}, not {}", file.name, file.algorithm, FileDigest::ALGORITHM);
            return Err(SignatureError::Malformed(detail));
        }
        if left.insert(&file.name, file).is_some() {
            return Err(SignatureError::Malformed(format!("it lists {} twice", file.name)));
        }
    }
    for found in archive.digests().map_err(SignatureError::Malformed)? {
        match left.remove(found.name.as_str()) {
            None => return Err(SignatureError::Added(found.name)),
            Some(signed) if !signed.hash.eq_ignore_ascii_case(&found.hash) => {
                return Err(SignatureError::Changed(found.name));
            }
            Some(_) => {}
        }
    }
    match left.into_keys().next() {
        Some(name) => Err(SignatureError::Removed(name.to_owned())),
        None => Ok(()),
    }
}
