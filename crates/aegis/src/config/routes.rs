//! `routes:` as written and as checked.

use std::path::{Path, PathBuf};

use aegis_core::document::{Diagnostic, Fields, Node, Place};

use super::Secret;

/// A route as written.
pub(super) struct TypedRoute {
    place: Place,
    path: String,
    name: Option<String>,
    upstream: Option<(Place, String)>,
    tool: Option<String>,
    cluster: Option<String>,
    ca: Option<(Place, String)>,
    client_cert: Option<(Place, String)>,
    client_key: Option<(Place, String)>,
    credential: Option<Credential>,
}

/// A sidecar route: `/r/NAME/…` on the proxy port → the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Name, one path segment.
    pub(crate) name: String,
    /// `http` or `https`, host, optional port and base path.
    pub(crate) upstream: http::Uri,
    /// The tool behind it.
    pub(crate) tool: Option<String>,
    /// The operator's name for the cluster behind it.
    pub(crate) cluster: Option<String>,
    /// How its TLS is checked.
    pub(crate) tls: Tls,
    /// What it is sent as, which the agent never holds.
    pub(crate) credential: Option<Credential>,
}

/// A route's TLS, read from its files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// The only CA that is trusted (PEM); the system's where absent.
    pub(crate) ca: Option<Vec<u8>>,
    /// Client certificate chain and key (PEM).
    pub(crate) client: Option<(Vec<u8>, Secret)>,
}

/// What a route's calls are sent as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: Basic …`
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// Any header.
    Header {
        /// Its name.
        name: http::HeaderName,
        /// Its value.
        value: Secret,
    },
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

fn placed(fields: &mut Fields<'_>, key: &str) -> Option<(Place, String)> {
    let place = fields.node(key)?.place;
    fields.text(key).map(|text| (place, text))
}

fn read_credential(mut fields: Fields<'_>) -> Option<Credential> {
    let bearer = fields.text("bearer").map(|token| Credential::Bearer(Secret::new(token)));
    let basic = fields.map("basic").and_then(|mut basic| {
        let (user, password) = (basic.required_text("user"), basic.required_text("password"));
        basic.finish();
        Some(Credential::Basic { user: user?, password: Secret::new(password?) })
    });
    let header = fields.map("header").and_then(|mut header| {
        let (name, value) = (header.required_text("name"), header.required_text("value"));
        let parsed = name.and_then(|name| name.parse::<http::HeaderName>().ok());
        if parsed.is_none() {
            header.error_at("name", header.place(), "expected the name of an HTTP header", None);
        }
        header.finish();
        Some(Credential::Header { name: parsed?, value: Secret::new(value?) })
    });
    let mut given: Vec<Credential> = [bearer, basic, header].into_iter().flatten().collect();
    let keys = ["bearer", "basic", "header"].into_iter().filter(|key| fields.node(key).is_some()).count();
    if keys != 1 {
        let message = "expected exactly one of: bearer, basic, header";
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
        let uri = upstream(text);
        if uri.is_none() {
            fail(*place, "upstream", "expected http://HOST[:PORT][/BASE] or https://…, without user, query or fragment");
        }
        uri
    });
    let mut tls = Tls::default();
    let mut pem = |given: &Option<(Place, String)>, key: &str| {
        let (place, path) = given.as_ref()?;
        let path: PathBuf = base.join(path);
        std::fs::read(&path)
            .map_err(|error| fail(*place, key, &format!("{} can't be read: {error}", path.display())))
            .ok()
    };
    tls.ca = pem(&typed.ca, "tls.ca");
    let (cert, key) = (pem(&typed.client_cert, "tls.client_cert"), pem(&typed.client_key, "tls.client_key"));
    if typed.client_cert.is_some() != typed.client_key.is_some() {
        fail(typed.place, "tls", "client_cert and client_key go together: one of them is missing");
    }
    if let (Some(cert), Some(key)) = (cert, key) {
        match String::from_utf8(key) {
            Ok(key) => tls.client = Some((cert, Secret::new(key))),
            Err(_) => fail(typed.place, "tls.client_key", "is not a PEM file"),
        }
    }
    let plain = upstream.as_ref().is_some_and(|uri| uri.scheme_str() == Some("http"));
    if plain && (typed.ca.is_some() || typed.client_cert.is_some()) {
        fail(typed.place, "tls", "the upstream is http://, which has no TLS: write https:// or take `tls` out");
    }
    if errors.len() > before {
        return None;
    }
    Some(Route {
        name: typed.name?,
        upstream: upstream?,
        tool: typed.tool,
        cluster: typed.cluster,
        tls,
        credential: typed.credential,
    })
}

fn upstream(text: &str) -> Option<http::Uri> {
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() && !text.contains('#');
    (plain && !authority.as_str().contains('@') && authority.port_u16() != Some(0) && !uri.host()?.is_empty())
        .then_some(uri)
}

/// The place and name of every route that has one, for finding repeats.
pub(super) fn named(route: &TypedRoute) -> Option<(&str, Place, &str)> {
    route.name.as_deref().map(|name| (name, route.place, route.path.as_str()))
}

