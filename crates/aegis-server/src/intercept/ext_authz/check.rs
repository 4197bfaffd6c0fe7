//! Envoy's `CheckRequest` → the request that it asks about.
//!
//! Envoy says more than one thing twice, and in two encodings, one of which loses something: where what it says differs, or may
//! have lost something that matters, the call is refused and not guessed at.

use std::collections::{BTreeMap, HashMap};

use aegis_core::describe::Unreadable;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::HeaderValue as RawHeader;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::super::unreadable;
use super::body::Sent;
use super::original::Original;
use super::stated::Stated;

/// What the names of our context extensions begin with; others are other servers'.
const OURS: &str = "aegis.";
/// Envoy's word on whether a body is all there.
pub(super) const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
/// What Envoy puts where a text isn't UTF-8.
const LOST: char = '!';
/// Headers whose lost bytes say nothing about what is done.
const MAY_LOSE: [&str; 3] = ["cookie", "referer", "user-agent"];

/// Reads a check.
pub(super) fn original(request: CheckRequest) -> Original {
    let AttributeContext { request, context_extensions, .. } = request.attributes.unwrap_or_default();
    let context = BTreeMap::from_iter(context_extensions);
    let words = context.iter().filter_map(|(name, value)| Some((name.strip_prefix(OURS)?, value.as_str())));
    let stated = Stated::read(words);
    let mut wrong = First(None);
    let http = request.and_then(|request| request.http);
    if http.is_none() {
        wrong.note(Err(unreadable("check_request", "the check names no HTTP request")));
    }
    let HttpRequest {
        method, path, host, scheme, protocol, query, fragment, headers, header_map, body, raw_body, ..
    } = http.unwrap_or_default();
    if !query.is_empty() || !fragment.is_empty() {
        wrong.note(Err(unreadable("check_request", "the check has query or fragment apart from the path")));
    }
    if header_map.is_some() && !headers.is_empty() {
        wrong.note(Err(unreadable("check_request", "the check has headers in two encodings")));
    }
    let pseudo = Pseudo { path: &path, method: &method, host: &host, scheme: &scheme };
    let (merged, raw) = (merged(headers), raw(header_map.unwrap_or_default().headers));
    let mut headers = HeaderMap::new();
    // What can be read is, so that the refusal knows its agent.
    merged.chain(raw).for_each(|header| wrong.note(append(&mut headers, header, &pseudo)));
    let sent = wrong.or_default(sent(&mut headers, body, raw_body));
    let method = wrong.or_default(Method::from_bytes(method.as_bytes()).map_err(|_| malformed("method")));
    Original {
        method,
        version: version(&protocol),
        scheme,
        host,
        target: path,
        headers,
        body: sent,
        wrong: wrong.0,
        stated,
    }
}

/// The first thing that is wrong.
struct First(Option<Unreadable>);

impl First {
    fn note(&mut self, result: Result<(), Unreadable>) {
        self.or_default(result);
    }

    fn or_default<T: Default>(&mut self, result: Result<T, Unreadable>) -> T {
        result.unwrap_or_else(|unreadable| {
            self.0.get_or_insert(unreadable);
            T::default()
        })
    }
}

fn malformed(what: &str) -> Unreadable {
    unreadable("check_request", format!("the check's {what} is malformed"))
}

fn version(protocol: &str) -> Version {
    match protocol {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2" => Version::HTTP_2,
        "HTTP/3" => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

/// What stands among the headers too.
struct Pseudo<'a> {
    path: &'a str,
    method: &'a str,
    host: &'a str,
    scheme: &'a str,
}

impl Pseudo<'_> {
    /// Whether a name is one of these; the same value, then.
    fn holds(&self, name: &str, value: &[u8]) -> Result<bool, Unreadable> {
        let own = match name {
            ":path" => self.path,
            ":method" => self.method,
            ":authority" => self.host,
            ":scheme" => self.scheme,
            name if name.starts_with(':') => return Ok(true),
            _ => return Ok(false),
        };
        if own.as_bytes() == value {
            Ok(true)
        } else {
            Err(unreadable("check_request", format!("the check says two different things about {name}")))
        }
    }
}

/// A header as the check has it.
struct Header {
    name: String,
    value: Vec<u8>,
    /// Whether something in it may stand for what was lost on the way here.
    lossy: bool,
}

/// Header by header, as they came.
fn raw(headers: Vec<RawHeader>) -> impl Iterator<Item = Header> {
    headers.into_iter().map(|RawHeader { key: name, value, raw_value }| {
        let value = if raw_value.is_empty() { value.into_bytes() } else { raw_value };
        Header { name, value, lossy: false }
    })
}

/// One value for each name: lines joined, what isn't UTF-8 replaced.
fn merged(headers: HashMap<String, String>) -> impl Iterator<Item = Header> {
    // In order, so that the same check is refused for the same reason.
    BTreeMap::from_iter(headers).into_iter().map(|(name, value)| {
        let lossy = value.contains(LOST) && !name.starts_with(':') && !MAY_LOSE.contains(&name.as_str());
        Header { name, value: value.into_bytes(), lossy }
    })
}

fn append(headers: &mut HeaderMap, header: Header, pseudo: &Pseudo<'_>) -> Result<(), Unreadable> {
    let Header { name, value, lossy } = header;
    if lossy {
        let message = format!(
            "the header {name} has a {LOST:?}, which Envoy also puts for what isn't UTF-8: set encode_raw_headers: true"
        );
        return Err(unreadable("header_lossy", message));
    }
    if pseudo.holds(&name, &value)? {
        return Ok(());
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("header name"))?;
    let value = HeaderValue::from_bytes(&value).map_err(|_| malformed("header"))?;
    headers.try_append(name, value).map(drop).map_err(|_| unreadable("check_request", "the check has too many headers"))
}

/// The body, by its bytes and Envoy's word on it. An agent can send that word too: it never makes an absent body a whole one.
fn sent(headers: &mut HeaderMap, text: String, raw: Vec<u8>) -> Result<Sent, Unreadable> {
    let words: Vec<HeaderValue> = headers.get_all(PARTIAL_BODY).iter().cloned().collect();
    headers.remove(PARTIAL_BODY);
    if !text.is_empty() && !raw.is_empty() {
        return Err(unreadable("check_request", "the check has the body in two encodings"));
    }
    let whole = match words.as_slice() {
        [] => false,
        [word] if word == "false" => true,
        _ => return Ok(Sent::Part),
    };
    if text.contains(LOST) {
        return Ok(Sent::Lossy);
    }
    let bytes = if raw.is_empty() { Bytes::from(text) } else { Bytes::from(raw) };
    Ok(Sent::Bytes { bytes, whole })
}
