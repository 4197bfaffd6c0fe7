//! Uploads of Python distributions (`:action=file_upload`): the form's fields, and the file that they are about.
//!
//! Invariants: name, version and file name say the same project and version, since some servers read the one and some the other;
//! a SHA-256 that the form states is the file's. A field that stands several times (`classifiers`) is a list.

use serde_json::{Map, Value};

use super::Unreadable;
use super::multipart::{Part, parts};

const SDISTS: [&str; 4] = [".tar.gz", ".zip", ".tar.bz2", ".tgz"];

fn malformed(why: impl std::fmt::Display) -> Unreadable {
    Unreadable::new("upload_malformed", format!("the upload can't be read: {why}"))
}

/// The form's fields; `project`, `filename`, `digest` and `size` besides.
pub(super) fn document(content_type: &str, body: &[u8]) -> Result<Value, Unreadable> {
    let parts = parts(content_type, body)?;
    let mut map = Map::new();
    for part in parts.iter().filter(|part| part.file.is_none()) {
        add(&mut map, &part.name, part.text()?.into());
    }
    if map.get(":action").and_then(Value::as_str) != Some("file_upload") {
        return Ok(Value::Object(map));
    }
    let files: Vec<&Part<'_>> = parts.iter().filter(|part| part.file.is_some()).collect();
    let mut contents = files.iter().filter(|part| part.name == "content");
    let (Some(file), None) = (contents.next(), contents.next()) else { return Err(malformed("it has no one file")) };
    if let Some(other) = files.iter().find(|part| !["content", "gpg_signature"].contains(&part.name.as_str())) {
        return Err(malformed(format!("{:?} is a file", other.name)));
    }
    let one =
        |name: &str| map.get(name).and_then(Value::as_str).ok_or_else(|| malformed(format!("it has no one {name}")));
    let (name, version) = (one("name")?, one("version")?);
    let filename = file.file.as_deref().unwrap_or_default();
    if !agrees(filename, name, version) {
        return Err(malformed(format!("the file {filename:?} is not {name} {version}")));
    }
    let digest = file.digest();
    let stated = map.get("sha256_digest");
    if stated.is_some_and(|stated| {
        stated.as_str().is_none_or(|text| format!("sha256:{}", text.to_ascii_lowercase()) != digest)
    }) {
        return Err(Unreadable::new("digest_differs", "the file is not the one whose SHA-256 the form states"));
    }
    let project = normal(name);
    for (key, value) in [
        ("project", Value::from(project)),
        ("filename", filename.into()),
        ("digest", digest.into()),
        ("size", file.content.len().into()),
    ] {
        if map.insert(key.to_owned(), value).is_some() {
            return Err(malformed(format!("the field {key:?} is none of an upload's")));
        }
    }
    Ok(Value::Object(map))
}

fn add(map: &mut Map<String, Value>, name: &str, value: Value) {
    match map.get_mut(name) {
        None => drop(map.insert(name.to_owned(), value)),
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// A project's name as indexes compare it: lower case, each run of `-`, `_`, `.` one `-`.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

/// Whether a wheel's or source distribution's name says this project and version.
fn agrees(filename: &str, name: &str, version: &str) -> bool {
    let plain = |text: &str, more: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte) || more.contains(&byte))
    };
    // A version with a dash, or that starts with a letter, could be the end of another project's name.
    let starts = version.starts_with(|c: char| c.is_ascii_digit());
    if !plain(filename, b"-+!") || !plain(name, b"-") || !plain(version, b"+!") || !starts {
        return false;
    }
    let same = |project: &str, stated: &str| normal(project) == normal(name) && normal(stated) == normal(version);
    if let Some(wheel) = filename.strip_suffix(".whl") {
        let parts: Vec<&str> = wheel.split('-').collect();
        return matches!(parts.as_slice(), [project, stated, _, _, _] | [project, stated, _, _, _, _] if same(project, stated));
    }
    let stem = SDISTS.iter().find_map(|ending| filename.strip_suffix(ending));
    stem.and_then(|stem| stem.rsplit_once('-')).is_some_and(|(project, stated)| same(project, stated))
}

#[cfg(test)]
mod tests;
