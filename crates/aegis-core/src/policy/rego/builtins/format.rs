//! `sprintf` with `%s`, `%v`, `%d` and `%%`, as OPA writes them. The format is a literal that [`super::super::lint`] has read:
//! it has no other verb, and as many as there are arguments.

use regorus::Value;

use super::{Answer, NoAnswer, made};

/// Deepest value that is written out.
const MAX_DEPTH: usize = 32;

/// How many arguments a format takes.
///
/// # Errors
/// The verb that isn't one of ours.
pub(in crate::policy::rego) fn verbs(format: &str) -> Result<usize, String> {
    let mut count = 0;
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some('%') => {}
            Some('s' | 'v' | 'd') => count += 1,
            other => return Err(other.map_or_else(|| "%".to_owned(), |c| format!("%{c}"))),
        }
    }
    Ok(count)
}

pub(super) fn sprintf(args: &[Value]) -> Answer {
    let [Value::String(format), Value::Array(arguments)] = args else { return Ok(Value::Undefined) };
    let mut arguments = arguments.iter();
    let (mut out, mut chars) = (String::new(), format.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(verb) => write(&mut out, verb, arguments.next().ok_or(NoAnswer)?)?,
            None => return Err(NoAnswer),
        }
        if out.len() > super::MAX_MADE {
            return Err(NoAnswer);
        }
    }
    made(out)
}

fn write(out: &mut String, verb: char, value: &Value) -> Result<(), NoAnswer> {
    match (verb, value) {
        ('s' | 'v', Value::String(text)) => out.push_str(text),
        ('v' | 'd', Value::Number(_)) if value.as_i64().is_ok() && !is_float(value) => {
            out.push_str(&value.as_i64().map_err(|_| NoAnswer)?.to_string());
        }
        ('v', Value::Number(_)) => number(out, value.as_f64().map_err(|_| NoAnswer)?),
        ('s' | 'v', Value::Null | Value::Bool(_) | Value::Array(_) | Value::Set(_) | Value::Object(_)) => {
            term(out, value, 0)?;
        }
        // Go writes the verb's misuse into the text, with the name of a type of its own.
        _ => return Err(NoAnswer),
    }
    Ok(())
}

fn is_float(value: &Value) -> bool {
    matches!(value, Value::Number(number) if !number.is_integer())
}

/// Go's `%v` of a float: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
fn number(out: &mut String, value: f64) {
    let scientific = format!("{value:e}");
    let exponent: i32 = scientific.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        out.push_str(&value.to_string());
    } else {
        let digits = scientific.split('e').next().unwrap_or_default();
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{digits}e{sign}{:02}", exponent.abs()));
    }
}

/// A value inside another, as Rego writes it.
fn term(out: &mut String, value: &Value, depth: usize) -> Result<(), NoAnswer> {
    if depth > MAX_DEPTH || out.len() > super::MAX_MADE {
        return Err(NoAnswer);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        // OPA keeps a number's own digits, and these are what the input has.
        Value::Number(_) => match value.as_i64() {
            Ok(whole) => out.push_str(&whole.to_string()),
            Err(_) => out.push_str(&serde_json::Value::from(value.as_f64().map_err(|_| NoAnswer)?).to_string()),
        },
        Value::String(text) if text.chars().all(plain) => out.push_str(&format!("\"{text}\"")),
        Value::Array(items) => list(out, "[", items.iter(), "]", depth)?,
        Value::Set(items) if items.is_empty() => out.push_str("set()"),
        Value::Set(items) => list(out, "{", items.iter(), "}", depth)?,
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, value)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                term(out, key, depth + 1)?;
                out.push_str(": ");
                term(out, value, depth + 1)?;
            }
            out.push('}');
        }
        // Quotation marks, backslashes and what can't be printed have escapes of Go's own.
        _ => return Err(NoAnswer),
    }
    Ok(())
}

fn plain(c: char) -> bool {
    (' '..='~').contains(&c) && c != '"' && c != '\\' || c.is_alphanumeric()
}

fn list<'a>(
    out: &mut String,
    open: &str,
    items: impl Iterator<Item = &'a Value>,
    close: &str,
    depth: usize,
) -> Result<(), NoAnswer> {
    out.push_str(open);
    for (index, item) in items.enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        term(out, item, depth + 1)?;
    }
    out.push_str(close);
    Ok(())
}
