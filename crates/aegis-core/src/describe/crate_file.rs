//! `cargo publish`: a length and JSON, a length and the `.crate` (the Cargo Book, "Registry Web API"), to the exact end.

use serde_json::{Value, json};

use super::pointer::field;
use super::{Unreadable, json};
use crate::call::Digest;

fn malformed(why: &str) -> Unreadable {
    Unreadable::new("crate_malformed", format!("the crate can't be read: {why}"))
}

/// What a length says is there, and what follows it.
fn measured(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// The metadata as it came, under `metadata`; `name` and `version` of it; `checksum` and `size` of the file.
pub(super) fn document(body: &[u8]) -> Result<Value, Unreadable> {
    let (metadata, rest) = measured(body).ok_or_else(|| malformed("its metadata are cut off"))?;
    let (file, rest) = measured(rest).ok_or_else(|| malformed("its file is cut off"))?;
    if !rest.is_empty() {
        return Err(malformed("something follows its file"));
    }
    let metadata = json::parse(metadata)?;
    let text = |name: &str| match field(&metadata, name)? {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(malformed("its metadata have no name or no version")),
    };
    let (name, version) = (text("name")?, text("vers")?);
    let checksum = Digest::of(file).to_string();
    Ok(json!({"name": name, "version": version, "checksum": checksum, "size": file.len(), "metadata": metadata}))
}
