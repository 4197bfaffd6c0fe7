//! The request that a proxy asks about → an [`Incoming`]: the same frame checks, the same canonical target, the same identity
//! as on Aegis's own listeners.
//!
//! Invariants: the proxy's path is the canonical one, or the call is refused (nobody here can make the proxy send another
//! one); the query may be an equal spelling of it. A body that isn't there whole is never read as if it were.

use std::collections::HashMap;

use aegis_core::describe::{Unreadable, canonical_destination, canonical_target};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};

use super::super::{Route, credential, frame, headers, unreadable};
use super::body::{self, Sent};
use super::stated::{Bodies, Stated};
use crate::enforce::AnyBody;
use crate::identify::Credential;
use crate::pipeline::{Way, random};
use crate::trace::TraceContext;

/// A request as the proxy tells of it.
pub(super) struct Original {
    pub(super) method: Method,
    pub(super) version: Version,
    /// `http` or `https`.
    pub(super) scheme: String,
    /// `Host`, or HTTP/2's `:authority`.
    pub(super) host: String,
    /// Path and query as they came.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Sent,
    /// What is wrong about how the proxy tells of it.
    pub(super) wrong: Option<Unreadable>,
    pub(super) stated: Result<Stated, Unreadable>,
}

/// The parts of an [`Incoming`](crate::pipeline::Incoming) that come from the request itself, and what the proxy holds.
pub(super) struct TakenIn {
    pub(super) way: Result<Way, Unreadable>,
    pub(super) credential: Credential,
    pub(super) override_token: Option<String>,
    pub(super) trace: TraceContext,
    pub(super) head: Parts,
    pub(super) body: AnyBody,
    pub(super) held: Held,
}

/// What the proxy will send if nothing is changed: what a rewritten call is compared with.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Without what is for Aegis.
    pub(super) headers: HeaderMap,
    /// The query as the proxy has it.
    pub(super) query: Option<String>,
    /// The body, where it came whole.
    pub(super) body: Option<Bytes>,
    /// The headers that are for Aegis and must not reach the upstream.
    pub(super) ours: Vec<String>,
}

impl Original {
    /// Reads it.
    pub(super) fn take_in(self, routes: &HashMap<String, Route>, has_tool: impl Fn(&str) -> bool) -> TakenIn {
        let Self { method, version, scheme, host, target, mut headers, body, wrong, stated } = self;
        let bodies = stated.as_ref().map_or(Bodies::Unknown, |stated| stated.bodies);
        let credential = credential::of_check(&headers);
        let override_token = credential::override_token(&headers);
        let trace = TraceContext::join(&headers, random());
        let described = host_header(&mut headers, &host);
        let mut head = empty_head(method, version, headers);
        let found = wrong
            .map_or(Ok(()), Err)
            .and(described)
            .and_then(|()| frame::check(&head))
            .and_then(|()| find(stated, &head.method, &scheme, &host, &target, routes, has_tool));

        let upgrading = headers::upgrades(&head.headers);
        let ours = credential::strip_check(&mut head.headers);
        headers::strip_connection(&mut head.headers, upgrading);
        let length = head.headers.get(CONTENT_LENGTH).cloned();
        let (body, whole) = body::resolve(body, length.as_ref(), bodies);
        if bodies == Bodies::Dropped {
            head.headers.remove(CONTENT_LENGTH);
        }
        let (way, override_token) = match (found, override_token) {
            (Ok((way, target)), Ok(token)) => {
                head.uri = target.into();
                (Ok(way), token)
            }
            (Err(unreadable), _) | (_, Err(unreadable)) => (Err(unreadable), None),
        };
        let query = target.split_once('?').map(|(_, query)| query.to_owned());
        let held = Held { headers: head.headers.clone(), query, body: whole, ours };
        TakenIn { way, credential, override_token, trace, head, body, held }
    }
}

fn empty_head(method: Method, version: Version, headers: HeaderMap) -> Parts {
    let mut head = Request::new(()).into_parts().0;
    head.method = method;
    head.version = version;
    head.headers = headers;
    head
}

/// One `Host`: the proxy's word for it and the header, where both are there, are the same.
fn host_header(headers: &mut HeaderMap, host: &str) -> Result<(), Unreadable> {
    let named: Vec<&HeaderValue> = headers.get_all(HOST).iter().collect();
    if named.iter().any(|named| named.as_bytes() != host.as_bytes()) {
        return Err(unreadable("host_mismatch", "Host and the host that the proxy names differ"));
    }
    let value = HeaderValue::from_str(host).map_err(|_| unreadable("host_malformed", "the host is malformed"))?;
    headers.insert(HOST, value);
    Ok(())
}

/// Where it leads, and its canonical target.
fn find(
    stated: Result<Stated, Unreadable>,
    method: &Method,
    scheme: &str,
    host: &str,
    target: &str,
    routes: &HashMap<String, Route>,
    has_tool: impl Fn(&str) -> bool,
) -> Result<(Way, PathAndQuery), Unreadable> {
    let way = stated?.way(routes, has_tool)?;
    let (name, port) = frame::authority(host)?;
    if *method == Method::CONNECT {
        return match (way, port) {
            (None, Some(port)) => {
                let destination = canonical_destination("tunnel", name, port)?;
                Ok((Way::Tunnel { destination }, PathAndQuery::from_static("/")))
            }
            _ => Err(unreadable("connect_target", "CONNECT needs exactly `host:port`, and no route or tool behind it")),
        };
    }
    let canonical = canonical(target)?;
    if let Some(way) = way {
        return Ok((way, canonical));
    }
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(unreadable("scheme", "the scheme must be http or https")),
    };
    let destination = canonical_destination(scheme, name, port.unwrap_or(default))?;
    Ok((Way::Forward { destination }, canonical))
}

/// The canonical target, if its path is the proxy's.
fn canonical(target: &str) -> Result<PathAndQuery, Unreadable> {
    if target.contains('#') {
        // `Uri` would drop it, and the proxy would send it on.
        return Err(unreadable("target", "a request's target has no fragment"));
    }
    let uri: Uri = target.parse().map_err(|_| unreadable("target", "the path is malformed"))?;
    let raw = uri.into_parts();
    let (None, None, Some(raw)) = (raw.scheme, raw.authority, raw.path_and_query) else {
        return Err(unreadable("target", "the target must be a path that starts with `/`"));
    };
    let path = target.split('?').next().unwrap_or_default();
    let canonical = canonical_target(&raw)?;
    if canonical.path() != path {
        let message = "the path is not in its canonical form, and the proxy would send it on as it is: write it without \
                       needless %-escapes, or have the proxy normalise paths before it asks";
        return Err(unreadable("path_not_canonical", message));
    }
    Ok(canonical)
}
