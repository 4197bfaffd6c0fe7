//! Real Envoy in front of the upstream, alone and with external authorizers; and OPA's authorizer with an equal policy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, free_address};

/// What Envoy keeps of a body for the authorizer.
pub(crate) const BUFFERED: u32 = 1_048_576;

const POLICY: &str = include_str!("envoy/policy.rego");

/// An external authorizer, and how it wants to be asked.
#[derive(Clone, Copy)]
pub(crate) enum Authorizer {
    /// Headers and bodies as they came.
    Aegis(SocketAddr),
    /// Headers and bodies as text: of raw ones it knows no names.
    Opa(SocketAddr),
}

/// One Envoy with a listener for each authorizer.
pub(crate) struct Envoy {
    pub(crate) process: Process,
    /// Where nobody is asked.
    pub(crate) alone: SocketAddr,
    /// In the order of the authorizers.
    pub(crate) asking: Vec<SocketAddr>,
    _dir: TempDir,
}

impl Envoy {
    pub(crate) fn start(
        envoy: &Path,
        scratch: &Path,
        upstream: SocketAddr,
        authorizers: &[Authorizer],
    ) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let alone = free_address()?;
        let mut listeners = vec![listener(alone, None)];
        let mut clusters = vec![cluster("upstream", upstream, false)];
        let mut asking = Vec::new();
        for authorizer in authorizers {
            let address = free_address()?;
            listeners.push(listener(address, Some(*authorizer)));
            clusters.push(cluster(&authorizer.cluster(), authorizer.address(), true));
            asking.push(address);
        }
        let config = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
        let file = dir.path().join("envoy.json");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(std::path::absolute(envoy)?);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
        let last = asking.last().copied().unwrap_or(alone);
        let process = Process::listening(&mut command, last)?;
        Ok(Self { process, alone, asking, _dir: dir })
    }
}

impl Authorizer {
    /// What Envoy's configuration calls it.
    fn cluster(self) -> String {
        self.address().to_string()
    }

    fn address(self) -> SocketAddr {
        match self {
            Self::Aegis(address) | Self::Opa(address) => address,
        }
    }

    /// The HTTP filter that asks it.
    fn filter(self) -> Value {
        let raw = matches!(self, Self::Aegis(_));
        json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "encode_raw_headers": raw,
            "with_request_body": {"max_request_bytes": BUFFERED, "allow_partial_message": true, "pack_as_bytes": raw},
            "grpc_service": {"envoy_grpc": {"cluster_name": self.cluster()}, "timeout": "2s"},
        }})
    }
}

/// What the proxy's operator says about the calls, as `deploy/envoy` has it.
pub(crate) fn extensions() -> [(&'static str, String); 3] {
    [("aegis.tool", "kubernetes".into()), ("aegis.cluster", "main".into()), ("aegis.body", BUFFERED.to_string())]
}

fn listener(address: SocketAddr, authorizer: Option<Authorizer>) -> Value {
    let mut filters: Vec<Value> = authorizer.map(Authorizer::filter).into_iter().collect();
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
    let mut host = json!({"name": "all", "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]});
    if let (Some(Authorizer::Aegis(_)), Some(host)) = (authorizer, host.as_object_mut()) {
        let words: serde_json::Map<_, _> =
            extensions().into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        host.insert(
            "typed_per_filter_config".to_owned(),
            json!({"envoy.filters.http.ext_authz": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {"context_extensions": words}}}),
        );
    }
    json!({"name": address.to_string(), "address": socket(address), "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "agents", "normalize_path": true, "merge_slashes": true,
            "http_filters": filters, "route_config": {"virtual_hosts": [host]}}}]}]})
}

fn cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let version = if http2 { json!({"http2_protocol_options": {}}) } else { json!({"http_protocol_options": {}}) };
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": version}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket(address)}}]}]}})
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// OPA's authorizer with the policy and this data; where it is asked. It logs no decision, and keeps verified tokens as Aegis does.
pub(crate) fn opa(plugin: &Path, scratch: &Path, data: &Value) -> Result<(Process, SocketAddr, TempDir)> {
    let dir = tempfile::tempdir_in(scratch)?;
    let [policy, data_file] = ["policy.rego", "data.json"].map(|name| dir.path().join(name));
    std::fs::write(&policy, POLICY)?;
    std::fs::write(&data_file, data.to_string()).context("the policy's data")?;
    let (checks, api) = (free_address()?, free_address()?);
    let mut command = Command::new(std::path::absolute(plugin)?);
    command.args(["run", "--server", "--skip-version-check", "--disable-telemetry", "--log-level", "error"]);
    command.args(["--addr", &api.to_string()]);
    for setting in [
        format!("plugins.envoy_ext_authz_grpc.addr={checks}"),
        "plugins.envoy_ext_authz_grpc.path=bench/allow".to_owned(),
        "caching.inter_query_builtin_value_cache.named.io_jwt.max_num_entries=1000".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    command.arg(policy).arg(data_file).stdout(Stdio::null()).stderr(Stdio::inherit());
    Ok((Process::listening(&mut command, checks)?, checks, dir))
}
