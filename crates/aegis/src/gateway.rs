//! The gateway put together from a configuration, and started: what `serve` runs and `demo` embeds.
//!
//! Everything is loaded and checked before a port is bound; nothing is announced before it is bound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aegis_core::describe::Catalogue;
use aegis_core::document::Diagnostic;
use aegis_core::policy::{Mode, PolicySet};
use aegis_server::api::{self, ApiState, Decisions};
use aegis_server::ca::{Ca, Leaves};
use aegis_server::enforce::{self, Credential, Enforcer, Roots, RouteUpstream, SigV4};
use aegis_server::gateway::{self, Bound, Gateway};
use aegis_server::intercept::ext_authz::ExtAuthz;
use aegis_server::intercept::{self, Intercept, Interception, McpDesk, Pace};
use aegis_server::mcp::McpServer;
use aegis_server::pipeline::{Parts, Pipeline};
use aegis_server::unproven::Unproven;
use aegis_server::versions::Versions;
use aegis_store::Store;
use anyhow::Result;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::data::{self, DataDir};
use crate::descriptors::Room;
use crate::load;
use crate::reload::{self, Reloader};
use crate::remote::Remote;

/// How long calls under way may take once the gateway is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The share of all connections that one client's address may have, where none is configured.
const PER_CLIENT_SHARE: usize = 2;

/// A gateway that takes calls.
pub(crate) struct Running {
    /// Its listeners.
    pub(crate) addresses: Vec<Bound>,
    /// The policies in force at the start.
    pub(crate) policy_version: String,
    /// Whether there were any; without, every call is denied until there are.
    pub(crate) in_force: bool,
    /// Whether something else was to be in force, and was refused.
    pub(crate) refused: bool,
    /// The mode that holds where a policy doesn't say.
    pub(crate) mode: Mode,
    /// Looks for policies that were edited; to be run beside the gateway.
    pub(crate) reloader: Option<Reloader>,
    stop: CancellationToken,
    data_dir: PathBuf,
    task: JoinHandle<()>,
}

/// Loads what the gateway can't start without: tools and environments, and what its routes need. Policies are loaded by the
/// start, which goes on without.
///
/// # Errors
/// Everything that is wrong with any of it.
pub(crate) fn load(config: &Config) -> Result<Catalogue, Vec<Diagnostic>> {
    match (load::catalogue(config), unusable_routes(config)) {
        (Ok(catalogue), routes) if routes.is_empty() => Ok(catalogue),
        (loaded, routes) => Err(loaded.err().into_iter().flatten().chain(routes).collect()),
    }
}

/// Loads everything that `config` leads to, the folder of policies included.
///
/// # Errors
/// Everything that is wrong with any of it.
pub(crate) fn check(config: &Config) -> Result<PolicySet, Vec<Diagnostic>> {
    match (load::all(config), unusable_routes(config)) {
        (Ok((_, policies)), routes) if routes.is_empty() => Ok(policies),
        (loaded, routes) => Err(loaded.err().into_iter().flatten().chain(routes).collect()),
    }
}

/// Routes whose certificates, keys or credentials can't be used.
fn unusable_routes(config: &Config) -> Vec<Diagnostic> {
    if enforcement(config).check().is_ok() {
        return Vec::new();
    }
    let named = enforce::Settings { routes: Vec::new(), ..enforcement(config) };
    if let Err(error) = named.check() {
        let (file, place) = &config.interception.at;
        let key = match error {
            enforce::SettingsError::Named(_) => "interception.hosts",
            _ => "interception.upstream_ca",
        };
        return vec![Diagnostic::error(file, *place, key, error.to_string())];
    }
    let why = |upstream: &RouteUpstream, file: &str, place, key: &str| {
        let settings = enforce::Settings { routes: vec![upstream.clone()], ..enforce::Settings::default() };
        let error = settings.check().err()?;
        Some(Diagnostic::error(file, place, key, error.to_string()))
    };
    let routes = config.routes.iter().map(|route| why(&route.upstream, &route.file, route.place, "routes"));
    let servers = config.mcp.iter().map(|server| why(server.upstream.as_ref()?, &server.file, server.place, "mcp"));
    routes.chain(servers).flatten().collect()
}

/// Where routes and MCP servers lead.
fn upstreams(config: &Config) -> Vec<RouteUpstream> {
    let servers = config.mcp.iter().filter_map(|server| server.upstream.clone());
    config.routes.iter().map(|route| route.upstream.clone()).chain(servers).collect()
}

/// What the enforcer is told.
fn enforcement(config: &Config) -> enforce::Settings {
    enforce::Settings {
        routes: upstreams(config),
        overrides: config.upstreams.clone(),
        private_networks: config.private_networks,
        proxy: config.proxy.clone(),
        named: config.interception.named.clone(),
        named_roots: config.interception.upstream_ca.clone().map_or(Roots::System, Roots::SystemAnd),
        ..enforce::Settings::default()
    }
}

/// Starts the gateway. When it returns, every listener takes calls.
///
/// # Errors
/// What can't be opened, made or bound.
pub(crate) async fn start(config: Config, catalogue: Catalogue) -> Result<Running> {
    let data = DataDir::open_when_free(&config).await?;
    // One that a killed gateway left: its port may be anybody's by now.
    data::remove_note(&config.data_dir)?;
    data.store.keep_calls(config.calls).await?;
    let enforcer = Enforcer::new(enforcement(&config), data.store.clone(), data.events.clone())?;
    let defined = catalogue.defined();
    let settings = reload::settings(&config, data.store.clone(), data.events.clone(), move || Ok(defined.clone()));
    let versions = Versions::open(settings).await?;
    let remote = config.bundle.as_ref().map(|bundle| Remote::new(&config, bundle)).transpose()?;
    // Before it is read, so that an edit meanwhile is seen.
    let folder = remote.is_none().then(|| config.policies.clone());
    let poke = remote.as_ref().map(Remote::poke);
    let reloader = Reloader::new(folder, poke, versions.clone(), data.store.clone(), data.events.clone());
    versions.start(remote.as_ref().and_then(Remote::kept)).await?;
    let governing = versions.would_govern();
    let (policy_version, in_force) = (governing.active.version().to_owned(), versions.in_force());
    let refused = versions.is_refused() || !in_force;
    let pipeline = Pipeline::new(Parts {
        identify: Arc::clone(&data.identify),
        catalogue,
        governing,
        store: data.store.clone(),
        enforcer: enforcer.clone(),
        events: data.events.clone(),
        body_limit: config.limits.body,
        engine_check: config.engine_check,
    });
    versions.govern(pipeline.clone());
    let interception = interception(&config)?;
    let gateway = Gateway::bind(listeners(&config)?).await?;
    let addresses = gateway.addresses();
    enforcer.guard_own(addresses.iter().map(|bound| bound.address).collect());
    let mut intercept =
        Intercept::new(pipeline.clone(), routes(&config), pace(&config)).with_mcp(desk(&config, &data.store));
    if let Some(interception) = interception {
        intercept = intercept.intercepting(interception);
    }
    let authorizer = ExtAuthz::new(intercept.clone(), config.limits.body);
    let decisions = decisions(&config, pipeline.clone(), &addresses);
    let router = api::router(api_state(&data, pipeline, versions.clone(), remote.as_ref(), decisions));
    if let Some(api) = address_of(&addresses, "api") {
        data::leave_note(&config.data_dir, api)?;
    }
    let stop = data.stop.clone();
    let followed = remote.map(|remote| tokio::spawn(remote.follow(versions, data.events.clone(), stop.clone())));
    let served = gateway.run(intercept, router, authorizer, stop.clone());
    let task = tokio::spawn(finish(served, followed, enforcer, data));
    let (data_dir, mode) = (config.data_dir, config.mode);
    Ok(Running { addresses, policy_version, in_force, refused, mode, reloader: Some(reloader), stop, data_dir, task })
}

/// Serves until told to stop, then ends in order: no new calls, calls under way, the store, the last spans.
async fn finish(served: impl Future<Output = ()>, followed: Option<JoinHandle<()>>, enforcer: Enforcer, data: DataDir) {
    served.await;
    if let Some(followed) = followed
        && let Err(error) = followed.await
    {
        tracing::error!(%error, "nobody asked for bundles any more");
    }
    enforcer.drain(DRAIN).await;
    data.close().await;
}

impl Running {
    /// Where a listener is.
    pub(crate) fn address(&self, listening: &str) -> Option<SocketAddr> {
        address_of(&self.addresses, listening)
    }

    /// Ends when the gateway does, which it only does when stopped.
    pub(crate) async fn ended(&mut self) {
        // How it ended is `stop`'s to tell.
        let _ = (&mut self.task).await;
    }

    /// Stops taking calls, lets those under way end, closes the store.
    pub(crate) async fn stop(self) -> Result<()> {
        // While the API's port is still ours: whoever takes it next must not be sent an operator's token.
        if let Err(error) = data::remove_note(&self.data_dir) {
            tracing::warn!(%error, "the note of this gateway stays behind");
        }
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

fn address_of(addresses: &[Bound], listening: &str) -> Option<SocketAddr> {
    addresses.iter().find(|bound| bound.listening == listening).map(|bound| bound.address)
}

fn listeners(config: &Config) -> Result<gateway::Settings> {
    let proxy_tls = match config.listen.proxy_tls {
        None => None,
        Some(address) => {
            let now = Timestamp::now();
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            let own = address.ip().to_string();
            if !address.ip().is_unspecified() && !names.contains(&own) {
                names.push(own);
            }
            Some((address, ca(config, now)?.server_config(&names, now)?))
        }
    };
    let room = Room::make(config.limits.connections);
    let per_client = config.limits.connections_per_client;
    Ok(gateway::Settings {
        proxy: Some(config.listen.proxy),
        proxy_tls,
        api: Some(config.listen.api),
        ext_authz: config.listen.ext_authz,
        connections: room.proxy,
        connections_per_client: per_client.unwrap_or_else(|| room.proxy.div_ceil(PER_CLIENT_SHARE)),
        api_connections: room.api,
        header_limit: config.limits.header,
        head_time: config.limits.head_time,
        send_idle: config.limits.send_idle,
        drain: DRAIN,
    })
}

/// The CA that signs what Aegis shows.
fn ca(config: &Config, now: Timestamp) -> Result<Ca> {
    Ok(match &config.interception.ca {
        Some((certificate, key)) => Ca::read(certificate, key)?,
        None => Ca::open(&config.data_dir, now)?,
    })
}

fn interception(config: &Config) -> Result<Option<Interception>> {
    let config::Interception { hosts, ca, .. } = config.interception.clone();
    if hosts.is_empty() {
        return Ok(None);
    }
    let leaves = match ca {
        Some((certificate, key)) => Leaves::given(certificate, key)?,
        None => Leaves::own(config.data_dir.clone(), Timestamp::now())?,
    };
    Ok(Some(Interception { hosts, leaves }))
}

fn desk(config: &Config, store: &Store) -> McpDesk {
    let servers = config.mcp.iter().map(|server| McpServer::new(server.settings.clone(), store.clone()));
    McpDesk::new(servers, config.limits.hold, None)
}

fn pace(config: &Config) -> Pace {
    let rate = u32::try_from(config.limits.body_rate).unwrap_or(u32::MAX);
    Pace { idle: config.limits.body_idle, rate }
}

fn routes(config: &Config) -> impl Iterator<Item = intercept::Route> {
    config.routes.iter().map(|route| intercept::Route {
        name: route.upstream.name.clone(),
        tool: route.tool.clone(),
        cluster: route.cluster.clone(),
        upstream: route.upstream.upstream.destination(),
        credential: route.upstream.credential.is_some(),
        sigv4: match &route.upstream.credential {
            Some(Credential::SigV4(keys)) => Some(Arc::new(SigV4::clone(keys))),
            _ => None,
        },
        refuses_foreign: route.refuses_foreign,
    })
}

/// The decision API, at the address that callers know it by.
fn decisions(config: &Config, pipeline: Pipeline, addresses: &[Bound]) -> Option<Decisions> {
    let own = address_of(addresses, "api").map(|address| format!("http://{address}"));
    Some(Decisions::new(pipeline, &config.decision_api.public_url.clone().or(own)?))
}

fn api_state(
    data: &DataDir,
    pipeline: Pipeline,
    versions: Versions,
    remote: Option<&Remote>,
    decisions: Option<Decisions>,
) -> ApiState {
    ApiState {
        store: data.store.clone(),
        identify: Arc::clone(&data.identify),
        operator: data.operator.clone(),
        policies: Arc::new(move || pipeline.policies()),
        versions,
        bundles: Arc::clone(&data.bundles),
        source: remote.map(Remote::status),
        events: data.events.clone(),
        decisions,
        unproven: Unproven::new(data.store.clone(), data.events.clone()),
        metrics_public: false,
    }
}
