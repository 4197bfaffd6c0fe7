//! `${env:NAME}` and `${file:PATH}` in any text of the configuration. The values never appear in an error.

use std::path::Path;

use aegis_core::document::{Diagnostic, Node, Value};

/// Replaces every reference below `node`; a relative file is relative to `base`.
pub(super) fn expand(file: &str, path: &str, node: &mut Node, base: &Path, errors: &mut Vec<Diagnostic>) {
    match &mut node.value {
        Value::Text(text) => match replaced(text, base) {
            Ok(Some(new)) => *text = new,
            Ok(None) => {}
            Err(message) => errors.push(Diagnostic::error(file, node.place, path, message)),
        },
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                expand(file, &format!("{path}[{index}]"), item, base, errors);
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
                expand(file, &path, value, base, errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// The text with its references replaced; `None` when it has none.
fn replaced(text: &str, base: &Path) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (reference, tail) = after.split_once('}').ok_or("`${` without its `}`")?;
        out.push_str(before);
        out.push_str(&value_of(reference, base)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn value_of(reference: &str, base: &Path) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) => match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value),
            Ok(_) => Err(format!("the environment variable {name} is empty")),
            Err(std::env::VarError::NotPresent) => Err(format!("the environment variable {name} is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
        },
        Some(("file", path)) => {
            let path = base.join(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("the file {} can't be read: {error}", path.display()))?;
            // Editors and `echo` end a file with a newline, which is no part of a secret.
            let value = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            if value.is_empty() { Err(format!("the file {} is empty", path.display())) } else { Ok(value.to_owned()) }
        }
        _ => Err("references are written ${env:NAME} or ${file:PATH}".to_owned()),
    }
}
