//! An OpenAPI document → the text of a catalogue file, to be looked through by whoever will use it.
//!
//! Such a document says what is valid, not what is dangerous: effects are guessed by method, and classes other than `read` aren't
//! given. What the format can't say is left out, and the file's head says what was. Where parameters can't all be listed the action is
//! `open`, so that a rule on one of them denies. Deliberately absent: references to other files, and whatever isn't a call to the tool
//! (callbacks, webhooks).

mod operation;
mod print;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use http::uri::PathAndQuery;
use serde_json::{Map, Value};

use self::operation::Operation;
use self::schema::Document;
use super::target::canonical_target;
use super::template::Template;
use crate::document;

/// The methods that a catalogue knows, as an OpenAPI document writes them.
const METHODS: [&str; 7] = ["get", "head", "options", "post", "put", "patch", "delete"];

/// A catalogue file, as text, and what became of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file.
    pub text: String,
    /// The tool's name.
    pub tool: String,
    /// How many actions it has.
    pub actions: usize,
    /// What was left out, and why.
    pub skipped: Vec<String>,
}

/// Why a document can't be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotImported(String);

/// Where the tool is.
#[derive(Debug, Default)]
struct Servers {
    hosts: Vec<String>,
    /// What every path begins with.
    base: String,
}

/// Imports an OpenAPI 3 document, YAML or JSON; `file` is what messages call it.
///
/// # Errors
/// It can't be read, or is no OpenAPI 3 document with an operation that can be told.
pub fn import(file: &str, text: &str, tool: Option<&str>) -> Result<Imported, NotImported> {
    let root = read(file, text)?;
    let document = Document { root: &root };
    let version = root.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.") {
        return Err(NotImported(format!("{file} is no OpenAPI 3 document: `openapi` is {version:?}")));
    }
    let title = root.pointer("/info/title").and_then(Value::as_str).unwrap_or("tool");
    let tool = tool.map_or_else(|| snake(title), str::to_owned);
    if !crate::agent::valid_name(&tool) || tool.contains('/') {
        return Err(NotImported(format!("{tool:?} is no tool's name: give one of letters, digits, `_`, `-`")));
    }
    let mut skipped = Vec::new();
    let servers = servers(&root, &mut skipped);
    let operations = operations(document, &servers.base, &mut skipped);
    if operations.is_empty() {
        return Err(NotImported(format!("{file} has no operation that can be told; {} left out", skipped.len())));
    }
    let text = print::file(&tool, title, &servers.hosts, &operations, &skipped);
    Ok(Imported { text, tool, actions: operations.len(), skipped })
}

fn read(file: &str, text: &str) -> Result<Value, NotImported> {
    let unreadable = |why: String| NotImported(format!("{file} can't be read: {why}"));
    if text.trim_start().starts_with('{') {
        // The document is the operator's own, and may be larger than what a call may bring.
        return serde_json::from_str(text).map_err(|error| unreadable(error.to_string()));
    }
    let documents = document::parse(file, text).map_err(|error| unreadable(format!("{error}; or give it as JSON")))?;
    match documents.as_slice() {
        [only] => Ok(only.to_json()),
        _ => Err(unreadable("expected one document".to_owned())),
    }
}

/// Absolute servers with one base path; the first says which.
fn servers(root: &Value, skipped: &mut Vec<String>) -> Servers {
    let mut found: Option<Servers> = None;
    let mut relative = None;
    for url in
        root.get("servers").and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.get("url")?.as_str())
    {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest else {
            relative = relative.or(url.starts_with('/').then(|| url.trim_end_matches('/').to_owned()));
            skipped.push(format!("server {url}: it names no host; a route of yours can lead to it"));
            continue;
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let base = path.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if host.is_empty() || !host.chars().all(plain) || base.contains('{') {
            skipped.push(format!("server {url}: its host isn't fixed"));
            continue;
        }
        match &mut found {
            None => found = Some(Servers { hosts: vec![host], base: base.to_owned() }),
            Some(known) if known.base != base => {
                skipped.push(format!("server {url}: another base path than the first one's"))
            }
            Some(known) if !known.hosts.contains(&host) => known.hosts.push(host),
            Some(_) => {}
        }
    }
    found.unwrap_or(Servers { hosts: Vec::new(), base: relative.unwrap_or_default() })
}

fn operations(document: Document<'_>, base: &str, skipped: &mut Vec<String>) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut templates: Vec<(&str, Vec<Template>)> = Vec::new();
    let mut names = BTreeSet::new();
    for (path, item) in document.root.get("paths").and_then(Value::as_object).into_iter().flatten() {
        let Some(item) = document.resolved(item).and_then(Value::as_object) else {
            skipped.push(format!("{path}: it stands in another document"));
            continue;
        };
        let written = match written(base, path) {
            Ok(written) => written,
            Err(why) => {
                skipped.push(format!("{path}: {why}"));
                continue;
            }
        };
        for method in METHODS {
            let Some(operation) = item.get(method).and_then(Value::as_object) else { continue };
            let parsed = Template::parse(&written).unwrap_or_default();
            let same = |known: &Template| parsed.iter().any(|new| known.precedence(new).is_eq() && known.overlaps(new));
            if templates.iter().any(|(own, known)| *own == method && known.iter().any(same)) {
                skipped
                    .push(format!("{} {path}: it can't be told from another operation", method.to_ascii_uppercase()));
                continue;
            }
            let name = unique(&name(method, path, operation), &mut names);
            let made = Operation::read(document, (method, &written, item, operation), name, skipped);
            operations.push(made);
            templates.push((method, parsed));
        }
    }
    operations
}

/// A path as the catalogue writes it.
fn written(base: &str, path: &str) -> Result<String, String> {
    if path.contains(['?', '#', '[', ']']) {
        return Err("it is more than a path".to_owned());
    }
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if !name.contains(['{', '}']) => Ok(format!("{{{}}}", snake_kept(name))),
        None if !segment.contains(['{', '}']) => Ok(segment.to_owned()),
        _ => Err("a variable is only a part of a segment".to_owned()),
    };
    let segments: Result<Vec<String>, String> = path.split('/').map(segment).collect();
    let written = format!("{base}{}", segments?.join("/"));
    Template::parse(&written)?;
    // A call that is refused or read otherwise, whatever its variables are, is none that an entry can be for.
    let wire = operation::on_the_wire(&written).replace(['{', '}'], "_");
    let canonical = wire.parse::<PathAndQuery>().ok().and_then(|raw| canonical_target(&raw).ok());
    match canonical.is_some_and(|canonical| canonical.as_str() == wire) && !written.contains('%') {
        true => Ok(written),
        false => Err("no request has such a path: it has escapes, empty segments or the like".to_owned()),
    }
}

fn name(method: &str, path: &str, operation: &Map<String, Value>) -> String {
    let given = operation.get("operationId").and_then(Value::as_str).map(snake).filter(|name| !name.is_empty());
    let name = given.unwrap_or_else(|| snake(&format!("{method}_{path}")));
    // These names are the engine's own.
    if matches!(name.as_str(), "unknown" | "discover") { format!("{name}_{method}") } else { name }
}

fn unique(name: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !names.contains(name));
    let free = free.unwrap_or_default();
    names.insert(free.clone());
    free
}

/// `createPetByID`, `repos/create-dispatch-event` → words in lower case with `_` between them.
pub(super) fn snake(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for (index, &c) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| characters.get(before));
        let after = characters.get(index + 1);
        let starts = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || (b.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if (starts || !c.is_ascii_alphanumeric()) && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        }
    }
    out.trim_end_matches('_').to_owned()
}

/// A variable's name with what a template doesn't take replaced.
fn snake_kept(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(kept).collect()
}
