//! The request that a proxy tells of in headers: `X-Original-Method` and `X-Original-URL` (or `X-Original-URI`), as nginx is
//! configured to, or `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`, as Caddy and Traefik do.
//!
//! Invariants: one set is there whole, each header once; where both are there they say the same, or the call is refused: one of
//! them is the agent's, and nobody knows which.

use aegis_core::describe::Unreadable;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri};

use super::super::unreadable;

const METHOD: HeaderName = HeaderName::from_static("x-original-method");
const URL: HeaderName = HeaderName::from_static("x-original-url");
const URI: HeaderName = HeaderName::from_static("x-original-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// What the headers tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) method: Method,
    pub(super) scheme: String,
    pub(super) host: String,
    /// Path and query, as they came.
    pub(super) target: String,
    /// In the way that nginx is configured to, which knows two refusals only.
    pub(super) by_nginx: bool,
}

/// Reads them, and takes them off.
///
/// # Errors
/// None of the sets is there whole, a header is there twice, or the two say different things.
pub(super) fn read(headers: &mut HeaderMap) -> Result<Told, Unreadable> {
    let original = original(headers);
    let forwarded = forwarded(headers);
    for name in [METHOD, URL, URI, FORWARDED_METHOD, FORWARDED_SCHEME, FORWARDED_HOST, FORWARDED_URI] {
        headers.remove(name);
    }
    match (original?, forwarded?) {
        (Some(one), Some(other)) if Told { by_nginx: true, ..other.clone() } != one => {
            Err(wrong("X-Original-… and X-Forwarded-… tell of different requests: have the proxy set or remove both"))
        }
        (Some(one), _) | (None, Some(one)) => Ok(one),
        (None, None) => Err(wrong(
            "the proxy doesn't say which request it asks about: X-Original-Method and X-Original-URL, or X-Forwarded-Method, \
             -Proto, -Host and -Uri",
        )),
    }
}

fn original(headers: &HeaderMap) -> Result<Option<Told>, Unreadable> {
    let (method, url, uri) = (one(headers, &METHOD)?, one(headers, &URL)?, one(headers, &URI)?);
    let Some(method) = method else {
        return if url.or(uri).is_some() { Err(wrong("X-Original-Method is missing")) } else { Ok(None) };
    };
    let url = url.ok_or_else(|| wrong("X-Original-URL is missing"))?;
    let malformed = || wrong("X-Original-URL is not `http://host/path` or `https://host/path`");
    let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
    let (host, target) = rest.find('/').and_then(|at| rest.split_at_checked(at)).ok_or_else(malformed)?;
    if uri.is_some_and(|uri| uri != target) {
        return Err(wrong("X-Original-URL and X-Original-URI tell of different requests"));
    }
    told(method, scheme, host, target, true).map(Some)
}

/// All four; the last three alone are what proxies send anyway.
fn forwarded(headers: &HeaderMap) -> Result<Option<Told>, Unreadable> {
    let method = one(headers, &FORWARDED_METHOD)?;
    let Some(method) = method else {
        let uri = one(headers, &FORWARDED_URI)?;
        return if uri.is_some() { Err(wrong("X-Forwarded-Method is missing")) } else { Ok(None) };
    };
    let need = |name| one(headers, name)?.ok_or_else(|| wrong(format!("{name} is missing")));
    let (scheme, host, target) = (need(&FORWARDED_SCHEME)?, need(&FORWARDED_HOST)?, need(&FORWARDED_URI)?);
    told(method, scheme, host, target, false).map(Some)
}

fn told(method: &str, scheme: &str, host: &str, target: &str, by_nginx: bool) -> Result<Told, Unreadable> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("the method is malformed"))?;
    // `Uri` drops a fragment; what has one is no request's target.
    if target.contains('#') || target.parse::<Uri>().is_err() {
        return Err(wrong("the path is malformed"));
    }
    let (scheme, host, target) = (scheme.to_owned(), host.to_owned(), target.to_owned());
    Ok(Told { method, scheme, host, target, by_nginx })
}

/// The one value of a header, if it is there.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() && !text.is_empty() => Ok(Some(text)),
        _ => Err(wrong(format!("{name} is there twice, or malformed"))),
    }
}

fn wrong(why: impl Into<String>) -> Unreadable {
    unreadable("authorize_headers", why)
}
