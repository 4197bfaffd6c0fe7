//! A real kube-apiserver (with its etcd) behind Aegis, driven by real kubectl and Helm. What the server holds afterwards is asked
//! of the server itself, by somebody who may do everything and doesn't go through Aegis.
//!
//! There are no controllers and no nodes that run anything: objects are validated, defaulted, merged and kept as in any cluster.

mod dodges;
mod helm;
mod kubectl;
mod samples;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Gateway, eventually, text};
use crate::tools::tool;

/// The agent.
const AGENT: &str = "deploy-manager";

/// The one digest that the policy lists.
fn listed() -> String {
    format!("registry.example/web@sha256:{}", "a".repeat(64))
}

/// One that it doesn't.
fn unlisted() -> String {
    format!("registry.example/web@sha256:{}", "b".repeat(64))
}

fn policy() -> String {
    let images = format!("allowed_images: [{{digest: \"sha256:{}\"}}]", "a".repeat(64));
    format!(
        "agent: {AGENT}\nactions:\n  - {{name: deploy, allowed_environments: [staging], {images}, max_replicas: 50}}\n  \
         - {{name: apply, allowed_environments: [staging], {images}, max_replicas: 50}}\n  \
         - {{name: delete, allowed_environments: [staging]}}\n  - {{name: read}}\n  - {{name: cordon}}\n  \
         - {{name: record_release, allowed_environments: [staging]}}\n  \
         - {{name: read_release, allowed_environments: [staging]}}\n  \
         - {{name: forget_release, allowed_environments: [staging]}}\n"
    )
}

/// The API server, which ends with the test.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(dir.path().join("log")).expect("made");
        let mut command = Command::new(tool("kube-apiserver"));
        command.arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Self { child: command.spawn().expect("it runs"), dir };
        eventually("the API server is ready", || {
            server.certificate().exists() && server.kubectl(&["get", "--raw", "/readyz"]).status.success()
        });
        for namespace in ["shop-staging", "shop-prod"] {
            server.admin(&["create", "namespace", namespace]);
        }
        server
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificates/apiserver.crt")
    }

    /// What its kubeconfig says behind this word.
    fn said(&self, word: &str) -> String {
        let config = std::fs::read_to_string(self.kubeconfig()).expect("there");
        let rest = config.split_once(word).expect("it is said").1;
        rest.trim_start_matches('"').split(['"', '}', ',']).next().expect("a value").to_owned()
    }

    fn url(&self) -> String {
        self.said("server: ")
    }

    fn token(&self) -> String {
        self.said("token: ")
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        kubectl(&self.kubeconfig(), self.dir.path(), arguments)
    }

    /// What somebody sees who may do everything.
    fn admin(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn object(&self, namespace: &str, what: &str) -> Value {
        let json = self.admin(&["get", what, "-n", namespace, "-o", "json"]);
        serde_json::from_str(&json).expect("JSON")
    }

    /// Everything that may run pods or be a Secret: kind, place and what is asked for.
    fn objects(&self) -> Vec<(String, Value)> {
        let kinds = "deployments,statefulsets,replicasets,daemonsets,replicationcontrollers,jobs,cronjobs,pods,\
                     horizontalpodautoscalers,secrets,configmaps,services,nodes";
        let json = self.admin(&["get", kinds, "-A", "-o", "json"]);
        let list: Value = serde_json::from_str(&json).expect("JSON");
        let of = |object: &Value| {
            let meta = &object["metadata"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = [text(&object["kind"]), text(&meta["namespace"]), text(&meta["name"])].join("/");
            (name, serde_json::json!([object["spec"], object["data"], meta["labels"], meta["deletionTimestamp"]]))
        };
        list["items"].as_array().expect("a list").iter().map(of).collect()
    }

    /// The largest number of pods that any object asks for.
    fn most_replicas(&self) -> i64 {
        let numbers = |(_, object): &(String, Value)| {
            let spec = &object[0];
            let places = ["/replicas", "/parallelism", "/maxReplicas", "/jobTemplate/spec/parallelism"];
            places.iter().filter_map(|at| spec.pointer(at)?.as_i64()).max().unwrap_or_default()
        };
        self.objects().iter().map(numbers).max().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kubectl(kubeconfig: &Path, home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("kubectl"));
    command
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .env("KUBECACHEDIR", home.join("kube-cache"));
    command.stdin(Stdio::null()).output().expect("kubectl runs")
}

/// A cluster, Aegis in front of it, and an agent with a kubeconfig.
struct World {
    server: Server,
    gateway: Gateway,
    token: String,
}

impl World {
    fn start() -> Self {
        let server = Server::start();
        let config = format!(
            "audit: {{calls: 7d}}\nenvironments:\n  - {{match: {{tool: kubernetes, cluster: main, namespace: \"*-prod\"}}, env: production}}\n  \
             - {{match: {{tool: kubernetes, cluster: main, namespace: \"*-staging\"}}, env: staging}}\n\
             routes:\n  - name: k8s\n    upstream: {}\n    tool: kubernetes\n    cluster: main\n    tls: {{ca: {}}}\n    \
             credential: {{bearer: \"{}\"}}\n",
            server.url(),
            server.certificate().display(),
            server.token()
        );
        let gateway = Gateway::start(&config, &[("deploy.yaml", &policy())]);
        let token = gateway.folder.agent(AGENT);
        let world = Self { server, gateway, token };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: u, namespace: shop-staging}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"{}\", certificate-authority: {}}}}}]\n\
             users: [{{name: u, user: {{token: {}}}}}]\n",
            world.url(),
            world.gateway.folder.ca().display(),
            world.token
        );
        std::fs::write(world.kubeconfig(), text).expect("written");
        world
    }

    /// The cluster, as the agent knows it.
    fn url(&self) -> String {
        format!("https://{}/r/k8s", self.gateway.address("proxy_tls"))
    }

    fn kubeconfig(&self) -> PathBuf {
        self.gateway.folder.path("kubeconfig")
    }

    fn agent(&self, arguments: &[&str]) -> Output {
        kubectl(&self.kubeconfig(), &self.gateway.folder.path(""), arguments)
    }

    /// A command line, split at its spaces, that has to succeed.
    fn allowed(&self, line: &str) -> String {
        let output = self.agent(&line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {}\n{}", text(&output), self.gateway.log());
        String::from_utf8(output.stdout).expect("text")
    }

    /// One that has to fail with these words and change nothing.
    fn refused(&self, line: &str, reasons: &[&str]) {
        let before = self.server.objects();
        let output = self.agent(&line.split(' ').collect::<Vec<_>>());
        let text = text(&output);
        assert!(!output.status.success(), "{line} passed: {text}");
        for reason in reasons {
            assert!(text.contains(reason), "{line}: {reason:?} isn't in {text}");
        }
        assert_eq!(self.server.objects(), before, "{line} changed something");
    }

    /// The last write that was decided: the call as policy saw it.
    fn decided(&self) -> Value {
        let exported = self.gateway.folder.run(&["audit", "export", "--calls"]);
        assert!(exported.status.success(), "{}", text(&exported));
        let lines = serde_json::Deserializer::from_slice(&exported.stdout).into_iter::<Value>();
        let calls = lines.map(|line| line.expect("JSON lines")["call"].clone());
        calls.filter(|call| call["effect"] != "read").last().expect("a decision on a write")
    }

    /// Writes a file of the agent's and says where.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.gateway.folder.path(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// A Deployment as YAML.
    fn manifest(&self, name: &str, namespace: &str, replicas: u32, image: &str) -> String {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: {name}, image: \"{image}\"}}]}}\n"
        );
        self.file(&format!("{name}-{namespace}-{replicas}.yaml"), text)
    }
}
