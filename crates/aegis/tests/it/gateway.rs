//! The real binary as a server, on free loopback ports, with a data directory of its own; killed when dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The `aegis` that cargo built for this test run.
pub const AEGIS: &str = env!("CARGO_BIN_EXE_aegis");

pub struct Gateway {
    child: Child,
    pub dir: TempDir,
    pub proxy: SocketAddr,
    pub proxy_tls: SocketAddr,
    pub api: SocketAddr,
    pub ready: Value,
}

impl Gateway {
    /// Starts a gateway: `config` is what follows the listeners and folders in `aegis.yaml`, `policies` are (name, text).
    pub fn start(config: &str, policies: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_config(dir.path(), config, policies);
        Self::serve(dir)
    }

    /// Starts a gateway in a folder that has its `aegis.yaml`.
    pub fn serve(dir: TempDir) -> Self {
        Self::serve_by(Command::new(AEGIS), dir)
    }

    /// The same with so many file descriptors at most.
    pub fn start_with_descriptors(most: u32, config: &str, policies: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_config(dir.path(), config, policies);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), AEGIS]);
        Self::serve_by(shell, dir)
    }

    fn serve_by(mut command: Command, dir: TempDir) -> Self {
        let log = std::fs::File::create(dir.path().join("gateway.log")).expect("a log file");
        let mut child = command
            .args(["serve", "--config"])
            .arg(dir.path().join("aegis.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("aegis starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut listening = std::collections::BTreeMap::new();
        let ready = loop {
            let Some(Ok(line)) = lines.next() else {
                let log = std::fs::read_to_string(dir.path().join("gateway.log")).unwrap_or_default();
                panic!("the gateway ended before it was ready:\n{log}");
            };
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if line["ready"] == true {
                break line;
            }
            let name = line["listening"].as_str().expect("a listener's name").to_owned();
            let address: SocketAddr = line["address"].as_str().expect("an address").parse().expect("host:port");
            listening.insert(name, address);
        };
        std::thread::spawn(move || lines.for_each(drop));
        let (proxy, proxy_tls, api) = (listening["proxy"], listening["proxy_tls"], listening["api"]);
        Self { child, dir, proxy, proxy_tls, api, ready }
    }

    /// Runs an operator's command against this gateway.
    pub fn aegis(&self, arguments: &[&str]) -> Output {
        aegis_in(self.dir.path(), arguments)
    }

    /// The same with `--json`; its output, parsed. Fails the test when the command fails.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.aegis(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Registers an agent and gives it a token.
    pub fn agent(&self, name: &str) -> String {
        self.json(&["agent", "add", name]);
        self.token(name)
    }

    /// A fresh token of a registered agent.
    pub fn token(&self, name: &str) -> String {
        let issued = self.json(&["token", "issue", name]);
        issued["token"].as_str().unwrap_or_else(|| panic!("a token in {issued}")).to_owned()
    }

    /// Aegis's own CA certificate, as clients of the TLS listener need it.
    pub fn ca(&self) -> PathBuf {
        let path = self.dir.path().join("ca-export.pem");
        let output = self.aegis(&["ca", "export"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&path, output.stdout).expect("written");
        path
    }

    /// The records so far, oldest first, each as JSON.
    pub fn records(&self) -> Vec<Value> {
        let output = self.aegis(&["audit", "query", "--json"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut records = json_values(&text);
        records.sort_by_key(|record| record["seq"].as_u64());
        records
    }

    /// The decision records of an agent, oldest first.
    pub fn decisions(&self, agent: &str) -> Vec<Value> {
        let mine = |record: &Value| record["event"] == "decision" && record["agent"]["id"] == agent;
        self.records().into_iter().filter(mine).collect()
    }

    /// Kills it as a power cut would, and starts it again in the same folder.
    pub fn crash_and_restart(mut self) -> Self {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
        let empty = tempfile::tempdir().expect("a temporary folder");
        let dir = std::mem::replace(&mut self.dir, empty);
        drop(self);
        Self::serve(dir)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("gateway.log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One JSON document, an array of them, or one a line.
pub fn json_values(text: &str) -> Vec<Value> {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let values = values.unwrap_or_else(|error| panic!("{error}: {text}"));
    match values.as_slice() {
        [Value::Array(items)] => items.clone(),
        [Value::Object(map)] if map.contains_key("records") => map["records"].as_array().cloned().unwrap_or_default(),
        _ => values,
    }
}

/// Writes `aegis.yaml` and the policies into a folder.
pub fn write_config(dir: &Path, config: &str, policies: &[(&str, &str)]) {
    let head = "data_dir: ./data\npolicies: ./policies\n\
        listen: {proxy: \"127.0.0.1:0\", proxy_tls: \"127.0.0.1:0\", api: \"127.0.0.1:0\"}\n";
    std::fs::write(dir.join("aegis.yaml"), format!("{head}{config}")).expect("written");
    let folder = dir.join("policies");
    std::fs::create_dir_all(&folder).expect("made");
    for (name, text) in policies {
        std::fs::write(folder.join(name), text).expect("written");
    }
}

/// Runs `aegis` with the configuration of a folder.
pub fn aegis_in(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(AEGIS)
        .args(arguments)
        .env("AEGIS_CONFIG", dir.join("aegis.yaml"))
        .env_remove("AEGIS_URL")
        .env_remove("AEGIS_OPERATOR_TOKEN")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("aegis runs")
}
