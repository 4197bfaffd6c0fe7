//! Binding tokens (AuthZEN access requests): what a human was asked about, given to the caller and taken back from it.
//!
//! A JWT like our access tokens, signed with the same key, but of another type and for another audience, so that neither
//! passes for the other. It opens nothing: whoever brings it proves itself with a token of its own, and is compared with it.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{Identify, IdentifyError, Rejected, token};

/// The media type in `typ`.
const TYP: &str = "aegis-denial+jwt";

/// What a binding token binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The agent that the question was about.
    pub sub: String,
    /// The decision.
    pub evaluation_id: String,
    /// The approval that it opened.
    pub approval: String,
    /// The digest of the question.
    pub question: String,
    /// The members of the question's context that the digest covers.
    pub binding_context_members: std::collections::BTreeSet<String>,
    /// Until when the denial can be requested, to the microsecond.
    pub denial_expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(flatten)]
    binding: Binding,
}

impl Identify {
    /// Signs a binding.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn bind(&self, binding: Binding, now: Timestamp) -> Result<String, IdentifyError> {
        let (key, kid) = self.keys.signing();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(kid.to_owned());
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: self.binding_audience(),
            iat: now.as_second(),
            exp: binding.denial_expires_at.as_second(),
            jti: binding.evaluation_id.clone(),
            binding,
        };
        jsonwebtoken::encode(&header, &claims, key).map_err(|error| IdentifyError::Sign(error.to_string()))
    }

    /// What a binding token of ours binds; whether it is still in time is the caller's to see.
    ///
    /// # Errors
    /// When it isn't one of ours.
    pub fn bound(&self, token: &str) -> Result<Binding, Rejected> {
        if token.len() > token::MAX_BYTES {
            return Err(Rejected("too_large"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Rejected("malformed"))?;
        if header.alg != Algorithm::EdDSA || header.crit.is_some() || header.typ.as_deref() != Some(TYP) {
            return Err(Rejected("forged"));
        }
        let kid = header.kid.ok_or(Rejected("malformed"))?;
        let key = self.keys.verifying(&kid).ok_or(Rejected("unknown_key"))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[self.binding_audience()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| Rejected("forged"))?.claims;
        Ok(claims.binding)
    }

    fn binding_audience(&self) -> String {
        format!("{}/access/v1/requests", self.settings.audience)
    }
}
