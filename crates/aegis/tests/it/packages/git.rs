//! git against its own server, git-http-backend, which runs as a CGI program behind a few lines of HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};

use super::{Setup, run};
use crate::upstream::serve;

const ACTIONS: &str = "  - name: git/fetch\n  \
    - {name: git/push, denied_refs: [refs/heads/main], denied_options: [ci.skip]}\n";

/// git-http-backend for the repositories below a folder. Whoever asks may push.
async fn backend(
    State(root): State<PathBuf>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let cgi = tokio::task::spawn_blocking(move || {
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut command = Command::new("git");
        command.arg("http-backend").env("GIT_PROJECT_ROOT", &root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REQUEST_METHOD", method.as_str()).env("PATH_INFO", uri.path()).env("REMOTE_USER", "x");
        command.env("QUERY_STRING", uri.query().unwrap_or_default()).env("REMOTE_ADDR", "127.0.0.1");
        command.env("CONTENT_TYPE", header("content-type")).env("CONTENT_LENGTH", body.len().to_string());
        command.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &body));
        child.wait_with_output().expect("git ends").stdout
    });
    let cgi = cgi.await.expect("no panic");
    let end = cgi.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(cgi[..end].to_vec()).expect("text");
    let fields: BTreeMap<_, _> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = fields.get("Status").map_or(200, |status| status[..3].parse().expect("a status"));
    let mut answer = Response::builder().status(status);
    for (name, value) in fields.into_iter().filter(|(name, _)| *name != "Status") {
        answer = answer.header(name, value);
    }
    answer.body(Body::from(cgi[end + 4..].to_vec())).expect("an answer")
}

struct Git {
    setup: Setup,
    root: tempfile::TempDir,
    clone: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Git {
    fn start(actions: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        run(local(root.path()).args(["init", "--quiet", "--bare", "--initial-branch=main", "team/app.git"]));
        run(local(&root.path().join("team/app.git")).args(["config", "receive.advertisePushOptions", "true"]));
        let setup = Setup::start("git", Self::serve(&runtime, root.path()), actions);
        // With one commit on main, made there.
        let first = setup.path("first");
        run(local(root.path()).args(["clone", "--quiet", "team/app.git"]).arg(&first));
        commit(&first, "one");
        run(local(&first).args(["push", "--quiet", "origin", "HEAD:main"]));
        let clone = setup.path("clone");
        Self { setup, root, clone, _runtime: runtime }
    }

    fn serve(runtime: &tokio::runtime::Runtime, root: &Path) -> SocketAddr {
        let limit = axum::extract::DefaultBodyLimit::disable();
        let app = Router::new().fallback(backend).layer(limit).with_state(root.to_owned());
        runtime.block_on(serve(app))
    }

    /// git as the agent runs it.
    fn git(&self, arguments: &[&str]) -> Output {
        let mut command = self.setup.client("git");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_GLOBAL", "/dev/null");
        if self.clone.exists() {
            command.current_dir(&self.clone);
        }
        command.args(arguments).output().expect("git runs")
    }

    fn cloned(&self) {
        let url = format!("{}/team/app.git", self.setup.url);
        self.setup.done(&self.git(&["clone", "--quiet", &url, self.clone.to_str().expect("text")]));
        commit(&self.clone, "two");
    }

    /// The refs on the server.
    fn refs(&self) -> Vec<String> {
        let all = run(local(&self.root.path().join("team/app.git")).args(["for-each-ref", "--format=%(refname)"]));
        all.lines().map(str::to_owned).collect()
    }
}

/// git without Aegis, and without this machine's settings.
fn local(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn commit(folder: &Path, text: &str) {
    std::fs::write(folder.join(text), text).expect("written");
    run(local(folder).args(["add", "."]));
    run(local(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", text]));
}

#[test]
fn a_branch_is_pushed_and_a_protected_one_is_refused_with_the_reason() {
    let git = Git::start(ACTIONS);
    git.cloned();
    git.setup.done(&git.git(&["push", "origin", "HEAD:refs/heads/topic"]));
    assert_eq!(git.refs(), ["refs/heads/main", "refs/heads/topic"]);
    let refused = git.git(&["push", "origin", "HEAD:refs/heads/main"]);
    git.setup.refused(&refused, &["[remote rejected]", "remote: PolicyViolation", "denied_refs"]);
    // One that is refused refuses all that are pushed with it.
    let both = git.git(&["push", "origin", "HEAD:refs/heads/main", "HEAD:refs/heads/other"]);
    git.setup.refused(&both, &["HEAD -> other", "[remote rejected]", "denied_refs"]);
    let skipped = git.git(&["push", "--push-option=ci.skip", "origin", "HEAD:refs/heads/third"]);
    git.setup.refused(&skipped, &["denied_options"]);
    assert_eq!(git.refs(), ["refs/heads/main", "refs/heads/topic"]);
}

#[test]
fn a_forced_push_is_refused_where_force_is_denied_and_what_cannot_be_told_from_one_too() {
    let git = Git::start("  - name: git/fetch\n  - {name: git/push, denied_force: [true]}\n");
    git.cloned();
    let on_main = || run(local(&git.root.path().join("team/app.git")).args(["rev-parse", "refs/heads/main"]));
    let before = on_main();
    git.setup.done(&git.git(&["push", "origin", "HEAD:refs/heads/topic"]));
    git.setup.refused(&git.git(&["push", "origin", "HEAD:refs/heads/main"]), &["[remote rejected]", "denied_force"]);
    run(local(&git.clone).args(["reset", "--quiet", "--hard", "HEAD~1"]));
    commit(&git.clone, "another");
    let forced = git.git(&["push", "--force", "origin", "HEAD:refs/heads/topic"]);
    git.setup.refused(&forced, &["[remote rejected]", "denied_force"]);
    assert_eq!(on_main(), before);
    let topic =
        run(local(&git.root.path().join("team/app.git")).args(["log", "-1", "--format=%s", "refs/heads/topic"]));
    assert_eq!(topic, "two");
}

#[test]
fn a_ref_is_not_deleted_by_whoever_may_only_push() {
    let git = Git::start(ACTIONS);
    git.cloned();
    let deleted = git.git(&["push", "origin", ":refs/heads/main"]);
    git.setup.refused(&deleted, &["[remote rejected]", "no policy"]);
    let mixed = git.git(&["push", "origin", "HEAD:refs/heads/new", ":refs/heads/main"]);
    git.setup.refused(&mixed, &["[remote rejected]"]);
    assert_eq!(git.refs(), ["refs/heads/main"]);
}

#[test]
fn whoever_may_not_push_at_all_is_told_before_anything_is_sent() {
    let git = Git::start("  - name: git/fetch\n");
    git.cloned();
    let refused = git.git(&["push", "origin", "HEAD:refs/heads/topic"]);
    git.setup.refused(&refused, &["remote: PolicyViolation", "403"]);
    assert_eq!(git.refs(), ["refs/heads/main"]);
}

#[test]
fn a_push_larger_than_what_is_read_is_streamed_and_judged_all_the_same() {
    let git = Git::start(ACTIONS);
    git.cloned();
    // What doesn't compress: more than git sends at once, and more than Aegis reads of a body.
    run(Command::new("sh").args(["-c", "head -c 9000000 /dev/urandom > large"]).current_dir(&git.clone));
    commit(&git.clone, "three");
    git.setup.refused(&git.git(&["push", "origin", "HEAD:refs/heads/main"]), &["denied_refs"]);
    git.setup.done(&git.git(&["push", "origin", "HEAD:refs/heads/large"]));
    assert_eq!(git.refs(), ["refs/heads/large", "refs/heads/main"]);
}
