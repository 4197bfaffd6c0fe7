//! External authorization: checks straight at the port, and what real Envoy takes longer for asking, beside OPA's authorizer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as Asked};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Version};
use prost::Message as _;
use serde_json::{Value, json};

use crate::Tools;
use crate::contest::{self, Contender, Measured, Plan, named};
use crate::dial::Way;
use crate::envoy::{self, Authorizer, Envoy};
use crate::load::Target;
use crate::process::{self, Home, Serving};
use crate::report::{Section, short};
use crate::scene;

const PLAN: Plan = Plan { rounds: 3, rate: 1_000, open: Duration::from_secs(2), closed: Duration::from_secs(1) };
/// Agents with a policy of their own.
const AGENTS: usize = 10;
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

pub(crate) fn run(aegis: &Path, tools: &Tools, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = "  server { listen LISTEN; location / { default_type application/json; \
                  return 200 '{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\"}}'; } }";
    let (_upstream, upstream, _dir) = process::nginx(&tools.of("nginx"), scratch, answer)?;
    let gateways = [Gateway::start(aegis, scratch, "commit")?, Gateway::start(aegis, scratch, "buffered")?];
    let [durable, buffered] = &gateways;
    let data = runtime.block_on(durable.data())?;
    let (opa, checks, _files) = envoy::opa(&tools.of("opa-envoy-plugin"), scratch, &data)?;
    let authorizers = [
        Authorizer::Aegis(durable.serving.ext_authz),
        Authorizer::Aegis(buffered.serving.ext_authz),
        Authorizer::Opa(checks),
    ];
    let envoy = Envoy::start(&tools.of("envoy"), scratch, upstream, &authorizers)?;
    let [by_durable, by_buffered, by_opa] = envoy.asking[..] else { bail!("one listener for each authorizer") };
    for (address, token) in [(by_durable, &durable.token), (by_buffered, &buffered.token), (by_opa, &durable.token)] {
        runtime.block_on(refuses(address, token))?;
    }
    let [durable_process, buffered_process] = [durable, buffered].map(|gateway| Some(&gateway.serving.process));
    let mut contenders = vec![
        Contender::new("straight, aegis", straight(authorizers[0], &durable.token)?, durable_process),
        Contender::new("straight, aegis buffered", straight(authorizers[1], &buffered.token)?, buffered_process),
        Contender::new("straight, opa-envoy-plugin", straight(authorizers[2], &durable.token)?, Some(&opa)),
        Contender::new("Envoy alone", through(envoy.alone, &durable.token)?, Some(&envoy.process)),
        Contender::new("Envoy asks aegis", through(by_durable, &durable.token)?, durable_process),
        Contender::new("Envoy asks aegis buffered", through(by_buffered, &buffered.token)?, buffered_process),
        Contender::new("Envoy asks opa-envoy-plugin", through(by_opa, &durable.token)?, Some(&opa)),
    ];
    contest::requests(&runtime, &mut contenders, PLAN)?;
    let all = contest::results(contenders)?;
    drop(envoy);
    for (Gateway { home, serving, .. }, name) in gateways.into_iter().zip(["aegis", "aegis buffered"]) {
        serving.process.stop().context(name)?;
        let asked = all.iter().filter(|one| one.name.ends_with(name)).map(|one| one.calls).sum();
        runtime.block_on(home.has_recorded(asked))?;
    }
    section(&all)
}

/// A gateway, and the token of its first agent.
struct Gateway {
    home: Home,
    serving: Serving,
    token: String,
}

impl Gateway {
    fn start(aegis: &Path, scratch: &Path, durability: &str) -> Result<Self> {
        let policies = (0..AGENTS).map(|index| (scene::agent(index), scene::policy(index)));
        let config = format!("{}audit: {{durability: {durability}}}\n", scene::ENVIRONMENTS);
        let home = Home::configured(aegis, scratch, &config, policies)?;
        let token = home.token(&scene::agent(0))?;
        let serving = home.serve()?;
        Ok(Self { home, serving, token })
    }

    /// What the policy for OPA is told: the agents' limits, and whose tokens are good.
    async fn data(&self) -> Result<Value> {
        let api = self.serving.api;
        let claims: Value = serde_json::from_str(&self.home.run(&["token", "inspect", &self.token, "--json"])?)?;
        let claim =
            |name: &str| claims.pointer(&format!("/claims/{name}")).cloned().with_context(|| claims.to_string());
        let request = Request::get("/.well-known/jwks.json").header(HOST, api.to_string()).body(Bytes::new())?;
        let (head, keys) = Way::plain(api).connect().await?.send(request).await?;
        ensure!(head.status.is_success(), "the keys: {}", head.status);
        let agents: serde_json::Map<_, _> =
            (0..AGENTS).map(|index| (scene::agent(index), scene::as_data(index))).collect();
        Ok(json!({
            "agents": agents,
            "keys": String::from_utf8(keys.to_vec())?,
            "issuer": claim("iss")?,
            "audience": claim("aud")?,
        }))
    }
}

fn through(envoy: SocketAddr, token: &str) -> Result<Target> {
    Target::new(Way::plain(envoy), scene::http_request(scene::TARGET, &envoy.to_string(), Some(token))?)
}

/// It doesn't let far too many replicas through: no number is one of a policy that allows everything.
async fn refuses(envoy: SocketAddr, token: &str) -> Result<()> {
    let mut request = scene::http_request(scene::TARGET, &envoy.to_string(), Some(token))?;
    *request.body_mut() = scene::refused_body(0)?;
    let (head, body) = Way::plain(envoy).connect().await?.send(request).await?;
    ensure!(head.status == 403, "{envoy}: {} {}", head.status, String::from_utf8_lossy(&body));
    Ok(())
}

/// The check that Envoy would make of the call, as a target.
fn straight(authorizer: Authorizer, token: &str) -> Result<Target> {
    let (Authorizer::Aegis(address) | Authorizer::Opa(address)) = authorizer;
    let call = scene::http_request(scene::TARGET, &address.to_string(), Some(token))?;
    let mut headers = HashMap::from([(":method", call.method().as_str()), (":path", scene::TARGET)]);
    for (name, value) in call.headers().iter().filter(|(name, _)| *name != HOST) {
        headers.insert(name.as_str(), value.to_str()?);
    }
    let length = call.body().len().to_string();
    headers.extend([("content-length", length.as_str()), ("x-envoy-auth-partial-body", "false")]);
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut http = HttpRequest {
        id: "1".to_owned(),
        method: call.method().to_string(),
        headers,
        path: scene::TARGET.to_owned(),
        host: address.to_string(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        size: i64::try_from(call.body().len())?,
        ..HttpRequest::default()
    };
    match authorizer {
        Authorizer::Aegis(_) => http.raw_body = call.body().to_vec(),
        Authorizer::Opa(_) => http.body = String::from_utf8(call.body().to_vec())?,
    }
    let words = envoy::extensions().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let check = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Asked { time: None, http: Some(http) }),
            context_extensions: words,
            ..AttributeContext::default()
        }),
    };
    let mut message = BytesMut::with_capacity(PREFIX + check.encoded_len());
    message.put_u8(0);
    message.put_u32(u32::try_from(check.encoded_len())?);
    check.encode(&mut message)?;
    let request = Request::post(CHECK)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", HeaderValue::from_static("trailers"))
        .body(message.freeze())?;
    let target = Target::new(Way { version: Version::HTTP_2, ..Way::plain(address) }, request)?;
    Ok(Target { is_answer: is_yes, ..target })
}

/// Whether an answer lets the call through.
fn is_yes(answer: &[u8]) -> bool {
    let response = answer.get(PREFIX..).map(CheckResponse::decode);
    matches!(response, Some(Ok(CheckResponse { status: Some(status), .. })) if status.code == 0)
}

fn section(all: &[Measured]) -> Result<Section> {
    let of = |name| named(all, name);
    let (alone, aegis, opa) = (of("Envoy alone")?, of("Envoy asks aegis")?, of("Envoy asks opa-envoy-plugin")?);
    let straight = |one: &Measured| one.name.starts_with("straight");
    let mut rows = Vec::new();
    for one in all {
        rows.push(one.at_a_rate(Some(alone).filter(|_| !straight(one)), PLAN.rate)?);
    }
    for one in all {
        rows.push(one.at_most(of(if straight(one) { "straight, aegis" } else { aegis.name })?)?);
    }
    let ([our_p50, our_p99], [p50, p99]) = (aegis.added(alone)?, opa.added(alone)?);
    let note = format!(
        "The scene's call, with its body. Straight: the `Check` that Envoy would send, on 4 HTTP/2 connections with 8 checks at a \
         time. Envoy: one worker, HTTP/1.1 with 32 connections, nginx behind; with the filter as `deploy/envoy` has it, and as OPA's \
         authorizer needs it (headers and body as text). Both authorizers check the token's signature (OPA's cache of verified tokens \
         is on), the environment, replicas and images of {AGENTS} agents, and refuse too many replicas before anything is measured; \
         OPA's policy is written for this by hand (`bench/src/envoy/policy.rego`), logs no decision and has no rates. Aegis writes a \
         record of each, durable, or where it says so buffered. Processor time and memory are the authorizer's, of the row without one Envoy's. {} interleaved \
         rounds of {} s and {} s, the one in the middle. Ours: added at p50 and p99 to Envoy alone. Asking Aegis adds {} and {}, \
         asking opa-envoy-plugin {} and {} (p50, p99). As fast as it goes: Aegis, what the row names, and how many times that Aegis does. {}",
        PLAN.rounds,
        PLAN.open.as_secs(),
        PLAN.closed.as_secs(),
        short(our_p50),
        short(our_p99),
        short(p50),
        short(p99),
        contest::verdict(&[(aegis, alone), (of("Envoy asks aegis buffered")?, alone)])?,
    );
    Ok(Section { title: "External authorization", note, rows })
}
