//! Tokens on the wire: RFC 9068 access tokens (`at+jwt`), signed with EdDSA.
//!
//! [`read`] answers everything about a token that doesn't change with time: who signed it, for whom, and that its
//! claims are complete. What changes (time, registry, revocations) is judged on every call by [`super::Identify`].
//! The algorithm comes from our key, never from the header; keys named by a header (`jku`, `jwk`, `x5u`, `x5c`) are refused.

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::{IdentifyError, Rejected};

/// The longest token that is looked at, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// The media type in `typ` (RFC 9068 §2.1).
const TYP: &str = "at+jwt";

/// The claims of our tokens. All are required; times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) client_id: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    /// The registration that the token was issued under, in microseconds: an agent that is removed and added again under
    /// its old name is another agent.
    pub(super) registered: i64,
}

/// Signs `claims`.
pub(super) fn sign(keys: &Keys, claims: &Claims) -> Result<String, IdentifyError> {
    let (key, kid) = keys.signing();
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYP.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).map_err(|error| IdentifyError::Sign(error.to_string()))
}

/// The claims of a token that we signed for this audience.
pub(super) fn read(keys: &Keys, issuer: &str, audience: &str, token: &str) -> Result<Claims, Rejected> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| unreadable(token))?;
    let foreign_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
    if header.alg != Algorithm::EdDSA || header.crit.is_some() || foreign_key {
        return Err(Rejected("forged"));
    }
    if !header.typ.as_deref().is_some_and(is_access_token) {
        return Err(Rejected("wrong_type"));
    }
    let kid = header.kid.ok_or(Rejected("malformed"))?;
    let key = keys.verifying(&kid).ok_or(Rejected("unknown_key"))?;

    let mut validation = Validation::new(Algorithm::EdDSA);
    // The library would ask the system's clock; time is judged by the caller, on every call.
    validation.validate_exp = false;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|error| reason(&error))?.claims;
    // Exact: one issuer and one audience (a list is another type and was refused as malformed), and nobody's client.
    if claims.client_id != claims.sub || claims.jti.is_empty() {
        return Err(Rejected("malformed"));
    }
    Ok(claims)
}

/// RFC 9068 §4: `at+jwt` or `application/at+jwt`, in any case.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == TYP
}

/// Why a header can't be read: `none` and unknown algorithms don't parse, and are told apart for the record only.
fn unreadable(token: &str) -> Rejected {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap_or_default();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let algorithm = serde_json::from_slice::<serde_json::Value>(&json)
        .ok()
        .and_then(|header| header.get("alg").and_then(serde_json::Value::as_str).map(str::to_ascii_lowercase));
    match algorithm.as_deref() {
        Some("none") => Rejected("alg_none"),
        Some(_) => Rejected("forged"),
        None => Rejected("malformed"),
    }
}

fn reason(error: &jsonwebtoken::errors::Error) -> Rejected {
    use jsonwebtoken::errors::ErrorKind;
    Rejected(match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => "forged",
        ErrorKind::InvalidAudience => "wrong_audience",
        ErrorKind::InvalidIssuer => "wrong_issuer",
        _ => "malformed",
    })
}
