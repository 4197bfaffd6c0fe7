//! From shadow mode to enforcement with the real binary: traffic → report → suggest → patch → check; and a candidate beside the
//! version in force.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Folder, Gateway, eventually, raw, stderr, stdout, text};
use crate::upstream::Upstream;

const POLICY: &str = "# who deploys
agent: deployer
mode: shadow
actions:
  - name: deploy
    allowed_environments: [staging]   # so far
    approval_needed: env == \"production\"
    max_replicas: 50  # reviewed in March
";

struct Setup {
    gateway: Gateway,
    tool: Upstream,
    token: String,
}

impl Setup {
    fn start(policy: &str) -> Self {
        let tool = Upstream::start(None);
        let config = format!(
            "routes: [{{name: k8s, upstream: \"http://{}\", tool: kubernetes, cluster: main}}]\n\
             environments:\n  - {{match: {{tool: kubernetes, namespace: \"qa-*\"}}, env: qa}}\n  \
             - {{match: {{tool: kubernetes, namespace: \"prod-*\"}}, env: production}}\n  \
             - {{match: {{tool: kubernetes, namespace: \"web\"}}, env: staging}}\n",
            tool.address
        );
        let gateway = Gateway::start(&config, &[("deploy.yaml", policy)]);
        let token = gateway.folder.agent("deployer");
        Self { gateway, tool, token }
    }

    fn folder(&self) -> &Folder {
        &self.gateway.folder
    }

    /// Scales, and gives the answer's first line and decision.
    fn scale(&self, namespace: &str, replicas: u32) -> String {
        let body = json!({"spec": {"replicas": replicas}}).to_string();
        let request = format!(
            "PATCH /r/k8s/apis/apps/v1/namespaces/{namespace}/deployments/web/scale HTTP/1.1\r\nHost: a\r\n\
             Connection: close\r\nAegis-Token: {}\r\nContent-Type: application/merge-patch+json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        raw(self.gateway.address("proxy"), &request)
    }

    fn passes(&self, namespace: &str, replicas: u32) {
        let answer = self.scale(namespace, replicas);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", self.gateway.log());
    }

    fn is_refused(&self, namespace: &str, replicas: u32) {
        let answer = self.scale(namespace, replicas);
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}\n{}", self.gateway.log());
    }

    fn candidate(&self, text: &str) -> String {
        let file = self.folder().path("candidate.yaml");
        std::fs::write(&file, text).expect("written");
        let set = self.folder().json(&["policy", "candidate", "set", file.to_str().expect("text")]);
        set["version"].as_str().expect("a version").to_owned()
    }
}

/// Every byte of the data directory's files, as text.
fn at_rest(folder: &Folder) -> String {
    let files = std::fs::read_dir(folder.path("aegis-data")).expect("a folder").flatten();
    let bytes = files.filter_map(|file| std::fs::read(file.path()).ok()).flatten().collect::<Vec<u8>>();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn shadow_traffic_becomes_a_report_a_patch_and_a_policy_that_fits() {
    let setup = Setup::start(POLICY);
    for replicas in 1..=20 {
        setup.passes("web", replicas);
    }
    for _ in 0..19 {
        setup.passes("web", 117);
    }
    setup.passes("web", 7_654_321);
    for _ in 0..10 {
        setup.passes("qa-1", 3);
    }
    setup.passes("prod-1", 2);
    setup.passes("prod-1", 2);
    assert!(setup.tool.seen().contains("7654321"), "shadow mode forwards");
    let metrics = metrics(&setup);
    assert!(metrics.contains("aegis_would_block_total{rule=\"max_replicas\"} 20\n"), "{metrics}");

    let report = setup.folder().json(&["report", "shadow"]);
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!((count("calls"), count("would_deny"), count("would_ask"), count("days")), (52, 30, 2, 1), "{report}");
    let rule = |name: &str| {
        let rules = report["rules"].as_array().expect("rules").iter();
        rules.clone().find(|rule| rule["rule"] == name).unwrap_or_else(|| panic!("{report}")).clone()
    };
    let max = rule("max_replicas");
    assert_eq!(
        (&max["calls"], &max["threshold"], &max["entry"]),
        (&json!(20), &json!("120"), &json!("deployer/deploy"))
    );
    assert_eq!(max["values"][1], json!({"kind": "number", "value": "7700000", "calls": 1}));
    assert_eq!(rule("allowed_environments")["values"], json!([{"kind": "named", "value": "qa", "calls": 10}]));
    assert_eq!(report["policies"][0], json!({"policy": "deployer", "calls": 52, "would_deny": 30, "would_ask": 2}));
    let example = max["examples"][0].as_str().expect("an example").to_owned();
    assert!(setup.folder().decisions("deployer").iter().any(|record| record["decision_id"] == example.as_str()));
    let shown = stdout(&setup.folder().run(&["report", "shadow"]));
    for part in
        ["only 1 day of data", "would have been refused", "max_replicas", "up to 120 lets 95 % of them through", "█"]
    {
        assert!(shown.contains(part), "{part} isn't in\n{shown}");
    }
    // Nobody was asked.
    assert_eq!(setup.folder().json(&["approvals", "list"]), json!([]));

    // The same without the gateway.
    let folder = setup.folder().clone();
    assert!(setup.gateway.stop(), "it didn't stop in order");
    assert_eq!(folder.json(&["report", "shadow"]), report);
    assert_eq!(folder.json(&["report", "shadow", "--policy", "nobody"])["rules"], json!([]));
    let set = folder.run(&["policy", "candidate", "set", folder.path("policies").to_str().expect("text")]);
    assert!(set.status.code() == Some(1) && stderr(&set).contains("live calls"), "{}", text(&set));
    let found = at_rest(&folder);
    assert!(found.contains("7700000") && !found.contains("7654321"), "a raw value is at rest");

    let suggestion = folder.run(&["policy", "suggest"]);
    assert!(suggestion.status.success(), "{}", text(&suggestion));
    let patch = stdout(&suggestion);
    for part in [
        "+    max_replicas: 120  # reviewed in March",
        "+    allowed_environments: [staging, qa]   # so far",
        "20 of 52 calls by deployer on 1 day",
        "only 1 day of data",
    ] {
        assert!(patch.contains(part), "{part} isn't in\n{patch}");
    }
    patched(&folder, "suggestion.patch", &patch);
    let policy = std::fs::read_to_string(folder.path("policies/deploy.yaml")).expect("there");
    assert!(
        policy.contains("max_replicas: 120  # reviewed in March") && policy.starts_with("# who deploys\n"),
        "{policy}"
    );
    assert!(folder.run(&["policy", "check"]).status.success());
    // It says nothing twice.
    assert_eq!(folder.json(&["policy", "suggest"])["patch"], "");
    let again = folder.serve();
    folder.change("policies/deploy.yaml", |text| text.replace("mode: shadow", "mode: enforce"));
    let setup = Setup { gateway: again, token: folder.token("deployer"), ..setup };
    eventually("the policy is enforced", || setup.scale("web", 7_654_321).starts_with("HTTP/1.1 403"));
    setup.passes("web", 117);
    setup.passes("qa-1", 3);
}

/// Applies a patch as its help says, standing in the folder.
fn patched(folder: &Folder, name: &str, patch: &str) {
    // It was made elsewhere, so it names files in full.
    let root = folder.path("").display().to_string();
    std::fs::write(folder.path(name), patch.replace(&root, "")).expect("written");
    let input = std::fs::File::open(folder.path(name)).expect("there");
    let done = Command::new("patch").arg("-p0").current_dir(folder.path("")).stdin(input).output().expect("patch runs");
    assert!(done.status.success(), "{}\n{patch}", text(&done));
}

#[test]
fn a_candidate_is_watched_and_promoted_when_enough_was_seen() {
    let enforced = POLICY.replace("mode: shadow", "mode: enforce");
    let setup = Setup::start(&enforced);
    let before = setup.folder().json(&["policy", "candidate", "show"]);
    assert_eq!(before, json!({"watching": false, "report": null}));
    let refused = setup.folder().run(&["policy", "candidate", "promote"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));

    let version = setup.candidate(&enforced.replace("max_replicas: 50", "max_replicas: 20"));
    for replicas in [5, 10, 30, 40, 60] {
        let answer = setup.scale("web", replicas);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), replicas <= 50, "the candidate is not obeyed: {answer}");
    }
    let shown = setup.folder().json(&["policy", "candidate", "show"]);
    let report = &shown["report"];
    assert_eq!(
        (&report["calls"], &report["stricter"], &report["looser"], &report["failed"]),
        (&json!(5), &json!(2), &json!(0), &json!(0)),
        "{shown}"
    );
    assert_eq!(report["source"]["candidate"]["version"], version.as_str());
    assert_eq!((&report["rules"][0]["rule"], &report["rules"][0]["threshold"]), (&json!("max_replicas"), &json!("40")));
    let text_shown = stdout(&setup.folder().run(&["policy", "candidate", "show"]));
    assert!(text_shown.contains("it would newly hold back") && text_shown.contains("Not ready"), "{text_shown}");
    let record = setup.folder().decisions("deployer").pop().expect("a record");
    assert_eq!((&record["candidate"]["version"], &record["candidate"]["change"]), (&json!(version), &json!("same")));

    // The gate says each point, and what may be allowed.
    let refused = setup.folder().run(&["policy", "candidate", "promote"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    for part in ["1 of 7 days", "5 of 100 calls", "newly hold back 2 calls (--allow-new-blocks)"] {
        assert!(stderr(&refused).contains(part), "{part} isn't in {}", stderr(&refused));
    }
    let metrics = metrics(&setup);
    let line = metrics.lines().find(|line| line.starts_with("aegis_candidate_disagreements_total"));
    assert!(line.is_some_and(|line| line.contains(&version) && line.ends_with(" 2")), "{metrics}");

    let args = ["policy", "candidate", "promote", "--days", "1", "--calls", "5", "--allow-new-blocks"];
    assert_eq!(setup.folder().json(&args)["forced"], false);
    setup.is_refused("web", 30);
    assert_eq!(setup.folder().run(&["policy", "candidate", "clear"]).status.code(), Some(1), "nothing is watched now");

    // Against the new one: nothing was seen yet, so this is forced, and on record as that.
    setup.candidate(&enforced);
    let forced = setup.folder().json(&["policy", "candidate", "promote", "--force"]);
    assert_eq!(forced["forced"], true, "{forced}");
    setup.passes("web", 30);
    let done: Vec<Value> =
        setup.folder().records().into_iter().filter(|record| record["event"] == "operation").collect();
    let of = |name: &str| done.iter().filter(|record| record["operation"] == name).count();
    assert_eq!((of("policy.candidate"), of("policy.promote"), of("policy.promote_forced")), (2, 1, 1), "{done:?}");
}

/// As the operator sees them.
fn metrics(setup: &Setup) -> String {
    let token = std::fs::read_to_string(setup.folder().path("aegis-data/operator.token")).expect("there");
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    raw(setup.gateway.address("api"), &request)
}

#[test]
fn shadow_mode_still_asks_who_it_is_and_keeps_the_gateways_guards() {
    let setup = Setup::start("agent: deployer\nmode: shadow\negress: {allow: [\"a.example:80\"]}\n");
    let proxy = |destination: &str, token: &str| {
        let request = format!(
            "GET http://{destination}/ HTTP/1.1\r\nHost: {destination}\r\nConnection: close\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
        );
        raw(setup.gateway.address("proxy"), &request)
    };
    for (destination, token, status) in [
        ("169.254.169.254", setup.token.as_str(), "HTTP/1.1 403"),
        ("127.0.0.1:1", setup.token.as_str(), "HTTP/1.1 403"),
        ("b.example", "forged", "HTTP/1.1 407"),
        ("b.example", "", "HTTP/1.1 407"),
    ] {
        let answer = proxy(destination, token);
        assert!(answer.starts_with(status), "{destination}: {answer}");
    }
    // What a guard holds back, shadow mode has not let pass; who wasn't identified was not watched.
    let report = setup.folder().json(&["report", "shadow"]);
    assert_eq!((&report["calls"], &report["would_deny"]), (&json!(2), &json!(0)), "{report}");
}

#[test]
fn rates_and_budgets_are_only_counted_in_shadow_mode() {
    let limits = "agent: deployer\nmode: shadow\nrate: {limit: 1, per: 1h}\nbudget: {daily: 2 requests}\n\
                  actions: [{name: deploy}]\n";
    let setup = Setup::start(limits);
    for _ in 0..4 {
        setup.passes("web", 3);
    }
    let report = setup.folder().json(&["report", "shadow"]);
    let calls = |rule: &str| {
        let rules = report["rules"].as_array().expect("rules").iter();
        rules.filter(|found| found["rule"] == rule).filter_map(|found| found["calls"].as_u64()).sum::<u64>()
    };
    assert_eq!((&report["calls"], calls("rate"), calls("budget")), (&json!(4), 3, 2), "{report}");
    // There is no limit in them that an edit would move, so that is said.
    let suggestion = setup.folder().json(&["policy", "suggest"]);
    assert_eq!(
        (&suggestion["patch"], suggestion["words"].as_array().map(Vec::len)),
        (&json!(""), Some(2)),
        "{suggestion}"
    );
}

#[test]
fn a_bad_candidate_is_refused_with_its_place_and_the_one_before_stays() {
    let setup = Setup::start(POLICY);
    let version = setup.candidate(&POLICY.replace("50", "20"));
    let file = setup.folder().path("candidate.yaml");
    std::fs::write(&file, "agent: deployer\nactons: []\n").expect("written");
    let refused = setup.folder().run(&["policy", "candidate", "set", file.to_str().expect("text")]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(text(&refused).contains("actons"), "{}", text(&refused));
    setup.passes("web", 30);
    let shown = setup.folder().json(&["policy", "candidate", "show"]);
    assert_eq!(shown["report"]["source"]["candidate"]["version"], version.as_str());
}
