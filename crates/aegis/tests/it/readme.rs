//! The README and its first guide are true: every command in them runs, in its order, the policy in it loads, and the README
//! leads to every page.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{aegis, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The README, and the guide that goes on where it ends.
fn readme() -> String {
    let page = |name: &str| std::fs::read_to_string(root().join(name)).expect("a page");
    page("README.md") + &page("docs/first-gateway.md")
}

/// The `$ ` lines of the console blocks, without their comments.
fn commands() -> Vec<String> {
    let text = readme();
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect()
}

/// The YAML block that starts with a comment naming `file`.
fn block(file: &str) -> String {
    let text = readme();
    let start = format!("```yaml\n# {file}\n");
    let rest = text.split(&start).nth(1).unwrap_or_else(|| panic!("no block for {file}"));
    rest.split("```").next().expect("an end").to_owned()
}

struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(dir: &Path, arguments: &[&str]) -> Follower {
    let mut command = command(dir, arguments);
    Follower(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("aegis starts"))
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = aegis();
    command.args(arguments).current_dir(dir).env("AEGIS_CONFIG", "my-gateway/aegis.yaml");
    command
}

/// Free ports instead of the documented ones: a test takes nobody's port.
fn free_the_ports(dir: &Path) {
    let path = dir.join("my-gateway/aegis.yaml");
    let config = std::fs::read_to_string(&path).expect("aegis.yaml");
    let free = ["4180", "4181", "4182", "4183"]
        .iter()
        .fold(config, |text, port| text.replace(&format!("127.0.0.1:{port} "), "127.0.0.1:0 "));
    std::fs::write(&path, free).expect("written");
}

#[test]
fn the_readme_leads_to_every_page_once() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut pages = 0;
    for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        if name.ends_with(".md") {
            assert_eq!(text.matches(&format!("(docs/{name})")).count(), 1, "{name}");
            pages += 1;
        }
    }
    assert!(pages > 8, "{pages} pages");
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://"))
    {
        assert!(root().join(link).exists(), "{link} is there");
    }
}

#[test]
fn every_command_in_the_readme_runs_in_its_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let mut running = Vec::new();
    let mut ran = 0;
    for line in commands() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // The two that everything else stands on: `demo --once` has a test of its own, and this is `./test`.
            ["cargo", "run", "--release", "--", "demo"]
            | ["./test"]
            | ["export", "AEGIS_CONFIG=my-gateway/aegis.yaml"] => {}
            ["aegis", "serve"] => {
                free_the_ports(dir);
                running.push(spawn(dir, &["serve"]));
                let until = Instant::now() + Duration::from_secs(20);
                while !dir.join("my-gateway/aegis-data/gateway.json").exists() {
                    assert!(Instant::now() < until, "the gateway never came up");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            ["aegis", arguments @ .., "--follow"] => {
                running.push(spawn(dir, &[arguments, &["--follow"]].concat()));
            }
            ["aegis", "approvals", "approve", "apr_…"] => {
                let output = command(dir, &["approvals", "approve", "apr_none"]).output().expect("aegis runs");
                assert_eq!(output.status.code(), Some(1), "{}", text(&output));
            }
            ["aegis", arguments @ ..] => {
                let output = command(dir, arguments).output().expect("aegis runs");
                assert!(output.status.success(), "{line}: {}", text(&output));
            }
            _ => panic!("nobody knows how to run {line:?}"),
        }
        ran += 1;
        if line == "aegis init my-gateway" {
            std::fs::write(dir.join("my-gateway/policies/deploy.yaml"), block("my-gateway/policies/deploy.yaml"))
                .expect("written");
        }
    }
    assert!(ran >= 12, "only {ran} commands were found");
}

#[test]
fn the_configuration_in_the_readme_is_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config =
        block("my-gateway/aegis.yaml").replace("/etc/k8s/ca.pem", "ca.pem").replace("/run/secrets/k8s", "secret");
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("written");
    std::fs::create_dir(dir.path().join("policies")).expect("made");
    std::fs::write(dir.path().join("policies/p.yaml"), block("my-gateway/policies/deploy.yaml")).expect("written");
    std::fs::write(dir.path().join("secret"), "a-secret").expect("written");
    let other = tempfile::tempdir().expect("a temporary folder");
    let ca = aegis().args(["ca", "export"]).current_dir(other.path()).output().expect("aegis runs");
    std::fs::write(dir.path().join("ca.pem"), ca.stdout).expect("written");
    let output = aegis().args(["serve", "--check"]).current_dir(dir.path()).output().expect("aegis runs");
    assert!(output.status.success(), "{}", text(&output));
}
