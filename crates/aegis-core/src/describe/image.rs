//! Parameters that are images.

use serde_json::Value;

use crate::call::{Image, digest};

/// An image parameter; what isn't text is no reference.
pub(super) fn image(value: &Value) -> Image {
    match value {
        Value::String(text) => Image::read(text),
        other => Image { reference: other.to_string(), repository: None, digest: None },
    }
}

/// Reads a bare digest (`sha256:…`), of a parameter that names no repository.
pub(super) fn bare_digest(value: &Value) -> Image {
    match value {
        Value::String(text) => Image { reference: text.clone(), repository: None, digest: digest(text) },
        other => Image { reference: other.to_string(), repository: None, digest: None },
    }
}
