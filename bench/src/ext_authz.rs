//! Checks of Envoy's external authorization, straight on the gateway's gRPC port: what Envoy would add to a call, without Envoy.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use tonic::transport::Channel;

use crate::process::Home;
use crate::report::{Round, Row, Section, Times, median, number, short};
use crate::scene;

const RATE: u32 = 1_000;
const ROUNDS: usize = 5;
const OPEN: Duration = Duration::from_secs(3);
const CLOSED: Duration = Duration::from_secs(2);
const AGENTS: usize = 10;
/// An Envoy has a connection for each of its workers.
const CONNECTIONS: usize = 2;
/// Checks under way at once.
const AT_ONCE: usize = 32;

type Client = AuthorizationClient<Channel>;

pub(crate) fn run(aegis: &Path, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for durability in ["commit", "buffered"] {
        rows.extend(runtime.block_on(measured(aegis, scratch, durability))?);
    }
    let note = format!(
        "Envoy's `Check` (a PATCH of a Deployment, 1 KiB of JSON) sent by a gRPC client to the `aegis` binary: message, token, description, \
         policy, record, answer; {AGENTS} policies, {CONNECTIONS} connections, {AT_ONCE} checks at once. {ROUNDS} rounds of {} s and {} s, the \
         round in the middle is shown; at a fixed rate, latency counts from when a check was due. Client and gateway share the machine. \
         **Aim:** under 0.5 ms added at p99 at {} checks/s, with a buffered record.",
        OPEN.as_secs(),
        CLOSED.as_secs(),
        number(RATE.into(), ""),
    );
    Ok(Section { title: "External authorization", note, rows })
}

async fn measured(aegis: &Path, scratch: &Path, durability: &str) -> Result<Vec<Row>> {
    let nobody = "127.0.0.1:9".parse()?;
    let home = Home::new(aegis, scratch, AGENTS, nobody, &format!("audit: {{durability: {durability}}}"))?;
    let token = home.token()?;
    let (process, address, _) = home.serve_at("ext_authz")?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(format!("http://{address}")).await?);
    }
    let check = Arc::new(check(&token)?);
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        eprintln!("bench: ext_authz, {durability}, round {} of {ROUNDS}", round + 1);
        open.push(open_loop(&clients, &check).await?);
        closed.push(closed_loop(&clients, &check).await?);
    }
    let (_, most) = process.memory()?;
    process.stop()?;
    let open = median(open, |round| round.times.quantile(0.99).as_secs_f64())?;
    let closed = median(closed, |round| round.rate)?;
    let at_rate = format!("{} checks/s, {durability}", number(RATE.into(), ""));
    let fast = format!("as fast as it goes, {durability}");
    let memory = format!("{:.1} MB", most as f64 / 1024.0);
    let p99 = short(open.times.quantile(0.99));
    Ok(vec![
        Row { ours: p99, memory, ..Row::latencies(at_rate, &open.times) },
        Row { ours: number(closed.rate, "/s"), ..Row::latencies(fast, &closed.times) },
    ])
}

fn check(token: &str) -> Result<CheckRequest> {
    let body = scene::body(0)?;
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", scene::MEDIA_TYPE.to_owned()),
        ("content-length", body.len().to_string()),
        ("x-envoy-auth-partial-body", "false".to_owned()),
        ("user-agent", "kubectl/v1.34.1 (linux/amd64)".to_owned()),
        ("x-request-id", "0f0e0d0c-0b0a-0908-0706-050403020100".to_owned()),
    ];
    let http = HttpRequest {
        method: scene::METHOD.to_string(),
        path: scene::TARGET.to_owned(),
        host: "kubernetes.internal".to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/2".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        raw_body: body.to_vec(),
        ..HttpRequest::default()
    };
    let context = [("aegis.route", "k8s")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let request = Some(Request { http: Some(http), ..Request::default() });
    let attributes = AttributeContext { request, context_extensions: context, ..AttributeContext::default() };
    Ok(CheckRequest { attributes: Some(attributes) })
}

/// One check, which has to be allowed: no error path is measured.
async fn exchange(mut client: Client, check: &CheckRequest) -> Result<()> {
    let response = client.check(check.clone()).await?.into_inner();
    ensure!(matches!(response.http_response, Some(HttpResponse::OkResponse(_))), "not allowed: {response:?}");
    Ok(())
}

async fn open_loop(clients: &[Client], check: &Arc<CheckRequest>) -> Result<Round> {
    let started = Instant::now();
    let count = RATE * u32::try_from(OPEN.as_secs())?;
    let mut under_way = Vec::new();
    for (nth, client) in (0..count).zip(clients.iter().cycle()) {
        let due = started + Duration::from_secs(1) * nth / RATE;
        tokio::time::sleep_until(due.into()).await;
        let (client, check) = (client.clone(), Arc::clone(check));
        under_way.push(tokio::spawn(async move { exchange(client, &check).await.map(|()| due.elapsed()) }));
    }
    let mut times = Times::new();
    for one in under_way {
        times.add(one.await.context("a check's task")??);
    }
    Ok(Round::new(times, started))
}

async fn closed_loop(clients: &[Client], check: &Arc<CheckRequest>) -> Result<Round> {
    let started = Instant::now();
    let sender = |client: &Client| {
        let (client, check) = (client.clone(), Arc::clone(check));
        tokio::spawn(async move {
            let mut times = Times::new();
            while started.elapsed() < CLOSED {
                let sent = Instant::now();
                exchange(client.clone(), &check).await?;
                times.add(sent.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        })
    };
    let senders: Vec<_> = clients.iter().cycle().take(AT_ONCE).map(sender).collect();
    let mut times = Times::new();
    for sender in senders {
        times.merge(&sender.await??)?;
    }
    Ok(Round::new(times, started))
}
