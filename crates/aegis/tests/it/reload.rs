//! Bad input: nothing starts on it, nothing is forwarded by it, and the last good version stays.

use std::time::{Duration, Instant};

use crate::process::{Folder, Gateway, stderr, text};
use crate::upstream::Upstream;

fn check(config: &str, policies: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Folder::with(config, policies).run(&["serve", "--check"]);
    (output.status.code(), text(&output))
}

#[test]
fn a_mistake_in_a_policy_is_named_with_its_place_and_the_nearest_key() {
    let policy = "agent: a\nactions:\n  - name: deploy\n    alowed_environments: [staging]\n";
    let (code, text) = check("", &[("a.yaml", policy)]);
    assert_eq!(code, Some(1), "{text}");
    for part in ["a.yaml:4:5", "alowed_environments", "allowed_environments"] {
        assert!(text.contains(part), "{part} isn't in {text}");
    }
}

#[test]
fn every_kind_of_bad_input_refuses_to_start_with_its_place() {
    let good = "agent: a\nactions: [{name: deploy}]\n";
    for (config, policy, part) in [
        ("routs: []\n", good, "routes"),
        ("routes: [{name: a, upstream: \"not a url\"}]\n", good, "aegis.yaml:4:"),
        (
            "routes: [{name: a, upstream: \"http://x.example\", credential: {bearer: \"${env:NOT_THERE_42}\"}}]\n",
            good,
            "NOT_THERE_42",
        ),
        ("mode: enfroce\n", good, "enforce"),
        ("", "agent: a\nactions: [{name: deploy, allowed_images: [{digest: \"sha256:12\"}]}]\n", "a.yaml:2:"),
        ("", "agent: a\nactions: [{name: deploy, approval_needed: \"env = 1\"}]\n", "a.yaml:2:"),
        ("", "agent: a\nactions: [{name: deploy, max_replicas: many}]\n", "a.yaml:2:"),
        ("", "agent: a\nactions: [{name: deploy, max_replicass: 5}]\n", "did you mean `max_replicas`?"),
        ("", "agent: a\nagent: b\n", "a.yaml:2:1"),
        ("", "agent: [a\n", "a.yaml:"),
        ("", "agent: a\nactions: [{name: deploy, deny_if: \"env ==\"}]\n", "deny_if"),
    ] {
        let (code, text) = check(config, &[("a.yaml", policy), ("b.yaml", good)]);
        assert_eq!(code, Some(1), "{config}{policy}: {text}");
        assert!(text.contains(part), "{part} isn't in {text}");
    }
    assert_eq!(check("", &[("a.yaml", good)]).0, Some(0));
}

#[test]
fn a_bad_file_keeps_the_last_good_version_and_a_good_one_replaces_it() {
    let tool = Upstream::start(None);
    let config = format!("upstreams: {{\"tools.example:80\": \"{}\"}}\n", tool.address);
    let gateway = Gateway::start(&config, &[("p.yaml", "agent: builder\negress: {allow: [\"tools.example:80\"]}\n")]);
    let token = gateway.folder.agent("builder");
    let version = |wanted: &dyn Fn(&str) -> bool| {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let output = std::process::Command::new("curl")
                .args([
                    "-s",
                    "-i",
                    "-x",
                    &format!("http://builder:{token}@{}", gateway.address("proxy")),
                    "http://tools.example/",
                ])
                .output()
                .expect("curl runs");
            let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
            if wanted(&text) {
                let line = text.lines().find_map(|line| line.strip_prefix("aegis-policy-version: "));
                return line.unwrap_or_else(|| panic!("no version in {text}")).trim().to_owned();
            }
            assert!(Instant::now() < until, "it never came: {text}\n{}", gateway.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let first = version(&|text| text.contains("200 ok"));
    assert_eq!(first, gateway.ready["policy_version"].as_str().expect("a version").to_lowercase());

    let file = gateway.folder.path("policies/p.yaml");
    std::fs::write(&file, "agent: builder\negres: {}\n").expect("written");
    let until = Instant::now() + Duration::from_secs(20);
    while !gateway.log().contains("egres") {
        assert!(Instant::now() < until, "the log never named the mistake: {}", gateway.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(version(&|text| text.contains("200 ok")), first);

    std::fs::write(&file, "agent: builder\negress: {allow: [\"other.example:80\"]}\n").expect("written");
    assert_ne!(version(&|text| text.contains("403")), first);
}

#[test]
fn a_corrupt_database_refuses_to_start_and_says_what_to_do() {
    let policies = [("p.yaml", "agent: a\nactions: [{name: deploy}]\n")];
    let gateway = Gateway::start("", &policies);
    gateway.folder.agent("a");
    let data = gateway.folder.path("aegis-data");
    let copy = Folder::with("", &policies);
    let target = copy.path("aegis-data");
    std::fs::create_dir(&target).expect("made");
    for entry in std::fs::read_dir(&data).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), target.join(entry.file_name())).expect("copied");
        }
    }
    drop(gateway);
    for entry in std::fs::read_dir(&target).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.contains(".db") || name.contains("sqlite") {
            let length = std::fs::metadata(&path).expect("there").len();
            std::fs::write(&path, vec![0x5a; usize::try_from(length.max(64)).expect("small")]).expect("written");
        }
    }
    let output = copy.run(&["serve"]);
    let text = stderr(&output);
    assert!(!output.status.success());
    assert!(text.contains("data"), "it names the file: {text}");
}
