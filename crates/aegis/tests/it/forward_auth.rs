//! Real nginx, Caddy, HAProxy and Traefik in front of a tool, asking `/v1/authorize` about each call: `deploy/*` as they stand,
//! but for the ports.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::envoy::recorder::Recorder;
use crate::envoy::{Answer, curl, free_port};
use crate::process::{Gateway, eventually};
use crate::tools::tool;

const CONFIG: &str = "environments:
  - {match: {tool: kubernetes, cluster: main, namespace: \"*-prod\"}, env: production}
  - {match: {tool: kubernetes, cluster: main, namespace: \"*-staging\"}, env: staging}
";
const POLICY: &str = "agent: operator-bot
actions:
  - name: kubernetes/list
  - name: kubernetes/delete
    allowed_environments: [staging]
    approval_needed: env == \"production\"
  - name: kubernetes/scale
    max_replicas: 50
";
const LIST: &str = "/apis/apps/v1/namespaces/shop-staging/deployments?limit=5";
const IN_PRODUCTION: &str = "/apis/apps/v1/namespaces/shop-prod/deployments/web";
const SECRET: &str = "/api/v1/namespaces/shop-staging/secrets/db";
const SCALE: &str = "/apis/apps/v1/namespaces/shop-staging/deployments/web/scale";

/// What a proxy does with bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodies {
    /// Sends them to Aegis.
    Sent,
    /// Passes none on.
    Dropped,
    /// Neither.
    Unread,
}

/// A proxy that ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Setup {
    gateway: Gateway,
    tool: Recorder,
    token: String,
    address: SocketAddr,
    _proxy: Proxy,
}

fn deployed(name: &str) -> String {
    let path = root().join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Setup {
    /// Starts `command` on these files of `deploy/`, written to the gateway's folder with the ports of this test.
    fn start(files: &[&str], command: impl FnOnce(&Gateway, &[PathBuf]) -> Command) -> Self {
        let gateway = Gateway::start(CONFIG, &[("bot.yaml", POLICY)]);
        let token = gateway.folder.agent("operator-bot");
        let tool = Recorder::start();
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let written: Vec<PathBuf> = files
            .iter()
            .map(|name| {
                let text = deployed(name)
                    .replace("127.0.0.1:10000", &address.to_string())
                    .replace("127.0.0.1:4181", &gateway.address("api").to_string())
                    .replace("127.0.0.1:8001", &tool.address.to_string());
                let path = gateway.folder.path(&name.replace('/', "-"));
                std::fs::write(&path, text).expect("written");
                path
            })
            .collect();
        let log = std::fs::File::create(gateway.folder.path("proxy.log")).expect("made");
        let mut command = command(&gateway, &written);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let proxy = Proxy(command.spawn().expect("it runs"));
        let setup = Self { gateway, tool, token, address, _proxy: proxy };
        let log = setup.gateway.folder.path("proxy.log");
        eventually(&format!("it listens, see {}", log.display()), || TcpStream::connect(setup.address).is_ok());
        setup
    }

    fn call(&self, arguments: &[&str], path: &str) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        let url = format!("http://{}{path}", self.address);
        Answer::of(&curl(&[&["--include", "--path-as-is", "-H", &authorization], arguments, &[&url]].concat()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.gateway.folder.path("proxy.log")).unwrap_or_default() + &self.gateway.log()
    }

    fn last(&self) -> Value {
        let record = self.gateway.folder.decisions("operator-bot").pop().expect("a decision");
        assert_eq!(record["via"], "authorize", "{record}");
        record
    }

    /// What is the same whichever proxy asks.
    fn behaves(self, bodies: Bodies) {
        self.passes_and_refuses();
        self.judges_bodies(bodies);
        self.asks_a_human(bodies);
        self.is_not_fooled();
        self.fails_closed();
    }

    fn passes_and_refuses(&self) {
        let answer = self.call(&["-H", "X-Mine: kept", "-H", "Aegis-Note: x"], LIST);
        assert_eq!(answer.status, 200, "{}{}\n{}", answer.head, answer.body, self.log());
        let seen = self.tool.seen().pop().expect("a call");
        assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.header("x-mine")), ("GET", LIST, Some("kept")));
        assert!(seen.header("authorization").is_none_or(str::is_empty), "{seen:?}");
        assert!(!format!("{seen:?}").contains(&self.token), "{seen:?}");
        let trace = seen.header("traceparent").expect("a trace").to_owned();
        assert!(trace.contains(self.last()["trace_id"].as_str().expect("a trace")), "{trace}");

        let answer = self.call(&[], SECRET);
        let problem = answer.json();
        assert_eq!(answer.status, 403, "{}{}", answer.head, answer.body);
        assert_eq!(problem["title"], "PolicyViolation", "the agent is told why: {problem}");
        assert_eq!(problem["decision_id"], self.last()["decision_id"]);
        let url = format!("http://{}{LIST}", self.address);
        let nobody = Answer::of(&curl(&["--include", "-H", "Authorization: Bearer nonsense", &url]));
        assert_eq!((nobody.status, &nobody.json()["title"]), (401, &json!("IdentityRejected")), "{}", nobody.head);
        assert_eq!(self.tool.seen().len(), 1);
    }

    fn scale(&self, replicas: u32) -> Answer {
        let body = json!({"spec": {"replicas": replicas}}).to_string();
        self.call(&["-X", "PATCH", "-H", "Content-Type: application/merge-patch+json", "-d", &body], SCALE)
    }

    fn judges_bodies(&self, bodies: Bodies) {
        let reached = self.tool.seen().len();
        let (allowed, refused) = (self.scale(50), self.scale(200));
        assert_eq!(refused.status, 403, "{}", refused.body);
        match bodies {
            Bodies::Sent => {
                assert_eq!(self.last()["reason"], "max_replicas: above_maximum");
                assert_eq!(allowed.status, 200, "{}{}\n{}", allowed.head, allowed.body, self.log());
                assert_eq!(self.tool.seen().pop().expect("a call").body, r#"{"spec":{"replicas":50}}"#);
                assert_eq!(self.tool.seen().len(), reached + 1);
            }
            Bodies::Unread => {
                assert_eq!((allowed.status, self.last()["reason"].as_str()), (403, Some("body: not_sent")));
                assert!(allowed.body.contains("body: sent"), "it says what to do: {}", allowed.body);
                assert_eq!(self.tool.seen().len(), reached);
            }
            Bodies::Dropped => {
                assert_eq!(allowed.status, 403, "a scale to nothing is none: {}", allowed.body);
                assert_eq!(self.tool.seen().len(), reached);
                let answer = self.call(&["-X", "GET", "-d", "more=1"], LIST);
                assert_eq!((answer.status, self.tool.seen().pop().expect("a call").body.as_str()), (200, ""));
            }
        }
    }

    fn asks_a_human(&self, bodies: Bodies) {
        let delete = || self.call(&["-X", "DELETE"], IN_PRODUCTION);
        let asked = delete();
        assert_eq!(asked.status, 403, "{}", asked.body);
        if bodies == Bodies::Unread {
            assert_eq!(self.last()["reason"], "body: not_sent", "only its body says whether a deletion is a trial run");
            return;
        }
        let problem = asked.json();
        assert_eq!(problem["title"], "ApprovalNeeded", "{problem}");
        let id = problem["approval"]["id"].as_str().expect("an approval");
        assert!(self.gateway.folder.run(&["approvals", "approve", id]).status.success());
        let passed = delete();
        assert_eq!(passed.status, 200, "{}", passed.body);
        assert_eq!(delete().json()["title"], "ApprovalNeeded", "it held once");
        let deleted = self.tool.seen().iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!(deleted, 1);
    }

    fn is_not_fooled(&self) {
        let reached = self.tool.seen().len();
        let host = self.address.to_string();
        let url = format!("X-Original-URL: http://{host}{LIST}");
        let (uri, forwarded_host) = (format!("X-Forwarded-Uri: {LIST}"), format!("X-Forwarded-Host: {host}"));
        let original = ["-H", "X-Original-Method: GET", "-H", &url];
        let forwarded =
            ["-H", "X-Forwarded-Method: GET", "-H", "X-Forwarded-Proto: http", "-H", &forwarded_host, "-H", &uri];
        for headers in [&original[..], &forwarded[..], &[&original[..], &forwarded[..]].concat()] {
            let answer = self.call(headers, SECRET);
            assert!([400, 403].contains(&answer.status), "{headers:?}: {} {}", answer.status, answer.body);
        }
        let list = LIST.split('?').next().unwrap_or_default();
        for path in [
            format!("{list}/../../../../../../..{SECRET}"),
            list.replace("/deployments", "/%2e%2e/%2e%2e/secrets"),
            list.replace("/deployments", ";/deployments"),
            list.replace("shop-staging", "shop%2Dstaging"),
        ] {
            self.call(&[], &path);
        }
        // Traefik normalises before it asks: what it sends on then is what it asked about.
        for seen in self.tool.seen().split_off(reached) {
            let canonical = !["..", "%", ";", "//"].iter().any(|odd| seen.target.contains(odd));
            assert!(canonical && seen.target != SECRET, "{seen:?}");
        }
    }

    fn fails_closed(&self) {
        let reached = self.tool.seen().len();
        self.gateway.signal("-STOP");
        let hanging = self.call(&[], LIST);
        assert!(hanging.status >= 400 || hanging.status == 0, "{} {}", hanging.status, hanging.body);
        self.gateway.signal("-KILL");
        for _ in 0..3 {
            let answer = self.call(&[], LIST);
            assert!(answer.status >= 400 || answer.status == 0, "{} {}", answer.status, answer.body);
        }
        assert_eq!(self.tool.seen().len(), reached);
    }
}

#[test]
fn nginx_asks_and_obeys() {
    let setup = Setup::start(&["nginx/nginx.conf"], |gateway, files| {
        // Its own folders are the system's, and it wants to run as somebody else.
        let text = std::fs::read_to_string(&files[0]).expect("written");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path tmp-{of};"));
        std::fs::write(
            &files[0],
            text.replace("http {\n", &format!("http {{\n  access_log off; {}\n", paths.join(" "))),
        )
        .expect("written");
        let mut command = Command::new(tool("nginx"));
        command.arg("-p").arg(gateway.folder.path("")).arg("-c").arg(&files[0]).args(["-e", "stderr"]);
        command.args(["-g", "daemon off; master_process off; pid nginx.pid;"]);
        command
    });
    let answer = setup.call(&[], LIST);
    assert!(
        answer.head.contains("aegis-decision: allow") && answer.head.contains("aegis-decision-id: dec_"),
        "{}",
        answer.head
    );
    setup.tool.forget();
    setup.behaves(Bodies::Dropped);
}

#[test]
fn caddy_asks_and_obeys() {
    let setup = Setup::start(&["caddy/Caddyfile"], |gateway, files| {
        let mut command = Command::new(tool("caddy"));
        command.arg("run").arg("--config").arg(&files[0]).args(["--adapter", "caddyfile"]);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, gateway.folder.path(""));
        }
        command
    });
    setup.behaves(Bodies::Unread);
}

#[test]
fn haproxy_asks_and_obeys() {
    let setup = Setup::start(&["haproxy/haproxy.cfg"], |_, files| {
        let mut command = Command::new(tool("haproxy"));
        command.arg("-db").arg("-f").arg(&files[0]).current_dir(root());
        command
    });
    let answer = setup.call(&[], LIST);
    assert!(
        answer.head.contains("aegis-decision: allow") && answer.head.contains("aegis-decision-id: dec_"),
        "{}",
        answer.head
    );
    setup.tool.forget();
    setup.behaves(Bodies::Sent);
}

#[test]
fn traefik_asks_and_obeys() {
    let setup = Setup::start(&["traefik/traefik.yaml", "traefik/aegis.yaml"], |_, files| {
        let text = std::fs::read_to_string(&files[0]).expect("written");
        std::fs::write(&files[0], text.replace("deploy/traefik/aegis.yaml", files[1].to_str().expect("text")))
            .expect("written");
        let mut command = Command::new(tool("traefik"));
        command.arg(format!("--configFile={}", files[0].display()));
        command
    });
    eventually("it has read its routers", || setup.call(&[], LIST).status != 404);
    setup.tool.forget();
    setup.behaves(Bodies::Sent);
}
