//! Container image references, by the OCI grammar (`oci-spec`).

use oci_spec::distribution::Reference;
use serde_json::Value;

use crate::call::Image;

/// Reads an image reference. What isn't one keeps its text and has neither repository nor digest, so that no rule that
/// lists images can be kept by it.
pub(super) fn image(value: &Value) -> Image {
    let Value::String(text) = value else {
        return Image { reference: value.to_string(), repository: None, digest: None };
    };
    match text.parse::<Reference>() {
        Ok(parsed) => Image {
            repository: Some(format!("{}/{}", parsed.registry().to_ascii_lowercase(), parsed.repository())),
            digest: parsed.digest().and_then(digest),
            reference: text.clone(),
        },
        Err(_) => Image { reference: text.clone(), repository: None, digest: None },
    }
}

/// Reads a bare digest (`sha256:…`), of a parameter that names no repository.
pub(super) fn bare_digest(value: &Value) -> Image {
    match value {
        Value::String(text) => Image { reference: text.clone(), repository: None, digest: digest(text) },
        other => Image { reference: other.to_string(), repository: None, digest: None },
    }
}

/// `sha256:` and 64 hexadecimal digits in lower case (OCI image-spec, descriptor, digests); nothing else is a digest here.
fn digest(text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:")?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    valid.then(|| text.to_owned())
}
