//! Real Envoy in front of a tool, asking Aegis about each call: `deploy/envoy/*.yaml` as they stand, but for the ports.

mod failures;
mod http_form;
pub(crate) mod recorder;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use self::recorder::Recorder;
use crate::process::{Gateway, eventually, text};
use crate::tools::tool;

const GRPC: &str = include_str!("../../../../deploy/envoy/envoy.yaml");
/// What Envoy buffers, as the configuration says.
const BUFFERED: usize = 1_048_576;
const SCALE: &str = "/apis/apps/v1/namespaces/shop-staging/deployments/web/scale";
const IN_PRODUCTION: &str = "/apis/apps/v1/namespaces/shop-prod/deployments/web/scale";

const ENVIRONMENTS: &str = "environments:
  - {match: {tool: kubernetes, cluster: main, namespace: \"*-prod\"}, env: production}
  - {match: {tool: kubernetes, cluster: main, namespace: \"*-staging\"}, env: staging}
";
const SCALER: &str = "agent: scaler
egress: {allow: [\"tool.example:80\"]}
actions:
  - name: kubernetes/scale
    allowed_environments: [staging]
    approval_needed: env == \"production\"
    max_replicas: 50
";
const REDACTED: &str = "agent: scaler
egress: {allow: [\"tool.example:80\"]}
actions:
  - name: http/request
    sanitize: {detect: [pii]}
";

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// An Envoy that ends with the test.
struct Envoy {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Envoy {
    /// Starts one with this configuration, its listener on a free port.
    fn start(gateway: &Gateway, config: &str) -> Self {
        let admin = free_port();
        let envoy = Self::start_alone(gateway, &config.replace("port_value: 9901", &format!("port_value: {admin}")));
        // Its first health check of Aegis decides whether it asks at all.
        eventually("Envoy knows that Aegis is there", || {
            let clusters = text(&curl(&[&format!("http://127.0.0.1:{admin}/clusters")]));
            clusters
                .lines()
                .any(|line| line.starts_with("aegis::127.0.0.1") && line.ends_with("::health_flags::healthy"))
        });
        envoy
    }

    /// The same, and nobody looks whether Aegis is there.
    fn start_alone(gateway: &Gateway, config: &str) -> Self {
        let (port, admin) = (free_port(), free_port());
        let config = config
            .replace("port_value: 10000", &format!("port_value: {port}"))
            .replace("port_value: 9901", &format!("port_value: {admin}"));
        let (file, log) = (gateway.folder.path("envoy.yaml"), gateway.folder.path("envoy.log"));
        std::fs::write(&file, config).expect("written");
        let out = std::fs::File::create(&log).expect("made");
        let mut command = Command::new(tool("envoy"));
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let errors = out.try_clone().expect("a handle");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().expect("envoy runs");
        let envoy = Self { child, address: ([127, 0, 0, 1], port).into(), log };
        eventually("Envoy listens", || TcpStream::connect(envoy.address).is_ok());
        envoy
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// The access log so far.
    fn accesses(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(arguments)
        .output()
        .expect("curl runs")
}

/// An answer as curl got it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (mut head, mut body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        // After `100 Continue` comes the answer.
        if head.contains(" 100 ") {
            (head, body) = body.split_once("\r\n\r\n").unwrap_or((body, ""));
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.body))
    }
}

/// A gateway, an Envoy that asks it, and a tool behind that.
struct Setup {
    gateway: Gateway,
    envoy: Envoy,
    tool: Recorder,
    token: String,
}

impl Setup {
    fn start(policy: &str, config: impl FnOnce(String) -> String) -> Self {
        let tool = Recorder::start();
        let gateway = Gateway::start(ENVIRONMENTS, &[("scaler.yaml", policy)]);
        let token = gateway.folder.agent("scaler");
        let config = config(GRPC.to_owned())
            .replace("port_value: 4182", &format!("port_value: {}", gateway.address("ext_authz").port()))
            .replace("port_value: 4181", &format!("port_value: {}", gateway.address("api").port()))
            .replace("port_value: 8001", &format!("port_value: {}", tool.address.port()));
        let envoy = Envoy::start(&gateway, &config);
        Self { gateway, envoy, tool, token }
    }

    /// Where the host that the agent names decides.
    fn by_host(policy: &str) -> Self {
        Self::start(policy, |config| {
            let words = ["aegis.tool: kubernetes", "aegis.cluster: main"];
            words.iter().fold(config, |config, word| config.replace(word, &word.replace("aegis.", "other.")))
        })
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        Answer::of(&curl(&[&["--include", "-H", &authorization], arguments].concat()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.envoy.address)
    }

    fn scale(&self, path: &str, replicas: u32) -> Answer {
        let body = json!({"spec": {"replicas": replicas}}).to_string();
        self.patch(path, &body, &[])
    }

    fn patch(&self, path: &str, body: &str, more: &[&str]) -> Answer {
        let file = self.gateway.folder.path("body.json");
        std::fs::write(&file, body).expect("written");
        let (data, url) = (format!("@{}", file.display()), self.url(path));
        let patch = ["-X", "PATCH", "-H", "Content-Type: application/merge-patch+json", "--data-binary", &data, &url];
        self.call(&[&patch[..], more].concat())
    }

    /// The reason of the last decision on record.
    fn reason(&self) -> String {
        let decision = self.gateway.folder.decisions("scaler").pop().expect("a decision");
        assert_eq!(decision["via"], "ext_authz", "{decision}");
        decision["decision_reason"].as_str().or(decision["reason"].as_str()).expect("a reason").to_owned()
    }
}

#[test]
fn an_allowed_call_reaches_the_tool_without_our_credential_and_a_refused_one_comes_back_with_its_reason() {
    let setup = Setup::start(SCALER, |config| config);
    let answer = setup.scale(SCALE, 50);
    assert_eq!(answer.status, 200, "{}{}\n{}", answer.head, answer.body, setup.envoy.log());
    for header in ["aegis-decision: allow", "aegis-decision-id: dec_", "aegis-policy-version: pol_"] {
        assert!(answer.head.contains(header), "{header} isn't in {}", answer.head);
    }
    let seen = setup.tool.seen().pop().expect("a call");
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.body.as_str()),
        ("PATCH", SCALE, r#"{"spec":{"replicas":50}}"#)
    );
    assert!(seen.header("traceparent").is_some() && seen.header("authorization").is_none(), "{seen:?}");
    assert!(!format!("{seen:?}").contains(&setup.token) && !format!("{seen:?}").contains("aegis"), "{seen:?}");

    let answer = setup.scale(SCALE, 200);
    let status = answer.json();
    assert_eq!((answer.status, &status["kind"], &status["title"]), (403, &json!("Status"), &json!("PolicyViolation")));
    assert_eq!(status["violations"][0]["rule"], "max_replicas");
    assert!(answer.head.contains("aegis-decision: deny") && answer.head.contains("content-type: application/json"));
    let answer = Answer::of(&curl(&["--include", "-H", "Authorization: Bearer x", &setup.url(SCALE)]));
    assert_eq!((answer.status, &answer.json()["title"]), (401, &json!("IdentityRejected")));
    assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    assert_eq!(setup.tool.seen().len(), 1, "what is refused sends nothing");

    // The access log leads to the record.
    let record = setup.gateway.folder.decisions("scaler").pop().expect("a decision");
    eventually("Envoy has logged them", || setup.envoy.accesses().len() >= 3);
    let logged = setup.envoy.accesses();
    let denied =
        logged.iter().find(|line| line["aegis"]["decision"] == "deny" && line["status"] == 403).expect("a line");
    assert_eq!(denied["aegis"]["decision_id"], record["decision_id"], "{denied} {record}");
    for (key, value) in [("agent_id", "scaler"), ("tool", "kubernetes"), ("action", "scale"), ("env", "staging")] {
        assert_eq!(denied["aegis"][key], value, "{denied}");
    }
    assert_eq!(denied["aegis"]["reason"], "max_replicas: above_maximum");
}

#[test]
fn an_approval_is_asked_for_and_the_repeated_call_passes_once() {
    let setup = Setup::start(SCALER, |config| config);
    let asked = setup.scale(IN_PRODUCTION, 5);
    let status = asked.json();
    assert_eq!((asked.status, &status["title"]), (403, &json!("ApprovalNeeded")), "{status}");
    assert!(asked.head.contains("retry-after: "), "{}", asked.head);
    let id = status["approval"]["id"].as_str().expect("an approval");
    assert_eq!(setup.scale(IN_PRODUCTION, 5).json()["approval"]["id"], id, "asked once");
    assert!(setup.gateway.folder.run(&["approvals", "approve", id]).status.success());
    assert_eq!(setup.scale(IN_PRODUCTION, 6).status, 403, "another call");
    assert_eq!(setup.scale(IN_PRODUCTION, 5).status, 200);
    assert_eq!(setup.scale(IN_PRODUCTION, 5).json()["title"], "ApprovalNeeded", "it held once");
    assert_eq!(setup.tool.seen().len(), 1);
}

/// A patch of exactly so many bytes.
fn padded(length: usize) -> String {
    let (start, end) = ("{\"spec\":{\"replicas\":5},\"metadata\":{\"annotations\":{\"a\":\"", "\"}}}");
    format!("{start}{}{end}", "x".repeat(length - start.len() - end.len()))
}

#[test]
fn a_body_is_judged_whole_or_not_at_all() {
    let setup = Setup::start(SCALER, |config| config);
    let deployment = SCALE.trim_end_matches("/scale");
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    let policy = SCALER.replace("kubernetes/scale", "kubernetes/*").replace("    max_replicas: 50\n", "");
    std::fs::write(setup.gateway.folder.path("policies/scaler.yaml"), policy).expect("written");
    eventually("the policy is in force", || setup.patch(deployment, &padded(100), &[]).status == 200);

    assert_eq!(setup.call(&[&setup.url(deployment)]).status, 200, "no body: {}", setup.envoy.log());
    assert_eq!(setup.patch(deployment, &padded(BUFFERED), &[]).status, 200);
    assert_eq!(setup.patch(deployment, &padded(BUFFERED - 1), &chunked).status, 200);
    let reached = setup.tool.seen().len();
    for (body, more) in
        [(BUFFERED + 1, &[][..]), (3 * BUFFERED, &[][..]), (BUFFERED + 1, &chunked), (BUFFERED, &chunked)]
    {
        let answer = setup.patch(deployment, &padded(body), more);
        assert_eq!((answer.status, setup.reason().as_str()), (403, "body: partial"), "{body} {more:?} {}", answer.body);
        assert!(answer.body.contains("max_request_bytes"), "{}", answer.body);
    }
    assert_eq!(setup.tool.seen().len(), reached);
    assert_eq!(setup.tool.seen().iter().filter(|seen| seen.body.len() == BUFFERED).count(), 1);
}

#[test]
fn what_two_servers_could_read_differently_sends_nothing() {
    let setup = Setup::start(SCALER, |config| config);
    let other = SCALE.replace("shop-staging", "shop-prod");
    for path in [
        SCALE.replace("shop-staging", "shop%2Dstaging"),
        SCALE.replace("shop-staging", "shop-prod%2F..%2Fshop-staging"),
        SCALE.replace("shop-staging", "shop-staging;x"),
        format!("{SCALE}/%2e%2e%2fscale"),
        other.replace("shop-prod", "shop-staging/%252e%252e/shop-prod"),
    ] {
        let url = setup.url(&path);
        let answer = setup.call(&["--path-as-is", "-X", "PATCH", "-d", r#"{"spec":{"replicas":5}}"#, &url]);
        assert!([400, 403].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    assert_eq!(setup.tool.seen().len(), 0, "{:?}", setup.tool.seen());
    // What Envoy normalises before it asks is asked about as it will be sent.
    let url = setup.url(&SCALE.replace("/apps/", "/x/../apps//"));
    let answer = setup.call(&[
        "--path-as-is",
        "-X",
        "PATCH",
        "-H",
        "Content-Type: application/merge-patch+json",
        "-d",
        r#"{"spec":{"replicas":5}}"#,
        &url,
    ]);
    assert_eq!((answer.status, setup.tool.seen().pop().expect("a call").target.as_str()), (200, SCALE));
}

#[test]
fn headers_and_query_are_redacted_on_their_way_and_a_body_that_would_have_to_be_is_refused() {
    let setup = Setup::by_host(REDACTED);
    let mail = ["ann", "example.com"].join("@");
    let host = "Host: tool.example";
    let from = format!("X-From: {mail}");
    let url = setup.url(&format!("/find?q=%C3%BC+b&to={}&x", mail.replace('@', "%40")));
    let answer = setup.call(&["-H", host, "-H", &from, "-H", "X-Two: 1", "-H", "X-Two: 2", &url]);
    assert_eq!(answer.status, 200, "{}{}\n{}", answer.head, answer.body, setup.envoy.log());
    assert!(answer.head.contains("aegis-decision: sanitize"), "{}", answer.head);
    let seen = setup.tool.seen().pop().expect("a call");
    assert!(!format!("{seen:?}").contains("example.com"), "{seen:?}");
    assert!(seen.header("x-from").is_some_and(|value| value.contains("REDACTED")), "{seen:?}");
    let query: Vec<(String, String)> =
        form_urlencoded::parse(seen.target.split_once('?').expect("a query").1.as_bytes()).into_owned().collect();
    let value = |name: &str| query.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str()).collect::<Vec<_>>();
    assert!(matches!(value("to")[..], [one] if one.contains("REDACTED")), "{query:?}");
    assert_eq!((value("q"), value("x"), query.len()), (vec!["ü b"], vec![""], 3), "{query:?}");
    assert_eq!(seen.header("x-two"), Some("1,2"), "{seen:?}");

    let reached = setup.tool.seen().len();
    let body = json!({"message": mail}).to_string();
    let answer = setup.call(&["-H", host, "-H", "Content-Type: application/json", "-d", &body, &setup.url("/say")]);
    assert_eq!((answer.status, setup.reason().as_str()), (403, "sanitize: not_enforceable"), "{}", answer.body);
    assert!(
        answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("Aegis's own proxy")),
        "{}",
        answer.body
    );
    assert_eq!(setup.tool.seen().len(), reached);
    let clean = setup.call(&["-H", host, "-H", "Content-Type: application/json", "-d", "{}", &setup.url("/say")]);
    assert_eq!(clean.status, 200, "{}", clean.body);
    assert_eq!(setup.call(&["-H", "Host: evil.example", &setup.url("/")]).status, 403);
}
