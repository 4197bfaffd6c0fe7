//! `credential:`, `foreign_credentials:` and client certificates, of routes, MCP servers and intercepted hosts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::document::{Fields, Place};
use aegis_server::enforce::{ClientCertificate, Credential, Exec, Secret};

use super::typed::{choice, converted};
use super::{sigv4, units};

const KINDS: [&str; 6] = ["bearer", "bearer_file", "basic", "header", "exec", "sigv4"];
/// The longest that a program may run for a credential: a call waits for it.
const LONGEST: Duration = Duration::from_mins(1);

/// Reads `credential:`; exactly one kind.
pub(super) fn read(mut fields: Fields<'_>) -> Option<Credential> {
    let bearer = fields.text("bearer").map(|token| Credential::Bearer(Secret::new(token)));
    let bearer_file = fields.text("bearer_file").map(|path| Credential::BearerFile(path.into()));
    let basic = fields.map("basic").and_then(|mut basic| {
        let (user, secret) = (basic.required_text("user"), one_of(&mut basic, "password", "password_file"));
        basic.finish();
        Some(match (user?, secret?) {
            (user, Given::Text(password)) => Credential::Basic { user, password },
            (user, Given::File(path)) => Credential::BasicFile { user, path },
        })
    });
    let header = fields.map("header").and_then(|mut header| {
        let (name, secret) = (header.required_text("name"), one_of(&mut header, "value", "value_file"));
        header.finish();
        Some(match (name?, secret?) {
            (name, Given::Text(value)) => Credential::Header { name, value },
            (name, Given::File(path)) => Credential::HeaderFile { name, path },
        })
    });
    let exec = fields.map("exec").and_then(exec);
    let sigv4 = fields.map("sigv4").and_then(sigv4::read).map(|keys| Credential::SigV4(Box::new(keys)));
    let mut given: Vec<Credential> = [bearer, bearer_file, basic, header, exec, sigv4].into_iter().flatten().collect();
    if KINDS.into_iter().filter(|key| fields.node(key).is_some()).count() != 1 {
        let message = format!("expected exactly one of: {}", KINDS.join(", "));
        fields.error_at("bearer", fields.place(), message, None);
    }
    fields.finish();
    given.pop()
}

enum Given {
    Text(Secret),
    File(PathBuf),
}

/// A secret, or the file that it stands in.
fn one_of(fields: &mut Fields<'_>, text: &str, file: &str) -> Option<Given> {
    match (fields.text(text), fields.text(file)) {
        (Some(secret), None) => Some(Given::Text(Secret::new(secret))),
        (None, Some(path)) => Some(Given::File(path.into())),
        _ => {
            fields.error_at(text, fields.place(), format!("expected exactly one of: {text}, {file}"), None);
            None
        }
    }
}

fn exec(mut fields: Fields<'_>) -> Option<Credential> {
    fields.required("command");
    let command: Option<Vec<String>> =
        fields.texts("command").map(|words| words.into_iter().map(|(_, word)| word).collect());
    let mut env = BTreeMap::new();
    if let Some(mut inner) = fields.map("env") {
        let names: Vec<String> = inner.unasked().iter().map(|key| key.name.clone()).collect();
        env.extend(names.into_iter().filter_map(|name| inner.text(&name).map(|value| (name, value))));
        inner.finish();
    }
    let header = fields.text("header");
    let timeout = converted(&mut fields, "timeout", "a duration such as 10s", units::duration);
    let ttl = converted(&mut fields, "ttl", "a duration such as 5m", units::duration);
    if timeout.is_some_and(|limit| limit > LONGEST) {
        fields.error_at("timeout", fields.place(), "a call waits for it: 1m at most", None);
    }
    if command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
        fields.error_at("command", fields.place(), "expected a program and its arguments", None);
    }
    fields.finish();
    let (timeout, ttl) = (timeout.unwrap_or(Duration::from_secs(10)), ttl.unwrap_or(Duration::from_mins(1)));
    Some(Credential::Exec(Exec { command: command?, env, header, timeout, ttl }))
}

/// The same with its files below `base`, and its program where that is named by a path.
pub(super) fn under(base: &Path, credential: Credential) -> Credential {
    match credential {
        Credential::BearerFile(path) => Credential::BearerFile(base.join(path)),
        Credential::BasicFile { user, path } => Credential::BasicFile { user, path: base.join(path) },
        Credential::HeaderFile { name, path } => Credential::HeaderFile { name, path: base.join(path) },
        Credential::Exec(mut exec) => {
            if let Some(program) = exec.command.first_mut().filter(|program| program.contains('/')) {
                *program = base.join(&*program).display().to_string();
            }
            Credential::Exec(exec)
        }
        other => other,
    }
}

/// Reads `foreign_credentials:`.
pub(super) fn refuses_foreign(fields: &mut Fields<'_>) -> bool {
    choice(fields, "foreign_credentials", &[("strip", false), ("refuse", true)]).unwrap_or(false)
}

/// A file's bytes.
pub(super) fn file(
    base: &Path,
    path: &str,
    place: Place,
    key: &str,
    fail: &mut impl FnMut(Place, &str, &str),
) -> Option<Vec<u8>> {
    let path = base.join(path);
    let read = std::fs::read(&path);
    read.map_err(|error| fail(place, key, &format!("{} can't be read: {error}", path.display()))).ok()
}

/// A client certificate and its key.
pub(super) fn client(
    cert: &Option<(Place, String)>,
    key: &Option<(Place, String)>,
    place: Place,
    base: &Path,
    fail: &mut impl FnMut(Place, &str, &str),
) -> Option<ClientCertificate> {
    if cert.is_some() != key.is_some() {
        fail(place, "tls", "client_cert and client_key go together: one of them is missing");
    }
    let (at, path) = cert.as_ref()?;
    let chain = file(base, path, *at, "tls.client_cert", fail);
    let (at, path) = key.as_ref()?;
    match String::from_utf8(file(base, path, *at, "tls.client_key", fail)?) {
        Ok(key) => Some(ClientCertificate { chain: chain?, key: Secret::new(key) }),
        Err(_) => {
            fail(place, "tls.client_key", "is not a PEM file");
            None
        }
    }
}
