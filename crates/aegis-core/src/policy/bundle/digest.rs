//! The digests that a bundle's signature is over, as OPA computes them: of JSON files what they mean, of others their bytes.
//!
//! What a JSON file means is its text without spaces, members sorted by name, numbers as they were written, texts as Go's
//! encoder writes them. OPA takes `data.json` and `.manifest` (in any folder) for JSON and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Archive;

/// The file that holds a bundle's signature, which is over every other file.
pub(super) const SIGNATURES_FILE: &str = ".signatures.json";

/// One file of a bundle, as its signature lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its name in the archive.
    pub name: String,
    /// Its digest, in hexadecimal.
    pub hash: String,
    /// How that was computed; `SHA-256` here.
    pub algorithm: String,
}

impl FileDigest {
    /// The one algorithm that is used, and taken.
    pub const ALGORITHM: &str = "SHA-256";
}

impl Archive {
    /// Where a signature is: `{"signatures": [JWT]}`.
    pub const SIGNATURES_FILE: &str = SIGNATURES_FILE;

    /// The digests of all files but the signature, sorted by name.
    ///
    /// # Errors
    /// The first file that is not the JSON that its name says.
    pub fn digests(&self) -> Result<Vec<FileDigest>, String> {
        let signed = self.files().filter(|(name, _)| *name != SIGNATURES_FILE);
        let digests = signed.map(|(name, content)| {
            let hash = if is_structured(name) {
                let text = canonical(content).map_err(|error| format!("{name} is no JSON: {error}"))?;
                Sha256::digest(text)
            } else {
                Sha256::digest(content)
            };
            let mut hex = String::with_capacity(64);
            for byte in &hash {
                // Writing to a String can't fail.
                let _ = write!(hex, "{byte:02x}");
            }
            Ok(FileDigest { name: name.to_owned(), hash: hex, algorithm: FileDigest::ALGORITHM.to_owned() })
        });
        digests.collect()
    }
}

fn is_structured(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    // YAML data is refused before it gets here: see `open`.
    matches!(base, "data.json" | ".manifest" | SIGNATURES_FILE)
}

/// JSON text in the one form that is hashed.
pub(super) fn canonical(json: &[u8]) -> Result<String, serde_json::Error> {
    let mut text = String::with_capacity(json.len());
    let raw: &RawValue = serde_json::from_slice(json)?;
    write_value(raw.get(), &mut text)?;
    Ok(text)
}

fn write_value(json: &str, out: &mut String) -> Result<(), serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'{') => {
            // A name that comes twice: the last one counts, here as there.
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(&name, out);
                out.push(':');
                write_value(value.get(), out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item.get(), out)?;
            }
            out.push(']');
        }
        Some(b'"') => write_text(&serde_json::from_str::<String>(json)?, out),
        // Numbers and the three words stay as they were written.
        _ => out.push_str(json),
    }
    Ok(())
}

/// A text as Go's `encoding/json` writes it with HTML left alone: what JavaScript takes for line ends is escaped all the same.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
