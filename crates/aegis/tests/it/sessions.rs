//! "After reading something private, no public write": through the real gateway, and whatever the agent tries to forget it by.

use crate::process::{Folder, Gateway, eventually};
use crate::upstream::Upstream;

const POLICY: &str = "agent: worker
egress: {allow: [\"tools.example:80\"]}
actions:
  - name: http/request
    labels: {private: 'path.startsWith(\"/private/\")'}
    deny_if: '\"private\" in session.labels && method == \"POST\"'
---
agent: helper
egress: {allow: [\"tools.example:80\"]}
actions:
  - name: http/request
    deny_if: '\"private\" in session.labels && method == \"POST\"'
";

/// How a call by the agent that the token is for ends: the answer's body and status.
fn call(gateway: &Gateway, (agent, token): (&str, &str), method: &str, path: &str) -> String {
    let proxy = format!("http://{agent}:{token}@{}", gateway.address("proxy"));
    let output = std::process::Command::new("curl")
        .args(["-s", "-w", "%{http_code}", "-X", method, "-x", &proxy])
        .arg(format!("http://tools.example{path}"))
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_was_read_is_remembered_until_the_agent_was_idle() {
    let tool = Upstream::start(None);
    let config = format!("upstreams: {{\"tools.example:80\": \"{}\"}}\n", tool.address);
    let gateway = Gateway::start(&config, &[("p.yaml", POLICY)]);
    let token = gateway.folder.agent("worker");
    let helper = gateway.folder.agent("helper");
    assert_eq!(call(&gateway, ("worker", &token), "POST", "/public/notes"), "done\n200", "{}", gateway.log());
    assert_eq!(call(&gateway, ("worker", &token), "GET", "/private/plan"), "done\n200");
    assert_eq!(call(&gateway, ("worker", &token), "GET", "/public/notes"), "done\n200");
    assert!(call(&gateway, ("worker", &token), "POST", "/public/notes").contains("PolicyViolation"));
    let fresh = gateway.folder.token("worker");
    assert_ne!(fresh, token);
    assert!(call(&gateway, ("worker", &fresh), "POST", "/public/notes").contains("PolicyViolation"));
    assert_eq!(
        call(&gateway, ("helper", &helper), "POST", "/public/notes"),
        "done\n200",
        "another agent has read nothing"
    );

    let gateway = gateway.crash_and_restart();
    assert!(call(&gateway, ("worker", &fresh), "POST", "/public/notes").contains("PolicyViolation"));
    let folder: Folder = gateway.folder.clone();
    assert!(gateway.stop());
    folder.change("aegis.yaml", |text| format!("{text}session: {{idle: 1s}}\n"));
    let gateway = folder.serve();
    eventually("the agent was idle for long enough", || {
        call(&gateway, ("worker", &fresh), "POST", "/public/notes") == "done\n200"
    });
    assert_eq!(tool.seen().matches("POST /public/notes").count(), 3, "{}", tool.seen());
}
