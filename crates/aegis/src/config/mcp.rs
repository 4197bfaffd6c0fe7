//! `mcp:`: the MCP servers behind `/mcp/NAME`, each with what Aegis proves itself with there, the hashes that its tools must have,
//! and which of its tools are actions of the catalogue.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_core::describe::{Argument, Language};
use aegis_core::document::{Diagnostic, Fields, Node, Place, Value};
use aegis_core::mcp::{Mapping, Server};
use aegis_server::enforce::{Credential, RouteUpstream};
use aegis_server::mcp::McpSettings;
use http::uri::PathAndQuery;

use super::credentials;
use super::routes::{self, TypedRoute};

/// One element of the list as written.
pub(super) struct TypedMcp {
    pub(super) path: String,
    pub(super) place: Place,
    name: Option<String>,
    url: Option<(Place, String)>,
    ca: Option<(Place, String)>,
    client_cert: Option<(Place, String)>,
    client_key: Option<(Place, String)>,
    credential: Option<Credential>,
    map: Vec<Mapping>,
    programs: Vec<Argument>,
    pin: BTreeMap<String, String>,
    origins: Vec<String>,
}

/// An MCP server.
#[derive(Debug, Clone)]
pub(crate) struct Mcp {
    /// The file that it stands in.
    pub(crate) file: String,
    /// Where in it.
    pub(crate) place: Place,
    /// What the gateway is told of it.
    pub(crate) settings: McpSettings,
    /// How it is reached; `None` where the agent's side runs it, behind `aegis mcp`.
    pub(crate) upstream: Option<RouteUpstream>,
}

/// Reads one element; `None` when it isn't a mapping.
pub(super) fn read(file: &str, index: usize, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<TypedMcp> {
    let path = format!("mcp[{index}]");
    let mut fields = Fields::of(file, &path, node, errors)?;
    let mut mcp = TypedMcp {
        place: node.place,
        name: fields.required_text("name"),
        url: routes::placed(&mut fields, "url"),
        ca: None,
        client_cert: None,
        client_key: None,
        credential: None,
        map: Vec::new(),
        programs: Vec::new(),
        pin: texts(&mut fields, "pin"),
        origins: fields.texts("origins").unwrap_or_default().into_iter().map(|(_, text)| text).collect(),
        path,
    };
    if let Some(mut tls) = fields.map("tls") {
        mcp.ca = routes::placed(&mut tls, "ca");
        mcp.client_cert = routes::placed(&mut tls, "client_cert");
        mcp.client_key = routes::placed(&mut tls, "client_key");
        tls.finish();
    }
    if let Some(credential) = fields.map("credential") {
        mcp.credential = credentials::read(credential);
    }
    if matches!(mcp.credential, Some(Credential::SigV4(_))) {
        fields.error_at("credential", node.place, "sigv4 is for routes, whose agents sign their requests", None);
    }
    // Says that the keys exist and are lists; their elements are read below.
    for key in ["map", "programs"] {
        fields.list(key);
    }
    fields.finish();
    if let Some(Value::List(items)) = node.get("map").map(|node| &node.value) {
        let path = &mcp.path;
        let one = |(index, item)| mapping(file, &format!("{path}.map[{index}]"), item, errors);
        mcp.map = items.iter().enumerate().filter_map(one).collect();
    }
    if let Some(Value::List(items)) = node.get("programs").map(|node| &node.value) {
        let path = &mcp.path;
        let one = |(index, item)| program(file, &format!("{path}.programs[{index}]"), item, errors);
        mcp.programs = items.iter().enumerate().filter_map(one).collect();
    }
    Some(mcp)
}

/// A mapping of names to texts.
fn texts(fields: &mut Fields<'_>, key: &str) -> BTreeMap<String, String> {
    let Some(mut inner) = fields.map(key) else { return BTreeMap::new() };
    let names: Vec<String> = inner.unasked().iter().map(|key| key.name.clone()).collect();
    let read = names.into_iter().filter_map(|name| inner.text(&name).map(|text| (name, text))).collect();
    inner.finish();
    read
}

fn mapping(file: &str, path: &str, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Mapping> {
    let mut fields = Fields::of(file, path, node, errors)?;
    let tool = fields.required_text("tool");
    let action = fields.required_text("as");
    let params = texts(&mut fields, "params");
    let target = texts(&mut fields, "target");
    let named = action.as_deref().and_then(|action| action.split_once('/'));
    if action.is_some() && named.is_none_or(|(tool, action)| tool.is_empty() || action.is_empty()) {
        fields.error_at("as", node.place, "expected TOOL/ACTION of the catalogue, e.g. kubernetes/scale", None);
    }
    for (param, pointer) in &params {
        if !pointer.starts_with('/') {
            let message = format!("{param}: expected a JSON Pointer into the tool's arguments, such as /replicas");
            fields.error_at("params", node.place, message, None);
        }
    }
    if let Some(twice) = params.keys().find(|name| target.contains_key(*name)) {
        fields.error_at("target", node.place, format!("{twice} stands under `params` too"), None);
    }
    fields.finish();
    let (as_tool, as_action) = named?;
    let (as_tool, as_action) = (as_tool.to_owned(), as_action.to_owned());
    Some(Mapping {
        tool: tool?,
        as_tool,
        as_action,
        params: params.into_iter().collect(),
        target: target.into_iter().collect(),
    })
}

/// `{tool: "exec*", argument: sql, type: sql, dialect: postgres}`.
fn program(file: &str, path: &str, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Argument> {
    let mut fields = Fields::of(file, path, node, errors)?;
    let tool = fields.text("tool").unwrap_or_else(|| "*".to_owned());
    let name = fields.required_text("argument");
    let kind = fields.required_text("type");
    let dialect = fields.text("dialect");
    let language = Language::of(kind.as_deref()?, dialect.as_deref());
    if let Err(message) = &language {
        fields.error_at("type", node.place, message, None);
    }
    fields.finish();
    Some(Argument { tool, name: name?, language: language.ok()? })
}

/// Checks a server; its files are relative to `base`.
pub(super) fn check(file: &str, typed: TypedMcp, base: &Path, errors: &mut Vec<Diagnostic>) -> Option<Mcp> {
    let before = errors.len();
    let TypedMcp { path, place, name, url, ca, client_cert, client_key, credential, map, programs, pin, origins } =
        typed;
    let mut fail = |place: Place, key: &str, message: &str| {
        errors.push(Diagnostic::error(file, place, &format!("{path}.{key}"), message));
    };
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = map.iter().find(|one| !seen.insert(&one.tool)) {
        fail(place, "map", &format!("the tool {:?} is mapped twice", twice.tool));
    }
    for (tool, hash) in &pin {
        let digits = hash.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            fail(
                place,
                "pin",
                &format!("{tool}: expected sha256: and 64 hexadecimal digits; `aegis mcp list` shows them"),
            );
        }
    }
    if url.is_none() && (ca.is_some() || client_cert.is_some() || credential.is_some() || !origins.is_empty()) {
        fail(
            place,
            "url",
            "missing: without it the server runs where the agent is, and `tls`, `credential` and `origins` mean nothing",
        );
    }
    if let Some(name) = &name
        && (name.is_empty()
            || name.len() > 64
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
    {
        fail(place, "name", "a server's name is one path segment: letters, digits, - and _, up to 64");
    }
    let endpoint = url.as_ref().and_then(|(place, text)| {
        let uri: Option<http::Uri> = text.parse().ok();
        let parts = uri.filter(|uri| uri.query().is_none() && !text.contains('#')).and_then(|uri| {
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            let known = matches!(scheme, "http" | "https") && !authority.as_str().contains('@');
            let path = PathAndQuery::try_from(uri.path()).ok()?;
            known.then(|| (format!("{scheme}://{authority}"), path))
        });
        if parts.is_none() {
            fail(*place, "url", "expected http://HOST[:PORT]/PATH or https://…, without user, query or fragment");
        }
        Some((*place, parts?))
    });
    if errors.len() > before {
        return None;
    }
    let (upstream, endpoint) = match endpoint {
        None => (None, PathAndQuery::from_static("/")),
        Some((at, (origin, endpoint))) => {
            let (name, upstream) = (name.clone(), Some((at, origin)));
            let route = TypedRoute {
                path,
                place,
                name,
                upstream,
                tool: None,
                cluster: None,
                ca,
                client_cert,
                client_key,
                credential,
                refuses_foreign: false,
            };
            let mut upstream = routes::check(file, route, base, errors)?.upstream;
            upstream.name = route_name(&upstream.name);
            (Some(upstream), endpoint)
        }
    };
    let name = name?;
    let settings = McpSettings {
        route: upstream.as_ref().map(|upstream| upstream.name.clone()),
        path: endpoint,
        credential: upstream.as_ref().is_some_and(|upstream| upstream.credential.is_some()),
        pinned: pin,
        origins,
        server: Server { name, map, programs },
    };
    Some(Mcp { file: file.to_owned(), place, settings, upstream })
}

/// The name of the route that leads to a server: no route of the configuration can have it.
fn route_name(server: &str) -> String {
    format!("mcp {server}")
}

/// The place and name of every server that has one, for finding repeats.
pub(super) fn named(mcp: &TypedMcp) -> Option<(&str, Place, &str)> {
    mcp.name.as_deref().map(|name| (name, mcp.place, mcp.path.as_str()))
}
