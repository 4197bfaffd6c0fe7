//! Running the real binary: one command, a folder with a configuration, a gateway that ends with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A command of the binary, without anything of this environment that would change what it does.
pub(crate) fn aegis() -> Command {
    alone(Command::new(env!("CARGO_BIN_EXE_aegis")))
}

pub(crate) fn alone(mut command: Command) -> Command {
    for name in ["AEGIS_CONFIG", "AEGIS_URL", "AEGIS_OPERATOR_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs one command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    aegis().args(args).output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both, as a terminal would show them.
pub(crate) fn text(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// The one JSON document of a command that succeeded.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// A folder with a configuration whose listeners take free ports. Gone with its last holder.
#[derive(Clone)]
pub(crate) struct Folder {
    dir: Arc<TempDir>,
}

impl Folder {
    /// What `aegis init` writes.
    pub(crate) fn new() -> Self {
        let folder = Self::empty();
        let made = run(&["init", folder.path("").to_str().expect("text")]);
        assert!(made.status.success(), "{}", stderr(&made));
        folder.change("aegis.yaml", |text| {
            ["4180", "4183", "4181", "4182"].iter().fold(text, |text, port| text.replacen(port, "0", 1))
        });
        folder
    }

    /// `config` is what follows the listeners and folders in `aegis.yaml`; `policies` are (name, text).
    pub(crate) fn with(config: &str, policies: &[(&str, &str)]) -> Self {
        let folder = Self::empty();
        let head = "data_dir: ./aegis-data\npolicies: ./policies\n\
            listen: {proxy: \"127.0.0.1:0\", proxy_tls: \"127.0.0.1:0\", api: \"127.0.0.1:0\", ext_authz: \"127.0.0.1:0\"}\n";
        std::fs::write(folder.path("aegis.yaml"), format!("{head}{config}")).expect("written");
        std::fs::create_dir(folder.path("policies")).expect("made");
        for (name, text) in policies {
            std::fs::write(folder.path("policies").join(name), text).expect("written");
        }
        folder
    }

    fn empty() -> Self {
        Self { dir: Arc::new(tempfile::tempdir().expect("a folder")) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(String) -> String) {
        let path = self.path(name);
        let text = std::fs::read_to_string(&path).expect("there");
        std::fs::write(&path, change(text)).expect("written");
    }

    /// Runs a command on this folder.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut command = aegis();
        command.args(args).env("AEGIS_CONFIG", self.path("aegis.yaml")).env("NO_COLOR", "1");
        command.output().expect("the binary runs")
    }

    /// Runs a command on this folder, which must succeed, for its JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        json(&self.run(&[args, &["--json"]].concat()))
    }

    /// Registers an agent and gives it a token.
    pub(crate) fn agent(&self, name: &str) -> String {
        self.json(&["agent", "add", name]);
        self.token(name)
    }

    /// A fresh token of a registered agent.
    pub(crate) fn token(&self, name: &str) -> String {
        self.json(&["token", "issue", name])["token"].as_str().expect("a token").to_owned()
    }

    /// The CA's certificate, as clients of the TLS listener need it.
    pub(crate) fn ca(&self) -> PathBuf {
        let path = self.path("ca-export.pem");
        let output = self.run(&["ca", "export"]);
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::write(&path, output.stdout).expect("written");
        path
    }

    /// The records so far, oldest first.
    pub(crate) fn records(&self) -> Vec<Value> {
        let output = self.run(&["audit", "query", "--limit", "1000", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let lines = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let mut records: Vec<Value> = lines.collect::<Result<_, _>>().expect("JSON lines");
        records.sort_by_key(|record| record["seq"].as_u64());
        records
    }

    /// The decision records of an agent, oldest first.
    pub(crate) fn decisions(&self, agent: &str) -> Vec<Value> {
        let mine = |record: &Value| record["event"] == "decision" && record["agent"]["id"] == agent;
        self.records().into_iter().filter(mine).collect()
    }

    /// Starts a gateway here.
    pub(crate) fn serve(&self) -> Gateway {
        Gateway::serve(aegis(), self.clone())
    }

    /// The same with so many file descriptors at most.
    pub(crate) fn serve_with_descriptors(&self, most: u32) -> Gateway {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_aegis")]);
        Gateway::serve(alone(shell), self.clone())
    }
}

/// A gateway that is killed with the test.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) folder: Folder,
    pub(crate) listening: Vec<(String, SocketAddr)>,
    pub(crate) ready: Value,
}

impl Gateway {
    /// Starts one in a [`Folder::with`] these.
    pub(crate) fn start(config: &str, policies: &[(&str, &str)]) -> Self {
        Folder::with(config, policies).serve()
    }

    fn serve(mut command: Command, folder: Folder) -> Self {
        let log = std::fs::File::create(folder.path("stderr.log")).expect("made");
        command.args(["serve", "--config"]).arg(folder.path("aegis.yaml")).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut listening = Vec::new();
        let ready = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("it ended early: {}", std::fs::read_to_string(folder.path("stderr.log")).unwrap_or_default())
            };
            let value: Value = serde_json::from_str(&line).expect("a JSON line");
            match (value["listening"].as_str(), value["address"].as_str()) {
                (Some(name), Some(address)) => listening.push((name.to_owned(), address.parse().expect("an address"))),
                _ => break value,
            }
        };
        // One without a policy in force takes calls too, and denies them: its ready is false.
        assert!(ready["ready"].is_boolean(), "{ready}");
        Self { child, folder, listening, ready }
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.listening.iter().find(|(listening, _)| listening == name).expect("it listens").1
    }

    /// The memory that it holds now, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("stderr.log")).expect("there")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Asks it to stop; whether it ended well within ten seconds.
    pub(crate) fn stop(mut self) -> bool {
        self.signal("-TERM");
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Kills it as a power cut would, and starts it again in the same folder.
    pub(crate) fn crash_and_restart(self) -> Self {
        let folder = self.folder.clone();
        drop(self);
        folder.serve()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one raw HTTP/1.1 request that ends its connection; returns the whole answer.
pub(crate) fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits up to twenty seconds for something to become true.
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
