//! The commands: help, exit codes, both ways to reach a gateway, reloading, the demo.

use serde_json::Value;

use crate::process::{Folder, aegis, eventually, json, raw, run, stderr, stdout};

/// Every command with a help of its own, found by asking each for its subcommands.
fn all_commands() -> Vec<Vec<String>> {
    let (mut found, mut next) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = next.pop() {
        let help = aegis().args(&path).arg("--help").output().expect("help");
        let text = stdout(&help);
        let commands = text.split("Commands:\n").nth(1).unwrap_or_default();
        for line in commands.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap_or_default();
            if line.starts_with("  ") && !line.starts_with("   ") && name != "help" {
                next.push([path.clone(), vec![name.to_owned()]].concat());
            }
        }
        found.push(path);
    }
    found
}

#[test]
fn every_command_has_help_with_an_example_and_takes_json() {
    let commands = all_commands();
    assert!(commands.len() > 35, "{commands:?}");
    for path in commands {
        let help = aegis().args(&path).arg("--help").output().expect("help");
        let text = stdout(&help);
        assert!(help.status.success() && text.contains("Example"), "aegis {path:?} --help:\n{text}");
        assert!(text.contains("--json") && text.contains("--config"), "aegis {path:?} --help:\n{text}");
    }
}

#[test]
fn bad_use_is_two() {
    for args in [
        &["nonsense"][..],
        &["agent", "add"],
        &["serve", "--config", "/no/such.yaml"],
        &["token", "inspect", "x"],
        &["token", "issue"],
        &["token", "issue", "a", "--agent", "a"],
        &["key", "add", "--ttl", "5m"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(json(&run(&["version", "--json"]))["name"], "aegis");
}

#[test]
fn what_init_writes_serves() {
    let folder = Folder::new();
    let again = run(&["init", folder.path(".").to_str().expect("text")]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("nothing was written"), "{}", stderr(&again));

    let check = json(&folder.run(&["serve", "--check", "--json"]));
    assert_eq!((&check["ok"], &check["diagnostics"]), (&true.into(), &Value::Array(Vec::new())));

    let gateway = folder.serve();
    assert_eq!(gateway.ready["policy_version"], check["policy_version"]);
    assert_eq!(gateway.ready["mode"], "enforce");
    let names: Vec<&str> = gateway.listening.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["proxy", "proxy_tls", "api", "ext_authz"]);
    let health = raw(gateway.address("api"), "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let ca = folder.run(&["ca", "export"]);
    assert!(stdout(&ca).starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(gateway.stop(), "it didn't stop in order");
    assert!(!folder.path("aegis-data/gateway.json").exists(), "the note stayed behind");
}

#[test]
fn everything_wrong_is_said_at_once_and_nothing_starts() {
    let folder = Folder::new();
    folder.change("aegis.yaml", |text| text.replace("engine: native", "engine: turbo"));
    folder.change("policies/deploy.yaml", |text| text.replace("actions:", "acions:"));
    let check = folder.run(&["serve", "--check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(stdout(&check).contains("engine: expected one of: native, rego"), "{}", stdout(&check));
    let served = folder.run(&["serve"]);
    assert_eq!(served.status.code(), Some(2));
    assert!(stdout(&served).is_empty(), "it announced a listener: {}", stdout(&served));
    folder.change("aegis.yaml", |text| text.replace("engine: turbo", "engine: native"));
    let check = folder.run(&["serve", "--check"]);
    // With these the gateway starts and denies all: see `versions.rs`.
    assert_eq!(check.status.code(), Some(1));
    assert!(stdout(&check).contains("did you mean `actions`?"), "{}", stdout(&check));
}

#[test]
fn policy_check_shows_the_line_and_a_caret() {
    let folder = Folder::new();
    let file = folder.path("bad.yaml");
    std::fs::write(&file, "agent: a\nactions:\n  - name: deploy\n    allowed_enviroments: [staging]\n")
        .expect("written");
    let name = file.to_str().expect("text");
    let check = run(&["policy", "check", name]);
    assert_eq!(check.status.code(), Some(1));
    let text = stdout(&check);
    for expected in [
        "unknown key",
        ":4:5",
        "4 |     allowed_enviroments: [staging]",
        "  |     ^",
        "did you mean `allowed_environments`?",
    ] {
        assert!(text.contains(expected), "{expected:?} not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours in a pipe");
    // A cap on a parameter that nothing has would be no cap.
    std::fs::write(&file, "agent: a\nactions:\n  - name: deploy\n    max_replicass: 50\n").expect("written");
    let text = stdout(&run(&["policy", "check", name]));
    assert!(text.contains(":4:5") && text.contains("did you mean `max_replicas`?"), "{text}");
    let fine = json(&folder.run(&["policy", "check", "--json"]));
    assert!(fine["ok"] == true && fine["policies"].as_u64() > Some(2), "{fine}");
}

#[test]
fn compile_and_explain() {
    let folder = Folder::new();
    let out = folder.path("bundle.tar.gz");
    let made = json(&folder.run(&["policy", "compile", "--json", "--out", out.to_str().expect("text")]));
    assert!(made["version"].as_str().is_some_and(|version| version.starts_with("pol_")));
    assert_eq!(std::fs::read(&out).expect("there")[..2], [0x1f, 0x8b]);

    let request = folder.path("scale.http");
    let body = r#"{"spec":{"replicas":200}}"#;
    let head = "PATCH /apis/apps/v1/namespaces/shop/deployments/web/scale HTTP/1.1\r\nHost: k8s\r\nContent-Type: \
                application/merge-patch+json\r\n";
    std::fs::write(&request, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).expect("written");
    let request = request.to_str().expect("text");
    let route = ["--request", request, "--route-tool", "kubernetes", "--cluster", "main", "--json"];
    let matched = json(&folder.run(&[&["tools", "match"][..], &route].concat()));
    assert_eq!(matched["tool"], "kubernetes");
    assert_eq!((&matched["action"], &matched["env"]), (&"scale".into(), &"staging".into()));
    assert_eq!(matched["params"]["replicas"], 200);
    let explained = json(&folder.run(&[&["policy", "explain", "--agent", "deploy-manager"][..], &route].concat()));
    assert_eq!(explained["decision"], "deny");
    assert_eq!(explained["violations"][0]["rule"], "max_replicas");

    let call = folder.path("call.json");
    let text = r#"{"agent": "billing-agent", "tool": "bank", "action": "pay", "params": {"amount": 900, "currency": "EUR", "to": "acme"}}"#;
    std::fs::write(&call, text).expect("written");
    let explained = json(&folder.run(&["policy", "explain", "--json", call.to_str().expect("text")]));
    assert_eq!(explained["decision"], "approval_needed");
    assert!(json(&folder.run(&["tools", "check", "--json"]))["failures"].as_array().is_some_and(Vec::is_empty));
}

/// The same life of an agent, with the gateway stopped or running.
fn agent_life(folder: &Folder) {
    assert!(folder.run(&["agent", "add", "ci/build", "--group", "ci"]).status.success());
    assert_eq!(folder.run(&["agent", "add", "ci/build"]).status.code(), Some(1), "added twice");
    assert_eq!(json(&folder.run(&["agent", "show", "ci/build", "--json"]))["groups"][0], "ci");
    assert_eq!(folder.run(&["agent", "show", "nobody"]).status.code(), Some(1));
    assert!(stdout(&folder.run(&["agent", "list"])).contains("ci/build"));

    let key = json(&folder.run(&["key", "add", "ci/build", "--json"]));
    let id = key["id"].as_str().expect("an id");
    assert!(key["key"].is_string() && key["agent"] == "ci/build", "{key}");
    assert!(stdout(&folder.run(&["key", "list", "--agent", "ci/build"])).contains(id));
    assert!(stdout(&folder.run(&["key", "list", "ci/build"])).contains(id));
    assert!(folder.run(&["key", "revoke", id]).status.success());

    let issued = json(&folder.run(&["token", "issue", "ci/build", "--ttl", "5m", "--json"]));
    let token = issued["token"].as_str().expect("a token");
    assert!(issued["jti"].is_string() && issued["expires_at"].is_string() && issued["agent"] == "ci/build", "{issued}");
    assert_eq!(json(&folder.run(&["token", "issue", "--agent", "ci/build", "--json"]))["agent"], "ci/build");
    assert_eq!(json(&folder.run(&["key", "add", "--agent", "ci/build", "--json"]))["agent"], "ci/build");
    let inspected = json(&run(&["token", "inspect", token, "--json"]));
    assert_eq!(inspected["claims"]["sub"], "ci/build");
    assert!(folder.run(&["token", "revoke", token]).status.success());
    assert_eq!(folder.run(&["token", "issue", "ci/build", "--ttl", "soon"]).status.code(), Some(2));

    assert!(folder.run(&["agent", "suspend", "ci/build"]).status.success());
    assert_eq!(folder.run(&["token", "issue", "ci/build"]).status.code(), Some(1), "suspended");
    assert!(folder.run(&["agent", "resume", "ci/build"]).status.success());
    assert!(folder.run(&["agent", "remove", "ci/build"]).status.success());
    let found = folder.run(&["audit", "query", "--json", "--limit", "1000"]);
    for operation in ["agent.add", "agent.suspend", "agent.remove", "token.issue"] {
        assert!(stdout(&found).contains(operation), "{operation} isn't on record");
    }
    assert!(folder.run(&["approvals", "list"]).status.success());
    assert_eq!(folder.run(&["approvals", "approve", "apr_none"]).status.code(), Some(1));
}

#[test]
fn an_agents_life_while_the_gateway_is_stopped() {
    agent_life(&Folder::new());
}

#[test]
fn commands_at_the_same_time_wait_for_each_other() {
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let folder = &folder;
            scope.spawn(move || assert!(folder.run(&["agent", "add", &format!("a{number}")]).status.success()));
        }
    });
    assert_eq!(json(&folder.run(&["agent", "list", "--json"])).as_array().map(Vec::len), Some(6));
}

#[test]
fn an_agents_life_while_the_gateway_runs() {
    let folder = Folder::new();
    let gateway = folder.serve();
    agent_life(&folder);
    // Named outright, as from another machine.
    let token = std::fs::read_to_string(folder.path("aegis-data/operator.token")).expect("there");
    let asked = |token: &str| {
        let url = format!("http://{}", gateway.address("api"));
        aegis().args(["agent", "list"]).env("AEGIS_URL", url).env("AEGIS_OPERATOR_TOKEN", token).output().expect("runs")
    };
    assert!(asked(token.trim()).status.success());
    assert_eq!(asked("forged").status.code(), Some(2));
    assert!(gateway.stop());
}

#[test]
fn suspending_works_at_once() {
    let folder = Folder::new();
    let gateway = folder.serve();
    assert!(folder.run(&["agent", "add", "ci-runner"]).status.success());
    let token = stdout(&folder.run(&["token", "issue", "ci-runner"]));
    let call = || {
        let head = "GET http://not.listed.example/ HTTP/1.1\r\nHost: not.listed.example\r\nConnection: close\r\n";
        raw(gateway.address("proxy"), &format!("{head}Proxy-Authorization: Bearer {}\r\n\r\n", token.trim()))
    };
    assert!(call().starts_with("HTTP/1.1 403"), "{}", call());
    assert!(folder.run(&["agent", "suspend", "ci-runner"]).status.success());
    assert!(call().starts_with("HTTP/1.1 407"), "{}", call());
    assert!(folder.run(&["agent", "resume", "ci-runner"]).status.success());
    assert!(call().starts_with("HTTP/1.1 403"), "{}", call());
    let tail = stdout(&folder.run(&["audit", "tail", "-n", "50"]));
    assert!(tail.contains("identity: suspended") && tail.contains("agent.suspend"), "{tail}");
    assert!(tail.lines().all(|line| line.split_whitespace().nth(1).is_some_and(|at| at.ends_with('Z'))), "{tail}");
}

#[test]
fn a_bad_policy_keeps_the_last_good_one_in_force() {
    let folder = Folder::new();
    let gateway = folder.serve();
    let version = || {
        let ready = raw(gateway.address("api"), "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        ready.split("pol_").nth(1).map(|rest| rest.chars().take(12).collect::<String>())
    };
    let first = version();
    folder.change("policies/deploy.yaml", |text| text.replace("max_replicas: 50", "max_replicas: 60"));
    eventually("a changed policy is in force", || version() != first);
    let second = version();
    folder.change("policies/deploy.yaml", |text| text.replace("max_replicas:", "max_replicass:"));
    eventually("the log says so", || gateway.log().contains("policies refused") && gateway.log().contains("replicass"));
    assert_eq!(version(), second);
    let health = raw(gateway.address("api"), "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"policies\":\"refused\""), "{health}");
    folder.change("policies/deploy.yaml", |text| text.replace("max_replicass: 60", "max_replicas: 70"));
    gateway.signal("-HUP");
    eventually("the corrected policy is in force", || version() != second);
    let policies = stdout(&folder.run(&["audit", "tail", "-n", "50"]));
    assert!(policies.contains("refused") && policies.contains("loaded"), "{policies}");
    assert!(gateway.stop());
}

#[test]
fn the_demo_passes() {
    let demo = run(&["demo", "--once"]);
    let text = stdout(&demo);
    assert!(demo.status.success(), "{text}{}", stderr(&demo));
    assert!(text.ends_with("stories: 4 passed, 0 failed\n"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('╭'), "colours or boxes in a pipe");
    let machine = run(&["demo", "--once", "--json"]);
    let lines: Vec<Value> =
        stdout(&machine).lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert_eq!(lines.last().map(|line| &line["stories"]["passed"]), Some(&4.into()));
}

#[test]
fn a_killed_gateway_starts_again_over_the_note_it_left() {
    let folder = Folder::new();
    drop(folder.serve());
    assert!(folder.path("aegis-data/gateway.json").exists(), "a killed gateway leaves its note");
    let gateway = folder.serve();
    assert_eq!(gateway.ready["mode"], "enforce");
    assert!(folder.run(&["agent", "list"]).status.success(), "the note is the new one's");
}

#[test]
fn a_command_in_the_wrong_folder_says_so_and_makes_nothing() {
    let empty = tempfile::tempdir().expect("a folder");
    for args in [&["agent", "add", "a"][..], &["approvals", "list"], &["audit", "tail"]] {
        let output = aegis().args(args).current_dir(empty.path()).output().expect("the binary runs");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("there is no gateway in") && said.contains("--config or AEGIS_CONFIG"), "{said}");
    }
    assert_eq!(std::fs::read_dir(empty.path()).expect("readable").count(), 0);
}

#[test]
fn a_port_in_use_is_said_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let folder = Folder::new();
    folder.change("aegis.yaml", |text| text.replacen("api: 127.0.0.1:0", &format!("api: 127.0.0.1:{port}"), 1));
    let output = folder.run(&["serve"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("for `api`: free that port, or choose another one"), "{said}");
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
}

#[test]
fn a_gateway_waits_for_a_command_that_holds_its_data() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("aegis-data")).expect("made");
    let lock = std::fs::File::create(folder.path("aegis-data/lock")).expect("made");
    lock.lock().expect("held");
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        drop(lock);
    });
    let gateway = folder.serve();
    letting_go.join().expect("let go");
    assert!(gateway.folder.run(&["agent", "list"]).status.success(), "it runs");
}

#[test]
fn a_time_is_a_moment_or_how_long_ago() {
    let folder = Folder::new();
    folder.run(&["agent", "add", "a"]);
    let count = |args: &[&str]| {
        let output = folder.run(&[&["audit", "query"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).lines().count()
    };
    let all = count(&[]);
    assert!(all > 0, "what an operator does is on record");
    assert_eq!(count(&["--since", "1h"]), all);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--since", "2020-01-31T12:00:00Z", "--until", "2100-01-31T12:00:00Z"]), all);
    let said = stderr(&folder.run(&["audit", "query", "--since", "yesterday"]));
    assert!(said.contains("--since yesterday: expected a time such as"), "{said}");
}
