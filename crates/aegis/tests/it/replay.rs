//! What was asked of a running gateway, asked again of other policies.

use crate::process::{Gateway, raw, stderr, stdout, text};
use crate::upstream::Upstream;

const POLICY: &str = "agent: scaler
actions:
  - {name: scale, allowed_environments: [staging], max_replicas: 10}
";

/// Scales a workload through the route, and says with which status that was answered.
fn scale(gateway: &Gateway, token: &str, replicas: u32) -> String {
    let body = format!("{{\"spec\":{{\"replicas\":{replicas}}}}}");
    let head = "PATCH /r/k8s/apis/apps/v1/namespaces/web/deployments/web/scale HTTP/1.1";
    let request = format!(
        "{head}\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/merge-patch+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    raw(gateway.address("proxy"), &request).lines().next().unwrap_or_default().to_owned()
}

fn started(audit: &str) -> (Gateway, String) {
    let tool = Upstream::start(None);
    let config = format!(
        "routes: [{{name: k8s, upstream: \"http://{}\", tool: kubernetes, cluster: main}}]\n\
         environments: [{{match: {{tool: kubernetes, namespace: \"*\"}}, env: staging}}]\n{audit}",
        tool.address
    );
    let gateway = Gateway::start(&config, &[("p.yaml", POLICY)]);
    let token = gateway.folder.agent("scaler");
    (gateway, token)
}

#[test]
fn recorded_calls_are_asked_again_of_a_candidate() {
    let (gateway, token) = started("audit: {calls: 7d}\n");
    for (replicas, status) in [(5, "200"), (8, "200"), (20, "403")] {
        let line = scale(&gateway, &token, replicas);
        assert!(line.contains(status), "{replicas}: {line}\n{}", gateway.log());
    }
    let folder = gateway.folder.clone();
    let candidate = |max: u32| {
        let path = folder.path(&format!("candidate-{max}.yaml"));
        std::fs::write(&path, POLICY.replace("max_replicas: 10", &format!("max_replicas: {max}"))).expect("written");
        path.to_str().expect("text").to_owned()
    };

    let same = folder.json(&["policy", "replay"]);
    assert_eq!((&same["calls"], &same["same"]), (&3.into(), &3.into()), "{same}");
    let stricter = folder.json(&["policy", "replay", "--candidate", &candidate(6), "--since", "1h"]);
    assert_eq!((&stricter["newly_denied"], &stricter["newly_allowed"]), (&1.into(), &0.into()), "{stricter}");
    let change = &stricter["changes"][0];
    assert_eq!((&change["rule"], &change["agent"]), (&"max_replicas".into(), &"scaler".into()), "{change}");
    assert!(change["decisions"][0].as_str().is_some_and(|id| id.starts_with("dec_")), "{change}");

    let refused = ["policy", "replay", "--candidate", &candidate(50), "--fail-on", "newly-allowed"];
    let output = folder.run(&refused);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(stderr(&output).contains("1 of 3 calls would be newly allowed"), "{}", text(&output));

    // The same from a file, with the gateway gone.
    let exported = folder.run(&["audit", "export", "--calls"]);
    assert!(!stdout(&exported).contains(&token), "a credential was kept");
    let file = folder.path("calls.jsonl");
    std::fs::write(&file, &exported.stdout).expect("written");
    assert!(gateway.stop());
    let file = file.to_str().expect("text");
    let from_file = folder.json(&["policy", "replay", "--file", file, "--candidate", &candidate(6)]);
    assert_eq!(from_file["newly_denied"], 1, "{from_file}");
    let from_store = folder.json(&["policy", "replay", "--candidate", &candidate(6)]);
    assert_eq!(from_store, from_file, "a stopped gateway's data directory holds the same");
    std::fs::write(file, "{\"agent\": 1}\n").expect("written");
    let output = folder.run(&["policy", "replay", "--file", file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("calls.jsonl:1"), "{}", text(&output));
}

#[test]
fn nothing_is_kept_unless_the_operator_says_so() {
    let (gateway, token) = started("");
    scale(&gateway, &token, 5);
    let output = gateway.folder.run(&["policy", "replay"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("audit: {calls: 7d}"), "{}", text(&output));
}
