//! What npm's clients put under a package's name: a whole document (`versions`, `dist-tags`, `_attachments`), with the file of a
//! version that is published in base64.
//!
//! Invariants: what is published is one version, whose key, `name`, `version`, file name and `integrity` agree with the document
//! and with the file's bytes, since some servers read the one and some the other. Deliberately absent: a look into the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::pointer::field;
use super::{Unreadable, json};
use crate::call::Digest;

fn malformed(why: impl std::fmt::Display) -> Unreadable {
    Unreadable::new("package_malformed", format!("the package can't be read: {why}"))
}

/// `name`, `access`, `versions` (names), `tags` (names), `deprecated` (versions), `maintainers` (names); where a version is
/// published, `published` with its `version`, `integrity`, `digest`, `size`, `scripts` (names) and `provenance`.
pub(super) fn document(body: &[u8]) -> Result<Value, Unreadable> {
    let package = json::parse(body)?;
    let name = text(&package, "name")?.or(text(&package, "_id")?);
    let versions = entries(&package, "versions")?;
    let deprecated = |version: &Value| field(version, "deprecated").map(|why| why.is_some_and(|why| *why != json!("")));
    let mut withdrawn = Vec::new();
    for (version, manifest) in versions.into_iter().flatten() {
        if deprecated(manifest)? {
            withdrawn.push(version.as_str());
        }
    }
    let mut document = json!({
        "name": name,
        "access": field(&package, "access")?,
        "versions": names(versions),
        "tags": names(entries(&package, "dist-tags")?),
        "deprecated": withdrawn,
        "maintainers": maintainers(&package)?,
    });
    if let Some(files) = entries(&package, "_attachments")?.filter(|files| !files.is_empty()) {
        let name = name.ok_or_else(|| malformed("it has no name"))?;
        let published = published(name, versions, files)?;
        if let Some(document) = document.as_object_mut() {
            document.insert("published".to_owned(), published);
        }
    }
    Ok(document)
}

fn text<'v>(value: &'v Value, key: &str) -> Result<Option<&'v str>, Unreadable> {
    match field(value, key)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format!("its {key} is not text"))),
    }
}

fn entries<'v>(value: &'v Value, key: &str) -> Result<Option<&'v Map<String, Value>>, Unreadable> {
    match field(value, key)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(malformed(format!("its {key} is not an object"))),
    }
}

fn names(map: Option<&Map<String, Value>>) -> Vec<&str> {
    map.into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

fn maintainers(package: &Value) -> Result<Vec<&str>, Unreadable> {
    let Some(Value::Array(all)) = field(package, "maintainers")? else { return Ok(Vec::new()) };
    let named = |one: &'_ Value| match one {
        Value::String(_) => Ok(()),
        other => text(other, "name").map(drop),
    };
    all.iter().try_for_each(named)?;
    Ok(all.iter().filter_map(|one| one.as_str().or_else(|| one.get("name")?.as_str())).collect())
}

/// The one version whose file is attached.
fn published(
    name: &str,
    versions: Option<&Map<String, Value>>,
    files: &Map<String, Value>,
) -> Result<Value, Unreadable> {
    let mut all = versions.into_iter().flatten();
    let (Some((version, manifest)), None) = (all.next(), all.next()) else {
        return Err(malformed("a file is published with another number of versions than one"));
    };
    if text(manifest, "name")? != Some(name) || text(manifest, "version")? != Some(version) {
        return Err(malformed("the version that is published has another name or version"));
    }
    let (mut bytes, mut provenance) = (None, false);
    for (file, attached) in files {
        let stem = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        match stem.and_then(|rest| rest.strip_prefix(version.as_str())) {
            Some(".tgz") => bytes = Some(decoded(attached)?),
            Some(".sigstore") => provenance = true,
            _ => return Err(malformed(format!("{file:?} is no file of {name} {version}"))),
        }
    }
    let bytes = bytes.ok_or_else(|| malformed("it has no file"))?;
    let dist = field(manifest, "dist")?.unwrap_or(&Value::Null);
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&bytes)));
    let stated = text(dist, "integrity")?.unwrap_or_default();
    // SHA-1 beside it is for the old; whoever reads that one reads the same file.
    let mut known = stated.split_ascii_whitespace().filter(|one| !one.starts_with("sha1-"));
    if known.next() != Some(integrity.as_str()) || known.next().is_some() {
        return Err(Unreadable::new("digest_differs", "the file is not the one whose integrity the version states"));
    }
    Ok(json!({
        "version": version,
        "integrity": integrity,
        "digest": Digest::of(&bytes).to_string(),
        "size": bytes.len(),
        "scripts": names(entries(manifest, "scripts")?),
        "provenance": provenance,
    }))
}

fn decoded(attached: &Value) -> Result<Vec<u8>, Unreadable> {
    let data = text(attached, "data")?.ok_or_else(|| malformed("its file has no data"))?;
    let bytes = STANDARD.decode(data).map_err(|_| malformed("its file is not base64"))?;
    let length = field(attached, "length")?;
    if length.is_some_and(|length| length.as_u64() != u64::try_from(bytes.len()).ok()) {
        return Err(malformed("its file has another length than it says"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
