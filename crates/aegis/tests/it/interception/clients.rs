//! Each client reaches what the policy allows, prints why not for the rest, and nothing of that reaches the tool.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::Secured;
use crate::process::{Folder, Gateway, eventually, text};
use crate::standin::Kubernetes;
use crate::tools::tool;
use crate::upstream::Upstream;

const POLICY: &str = "agent: builder
egress: {allow: [\"*.corp.example\"]}
actions:
  - name: http/request
    denied_path: [\"/secret*\"]
  - name: kubernetes/*
    max_replicas: 50
";

struct Setup {
    gateway: Gateway,
    tool: Upstream,
    /// What is in front of it, and one that nobody knows.
    _fronts: [Secured; 2],
    ca: PathBuf,
    token: String,
}

impl Setup {
    fn start() -> Self {
        Self::with(|_, _| String::new())
    }

    /// `more` is what else goes into the configuration.
    fn with(more: impl FnOnce(&Secured, &Upstream) -> String) -> Self {
        let (secured, stranger, tool) = (Secured::new(), Secured::new(), Upstream::start(None));
        let front = secured.front("tool.corp.example", tool.address);
        let unknown = stranger.front("bad.corp.example", tool.address);
        let config = format!(
            "interception:\n  hosts: [{{host: k8s.corp.example, tool: kubernetes, cluster: main}}, \"*.corp.example\"]\n  \
             upstream_ca: {}\n{}",
            secured.ca().display(),
            match more(&secured, &tool) {
                more if more.is_empty() => format!(
                    "upstreams: {{\"tool.corp.example:443\": \"{front}\", \"bad.corp.example:443\": \"{unknown}\"}}\n"
                ),
                more => more,
            }
        );
        let gateway = Gateway::start(&config, &[("builder.yaml", POLICY)]);
        let token = gateway.folder.agent("builder");
        let ca = gateway.folder.ca();
        Self { gateway, tool, ca, token, _fronts: [secured, stranger] }
    }

    fn proxy(&self) -> String {
        format!("http://builder:{}@{}", self.token, self.gateway.address("proxy"))
    }

    /// A client's command, with every variable by which clients find the proxy and the CA.
    fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).env("HOME", self.gateway.folder.path(""));
        for name in ["no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        for name in ["https_proxy", "HTTPS_PROXY"] {
            command.env(name, self.proxy());
        }
        for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"] {
            command.env(name, &self.ca);
        }
        command
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
        self.client(program).args(arguments).output().expect("the client runs")
    }

    /// The decisions so far.
    fn decisions(&self) -> Vec<String> {
        let records = self.gateway.folder.decisions("builder");
        records.iter().map(|record| record["decision"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn curl_over_both_versions() {
    let setup = Setup::start();
    for (version, expected) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let shown =
            ["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_version} %{http_code}", version];
        let allowed = setup.run("curl", &[&shown[..], &["https://tool.corp.example/build?x=1"]].concat());
        assert_eq!(text(&allowed), format!("done\n\n{expected} 200"), "{}", setup.gateway.log());
        let denied = text(&setup.run("curl", &[&shown[..], &["https://tool.corp.example/secret/a"]].concat()));
        assert!(denied.contains("denied_path") && denied.ends_with(&format!("{expected} 403")), "{denied}");
    }
    assert_eq!(setup.tool.seen().matches("GET ").count(), 2);
    assert!(!setup.tool.seen().contains("secret"), "{}", setup.tool.seen());
    assert_eq!(setup.decisions(), ["allow", "deny", "allow", "deny"]);
}

#[test]
fn a_bad_upstream_certificate_is_no_good_one_and_no_ca_no_connection() {
    let setup = Setup::start();
    let bad = text(&setup.run("curl", &["--silent", "--max-time", "20", "https://bad.corp.example/"]));
    assert!(bad.contains("UpstreamFailed") && bad.contains("certificate is not trusted"), "{bad}");
    let mut without = setup.client("curl");
    without.env_remove("SSL_CERT_FILE").env_remove("CURL_CA_BUNDLE");
    let without = without.args(["--silent", "--show-error", "https://tool.corp.example/"]).output().expect("curl runs");
    assert!(!without.status.success() && text(&without).contains("certificate"), "{}", text(&without));
    assert_eq!(setup.tool.seen(), "");
    eventually("the client that doesn't trust the CA is on record", || {
        setup.gateway.folder.records().iter().any(|record| record["reason"] == "request: ca_not_trusted")
    });
}

#[test]
fn python_and_its_own_reader_of_urls() {
    let setup = Setup::start();
    let script = "import sys, urllib.request, urllib.error\n\
        try:\n    print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())\n\
        except urllib.error.HTTPError as error:\n    print(error.code, error.read().decode())\n";
    let allowed = text(&setup.run("python3", &["-c", script, "https://tool.corp.example/build"]));
    assert!(allowed.contains("done"), "{allowed}\n{}", setup.gateway.log());
    let denied = text(&setup.run("python3", &["-c", script, "https://tool.corp.example/secret"]));
    assert!(denied.starts_with("403") && denied.contains("denied_path"), "{denied}");
    assert!(!setup.tool.seen().contains("secret"));
}

#[test]
fn node_and_its_fetch() {
    let setup = Setup::start();
    let script = "const answer = await fetch(process.argv[1]); console.log(answer.status, await answer.text())";
    let fetch = |path: &str| {
        let mut command = setup.client(tool("node22"));
        command.env("NODE_USE_ENV_PROXY", "1");
        let arguments = ["--input-type=module", "-e", script, &format!("https://tool.corp.example{path}")];
        text(&command.args(arguments).output().expect("node runs"))
    };
    let allowed = fetch("/build");
    assert!(allowed.contains("200 done"), "{allowed}\n{}", setup.gateway.log());
    let denied = fetch("/secret");
    assert!(denied.contains("403") && denied.contains("denied_path"), "{denied}");
    assert!(!setup.tool.seen().contains("secret"));
}

#[test]
fn git_is_let_to_one_repository_and_not_to_another() {
    let setup = Setup::start();
    let git = |repository: &str| {
        let mut command = setup.client("git");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command.args(["ls-remote", &format!("https://tool.corp.example/{repository}")]).output().expect("git runs")
    };
    // The tool is no git server: that git asked it, and for what, is what counts.
    git("open.git");
    assert!(setup.tool.seen().contains("GET /open.git/info/refs?service=git-upload-pack "), "{}", setup.tool.seen());
    let denied = git("secret.git");
    assert!(!denied.status.success() && text(&denied).contains("403"), "{}", text(&denied));
    assert!(!setup.tool.seen().contains("secret"), "{}", setup.tool.seen());
}

#[test]
fn kubectl_is_described_down_to_its_parameters() {
    let mut cluster = None;
    let setup = Setup::with(|secured, _| {
        let (kubernetes, plain) = secured.runtime().block_on(Kubernetes::start(&["shop"]));
        cluster = Some(kubernetes);
        format!("upstreams: {{\"k8s.corp.example:6443\": \"{}\"}}\n", secured.front("k8s.corp.example", plain))
    });
    let kubernetes = cluster.expect("started");
    let folder = &setup.gateway.folder;
    let policy = POLICY.replace("*.corp.example\"", "*.corp.example\", \"k8s.corp.example:6443\"");
    std::fs::write(folder.path("policies/builder.yaml"), policy).expect("written");
    let kubeconfig = folder.path("kubeconfig");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"https://k8s.corp.example:6443\", certificate-authority: {}}}}}]\n\
         users: [{{name: u, user: {{token: the-clusters-own}}}}]\n",
        setup.ca.display()
    );
    std::fs::write(&kubeconfig, config).expect("written");
    let scale = |replicas: u32| {
        let mut command = setup.client(tool("kubectl"));
        command.env("KUBECONFIG", &kubeconfig).env("KUBECACHEDIR", folder.path("kube-cache"));
        let replicas = format!("--replicas={replicas}");
        command.args(["scale", "deployment/web", "-n", "shop", &replicas]).output().expect("kubectl runs")
    };
    eventually("the policy that lists the port is in force", || scale(50).status.success());
    assert_eq!(kubernetes.replicas("shop"), Some(50), "{}", setup.gateway.log());
    let refused = scale(51);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("replicas 51 is above max_replicas 50"), "{}", text(&refused));
    assert_eq!(kubernetes.replicas("shop"), Some(50));
    let seen = kubernetes.seen();
    assert!(seen.iter().all(|seen| seen.authorization.as_deref() == Some("Bearer the-clusters-own")), "{seen:?}");
}

#[test]
fn a_tunnel_to_a_host_that_is_not_listed_is_refused_by_a_rule_on_what_is_inside() {
    let setup = Setup::start();
    let policy = POLICY.replace("*.corp.example\"", "*.corp.example\", other.example");
    std::fs::write(setup.gateway.folder.path("policies/builder.yaml"), policy).expect("written");
    eventually("the tunnel is refused for what can't be read in it", || {
        setup.run("curl", &["--silent", "--max-time", "20", "https://other.example/"]);
        let records = setup.gateway.folder.decisions("builder");
        let last = records.last().map(|record| record["reason"].to_string()).unwrap_or_default();
        last.contains("denied_path: missing")
    });
}

/// A squid of our own, which knows the names of `hosts` and nobody else.
struct Squid {
    child: std::process::Child,
    address: std::net::SocketAddr,
    log: PathBuf,
}

impl Squid {
    fn start(folder: &Folder, hosts: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let (config, log, names) = (folder.path("squid.conf"), folder.path("squid.log"), folder.path("squid.hosts"));
        std::fs::write(&names, hosts).expect("written");
        std::fs::write(&log, "").expect("written");
        // Started as root it becomes another user, who has to get here.
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("opened");
        };
        open(&folder.path(""), 0o755);
        open(&log, 0o666);
        let shared = tool("squid").parent().expect("a folder").join("../squid/usr/share/squid");
        let text = format!(
            "http_port {address}\nhttp_access allow localhost\nhttp_access deny all\naccess_log stdio:{log}\n\
             cache_log /dev/null\ncache deny all\npid_filename none\nhosts_file {names}\ndns_nameservers 127.0.0.1\n\
             shutdown_lifetime 0 seconds\nvisible_hostname squid.corp.example\nnetdb_filename none\nlogfile_rotate 0\n\
             mime_table {shared}/mime.conf\nicon_directory {shared}/icons\nerror_directory {shared}/errors/English\n\
             unlinkd_program /bin/true\npinger_enable off\ncoredump_dir /\n",
            log = log.display(),
            names = names.display(),
            shared = shared.display()
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(tool("squid"));
        command.args(["-N", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("squid runs");
        eventually("squid listens", || std::net::TcpStream::connect(address).is_ok());
        Self { child, address, log }
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_corporate_squid_is_gone_through_and_what_may_not_be_named_is_not_asked_of_it() {
    let mut port = 0;
    let squids = Folder::with("", &[]);
    let squid = Squid::start(&squids, "127.0.0.1 tool.corp.example plain.corp.example\n");
    let mut plain = 0;
    let setup = Setup::with(|secured, tool| {
        port = secured.front("tool.corp.example", tool.address).port();
        plain = tool.address.port();
        format!("egress: {{proxy: \"http://{}\", proxy_resolves: true}}\n", squid.address)
    });
    let listed = format!("tool.corp.example:{port}\", \"plain.corp.example:{plain}\", \"127.0.0.1:{plain}\"");
    let policy = POLICY.replace("*.corp.example\"", &listed);
    std::fs::write(setup.gateway.folder.path("policies/builder.yaml"), policy).expect("written");
    let curl = |url: &str| {
        let mut command = setup.client("curl");
        command.env("http_proxy", setup.proxy());
        text(&command.args(["--silent", "--max-time", "20", url]).output().expect("curl runs"))
    };
    let url = format!("https://tool.corp.example:{port}/build");
    eventually("the policy that lists the ports is in force", || curl(&url).contains("done"));
    // Nobody but squid knows the name; it writes a tunnel down when that ends.
    let answer = curl(&format!("http://plain.corp.example:{plain}/plain"));
    assert!(answer.contains("done"), "{answer} {}", squid.asked());
    let asked = format!("GET http://plain.corp.example:{plain}/plain");
    eventually("squid writes down what it was asked", || squid.asked().contains(&asked));
    let refused = curl(&format!("http://127.0.0.1:{plain}/"));
    assert!(refused.contains("egress_guard") && !squid.asked().contains("127.0.0.1:"), "{refused} {}", squid.asked());
}
