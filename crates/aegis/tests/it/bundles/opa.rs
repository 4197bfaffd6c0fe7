//! A real OPA that takes bundles by its bundle plugin and verifies them.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;

pub struct Opa {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// Where an OPA's bundles come from, and what it waits for.
pub struct From<'a> {
    pub address: SocketAddr,
    pub path: &'a str,
    pub token: &'a str,
    pub key_pem: &'a str,
    pub long_polling: bool,
}

impl Opa {
    pub fn start(program: &Path, from: &From<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // It takes no port 0 that it would tell us of.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let mut polling = json!({"min_delay_seconds": 1, "max_delay_seconds": 1});
        if from.long_polling {
            polling["long_polling_timeout_seconds"] = json!(20);
        }
        let config = json!({
            "services": {"aegis": {
                "url": format!("http://{}", from.address),
                "credentials": {"bearer": {"token": from.token}},
            }},
            "keys": {"aegis": {"algorithm": "ES256", "key": from.key_pem}},
            "bundles": {"aegis": {
                "service": "aegis", "resource": from.path, "signing": {"keyid": "aegis"}, "polling": polling,
            }},
        });
        let file: PathBuf = folder.path().join("opa.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let child = Command::new(program)
            .args(["run", "--server", "--addr", &address.to_string(), "--config-file"])
            .arg(&file)
            .stdout(Stdio::null())
            // A file: a pipe that nobody reads would stop it.
            .stderr(File::create(folder.path().join("log")).expect("made"))
            .spawn()
            .expect("opa starts");
        Self { child, address, folder }
    }

    /// The revision of the bundle in force, if there is one.
    pub fn revision(&self) -> Option<String> {
        let path = "/v1/data/system/bundles/aegis/manifest/revision";
        let answer = http(self.address, "GET", path, &[], b"")?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer["result"].as_str()?.to_owned())
    }

    /// What it says of an input; `None` where it says nothing.
    pub fn ask(&self, input: &Value) -> Option<Value> {
        let body = json!({ "input": input }).to_string();
        let headers = [("content-type", "application/json")];
        let answer = http(self.address, "POST", "/v1/data/aegis/gate/evaluation", &headers, body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer.expect("opa answers").body).expect("JSON");
        answer.get("result").cloned()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("there")
    }
}

impl Drop for Opa {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
