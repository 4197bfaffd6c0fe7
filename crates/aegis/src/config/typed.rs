//! What the user wrote: every key optional, every value of its type.
//!
//! Keys that the contract has and this version can't enforce are refused here ([`not_yet`]), apart from the few whose only
//! value means what this version does anyway.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use aegis_core::document::{Diagnostic, Fields, Node, Value, nearest};
use aegis_core::policy::{Engine, Mode};
use aegis_server::events::{Otlp, Protocol};
use aegis_store::Durability;

use super::bundle::{self, TypedBundle};
use super::decisions::{self, DecisionApi};
use super::egress::{self, Egress};
use super::interception::{self, TypedInterception};
use super::mcp::{self, TypedMcp};
use super::routes::{self, TypedRoute};
use super::{LogFormat, units};

/// The configuration as written.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) data_dir: Option<String>,
    pub(super) mode: Option<Mode>,
    pub(super) proxy: Option<SocketAddr>,
    /// `Some(None)` is `off`.
    pub(super) proxy_tls: Option<Option<SocketAddr>>,
    pub(super) api: Option<SocketAddr>,
    /// `Some(None)` is `off`.
    pub(super) ext_authz: Option<Option<SocketAddr>>,
    pub(super) policies: Option<String>,
    pub(super) bundle: Option<TypedBundle>,
    pub(super) tools: Option<String>,
    pub(super) environments: Option<Node>,
    pub(super) routes: Vec<TypedRoute>,
    pub(super) mcp: Vec<TypedMcp>,
    pub(super) upstreams: HashMap<String, SocketAddr>,
    pub(super) interception: TypedInterception,
    pub(super) egress: Egress,
    pub(super) token_ttl: Option<Duration>,
    pub(super) engine: Option<Engine>,
    pub(super) engine_check: Option<f64>,
    pub(super) otlp: Option<Otlp>,
    pub(super) log: Option<LogFormat>,
    pub(super) durability: Option<Durability>,
    pub(super) calls: Option<Duration>,
    pub(super) body: Option<usize>,
    pub(super) header: Option<usize>,
    pub(super) connections: Option<usize>,
    pub(super) connections_per_client: Option<usize>,
    pub(super) head_time: Option<Duration>,
    pub(super) body_idle: Option<Duration>,
    pub(super) body_rate: Option<usize>,
    pub(super) send_idle: Option<Duration>,
    pub(super) hold: Option<Duration>,
    pub(super) session_idle: Option<Duration>,
    pub(super) decision_api: DecisionApi,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Typed {
    /// Reads `root`, and reports what can't be read.
    pub(super) fn read(file: &str, root: &Node, errors: &mut Vec<Diagnostic>) -> Self {
        let mut typed = Self::default();
        let Some(mut fields) = Fields::of(file, "", root, errors) else { return typed };
        typed.data_dir = fields.text("data_dir");
        typed.mode = choice(&mut fields, "mode", &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)]);
        // A folder, or where a bundle comes from; the latter is read below.
        if !matches!(fields.node("policies"), Some(Node { value: Value::Map(_), .. })) {
            typed.policies = fields.text("policies");
        }
        typed.tools = fields.text("tools");
        typed.environments = fields.node("environments").cloned();
        typed.engine = choice(
            &mut fields,
            "engine",
            &[("native", Engine::Native), ("rego", Engine::Rego), ("wasm", Engine::Wasm)],
        );
        typed.engine_check = converted(&mut fields, "engine_check", "a share such as 1%", units::share);
        typed.listen(&mut fields);
        fields.list("routes"); // says that the key exists and is a list; its elements are read below
        fields.list("mcp");
        typed.upstreams(&mut fields);
        typed.interception = interception::read(&mut fields);
        typed.egress = egress::read(&mut fields);
        if let Some(mut identity) = fields.map("identity") {
            typed.token_ttl = converted(&mut identity, "token_ttl", "a duration such as 15m", units::duration);
            not_yet(&mut identity, "issuers");
            identity.finish();
        }
        if let Some(mut session) = fields.map("session") {
            typed.session_idle = converted(&mut session, "idle", "a duration such as 30m", units::duration);
            session.finish();
        }
        typed.telemetry(&mut fields);
        if let Some(mut audit) = fields.map("audit") {
            let values = [("commit", Durability::Commit), ("buffered", Durability::Buffered)];
            typed.durability = choice(&mut audit, "durability", &values);
            typed.calls = converted(&mut audit, "calls", "a duration such as 7d", units::duration);
            not_yet(&mut audit, "export");
            audit.finish();
        }
        typed.limits(&mut fields);
        only(&mut fields, "store", "sqlite");
        only(&mut fields, "counters", "memory");
        not_yet(&mut fields, "approvals");
        fields.node("decision_api"); // says that the key exists; it is read below
        fields.finish();
        if let Some(node) = root.get("decision_api") {
            typed.decision_api = decisions::read(file, node, errors);
        }
        if let Some(node @ Node { value: Value::Map(_), .. }) = root.get("policies") {
            typed.bundle = bundle::read(file, node, errors);
        }
        typed.interception.hosts = interception::hosts(file, root, errors);
        if let Some(Value::List(routes)) = root.get("routes").map(|node| &node.value) {
            let read = |(index, node)| routes::read(file, index, node, errors);
            typed.routes = routes.iter().enumerate().filter_map(read).collect();
        }
        if let Some(Value::List(servers)) = root.get("mcp").map(|node| &node.value) {
            let read = |(index, node)| mcp::read(file, index, node, errors);
            typed.mcp = servers.iter().enumerate().filter_map(read).collect();
        }
        typed
    }

    fn listen(&mut self, fields: &mut Fields<'_>) {
        let Some(mut listen) = fields.map("listen") else { return };
        self.proxy = converted(&mut listen, "proxy", ADDRESS, address);
        let or_off = |text: &str| if text == "off" { Some(None) } else { address(text).map(Some) };
        self.proxy_tls = converted(&mut listen, "proxy_tls", "an address such as 127.0.0.1:4183, or off", or_off);
        self.api = converted(&mut listen, "api", ADDRESS, address);
        self.ext_authz = converted(&mut listen, "ext_authz", "an address such as 127.0.0.1:4182, or off", or_off);
        listen.finish();
    }

    fn upstreams(&mut self, fields: &mut Fields<'_>) {
        let Some(node) = fields.node("upstreams") else { return };
        let Value::Map(entries) = &node.value else {
            let message = format!("expected a mapping of host:port to address, found {}", node.value.kind());
            return fields.error_at("upstreams", node.place, message, None);
        };
        for (key, value) in entries {
            let path = format!("upstreams.{}", key.name);
            let named =
                key.name.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if named.is_none() {
                fields.error_at(&path, key.place, "expected host:port as the key", None);
            }
            match value.text().and_then(address) {
                Some(address) => drop(self.upstreams.insert(key.name.to_ascii_lowercase(), address)),
                None => fields.error_at(&path, value.place, format!("expected {ADDRESS}"), None),
            }
        }
    }

    fn telemetry(&mut self, fields: &mut Fields<'_>) {
        let Some(mut telemetry) = fields.map("telemetry") else { return };
        self.log = choice(&mut telemetry, "log", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
        // `/metrics` is always there for an operator, so `true` asks for nothing and `false` can't be had.
        if telemetry.bool("prometheus") == Some(false)
            && let Some(node) = telemetry.node("prometheus")
        {
            let message = "known, but this version can't turn it off: /metrics answers operators only";
            telemetry.error_at("prometheus", node.place, message, None);
        }
        if let Some(mut otlp) = telemetry.map("otlp") {
            let endpoint = otlp.required("endpoint").and_then(|node| {
                let url = node.text().filter(|text| text.starts_with("http://") || text.starts_with("https://"));
                if url.is_none() {
                    otlp.error_at("endpoint", node.place, "expected a URL such as http://127.0.0.1:4317", None);
                }
                url.map(str::to_owned)
            });
            let values = [("grpc", Protocol::Grpc), ("http", Protocol::Http)];
            let protocol = choice(&mut otlp, "protocol", &values).unwrap_or(Protocol::Grpc);
            self.otlp = endpoint.map(|endpoint| Otlp { endpoint, protocol });
            otlp.finish();
        }
        telemetry.finish();
    }

    fn limits(&mut self, fields: &mut Fields<'_>) {
        let Some(mut limits) = fields.map("limits") else { return };
        self.body = converted(&mut limits, "body", "a size such as 4MiB", units::size);
        self.header = converted(&mut limits, "header", "a size such as 64KiB", units::size);
        self.connections = number_of(&mut limits, "connections");
        self.connections_per_client = number_of(&mut limits, "connections_per_client");
        self.head_time = converted(&mut limits, "head_time", "a duration such as 10s", units::duration);
        self.body_idle = converted(&mut limits, "body_idle", "a duration such as 30s", units::duration);
        self.send_idle = converted(&mut limits, "send_idle", "a duration such as 60s", units::duration);
        self.body_rate = converted(&mut limits, "body_rate", "a size for each second such as 512B, or off", |text| {
            if text == "off" { Some(0) } else { units::size(text) }
        });
        self.hold = converted(&mut limits, "hold", "a duration such as 45s", units::duration);
        limits.finish();
    }
}

const ADDRESS: &str = "an IP address and port such as 127.0.0.1:4180";

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// A text under `key` that `convert` understands.
pub(super) fn converted<T>(
    fields: &mut Fields<'_>,
    key: &str,
    expected: &str,
    convert: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let node = fields.node(key)?;
    let value = node.text().and_then(convert);
    if value.is_none() {
        fields.error_at(key, node.place, format!("expected {expected}"), None);
    }
    value
}

/// How many connections.
fn number_of(fields: &mut Fields<'_>, key: &str) -> Option<usize> {
    fields.node(key).and_then(|node| match node.value {
        Value::Int(number) if (1..=1_000_000).contains(&number) => usize::try_from(number).ok(),
        _ => {
            fields.error_at(key, node.place, "expected a whole number from 1 to 1000000", None);
            None
        }
    })
}

/// One of a few words under `key`.
pub(super) fn choice<T: Copy>(fields: &mut Fields<'_>, key: &str, values: &[(&str, T)]) -> Option<T> {
    let node = fields.node(key)?;
    let text = node.text().unwrap_or_default();
    if let Some((_, value)) = values.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let suggestion = nearest(text, names.iter().copied()).map(|name| format!("did you mean `{name}`?"));
    fields.error_at(key, node.place, format!("expected one of: {}", names.join(", ")), suggestion);
    None
}

/// A key whose only value in this version is `value`.
fn only(fields: &mut Fields<'_>, key: &str, value: &str) {
    if let Some(node) = fields.node(key)
        && node.text() != Some(value)
    {
        let message = format!("known, but not in this version: only `{value}` works so far");
        fields.error_at(key, node.place, message, None);
    }
}

/// A key that the contract has and this version can't enforce.
fn not_yet(fields: &mut Fields<'_>, key: &str) {
    if let Some(node) = fields.node(key) {
        let message = "known, but not in this version: take it out, nothing would enforce it";
        fields.error_at(key, node.place, message, None);
    }
}
