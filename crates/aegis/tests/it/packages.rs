//! Where software is published: real clients against real servers, through intercepted connections. Each does what its policy allows,
//! prints why not for the rest, and nothing of that reaches the server.
//!
//! git against git-http-backend, skopeo against docker-registry, npm against verdaccio, twine and pip against pypiserver; cargo
//! against a stand-in (see `stand_in.rs`).

mod crates;
mod git;
mod images;
mod javascript;
mod python;
mod stand_in;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::interception::Secured;
use crate::process::{Gateway, eventually, text};

/// A gateway in front of one server, which it knows as `tool` at `https://NAME.corp.example/`.
struct Setup {
    gateway: Gateway,
    url: String,
    ca: PathBuf,
    token: String,
    _front: Secured,
}

impl Setup {
    /// `actions` are the entries of the policy.
    fn start(tool: &str, server: SocketAddr, actions: &str) -> Self {
        Self::with(tool, server, actions, "")
    }

    /// `more` is what else the configuration says of the host.
    fn with(tool: &str, server: SocketAddr, actions: &str, more: &str) -> Self {
        let secured = Secured::new();
        let host = format!("{tool}.corp.example");
        let front = secured.front(&host, server);
        let config = format!(
            "interception:\n  hosts: [{{host: {host}, tool: {tool}{more}}}]\n  upstream_ca: {}\n\
             upstreams: {{\"{host}:443\": \"{front}\"}}\n",
            secured.ca().display()
        );
        let policy = format!("agent: builder\negress: {{allow: [\"{host}\"]}}\nactions:\n{actions}");
        let gateway = Gateway::start(&config, &[("builder.yaml", &policy)]);
        let token = gateway.folder.agent("builder");
        let ca = gateway.folder.ca();
        Self { gateway, url: format!("https://{host}"), ca, token, _front: secured }
    }

    /// A client's command, with every variable by which clients find the proxy and the CA, and nothing of this machine's own.
    fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).current_dir(self.path("")).env("HOME", self.path("")).env("NO_COLOR", "1");
        for name in ["no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        let own = ["NPM_CONFIG_", "CARGO_", "PIP_", "TWINE_", "GIT_", "RUST", "PYTHON"];
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if own.iter().any(|prefix| upper.starts_with(prefix)) && !upper.ends_with("_HOME") {
                command.env_remove(name);
            }
        }
        for name in ["https_proxy", "HTTPS_PROXY"] {
            command.env(name, format!("http://builder:{}@{}", self.token, self.gateway.address("proxy")));
        }
        for name in [
            "SSL_CERT_FILE",
            "GIT_SSL_CAINFO",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "CARGO_HTTP_CAINFO",
            "npm_config_cafile",
        ] {
            command.env(name, &self.ca);
        }
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.gateway.folder.path(name)
    }

    /// What its client printed, which must have succeeded.
    fn done(&self, output: &Output) -> String {
        assert!(output.status.success(), "{}\n{:#?}\n{}", text(output), self.decisions(), self.gateway.log());
        text(output)
    }

    /// What its client printed, which must have failed and said all of `reasons`.
    fn refused(&self, output: &Output, reasons: &[&str]) {
        let said = text(output);
        assert!(!output.status.success(), "it passed: {said}\n{:#?}", self.decisions());
        for reason in reasons {
            assert!(said.contains(reason), "{reason:?} isn't in {said}\n{:#?}", self.decisions());
        }
    }

    /// The decisions so far: the action, and what became of it.
    fn decisions(&self) -> Vec<String> {
        let line = |record: serde_json::Value| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text(&record["call"]["action"]), text(&record["decision"]), text(&record["reason"]))
        };
        self.gateway.folder.decisions("builder").into_iter().map(line).collect()
    }
}

/// A server of its own process, which ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts what `command` makes for a free port, and waits until it listens; its words go to `log`.
    fn start(log: &Path, command: impl FnOnce(SocketAddr) -> Command) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let file = std::fs::File::create(log).expect("made");
        let mut command = command(address);
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a second handle")).stderr(file);
        let mut server = Self { child: command.spawn().expect("the server runs"), address };
        eventually("the server listens", || {
            let ended = server.child.try_wait().expect("waited");
            assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(log).unwrap_or_default());
            std::net::TcpStream::connect(address).is_ok()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that prepares a test.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// `sha256:…` of a file.
fn digest(path: &Path) -> String {
    let line = run(Command::new("sha256sum").arg(path));
    format!("sha256:{}", line.split(' ').next().expect("a digest"))
}
