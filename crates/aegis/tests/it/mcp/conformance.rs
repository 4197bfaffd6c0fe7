//! The MCP conformance suite against a server on the official SDK, direct and through an Aegis that allows everything: each check
//! of each scenario has to come out the same, at both generations of the protocol.
//!
//! The suite can't send a token, so a real nginx in front adds it, to both.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::{Gateway, eventually};

const POLICY: &str = "agent: suite
actions: [{name: everything/*}, {name: everything/unknown}]
";

pub(super) fn peer(name: &str) -> PathBuf {
    let folder = std::env::var_os("AEGIS_TOOLS").expect("AEGIS_TOOLS names the folder with the peers: run ./test e2e");
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is missing: scripts/tools {name}", path.display());
    path
}

/// A program that ends with the test.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The reference server, and its address.
pub(super) fn everything() -> (Running, String) {
    let mut child =
        Command::new(peer("mcp-everything")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
    (Running(child), line.trim().to_owned())
}

/// nginx that passes everything on to `to`, with a token where there is one.
fn in_front(folder: &Path, to: &str, token: Option<&str>) -> (Running, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let token = token.map(|token| format!("proxy_set_header Authorization \"Bearer {token}\";")).unwrap_or_default();
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "daemon off; master_process off; pid {pid}; error_log {log}; events {{}}
http {{ access_log off; client_body_temp_path {t}1; proxy_temp_path {t}2; fastcgi_temp_path {t}3; uwsgi_temp_path {t}4; scgi_temp_path {t}5;
 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {to}; proxy_http_version 1.1; proxy_set_header Connection \"\";
  proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 120s; proxy_set_header Host $http_host; {token} }} }} }}",
        pid = at("nginx.pid"),
        log = at("nginx.log"),
        t = at("temp"),
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("written");
    let child = Command::new(peer("nginx")).arg("-c").arg(&file).stderr(Stdio::null()).spawn().expect("nginx runs");
    eventually("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (Running(child), format!("http://127.0.0.1:{port}/"))
}

/// Each scenario's checks, as (id, status), sorted.
fn checks(url: &str, revision: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Command::new(peer("mcp-conformance"))
        .args(["server", "--url", url, "--requirements", revision, "-o"])
        .arg(folder.path())
        .output()
        .expect("the suite runs");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        // The name ends with the time.
        let scenario = name.split("-20").next().unwrap_or(&name).to_owned();
        let text = std::fs::read(path.join("checks.json")).expect("checks");
        let list: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
        let mut found: Vec<(String, String)> = list
            .iter()
            .map(|one| {
                (
                    one["id"].as_str().unwrap_or_default().to_owned(),
                    one["status"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        found.sort();
        all.insert(scenario, found);
    }
    assert!(all.len() > 25, "the suite ran: {}", String::from_utf8_lossy(&run.stdout));
    all
}

fn same_through_aegis(revision: &str) {
    let (_server, url) = everything();
    let gateway = Gateway::start(&format!("mcp: [{{name: everything, url: \"{url}\"}}]\n"), &[("suite.yaml", POLICY)]);
    let token = gateway.folder.agent("suite");
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let (_direct, direct) = in_front(folders[0].path(), &url, None);
    let aegis = format!("http://{}/mcp/everything", gateway.address("proxy"));
    let (_through, through) = in_front(folders[1].path(), &aegis, Some(&token));
    let (direct, through) = (checks(&direct, revision), checks(&through, revision));
    let differ: Vec<_> = direct.iter().filter(|(name, found)| through.get(*name) != Some(found)).collect();
    let theirs: Vec<_> = differ.iter().map(|(name, _)| through.get(*name)).collect();
    assert!(differ.is_empty(), "direct: {differ:#?}\nthrough: {theirs:#?}\n{}", gateway.log());
    assert_eq!(direct.keys().collect::<Vec<_>>(), through.keys().collect::<Vec<_>>());
    let passed = through.values().flatten().filter(|(_, status)| status == "SUCCESS").count();
    assert!(passed > 70, "{passed} checks passed");
}

#[test]
fn the_conformance_suite_sees_no_difference_with_sessions() {
    same_through_aegis("2025-11-25");
}

#[test]
fn the_conformance_suite_sees_no_difference_without_sessions() {
    same_through_aegis("2026-07-28");
}
