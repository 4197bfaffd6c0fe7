//! The catalogue file as text. Everything from the document goes through [`quoted`], so that none of it can become YAML of its own.

use std::fmt::Write as _;

use serde_json::Value;

use super::operation::{Operation, Param};

/// The whole file.
pub(super) fn file(tool: &str, title: &str, hosts: &[String], operations: &[Operation], skipped: &[String]) -> String {
    let mut out = format!("# Imported from {}, an OpenAPI document, by `aegis tools import`.\n", comment(title));
    out.push_str("# Look through it: such a document says what is valid, not what is dangerous. Effects are guessed by method, and a\n");
    out.push_str("# POST may well be exec, spend or publish. Give what belongs together a class, so that policies can name it.\n");
    if !skipped.is_empty() {
        out.push_str("# Left out (a call of it is `unknown`, and refused):\n");
        skipped.iter().for_each(|one| out.push_str(&format!("# - {}\n", comment(one))));
    }
    out.push_str(&format!("apiVersion: aegis/v1\ntool: {}\n", quoted(tool)));
    if hosts.is_empty() {
        out.push_str("# The document names no host: lead a route of yours here, with `tool: NAME`.\n");
    } else {
        let hosts: Vec<String> = hosts.iter().map(|host| quoted(host)).collect();
        out.push_str(&format!("route: {{hosts: [{}]}}\n", hosts.join(", ")));
    }
    out.push_str("actions:\n");
    operations.iter().for_each(|operation| action(operation, &mut out));
    let cases: String = operations.iter().filter_map(case).collect();
    if !cases.is_empty() {
        out.push_str(&format!("cases:\n{cases}"));
    }
    out
}

fn action(operation: &Operation, out: &mut String) {
    out.push_str(&format!("- action: {}\n", quoted(&operation.name)));
    if let Some(summary) = &operation.summary {
        out.push_str(&format!("  # {}\n", comment(summary)));
    }
    let (effect, doubt) = match operation.method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => ("read", ""),
        "DELETE" => ("destroy", ""),
        "POST" => ("write", "  # a guess: may be exec, spend or publish"),
        _ => ("write", "  # a guess"),
    };
    if effect == "read" {
        out.push_str("  classes: [read]\n");
    }
    out.push_str(&format!("  effect: {effect}{doubt}\n"));
    out.push_str(&format!("  match: {{method: {}, path: {}}}\n", operation.method, quoted(&operation.path)));
    if !operation.decode.is_empty() {
        let decoders: Vec<String> = operation.decode.iter().map(|name| quoted(name)).collect();
        out.push_str(&format!("  decode: [{}]\n", decoders.join(", ")));
    }
    if operation.open {
        out.push_str("  open: true  # not all of its parameters are listed\n");
    }
    if !operation.params.is_empty() {
        out.push_str("  params:\n");
        operation.params.iter().for_each(|one| param(one, operation, out));
    }
}

fn param(param: &Param, operation: &Operation, out: &mut String) {
    let (source, place) = &param.source;
    let mut text = format!("    {}: {{{source}: {}", quoted(&param.name), quoted(place));
    if param.all {
        text.push_str(", all: true");
    }
    if param.kind != "string" {
        text.push_str(&format!(", type: {}", param.kind));
    }
    match (param.required, *source, operation.method.as_str()) {
        (true, "pointer", "PATCH") => text.push_str(", presence: unless_patch"),
        (true, ..) => {}
        (false, ..) => text.push_str(", presence: partial"),
    }
    out.push_str(&format!("{text}}}\n"));
}

/// A request that has to be this action.
fn case(operation: &Operation) -> Option<String> {
    let example = operation.example.as_ref()?;
    let mut request = format!("{} {} HTTP/1.1\nHost: case.invalid\n", operation.method, example.target);
    if let Some((media_type, body)) = &example.body {
        let _ = write!(request, "Content-Type: {media_type}\n\n{body}\n");
    } else {
        request.push('\n');
    }
    let (name, request) = (quoted(&operation.name), quoted(&request));
    Some(format!("- {{name: {name}, request: {request}, expect: {{action: {name}}}}}\n"))
}

/// Text as a YAML scalar: plain where nobody could take it for something else, else as JSON has it.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if plain {
        return text.to_owned();
    }
    // JSON leaves characters as they are that YAML 1.1 takes for line breaks.
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{7f}'..='\u{9f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Text within a comment's one line.
fn comment(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() || !c.is_ascii() { ' ' } else { c }).take(160).collect();
    text.trim().to_owned()
}
