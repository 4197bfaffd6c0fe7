//! The whole router over a real store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use aegis_core::agent::Agent;
use aegis_core::call::{Companion, Effect, Environment, Payload, Shape, ToolCall};
use aegis_core::decide::{Decision, Facts, decide};
use aegis_core::policy::{Archive, Options, Source};
use aegis_store::{Durability, Store};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{ApiState, router};
use crate::bundle::{Bundles, SigningKey, VerifyingKey, verify};
use crate::events::{self, Events};
use crate::identify::{Credential, Identify, OperatorToken, Settings};
use crate::unproven::Unproven;
use crate::versions::{self, Versions};

const POLICY: &str = "agent: deploy-manager\nactions:\n  - name: deploy\n    allowed_environments: [staging]\n    approval_needed: env == \"production\"\n";

struct Api {
    dir: tempfile::TempDir,
    state: ApiState,
    router: Router,
    operator: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// It is a problem document with this status and code, complete.
    fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!(self.status.as_u16(), status, "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
        for member in ["type", "title", "detail", "guidance"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {problem}");
        }
        problem
    }
}

impl Api {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
        let identify = Identify::open(dir.path(), store.clone(), Settings::default()).expect("keys");
        let operator = OperatorToken::open(dir.path()).expect("a token");
        let events = Events::new(&events::Settings::default()).expect("events");
        // The first reload finds a mistake, the next ones don't.
        let reads = AtomicUsize::new(0);
        let folder = move || {
            let text = if reads.fetch_add(1, Ordering::Relaxed) == 1 { "agnet: x\n" } else { POLICY };
            Ok(vec![Source { file: "policy.yaml".to_owned(), text: text.to_owned() }])
        };
        let settings = versions::Settings {
            store: store.clone(),
            events: events.clone(),
            compile: Arc::new(|content| content.compile(Options::default())),
            folder: Some(Arc::new(folder)),
        };
        let versions = Versions::open(settings).await.expect("versions");
        versions.start(None).await.expect("a policy");
        let current = versions.clone();
        let state = ApiState {
            store: store.clone(),
            identify: Arc::new(identify),
            operator,
            policies: Arc::new(move || current.status().active.expect("in force")),
            versions,
            bundles: Arc::new(Bundles::new(SigningKey::open(dir.path()).expect("a key"), CancellationToken::new())),
            source: None,
            unproven: Unproven::new(store.clone(), events.clone()),
            events,
            decisions: None,
            metrics_public: false,
        };
        let operator = std::fs::read_to_string(dir.path().join("operator.token")).expect("a token").trim().to_owned();
        Self { dir, router: router(state.clone()), state, operator }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As the operator.
    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("authorization", self.bearer());
        self.send(request.body(body).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.operator)
    }

    async fn token_for(&self, form: &str, basic: Option<(&str, &str)>) -> Answer {
        let mut request = Request::builder()
            .method("POST")
            .uri("/oauth2/token")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some((user, secret)) = basic {
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))));
        }
        self.send(request.body(Body::from(form.to_owned())).expect("a request")).await
    }

    /// The record's operations, as `operation subject`.
    async fn operations(&self) -> Vec<String> {
        let records = self.get("/v1/audit?event=operation").await.json();
        let records = records["records"].as_array().expect("records").clone();
        records
            .iter()
            .inspect(|record| assert!(record["by"].is_string()))
            .map(|record| format!("{} {}", record["operation"], record["subject"]).replace('"', ""))
            .collect()
    }

    fn proves(&self, token: &str) -> Result<String, &'static str> {
        let verified = self.state.identify.verify(&Credential::Bearer(token.to_owned()), jiff::Timestamp::now());
        verified.map(|agent| agent.id).map_err(|rejected| rejected.0)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test]
async fn an_operator_who_goes_away_leaves_no_half_of_a_change() {
    let api = Api::new().await;
    let other = POLICY.replace("staging", "testing");
    let body = json!({"sources": [{"file": "policy.yaml", "text": other}]}).to_string();
    let request = Request::post("/v1/policies").header("authorization", api.bearer()).body(Body::from(body));
    let mut answer = Box::pin(api.router.clone().oneshot(request.expect("a request")));
    let on_disk = async || api.state.store.policy_state().await.expect("reads").active.expect("one").version;
    let before = on_disk().await;
    // Asked on, until the change is on disk; then nobody is there any more to hear of it.
    for _ in 0..1000 {
        // Looks once, without waiting.
        let ended = std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context).is_ready())).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if ended || on_disk().await != before {
            break;
        }
    }
    drop(answer);
    let (disk, mut in_force) = (on_disk().await, String::new());
    assert_ne!(disk, before, "it was published");
    for _ in 0..100 {
        in_force = api.state.versions.status().active.expect("in force").version().to_owned();
        if in_force == disk {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(in_force, disk, "what is on record as in force is in force");
}

#[tokio::test]
async fn only_the_operator_gets_in_and_the_refusal_is_recorded() {
    let api = Api::new().await;
    api.post("/v1/agents", json!({"id": "a"})).await;
    let agent = api.state.identify.issue("a", None, jiff::Timestamp::now()).expect("a token").token;
    let token = &api.operator;
    let refused: [&[String]; 7] = [
        &[],
        &["Bearer ".to_owned()],
        &[format!("Bearer {token}x")],
        &[format!("Bearer {agent}")],
        &[format!("Basic {}", STANDARD.encode(format!("operator:{token}")))],
        std::slice::from_ref(token),
        &[format!("Bearer {token}"), format!("Bearer {token}")],
    ];
    for headers in refused {
        for (method, path) in
            [("GET", "/v1/agents"), ("DELETE", "/v1/agents/a"), ("GET", "/metrics"), ("GET", "/v1/audit")]
        {
            let mut request = Request::builder().method(method).uri(path);
            for value in headers {
                request = request.header("authorization", value);
            }
            let answer = api.send(request.body(Body::empty()).expect("a request")).await;
            let problem = answer.problem(401, "IdentityRejected");
            assert_eq!(problem["detail"], "the credential is missing or not valid here", "one wording");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            assert_eq!(answer.header("aegis-decision"), "deny");
            assert_eq!(answer.header("aegis-decision-id"), text(&problem["decision_id"]));
        }
    }
    assert!(api.state.store.agent("a").is_some());
    let records = api.get("/v1/decisions?code=IdentityRejected").await.json();
    let records = records["records"].as_array().expect("records").clone();
    assert_eq!(records.len(), 4 * refused.len());
    for reason in ["operator: missing", "operator: forged", "operator: malformed"] {
        assert!(records.iter().any(|record| record["reason"] == reason), "{reason}");
    }
    assert!(!format!("{records:?}").contains(token.as_str()));
}

#[tokio::test]
async fn agents_are_added_suspended_resumed_and_removed() {
    let api = Api::new().await;
    let made = api.post("/v1/agents", json!({"id": "ci/build@acme", "groups": ["sre"]})).await;
    assert_eq!((made.status.as_u16(), &made.json()["id"]), (201, &json!("ci/build@acme")));
    api.post("/v1/agents", json!({"id": "ci/build@acme"})).await.problem(409, "Conflict");
    for bad in
        [json!({"id": "a b"}), json!({"id": ""}), json!({}), json!({"id": "a", "role": "x"}), json!([]), json!("a")]
    {
        api.post("/v1/agents", bad).await.problem(400, "BadRequest");
    }
    let path = "/v1/agents/ci%2Fbuild%40acme";
    assert_eq!(api.get(path).await.json()["groups"], json!(["sre"]));
    assert_eq!(api.get("/v1/agents").await.json()["agents"].as_array().map(Vec::len), Some(1));

    let issued = api.post(&format!("{path}/tokens"), json!({"ttl_seconds": 60})).await;
    assert_eq!((issued.status.as_u16(), issued.header("cache-control")), (201, "no-store"));
    let issued = issued.json();
    assert_eq!(api.proves(text(&issued["token"])).as_deref(), Ok("ci/build@acme"));
    api.post(&format!("{path}/tokens"), json!({"ttl_seconds": 3601})).await.problem(400, "BadRequest");
    assert!(api.post(&format!("{path}/tokens"), Value::Null).await.status.is_success());

    assert_eq!(api.post(&format!("{path}/suspend"), Value::Null).await.json()["suspended"], true);
    assert_eq!(api.proves(text(&issued["token"])), Err("suspended"));
    api.post(&format!("{path}/tokens"), Value::Null).await.problem(409, "Conflict");
    assert_eq!(api.post(&format!("{path}/resume"), Value::Null).await.json()["suspended"], false);
    assert!(api.proves(text(&issued["token"])).is_ok());

    let revoked = api.post("/v1/tokens/revoke", json!({"token": issued["token"]})).await.json();
    assert_eq!(revoked["jti"], issued["jti"]);
    assert_eq!(api.proves(text(&issued["token"])), Err("revoked"));
    let other = api.post(&format!("{path}/tokens"), Value::Null).await.json();
    assert!(api.post("/v1/tokens/revoke", json!({"jti": other["jti"]})).await.status.is_success());
    assert_eq!(api.proves(text(&other["token"])), Err("revoked"));
    for bad in
        [json!({}), json!({"jti": "x"}), json!({"token": "x"}), json!({"jti": other["jti"], "token": other["token"]})]
    {
        api.post("/v1/tokens/revoke", bad).await.problem(400, "BadRequest");
    }

    assert_eq!(api.call("DELETE", path, Value::Null).await.status.as_u16(), 204);
    for (method, path) in [("GET", path), ("DELETE", path), ("GET", "/v1/agents/x/keys")] {
        api.call(method, path, Value::Null).await.problem(404, "NotFound");
    }
    for path in ["/v1/agents/x/suspend", "/v1/agents/x/tokens", "/v1/agents/x/keys"] {
        api.post(path, Value::Null).await.problem(404, "NotFound");
    }
    let operations = api.operations().await;
    for done in ["agent.add", "agent.suspend", "agent.resume", "agent.remove"] {
        assert!(operations.contains(&format!("{done} ci/build@acme")), "{done} in {operations:?}");
    }
    assert_eq!(operations.iter().filter(|done| done.starts_with("token.issue ")).count(), 3);
    assert_eq!(operations.iter().filter(|done| done.starts_with("token.revoke ")).count(), 2);
}

#[tokio::test]
async fn an_api_key_becomes_a_token_until_it_is_revoked() {
    let api = Api::new().await;
    api.post("/v1/agents", json!({"id": "ci/build"})).await;
    api.post("/v1/agents", json!({"id": "other"})).await;
    let made = api.post("/v1/agents/ci%2Fbuild/keys", Value::Null).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let made = made.json();
    let (key, id) = (text(&made["key"]), text(&made["id"]));
    assert!(!api.get("/v1/agents/ci%2Fbuild/keys").await.json().to_string().contains(key));
    let past = json!({"expires_at": "2001-01-01T00:00:00Z"});
    api.post("/v1/agents/ci%2Fbuild/keys", past).await.problem(400, "BadRequest");

    let form = format!("grant_type=client_credentials&client_id=ci%2Fbuild&client_secret={key}");
    for (form, basic) in [
        (form.as_str(), None),
        ("grant_type=client_credentials", Some(("ci%2Fbuild", key))),
        ("grant_type=client_credentials&client_id=ci%2Fbuild", Some(("ci%2Fbuild", key))),
    ] {
        let answer = api.token_for(form, basic).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{}", answer.json());
        let granted = answer.json();
        assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(api.proves(text(&granted["access_token"])).as_deref(), Ok("ci/build"));
    }

    let client =
        |id: &str, secret: &str| format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    for (form, basic) in [
        (client("other", key), None),
        (client("nobody", key), None),
        (client("ci%2Fbuild", "aeg_wrong"), None),
        ("grant_type=client_credentials&client_id=ci%2Fbuild".to_owned(), None),
        ("grant_type=client_credentials".to_owned(), None),
        (form.clone(), Some(("ci%2Fbuild", key))),
        ("grant_type=client_credentials&client_id=other".to_owned(), Some(("ci%2Fbuild", key))),
        ("grant_type=client_credentials".to_owned(), Some(("a&b", key))),
    ] {
        let answer = api.token_for(&form, basic).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")), "{form}");
    }
    for (form, error) in [
        (form.replace("client_credentials", "password"), "unsupported_grant_type"),
        (format!("{form}&client_id=other"), "invalid_request"),
        (String::new(), "invalid_request"),
    ] {
        let answer = api.token_for(&form, None).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!(error)), "{form}");
    }

    api.post("/v1/agents/ci%2Fbuild/suspend", Value::Null).await;
    assert_eq!(api.token_for(&form, None).await.status.as_u16(), 401);
    api.post("/v1/agents/ci%2Fbuild/resume", Value::Null).await;
    assert!(api.call("DELETE", &format!("/v1/keys/{id}"), Value::Null).await.json()["revoked_at"].is_string());
    api.call("DELETE", &format!("/v1/keys/{id}"), Value::Null).await.problem(404, "NotFound");
    assert_eq!(api.token_for(&form, None).await.status.as_u16(), 401);
    let records = api.get("/v1/decisions?code=IdentityRejected").await.json().to_string();
    for reason in ["unknown", "of_another_agent", "missing", "malformed", "suspended", "revoked"] {
        assert!(records.contains(&format!("api_key: {reason}")), "{reason}");
    }
    assert!(!records.contains(key));
}

/// Opens an approval as the pipeline does.
async fn asked(api: &Api, name: &str) -> String {
    let call = ToolCall {
        tool: "kubernetes".to_owned(),
        action: "apply".to_owned(),
        classes: ["deploy".to_owned()].into(),
        effect: Effect::Write,
        environment: Environment::named("production"),
        target: [("name".to_owned(), name.to_owned())].into(),
        params: serde_json::Map::new(),
        shape: Shape::Open,
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: aegis_core::cost::Metering::default(),
        payload: Payload::Caller,
    };
    let policies = (api.state.policies)();
    let facts = Facts::new(jiff::Timestamp::now(), "dec_asks", policies.version());
    match decide(&policies, &Agent::named("deploy-manager"), call, &facts) {
        Decision::ApprovalNeeded(ask) => api.state.store.ask(ask, 0.1).await.expect("asked").1.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_operator_approves_rejects_and_cancels() {
    let api = Api::new().await;
    api.post("/v1/agents", json!({"id": "deploy-manager"})).await;
    let id = asked(&api, "web").await;
    let pending = api.get("/v1/approvals?status=pending").await.json();
    assert_eq!(pending["approvals"][0]["id"], id);
    let approved = api.post(&format!("/v1/approvals/{id}/approve"), json!({"comment": "go"})).await.json();
    assert!(text(&approved["override_token"]).starts_with("ovr_"));
    let members = ["state", "decided_by", "comment"].map(|member| approved["approval"][member].clone());
    assert_eq!(members, ["approved", "operator", "go"]);
    assert!(!api.get(&format!("/v1/approvals/{id}")).await.json().to_string().contains("ovr_"), "shown once");
    api.post(&format!("/v1/approvals/{id}/reject"), Value::Null).await.problem(409, "Conflict");
    let cancelled = api.post(&format!("/v1/approvals/{id}/cancel"), Value::Null).await.json();
    assert_eq!(cancelled["approval"]["state"], "cancelled");
    api.post(&format!("/v1/approvals/{id}/approve"), Value::Null).await.problem(409, "Conflict");

    let other = asked(&api, "worker").await;
    let rejected = api.post(&format!("/v1/approvals/{other}/reject"), json!({"comment": "no"})).await.json();
    assert_eq!(rejected["approval"]["state"], "rejected");
    let records = api.get("/v1/audit?event=approval").await.json();
    let by_operator = |record: &&Value| record["by"] == "operator";
    assert_eq!(records["records"].as_array().expect("records").iter().filter(by_operator).count(), 3);
}

#[tokio::test]
async fn the_record_is_followed_without_a_gap() {
    let api = Api::new().await;
    for number in 0..5 {
        api.post("/v1/agents", json!({"id": format!("agent-{number}")})).await;
    }
    // The first two are of the policies that came into force.
    let first = api.get("/v1/audit?after=0&limit=2").await.json();
    assert_eq!((first["records"][0]["seq"].as_u64(), first["next"].as_u64()), (Some(1), Some(2)));
    let rest = api.get("/v1/audit?after=2").await.json();
    assert_eq!((rest["records"].as_array().map(Vec::len), rest["next"].as_u64()), (Some(5), Some(7)));
    assert_eq!(api.get("/v1/audit?after=7").await.json(), json!({"records": [], "next": 7}));

    let (waited, _) = tokio::join!(api.get("/v1/audit?after=7&wait=30"), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        api.post("/v1/agents", json!({"id": "late"})).await
    });
    assert_eq!(waited.json()["records"][0]["subject"], "late");
    assert_eq!(api.get("/v1/audit?after=8&wait=1").await.json(), json!({"records": [], "next": 8}));
    for bad in ["after=x", "wait=1", "colour=red", "after=1&after=2", "since=yesterday", "decision=maybe"] {
        api.get(&format!("/v1/audit?{bad}")).await.problem(400, "BadRequest");
    }
    api.get("/v1/decisions?event=operation").await.problem(400, "BadRequest");
}

#[tokio::test]
async fn policies_and_bundles_are_served_by_version() {
    let api = Api::new().await;
    let policies = api.get("/v1/policies").await.json();
    assert_eq!((&policies["policies"], &policies["mode"]), (&json!(1), &json!("enforce")));
    let version = text(&policies["version"]);
    let bundle = api.get("/v1/bundles/aegis").await;
    let etag = bundle.header("etag").to_owned();
    assert!(etag.starts_with(&format!("W/\"{version}.")), "{etag}");
    assert_eq!((bundle.status.as_u16(), bundle.header("content-type")), (200, "application/gzip"));
    let key = api.get("/v1/bundles/aegis/key").await.json();
    let key = VerifyingKey::from_pem(text(&key["key"]).as_bytes()).expect("a key");
    let archive = verify(Archive::read(&bundle.body).expect("an archive"), &[key]).expect("signed").archive;
    let current = (api.state.policies)();
    let plain = Archive::read(&current.bundle(current.publication())).expect("an archive");
    assert!(plain.files().all(|(name, content)| archive.file(name) == Some(content)));
    let strong = etag.trim_start_matches("W/");
    for (tag, status) in [
        (etag.clone(), 304),
        (strong.to_owned(), 304),
        (format!("\"old\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"old\"".to_owned(), 200),
    ] {
        let request = Request::builder().uri("/v1/bundles/aegis").header("if-none-match", &tag);
        let request = request.header("authorization", api.bearer()).body(Body::empty()).expect("a request");
        let answer = api.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.body.is_empty()), (status, status == 304), "{tag}");
    }
    api.get("/v1/bundles/other/key").await.problem(404, "NotFound");
    // Those who wait are counted, and one too many is told to come again.
    let places: Vec<_> = std::iter::from_fn(|| api.state.bundles.waiter()).collect();
    assert_eq!(places.len(), 256);
    let request = Request::builder().uri("/v1/bundles/aegis").header("if-none-match", &etag).header("prefer", "wait=1");
    let request = request.header("authorization", api.bearer()).body(Body::empty()).expect("a request");
    assert_eq!(api.send(request).await.problem(503, "GatewayUnavailable")["retryable"], true);
    api.get("/v1/bundles/other").await.problem(404, "NotFound");

    let refused = api.post("/v1/policies/reload", Value::Null).await.problem(422, "PolicyInvalid");
    assert_eq!(refused["errors"][0]["file"], "policy.yaml");
    assert_eq!(api.post("/v1/policies/reload", Value::Null).await.json()["version"], version);
    let operations = api.operations().await;
    assert_eq!(operations, [format!("policy.take_folder {version}"), format!("policy.take_folder {version}")]);
}

#[tokio::test]
async fn health_keys_and_metrics() {
    let api = Api::new().await;
    let open = |path: &str| Request::builder().uri(path).body(Body::empty()).expect("a request");
    assert_eq!(api.send(open("/healthz")).await.status.as_u16(), 200);
    assert_eq!(api.send(open("/readyz")).await.json()["status"], "ready");
    let jwks = api.send(open("/.well-known/jwks.json")).await.json();
    assert_eq!((&jwks["keys"][0]["crv"], &jwks["keys"][0]["use"]), (&json!("Ed25519"), &json!("sig")));
    assert!(jwks["keys"][0].get("d").is_none());
    let metrics = api.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(String::from_utf8_lossy(&metrics.body).contains("aegis_decision_duration_seconds"));

    let public = router(ApiState { metrics_public: true, ..api.state.clone() });
    assert_eq!(public.oneshot(open("/metrics")).await.expect("an answer").status().as_u16(), 200);
    api.state.store.close().await;
    api.send(open("/readyz")).await.problem(503, "GatewayUnavailable");
    assert_eq!(api.send(open("/healthz")).await.status.as_u16(), 200);
    assert!(api.dir.path().exists());
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let api = Api::new().await;
    api.get("/v2").await.problem(404, "NotFound");
    let wrong = api.call("PUT", "/v1/agents", Value::Null).await;
    wrong.problem(405, "MethodNotAllowed");
    assert!(wrong.header("allow").contains("POST"));
    api.post("/v1/agents", json!({"id": "a".repeat(70_000)})).await.problem(413, "TooLarge");
    api.get("/v1/agents/%ff").await.problem(400, "BadRequest");
    api.get("/v1/approvals/apr_none").await.problem(404, "NotFound");
    api.post("/v1/approvals/apr_none/approve", json!({"comment": "x"})).await.problem(404, "NotFound");
    api.post("/v1/approvals/apr_none/approve", json!({"comment": "x".repeat(1001)})).await.problem(400, "BadRequest");
    assert_eq!(api.get("/v1/approvals?status=pending").await.json(), json!({"approvals": []}));
    api.get("/v1/approvals?status=maybe").await.problem(400, "BadRequest");
}

#[tokio::test]
async fn a_web_page_can_change_nothing() {
    let api = Api::new().await;
    let from_page = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("origin", "http://127.0.0.1:4181");
        request.header("authorization", api.bearer()).body(Body::from(r#"{"id":"a"}"#)).expect("a request")
    };
    for (method, path) in
        [("POST", "/v1/agents"), ("POST", "/oauth2/token"), ("DELETE", "/v1/agents/a"), ("OPTIONS", "/v1/agents")]
    {
        let answer = api.send(from_page(method, path)).await;
        answer.problem(403, "Forbidden");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    assert!(api.state.store.agents().is_empty());
}

#[tokio::test]
async fn versions_are_published_listed_shown_and_gone_back_from() {
    let api = Api::new().await;
    let first = text(&api.get("/v1/policies").await.json()["version"]).to_owned();
    let sources = json!([{"file": "p.yaml", "text": format!("{POLICY}    max_replicas: 5\n")}]);
    let published = api.post("/v1/policies", json!({"sources": sources, "note": "a cap", "risk": "low"})).await.json();
    let second = text(&published["version"]).to_owned();
    assert_ne!(second, first);
    let members = ["by", "origin", "note"].map(|member| published["active"][member].clone());
    assert_eq!(members, ["operator", "published", "a cap"]);

    let list = api.get("/v1/policies").await.json();
    let ids: Vec<&str> =
        list["versions"].as_array().expect("versions").iter().map(|kept| text(&kept["version"])).collect();
    assert_eq!(ids, [second.as_str(), first.as_str()]);
    let shown = api.get(&format!("/v1/policies/{second}?source=true")).await.json();
    assert_eq!((&shown["sources"], &shown["risk"], &shown["author"]), (&sources, &json!("low"), &json!("operator")));
    assert!(api.get(&format!("/v1/policies/{second}")).await.json().get("sources").is_none());

    let bad = json!({"sources": [{"file": "p.yaml", "text": "agnet: x\n"}]});
    let refused = api.post("/v1/policies", bad).await.problem(422, "PolicyInvalid");
    assert_eq!(refused["errors"][0]["file"], "p.yaml");
    assert!(text(&refused["detail"]).contains(&second), "{refused}");
    for bad in
        [json!({}), json!({"sources": "x"}), json!({"sources": [], "risk": "none"}), json!({"sources": [], "x": 1})]
    {
        api.post("/v1/policies", bad).await.problem(400, "BadRequest");
    }
    let long = json!({"sources": [], "note": "x".repeat(1001)});
    api.post("/v1/policies", long).await.problem(400, "BadRequest");

    assert_eq!(api.post("/v1/policies/rollback", Value::Null).await.json()["version"], first);
    api.post("/v1/policies/rollback", json!({"version": first})).await.problem(409, "Conflict");
    api.post("/v1/policies/rollback", json!({"version": "pol_none"})).await.problem(404, "NotFound");
    api.get("/v1/policies/pol_none").await.problem(404, "NotFound");
    let operations = api.operations().await;
    assert!(operations.contains(&format!("policy.publish {second}: a cap")), "{operations:?}");
    assert!(operations.contains(&format!("policy.rollback {first}")), "{operations:?}");
}

#[tokio::test]
async fn a_policy_is_switched_and_a_version_is_tried() {
    let api = Api::new().await;
    let first = text(&api.get("/v1/policies").await.json()["version"]).to_owned();
    let mode = "/v1/policies/modes/deploy-manager";
    let switched = api.call("PUT", mode, json!({"mode": "shadow"})).await.json();
    assert_ne!(switched["version"], first);
    api.call("PUT", mode, json!({"mode": "off"})).await.problem(400, "BadRequest");
    api.call("PUT", "/v1/policies/modes/x", json!({"mode": "shadow"})).await.problem(404, "NotFound");
    assert_eq!(api.call("DELETE", mode, Value::Null).await.json()["version"], first);

    let canary = async |body: Value| api.call("PUT", "/v1/policies/canary", body).await;
    let tried = switched["version"].clone();
    for bad in [
        json!({"version": tried}),
        json!({"version": tried, "share": 0.5, "agents": ["a"]}),
        json!({"version": tried, "agents": ["a"], "by": "call"}),
        json!({"share": 0.5}),
    ] {
        canary(bad).await.problem(400, "BadRequest");
    }
    canary(json!({"version": tried, "share": 2.0})).await.problem(409, "Conflict");
    canary(json!({"version": first, "share": 0.5})).await.problem(409, "Conflict");
    canary(json!({"version": "pol_none", "share": 0.5})).await.problem(404, "NotFound");
    let started = canary(json!({"version": tried, "share": 0.5})).await.json();
    assert_eq!((&started["canary"]["version"], &started["version"]), (&tried, &json!(first)));
    assert_eq!(started["canary"]["of"], json!({"share_of_agents": {"share": 0.5}}), "nobody is told the key");
    assert!(api.call("DELETE", "/v1/policies/canary", Value::Null).await.json()["canary"].is_null());
    api.post("/v1/policies/canary/promote", Value::Null).await.problem(409, "Conflict");
    canary(json!({"version": tried, "groups": ["beta"]})).await;
    assert_eq!(api.post("/v1/policies/canary/promote", Value::Null).await.json()["version"], tried);
}

/// More than the other endpoints take: policies are large.
#[tokio::test]
async fn large_policies_are_taken_and_larger_ones_are_not() {
    let api = Api::new().await;
    let padded =
        |bytes: usize| json!({"sources": [{"file": "p.yaml", "text": format!("{POLICY}# {}\n", "x".repeat(bytes))}]});
    assert_eq!(api.post("/v1/policies", padded(900_000)).await.status.as_u16(), 200);
    api.post("/v1/policies", padded(33 << 20)).await.problem(413, "TooLarge");
}
