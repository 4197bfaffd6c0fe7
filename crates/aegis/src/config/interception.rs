//! `interception:` as written and as checked.

use std::path::{Path, PathBuf};

use aegis_core::document::{Diagnostic, Fields, Place, Value};
use aegis_server::intercept::HostPattern;

use super::checked::absolute;

/// As written.
#[derive(Default)]
pub(super) struct TypedInterception {
    place: Option<Place>,
    hosts: Vec<HostPattern>,
    certificate: Option<String>,
    key: Option<String>,
    upstream_ca: Option<(Place, String)>,
}

/// Which hosts are intercepted, in whose name, and whom their upstreams may be certified by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interception {
    /// The hosts; none, and nothing is intercepted.
    pub(crate) hosts: Vec<HostPattern>,
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
    let listed = fields.list("hosts");
    for (index, node) in listed.into_iter().flatten().enumerate() {
        let key = format!("hosts[{index}]");
        match node.text().map(str::parse::<HostPattern>) {
            Some(Ok(pattern)) => typed.hosts.push(pattern),
            Some(Err(error)) => fields.error_at(&key, node.place, error.to_string(), None),
            None => fields.error_at(&key, node.place, "expected a host such as api.github.com or *.internal", None),
        }
    }
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
    Interception { hosts: typed.hosts, ca, upstream_ca }
}
