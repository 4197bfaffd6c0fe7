//! A whole gateway on loopback: two routes and a forward proxy in front of one remembering tool.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aegis_core::audit::Event;
use aegis_core::call::Destination;
use aegis_core::decide::Explanation;
use aegis_core::describe::Catalogue;
use aegis_core::policy::{Options, PolicySet, Source};
use aegis_server::ca::{self, Leaves};
use aegis_server::enforce::{self, Enforcer, Protocol, Roots, RouteUpstream, Tls};
use aegis_server::events::{self, Events};
use aegis_server::gateway::{self, Gateway};
use aegis_server::identify::{self, Identify};
use aegis_server::intercept::ext_authz::ExtAuthz;
use aegis_server::intercept::{Intercept, InterceptedHost, Interception, Pace, Route};
use aegis_server::pipeline::{Governing, Parts, Pipeline};
use aegis_store::{Durability, Store};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::upstream::Upstream;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a head may take in these tests.
pub(super) const HEAD_TIME: Duration = Duration::from_millis(400);
/// The largest body that is read in these tests.
pub(super) const BODY_LIMIT: usize = 64 * 1024;

/// What a body has to keep in these tests.
pub(super) const PACE: Pace = Pace { idle: Duration::from_millis(300), rate: 1000 };
/// How long a client may take nothing in these tests.
pub(super) const SEND_IDLE: Duration = Duration::from_millis(500);

pub(super) const POLICY: &str = "
agent: tester
egress: {allow: ['tool.test:80', 'tool.test:443']}
actions:
  - name: http/request
  - name: http/connect
  - name: kubernetes/scale
    max_replicas: 50
";

pub(super) struct World {
    pub(super) proxy: SocketAddr,
    pub(super) proxy_tls: SocketAddr,
    pub(super) ext_authz: SocketAddr,
    pub(super) upstream: Upstream,
    pub(super) token: String,
    pub(super) store: Store,
    pub(super) events: Events,
    pub(super) pipeline: Pipeline,
    pub(super) shutdown: CancellationToken,
    pub(super) running: JoinHandle<()>,
    pub(super) certificate: Vec<u8>,
    /// What clients trust in the name of intercepted hosts, as PEM.
    pub(super) ca: String,
    pub(super) dir: TempDir,
}

/// What is intercepted, and where it leads.
#[derive(Default)]
pub(super) struct Interceptable {
    pub(super) hosts: Vec<InterceptedHost>,
    pub(super) overrides: HashMap<String, SocketAddr>,
    pub(super) roots: Roots,
    pub(super) token_ttl: Option<Duration>,
}

/// An answer, in parts.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

impl World {
    pub(super) async fn new(policy: &str) -> Self {
        Self::with_pause(policy, Duration::ZERO).await
    }

    pub(super) async fn with_pause(policy: &str, pause: Duration) -> Self {
        Self::made(policy, pause, Interceptable::default()).await
    }

    /// One that intercepts the hosts of `also`.
    pub(super) async fn intercepting(policy: &str, also: Interceptable) -> Self {
        Self::made(policy, Duration::ZERO, also).await
    }

    async fn made(policy: &str, pause: Duration, also: Interceptable) -> Self {
        let upstream = Upstream::start(pause).await;
        let dir = TempDir::new().expect("a directory");
        let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
        store.add_agent("tester", Vec::new(), "test").await.expect("an agent");
        let identify = Identify::open(dir.path(), store.clone(), identify::Settings::default()).expect("keys");
        let token = identify.issue("tester", also.token_ttl, Timestamp::now()).expect("a token").token;
        let events = Events::new(&events::Settings::default()).expect("events");
        let mut egress = egress(upstream.address);
        egress.overrides.extend(also.overrides);
        egress.named_roots = also.roots;
        let enforcer = Enforcer::new(egress, store.clone(), events.clone()).expect("settings");
        let kept = events.clone();
        let pipeline = Pipeline::new(Parts {
            identify: Arc::new(identify),
            catalogue: Catalogue::load(&[], None).expect("the catalogue"),
            governing: Governing::by(policies(policy)),
            store: store.clone(),
            enforcer,
            events,
            body_limit: BODY_LIMIT,
            engine_check: 1.0,
        });
        let (config, certificate) = server_config();
        let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let settings = gateway::Settings {
            proxy: Some(loopback),
            proxy_tls: Some((loopback, config)),
            api: None,
            ext_authz: Some(loopback),
            connections: 64,
            connections_per_client: 32,
            api_connections: 8,
            header_limit: 64 * 1024,
            head_time: HEAD_TIME,
            send_idle: SEND_IDLE,
            drain: Duration::from_secs(5),
        };
        let gateway = Gateway::bind(settings).await.expect("ports");
        let [proxy, proxy_tls, ext_authz] = gateway.addresses()[..] else { panic!("three listeners") };
        let shutdown = CancellationToken::new();
        let leaves = Leaves::own(dir.path().to_owned(), Timestamp::now()).expect("a CA");
        let ca = ca::exported(dir.path(), Timestamp::now()).expect("a CA");
        let intercept =
            Intercept::new(pipeline.clone(), routes(), PACE).intercepting(Interception { hosts: also.hosts, leaves });
        let authorizer = ExtAuthz::new(intercept.clone(), BODY_LIMIT);
        let running = tokio::spawn(gateway.run(intercept, axum::Router::new(), authorizer, shutdown.clone()));
        let (proxy, proxy_tls, ext_authz) = (proxy.address, proxy_tls.address, ext_authz.address);
        Self {
            proxy,
            proxy_tls,
            ext_authz,
            upstream,
            token,
            store,
            events: kept,
            pipeline,
            shutdown,
            running,
            certificate,
            ca,
            dir,
        }
    }

    /// `message` with `{token}` filled in.
    pub(super) fn fill(&self, message: &str) -> Vec<u8> {
        message.replace("{token}", &self.token).into_bytes()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy).await.expect("a connection")
    }

    /// Sends one message on a connection of its own.
    pub(super) async fn send(&self, message: &str) -> Answer {
        self.send_bytes(&self.fill(message)).await
    }

    pub(super) async fn send_bytes(&self, message: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // The gateway may refuse, and close, before it has read everything.
        let _ = stream.write_all(message).await;
        read_answer(&mut stream).await
    }

    /// The decisions on record.
    pub(super) async fn decisions(&self) -> Vec<Explanation> {
        let records = self.store.tail(0, 1000).await.expect("records");
        let decision = |event| match event {
            Event::Decision { explanation, .. } => Some(explanation),
            _ => None,
        };
        records.into_iter().filter_map(|record| decision(record.event)).collect()
    }
}

/// Reads one answer: its head, and a body of the length that it declares.
pub(super) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut seen = Vec::new();
    let read = async {
        loop {
            if let Some(answer) = whole_answer(&seen) {
                return answer;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return Answer { status: 0, head: String::new(), body: String::new() },
                Ok(length) => seen.extend_from_slice(&buffer[..length]),
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer or an end")
}

fn whole_answer(seen: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(seen);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().expect("a status");
    let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    (body.len() >= length).then_some(answer)
}

pub(super) fn policies(text: &str) -> PolicySet {
    let source = Source { file: "p.yaml".to_owned(), text: text.to_owned() };
    PolicySet::load(&[source], Options::default()).expect("a policy")
}

fn egress(upstream: SocketAddr) -> enforce::Settings {
    let route = |name: &str| RouteUpstream {
        name: name.to_owned(),
        upstream: format!("http://{upstream}").parse().expect("an upstream"),
        tls: Tls::default(),
        credential: None,
        protocol: Protocol::Http1,
    };
    let names = ["tool.test:80", "tool.test:443", "tool.test:22"];
    let overrides: HashMap<String, SocketAddr> = names.map(|name| (name.to_owned(), upstream)).into();
    enforce::Settings { routes: vec![route("tool"), route("k8s")], overrides, ..enforce::Settings::default() }
}

fn routes() -> [Route; 2] {
    let route = |name: &str, tool: Option<&str>| Route {
        name: name.to_owned(),
        tool: tool.map(str::to_owned),
        cluster: tool.map(|_| "main".to_owned()),
        upstream: Destination { scheme: "http".to_owned(), host: "127.0.0.1".to_owned(), port: 80 },
        credential: false,
        sigv4: None,
        refuses_foreign: false,
    };
    [route("tool", None), route("k8s", Some("kubernetes"))]
}

fn server_config() -> (Arc<ServerConfig>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().to_vec();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone().into()], key)
        .expect("a certificate and its key");
    (Arc::new(config), certificate)
}
