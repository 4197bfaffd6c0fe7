//! What a version is made of, as the store keeps it: the policies' texts, and the modes that operators switched them to.

use std::collections::BTreeMap;

use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a version is made of. The gateway's own mode and engine are not in it: those are the configuration's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The policy files.
    pub sources: Vec<Source>,
    /// Policy ids → the mode that an operator has switched them to.
    #[serde(default)]
    pub modes: BTreeMap<String, Mode>,
}

impl Content {
    /// As it is kept.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn written(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What [`Content::written`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
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
        Ok(sources) => sources.iter().for_each(|Source { file, text }| [file, text].into_iter().for_each(|text| add(text))),
        Err(errors) => errors.iter().for_each(|error| ["unreadable", &error.file, &error.message].into_iter().for_each(&mut add)),
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
