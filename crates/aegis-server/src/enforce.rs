//! Forwards what was admitted, and nothing else: [`Enforcer::forward`] consumes an [`Admitted`]. (What a tool is asked about a call
//! before it is judged is no effect: see [`lookup`].)
//!
//! Each call runs in a task of its own, so a client that hangs up can't cancel an effect or its record: the task waits for
//! the head of the upstream's answer whatever the client does, and settles the call when its body, upgrade or tunnel ends.
//!
//! Invariants:
//! - Nothing is sent twice. A request is repeated only when a pooled connection was closed before anything was written.
//! - An agent-named destination is connected at the addresses that [`Enforcer::resolve`] checked; nothing resolves again.
//! - Upstream certificates are always verified.
//! - Memory per call is flat: bodies are streamed, one frame at a time.
//! - Once an agent or its token is withdrawn, what it has under way is cut off: bodies, upgrades and tunnels too.
//! - When a token ends, what nobody reads ends with it: tunnels and upgraded connections. An answer that was decided on goes on.
//!
//! Deliberately absent: rules (who may go where is decided), retries, and any way to verify less.

mod body;
mod channel;
mod connect;
mod egress;
mod exchange;
mod headers;
mod lookup;
mod presented;
mod profile;
mod proxy;
mod raw;
mod relay;
mod settings;
mod shards;
pub(crate) mod sigv4;
#[cfg(test)]
mod testing;
pub(crate) mod tls;
mod trailers;
mod tunnel;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aegis_core::audit::{Outcome, Used};
use aegis_core::call::Destination;
use aegis_core::cost::{Cost, Metering};
use aegis_core::decide::Explanation;
use aegis_core::problem::Violation;
use aegis_core::usage::{Dialect, Usage};
use aegis_store::{Admitted, Receipt, Store};
use bytes::Bytes;
pub(crate) use channel::Channel;
pub(crate) use headers::{is_credential, is_grpc};
use http::header::{HeaderName, HeaderValue};
use http_body_util::combinators::BoxBody;
pub use lookup::Looked;
pub use proxy::{BadProxy, Direct, UpstreamProxy};
pub use settings::{
    ClientCertificate, Credential, Exec, NamedUpstream, PrivateNetworks, Protocol, Roots, RouteUpstream, Secret,
    Settings, SettingsError, Timeouts, Tls, Upstream,
};
pub use sigv4::{KeyPair, SigV4};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::egress::Egress;
use self::exchange::Unfinished;
use crate::events::Events;
use crate::trace::TraceContext;

/// An error on a body's way.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer, or of a request that is streamed.
pub type AnyBody = BoxBody<Bytes, BodyError>;

/// How long settling may take once a drain's deadline has passed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where an admitted call goes.
#[derive(Debug, Clone)]
pub enum Toward {
    /// A route's upstream, by the route's name.
    Route(String),
    /// A destination that the agent named, at the addresses that were checked. Nothing resolves the name again.
    Addresses(Vec<SocketAddr>),
    /// A destination that the agent named, through the proxy, which is asked for this `host:port`.
    Proxied(String),
}

/// The parts of a request that can't wait in a permit: its live connection.
#[derive(Default)]
pub struct Live {
    /// The body, where the call says [`aegis_core::call::Body::Streamed`].
    pub body: Option<AnyBody>,
    /// The client's side of an upgrade or tunnel. An upgrade is passed on when the call's headers still have `Upgrade`
    /// and it names `websocket` or `SPDY/3.1`; else the request goes on without one.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// When what nobody reads any more, a tunnel or an upgraded connection, is cut: with the credential that opened it.
    pub until: Option<tokio::time::Instant>,
}

/// How forwarding failed. The words are for callers and records: no secret, no parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The upstream refused, reset, or spoke nonsense: 502.
    #[error("{0}")]
    Unreachable(String),
    /// The upstream took too long: 504.
    #[error("{0}")]
    TimedOut(String),
    /// Nothing was sent, because nobody could be connected to: 502.
    #[error("{0}")]
    NotSent(String),
    /// The client's own body was malformed, stopped, or came too slowly: 400.
    #[error("{0}")]
    BodyBroke(String),
}

impl Failure {
    /// [`Outcome::result`].
    fn result(&self) -> &'static str {
        match self {
            Self::NotSent(_) => Outcome::NOT_SENT,
            Self::Unreachable(_) | Self::TimedOut(_) | Self::BodyBroke(_) => "failed",
        }
    }
}

/// Connections to upstreams, and the tasks that settle. Cheap to clone.
#[derive(Clone)]
pub struct Enforcer {
    inner: Arc<Inner>,
}

struct Inner {
    egress: Egress,
    store: Store,
    events: Events,
    lookups: lookup::Lookups,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// What has moved so far, shared between a call's bodies and the task that settles it.
#[derive(Debug, Default)]
struct Meter {
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    /// The answer's status; 0 before there is one.
    status: AtomicU16,
    /// In whose words the answer tells what it used, where it does; and what it said, once it has ended.
    words: Option<Dialect>,
    usage: Arc<OnceLock<Usage>>,
    /// Cancelled when the agent may act no longer: the bodies break off.
    cut: CancellationToken,
}

impl Meter {
    fn moved(&self) -> u64 {
        self.up.load(Ordering::Relaxed).wrapping_add(self.down.load(Ordering::Relaxed))
    }
}

/// How a call ended: [`Outcome::result`] and [`Outcome::error`].
struct Ended {
    result: &'static str,
    error: Option<String>,
}

impl Settings {
    /// Whether an enforcer can be made with these settings.
    ///
    /// # Errors
    /// What of them can't be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        Egress::new(self.clone(), connect::system_lookup()).map(drop)
    }
}

impl Enforcer {
    /// An enforcer with these settings. Connects to nothing yet.
    ///
    /// # Errors
    /// What of the settings can't be used: a certificate, a key, a credential, a name.
    pub fn new(settings: Settings, store: Store, events: Events) -> Result<Self, SettingsError> {
        let egress = Egress::new(settings, connect::system_lookup())?;
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        Ok(Self { inner: Arc::new(Inner { egress, store, events, lookups: lookup::Lookups::new(), tasks, stopping }) })
    }

    /// Replaces the addresses of Aegis's own listeners, once they are bound and their ports are known.
    pub fn guard_own(&self, addresses: Vec<SocketAddr>) {
        self.inner.egress.dialer.own.store(Arc::new(addresses));
    }

    /// Where a named destination may be reached: overrides first, else resolved once, every address checked; or through the proxy.
    /// An IP literal passes the same check; the policy has listed it, or nobody would ask.
    ///
    /// # Errors
    /// The guard that refuses it: rule `egress_guard`, reason `private_network`, `own_address` or `unresolvable`.
    pub async fn resolve(&self, destination: &Destination) -> Result<Toward, Violation> {
        self.inner.egress.resolve(destination).await
    }

    /// Forwards an admitted call in a task of its own, which settles it even if the client hangs up; returns the answer as
    /// soon as its head is there.
    ///
    /// # Errors
    /// The upstream's failure; it is settled already.
    pub async fn forward(
        &self,
        admitted: Admitted,
        live: Live,
        toward: Toward,
        trace: TraceContext,
        span_id: [u8; 8],
    ) -> Result<http::Response<AnyBody>, Failure> {
        let (sender, receiver) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move { inner.run(admitted, live, toward, trace, span_id, sender).await });
        receiver.await.unwrap_or_else(|_| Err(Failure::Unreachable("the call ended without an answer".to_owned())))
    }

    /// Waits until every call has settled; at the deadline the rest is cut off, and recorded as such.
    pub async fn drain(&self, deadline: Duration) {
        self.inner.tasks.close();
        if timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            self.inner.stopping.cancel();
            if timeout(LAST_WORDS, self.inner.tasks.wait()).await.is_err() {
                let left = self.inner.tasks.len().to_string();
                self.inner.events.alarm("calls were cut off before their outcome was recorded", &left);
            }
        }
    }
}

impl fmt::Debug for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforcer").field("calls", &self.inner.tasks.len()).finish_non_exhaustive()
    }
}

impl Inner {
    async fn run(
        &self,
        admitted: Admitted,
        live: Live,
        toward: Toward,
        trace: TraceContext,
        span_id: [u8; 8],
        sender: oneshot::Sender<Result<http::Response<AnyBody>, Failure>>,
    ) {
        let (started, until) = (Instant::now(), live.until);
        let explanation = admitted.explanation().clone();
        let (call, receipt) = admitted.redeem();
        let metering = call.metering;
        let meter = Meter { words: metering.usage, ..Meter::default() };
        let settle = |ended: Ended| {
            let outcome = outcome(ended, &meter, metering, started.elapsed());
            self.settle(&explanation, &trace, span_id, receipt, outcome)
        };
        let fields = trace_fields(&trace, span_id);
        let mut withdrawn = std::pin::pin!(self.withdrawn(&explanation));
        let opened = tokio::select! {
            () = &mut withdrawn => {
                meter.cut.cancel();
                let words = "the agent's identity was withdrawn before the upstream answered".to_owned();
                Err((Ended::withdrawn("unknown"), Failure::Unreachable(words)))
            }
            opened = self.egress.open(call, live, &toward, &fields, &meter) => opened.map_err(|failure| {
                let ended = Ended { result: failure.result(), error: Some(failure.to_string()) };
                (ended, failure)
            }),
            () = self.stopping.cancelled() => {
                Err((Ended::stopped(), Failure::Unreachable("Aegis stopped before the upstream answered".to_owned())))
            }
        };
        match opened {
            Err((ended, failure)) => {
                settle(ended).await;
                // A client that has gone needs no answer.
                let _ = sender.send(Err(failure));
            }
            Ok(opened) => {
                // If the client has gone, the answer is dropped here, and its body tells that it was abandoned.
                let _ = sender.send(Ok(opened.response));
                let lapsed = opened.rest.is_unread().then_some(until).flatten();
                let ended = tokio::select! {
                    () = at(lapsed) => {
                        meter.cut.cancel();
                        Ended { result: "forwarded", error: Some("token_expired".to_owned()) }
                    }
                    finished = opened.rest.finish(&meter, self.egress.timeouts()) => finished.into(),
                    () = &mut withdrawn => {
                        meter.cut.cancel();
                        Ended::withdrawn("forwarded")
                    }
                    () = self.stopping.cancelled() => Ended::stopped(),
                };
                settle(ended).await;
            }
        }
    }

    /// Ends when the agent of a call may act no longer.
    async fn withdrawn(&self, explanation: &Explanation) {
        match &explanation.agent {
            Some(agent) => self.store.withdrawn(agent).await,
            None => std::future::pending().await,
        }
    }

    async fn settle(
        &self,
        explanation: &Explanation,
        trace: &TraceContext,
        span_id: [u8; 8],
        receipt: Receipt,
        outcome: Outcome,
    ) {
        self.events.settled(explanation, trace, span_id, &outcome);
        if let Err(error) = self.store.settle(receipt, outcome).await {
            let detail = format!("{}: {error}", explanation.decision_id);
            self.events.alarm("an outcome could not be recorded", &detail);
        }
    }
}

/// Ends at a time, or never.
async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Ended {
    /// Cut off by a drain: what reached the upstream isn't known.
    fn stopped() -> Self {
        Self { result: "unknown", error: Some("gateway_stopped".to_owned()) }
    }

    /// Cut off because the agent was suspended or removed, or its token revoked.
    fn withdrawn(result: &'static str) -> Self {
        Self { result, error: Some("identity_withdrawn".to_owned()) }
    }
}

impl From<Result<(), Unfinished>> for Ended {
    fn from(finished: Result<(), Unfinished>) -> Self {
        match finished {
            Ok(()) => Self { result: "forwarded", error: None },
            Err(Unfinished::ClientLeft) => Self { result: "forwarded", error: Some("client_left".to_owned()) },
            Err(Unfinished::Broken(why)) => Self { result: "failed", error: Some(why) },
        }
    }
}

fn outcome(ended: Ended, meter: &Meter, metering: Metering, duration: Duration) -> Outcome {
    let status = meter.status.load(Ordering::Relaxed);
    let usage = meter.usage.get().filter(|_| ended.error.is_none());
    let mut outcome = Outcome {
        result: ended.result.to_owned(),
        status: (status != 0).then_some(status),
        error: ended.error,
        duration_ms: duration.as_secs_f64() * 1000.0,
        bytes_up: meter.up.load(Ordering::Relaxed),
        bytes_down: meter.down.load(Ordering::Relaxed),
        usage: None,
        cost: None,
    };
    // What the tool refused used nothing; of what it began nobody knows, unless it said so to the end.
    if metering.usage.is_some() && !outcome.refunds() {
        outcome.usage = Some(usage.copied().map_or(Used::Unknown, Used::Tokens));
        let known = metering.price.zip(usage).map(|(price, usage)| price.of(usage));
        outcome.cost = Some(known.unwrap_or(Cost::Unknown));
    }
    outcome
}

/// `traceparent` with this call's span as the parent, and the caller's `tracestate`.
fn trace_fields(trace: &TraceContext, span_id: [u8; 8]) -> Vec<(HeaderName, HeaderValue)> {
    let fields = [("traceparent", trace.traceparent(span_id)), ("tracestate", trace.state.clone())];
    let present = fields.into_iter().filter(|(_, text)| !text.is_empty());
    let parsed = present.map(|(name, text)| Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?)));
    parsed.flatten().collect()
}
