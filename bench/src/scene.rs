//! The scene that is measured: many agents, each with a policy of its own, and the call that each of them makes.

use std::sync::LazyLock;

use aegis_core::call::{Body, Destination, HttpRequest, ToolCall};
use aegis_core::decide::Facts;
use aegis_core::describe::{Arrival, Catalogue};
use aegis_core::document::{self, Diagnostic};
use aegis_core::policy::{Options, PolicySet, Source};
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use jiff::Timestamp;
use serde_json::Value;

/// The environment map of the scene's gateway.
pub(crate) const ENVIRONMENTS: &str = r#"environments:
  - {match: {tool: kubernetes, cluster: main, namespace: "prod-*"}, env: production}
  - {match: {tool: kubernetes, cluster: main, namespace: "staging-*"}, env: staging}
"#;

/// What every agent sends: a change of a Deployment, as a client patches it.
pub(crate) const METHOD: http::Method = http::Method::PATCH;
pub(crate) const TARGET: &str =
    "/apis/apps/v1/namespaces/staging-web/deployments/web?fieldManager=kubectl-client-side-apply";
pub(crate) const MEDIA_TYPE: &str = "application/strategic-merge-patch+json";
/// How many bytes its body has.
const BODY_BYTES: usize = 1024;

/// The route by which it comes.
pub(crate) static ARRIVAL: LazyLock<Arrival<'static>> = LazyLock::new(|| {
    static UPSTREAM: LazyLock<Destination> =
        LazyLock::new(|| Destination { scheme: "http".to_owned(), host: "127.0.0.1".to_owned(), port: 80 });
    Arrival::Route { name: "k8s", tool: Some("kubernetes"), cluster: Some("main"), upstream: &UPSTREAM }
});

pub(crate) fn agent(index: usize) -> String {
    format!("agent-{index:05}")
}

/// What else than deploying an agent may do.
const OTHERS: [&str; 9] =
    ["build", "promote", "restore", "migrate", "reindex", "failover", "warm-up", "hand-over", "roll-forward"];

/// The policy of one agent: ten actions, each with five digests, and a condition with a constant of its own.
pub(crate) fn policy(index: usize) -> String {
    let images = |action: usize| -> String {
        digests(index, action).map(|digest| format!("      - {{digest: \"{digest}\"}}\n")).collect()
    };
    let maximum = maximum(index);
    let mut text = format!(
        "agent: {}\nrate: {{limit: 1000000, per: 1s, burst: 1000000}}\nactions:\n  - name: deploy\n    tools: [kubernetes]\n    \
         allowed_environments: [staging]\n    approval_needed: env == \"production\" || replicas > {}\n    allowed_images:\n{}    \
         max_replicas: {maximum}\n",
        agent(index),
        15 + index,
        images(0),
    );
    for (nth, name) in OTHERS.into_iter().enumerate() {
        text += &format!(
            "  - name: {name}\n    allowed_environments: [staging, test]\n    allowed_images:\n{}    max_replicas: {maximum}\n",
            images(nth + 1),
        );
    }
    text
}

/// The most replicas that an agent may ask for.
fn maximum(index: usize) -> usize {
    20 + index % 40
}

/// The digests that an agent's action may run.
fn digests(index: usize, action: usize) -> impl Iterator<Item = String> {
    (0..5).map(move |nth| digest(index, action * 5 + nth))
}

/// What the agent's policy says of the call that is measured, as one CEL expression by hand.
pub(crate) fn in_cel(index: usize) -> String {
    let digests: Vec<String> = digests(index, 0).map(|digest| format!("\"{digest}\"")).collect();
    format!(
        "tool == \"kubernetes\" && env in [\"staging\"] && !(env == \"production\" || replicas > {}) && replicas <= {} && \
         images.size() > 0 && images.all(image, image in [{}])",
        15 + index,
        maximum(index),
        digests.join(", "),
    )
}

/// The same as data, for a policy that is written for another engine.
pub(crate) fn as_data(index: usize) -> Value {
    serde_json::json!({
        "allowed_environments": ["staging"],
        "human_above": 15 + index,
        "max_replicas": maximum(index),
        "digests": digests(index, 0).collect::<Vec<_>>(),
    })
}

/// A digest of the right form that no two agents share.
fn digest(agent: usize, nth: usize) -> String {
    format!("sha256:{:032x}{:032x}", agent + 1, nth + 1)
}

/// The body that this agent's policy allows, of exactly [`BODY_BYTES`].
pub(crate) fn body(index: usize) -> Result<Bytes> {
    body_for(index, 12)
}

/// A body that no agent's policy allows: far too many replicas.
pub(crate) fn refused_body(index: usize) -> Result<Bytes> {
    body_for(index, 20_000)
}

fn body_for(index: usize, replicas: u32) -> Result<Bytes> {
    let json = |padding: &str| {
        serde_json::json!({
            "metadata": {
                "annotations": {"example.com/change": padding},
                "labels": {"app": "web", "managed-by": agent(index)},
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web", "version": "1.27.4"}},
                    "spec": {"containers": [{
                        "name": "web",
                        "image": format!("registry.example.com/team/web@{}", digest(index, 2)),
                        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "REGION", "value": "eu-central-1"}],
                        "ports": [{"containerPort": 8080, "name": "http"}],
                        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
                    }]},
                },
            },
        })
        .to_string()
    };
    let padding = BODY_BYTES.checked_sub(json("").len()).context("the call's JSON has outgrown its size")?;
    Ok(Bytes::from(json(&"x".repeat(padding))))
}

/// The call as HTTP/1.1 has it, to a host, with the agent's token where it doesn't travel otherwise.
pub(crate) fn http_request(target: &str, host: &str, token: Option<&str>) -> Result<Request<Bytes>> {
    let mut request = Request::builder()
        .method(METHOD)
        .uri(target)
        .header(HOST, host)
        .header(CONTENT_TYPE, MEDIA_TYPE)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "kubectl/v1.34.1 (linux/amd64)");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(request.body(body(0)?)?)
}

/// The request, as an adapter hands it to the catalogue.
pub(crate) fn request(body: Bytes) -> HttpRequest {
    let headers = [
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("content-length", "1024"),
        ("user-agent", "kubectl/v1.34.1 (linux/amd64)"),
        (CONTENT_TYPE.as_str(), MEDIA_TYPE),
    ];
    let headers: HeaderMap = headers
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    HttpRequest { method: METHOD, target: PathAndQuery::from_static(TARGET), headers, body: Body::Whole(body) }
}

/// What the catalogue makes of it.
pub(crate) fn call(catalogue: &Catalogue, body: Bytes) -> Result<ToolCall> {
    catalogue.describe(&ARRIVAL, request(body)).map_err(|error| anyhow!("{error}"))
}

/// The built-in catalogue with the scene's environments.
pub(crate) fn catalogue() -> Result<Catalogue> {
    let file = "aegis.yaml";
    let documents = document::parse(file, ENVIRONMENTS).map_err(|error| anyhow!("{error}"))?;
    let environments = documents.first().and_then(|root| root.get("environments")).context("no environments")?;
    Catalogue::load(&[], Some((file, environments))).map_err(|errors| all(&errors))
}

/// The policies of `agents` agents.
pub(crate) fn policies(agents: usize) -> Result<PolicySet> {
    load(&sources(agents))
}

/// The same, as they are written.
pub(crate) fn sources(agents: usize) -> Vec<Source> {
    (0..agents).map(|index| Source { file: format!("{}.yaml", agent(index)), text: policy(index) }).collect()
}

/// Reads and compiles them.
pub(crate) fn load(sources: &[Source]) -> Result<PolicySet> {
    PolicySet::load(sources, Options::default()).map_err(|errors| all(&errors))
}

/// The facts of a call that has no approval and is over no rate.
pub(crate) fn facts(policies: &PolicySet, decision_id: String, now: Timestamp) -> Facts<'_> {
    Facts {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        ..Facts::new(now, decision_id, policies.version())
    }
}

fn all(errors: &[Diagnostic]) -> anyhow::Error {
    anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
