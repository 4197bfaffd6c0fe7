//! Interception: the CONNECT of a listed host is answered by Aegis itself, which speaks TLS in the host's name and takes each
//! request inside for a call of its own.
//!
//! Invariants: nothing goes upstream for the CONNECT, so it needs no permit; every request inside is identified anew by the
//! credential that the CONNECT brought, and leads nowhere but to the CONNECT's host and port; what isn't TLS to that host is
//! closed and recorded; without a usable CA the CONNECT is refused, never tunnelled. When the credential ends, the connection takes
//! no more requests; when it is withdrawn, it is cut.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::call::Destination;
use aegis_core::describe::Unreadable;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming as WireBody;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;

use super::listener::Listener;
use super::{HostPattern, Intercept, unreadable};
use crate::ca::Leaves;
use crate::enforce::AnyBody;
use crate::identify::Credential;
use crate::pipeline::{Client, EnforcedBy, Incoming, Way, random};
use crate::sni;
use crate::trace::TraceContext;

/// Which hosts are intercepted, and in whose name.
#[derive(Debug)]
pub struct Interception {
    /// The hosts; the first that matches counts.
    pub hosts: Vec<InterceptedHost>,
    /// Their certificates.
    pub leaves: Leaves,
}

/// Hosts that are intercepted, and what the operator says is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptedHost {
    /// Which.
    pub pattern: HostPattern,
    /// The tool; without, the catalogue says which by the host.
    pub tool: Option<String>,
    /// The operator's name for the cluster.
    pub cluster: Option<String>,
    /// Whether Aegis proves itself there: then nothing that the agent says about itself gets there.
    pub credential: bool,
    /// Whether a call that brings a credential for the host is refused.
    pub refuses_foreign: bool,
}

/// What the requests of one intercepted connection share.
pub(super) struct Via {
    pub(super) destination: Destination,
    pub(super) tool: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) injected: bool,
    pub(super) refuses_foreign: bool,
    pub(super) credential: Credential,
    /// Cancelled when the connection is to take no more requests.
    pub(super) over: CancellationToken,
}

impl Interception {
    fn of(&self, destination: &Destination) -> Option<&InterceptedHost> {
        self.hosts.iter().find(|host| host.pattern.matches(destination))
    }
}

/// What is needed to answer the CONNECT of an intercepted host.
pub(super) struct Intercepted {
    interception: Arc<Interception>,
    listener: Option<Listener>,
    host: InterceptedHost,
    destination: Destination,
}

impl Intercept {
    /// The host of an intercepted CONNECT.
    pub(super) fn intercepted(&self, incoming: &Incoming) -> Option<Intercepted> {
        let Ok(Way::Tunnel { destination }) = &incoming.way else { return None };
        let interception = Arc::clone(self.interception.as_ref()?);
        let host = interception.of(destination)?.clone();
        let (listener, destination) = (self.listener.clone(), destination.clone());
        Some(Intercepted { interception, listener, host, destination })
    }

    /// Answers the CONNECT of an intercepted host.
    pub(super) async fn connect(&self, mut incoming: Incoming, found: Intercepted) -> Response<AnyBody> {
        let Intercepted { interception, listener, host, destination } = found;
        let (Some(client), Some(listener)) = (incoming.upgrade.take(), listener) else {
            return crate::answer::undecided(StatusCode::BAD_REQUEST, "This connection can't become a tunnel.");
        };
        let (credential, head) = (incoming.credential.clone(), incoming.head.clone());
        let (pipeline, name) = (self.pipeline.clone(), destination.host.clone());
        let certificate =
            move || interception.leaves.config(&name, Timestamp::now()).map_err(|error| error.to_string());
        // A task of its own: a client that hangs up must not stop the record of a refusal.
        let opened = self.calls.spawn(async move { pipeline.open(incoming, certificate).await });
        let (agent, config) = match opened.await {
            Ok(Ok(opened)) => opened,
            Ok(Err(response)) => return response,
            Err(error) => {
                tracing::error!(%error, "a connection ended without an answer");
                return crate::answer::undecided(StatusCode::SERVICE_UNAVAILABLE, "The gateway failed to decide this.");
            }
        };
        let InterceptedHost { tool, cluster, credential: injected, refuses_foreign, .. } = host;
        let over = listener.drain.child_token();
        let via = Via { destination, tool, cluster, injected, refuses_foreign, credential, over };
        let connection = Connection { intercept: self.clone(), listener, via: Arc::new(via), agent, head };
        let connections = connection.listener.connections.clone();
        connections.spawn(connection.run(client, config));
        Response::new(Empty::new().map_err(|never| match never {}).boxed())
    }

    /// Answers a request inside of an intercepted connection.
    async fn answer_within(&self, request: Request<WireBody>, via: &Via) -> Response<AnyBody> {
        let response = self.run(self.take_in_within(request, via)).await;
        let headers = response.headers();
        let says = |name: &str, text: &str| headers.get(name).is_some_and(|value| value == text);
        let refused = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || (says("aegis-decision", "deny") && says("grpc-status", "16"));
        if refused {
            // The credential came with the CONNECT: a better one has to come with another.
            via.over.cancel();
        }
        response
    }
}

/// One intercepted connection, from its CONNECT's 200 to its end.
struct Connection {
    intercept: Intercept,
    listener: Listener,
    via: Arc<Via>,
    agent: Agent,
    /// The CONNECT's, for the record of a connection that brings no request.
    head: http::request::Parts,
}

impl Connection {
    async fn run(self, client: OnUpgrade, config: Arc<ServerConfig>) {
        let (abort, over) = (self.listener.abort.clone(), self.via.over.clone());
        let pipeline = self.intercept.pipeline.clone();
        let until = pipeline.holds_until(&self.via.credential, Timestamp::now());
        let agent = self.agent.clone();
        let lapse = async {
            sleep_until(until).await;
            over.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.serve(client, config) => {}
            () = abort.cancelled() => {}
            () = pipeline.withdrawn(&agent) => {}
            () = lapse => {}
        }
    }

    async fn serve(self, client: OnUpgrade, config: Arc<ServerConfig>) {
        let within = self.listener.head_time;
        let Ok(Ok(client)) = timeout(within, client).await else { return };
        let stream = match handshake(TokioIo::new(client), config, &self.via.destination.host, within).await {
            Ok(stream) => stream,
            Err(Refused::ClientLeft) => return,
            Err(Refused::Unread(why)) => return self.record(why).await,
        };
        let listener = Listener { drain: self.via.over.clone(), ..self.listener };
        let address = self.head.extensions.get::<Client>().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.0);
        let (intercept, via) = (self.intercept, self.via);
        let service = service_fn(move |request| {
            let (intercept, via) = (intercept.clone(), Arc::clone(&via));
            async move { Ok::<_, Infallible>(intercept.answer_within(request, &via).await) }
        });
        listener.decrypted(stream, address, service).await;
    }

    /// Puts on record that the connection was closed before it brought a request.
    async fn record(self, why: Unreadable) {
        let incoming = Incoming {
            way: Err(why),
            via: "intercepted",
            enforced_by: EnforcedBy::Gateway,
            fits: None,
            proxied: true,
            credential: self.via.credential.clone(),
            override_token: None,
            trace: TraceContext::join(&self.head.headers, random()),
            head: self.head,
            body: Empty::new().map_err(|never| match never {}).boxed(),
            upgrade: None,
        };
        // There is nobody to show the answer to.
        drop(self.intercept.run(incoming).await);
    }
}

/// Why there was no handshake.
enum Refused {
    /// The client went away without a word.
    ClientLeft,
    /// What it said, for the record.
    Unread(Unreadable),
}

async fn handshake<T>(
    stream: T,
    config: Arc<ServerConfig>,
    host: &str,
    within: Duration,
) -> Result<tokio_rustls::server::TlsStream<T>, Refused>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let refused = |reason: &str, message: &str| Refused::Unread(unreadable(reason, message));
    let late = |_| refused("tls_timeout", "the client began no TLS in the tunnel in time");
    let start = timeout(within, LazyConfigAcceptor::new(Acceptor::default(), stream)).await.map_err(late)?;
    let start = start.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => refused("not_tls", "what came in the tunnel is no TLS"),
        _ => Refused::ClientLeft,
    })?;
    if !sni::agrees(start.client_hello().server_name(), host) {
        return Err(refused("sni_mismatch", "the TLS in the tunnel is for another host than the CONNECT"));
    }
    let stream = timeout(within, start.into_stream(config)).await.map_err(late)?;
    stream.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) if distrusts(*alert) => {
            refused("ca_not_trusted", "the client doesn't trust Aegis's CA: give it what `aegis ca export` prints")
        }
        Some(_) => refused("tls_failed", "the client and Aegis found no TLS that both speak"),
        None => Refused::ClientLeft,
    })
}

/// What clients say that don't know the CA.
fn distrusts(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(alert, Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown)
}

#[cfg(test)]
mod tests;
