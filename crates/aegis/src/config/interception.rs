//! `interception:` as written and as checked.

use std::path::{Path, PathBuf};

use aegis_core::document::{Diagnostic, Fields, Node, Place, Value};
use aegis_server::enforce::{Credential, NamedUpstream};
use aegis_server::intercept::{BadPattern, InterceptedHost};

use super::checked::absolute;
use super::routes::placed;
use super::{START, credentials};

/// As written.
#[derive(Default)]
pub(super) struct TypedInterception {
    place: Option<Place>,
    pub(super) hosts: Vec<TypedHost>,
    certificate: Option<String>,
    key: Option<String>,
    upstream_ca: Option<(Place, String)>,
}

/// A host as written.
pub(super) struct TypedHost {
    place: Place,
    path: String,
    host: InterceptedHost,
    credential: Option<Credential>,
    client_cert: Option<(Place, String)>,
    client_key: Option<(Place, String)>,
}

/// Which hosts are intercepted, in whose name, and whom their upstreams may be certified by.
#[derive(Debug, Clone)]
pub(crate) struct Interception {
    /// The file and the place that it stands in.
    pub(crate) at: (String, Place),
    /// The hosts; none, and nothing is intercepted.
    pub(crate) hosts: Vec<InterceptedHost>,
    /// What Aegis is to them, in their order.
    pub(crate) named: Vec<NamedUpstream>,
    /// Certificate and key of the operator's own CA; `None` is Aegis's.
    pub(crate) ca: Option<(PathBuf, PathBuf)>,
    /// Certificate authorities of upstreams, beside the system's, in PEM.
    pub(crate) upstream_ca: Option<Vec<u8>>,
}

/// Reads `interception:`.
pub(super) fn read(root: &mut Fields<'_>) -> TypedInterception {
    let Some(mut fields) = root.map("interception") else { return TypedInterception::default() };
    let mut typed = TypedInterception { place: Some(fields.place()), ..TypedInterception::default() };
    fields.required("hosts");
    fields.list("hosts"); // says that it is a list; its elements are read by `hosts`
    match fields.node("ca").map(|node| &node.value) {
        Some(Value::Map(_)) => {
            if let Some(mut ca) = fields.map("ca") {
                (typed.certificate, typed.key) = (ca.required_text("certificate"), ca.required_text("key"));
                ca.finish();
            }
        }
        Some(_) if fields.node("ca").and_then(|node| node.text()) != Some("auto") => {
            let place = fields.node("ca").map_or(fields.place(), |node| node.place);
            let message = "expected auto (Aegis's own CA), or {certificate: FILE, key: FILE}";
            fields.error_at("ca", place, message, None);
        }
        Some(_) | None => {}
    }
    typed.upstream_ca = fields.node("upstream_ca").map(|node| node.place).zip(fields.text("upstream_ca"));
    fields.finish();
    typed
}

/// Reads the elements of `interception.hosts`.
pub(super) fn hosts(file: &str, root: &Node, errors: &mut Vec<Diagnostic>) -> Vec<TypedHost> {
    let listed = root.get("interception").and_then(|node| node.get("hosts")).map(|node| &node.value);
    let Some(Value::List(items)) = listed else { return Vec::new() };
    let read = |(index, node)| host(file, format!("interception.hosts[{index}]"), node, errors);
    items.iter().enumerate().filter_map(read).collect()
}

/// A host, or a mapping of one with what is there.
fn host(file: &str, path: String, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<TypedHost> {
    let mut wrong = |message: String| {
        errors.push(Diagnostic::error(file, node.place, &path, message));
        None
    };
    let plain =
        |pattern| InterceptedHost { pattern, tool: None, cluster: None, credential: false, refuses_foreign: false };
    if let Some(text) = node.text() {
        return match text.parse() {
            Ok(pattern) => {
                let host = plain(pattern);
                Some(TypedHost { place: node.place, path, host, credential: None, client_cert: None, client_key: None })
            }
            Err(error) => wrong(BadPattern::to_string(&error)),
        };
    }
    if !matches!(node.value, Value::Map(_)) {
        return wrong("expected a host such as api.github.com or *.internal, or {host: …, tool: …}".to_owned());
    }
    let mut fields = Fields::of(file, &path, node, errors)?;
    let host = fields.required_text("host");
    let (tool, cluster) = (fields.text("tool"), fields.text("cluster"));
    let refuses_foreign = credentials::refuses_foreign(&mut fields);
    let (mut client_cert, mut client_key) = (None, None);
    if let Some(mut tls) = fields.map("tls") {
        client_cert = placed(&mut tls, "client_cert");
        client_key = placed(&mut tls, "client_key");
        tls.finish();
    }
    let credential = fields.map("credential").and_then(credentials::read);
    if matches!(credential, Some(Credential::SigV4(_))) {
        fields.error_at("credential", node.place, "sigv4 is for routes, whose agents sign their requests", None);
    }
    fields.finish();
    match host?.parse() {
        Ok(pattern) => {
            let proves = credential.is_some() || client_cert.is_some();
            let host = InterceptedHost { tool, cluster, credential: proves, refuses_foreign, ..plain(pattern) };
            Some(TypedHost { place: node.place, path, host, credential, client_cert, client_key })
        }
        Err(error) => {
            errors.push(Diagnostic::error(file, node.place, &path, BadPattern::to_string(&error)));
            None
        }
    }
}

/// Checks it; its files are relative to `base`.
pub(super) fn check(file: &str, typed: TypedInterception, base: &Path, errors: &mut Vec<Diagnostic>) -> Interception {
    let mut fail = |place: Place, key: &str, message: String| {
        errors.push(Diagnostic::error(file, place, &format!("interception.{key}"), message));
    };
    let ca =
        typed.certificate.zip(typed.key).map(|(certificate, key)| (absolute(base, &certificate), absolute(base, &key)));
    let upstream_ca = typed.upstream_ca.and_then(|(place, path)| {
        let read = std::fs::read(absolute(base, &path));
        read.map_err(|error| fail(place, "upstream_ca", format!("the file can't be read: {error}"))).ok()
    });
    if let Some(place) = typed.place
        && typed.hosts.is_empty()
    {
        fail(place, "hosts", "expected at least one host; without interception leave `interception` out".to_owned());
    }
    let at = (file.to_owned(), typed.place.unwrap_or(START));
    let (mut hosts, mut named) = (Vec::new(), Vec::new());
    for TypedHost { place, path, host, credential, client_cert, client_key } in typed.hosts {
        let mut fail = |place: Place, key: &str, message: &str| {
            errors.push(Diagnostic::error(file, place, &format!("{path}.{key}"), message));
        };
        let client = credentials::client(&client_cert, &client_key, place, base, &mut fail);
        let credential = credential.map(|credential| credentials::under(base, credential));
        named.push(NamedUpstream { pattern: host.pattern.clone(), credential, client });
        hosts.push(host);
    }
    Interception { at, hosts, named, ca, upstream_ca }
}
