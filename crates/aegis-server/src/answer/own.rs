//! A refusal in the shape that a tool's file gives.

use aegis_core::describe::OwnShape;
use aegis_core::problem::Problem;
use serde_json::Value;

use super::{document, spoken};

/// The body. Of an object the problem's members stand beside the tool's own, which win.
pub(super) fn body(shape: &OwnShape, problem: &Problem) -> String {
    match &shape.body {
        Value::Object(own) => {
            let mut whole = document(problem);
            if let (Value::Object(whole), Value::Object(own)) =
                (&mut whole, filled(&Value::Object(own.clone()), problem))
            {
                whole.extend(own);
            }
            whole.to_string()
        }
        Value::String(text) => fill(text, problem, escaped),
        other => other.to_string(),
    }
}

/// A header's text. What can't stand in a header is `?`.
pub(super) fn header(text: &str, problem: &Problem) -> String {
    fill(text, problem, |value| value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect())
}

fn filled(value: &Value, problem: &Problem) -> Value {
    match value {
        Value::String(text) if text == "{status}" => problem.status.into(),
        Value::String(text) => fill(text, problem, str::to_owned).into(),
        Value::Array(items) => items.iter().map(|item| filled(item, problem)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), filled(value, problem))).collect(),
        other => other.clone(),
    }
}

/// The text with its places filled, once: what is put in isn't looked at again.
fn fill(text: &str, problem: &Problem, escape: impl Fn(&str) -> String) -> String {
    let value = |place: &str| {
        Some(match place {
            "message" => spoken(problem),
            "title" => problem.title.clone(),
            "detail" => problem.detail.clone(),
            "code" => problem.title.clone(),
            "status" => problem.status.to_string(),
            "id" => problem.decision_id.clone(),
            _ => return None,
        })
    };
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let place = after.split_once('}').and_then(|(place, after)| Some((value(place)?, after)));
        match place {
            Some((value, after)) => {
                filled.push_str(&escape(&value));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// For XML, elements and attributes alike.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 §2.2 has no place for other control characters, escaped or not.
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
