//! What is not kept of a recorded call: long texts, and what looks like a secret.

use std::borrow::Cow;

use serde_json::Value;

use super::Described;
use crate::call::Digest;
use crate::sanitize::shown;

/// Longest text that is kept, in characters. Of a longer one its SHA-256 is.
const MAX_TEXT: usize = 256;
/// Largest parameters that are kept at all, in bytes of JSON.
const MAX_PARAMS: usize = 32 << 10;
/// What stands where something that looks like a secret stood.
const DROPPED: &str = "(dropped: it looked like a secret)";
/// Parts of names that secrets go by.
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "credential",
    "authorization",
    "cookie",
    "private_key",
];
/// How well-known kinds of secrets start: one that is broken off or misspelt isn't kept either.
const SECRET_STARTS: [&str; 16] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "sk-",
    "sk_",
    "rk_",
    "eyJ",
    "-----BEGIN",
];
/// Shortest run of letters and digits that may be a random one, and how many different characters such a one has at least.
const RANDOM_LENGTH: usize = 24;
const RANDOM_VARIETY: usize = 14;

/// Takes out of a call what isn't kept; the places where something was taken, sorted.
pub(super) fn redact(call: &mut Described) -> Vec<String> {
    let mut cut = Vec::new();
    if serde_json::to_vec(&call.params).map_or(usize::MAX, |text| text.len()) > MAX_PARAMS {
        call.params.clear();
        cut.push("params".to_owned());
    }
    for (name, value) in &mut call.params {
        redact_value(value, &format!("params.{name}"), is_secret_name(name), &mut cut);
    }
    redact_text(&mut call.tool, "tool", false, &mut cut);
    redact_text(&mut call.action, "action", false, &mut cut);
    redact_text(&mut call.environment.name, "environment", false, &mut cut);
    for (name, text) in &mut call.target {
        redact_text(text, &format!("target.{name}"), false, &mut cut);
    }
    for (index, image) in call.images.iter_mut().enumerate() {
        redact_text(&mut image.reference, &format!("images[{index}].reference"), false, &mut cut);
        if let Some(repository) = &mut image.repository {
            redact_text(repository, &format!("images[{index}].repository"), false, &mut cut);
        }
    }
    if let Some(to) = &mut call.destination {
        redact_text(&mut to.host, "destination", false, &mut cut);
    }
    if let Some(claimed) = &mut call.environment.contradicted_by {
        redact_text(claimed, "environment.contradicted_by", false, &mut cut);
    }
    cut.sort_unstable();
    cut
}

fn redact_value(value: &mut Value, path: &str, secret: bool, cut: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => redact_text(text, path, secret, cut),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                redact_value(item, &format!("{path}[{index}]"), secret, cut);
            }
        }
        Value::Object(fields) => {
            let before = fields.len();
            // A key is the agent's text as well.
            fields.retain(|key, _| key.chars().count() <= MAX_TEXT && !looks_secret(key));
            if fields.len() < before {
                cut.push(path.to_owned());
            }
            for (key, item) in fields {
                redact_value(item, &format!("{path}.{key}"), secret || is_secret_name(key), cut);
            }
        }
    }
}

fn redact_text(text: &mut String, path: &str, secret: bool, cut: &mut Vec<String>) {
    if !text.is_empty() && (secret || looks_secret(text)) {
        DROPPED.clone_into(text);
    } else if text.chars().count() > MAX_TEXT {
        *text = Digest::of(&*text).to_string();
    } else {
        return;
    }
    cut.push(path.to_owned());
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Whether a text holds what must not leave, or only looks like it: more is dropped here than is redacted elsewhere, for this is kept.
fn looks_secret(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || "\"'=,;()<>".contains(c));
    text.contains("-----BEGIN")
        || has_password(text)
        || words.into_iter().any(is_secret_word)
        || matches!(shown::text(text), Cow::Owned(_))
}

fn is_secret_word(word: &str) -> bool {
    let known = SECRET_STARTS.iter().any(|start| word.starts_with(start) && word.len() >= start.len() + 12);
    known || word.split(['/', ':', '@', '.', '-']).any(is_random)
}

/// A digest is all hexadecimal, and no secret.
fn is_random(run: &str) -> bool {
    let hexadecimal = run.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let variety = run.bytes().collect::<std::collections::BTreeSet<_>>().len();
    run.len() >= RANDOM_LENGTH && mixed && !hexadecimal && variety >= RANDOM_VARIETY
}

fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}
