//! Real kubectl through the sidecar's TLS listener, against a stand-in for the Kubernetes API that remembers what it was sent (see
//! `standin.rs`): credentials, approvals over a crash, the kill switch. What a real server makes of it is in `kube.rs`.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::process::Gateway;
use crate::standin::Kubernetes;
use crate::tools::tool;

/// Mission §B.7, with a digest put together at run time.
fn policy() -> String {
    format!(
        "agent: deploy-manager\nactions:\n  - name: deploy\n    allowed_environments: [\"staging\"]\n    \
         approval_needed: env == \"production\"\n    allowed_images:\n      - digest: \"{}\"\n    max_replicas: 50\n",
        digest('a')
    )
}

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

struct Cluster {
    gateway: Gateway,
    kubernetes: Kubernetes,
    kubeconfig: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (kubernetes, upstream) = runtime.block_on(Kubernetes::start(&["shop-staging", "shop-prod", "elsewhere"]));
        let config = format!(
            "environments:\n  - {{match: {{tool: kubernetes, cluster: main, namespace: \"*-prod\"}}, env: production}}\n  \
             - {{match: {{tool: kubernetes, cluster: main, namespace: \"*-staging\"}}, env: staging}}\n\
             routes:\n  - name: k8s\n    upstream: http://{upstream}\n    tool: kubernetes\n    cluster: main\n    \
             credential: {{bearer: \"{}\"}}\n",
            ["the", "real", "cluster", "secret"].join("-")
        );
        let gateway = Gateway::start(&config, &[("deploy.yaml", &policy())]);
        let token = gateway.folder.agent("deploy-manager");
        let kubeconfig = Self::kubeconfig(&gateway, &token);
        Self { gateway, kubernetes, kubeconfig, _runtime: runtime }
    }

    fn kubeconfig(gateway: &Gateway, token: &str) -> PathBuf {
        let path = gateway.folder.path("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"https://{}/r/k8s\", certificate-authority: {}}}}}]\n\
             users: [{{name: u, user: {{token: {token}}}}}]\n",
            gateway.address("proxy_tls"),
            gateway.folder.ca().display()
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        Command::new(tool("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.gateway.folder.path(""))
            .env("KUBECACHEDIR", self.gateway.folder.path("kube-cache"))
            .stdin(Stdio::null())
            .output()
            .expect("kubectl runs")
    }

    fn allowed(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {text}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.gateway.log()
        );
        text
    }

    /// Runs kubectl, which must fail, print every one of `reasons`, and leave the tool without a write.
    fn refused(&self, arguments: &[&str], reasons: &[&str]) {
        let before = self.kubernetes.writes();
        let output = self.kubectl(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} passed");
        for reason in reasons {
            assert!(text.contains(reason), "{arguments:?}: {reason:?} isn't in {text}");
        }
        assert_eq!(self.kubernetes.writes(), before, "{arguments:?} reached the tool");
    }

    fn manifest(&self, name: &str, namespace: &str, replicas: &str, image: &str) -> String {
        let path = self.gateway.folder.path(&format!("{name}-{namespace}.yaml"));
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: {name}, image: \"{image}\"}}]}}\n"
        );
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }
}

#[test]
fn kubectl_reads_and_scales_what_the_policy_allows_and_prints_why_not() {
    let cluster = Cluster::start();
    let listed = cluster.allowed(&["get", "deployment", "web", "-n", "shop-staging"]);
    assert!(listed.contains("web"), "{listed}");

    cluster.allowed(&["scale", "deployment/web", "-n", "shop-staging", "--replicas=50"]);
    assert_eq!(cluster.kubernetes.replicas("shop-staging"), Some(50));
    cluster.refused(
        &["scale", "deployment/web", "-n", "shop-staging", "--replicas=51"],
        &["replicas 51 is above max_replicas 50", "Forbidden"],
    );
    cluster.refused(&["scale", "deployment/web", "-n", "elsewhere", "--replicas=1"], &["Forbidden"]);
    assert_eq!(cluster.kubernetes.replicas("elsewhere"), Some(3));

    let real = "Bearer the-real-cluster-secret";
    for seen in cluster.kubernetes.seen() {
        assert_eq!(seen.authorization.as_deref(), Some(real), "{} {}", seen.method, seen.path);
        assert!(!seen.headers.iter().any(|name| name.starts_with("aegis-")), "{:?}", seen.headers);
    }
}

#[test]
fn kubectl_applies_and_sets_only_listed_images() {
    let cluster = Cluster::start();
    let good = format!("registry.example/web@{}", digest('a'));
    let bad = format!("registry.example/web@{}", digest('b'));
    let apply = |file: &str, extra: &[&str]| [&["apply", "--validate=false", "-f", file], extra].concat().join(" ");
    let run = |line: &str| cluster.kubectl(&line.split(' ').collect::<Vec<_>>());

    let file = cluster.manifest("api", "shop-staging", "2", &good);
    let output = run(&apply(&file, &[]));
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.gateway.log());
    for (image, reason) in [
        (bad.as_str(), "allowed_images"),
        ("registry.example/web:latest", "digest"),
        ("registry.example/WEB@sha256:12", "image"),
    ] {
        let file = cluster.manifest("bad", "shop-staging", "2", image);
        cluster.refused(&["apply", "--validate=false", "-f", &file], &["Forbidden", reason]);
        cluster.refused(&["apply", "--validate=false", "--server-side", "-f", &file], &["Forbidden", reason]);
    }
    let file = cluster.manifest("big", "shop-staging", "51", &bad);
    cluster.refused(&["apply", "--validate=false", "-f", &file], &["max_replicas 50", "allowed_images"]);

    cluster
        .refused(&["set", "image", "deployment/web", &format!("web={bad}"), "-n", "shop-staging"], &["allowed_images"]);
    cluster.allowed(&["set", "image", "deployment/web", &format!("web={good}"), "-n", "shop-staging"]);
}

#[test]
fn kubectl_may_not_do_what_nobody_granted() {
    let cluster = Cluster::start();
    cluster.refused(&["delete", "deployment/web", "-n", "shop-staging", "--wait=false"], &["Forbidden"]);
    cluster.refused(&["get", "secrets", "-n", "shop-staging"], &["Forbidden"]);
    cluster.refused(&["create", "deployment", "x", "--image=x", "-n", "shop-staging"], &["PolicyViolation", "digest"]);
    assert!(cluster.kubernetes.writes().is_empty());
    let last = cluster.gateway.folder.decisions("deploy-manager").pop().expect("a record");
    assert_eq!(last["decision"], "deny");
}

#[test]
fn production_asks_a_human_and_the_same_call_runs_once() {
    let mut cluster = Cluster::start();
    let scale = ["scale", "deployment/web", "-n", "shop-prod", "--replicas=7"];
    cluster.refused(&scale, &["Forbidden", "approv"]);

    // The request survives a crash.
    let kubernetes = cluster.kubernetes.clone();
    cluster.gateway = cluster.gateway.crash_and_restart();
    let token = cluster.gateway.folder.token("deploy-manager");
    cluster.kubeconfig = Cluster::kubeconfig(&cluster.gateway, &token);
    cluster.kubernetes = kubernetes;

    let pending = cluster.gateway.folder.json(&["approvals", "list"]);
    let pending = pending.as_array().cloned().or_else(|| pending["approvals"].as_array().cloned()).expect("a list");
    assert_eq!(pending.len(), 1, "{pending:?}");
    let id = pending[0]["id"].as_str().expect("an id").to_owned();
    cluster.gateway.folder.json(&["approvals", "approve", &id]);

    cluster.allowed(&scale);
    assert_eq!(cluster.kubernetes.replicas("shop-prod"), Some(7));
    cluster.refused(&scale, &["Forbidden", "approv"]);
    // An approval for 7 is none for 8.
    cluster.refused(&["scale", "deployment/web", "-n", "shop-prod", "--replicas=8"], &["Forbidden", "approv"]);
    // No approval lifts the maximum.
    cluster.refused(&["scale", "deployment/web", "-n", "shop-prod", "--replicas=51"], &["max_replicas 50"]);
}

#[test]
fn a_suspended_agent_is_out_at_once() {
    let cluster = Cluster::start();
    cluster.allowed(&["get", "deployment", "web", "-n", "shop-staging"]);
    let output = cluster.gateway.folder.run(&["agent", "suspend", "deploy-manager"]);
    assert!(output.status.success());
    let before = cluster.kubernetes.seen().len();
    let output = cluster.kubectl(&["get", "deployment", "web", "-n", "shop-staging"]);
    assert!(!output.status.success());
    assert_eq!(cluster.kubernetes.seen().len(), before);
}
