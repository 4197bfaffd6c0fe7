//! `routes:` as written and as checked.

use std::path::Path;

use aegis_core::document::{Diagnostic, Fields, Node, Place};
use aegis_server::enforce::{Credential, Protocol, Roots, RouteUpstream, Tls, Upstream};

use super::credentials;

/// A route as written.
pub(super) struct TypedRoute {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) upstream: Option<(Place, String)>,
    pub(super) tool: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) ca: Option<(Place, String)>,
    pub(super) client_cert: Option<(Place, String)>,
    pub(super) client_key: Option<(Place, String)>,
    pub(super) credential: Option<Credential>,
    pub(super) refuses_foreign: bool,
}

/// A sidecar route: `/r/NAME/…` on the proxy port → the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// The file that it stands in.
    pub(crate) file: String,
    /// Where in it.
    pub(crate) place: Place,
    /// Where it leads, how that is verified, and what its calls are sent as.
    pub(crate) upstream: RouteUpstream,
    /// The tool behind it.
    pub(crate) tool: Option<String>,
    /// The operator's name for the cluster behind it.
    pub(crate) cluster: Option<String>,
    /// Whether a call that brings a credential for the tool is refused.
    pub(crate) refuses_foreign: bool,
}

/// Reads one element of `routes:`; `None` when it isn't a mapping.
pub(super) fn read(file: &str, index: usize, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<TypedRoute> {
    let path = format!("routes[{index}]");
    let mut fields = Fields::of(file, &path, node, errors)?;
    let mut route = TypedRoute {
        place: node.place,
        name: fields.required_text("name"),
        upstream: fields.required("upstream").and_then(|_| placed(&mut fields, "upstream")),
        tool: fields.text("tool"),
        cluster: fields.text("cluster"),
        ca: None,
        client_cert: None,
        client_key: None,
        credential: None,
        refuses_foreign: credentials::refuses_foreign(&mut fields),
        path,
    };
    if let Some(mut tls) = fields.map("tls") {
        route.ca = placed(&mut tls, "ca");
        route.client_cert = placed(&mut tls, "client_cert");
        route.client_key = placed(&mut tls, "client_key");
        tls.finish();
    }
    if let Some(credential) = fields.map("credential") {
        route.credential = credentials::read(credential);
    }
    fields.finish();
    Some(route)
}

pub(super) fn placed(fields: &mut Fields<'_>, key: &str) -> Option<(Place, String)> {
    let place = fields.node(key)?.place;
    fields.text(key).map(|text| (place, text))
}

/// Checks a route; its files are relative to `base`.
pub(super) fn check(file: &str, typed: TypedRoute, base: &Path, errors: &mut Vec<Diagnostic>) -> Option<Route> {
    let before = errors.len();
    let mut fail = |place: Place, key: &str, message: &str| {
        errors.push(Diagnostic::error(file, place, &format!("{}.{key}", typed.path), message));
    };
    let name_ok = |name: &str| {
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if typed.name.as_deref().is_some_and(|name| !name_ok(name)) {
        fail(typed.place, "name", "a route's name is one path segment: letters, digits, - and _, up to 64");
    }
    let upstream = typed.upstream.as_ref().and_then(|(place, text)| {
        let parsed: Option<Upstream> = text.parse().ok();
        if parsed.is_none() {
            fail(
                *place,
                "upstream",
                "expected http://HOST[:PORT][/BASE] or https://…, without user, query or fragment",
            );
        }
        parsed
    });
    let ca = typed.ca.as_ref().and_then(|(place, path)| credentials::file(base, path, *place, "tls.ca", &mut fail));
    let client = credentials::client(&typed.client_cert, &typed.client_key, typed.place, base, &mut fail);
    let plain = upstream.as_ref().is_some_and(|upstream| !upstream.secure);
    if plain && (typed.ca.is_some() || typed.client_cert.is_some()) {
        fail(typed.place, "tls", "the upstream is http://, which has no TLS: write https:// or take `tls` out");
    }
    if errors.len() > before {
        return None;
    }
    let upstream = RouteUpstream {
        name: typed.name?,
        upstream: upstream?,
        tls: Tls { roots: ca.map_or(Roots::System, Roots::Pem), client, server_name: None },
        credential: typed.credential.map(|credential| credentials::under(base, credential)),
        protocol: Protocol::Http1,
    };
    Some(Route {
        file: file.to_owned(),
        place: typed.place,
        upstream,
        tool: typed.tool,
        cluster: typed.cluster,
        refuses_foreign: typed.refuses_foreign,
    })
}

/// The place and name of every route that has one, for finding repeats.
pub(super) fn named(route: &TypedRoute) -> Option<(&str, Place, &str)> {
    route.name.as_deref().map(|name| (name, route.place, route.path.as_str()))
}
