//! Which of the forms a request has (RFC 9112 §3.2), and where it leads.

use std::collections::HashMap;
use std::sync::Arc;

use aegis_core::call::Destination;
use aegis_core::describe::{Unreadable, canonical_destination, canonical_target};
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::within::Via;
use super::{Route, frame, unreadable};
use crate::enforce::SigV4;
use crate::pipeline::Way;

/// The prefix of every route.
const ROUTES: &str = "/r/";

/// The form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Origin form, under [`ROUTES`].
    Route,
    /// Absolute form.
    Forward,
    /// CONNECT.
    Tunnel,
    /// Any form, inside of an intercepted CONNECT.
    Within,
}

/// Where a request leads.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) way: Way,
    /// Canonical path and query.
    pub(super) target: PathAndQuery,
    /// Whether Aegis proves itself to the upstream.
    pub(super) injected: bool,
    /// By what agents sign their requests there.
    pub(super) sigv4: Option<Arc<SigV4>>,
    /// Whether the agent may bring no credential for it.
    pub(super) refuses_foreign: bool,
}

impl Form {
    /// The form; `None` when the request is for no tool.
    ///
    /// HTTP/2 always names scheme and authority. There, `http` can't be this listener, which speaks TLS: it is the
    /// forward proxy.
    pub(super) fn of(method: &Method, uri: &Uri, version: Version) -> Option<Self> {
        let absolute = match version {
            Version::HTTP_2 => uri.scheme_str() == Some("http"),
            _ => uri.scheme().is_some(),
        };
        if *method == Method::CONNECT {
            Some(Self::Tunnel)
        } else if absolute {
            Some(Self::Forward)
        } else {
            uri.path().starts_with(ROUTES).then_some(Self::Route)
        }
    }

    /// Its name in records.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Forward => "proxy",
            Self::Tunnel => "tunnel",
            Self::Within => "intercepted",
        }
    }

    /// Whether it is for the proxy, as opposed to a route.
    pub(super) fn is_proxied(self) -> bool {
        self != Self::Route
    }
}

/// Where a request leads that came inside of an intercepted connection: to its host, and it must say so itself.
pub(super) fn within(head: &Parts, via: &Via) -> Result<Found, Unreadable> {
    let Via { destination, tool, cluster, injected, refuses_foreign, .. } = via;
    if head.method == Method::CONNECT {
        return Err(unreadable("connect_within", "a tunnel inside of an intercepted connection leads nowhere"));
    }
    if head.uri.scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err(unreadable("absolute_scheme", "inside of an intercepted connection every target is https"));
    }
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let named = named.or(host).ok_or_else(|| unreadable("host_missing", "the request names no host"))?;
    let (host, port) = frame::authority(named)?;
    let asked = canonical_destination("https", host, port.unwrap_or(443))?;
    if (&asked.host, asked.port) != (&destination.host, destination.port) {
        let message = "the request is for another host than the connection that it came on";
        return Err(unreadable("authority_mismatch", message));
    }
    let raw = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let destination = Destination { scheme: "https".to_owned(), ..destination.clone() };
    let way = Way::Intercepted { destination, tool: tool.clone(), cluster: cluster.clone() };
    Ok(Found {
        way,
        target: canonical_target(&raw)?,
        injected: *injected,
        sigv4: None,
        refuses_foreign: *refuses_foreign,
    })
}

/// Where a request of this form leads.
pub(super) fn read(form: Form, head: &Parts, routes: &HashMap<String, Route>) -> Result<Found, Unreadable> {
    match form {
        Form::Route => route(&head.uri, routes),
        Form::Forward => forward(&head.uri),
        Form::Tunnel => tunnel(&head.uri),
        Form::Within => Err(unreadable("form", "the request is inside of no intercepted connection")),
    }
}

fn route(uri: &Uri, routes: &HashMap<String, Route>) -> Result<Found, Unreadable> {
    let path = uri.path().strip_prefix(ROUTES).unwrap_or_default();
    let (name, rest) = path.find('/').and_then(|end| path.split_at_checked(end)).unwrap_or((path, "/"));
    let Some(route) = routes.get(name) else {
        return Err(unreadable("unknown_route", format!("there is no route {name:?}")));
    };
    let raw = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{rest}?{query}")),
        None => PathAndQuery::try_from(rest),
    };
    let raw = raw.map_err(|_| unreadable("target", "the path is malformed"))?;
    let Route { name, tool, cluster, upstream, credential, sigv4, refuses_foreign } = route.clone();
    let way = Way::Route { name, tool, cluster, upstream };
    Ok(Found { way, target: canonical_target(&raw)?, injected: credential, sigv4, refuses_foreign })
}

fn forward(uri: &Uri) -> Result<Found, Unreadable> {
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        let message = "only http:// targets are taken in absolute form: use CONNECT for the others";
        return Err(unreadable("absolute_scheme", message));
    };
    let (host, port) = frame::authority(authority.as_str())?;
    let raw = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let destination = canonical_destination("http", host, port.unwrap_or(80))?;
    Ok(Found {
        way: Way::Forward { destination },
        target: canonical_target(&raw)?,
        injected: false,
        sigv4: None,
        refuses_foreign: false,
    })
}

fn tunnel(uri: &Uri) -> Result<Found, Unreadable> {
    let malformed = || unreadable("connect_target", "CONNECT needs exactly `host:port`");
    let authority = uri.authority().ok_or_else(malformed)?;
    if uri.scheme().is_some() || uri.path_and_query().is_some_and(|rest| !matches!(rest.as_str(), "" | "/")) {
        return Err(malformed());
    }
    let (host, port) = frame::authority(authority.as_str())?;
    let destination = canonical_destination("tunnel", host, port.ok_or_else(malformed)?)?;
    Ok(Found {
        way: Way::Tunnel { destination },
        target: PathAndQuery::from_static("/"),
        injected: false,
        sigv4: None,
        refuses_foreign: false,
    })
}
