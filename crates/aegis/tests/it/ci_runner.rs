//! The guide to the forward proxy in a CI runner, followed word by word with real curl, git, Python and Node. The guide's reader has
//! hosts of their own; here one TLS server has the invented names, with a real `git http-backend` for the repositories.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::guide::Guide;
use crate::secure::Authority;
use crate::tools::tool;

const HOSTS: [&str; 3] = ["files.example.com", "git.example.com", "deploys.example.com"];

/// All three hosts, and what has reached them, as `METHOD host path body`; of what git sends, no body.
#[derive(Clone)]
struct Hosts {
    repositories: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hosts {
    /// With the repositories `acme/shop.git`, which has a commit, and `acme/sandbox.git`, which is empty; both take pushes.
    fn new(repositories: &Path) -> Self {
        for name in ["acme/shop.git", "acme/sandbox.git"] {
            let path = repositories.join(name).display().to_string();
            git(repositories, &["init", "-q", "--bare", "-b", "main", &path]);
            git(repositories, &["-C", &path, "config", "http.receivepack", "true"]);
        }
        let work = repositories.join("work");
        git(repositories, &["init", "-q", "-b", "main", "work"]);
        std::fs::write(work.join("README"), "the shop\n").expect("written");
        git(&work, &["add", "README"]);
        git(&work, &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "The shop"]);
        git(&work, &["push", "-q", "../acme/shop.git", "main"]);
        Self { repositories: repositories.to_owned(), seen: Arc::default() }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("whole").clone()
    }
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").args(arguments);
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn answer(State(hosts): State<Hosts>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let host = field("host");
    let told = if host == HOSTS[1] { String::new() } else { String::from_utf8_lossy(&body).into_owned() };
    hosts.seen.lock().expect("whole").push(format!("{method} {host} {uri} {told}").trim_end().to_owned());
    match (host.as_str(), method.as_str(), uri.path()) {
        ("files.example.com", "GET", "/linter.txt") => "linter 4.2\n".into_response(),
        ("deploys.example.com", "POST", "/v1/services/shop") => "deployed\n".into_response(),
        ("git.example.com", ..) => {
            let mut backend = Command::new("git");
            backend.arg("http-backend").env("GIT_PROJECT_ROOT", &hosts.repositories).env("GIT_HTTP_EXPORT_ALL", "1");
            backend.env("REQUEST_METHOD", method.as_str()).env("PATH_INFO", uri.path());
            backend.env("QUERY_STRING", uri.query().unwrap_or_default()).env("CONTENT_TYPE", field("content-type"));
            backend.env("HTTP_CONTENT_ENCODING", field("content-encoding")).env("GIT_PROTOCOL", field("git-protocol"));
            backend.env("CONTENT_LENGTH", body.len().to_string()).env("REMOTE_USER", "somebody");
            let ran = tokio::task::spawn_blocking(move || with_input(backend, &body)).await.expect("it ends");
            cgi(&ran)
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        // It may have said enough before it has read all.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("it ends")
    })
}

/// What a CGI program printed, as an answer (RFC 3875 §6).
fn cgi(ran: &Output) -> Response {
    let end = ran.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&ran.stdout[..end]).into_owned();
    let mut response = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => response.status(value.split(' ').next().expect("a code")),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(ran.stdout[end + 4..].to_vec())).expect("an answer")
}

#[test]
fn the_guide_to_the_ci_runner_goes_as_the_page_tells_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let repositories = tempfile::tempdir().expect("a folder");
    let (authority, hosts) = (Authority::new(), Hosts::new(repositories.path()));
    let app = Router::new().fallback(answer).with_state(hosts.clone());
    let address = runtime.block_on(authority.serve(&HOSTS, app));
    let mut guide = Guide::open("ci-runner.md").instead_of("127.0.0.1:8443", address);
    std::fs::write(guide.folder().join("company-ca.pem"), authority.pem()).expect("written");
    guide.succeed(&format!("node() {{ '{}' \"$@\"; }}", tool("node22").display()));
    guide.follow();

    // What the page tells besides: nothing that was refused has reached a host, and what was allowed has, once.
    let seen = hosts.seen();
    let deployed = seen.iter().filter(|call| call.contains("/v1/services/")).cloned().collect::<Vec<_>>();
    assert_eq!(deployed.len(), 3, "{deployed:?}");
    assert!(deployed.iter().all(|call| call.replace(' ', "").ends_with("{\"replicas\":5}")), "{deployed:?}");
    assert!(!seen.iter().any(|call| call.contains("shop.git") && call.contains("receive-pack")), "{seen:?}");
    let branches = |name: &str| git(&repositories.path().join(name), &["branch", "--format=%(refname:short)"]);
    assert_eq!((branches("acme/shop.git").trim(), branches("acme/sandbox.git").trim()), ("main", "next"));

    // Inside of an intercepted connection each request has a record of its own, under what it is.
    let calls: Vec<String> = guide
        .decisions()
        .iter()
        .filter(|record| record["decision"] == "allow" && record["call"]["tool"] != "http")
        .map(|record| format!("{}/{}", record["call"]["tool"], record["call"]["action"]).replace('"', ""))
        .collect();
    let git: Vec<&str> = calls.iter().filter_map(|name| name.strip_prefix("forge/")).collect();
    assert_eq!(git, ["refs", "fetch", "fetch", "refs", "push"], "{calls:?}");
    assert_eq!(calls.iter().filter(|name| *name == "deploys/deploy").count(), 3, "{calls:?}");
}
