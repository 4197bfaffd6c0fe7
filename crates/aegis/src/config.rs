//! `aegis.yaml`: read whole and checked whole before anything starts.
//!
//! Two steps, each in a file of its own: [`typed`] is what the user wrote (every key optional, every value with its place),
//! [`Config`] is what the gateway runs with (defaults filled in, paths absolute, secrets in place, cross-checks done).
//! Between them [`secrets`] replaces `${env:NAME}` and `${file:PATH}`.
//!
//! Invariants: all errors are found in one run, each with file, line and column; no error repeats a value, since any value
//! may be a secret; a key that this version knows of but can't enforce is an error, not a silent promise. Deliberately
//! absent: policies and tool definitions (see [`crate::load`]), and flags (see [`crate::cli`]).

mod bundle;
mod checked;
mod credentials;
mod decisions;
mod egress;
mod interception;
mod mcp;
mod routes;
mod secrets;
mod sigv4;
#[cfg(test)]
mod tests;
mod typed;
mod units;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::document::{self, Diagnostic, Node, Place};
use aegis_core::policy::{Engine, Mode};
use aegis_server::enforce::{PrivateNetworks, UpstreamProxy};
use aegis_server::events::Otlp;
use aegis_store::Durability;

pub(crate) use bundle::Bundle;
pub(crate) use decisions::DecisionApi;
pub(crate) use interception::Interception;
pub(crate) use mcp::Mcp;
pub(crate) use routes::Route;
pub(crate) use units::duration;

/// The name that is looked for when no file is named.
pub(crate) const DEFAULT_FILE: &str = "aegis.yaml";

/// The configuration that a gateway runs with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Store, keys, CA.
    pub(crate) data_dir: PathBuf,
    /// What holds where a policy doesn't say.
    pub(crate) mode: Mode,
    /// Where to listen.
    pub(crate) listen: Listen,
    /// Folder or file of policies.
    pub(crate) policies: PathBuf,
    /// Where policies are taken from instead, when that is a URL.
    pub(crate) bundle: Option<Bundle>,
    /// Folder or file of tool definitions, where there is one.
    pub(crate) tools: Option<PathBuf>,
    /// The environment map, for the catalogue to read.
    pub(crate) environments: Option<(String, Node)>,
    /// Sidecar routes.
    pub(crate) routes: Vec<Route>,
    /// MCP servers.
    pub(crate) mcp: Vec<Mcp>,
    /// `host:port` → the address that it is reached at instead.
    pub(crate) upstreams: HashMap<String, SocketAddr>,
    /// Hosts whose TLS is read.
    pub(crate) interception: Interception,
    /// Whether agents may name hosts in private networks.
    pub(crate) private_networks: PrivateNetworks,
    /// The proxy that everything goes through.
    pub(crate) proxy: Option<UpstreamProxy>,
    /// How long an issued token holds.
    pub(crate) token_ttl: Duration,
    /// The back end that decides.
    pub(crate) engine: Engine,
    /// The share of live calls that the other back end decides too, 0 to 1.
    pub(crate) engine_check: f64,
    /// Spans and logs.
    pub(crate) telemetry: Telemetry,
    /// When an admission counts as recorded.
    pub(crate) durability: Durability,
    /// How long calls are kept for replay; `None` when they aren't.
    pub(crate) calls: Option<Duration>,
    /// Bounds.
    pub(crate) limits: Limits,
    /// How long an agent does nothing until policy forgets what it has done.
    pub(crate) session_idle: Duration,
    /// Callers that enforce.
    pub(crate) decision_api: DecisionApi,
    /// What is accepted, but isn't in force in this version.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Where to listen. Port 0 asks the system for a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Forward proxy and routes.
    pub(crate) proxy: SocketAddr,
    /// The same under a certificate of Aegis's CA; `off` leaves it out.
    pub(crate) proxy_tls: Option<SocketAddr>,
    /// Operators' and agents' API.
    pub(crate) api: SocketAddr,
    /// Envoy's external authorization over gRPC; `off` leaves it out.
    pub(crate) ext_authz: Option<SocketAddr>,
}

/// Spans and logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    /// Where spans go.
    pub(crate) otlp: Option<Otlp>,
    /// How log lines look.
    pub(crate) log: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For eyes.
    Text,
}

/// Bounds on what clients can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Largest body that is read whole, in bytes.
    pub(crate) body: usize,
    /// Largest request head, in bytes.
    pub(crate) header: usize,
    /// Most connections at once.
    pub(crate) connections: usize,
    /// Most of them from one client's address; `None`: half of them.
    pub(crate) connections_per_client: Option<usize>,
    /// How long a handshake, a preface and each request's head may take.
    pub(crate) head_time: Duration,
    /// How long a body may pause.
    pub(crate) body_idle: Duration,
    /// How many bytes of a body have to come each second.
    pub(crate) body_rate: usize,
    /// How long a client may take nothing of what is sent to it.
    pub(crate) send_idle: Duration,
    /// How long a call that waits for a human is held.
    pub(crate) hold: Duration,
}

impl Config {
    /// Reads and checks the configuration: `named`, else `aegis.yaml` here if there is one, else the defaults.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        let here = Path::new(DEFAULT_FILE);
        match named.or_else(|| here.exists().then_some(here)) {
            Some(file) => Self::read(file),
            None => Self::parse(DEFAULT_FILE, "", Path::new(".")),
        }
    }

    fn read(file: &Path) -> Result<Self, Vec<Diagnostic>> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            let message = format!("can't be read: {error}");
            let hint = Some("name another file with --config, or make one with `aegis init`");
            vec![Diagnostic::error(&name, START, "", message).suggest(hint)]
        })?;
        let base = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&name, &text, base)
    }

    /// Reads and checks `text`; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn parse(file: &str, text: &str, base: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut documents = document::parse(file, text).map_err(|error| vec![error])?;
        if let Some(second) = documents.get(1) {
            let message = "a configuration is one document; this is where a second one starts";
            return Err(vec![Diagnostic::error(file, second.place, "", message)]);
        }
        let mut root = documents.pop().unwrap_or(Node { place: START, value: document::Value::Map(Vec::new()) });
        let mut errors = Vec::new();
        secrets::expand(file, "", &mut root, base, &mut errors);
        let typed = typed::Typed::read(file, &root, &mut errors);
        let config = checked::check(file, typed, base, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

/// The start of a file, for what is about all of it.
pub(crate) const START: Place = Place { line: 1, column: 1 };
