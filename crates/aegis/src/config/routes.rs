//! `routes:` as written and as checked.

use std::path::{Path, PathBuf};

use aegis_core::document::{Diagnostic, Fields, Node, Place};
use aegis_server::enforce::{ClientCertificate, Credential, Protocol, Roots, RouteUpstream, Secret, Tls, Upstream};

use super::sigv4;

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
        path,
    };
    if let Some(mut tls) = fields.map("tls") {
        route.ca = placed(&mut tls, "ca");
        route.client_cert = placed(&mut tls, "client_cert");
        route.client_key = placed(&mut tls, "client_key");
        tls.finish();
    }
    if let Some(credential) = fields.map("credential") {
        route.credential = read_credential(credential);
    }
    fields.finish();
    Some(route)
}

pub(super) fn placed(fields: &mut Fields<'_>, key: &str) -> Option<(Place, String)> {
    let place = fields.node(key)?.place;
    fields.text(key).map(|text| (place, text))
}

pub(super) fn read_credential(mut fields: Fields<'_>) -> Option<Credential> {
    let bearer = fields.text("bearer").map(|token| Credential::Bearer(Secret::new(token)));
    let bearer_file = fields.text("bearer_file").map(|path| Credential::BearerFile(path.into()));
    let basic = fields.map("basic").and_then(|mut basic| {
        let (user, password) = (basic.required_text("user"), basic.required_text("password"));
        basic.finish();
        Some(Credential::Basic { user: user?, password: Secret::new(password?) })
    });
    let header = fields.map("header").and_then(|mut header| {
        let (name, value) = (header.required_text("name"), header.required_text("value"));
        header.finish();
        Some(Credential::Header { name: name?, value: Secret::new(value?) })
    });
    let sigv4 = fields.map("sigv4").and_then(sigv4::read).map(|keys| Credential::SigV4(Box::new(keys)));
    let mut given: Vec<Credential> = [bearer, bearer_file, basic, header, sigv4].into_iter().flatten().collect();
    let keys = ["bearer", "bearer_file", "basic", "header", "sigv4"];
    if keys.into_iter().filter(|key| fields.node(key).is_some()).count() != 1 {
        let message = "expected exactly one of: bearer, bearer_file, basic, header, sigv4";
        fields.error_at("bearer", fields.place(), message, None);
    }
    fields.finish();
    given.pop()
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
    let mut pem = |given: &Option<(Place, String)>, key: &str| {
        let (place, path) = given.as_ref()?;
        let path: PathBuf = base.join(path);
        std::fs::read(&path)
            .map_err(|error| fail(*place, key, &format!("{} can't be read: {error}", path.display())))
            .ok()
    };
    let ca = pem(&typed.ca, "tls.ca");
    let (cert, key) = (pem(&typed.client_cert, "tls.client_cert"), pem(&typed.client_key, "tls.client_key"));
    if typed.client_cert.is_some() != typed.client_key.is_some() {
        fail(typed.place, "tls", "client_cert and client_key go together: one of them is missing");
    }
    let client = cert.zip(key).and_then(|(chain, key)| match String::from_utf8(key) {
        Ok(key) => Some(ClientCertificate { chain, key: Secret::new(key) }),
        Err(_) => {
            fail(typed.place, "tls.client_key", "is not a PEM file");
            None
        }
    });
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
        credential: typed.credential.map(|credential| match credential {
            Credential::BearerFile(path) => Credential::BearerFile(base.join(path)),
            other => other,
        }),
        protocol: Protocol::Http1,
    };
    Some(Route { file: file.to_owned(), place: typed.place, upstream, tool: typed.tool, cluster: typed.cluster })
}

/// The place and name of every route that has one, for finding repeats.
pub(super) fn named(route: &TypedRoute) -> Option<(&str, Place, &str)> {
    route.name.as_deref().map(|name| (name, route.place, route.path.as_str()))
}
