//! Who asks: a verified identity and the chain of agents behind it, as data.
//!
//! The server makes an [`Agent`] after it has checked a credential; this crate only reads it. Deliberately absent:
//! tokens, keys and anything else that proves an identity.

use serde::{Deserialize, Serialize};

/// A registered agent whose credential has been verified for this call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The registered name, e.g. `deploy-manager`. See [`valid_name`].
    pub id: String,
    /// The groups that the operator put it in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Who called this agent, nearest first (the `act` claim of RFC 8693 §4.1); empty when it acts for itself.
    #[serde(default)]
    pub chain: Vec<String>,
    /// The `jti` of the token that proved it (RFC 7519 §4.1.7), so that a record leads back to an issued token.
    #[serde(default)]
    pub token_id: Option<String>,
}

impl Agent {
    /// An agent that acts for itself and is in no group.
    pub fn named(id: impl Into<String>) -> Self {
        Self { id: id.into(), groups: Vec::new(), chain: Vec::new(), token_id: None }
    }

    /// The agent that called this one directly, if any.
    pub fn parent(&self) -> Option<&str> {
        self.chain.first().map(String::as_str)
    }
}

/// Whether `name` may name an agent: 1–128 of `a-z A-Z 0-9 . _ - @ /`, starting with a letter or a digit.
///
/// Narrow on purpose: names travel in URLs, log lines, metric labels, JWT `sub` and proxy user names.
pub fn valid_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-@/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::valid_name;

    #[test]
    fn names_that_could_be_mistaken_for_something_else_are_refused() {
        for good in ["a", "deploy-manager", "ci/build@acme", "9.x_y"] {
            assert!(valid_name(good), "{good}");
        }
        for bad in ["", "-a", "a b", "a\n", "ä", "a:b", "a\"", &"a".repeat(129)] {
            assert!(!valid_name(bad), "{bad:?}");
        }
    }
}
