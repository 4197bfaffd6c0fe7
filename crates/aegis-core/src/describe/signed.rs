//! What AWS's Signature Version 4 says about a request beside its signature: whose key, which region, which service.
//!
//! Nothing is verified here. A route with keys of its own verifies it before the call is described; elsewhere the upstream
//! does, and a scope that isn't the key's or the endpoint's is refused there.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Unreadable;

/// The scheme's name in `Authorization`.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The header that stands in the place of a signature that was verified on the way in, as [`Scope`] shows itself. Every way in takes
/// headers of this kind off what comes.
pub const VERIFIED_SCOPE: &str = "aegis-sigv4-scope";

/// For what a signature is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The id of the access key, which is no secret.
    pub access_key: String,
    /// The day, as `YYYYMMDD`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service, e.g. `ecs`.
    pub service: String,
}

/// The parts of an `Authorization` header of Signature Version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What it is for.
    pub scope: Scope,
    /// The signed headers, in lower case.
    pub headers: Vec<String>,
    /// The signature, 64 hexadecimal digits in lower case.
    pub signature: String,
}

impl Signed {
    /// Reads the header; `None` when the request isn't signed so.
    ///
    /// # Errors
    /// It is, and the header is malformed or stands twice.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Unreadable> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = values.next() else { return Ok(None) };
        if !first.as_bytes().starts_with(b"AWS4-HMAC-") {
            return Ok(None);
        }
        let malformed = || Unreadable::new("sigv4_malformed", "the Authorization is no Signature Version 4 of AWS");
        let text = first.to_str().ok().filter(|_| values.next().is_none()).ok_or_else(malformed)?;
        Self::parse(text).map(Some).ok_or_else(malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = BTreeMap::new();
        for part in text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(',') {
            let (name, value) = part.trim_matches(' ').split_once('=')?;
            if parts.insert(name, value).is_some() {
                return None;
            }
        }
        let scope = Scope::parse(parts.remove("Credential")?)?;
        let (headers, signature) = (parts.remove("SignedHeaders")?, parts.remove("Signature")?);
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (parts.is_empty() && signature.len() == 64 && signature.bytes().all(hex)).then(|| Self {
            scope,
            headers: headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
        })
    }
}

impl Scope {
    /// The scope that was verified on the way in.
    pub fn verified(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(VERIFIED_SCOPE)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = parts.as_slice() else { return None };
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let named =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let day = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        (named(access_key) && day && plain(region) && plain(service)).then(|| Self {
            access_key: (*access_key).to_owned(),
            date: (*date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
        })
    }

    pub(super) fn part(&self, part: Part) -> &str {
        match part {
            Part::AccessKey => &self.access_key,
            Part::Region => &self.region,
            Part::Service => &self.service,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}/aws4_request", self.access_key, self.date, self.region, self.service)
    }
}

/// What a tool's `facts:` take of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    AccessKey,
    Region,
    Service,
}

impl Part {
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("access_key", Self::AccessKey), ("region", Self::Region), ("service", Self::Service)];
}

/// The facts about its target that a request states by its signature.
pub(super) fn facts(wanted: &[(String, Part)], headers: &HeaderMap) -> Result<Vec<(String, String)>, Unreadable> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let scope = match Scope::verified(headers) {
        Some(scope) => Some(scope),
        None => Signed::read(headers)?.map(|signed| signed.scope),
    };
    let fact = |scope: &Scope| wanted.iter().map(|(name, part)| (name.clone(), scope.part(*part).to_owned())).collect();
    Ok(scope.as_ref().map(fact).unwrap_or_default())
}

#[cfg(test)]
mod tests;
