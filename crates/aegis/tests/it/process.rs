//! Running the real binary: one command, or a gateway that ends with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A command of the binary, without anything of this environment that would change what it does.
pub(crate) fn aegis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegis"));
    for name in ["AEGIS_CONFIG", "AEGIS_URL", "AEGIS_OPERATOR_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs one command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    aegis().args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The one JSON document of a command that succeeded.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A folder with the starter pack, its listeners on ports of their own.
pub(crate) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let made = run(&["init", dir.path().to_str().expect("text")]);
        assert!(made.status.success(), "{}", stderr(&made));
        let folder = Self { dir };
        folder.change("aegis.yaml", |text| {
            ["4180", "4183", "4181"].iter().fold(text, |text, port| text.replacen(port, "0", 1))
        });
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(String) -> String) {
        let path = self.path(name);
        let text = std::fs::read_to_string(&path).expect("there");
        std::fs::write(&path, change(text)).expect("written");
    }

    pub(crate) fn config(&self) -> String {
        self.path("aegis.yaml").display().to_string()
    }

    /// Runs a command on this folder.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        aegis().args(args).env("AEGIS_CONFIG", self.config()).stdin(Stdio::null()).output().expect("the binary runs")
    }

    pub(crate) fn serve(&self) -> Gateway {
        Gateway::start(&self.path("aegis.yaml"))
    }
}

/// A gateway that is killed with the test.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) listening: Vec<(String, SocketAddr)>,
    pub(crate) ready: Value,
    pub(crate) took: Duration,
    errors: PathBuf,
}

impl Gateway {
    pub(crate) fn start(config: &Path) -> Self {
        let errors = config.with_file_name("stderr.log");
        let log = std::fs::File::create(&errors).expect("made");
        let started = Instant::now();
        let mut command = aegis();
        command.args(["serve", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut listening = Vec::new();
        let ready = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("it ended early: {}", std::fs::read_to_string(&errors).unwrap_or_default())
            };
            let value: Value = serde_json::from_str(&line).expect("a JSON line");
            match (value["listening"].as_str(), value["address"].as_str()) {
                (Some(name), Some(address)) => listening.push((name.to_owned(), address.parse().expect("an address"))),
                _ => break value,
            }
        };
        Self { child, listening, ready, took: started.elapsed(), errors }
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.listening.iter().find(|(listening, _)| listening == name).expect("it listens").1
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.errors).expect("there")
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

/// Waits up to ten seconds for something to become true.
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
