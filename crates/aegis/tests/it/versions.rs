//! Policy versions in the real binary: put in force, gone back from, tried, and never mixed.

mod client;
mod load;

use serde_json::Value;

use crate::process::{Folder, Gateway, eventually, run, stderr, text};
use crate::upstream::Upstream;
use client::Client;

const AGENT: &str = "scaler";

/// A policy that differs from others in its maximum.
fn policy(max: u32) -> String {
    format!("agent: {AGENT}\nactions: [{{name: scale, max_replicas: {max}}}]\n")
}

fn route(tool: &Upstream) -> String {
    format!("routes: [{{name: k8s, upstream: \"http://{}\", tool: kubernetes, cluster: main}}]\n", tool.address)
}

/// A tool, and a gateway before it whose folder has `text` as its policy.
fn started(text: &str) -> (Upstream, Gateway) {
    let tool = Upstream::start(None);
    let gateway = Gateway::start(&route(&tool), &[("p.yaml", text)]);
    (tool, gateway)
}

/// The version that a text compiles to.
fn version_of(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.path(name);
    std::fs::write(&path, text).expect("written");
    let checked = folder.json(&["policy", "check", path.to_str().expect("text")]);
    checked["version"].as_str().expect("a version").to_owned()
}

fn publish(folder: &Folder, name: &str, more: &[&str]) -> Value {
    let path = folder.path(name);
    folder.json(&[&["policy", "publish", path.to_str().expect("text")], more].concat())
}

fn public(gateway: &Gateway, path: &str) -> (u16, Value) {
    let answer = Client::new(gateway.address("api")).send("GET", path, "", "");
    (answer.status, serde_json::from_str(&answer.body).expect("JSON"))
}

#[test]
fn a_version_is_published_survives_a_restart_and_is_gone_back_from() {
    let (_tool, gateway) = started(&policy(5));
    let folder = gateway.folder.clone();
    let first = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
    let second = version_of(&folder, "next.yaml", &policy(50));
    let published = publish(&folder, "next.yaml", &["--note", "more room", "--risk", "high", "--author", "alice"]);
    assert_eq!((&published["version"], &published["changed"]), (&second.as_str().into(), &true.into()));

    let gateway = gateway.crash_and_restart();
    assert_eq!(gateway.ready["policy_version"], second.as_str(), "the folder is as it was: the last activation wins");
    let token = folder.agent(AGENT);
    let mut client = Client::new(gateway.address("proxy"));
    let answer = client.scale(&token, 50);
    assert_eq!((answer.status, answer.version()), (200, second.as_str()));

    let list = text(&folder.run(&["policy", "list"]));
    for part in [&first, &second, "in force", "before", "alice", "high", "more room"] {
        assert!(list.contains(part), "{part} isn't in {list}");
    }
    let shown = text(&folder.run(&["policy", "show", &second, "--source"]));
    assert!(shown.contains("max_replicas: 50"), "{shown}");
    let back = text(&folder.run(&["policy", "rollback", "--note", "too much room"]));
    assert!(back.contains(&first), "{back}");
    let answer = client.scale(&token, 50);
    assert_eq!((answer.status, answer.version()), (403, first.as_str()), "on the same connection");
    let status = folder.json(&["policy", "status"]);
    assert_eq!((&status["active"]["origin"], &status["active"]["by"]), (&"rollback".into(), &"operator".into()));
    let operations: Vec<Value> = folder.records().into_iter().filter(|record| record["event"] == "operation").collect();
    let done = |name: &str| operations.iter().any(|record| record["operation"] == name && record["by"] == "operator");
    assert!(done("policy.publish") && done("policy.rollback"), "{operations:?}");
}

#[test]
fn a_stopped_gateways_versions_are_changed_and_hold_from_its_next_start() {
    let (_tool, gateway) = started(&policy(5));
    let folder = gateway.folder.clone();
    assert!(gateway.stop());
    let second = version_of(&folder, "next.yaml", &policy(50));
    let said = text(&folder.run(&["policy", "publish", folder.path("next.yaml").to_str().expect("text")]));
    assert!(said.contains(&second) && said.contains("next start"), "{said}");
    let gateway = folder.serve();
    assert_eq!(gateway.ready["policy_version"], second.as_str());
    std::fs::write(folder.path("policies/p.yaml"), policy(7)).expect("written");
    let third = version_of(&folder, "third.yaml", &policy(7));
    eventually("the edited folder is in force", || folder.json(&["policy", "status"])["version"] == third.as_str());
    assert_eq!(folder.json(&["policy", "status"])["active"]["origin"], "folder");
}

#[test]
fn a_bad_publication_is_refused_with_its_places_and_changes_nothing() {
    let (_tool, gateway) = started(&policy(5));
    let folder = &gateway.folder;
    std::fs::write(folder.path("bad.yaml"), "agent: a\nactions:\n  - name: scale\n    max_replicass: 5\n")
        .expect("written");
    for gateway_stops in [false, true] {
        let before = folder.json(&["policy", "list"]);
        let output = folder.run(&["policy", "publish", folder.path("bad.yaml").to_str().expect("text")]);
        assert_eq!(output.status.code(), Some(2));
        for part in ["bad.yaml:4:", "did you mean `max_replicas`?", "nothing was changed"] {
            assert!(stderr(&output).contains(part), "{part} isn't in {}", stderr(&output));
        }
        assert_eq!(folder.json(&["policy", "list"])["versions"], before["versions"]);
        if !gateway_stops {
            assert_eq!(public(&gateway, "/healthz").1["policies"], "current");
            gateway.signal("-TERM");
            eventually("it has stopped", || text(&folder.run(&["policy", "status"])).contains("is stopped"));
        }
    }
}

#[test]
fn a_start_with_a_bad_folder_keeps_the_last_good_version_and_says_so() {
    let (_tool, gateway) = started(&policy(5));
    let folder = gateway.folder.clone();
    let good = gateway.ready["policy_version"].clone();
    assert!(gateway.stop());
    std::fs::write(folder.path("policies/p.yaml"), "agnet: x\n").expect("written");
    assert_eq!(folder.run(&["serve", "--check"]).status.code(), Some(1));
    let gateway = folder.serve();
    assert_eq!((&gateway.ready["policy_version"], &gateway.ready["policies"]), (&good, &"refused".into()));
    assert_eq!(public(&gateway, "/healthz").1["policies"], "refused");
    assert_eq!(public(&gateway, "/readyz").0, 200);
    assert!(gateway.log().contains("did you mean `agent`?"), "{}", gateway.log());
    let status = folder.run(&["policy", "status"]);
    assert!(text(&status).contains("p.yaml:1:1") && text(&status).contains("refused at"), "{}", text(&status));
}

#[test]
fn a_first_start_without_a_good_policy_denies_all_until_the_folder_is_corrected() {
    let tool = Upstream::start(None);
    let gateway = Gateway::start(&format!("mode: shadow\n{}", route(&tool)), &[("p.yaml", "agnet: x\n")]);
    let folder = &gateway.folder;
    assert_eq!((&gateway.ready["ready"], &gateway.ready["policies"]), (&false.into(), &"refused".into()));
    assert_eq!(public(&gateway, "/readyz").0, 503);
    assert_eq!(public(&gateway, "/healthz").0, 200);
    let token = folder.agent(AGENT);
    let mut client = Client::new(gateway.address("proxy"));
    let answer = client.scale(&token, 1);
    assert_eq!(answer.status, 403, "in shadow mode too");
    assert!(answer.body.contains("no policy is in force"), "{}", answer.body);
    assert!(folder.decisions(AGENT)[0]["reason"].as_str().is_some_and(|reason| reason.contains("none_in_force")));
    assert_eq!(tool.seen(), "", "nothing has reached the tool");
    let status = text(&folder.run(&["policy", "status"]));
    assert!(status.contains("every call is denied") && status.contains("did you mean `agent`?"), "{status}");

    std::fs::write(folder.path("policies/p.yaml"), policy(5)).expect("written");
    eventually("the corrected folder is in force", || public(&gateway, "/readyz").0 == 200);
    assert_eq!(client.scale(&token, 1).status, 200);
}

#[test]
fn a_policy_is_switched_to_shadow_and_back_without_a_restart() {
    let (_tool, gateway) = started(&policy(5));
    let folder = &gateway.folder;
    let token = folder.agent(AGENT);
    let mut client = Client::new(gateway.address("proxy"));
    assert_eq!(client.scale(&token, 6).status, 403);
    folder.json(&["policy", "mode", AGENT, "shadow"]);
    let observed = client.scale(&token, 6);
    assert_eq!(observed.status, 200);
    assert_ne!(observed.version(), gateway.ready["policy_version"], "another behaviour is another version");
    folder.json(&["policy", "mode", "--clear", AGENT]);
    let answer = client.scale(&token, 6);
    assert_eq!((answer.status, answer.version()), (403, gateway.ready["policy_version"].as_str().expect("a version")));
    let unknown = folder.run(&["policy", "mode", "nobody", "shadow"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown));
    for wrong in [&["policy", "mode", AGENT][..], &["policy", "mode", AGENT, "off"], &["policy", "canary", "pol_x"]] {
        assert_eq!(folder.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_canary_judges_its_agents_over_a_restart_and_the_record_says_which() {
    let (_tool, gateway) = started(&format!("{}---\n{}", policy(5), policy(5).replace(AGENT, "other")));
    let folder = gateway.folder.clone();
    let first = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
    let wider = format!("{}---\n{}", policy(50), policy(50).replace(AGENT, "other"));
    let second = version_of(&folder, "next.yaml", &wider);
    assert_eq!(publish(&folder, "next.yaml", &["--no-activate"])["version"], first.as_str(), "only stored");
    folder.json(&["policy", "canary", &second, "--agent", AGENT]);
    let (tried, other) = (folder.agent(AGENT), folder.agent("other"));
    let gateway = gateway.crash_and_restart();
    let mut client = Client::new(gateway.address("proxy"));
    let (mine, theirs) = (client.scale(&tried, 50), client.scale(&other, 50));
    assert_eq!((mine.status, mine.version()), (200, second.as_str()));
    assert_eq!((theirs.status, theirs.version()), (403, first.as_str()));
    assert_eq!(folder.decisions(AGENT)[0]["policy_version"], second.as_str());
    folder.json(&["policy", "canary", "--promote"]);
    assert_eq!(client.scale(&other, 50).status, 200);
    folder.json(&["policy", "rollback"]);
    folder.json(&["policy", "canary", &second, "--share", "100%", "--by", "call"]);
    assert_eq!(client.scale(&other, 50).status, 200);
    folder.json(&["policy", "canary", "--stop"]);
    assert_eq!(client.scale(&other, 50).status, 403);
    assert_eq!(folder.run(&["policy", "canary", "--stop"]).status.code(), Some(1));
}

#[test]
fn every_command_of_versions_has_help_with_an_example() {
    for command in ["publish", "list", "show", "status", "rollback", "mode", "canary"] {
        let help = text(&run(&["policy", command, "--help"]));
        assert!(help.contains("Example") && help.contains(&format!("aegis policy {command}")), "{help}");
    }
}
