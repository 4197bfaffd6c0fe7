//! What a request brought to prove its identity (contract §4), and taking it off before anything is described.

use aegis_core::describe::Unreadable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION};

use super::unreadable;
use super::way::Form;
use crate::identify::Credential;

pub(super) const TOKEN: HeaderName = HeaderName::from_static("aegis-token");
const OVERRIDE: HeaderName = HeaderName::from_static("aegis-override");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The credential: at the proxy `Proxy-Authorization`; on a route `Aegis-Token`, or `Authorization` without it.
pub(super) fn of(form: Form, headers: &HeaderMap) -> Credential {
    if form.is_proxied() {
        return one(headers, &PROXY_AUTHORIZATION, |value| bearer(value).or_else(|| basic(value)));
    }
    match one(headers, &TOKEN, |value| Some(Credential::Bearer(token(value)?))) {
        Credential::Missing => one(headers, &AUTHORIZATION, bearer),
        found => found,
    }
}

/// The credential of a call that a proxy asks about: `Aegis-Token`, else `Proxy-Authorization`, else `Authorization`.
pub(super) fn of_check(headers: &HeaderMap) -> Credential {
    match one(headers, &TOKEN, |value| Some(Credential::Bearer(token(value)?))) {
        Credential::Missing => {}
        found => return found,
    }
    match one(headers, &PROXY_AUTHORIZATION, |value| bearer(value).or_else(|| basic(value))) {
        Credential::Missing => one(headers, &AUTHORIZATION, bearer),
        found => found,
    }
}

/// Takes everything off that is for Aegis; the names of what the proxy must take off too. `Authorization` is the upstream's only
/// beside another credential.
pub(super) fn strip_check(headers: &mut HeaderMap) -> Vec<String> {
    let signed = headers.contains_key(TOKEN) || headers.contains_key(PROXY_AUTHORIZATION);
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("aegis-") || name == "proxy-authorization" || (name == "authorization" && !signed)
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in found.iter().chain([&HOST, &TRACEPARENT, &TRACESTATE]) {
        headers.remove(name);
    }
    found.iter().map(|name| name.as_str().to_owned()).collect()
}

/// The override token, if there is one.
pub(super) fn override_token(headers: &HeaderMap) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(OVERRIDE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str().ok().and_then(token) {
        Some(token) if values.next().is_none() => Ok(Some(token)),
        _ => Err(unreadable("override_malformed", "Aegis-Override is not one token")),
    }
}

/// Takes off everything that is for Aegis. On a route, `Authorization` is the upstream's only beside an `Aegis-Token`, and
/// nowhere where Aegis proves itself there.
pub(super) fn strip(form: Form, headers: &mut HeaderMap, injected: bool) {
    if injected || (form == Form::Route && !headers.contains_key(TOKEN)) {
        headers.remove(AUTHORIZATION);
    }
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("aegis-") || matches!(name, "proxy-authorization" | "traceparent" | "tracestate")
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in found.iter().chain([&HOST]) {
        headers.remove(name);
    }
}

/// The one value of a header, read.
fn one(headers: &HeaderMap, name: &HeaderName, read: impl Fn(&str) -> Option<Credential>) -> Credential {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Credential::Missing };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.and_then(read).unwrap_or(Credential::Malformed)
}

/// `Bearer TOKEN` (RFC 6750 §2.1).
fn bearer(value: &str) -> Option<Credential> {
    Some(Credential::Bearer(token(scheme(value, "Bearer")?)?))
}

/// `Basic` (RFC 7617 §2), the token as the password.
fn basic(value: &str) -> Option<Credential> {
    let decoded = String::from_utf8(STANDARD.decode(scheme(value, "Basic")?).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credential::Basic { user: user.to_owned(), token: token(password)? })
}

/// What follows a scheme's name, which is case-insensitive (RFC 9110 §11.1).
fn scheme<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim_matches(' '))
}

/// A token68 (RFC 9110 §11.2).
fn token(text: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (!text.is_empty() && text.bytes().all(known)).then(|| text.to_owned())
}
