//! `policies: {bundle: …}`: policies from a URL instead of a folder.

use std::path::Path;
use std::time::Duration;

use aegis_core::document::{Diagnostic, Fields, Node, Place, Value};
use aegis_server::bundle::{SourceSettings, VerifyingKey};
use aegis_server::enforce::{Roots, Secret, Upstream};

use super::typed::converted;
use super::units;

/// The bundle's source as written.
pub(super) struct TypedBundle {
    place: Place,
    url: Option<(Place, String)>,
    keys: Vec<(Place, String)>,
    ca: Option<(Place, String)>,
    token: Option<String>,
    poll: Option<Duration>,
    long_poll: Option<bool>,
    allow_rollback: Option<bool>,
}

/// A bundle's source: where policies are taken from.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    /// Its URL, as written.
    pub(crate) url: String,
    /// Whom to ask, and whom to believe.
    pub(crate) settings: SourceSettings,
}

/// Reads `policies:` where it is a mapping.
pub(super) fn read(file: &str, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<TypedBundle> {
    let mut policies = Fields::of(file, "policies", node, errors)?;
    policies.required("bundle");
    let bundle = policies.map("bundle").map(|mut fields| {
        let bundle = TypedBundle {
            place: fields.place(),
            url: fields.required("url").and_then(|node| Some((node.place, fields.text("url")?))),
            keys: keys(&mut fields),
            ca: fields.node("ca").and_then(|node| Some((node.place, fields.text("ca")?))),
            token: fields.text("token"),
            poll: converted(&mut fields, "poll", "a duration such as 30s", units::duration),
            long_poll: fields.bool("long_poll"),
            allow_rollback: fields.bool("allow_rollback"),
        };
        fields.finish();
        bundle
    });
    policies.finish();
    bundle
}

/// `key`: a path, or several.
fn keys(fields: &mut Fields<'_>) -> Vec<(Place, String)> {
    match fields.required("key") {
        Some(Node { value: Value::List(_), .. }) => fields.texts("key").unwrap_or_default(),
        Some(node) => fields.text("key").map(|text| (node.place, text)).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Checks a source; its files are relative to `base`.
pub(super) fn check(file: &str, typed: TypedBundle, base: &Path, errors: &mut Vec<Diagnostic>) -> Option<Bundle> {
    let before = errors.len();
    let mut fail = |place: Place, key: &str, message: String| {
        errors.push(Diagnostic::error(file, place, &format!("policies.bundle.{key}"), message));
    };
    let url: Option<Upstream> = typed.url.as_ref().and_then(|(place, text)| {
        let parsed: Option<Upstream> = text.parse().ok().filter(|url: &Upstream| !url.base_path.is_empty());
        match &parsed {
            None => {
                fail(*place, "url", "expected https://HOST[:PORT]/PATH, without user, query or fragment".to_owned())
            }
            Some(url) if !url.secure && typed.token.is_some() && !is_here(&url.host) => {
                fail(*place, "url", "with a token it must be https://: it could be read on the way".to_owned());
            }
            Some(_) => {}
        }
        parsed
    });
    let mut bytes = |place: Place, key: &str, path: &str| {
        let path = base.join(path);
        std::fs::read(&path)
            .map_err(|error| fail(place, key, format!("{} can't be read: {error}", path.display())))
            .ok()
    };
    let ca = typed.ca.as_ref().and_then(|(place, path)| bytes(*place, "ca", path));
    let pems: Vec<_> =
        typed.keys.iter().filter_map(|(place, path)| Some((*place, bytes(*place, "key", path)?))).collect();
    let mut keys = Vec::new();
    for (place, pem) in pems {
        match VerifyingKey::from_pem(&pem) {
            Ok(key) => keys.push(key),
            Err(error) => fail(place, "key", error.to_string()),
        }
    }
    if typed.keys.is_empty() {
        fail(typed.place, "key", "without a key no signature can be verified: name a public key in PEM".to_owned());
    }
    let poll = typed.poll.unwrap_or(Duration::from_secs(30));
    if !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(&poll) {
        fail(typed.place, "poll", "a poll is due every 1s to 1h".to_owned());
    }
    if errors.len() > before {
        return None;
    }
    let settings = SourceSettings {
        url: url?,
        keys,
        token: typed.token.map(Secret::new),
        roots: ca.map_or(Roots::System, Roots::Pem),
        poll,
        long_poll: typed.long_poll.unwrap_or(true),
        allow_rollback: typed.allow_rollback.unwrap_or(false),
    };
    Some(Bundle { url: typed.url?.1, settings })
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
