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
use aegis_server::api::{self, ApiState};
use aegis_server::ca::Ca;
use aegis_server::candidate::Candidate;
use aegis_server::enforce::{self, Enforcer};
use aegis_server::gateway::{self, Bound, Gateway};
use aegis_server::intercept::{self, Intercept};
use aegis_server::pipeline::{Parts, Pipeline};
use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Route};
use crate::data::{self, DataDir};
use crate::descriptors::Room;
use crate::load;
use crate::reload::Reloader;
use crate::remote::Remote;

/// How long calls under way may take once the gateway is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a body may pause.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// The share of all connections that one client's address may have.
const PER_CLIENT_SHARE: usize = 2;

/// What a configuration leads to on disk, loaded and checked.
pub(crate) struct Loaded {
    /// Tools and the environment map.
    pub(crate) catalogue: Catalogue,
    /// The policies.
    pub(crate) policies: PolicySet,
}

/// A gateway that takes calls.
pub(crate) struct Running {
    /// Its listeners.
    pub(crate) addresses: Vec<Bound>,
    /// The policies in force at the start.
    pub(crate) policy_version: String,
    /// The mode that holds where a policy doesn't say.
    pub(crate) mode: Mode,
    /// Loads the policies anew.
    pub(crate) reloader: Arc<Reloader>,
    stop: CancellationToken,
    data_dir: PathBuf,
    task: JoinHandle<()>,
}

/// Loads everything that `config` leads to.
///
/// # Errors
/// Everything that is wrong with any of it.
pub(crate) fn load(config: &Config) -> Result<Loaded, Vec<Diagnostic>> {
    match (load::all(config), unusable_routes(config)) {
        (Ok((catalogue, policies)), routes) if routes.is_empty() => Ok(Loaded { catalogue, policies }),
        (loaded, routes) => Err(loaded.err().into_iter().flatten().chain(routes).collect()),
    }
}

/// Routes whose certificates, keys or credentials can't be used.
fn unusable_routes(config: &Config) -> Vec<Diagnostic> {
    if enforcement(config).check().is_ok() {
        return Vec::new();
    }
    let why = |route: &Route| {
        let settings = enforce::Settings { routes: vec![route.upstream.clone()], ..enforce::Settings::default() };
        let error = settings.check().err()?;
        Some(Diagnostic::error(&route.file, route.place, "routes", error.to_string()))
    };
    config.routes.iter().filter_map(why).collect()
}

/// What the enforcer is told.
fn enforcement(config: &Config) -> enforce::Settings {
    enforce::Settings {
        routes: config.routes.iter().map(|route| route.upstream.clone()).collect(),
        overrides: config.upstreams.clone(),
        private_networks: config.private_networks,
        ..enforce::Settings::default()
    }
}

/// Starts the gateway. When it returns, every listener takes calls.
///
/// # Errors
/// What can't be opened, made or bound.
pub(crate) async fn start(config: Config, loaded: Loaded) -> Result<Running> {
    let data = DataDir::open(&config).await?;
    // One that a killed gateway left: its port may be anybody's by now.
    data::remove_note(&config.data_dir)?;
    data.store.keep_calls(config.calls).await?;
    let enforcer = Enforcer::new(enforcement(&config), data.store.clone(), data.events.clone())?;
    let (policy_version, mode) = (loaded.policies.version().to_owned(), loaded.policies.mode());
    let (policies, defined) = (loaded.policies.len(), loaded.catalogue.defined());
    let pipeline = Pipeline::new(Parts {
        identify: Arc::clone(&data.identify),
        catalogue: loaded.catalogue,
        policies: loaded.policies,
        store: data.store.clone(),
        enforcer: enforcer.clone(),
        events: data.events.clone(),
        body_limit: config.limits.body,
        engine_check: config.engine_check,
    });
    let gateway = Gateway::bind(listeners(&config)?).await?;
    let addresses = gateway.addresses();
    enforcer.guard_own(addresses.iter().map(|bound| bound.address).collect());
    let detail = format!("{policies} policies");
    data.store.record_policy(&policy_version, "loaded", &detail).await?;
    let poke = Arc::new(Notify::new());
    let remote = config.bundle.as_ref().map(|bundle| Remote::new(&config, bundle, Arc::clone(&poke))).transpose()?;
    let poke = remote.is_some().then_some(poke);
    let reloader = Reloader::new(&config, defined, pipeline.clone(), data.store.clone(), data.events.clone(), poke);
    let reloader = Arc::new(reloader);
    let intercept = Intercept::new(pipeline.clone(), routes(&config), BODY_IDLE);
    let router = api::router(api_state(&data, pipeline, &reloader, remote.as_ref()));
    if let Some(api) = address_of(&addresses, "api") {
        data::leave_note(&config.data_dir, api)?;
    }
    let stop = data.stop.clone();
    let followed =
        remote.map(|remote| tokio::spawn(remote.follow(Arc::clone(&reloader), data.events.clone(), stop.clone())));
    let served = gateway.run(intercept, router, stop.clone());
    let data_dir = config.data_dir;
    let task = tokio::spawn(finish(served, followed, enforcer, data));
    Ok(Running { addresses, policy_version, mode, reloader, stop, data_dir, task })
}

/// Serves until told to stop, then ends in order: no new calls, calls under way, the store, the last spans.
async fn finish(
    served: impl Future<Output = ()>,
    followed: Option<JoinHandle<()>>,
    enforcer: Enforcer,
    data: DataDir,
) {
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
            Some((address, Ca::open(&config.data_dir, now)?.server_config(&names, now)?))
        }
    };
    let room = Room::make(config.limits.connections);
    Ok(gateway::Settings {
        proxy: Some(config.listen.proxy),
        proxy_tls,
        api: Some(config.listen.api),
        connections: room.proxy,
        connections_per_client: room.proxy.div_ceil(PER_CLIENT_SHARE),
        api_connections: room.api,
        header_limit: config.limits.header,
        head_time: HEAD_TIME,
        drain: DRAIN,
    })
}

fn routes(config: &Config) -> impl Iterator<Item = intercept::Route> {
    config.routes.iter().map(|route| intercept::Route {
        name: route.upstream.name.clone(),
        tool: route.tool.clone(),
        cluster: route.cluster.clone(),
        host: route.upstream.upstream.host.clone(),
        credential: route.upstream.credential.is_some(),
    })
}

fn api_state(data: &DataDir, pipeline: Pipeline, reloader: &Arc<Reloader>, remote: Option<&Remote>) -> ApiState {
    let (reloader, refused, loader) = (Arc::clone(reloader), Arc::clone(reloader), Arc::clone(reloader));
    let candidate = Candidate::of(pipeline.clone(), Arc::new(move |sources| loader.compile(sources)));
    ApiState {
        store: data.store.clone(),
        identify: Arc::clone(&data.identify),
        operator: data.operator.clone(),
        policies: Arc::new(move || pipeline.policies()),
        refused: Arc::new(move || refused.refused()),
        reload: Arc::new(move || reloader.reload()),
        bundles: Arc::clone(&data.bundles),
        source: remote.map(Remote::status),
        events: data.events.clone(),
        metrics_public: false,
        candidate: Some(candidate),
    }
}
