//! What a version is made of, as the store keeps it: the policies' texts, and the modes that operators switched them to.

use std::collections::BTreeMap;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, Options, PolicySet, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::whole;

/// What a version is made of. The gateway's own mode and engine are not in it: those are the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Policies as they were written.
    Written(Written),
    /// A bundle that is judged as the Rego that it is: there is nothing else that it was written as.
    Bundle(Vec<u8>),
}

/// Policies as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The policy files.
    pub sources: Vec<Source>,
    /// Policy ids → the mode that an operator has switched them to.
    #[serde(default)]
    pub modes: BTreeMap<String, Mode>,
}

impl Content {
    /// The policy files; none of a bundle.
    pub fn sources(&self) -> &[Source] {
        match self {
            Self::Written(written) => &written.sources,
            Self::Bundle(_) => &[],
        }
    }

    /// What operators have switched policies to; nothing of a bundle.
    pub fn modes(&self) -> BTreeMap<String, Mode> {
        match self {
            Self::Written(written) => written.modes.clone(),
            Self::Bundle(_) => BTreeMap::new(),
        }
    }

    /// Compiles it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(&self, options: Options) -> Result<PolicySet, Vec<Diagnostic>> {
        match self {
            Self::Written(Written { sources, modes }) => {
                PolicySet::load(sources, Options { modes: modes.clone(), ..options })
            }
            Self::Bundle(bytes) => match PolicySet::from_bundle(bytes, options) {
                Ok((policies, _)) => Ok(policies),
                Err(error) => Err(vec![whole(error.to_string())]),
            },
        }
    }

    /// As it is kept: texts rather than what they compile to, so that a later Aegis, which compiles to something else, can
    /// still put it in force.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn kept(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Written(written) => serde_json::to_vec(written),
            Self::Bundle(bytes) => Ok(bytes.clone()),
        }
    }

    /// What [`Content::kept`] gave.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(bytes: Vec<u8>) -> Result<Self, serde_json::Error> {
        // RFC 1952 §2.3.1: how a bundle begins, and no JSON.
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self::Bundle(bytes));
        }
        serde_json::from_slice(&bytes).map(Self::Written)
    }
}

/// The digest of what was found in the folder, or of why nothing can be read from it.
pub(super) fn digest(found: &Result<Vec<Source>, Vec<Diagnostic>>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    match found {
        Ok(sources) => {
            sources.iter().for_each(|Source { file, text }| [file, text].into_iter().for_each(|text| add(text)))
        }
        Err(errors) => {
            errors.iter().for_each(|error| ["unreadable", &error.file, &error.message].into_iter().for_each(&mut add))
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
