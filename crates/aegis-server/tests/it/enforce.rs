//! What is admitted is forwarded and settled, whatever the client and the upstream do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::audit::{Event, Outcome};
use aegis_core::call::{Body, Companion, Effect, Environment, HttpRequest, Payload, Shape, ToolCall};
use aegis_core::decide::{Decision, Facts, Passage, decide};
use aegis_core::policy::{Mode, Options, PolicySet, Source};
use aegis_server::enforce::{Enforcer, Failure, Live, Protocol, RouteUpstream, Settings, Timeouts, Tls, Toward};
use aegis_server::events::{self, Events};
use aegis_server::trace::TraceContext;
use aegis_store::{Admitted, Durability, Store};
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SPAN: [u8; 8] = [2; 8];
const PATIENCE: Duration = Duration::from_secs(10);

/// An enforcer with one route, `tool`, and the store behind it.
struct House {
    enforcer: Enforcer,
    store: Store,
    policies: PolicySet,
    _dir: TempDir,
}

impl House {
    async fn new(upstream: SocketAddr) -> Self {
        let dir = TempDir::new().expect("a directory");
        let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
        store.add_agent("tester", Vec::new(), "test").await.expect("an agent");
        let events = Events::new(&events::Settings::default()).expect("events");
        let route = RouteUpstream {
            name: "tool".to_owned(),
            upstream: format!("http://{upstream}").parse().expect("an upstream"),
            tls: Tls::default(),
            credential: None,
            protocol: Protocol::Http1,
        };
        let timeouts = Timeouts { answer_head: Duration::from_millis(300), ..Timeouts::default() };
        let settings = Settings { routes: vec![route], timeouts, ..Settings::default() };
        let enforcer = Enforcer::new(settings, store.clone(), events).expect("settings");
        let text = "agent: tester\nactions:\n  - name: http/request\n".to_owned();
        let options = Options { mode: Mode::Enforce, ..Options::default() };
        let policies = PolicySet::load(&[Source { file: "p.yaml".to_owned(), text }], options).expect("a policy");
        Self { enforcer, store, policies, _dir: dir }
    }

    async fn admitted(&self, decision_id: &str) -> Admitted {
        let facts = Facts::new(Timestamp::now(), decision_id, self.policies.version());
        match decide(&self.policies, &Agent::named("tester"), post(), &facts) {
            Decision::Allow(permit) => self.store.admit(Passage::Permit(permit), 0.1).await.expect("admitted"),
            other => panic!("{other:?}"),
        }
    }

    async fn forward(&self, decision_id: &str) -> Result<http::Response<aegis_server::enforce::AnyBody>, Failure> {
        let trace = TraceContext::join(&HeaderMap::new(), [1; 16]);
        let admitted = self.admitted(decision_id).await;
        self.enforcer.forward(admitted, Live::default(), Toward::Route("tool".to_owned()), trace, SPAN).await
    }

    /// The outcome of a decision, once it is on record.
    async fn outcome(&self, decision_id: &str) -> Outcome {
        let found = async {
            loop {
                let head = self.store.head();
                for record in self.store.tail(0, 100).await.expect("records") {
                    match record.event {
                        Event::Outcome { decision_id: id, outcome } if id == decision_id => return outcome,
                        _ => {}
                    }
                }
                self.store.wait_for_new(head).await.expect("a record");
            }
        };
        timeout(PATIENCE, found).await.expect("an outcome")
    }
}

fn post() -> ToolCall {
    ToolCall {
        tool: "http".to_owned(),
        action: "request".to_owned(),
        classes: BTreeSet::new(),
        effect: Effect::Write,
        environment: Environment::named("test"),
        target: BTreeMap::new(),
        params: serde_json::Map::new(),
        shape: Shape::Open,
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: aegis_core::cost::Metering::default(),
        payload: Payload::Http(HttpRequest {
            method: Method::POST,
            target: "/orders".parse().expect("a target"),
            headers: HeaderMap::new(),
            body: Body::Whole(Bytes::from_static(b"order")),
        }),
    }
}

/// A tool that tells of each request and, after `pause`, answers with `answer`.
async fn tool(pause: Duration, answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, requests) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sender.clone(), pause, answer));
        }
    });
    (address, requests)
}

async fn serve(mut stream: TcpStream, requests: mpsc::Sender<String>, pause: Duration, answer: &'static str) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"order") {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
    requests.send(String::from_utf8(seen).expect("text")).await.expect("listening");
    tokio::time::sleep(pause).await;
    // Whoever asked may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.read(&mut [0; 1]).await;
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_admitted_call_is_forwarded_once_and_settled() {
    let (address, mut requests) = tool(Duration::ZERO, CREATED).await;
    let house = House::new(address).await;
    let response = house.forward("dec_1").await.expect("an answer");
    assert_eq!(response.status(), 201);
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "ok");
    let outcome = house.outcome("dec_1").await;
    assert_eq!((outcome.result.as_str(), outcome.status, outcome.error), ("forwarded", Some(201), None));
    assert_eq!((outcome.bytes_up, outcome.bytes_down), (5, 2));
    let request = requests.recv().await.expect("a request");
    assert!(request.starts_with("POST /orders HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("traceparent: 00-{}-{}-01\r\n", "01".repeat(16), "02".repeat(8))), "{request}");
    assert!(requests.try_recv().is_err(), "sent twice");
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_neither_the_call_nor_its_record() {
    let (address, mut requests) = tool(Duration::from_millis(100), CREATED).await;
    let house = House::new(address).await;
    let gone = timeout(Duration::from_millis(20), house.forward("dec_1")).await;
    assert!(gone.is_err(), "it waited for the answer's head");
    requests.recv().await.expect("the request went through");
    let outcome = house.outcome("dec_1").await;
    let error = outcome.error.as_deref();
    assert_eq!((outcome.result.as_str(), outcome.status, error), ("forwarded", Some(201), Some("client_left")));
}

#[tokio::test]
async fn a_failure_is_on_record_before_it_is_answered() {
    let (address, mut requests) = tool(PATIENCE, CREATED).await;
    let house = House::new(address).await;
    assert!(matches!(house.forward("dec_1").await, Err(Failure::TimedOut(_))));
    let records = house.store.tail(0, 100).await.expect("records");
    let outcome = records.into_iter().find_map(|record| match record.event {
        Event::Outcome { outcome, .. } => Some(outcome),
        _ => None,
    });
    let outcome = outcome.expect("on record already");
    assert_eq!((outcome.result.as_str(), outcome.status), ("failed", None));
    assert!(outcome.error.is_some_and(|error| error.contains("did not answer")));
    requests.recv().await.expect("a request");
    assert!(requests.try_recv().is_err(), "sent twice");
}

#[tokio::test]
async fn draining_waits_for_calls_and_then_cuts_them_off() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok";
    let (address, _requests) = tool(Duration::from_millis(50), endless).await;
    let house = House::new(address).await;
    let response = house.forward("dec_1").await.expect("a head");
    let reader = tokio::spawn(response.into_body().collect());
    timeout(PATIENCE, house.enforcer.drain(Duration::from_millis(50))).await.expect("drained");
    let outcome = house.outcome("dec_1").await;
    let error = outcome.error.as_deref();
    assert_eq!((outcome.result.as_str(), outcome.status, error), ("unknown", Some(200), Some("gateway_stopped")));
    reader.abort();
}
