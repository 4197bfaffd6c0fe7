//! Who asks: a credential becomes a verified [`Agent`], or is rejected with one wording for every reason.

use aegis_core::agent::Agent;
use jiff::Timestamp;

/// What a request brought to prove its identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Missing,
    /// A header that isn't one well-formed credential: twice, another scheme, not base64…
    Malformed,
    /// `Bearer TOKEN`, or `Aegis-Token: TOKEN`.
    Bearer(String),
    /// `Basic`, the token as password; the user name, when not empty, must be the agent's.
    Basic {
        /// User name.
        user: String,
        /// The token.
        token: String,
    },
}

/// Why a credential is rejected; for the record, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected(pub &'static str);

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Identify {}

impl Identify {
    /// The agent that a credential proves.
    ///
    /// # Errors
    /// The reason, for the record.
    pub fn verify(&self, credential: &Credential, now: Timestamp) -> Result<Agent, Rejected> {
        let _ = (credential, now);
        todo!()
    }
}
