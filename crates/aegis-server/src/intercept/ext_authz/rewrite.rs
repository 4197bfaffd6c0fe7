//! What a proxy has to change of a call before it sends it on, so that it sends the call that was decided.
//!
//! Envoy changes headers and query parameters as it is told; nothing in its answer changes a body or a path, and the HTTP
//! forms change nothing at all. A call that would need more is refused before anything of it is on record as allowed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aegis_core::call::{Body, HttpRequest, Payload, ToolCall};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};

use super::original::Held;

/// What a proxy can be told to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Headers and query parameters: Envoy over gRPC.
    HeadersAndQuery,
    /// Nothing: the HTTP forms.
    Nothing,
}

/// The changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewrite {
    /// Each header that gets other values, with all of them.
    pub(super) set: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// Headers that go.
    pub(super) remove: Vec<HeaderName>,
    /// Query parameters that get another value: the name as it stands in the path, and the value as it is to stand there.
    pub(super) query: Vec<(String, String)>,
}

/// What can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond(pub(super) &'static str);

impl Rewrite {
    /// What makes `held` the call that may run, of which something was redacted.
    ///
    /// # Errors
    /// What of it the proxy can't do.
    pub(super) fn between(held: &Held, call: &ToolCall, reach: Reach) -> Result<Self, Beyond> {
        if reach == Reach::Nothing {
            return Err(Beyond("something in it"));
        }
        let Payload::Http(request) = &call.payload else { return Ok(Self::default()) };
        same_body(held, request)?;
        let mut rewrite = Self { query: query(held, request)?, ..Self::default() };
        let names: BTreeSet<&str> = held.headers.keys().chain(request.headers.keys()).map(HeaderName::as_str).collect();
        for name in names.into_iter().filter(|name| *name != CONTENT_LENGTH.as_str()) {
            let before: Vec<&HeaderValue> = held.headers.get_all(name).iter().collect();
            let after: Vec<&HeaderValue> = request.headers.get_all(name).iter().collect();
            if before == after {
                continue;
            }
            // Envoy takes texts: what isn't one it would not be told, and would send on as it was.
            if after.iter().any(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
                return Err(Beyond("a header that isn't UTF-8"));
            }
            let name = HeaderName::try_from(name).map_err(|_| Beyond("a header"))?;
            if after.is_empty() {
                rewrite.remove.push(name);
            } else {
                rewrite.set.push((name, after.into_iter().cloned().collect()));
            }
        }
        Ok(rewrite)
    }
}

fn same_body(held: &Held, request: &HttpRequest) -> Result<(), Beyond> {
    match (&held.body, &request.body) {
        (Some(before), Body::Whole(after)) if before == after => Ok(()),
        (Some(before), Body::Begun(start)) if before.starts_with(start) => Ok(()),
        (None, Body::Streamed) => Ok(()),
        _ => Err(Beyond("the body")),
    }
}

/// The parameters whose values differ. Names stand in the path as the agent wrote them, and only one each can be told.
fn query(held: &Held, request: &HttpRequest) -> Result<Vec<(String, String)>, Beyond> {
    let raw: Vec<&str> = held.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
    let before = raw.iter().map(|pair| (pair.split('=').next().unwrap_or_default(), one_pair(pair)));
    let after: Vec<_> = form_urlencoded::parse(request.target.query().unwrap_or_default().as_bytes()).collect();
    if raw.len() != after.len() {
        return Err(Beyond("the query"));
    }
    let (mut changed, mut seen) = (Vec::new(), BTreeMap::new());
    for ((written, (name, value)), (new_name, new_value)) in before.zip(&after) {
        if name != *new_name {
            return Err(Beyond("the query"));
        }
        *seen.entry(written.to_owned()).or_insert(0_usize) += 1;
        if value != *new_value {
            let value = form_urlencoded::byte_serialize(new_value.as_bytes()).collect();
            changed.push((written.to_owned(), value));
        }
    }
    if changed.iter().any(|(name, _)| seen.get(name) != Some(&1)) {
        return Err(Beyond("a query parameter that stands there twice"));
    }
    Ok(changed)
}

fn one_pair(pair: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    form_urlencoded::parse(pair.as_bytes()).next().unwrap_or_default()
}
