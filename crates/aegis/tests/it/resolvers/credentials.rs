//! The agent never holds the tool's secret, and brings none of its own.

use std::process::Command;

use super::forge::Forge;
use crate::authzen::{Answer, try_send};
use crate::interception::Secured;
use crate::process::{Folder, Gateway, eventually, stderr, stdout, text};

const POLICY: &str = "agent: ci
egress: {allow: ['tool.corp.example:443']}
actions: [{name: http/request}]
";

/// Secrets, put together here so that no file looks like a leak.
fn secret(name: &str) -> String {
    ["tool", "secret", name].join("-")
}

fn get(gateway: &Gateway, token: &str, path: &str, more: &[(&str, &str)]) -> Answer {
    let headers = [&[("Aegis-Token", token)], more].concat();
    try_send(gateway.address("proxy"), "GET", path, &headers, "").expect("an answer")
}

#[test]
fn a_secret_in_a_file_rotates_and_without_it_nothing_is_forwarded() {
    let forge = Forge::start();
    let config = format!(
        "routes:\n  - {{name: a, upstream: \"http://{0}\", credential: {{bearer_file: token}}}}\n  \
         - {{name: b, upstream: \"http://{0}\", credential: {{header: {{name: x-api-key, value_file: token}}}}}}\n",
        forge.address
    );
    let folder = Folder::with(&config, &[("ci.yaml", POLICY)]);
    let missing = folder.run(&["serve", "--check"]);
    assert!(!missing.status.success() && text(&missing).contains("can't be read"), "{}", text(&missing));
    let file = folder.path("token");
    std::fs::write(&file, format!("{}\n", secret("one"))).expect("written");
    let gateway = folder.serve();
    let token = gateway.folder.agent("ci");
    let shown = || {
        assert_eq!(get(&gateway, &token, "/r/a/x", &[]).status, 200);
        forge.requests("GET /x").pop().expect("one").authorization.expect("a credential")
    };
    assert_eq!(shown(), format!("Bearer {}", secret("one")));
    assert_eq!(get(&gateway, &token, "/r/b/x", &[]).status, 200);
    assert_eq!(forge.requests("GET /x").pop().expect("one").key, Some(secret("one")));
    std::fs::write(&file, secret("two")).expect("written");
    eventually("the new one is used", || shown() == format!("Bearer {}", secret("two")));

    std::fs::remove_file(&file).expect("there");
    eventually("it is refused", || get(&gateway, &token, "/r/a/gone", &[]).status == 503);
    let before = forge.requests("GET /gone").len();
    let refused = get(&gateway, &token, "/r/a/gone", &[]);
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (503, Some("GatewayUnavailable")),
        "{}",
        refused.text
    );
    assert!(!refused.text.contains("token\""), "where it stands is the operator's: {}", refused.text);
    assert_eq!(forge.requests("GET /gone").len(), before);
    let record = gateway.folder.decisions("ci").pop().expect("one");
    assert_eq!((&record["decision"], &record["reason"]), (&"deny".into(), &"credential: unavailable".into()));
    assert!(gateway.log().contains("no credential") && !gateway.log().contains(&secret("two")), "{}", gateway.log());
    std::fs::write(&file, secret("three")).expect("written");
    eventually("it is back", || get(&gateway, &token, "/r/a/x", &[]).status == 200);
}

#[test]
fn a_program_prints_the_credential_and_one_that_fails_stops_the_call() {
    let forge = Forge::start();
    let config = format!(
        "routes:\n  - name: a\n    upstream: \"http://{0}\"\n    \
         credential: {{exec: {{command: [./plugin, ci], env: {{SECRET: {1}}}}}}}\n  \
         - {{name: b, upstream: \"http://{0}\", credential: {{exec: {{command: ['false']}}}}}}\n",
        forge.address,
        secret("plugin")
    );
    let folder = Folder::with(&config, &[("ci.yaml", POLICY)]);
    let script = "#!/bin/sh\necho run >> \"$(dirname \"$0\")/runs\"\ncat <<END\n{\"apiVersion\": \
        \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"$SECRET-$1\", \
        \"expirationTimestamp\": \"2100-01-01T00:00:00Z\"}}\nEND\n";
    std::fs::write(folder.path("plugin"), script).expect("written");
    let made = Command::new("chmod").arg("+x").arg(folder.path("plugin")).status().expect("chmod runs");
    assert!(made.success());
    let gateway = folder.serve();
    let token = gateway.folder.agent("ci");
    for _ in 0..3 {
        assert_eq!(get(&gateway, &token, "/r/a/x", &[]).status, 200, "{}", gateway.log());
    }
    let shown = forge.requests("GET /x").pop().expect("one").authorization;
    assert_eq!(shown, Some(format!("Bearer {}-ci", secret("plugin"))));
    assert_eq!(std::fs::read_to_string(gateway.folder.path("runs")).expect("there"), "run\n");
    assert_eq!(get(&gateway, &token, "/r/b/never", &[]).status, 503);
    assert!(forge.requests("GET /never").is_empty());
}

#[test]
fn a_credential_of_the_agents_is_taken_off_or_refused_and_the_real_one_is_not_shown() {
    let forge = Forge::start();
    let config = format!(
        "routes:\n  - {{name: strict, upstream: \"http://{0}\", foreign_credentials: refuse, credential: {{bearer: {1}}}}}\n  \
         - {{name: lax, upstream: \"http://{0}\", credential: {{bearer: {1}}}}}\n",
        forge.address,
        secret("real")
    );
    let gateway = Gateway::start(&config, &[("ci.yaml", POLICY)]);
    let token = gateway.folder.agent("ci");
    let foreign = [("Authorization", "Bearer of-the-agent"), ("PRIVATE-TOKEN", "of-the-agent"), ("Cookie", "s=1")];
    for header in foreign {
        let refused = get(&gateway, &token, "/r/strict/x", &[header]);
        assert_eq!(refused.status, 403, "{header:?}");
        assert_eq!(refused.json()["violations"][0]["rule"], "foreign_credential", "{}", refused.text);
        assert!(!refused.text.contains("of-the-agent"));
    }
    for query in ["access_token=abc", "private_token=abc"] {
        assert_eq!(get(&gateway, &token, &format!("/r/strict/x?{query}"), &[]).status, 403, "{query}");
    }
    assert!(forge.requests("").is_empty());
    let own =
        try_send(gateway.address("proxy"), "GET", "/r/strict/x", &[("Authorization", &format!("Bearer {token}"))], "");
    assert_eq!(own.expect("an answer").status, 200, "what is for Aegis is no foreign credential");
    assert_eq!(get(&gateway, &token, "/r/lax/x", &foreign).status, 200);
    let seen = forge.requests("GET /x").pop().expect("one");
    assert_eq!(seen.authorization, Some(format!("Bearer {}", secret("real"))));
    let echoed = get(&gateway, &token, "/r/lax/echo", &[]);
    assert_eq!((echoed.status, echoed.header("x-was-sent")), (200, ""));
    let everything = format!("{:?}{}", gateway.folder.records(), gateway.log());
    assert!(!everything.contains(&secret("real")) && !everything.contains("of-the-agent"));
}

#[test]
fn an_intercepted_host_gets_its_credential_from_aegis_too() {
    let (secured, forge) = (Secured::new(), Forge::start());
    let front = secured.front("tool.corp.example", forge.address);
    let config = format!(
        "interception:\n  hosts:\n    - {{host: tool.corp.example, foreign_credentials: refuse, credential: {{basic: \
         {{user: ci, password: {}}}}}}}\n  upstream_ca: {}\nupstreams: {{\"tool.corp.example:443\": \"{front}\"}}\n",
        secret("real"),
        secured.ca().display()
    );
    let gateway = Gateway::start(&config, &[("ci.yaml", POLICY)]);
    let proxy = format!("http://ci:{}@{}", gateway.folder.agent("ci"), gateway.address("proxy"));
    let ca = gateway.folder.ca();
    let curl = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--proxy", &proxy, "--cacert"]).arg(&ca);
        let output = curl.args(more).arg("https://tool.corp.example/x").output().expect("curl runs");
        assert!(output.status.success(), "{}{}", stderr(&output), gateway.log());
        stdout(&output)
    };
    assert_eq!(curl(&[]), "ok");
    let shown = forge.requests("GET /x").pop().expect("one").authorization.expect("a credential");
    assert!(shown.starts_with("Basic "), "{shown}");
    let refused = curl(&["--header", "Authorization: Bearer of-the-agent"]);
    assert!(refused.contains("foreign_credential"), "{refused}");
    assert_eq!(forge.requests("GET /x").len(), 1);
}
