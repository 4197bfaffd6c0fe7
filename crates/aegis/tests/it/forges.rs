//! Real gh (Debian's) through an intercepted connection, and curl as a client of Argo CD's gRPC. What is behind is a stand-in for
//! GitHub's API, **not a GitHub**: it knows one repository, two workflows and one pull request, and remembers what it is asked.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::interception::Secured;
use crate::process::{Gateway, text};
use crate::tools::tool;
use crate::upstream::{Upstream, serve};

const POLICY: &str = "agent: builder
egress: {allow: [\"api.github.com:443\"]}
actions:
  - {name: read, tools: [github]}
  - name: github/trigger_workflow
    allowed_inputs.environment: [staging]
";

/// What the stand-in was asked: method and path, and the body.
#[derive(Clone, Default)]
struct GitHub(Arc<Mutex<Vec<(String, String)>>>);

impl GitHub {
    async fn start() -> (Self, SocketAddr) {
        let this = Self::default();
        let address = serve(Router::new().fallback(answer).with_state(this.clone())).await;
        (this, address)
    }

    /// What it was asked to write.
    fn writes(&self) -> Vec<(String, String)> {
        let asked = self.0.lock().unwrap();
        let writes = |(line, body): &&(String, String)| match line.as_str() {
            "POST /graphql" => body.contains("mutation"),
            other => !other.starts_with("GET "),
        };
        asked.iter().filter(writes).cloned().collect()
    }
}

async fn answer(State(github): State<GitHub>, method: Method, uri: Uri, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    github.0.lock().unwrap().push((format!("{method} {}", uri.path()), body.clone()));
    let workflow = |id: u8, name: &str| {
        let path = format!(".github/workflows/{name}.yml");
        axum::Json(json!({"id": id, "name": name, "path": path, "state": "active"})).into_response()
    };
    // Each run is of the workflow whose number is 72 more than its own.
    let run = |id: u8| {
        let json =
            json!({"id": id, "workflow_id": id + 72, "status": "completed", "conclusion": "failure", "name": "a run"});
        axum::Json(json).into_response()
    };
    let path = uri.path().strip_prefix("/repos/acme/web/actions").unwrap_or(uri.path());
    match (method.as_str(), path) {
        ("GET", "/workflows/deploy.yml" | "/workflows/77") => workflow(77, "deploy"),
        ("GET", "/workflows/release.yml" | "/workflows/78") => workflow(78, "release"),
        ("GET", "/runs/5") => run(5),
        ("GET", "/runs/6") => run(6),
        ("POST", "/workflows/77/dispatches" | "/workflows/78/dispatches") => StatusCode::NO_CONTENT.into_response(),
        ("POST", "/runs/5/rerun" | "/runs/6/rerun") => (StatusCode::CREATED, axum::Json(json!({}))).into_response(),
        ("POST", "/graphql") => axum::Json(graphql(&body)).into_response(),
        _ => (StatusCode::NOT_FOUND, axum::Json(json!({"message": "Not Found"}))).into_response(),
    }
}

/// The two things that gh asks before it merges, and the merge.
fn graphql(body: &str) -> Value {
    let asked: Value = serde_json::from_str(body).expect("JSON");
    let query = asked["query"].as_str().expect("a query").trim_start();
    if query.starts_with("query PullRequest_fields{PullRequest: __type(name: \"PullRequest\")") {
        return json!({"data": {"PullRequest": {"fields": [{"name": "number"}, {"name": "isInMergeQueue"}]}}});
    }
    if query.starts_with("query PullRequestByNumber(") && query.contains("pullRequest(number: $pr_number)") {
        assert_eq!(asked["variables"], json!({"owner": "acme", "repo": "web", "pr_number": 7}));
        return json!({"data": {"repository": {"pullRequest": pull()}}});
    }
    json!({"errors": [{"message": format!("this is no GitHub: it doesn't know {query}")}]})
}

fn pull() -> Value {
    json!({"id": "PR_7", "number": 7, "state": "OPEN", "title": "Faster", "url": "https://github.com/acme/web/pull/7",
        "baseRefName": "main", "headRefName": "faster", "isCrossRepository": false, "mergeStateStatus": "CLEAN",
        "headRefOid": "abc", "isInMergeQueue": false, "isMergeQueueEnabled": false, "commits": {"nodes": [{"commit": {"oid": "abc"}}]},
        "headRepositoryOwner": {"login": "acme"}, "headRepository": {"name": "web"}})
}

struct Setup {
    github: GitHub,
    gateway: Gateway,
    token: String,
    _secured: Secured,
}

impl Setup {
    fn start() -> Self {
        Self::with(POLICY, "api.github.com")
    }

    /// `host` is the intercepted one, as it stands in the configuration.
    fn with(policy: &str, host: &str) -> Self {
        let secured = Secured::new();
        let (github, plain) = secured.runtime().block_on(GitHub::start());
        let config = format!(
            "interception: {{hosts: [{host}], upstream_ca: {}}}\nupstreams: {{\"api.github.com:443\": \"{}\"}}\n",
            secured.ca().display(),
            secured.front("api.github.com", plain)
        );
        let gateway = Gateway::start(&config, &[("builder.yaml", policy)]);
        let token = gateway.folder.agent("builder");
        Self { github, gateway, token, _secured: secured }
    }

    fn gh(&self, arguments: &[&str]) -> Output {
        self.run(&[arguments, &["--repo", "acme/web"]].concat())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(tool("gh"));
        for name in ["no_proxy", "NO_PROXY", "GITHUB_TOKEN", "GH_HOST", "GH_ENTERPRISE_TOKEN"] {
            command.env_remove(name);
        }
        let folder = &self.gateway.folder;
        let proxy = format!("http://builder:{}@{}", self.token, self.gateway.address("proxy"));
        command.env("HTTPS_PROXY", proxy).env("SSL_CERT_FILE", folder.ca()).env("GH_TOKEN", "of-the-agent");
        command.env("HOME", folder.path("")).env("GH_CONFIG_DIR", folder.path("gh")).env("GH_PROMPT_DISABLED", "1");
        command.env("TMPDIR", folder.path("")).env("GH_NO_UPDATE_NOTIFIER", "1").stdin(Stdio::null());
        command.args(arguments).output().expect("gh runs")
    }
}

#[test]
fn gh_runs_a_workflow_where_it_may_and_says_why_not_elsewhere() {
    let setup = Setup::start();
    let run = |environment: &str| {
        let field = format!("environment={environment}");
        setup.gh(&["workflow", "run", "deploy.yml", "--ref", "main", "--field", &field])
    };
    let allowed = run("staging");
    assert!(allowed.status.success(), "{}\n{}", text(&allowed), setup.gateway.log());
    let refused = run("production");
    assert!(!refused.status.success());
    let said = text(&refused);
    assert!(said.contains("HTTP 403: PolicyViolation") && said.contains("allowed_inputs.environment"), "{said}");
    let writes = setup.github.writes();
    let [(line, body)] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(line, "POST /repos/acme/web/actions/workflows/77/dispatches");
    assert_eq!(
        serde_json::from_str::<Value>(body).expect("JSON"),
        json!({"ref": "main", "inputs": {"environment": "staging"}})
    );
    let records = setup.gateway.folder.decisions("builder");
    let of = |record: &&Value| record["call"]["action"] == "trigger_workflow";
    let told: Vec<&Value> = records.iter().filter(of).map(|record| &record["decision"]).collect();
    assert_eq!(told, ["allow", "deny"], "{records:?}");
}

/// gh asks for a workflow's number by its file, and names it by its number from there on.
#[test]
fn gh_names_workflows_and_runs_by_numbers_and_is_judged_by_the_file() {
    let policy = "agent: builder
egress: {allow: [\"api.github.com:443\"]}
actions:
  - {name: read, tools: [github]}
  - {name: github/trigger_workflow, denied_workflow: [release.yml]}
  - {name: github/rerun_workflow, allowed_workflow: [deploy.yml]}
";
    let credential = format!("{{bearer: {}}}", ["of", "the", "gateway"].join("-"));
    let setup = Setup::with(policy, &format!("{{host: api.github.com, credential: {credential}}}"));
    let dispatched = |workflow: &str| setup.gh(&["workflow", "run", workflow, "--ref", "main"]);
    let done = dispatched("deploy.yml");
    assert!(done.status.success(), "{}\n{}", text(&done), setup.gateway.log());
    let rerun = setup.gh(&["run", "rerun", "5"]);
    assert!(rerun.status.success(), "{}\n{}", text(&rerun), setup.gateway.log());
    for (refused, rule) in [
        (dispatched("release.yml"), "denied_workflow"),
        (
            setup.run(&[
                "api",
                "-X",
                "POST",
                "repos/acme/web/actions/workflows/release.yml/dispatches",
                "-f",
                "ref=main",
            ]),
            "denied_workflow",
        ),
        // There is no 79: what isn't learned is refused.
        (
            setup.run(&["api", "-X", "POST", "repos/acme/web/actions/workflows/79/dispatches", "-f", "ref=main"]),
            "workflow is not known",
        ),
        // `gh run rerun` has words of its own for a 403.
        (setup.gh(&["run", "rerun", "6"]), "run 6 cannot be rerun"),
        (setup.run(&["api", "-X", "POST", "repos/acme/web/actions/runs/6/rerun"]), "allowed_workflow"),
    ] {
        let said = text(&refused);
        assert!(!refused.status.success() && said.contains(rule), "{rule}: {said}\n{}", setup.gateway.log());
    }
    let lines: Vec<String> = setup.github.writes().into_iter().map(|(line, _)| line).collect();
    let actions = "POST /repos/acme/web/actions";
    assert_eq!(lines, [format!("{actions}/workflows/77/dispatches"), format!("{actions}/runs/5/rerun")]);
    let records = setup.gateway.folder.decisions("builder");
    let asked = records.iter().find(|record| record["call"]["action"] == "rerun_workflow").expect("a record");
    let of_run = "GET [/api/v3]/repos/{owner}/{repo}/actions/runs/{run}";
    assert_eq!(asked["resolved"][0]["asked"], of_run, "{asked}");
}

#[test]
fn gh_reads_a_pull_request_and_is_told_that_it_may_not_merge_it() {
    let setup = Setup::start();
    let shown = setup.gh(&["pr", "view", "7", "--json", "title,state"]);
    assert!(
        shown.status.success() && text(&shown).contains(r#"{"state":"OPEN","title":"Faster"}"#),
        "{}",
        text(&shown)
    );
    let refused = setup.gh(&["pr", "merge", "7", "--merge"]);
    assert!(!refused.status.success());
    let said = text(&refused);
    for reason in ["403", "PolicyViolation: no policy entry allows", "merge_pull"] {
        assert!(said.contains(reason), "{reason:?} isn't in {said}\n{}", setup.gateway.log());
    }
    assert_eq!(setup.github.writes(), []);
    let asked = setup.github.0.lock().unwrap().clone();
    assert!(asked.iter().any(|(line, body)| line == "POST /graphql" && body.contains("pullRequest")), "{asked:?}");
    let records = setup.gateway.folder.decisions("builder");
    let told: Vec<[&Value; 2]> =
        records.iter().map(|record| [&record["call"]["action"], &record["decision"]]).collect();
    let (query, merge) = ([&json!("query"), &json!("allow")], [&json!("merge_pull"), &json!("deny")]);
    assert_eq!(told, [query, query, query, merge]);
}

/// One frame of gRPC with `name: web` and `revision`, as Argo CD's Sync takes them.
fn sync(revision: &str) -> Vec<u8> {
    let field = |number: u8, text: &str| {
        [&[number << 3 | 2, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
    };
    let message = [field(1, "web"), field(2, revision)].concat();
    [&[0][..], &u32::try_from(message.len()).expect("short").to_be_bytes(), &message].concat()
}

#[test]
fn argo_cds_grpc_is_read_and_refused_in_its_own_words() {
    let upstream = Upstream::start(None);
    let config = format!("routes: [{{name: argocd, tool: argocd, upstream: \"http://{}\"}}]\n", upstream.address);
    let policy = "agent: builder\nactions:\n  - {name: argocd/sync, allowed_revision: [v1]}\n";
    let gateway = Gateway::start(&config, &[("builder.yaml", policy)]);
    let token = gateway.folder.agent("builder");
    let ca = gateway.folder.ca();
    // HTTP/2 needs TLS here (ALPN); gRPC-Web doesn't need HTTP/2.
    let call = |kind: &str, revision: &str| {
        let (listener, scheme, version) =
            if kind == "application/grpc" { ("proxy_tls", "https", "--http2") } else { ("proxy", "http", "--http1.1") };
        let url = format!("{scheme}://{}/r/argocd/application.ApplicationService/Sync", gateway.address(listener));
        let file = gateway.folder.path("message");
        std::fs::write(&file, sync(revision)).expect("written");
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--include", version, &url, "--noproxy", "*"]);
        command.arg("--cacert").arg(&ca);
        command.args(["--data-binary", &format!("@{}", file.display()), "--header", &format!("Content-Type: {kind}")]);
        command.args(["--header", &format!("Aegis-Token: {token}"), "--header", "TE: trailers"]);
        text(&command.output().expect("curl runs"))
    };
    let refused = call("application/grpc", "main");
    assert!(refused.starts_with("HTTP/2 200") && refused.contains("grpc-status: 7"), "{refused}");
    assert!(refused.contains("grpc-message: PolicyViolation") && refused.contains("allowed_revision"), "{refused}");
    let refused = call("application/grpc-web+proto", "main");
    assert!(
        refused.starts_with("HTTP/1.1 200") && refused.contains("content-type: application/grpc-web+proto"),
        "{refused}"
    );
    assert!(refused.contains("grpc-status: 7") && refused.contains("allowed_revision"), "{refused}");
    assert_eq!(upstream.seen(), "");
    let allowed = call("application/grpc-web+proto", "v1");
    assert!(allowed.contains("200 OK") && allowed.ends_with("done\n"), "{allowed}\n{}", gateway.log());
    assert!(upstream.seen().contains("POST /application.ApplicationService/Sync "), "{}", upstream.seen());
    let records = gateway.folder.decisions("builder");
    assert!(records.iter().all(|record| record["call"]["action"] == "sync"), "{records:?}");
}
