//! Who asks: a credential becomes a verified [`Agent`], or is rejected with one wording for every reason.
//!
//! Invariants: a token proves one registered agent, for us, for minutes; suspension, removal and revocation hold from
//! the next call on, whatever is cached. Deliberately absent: groups in tokens (the registry has them, so that they can
//! change), and any trust in where a connection comes from: an agent often shares the host.

mod binding;
mod keys;
pub(crate) mod secret;
#[cfg(test)]
mod tests;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_store::{AgentEntry, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use sha2::{Digest as _, Sha256};

pub use binding::Binding;
pub use secret::{ApiKey, OPERATOR_TOKEN_FILE, OperatorToken, api_key_hash, make_redaction_key, redaction_key};

/// The longest that a token may live.
pub const MAX_TOKEN_TTL: Duration = Duration::from_secs(60 * 60);

/// How far two clocks may be apart, in seconds.
const LEEWAY: i64 = 5;

/// How many verified tokens are remembered.
const CACHED_TOKENS: u64 = 20_000;

/// What a request brought to prove its identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Missing,
    /// A header that isn't one well-formed credential: twice, another scheme, not base64…
    Malformed,
    /// `Bearer TOKEN`, or `Aegis-Token: TOKEN`.
    Bearer(String),
    /// `Basic`, the token as password. Proxy URLs force a user name on clients: it may be empty, the agent's id, or one
    /// of the placeholders `agent`, `aegis` and `token`; another agent's name is a mistake and refused.
    Basic {
        /// User name.
        user: String,
        /// The token.
        token: String,
    },
    /// Another's credential, which asks for a subject and not for itself (the decision API's enforcement points).
    OnBehalf {
        /// Who asks.
        caller: Box<Credential>,
        /// The name that the subject is registered under.
        subject: String,
    },
}

/// Why a credential is rejected; for the record, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected(pub &'static str);

/// How tokens are made and what they are checked against.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `iss`: `aegis`, or the gateway's public address.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How long a token lives; at most [`MAX_TOKEN_TTL`].
    pub token_ttl: Duration,
    /// Who may ask for others.
    pub peps: Vec<Pep>,
}

/// An agent that asks for subjects who don't prove themselves here: a gateway or an application that has authenticated them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pep {
    /// The agent.
    pub agent: String,
    /// The registered names that it may ask for; `*` at the end of one stands for any rest.
    pub subjects: Vec<String>,
}

impl Pep {
    fn may_ask_for(&self, subject: &str) -> bool {
        self.subjects.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => subject.starts_with(start),
            None => pattern == subject,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: "aegis".to_owned(),
            audience: "aegis".to_owned(),
            token_ttl: Duration::from_secs(15 * 60),
            peps: Vec::new(),
        }
    }
}

/// A token, as handed out. It is shown once and kept nowhere.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Whose it is.
    pub agent: String,
    /// Its id, by which it is revoked and found in records.
    pub jti: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Inspected {
    /// Whose it is.
    pub agent: String,
    /// Its id.
    pub jti: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What can go wrong with keys and tokens, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// A file in the data directory can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A secret that others may read.
    #[error("{} may be read by others (mode {mode:03o}): run `chmod 600` on it, and replace it if it was seen", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operator's token is empty or too short.
    #[error("{} holds no operator's token: remove it, and a new one is made at the next start", path.display())]
    NotASecret {
        /// Which.
        path: PathBuf,
    },
    /// A key that isn't one.
    #[error("{} is no Ed25519 private key in PKCS#8 PEM ({detail}): restore it, or remove it to have a new one made", path.display())]
    BadKey {
        /// Which.
        path: PathBuf,
        /// What the parser says.
        detail: String,
    },
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Random(String),
    /// A token can't be signed.
    #[error("the token can't be signed: {0}")]
    Sign(String),
    /// A lifetime that is zero or too long.
    #[error("a token lives from 1 second to {} minutes, not {} seconds", MAX_TOKEN_TTL.as_secs() / 60, .0.as_secs())]
    Ttl(Duration),
    /// No such agent.
    #[error("there is no agent {0:?}")]
    Unregistered(String),
    /// The agent is suspended.
    #[error("the agent {0:?} is suspended")]
    Suspended(String),
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Identify {
    keys: keys::Keys,
    settings: Settings,
    store: Store,
    /// By SHA-256 of the token. Claims of tokens whose signature holds, and nothing that can change.
    verified: moka::sync::Cache<[u8; 32], Arc<token::Claims>>,
}

impl Identify {
    /// Reads the keys of the data directory; makes the first one.
    ///
    /// # Errors
    /// When a key can't be read or made, or the settings' lifetime is out of bounds.
    pub fn open(data_dir: &Path, store: Store, settings: Settings) -> Result<Self, IdentifyError> {
        check_ttl(settings.token_ttl)?;
        let keys = keys::Keys::open(data_dir)?;
        let verified = moka::sync::Cache::builder().max_capacity(CACHED_TOKENS).time_to_live(MAX_TOKEN_TTL).build();
        Ok(Self { keys, settings, store, verified })
    }

    /// How these tokens are made.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The public keys, for `/.well-known/jwks.json`.
    pub fn jwks(&self) -> JwkSet {
        self.keys.jwks()
    }

    /// Issues a token for a registered agent, for `ttl` or the settings' lifetime.
    ///
    /// # Errors
    /// When the agent isn't registered or is suspended, or `ttl` is out of bounds.
    pub fn issue(&self, agent: &str, ttl: Option<Duration>, now: Timestamp) -> Result<Issued, IdentifyError> {
        let ttl = ttl.unwrap_or(self.settings.token_ttl);
        let seconds = check_ttl(ttl)?;
        let entry = self.store.agent(agent).ok_or_else(|| IdentifyError::Unregistered(agent.to_owned()))?;
        if entry.suspended {
            return Err(IdentifyError::Suspended(agent.to_owned()));
        }
        let jti = format!("tok_{}", URL_SAFE_NO_PAD.encode(secret::random::<16>()?));
        let claims = token::Claims {
            iss: self.settings.issuer.clone(),
            sub: entry.id.clone(),
            aud: self.settings.audience.clone(),
            client_id: entry.id.clone(),
            iat: now.as_second(),
            exp: now.as_second().saturating_add(seconds),
            jti: jti.clone(),
            registered: entry.created_at.as_microsecond(),
        };
        let expires_at = Timestamp::from_second(claims.exp).map_err(|_| IdentifyError::Ttl(ttl))?;
        Ok(Issued { token: token::sign(&self.keys, &claims)?, agent: agent.to_owned(), jti, expires_at })
    }

    /// The agent that a credential proves.
    ///
    /// # Errors
    /// The reason, for the record.
    pub fn verify(&self, credential: &Credential, now: Timestamp) -> Result<Agent, Rejected> {
        let (user, token) = match credential {
            Credential::Missing => return Err(Rejected("missing")),
            Credential::Malformed => return Err(Rejected("malformed")),
            Credential::Bearer(token) => ("", token),
            Credential::Basic { user, token } => (user.as_str(), token),
            Credential::OnBehalf { caller, subject } => {
                let caller = self.verify(caller, now)?;
                return self.subject(caller, subject);
            }
        };
        let claims = self.claims(token)?;
        if !matches!(user, "" | "agent" | "aegis" | "token") && user != claims.sub {
            return Err(Rejected("wrong_user"));
        }
        let second = now.as_second();
        if claims.iat > second.saturating_add(LEEWAY) {
            return Err(Rejected("not_yet_valid"));
        }
        if claims.exp.saturating_add(LEEWAY) <= second {
            return Err(Rejected("expired"));
        }
        if claims.exp.saturating_sub(claims.iat) > MAX_TOKEN_TTL.as_secs().cast_signed() {
            return Err(Rejected("lives_too_long"));
        }
        let entry = self.registered(&claims)?;
        Ok(Agent { id: entry.id, groups: entry.groups, chain: Vec::new(), token_id: Some(claims.jti.clone()) })
    }

    /// When a credential ends by its own word; `None` when it is none of ours. It proves nothing.
    pub(crate) fn holds_until(&self, credential: &Credential) -> Option<Timestamp> {
        let (Credential::Bearer(token) | Credential::Basic { token, .. }) = credential else { return None };
        let claims = self.claims(token).ok()?;
        Timestamp::from_second(claims.exp.saturating_add(LEEWAY)).ok()
    }

    /// Who has asked, as far as that is proven: for the record of a refusal.
    pub fn caller(&self, credential: &Credential, now: Timestamp) -> Option<Agent> {
        match credential {
            Credential::OnBehalf { caller, .. } => self.verify(caller, now).ok(),
            _ => None,
        }
    }

    /// The subject that `caller` asks for. The caller stands in its chain (it is the actor of RFC 8693 §4.1), and its token
    /// is what proved it: both are checked once more when a call is admitted.
    fn subject(&self, caller: Agent, subject: &str) -> Result<Agent, Rejected> {
        let peps = &self.settings.peps;
        if !peps.iter().any(|one| one.agent == caller.id && one.may_ask_for(subject)) {
            return Err(Rejected("subject_of_another"));
        }
        let entry = self.store.agent(subject).ok_or(Rejected("subject_unregistered"))?;
        if entry.suspended {
            return Err(Rejected("subject_suspended"));
        }
        let Agent { id, mut chain, token_id, .. } = caller;
        chain.insert(0, id);
        Ok(Agent { id: entry.id, groups: entry.groups, chain, token_id })
    }

    /// What the registry says now of the agent that a token names.
    fn registered(&self, claims: &token::Claims) -> Result<AgentEntry, Rejected> {
        if self.store.is_revoked(&claims.jti) {
            return Err(Rejected("revoked"));
        }
        let entry = self.store.agent(&claims.sub).ok_or(Rejected("unregistered"))?;
        if entry.created_at.as_microsecond() != claims.registered {
            return Err(Rejected("registered_anew"));
        }
        if entry.suspended {
            return Err(Rejected("suspended"));
        }
        Ok(entry)
    }

    /// What a token that we signed says, also one that has ended: for revoking and inspecting it. It proves nothing.
    ///
    /// # Errors
    /// Why it isn't one of ours.
    pub fn inspect(&self, token: &str) -> Result<Inspected, Rejected> {
        let claims = self.claims(token)?;
        let time = |second| Timestamp::from_second(second).map_err(|_| Rejected("malformed"));
        Ok(Inspected {
            agent: claims.sub.clone(),
            jti: claims.jti.clone(),
            issued_at: time(claims.iat)?,
            expires_at: time(claims.exp)?,
        })
    }

    fn claims(&self, token: &str) -> Result<Arc<token::Claims>, Rejected> {
        if token.len() > token::MAX_BYTES {
            return Err(Rejected("too_large"));
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.verified.get(&hash) {
            return Ok(claims);
        }
        let claims = Arc::new(token::read(&self.keys, &self.settings.issuer, &self.settings.audience, token)?);
        self.verified.insert(hash, Arc::clone(&claims));
        Ok(claims)
    }
}

/// A lifetime in whole seconds.
fn check_ttl(ttl: Duration) -> Result<i64, IdentifyError> {
    let allowed = Duration::from_secs(1)..=MAX_TOKEN_TTL;
    if !allowed.contains(&ttl) {
        return Err(IdentifyError::Ttl(ttl));
    }
    i64::try_from(ttl.as_secs()).map_err(|_| IdentifyError::Ttl(ttl))
}
