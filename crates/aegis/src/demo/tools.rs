//! The demo's tools: small, real servers on loopback that count what reaches them. They stand in for a Kubernetes API, a
//! payment service, a web site and an SSH server; they enforce nothing, so that only the gateway stands in the way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the gateway shows the cluster; made up, and good for nothing else.
pub(super) const CLUSTER_CREDENTIAL: &str = "the-clusters-own-credential";

/// A tool: where it is, and what it has received.
pub(super) struct Tool<T> {
    /// Where it listens.
    pub(super) address: SocketAddr,
    seen: Shared<T>,
}

/// All of them. They end when this is dropped.
pub(super) struct Tools {
    pub(super) kubernetes: Tool<Cluster>,
    pub(super) payments: Tool<Ledger>,
    pub(super) outside: Tool<Site>,
    pub(super) ssh: Tool<Ssh>,
    _tasks: JoinSet<()>,
}

/// One deployment, and how often it was changed.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) replicas: u64,
    pub(super) image: String,
    pub(super) writes: u64,
    /// Requests that came with anything but the cluster's own credential.
    pub(super) strangers: u64,
}

/// The payments that were made.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) amounts: Vec<f64>,
}

/// How often a page was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Site {
    pub(super) requests: u64,
}

/// What an SSH server saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Ssh {
    pub(super) bytes: u64,
}

type Shared<T> = Arc<Mutex<T>>;

impl<T: Clone> Tool<T> {
    /// What it has received once everything on its way has had time to arrive: for saying that nothing did.
    pub(super) async fn seen_later(&self) -> T {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.seen()
    }

    /// What it has received so far.
    pub(super) fn seen(&self) -> T {
        lock(&self.seen).clone()
    }
}

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tools {
    /// Starts them all on ports of their own.
    ///
    /// # Errors
    /// When loopback has no port left.
    pub(super) async fn start() -> Result<Self> {
        let mut tasks = JoinSet::new();
        let cluster =
            Cluster { replicas: 3, image: "registry.example.com/shop:1.4.1".to_owned(), writes: 0, strangers: 0 };
        Ok(Self {
            kubernetes: serve(&mut tasks, cluster, |seen| Router::new().fallback(kubernetes).with_state(seen)).await?,
            payments: serve(&mut tasks, Ledger::default(), |seen| Router::new().fallback(pay).with_state(seen)).await?,
            outside: serve(&mut tasks, Site::default(), |seen| Router::new().fallback(page).with_state(seen)).await?,
            ssh: ssh(&mut tasks).await?,
            _tasks: tasks,
        })
    }
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a stand-in on loopback")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve<T: Send + 'static>(
    tasks: &mut JoinSet<()>,
    start: T,
    router: impl FnOnce(Shared<T>) -> Router,
) -> Result<Tool<T>> {
    let (listener, address) = listen().await?;
    let seen = Arc::new(Mutex::new(start));
    let router = router(Arc::clone(&seen));
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a stand-in ended");
        }
    });
    Ok(Tool { address, seen })
}

/// The part of the Kubernetes API that the stories use: one deployment, its scale and its image.
async fn kubernetes(
    State(seen): State<Shared<Cluster>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut cluster = lock(&seen);
    let expected = format!("Bearer {CLUSTER_CREDENTIAL}");
    if headers.get("authorization").is_none_or(|value| value.as_bytes() != expected.as_bytes()) {
        cluster.strangers += 1;
    }
    if method == Method::PATCH {
        let Ok(patch) = serde_json::from_slice::<Value>(&body) else {
            return (StatusCode::BAD_REQUEST, Json(json!({"kind": "Status", "status": "Failure", "code": 400})));
        };
        if let Some(replicas) = patch.pointer("/spec/replicas").and_then(Value::as_u64) {
            cluster.replicas = replicas;
        }
        if let Some(image) = patch.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str) {
            image.clone_into(&mut cluster.image);
        }
        cluster.writes += 1;
    }
    let kind = if uri.path().ends_with("/scale") { "Scale" } else { "Deployment" };
    (StatusCode::OK, Json(json!({"kind": kind, "spec": {"replicas": cluster.replicas}, "image": cluster.image})))
}

async fn pay(State(seen): State<Shared<Ledger>>, body: Bytes) -> impl IntoResponse {
    let amount = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body.get("amount")?.as_f64());
    let Some(amount) = amount else { return (StatusCode::BAD_REQUEST, Json(json!({"error": "no amount"}))) };
    let mut ledger = lock(&seen);
    ledger.amounts.push(amount);
    (StatusCode::CREATED, Json(json!({"id": format!("pay_{}", ledger.amounts.len()), "amount": amount})))
}

async fn page(State(seen): State<Shared<Site>>) -> &'static str {
    lock(&seen).requests += 1;
    "all systems normal\n"
}

/// Greets like an SSH server, and counts what it is told.
async fn ssh(tasks: &mut JoinSet<()>) -> Result<Tool<Ssh>> {
    let (listener, address) = listen().await?;
    let seen: Shared<Ssh> = Shared::default();
    let counted = Arc::clone(&seen);
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                // A peer that is gone already has nothing to tell.
                let _ = stream.write_all(b"SSH-2.0-demo\r\n").await;
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    lock(&counted).bytes += read as u64;
                }
            });
        }
    });
    Ok(Tool { address, seen })
}
