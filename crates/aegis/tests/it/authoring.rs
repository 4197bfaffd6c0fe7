//! Policies as their authors handle them: checked, tested, explained.

use serde_json::Value;

use crate::process::{Folder, json, run, stderr, stdout};

/// The starter pack, where the repository keeps it.
const PACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");

#[test]
fn the_starter_pack_does_what_its_cases_say_and_no_rule_of_it_is_untested() {
    let text = stdout(&run(&["policy", "test", PACK]));
    let tested = run(&["policy", "test", PACK, "--coverage-min", "100%"]);
    assert!(tested.status.success(), "{text}{}", stderr(&tested));
    for item in std::fs::read_dir(PACK).expect("policies/") {
        let path = item.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            assert!(path.with_extension("test.yaml").exists(), "{name} has no cases beside it");
        }
    }
}

#[test]
fn what_init_writes_passes_its_own_cases() {
    let folder = Folder::new();
    let tested = folder.run(&["policy", "test", "--coverage-min", "100"]);
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
    let checked = folder.json(&["policy", "check"]);
    assert_eq!(checked["diagnostics"].as_array().map(Vec::len), Some(0), "{checked:#}");
}

#[test]
fn a_gateway_that_only_watches_changes_neither_what_cases_say_nor_that_a_version_has_one_name() {
    let folder = Folder::new();
    folder.change("aegis.yaml", |text| text.replace("\nmode: enforce", "\nmode: shadow"));
    let tested = folder.run(&["policy", "test"]);
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
    let named = folder.path("policies");
    let named = folder.json(&["policy", "check", named.to_str().expect("text")]);
    assert_eq!(folder.json(&["policy", "check"])["version"], named["version"], "whether the folder is named or not");
}

#[test]
fn a_failing_case_says_what_was_expected_and_what_was_decided() {
    let folder = Folder::new();
    std::fs::write(
        folder.path("policies/wrong.test.yaml"),
        "cases:\n  - case: too many\n    agent: deploy-manager\n    \
         call: {tool: kubernetes, action: scale, env: staging, params: {replicas: 51}}\n    \
         expect: {decision: allow, rules: []}\n",
    )
    .expect("written");
    let cases = folder.path("policies/wrong.test.yaml");
    let report = folder.path("results.xml");
    let (cases, junit) = (cases.to_str().expect("text"), report.to_str().expect("text"));
    let tested = folder.run(&["policy", "test", cases, "--junit", junit]);
    assert_eq!(tested.status.code(), Some(1));
    let text = stdout(&tested);
    for expected in [
        "✗ too many",
        "wrong.test.yaml:2)",
        "expected allow, got deny",
        "rules found and not expected: max_replicas",
        "because max_replicas: replicas 51 is above max_replicas 50",
        "0 passed, 1 failed",
    ] {
        assert!(text.contains(expected), "{expected:?} not in\n{text}");
    }
    let xml = std::fs::read_to_string(&report).expect("written");
    assert!(
        xml.contains("tests=\"1\" failures=\"1\"") && xml.contains("<failure message=\"expected allow, got deny\">"),
        "{xml}"
    );

    let tested: Value = serde_json::from_slice(&folder.run(&["policy", "test", cases, "--json"]).stdout).expect("JSON");
    assert_eq!((&tested["failed"], &tested["cases"][0]["actual"]["rules"][0]), (&1.into(), &"max_replicas".into()));
    // What a gateway loads are the policies alone, cases or not.
    assert!(folder.run(&["serve", "--check"]).status.success());
}

#[test]
fn a_policy_that_is_named_like_cases_is_not_left_out_silently() {
    let folder = Folder::new();
    std::fs::write(folder.path("policies/strict.test.yaml"), "agent: deploy-manager\nactions: []\n").expect("written");
    let check = folder.run(&["serve", "--check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(stdout(&check).contains("holds no `cases`"), "{}", stdout(&check));
}

#[test]
fn too_little_coverage_and_no_cases_at_all_are_no() {
    let folder = Folder::with("", &[("a.yaml", "agent: a\nactions: [{name: scale, max_replicas: 5}]\n")]);
    let none = folder.run(&["policy", "test"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("*.test.yaml"), "{}", stderr(&none));
    std::fs::write(
        folder.path("policies/a.test.yaml"),
        "cases: [{case: fine, agent: a, call: {tool: kubernetes, action: scale, params: {replicas: 5}}, expect: {decision: allow}}]\n",
    )
    .expect("written");
    let tested = folder.json(&["policy", "test"]);
    assert_eq!((&tested["coverage"]["exercised"], &tested["coverage"]["possible"]), (&2.into(), &3.into()));
    assert_eq!(tested["coverage"]["missing"][0]["rule"]["id"], "a/scale#max_replicas");
    let little = folder.run(&["policy", "test", "--coverage-min", "80%"]);
    assert_eq!(little.status.code(), Some(1));
    assert!(stderr(&little).contains("67% of the rules"), "{}", stderr(&little));
}

#[test]
fn check_lints_against_the_environments_and_the_agents_that_there_are() {
    let config = "environments: [{match: {tool: kubernetes}, env: production}]\n";
    let policy = "agent: deploy-manger\nactions:\n  - {name: deploy, approval_needed: 'env == \"prod\"'}\n";
    let folder = Folder::with(config, &[("a.yaml", policy)]);
    folder.json(&["agent", "add", "deploy-manager"]);
    let checked = folder.json(&["policy", "check"]);
    let codes: Vec<&Value> =
        checked["diagnostics"].as_array().into_iter().flatten().map(|diagnostic| &diagnostic["code"]).collect();
    assert_eq!(codes, ["unknown-agent", "unknown-environment"]);
    assert_eq!(checked["diagnostics"][1]["suggestion"], "did you mean \"production\"?");
    assert_eq!(folder.run(&["policy", "check", "--deny-warnings"]).status.code(), Some(1));
    assert!(
        stdout(&folder.run(&["policy", "check"])).contains("warning[unknown-environment]: actions[0].approval_needed")
    );
}

/// The parts of the schema that readers of SARIF rely on (SARIF 2.1.0 §3.13 to §3.30); the whole was checked by hand.
#[test]
fn sarif_names_its_rules_and_places() {
    let folder = Folder::new();
    let file = folder.path("my policy.yaml");
    std::fs::write(&file, "agent: a\nactions:\n  - {name: deploy, approval_needed: \"1 > 2\"}\n").expect("written");
    let checked = run(&["policy", "check", file.to_str().expect("text"), "--format", "sarif"]);
    let log = json(&checked);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let result = &run["results"][0];
    let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
    assert_eq!(
        (&rules[index]["id"], &result["ruleId"]),
        (&"condition-never-true".into(), &"condition-never-true".into())
    );
    assert_eq!(result["level"], "warning");
    assert!(result["message"]["text"].as_str().is_some_and(|text| text.contains("true of no call")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&3.into(), &20.into()));
    let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
    assert!(uri.starts_with("file:///") && uri.ends_with("/my%20policy.yaml"), "{uri}");
}

#[test]
fn explain_names_every_rule_with_its_place() {
    let folder = Folder::new();
    let call = folder.path("call.json");
    let text = r#"{"agent": "deploy-manager", "tool": "kubernetes", "action": "scale", "env": "staging", "params": {"replicas": 51}}"#;
    std::fs::write(&call, text).expect("written");
    let call = call.to_str().expect("text");
    let explained = folder.json(&["policy", "explain", call]);
    assert_eq!(explained["violations"].as_array().map(Vec::len), Some(1), "a scale has no image: {explained:#}");
    let text = stdout(&folder.run(&["policy", "explain", call]));
    for expected in [
        "applies  deploy-manager/deploy ",
        "kept     deploy-manager/deploy#allowed_environments",
        "broken   deploy-manager/deploy#max_replicas",
        "policies/deploy.yaml:",
    ] {
        assert!(text.contains(expected), "{expected:?} not in\n{text}");
    }
}

/// The guide, which promises that what stands in it works.
const GUIDE: &str = include_str!("../../../../docs/policy-guide.md");

/// The fenced blocks of YAML.
fn blocks() -> Vec<&'static str> {
    GUIDE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_guide_loads_and_its_cases_pass() {
    let folder = Folder::with("", &[]);
    let mut cases = 0;
    for (index, block) in blocks().into_iter().enumerate() {
        let is_cases = block.starts_with("cases:");
        cases += usize::from(is_cases);
        let name = format!("policies/{index}{}.yaml", if is_cases { ".test" } else { "" });
        std::fs::write(folder.path(&name), block).expect("written");
    }
    assert!(cases >= 2, "the guide has lost its cases");
    let checked = folder.run(&["policy", "check", folder.path("policies").to_str().expect("text")]);
    assert!(checked.status.success(), "{}", stdout(&checked));
    let tested = folder.run(&["policy", "test"]);
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
}

#[test]
fn every_key_in_the_guides_tables_is_read_as_it_is_written() {
    let section = |title: &str| {
        let rest = GUIDE.split(&format!("## {title}\n")).nth(1).expect("the section");
        rest.split("\n## ").next().unwrap_or_default()
    };
    let rows = |title: &str| {
        let rows: Vec<String> = section(title)
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split("` | ").next().map(|cell| cell.replace("\\|", "|")))
            .collect();
        assert!(rows.len() > 10, "{title}: {rows:?}");
        rows
    };
    let with = |base: &[&str], row: &str, indent: &str| {
        let key = row.split(':').next().unwrap_or_default();
        let others = base.iter().filter(|line| line.split(':').next() != Some(key));
        others.copied().chain([row]).map(|line| format!("{indent}{line}\n")).collect::<String>()
    };
    let folder = Folder::with("", &[]);
    let check = |policy: &str| {
        let file = folder.path("one.yaml");
        std::fs::write(&file, policy).expect("written");
        let checked = run(&["policy", "check", file.to_str().expect("text")]);
        assert!(checked.status.success(), "{policy}\n{}", stdout(&checked));
    };
    for row in rows("Keys of a policy") {
        check(&with(&["agent: a", "actions: [{name: read}]"], &row, ""));
    }
    for row in rows("Keys of an entry") {
        let entry = with(&["tools: [sdk]", "max_replicas: 5"], &row, "    ");
        check(&format!("agent: a\nactions:\n  - name: work\n{entry}"));
    }
}
