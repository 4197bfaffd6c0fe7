//! What a stateless request mirrors in headers, checked against its body: `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name`, and
//! `Mcp-Param-*` for what a tool's schema marks with `x-mcp-header`.
//!
//! Invariant: nothing is decided on a header. Where header and body differ, some router on the way would believe the one and the
//! server the other; so it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Kind, Message};
use crate::describe::Unreadable;

/// The revision.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session, up to 2025-11-25.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// How the names of headers start that mirror an argument.
const PARAM: &str = "mcp-param-";
/// The reason of every refusal here.
pub const MISMATCH: &str = "mcp_header_mismatch";

/// A header that mirrors an argument, and the names of the properties that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The name after `Mcp-Param-`, in lower case.
    pub header: String,
    /// Where the argument stands.
    pub path: Vec<String>,
}

/// Checks that the headers say what the message says. `mirrors` are those of the tool that it calls, where they are known.
///
/// # Errors
/// What is missing or differs.
pub fn check(headers: &HeaderMap, message: &Message, mirrors: Option<&[Mirror]>) -> Result<(), Unreadable> {
    let stated = one(headers, &PROTOCOL_VERSION)?;
    let modern = stated.as_deref().is_some_and(|revision| revision >= super::STATELESS);
    if !modern && !message.is_stateless() {
        return Ok(());
    }
    if message.kind() != Kind::Request {
        return Ok(());
    }
    if message.revision().is_some() {
        // A body that says none is for the server to refuse; there is nothing that could be taken for another.
        agrees(&PROTOCOL_VERSION, stated.as_deref(), message.revision())?;
    }
    agrees(&METHOD, one(headers, &METHOD)?.as_deref(), Some(message.method()))?;
    let name = one(headers, &NAME)?.map(|value| decoded(&NAME, &value)).transpose()?;
    match message.name() {
        Some(wanted) if is_mirrored(message.method()) => agrees(&NAME, name.as_deref(), Some(wanted))?,
        _ => {}
    }
    match mirrors {
        Some(mirrors) => mirrors.iter().try_for_each(|mirror| check_mirror(headers, message, mirror)),
        None => Ok(()),
    }
}

/// Writes the mirrors anew, after the message was changed.
///
/// # Errors
/// There are mirrors, and it isn't known of what.
pub fn write(headers: &mut HeaderMap, message: &Message, mirrors: Option<&[Mirror]>) -> Result<(), Unreadable> {
    let present: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PARAM)).cloned().collect();
    let Some(mirrors) = mirrors else {
        return if present.is_empty() {
            Ok(())
        } else {
            Err(mismatch(
                "the call is changed, and it isn't known which arguments its headers mirror: list the tools first",
            ))
        };
    };
    for mirror in mirrors {
        let Ok(name) = HeaderName::try_from(format!("{PARAM}{}", mirror.header)) else { continue };
        headers.remove(&name);
        if let Some(text) = argument(message, mirror).and_then(as_text) {
            let value = HeaderValue::try_from(encoded(&text))
                .map_err(|_| mismatch("an argument can't be mirrored in a header"))?;
            headers.insert(name, value);
        }
    }
    if let (Some(name), true) = (message.name(), headers.contains_key(&NAME)) {
        let value =
            HeaderValue::try_from(encoded(name)).map_err(|_| mismatch("the name can't be mirrored in a header"))?;
        headers.insert(NAME, value);
    }
    Ok(())
}

fn is_mirrored(method: &str) -> bool {
    matches!(method, Message::CALL | "resources/read" | "prompts/get")
}

fn check_mirror(headers: &HeaderMap, message: &Message, mirror: &Mirror) -> Result<(), Unreadable> {
    let Ok(header) = HeaderName::try_from(format!("{PARAM}{}", mirror.header)) else { return Ok(()) };
    let stated = one(headers, &header)?.map(|value| decoded(&header, &value)).transpose()?;
    let meant = argument(message, mirror);
    let same = match (&stated, meant) {
        (None, None) => true,
        (Some(stated), Some(Value::Number(number))) => {
            stated.parse::<f64>().ok().zip(number.as_f64()).is_some_and(|(a, b)| a.to_bits() == b.to_bits())
        }
        (Some(stated), Some(value)) => as_text(value).as_ref() == Some(stated),
        _ => false,
    };
    if same { Ok(()) } else { Err(mismatch(format!("the header {header} doesn't say what the arguments say"))) }
}

/// The argument that a header mirrors; `None` where there is none, or it is null.
fn argument<'m>(message: &'m Message, mirror: &Mirror) -> Option<&'m Value> {
    let mut value = message.params()?.get("arguments")?;
    for key in &mirror.path {
        value = value.as_object()?.get(key)?;
    }
    (!value.is_null()).then_some(value)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn agrees(header: &HeaderName, stated: Option<&str>, meant: Option<&str>) -> Result<(), Unreadable> {
    match (stated, meant) {
        (Some(stated), Some(meant)) if stated == meant => Ok(()),
        (None, _) => Err(mismatch(format!("the header {header} is missing"))),
        _ => Err(mismatch(format!("the header {header} doesn't say what the body says"))),
    }
}

fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch(format!("the header {name} is there twice")));
    }
    let text = value.to_str().map_err(|_| mismatch(format!("the header {name} holds characters that none may")))?;
    Ok(Some(text.to_owned()))
}

fn decoded(header: &HeaderName, value: &str) -> Result<String, Unreadable> {
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value.to_owned());
    };
    let text = STANDARD.decode(inner).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| mismatch(format!("the header {header} is not base64 of a text")))
}

fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
    let padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let marked = text.starts_with("=?base64?") && text.ends_with("?=");
    if plain && !padded && !marked { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) }
}

fn mismatch(message: impl Into<String>) -> Unreadable {
    super::unreadable(MISMATCH, message)
}
