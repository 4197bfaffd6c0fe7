//! What only the tool can say is asked of it; and what Aegis proves itself with, on routes and intercepted hosts.

mod credentials;
mod forge;

use serde_json::{Value, json};

use self::forge::Forge;
use crate::authzen::{Answer, try_send};
use crate::guide::Guide;
use crate::process::Gateway;

const TOOL: &str = r#"
apiVersion: aegis/v1
tool: forge
actions:
- action: dispatch
  effect: exec
  match: {method: POST, path: "/repos/{owner}/{repo}/workflows/{id}/dispatches"}
  decode: [json]
  params: {ref: {pointer: /ref}}
  resolve:
  - get: "/repos/{owner}/{repo}/workflows/{id}"
    facts: {workflow: /path}
    params: {workflow: /path}
- action: pull
  effect: read
  match: {method: GET, path: "/v2/{name+}/manifests/{reference}"}
  resolve:
  - head: "/v2/{name+}/manifests/{reference}"
    accept: [application/x.index+json, application/x.manifest+json]
    params: {digest: {header: docker-content-digest}}
- action: apply
  effect: write
  match: {method: PUT, path: "/objects/{name}"}
  decode: [json]
  params: {replicas: {pointer: /replicas, type: int}}
  resolve: [{trial: dryRun=All}]
- action: look
  effect: read
  match: {method: GET, path: "/look/{name}"}
"#;

const ENVIRONMENTS: &str = r#"environments:
  - {match: {tool: forge, workflow: "*live*"}, env: production}
  - {match: {tool: forge, workflow: ".ci/*"}, env: staging}
  - {match: {tool: forge}, env: development}
"#;

const CI: &str = "agent: ci
actions:
  - name: forge/dispatch
    allowed_environments: [staging]
  - name: forge/pull
    deny_if: params.digest.startsWith('sha256:bad')
  - name: forge/apply
    max_replicas: 5
";

/// It may look at things, and dispatch nothing.
const LOOKER: &str = "agent: looker\nactions: [{name: forge/look}]\n";
const STRANGER: &str = "agent: stranger\nactions: [{name: kubernetes/scale}]\n";

struct Setup {
    gateway: Gateway,
    forge: Forge,
    token: String,
}

/// What the route proves itself with; put together here so that no file looks like a leak.
fn secret() -> String {
    ["route", "secret", "0001"].join("-")
}

impl Setup {
    fn start() -> Self {
        let forge = Forge::start();
        let route = |name: &str, credential: &str| {
            format!("  - {{name: {name}, upstream: \"http://{}\", tool: forge{credential}}}\n", forge.address)
        };
        let routes = [
            route("forge", &format!(", credential: {{bearer: {}}}", secret())),
            route("other", ", credential: {header: {name: x-api-key, value: other-0002}}"),
            route("bare", ""),
        ];
        let config = format!("tools: ./tools\n{ENVIRONMENTS}routes:\n{}", routes.concat());
        let policies = [("ci.yaml", CI), ("looker.yaml", LOOKER), ("stranger.yaml", STRANGER)];
        let folder = crate::process::Folder::with(&config, &policies);
        std::fs::create_dir(folder.path("tools")).expect("made");
        std::fs::write(folder.path("tools/forge.yaml"), TOOL).expect("written");
        let gateway = folder.serve();
        let token = gateway.folder.agent("ci");
        Self { gateway, forge, token }
    }

    fn send(&self, token: &str, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let headers = [("Aegis-Token", token), ("Content-Type", kind), ("Authorization", "Bearer of-the-agent")];
        try_send(self.gateway.address("proxy"), method, path, &headers, body).expect("an answer")
    }

    /// A dispatch of a workflow by a route.
    fn dispatch(&self, route: &str, id: &str) -> Answer {
        let path = format!("/r/{route}/repos/acme/web/workflows/{id}/dispatches");
        self.send(&self.token, "POST", &path, "application/json", r#"{"ref":"main"}"#)
    }

    /// What was asked about the last call.
    fn asked(&self) -> Value {
        self.gateway.folder.decisions("ci").pop().expect("a decision")["resolved"].clone()
    }
}

#[test]
fn the_page_on_credentials_is_true() {
    let forge = Forge::start();
    Guide::open("credentials.md").instead_of("127.0.0.1:8001", forge.address).follow();
    let shown: Vec<String> = forge.requests("GET /look/a").into_iter().filter_map(|seen| seen.authorization).collect();
    assert_eq!(shown, ["Bearer first-of-two", "Bearer second-of-two"]);
    let keys: Vec<String> = forge.requests("GET /look/a").into_iter().filter_map(|seen| seen.key).collect();
    assert_eq!(keys, ["printed-by-a-program"]);
    assert_eq!(forge.requests("").len(), 3);
}

#[test]
fn the_page_on_the_catalogue_is_true() {
    Guide::open("catalogue.md").follow();
}

#[test]
fn a_workflow_is_judged_by_the_name_that_its_id_stands_for() {
    let setup = Setup::start();
    assert_eq!(setup.dispatch("forge", "77").status, 204, "{}", setup.gateway.log());
    let question = "GET /repos/{owner}/{repo}/workflows/{id}";
    assert_eq!(setup.asked(), json!([{"asked": question, "names": ["workflow", "workflow"], "cached": false}]));
    let lookup = setup.forge.requests("GET /repos/acme/web/workflows/77");
    assert_eq!(lookup.len(), 1);
    assert_eq!(lookup[0].authorization.as_deref(), Some(format!("Bearer {}", secret()).as_str()));
    assert_eq!(setup.dispatch("forge", "77").status, 204);
    assert_eq!(setup.asked()[0]["cached"], true);
    assert_eq!(setup.forge.requests("GET ").len(), 1);

    let denied = setup.dispatch("forge", "78");
    assert_eq!((denied.status, denied.json()["violations"][0]["rule"].as_str()), (403, Some("allowed_environments")));
    assert!(denied.text.contains("production"), "{}", denied.text);
    assert_eq!(setup.forge.requests("POST ").len(), 2);
    assert!(!setup.gateway.folder.records().iter().any(|record| record.to_string().contains(".ci/")), "no raw value");
}

#[test]
fn what_cannot_be_learned_is_refused_and_says_so() {
    let setup = Setup::start();
    for (id, why) in [
        ("99", "the tool answered 404"),
        ("80", "the tool answered 302"),
        ("81", "the tool's answer is too large"),
        ("82", "the tool did not answer in time"),
        ("83", "the tool's answer is compressed"),
        ("84", "the answer doesn't say workflow"),
        ("85", "the answer is no plain JSON"),
    ] {
        let denied = setup.dispatch("forge", id);
        assert_eq!(denied.status, 403, "{id}: {}", denied.text);
        assert!(denied.text.contains(why) && denied.text.contains("unknown"), "{id}: {}", denied.text);
        assert_eq!(setup.asked()[0]["failed"], why, "{id}");
    }
    assert!(setup.forge.requests("POST ").is_empty());
    assert_eq!(setup.forge.requests("GET /elsewhere").len(), 0, "a redirect isn't followed");
    // A failure isn't kept.
    assert_eq!(setup.dispatch("forge", "99").status, 403);
    assert_eq!(setup.forge.requests("GET /repos/acme/web/workflows/99").len(), 2);
}

#[test]
fn nobody_is_asked_for_an_agent_without_a_grant_or_where_there_is_no_credential() {
    let setup = Setup::start();
    let bare = setup.dispatch("bare", "77");
    assert_eq!(bare.status, 403, "{}", bare.text);
    assert!(bare.text.contains("workflow is not known: Aegis has no credential there"), "{}", bare.text);
    let stranger = setup.gateway.folder.agent("stranger");
    let path = "/r/forge/repos/acme/web/workflows/77/dispatches";
    for token in [stranger.as_str(), "not-a-token"] {
        let refused = setup.send(token, "POST", path, "application/json", r#"{"ref":"main"}"#);
        assert!(matches!(refused.status, 401 | 403), "{}", refused.text);
    }
    let trial = setup.send(&setup.gateway.folder.agent("looker"), "PUT", "/r/forge/objects/web", "x/binary", "b9");
    assert_eq!(trial.status, 403, "{}", trial.text);
    assert!(setup.forge.requests("").is_empty(), "{:?}", setup.forge.requests(""));
    // By name there is nobody to ask: it is what the caller states.
    let evaluate = |properties: Value| {
        let action = json!({"name": "dispatch", "properties": properties});
        let question = json!({"subject": {"type": "agent", "id": "ci"}, "action": action,
            "resource": {"type": "forge", "id": "77"}});
        let headers =
            [("Authorization", format!("Bearer {}", setup.token)), ("Content-Type", "application/json".into())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let api = setup.gateway.address("api");
        let answer =
            try_send(api, "POST", "/access/v1/evaluation", &headers, &question.to_string()).expect("an answer");
        answer.json()["decision"].clone()
    };
    assert_eq!(evaluate(json!({"ref": "main"})), false);
    assert_eq!(evaluate(json!({"ref": "main", "workflow": ".ci/check.yml"})), true);
    assert_eq!(evaluate(json!({"ref": "main", "workflow": ".ci/live.yml"})), false);
    assert!(setup.forge.requests("").is_empty());
}

#[test]
fn equal_questions_at_one_time_are_one_and_each_route_asks_for_itself() {
    let setup = Setup::start();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| setup.dispatch("forge", "79").status)).collect();
        for call in calls {
            assert_eq!(call.join().expect("no panic"), 204);
        }
    });
    assert_eq!(setup.forge.requests("GET ").len(), 1);
    assert_eq!(setup.dispatch("other", "79").status, 204);
    let asked = setup.forge.requests("GET ");
    assert_eq!((asked.len(), asked[1].key.as_deref()), (2, Some("other-0002")));
}

#[test]
fn a_tag_is_judged_by_its_digest_and_a_binary_change_by_its_trial() {
    let setup = Setup::start();
    let pull = |tag: &str| setup.send(&setup.token, "GET", &format!("/r/forge/v2/team/web/manifests/{tag}"), "x/y", "");
    assert_eq!(pull("v1").status, 200);
    assert_eq!(pull("bad").status, 403);
    let heads = setup.forge.requests("HEAD ");
    assert_eq!(heads[0].accept.as_deref(), Some("application/x.index+json, application/x.manifest+json"));

    let put = |body: &str| setup.send(&setup.token, "PUT", "/r/forge/objects/web", "x/binary", body);
    assert_eq!(put("b3").status, 200);
    let denied = put("b9");
    assert_eq!((denied.status, denied.json()["violations"][0]["rule"].as_str()), (403, Some("max_replicas")));
    assert_eq!(setup.asked()[0]["asked"], "PUT with dryRun=All");
    let invalid = put("bx");
    assert_eq!(invalid.status, 403);
    assert!(invalid.text.contains("the tool answered 422"), "{}", invalid.text);
    let real = |seen: &forge::Seen| !seen.line.contains("dryRun=All");
    assert_eq!(setup.forge.requests("PUT ").iter().filter(|seen| real(seen)).count(), 1);
}
