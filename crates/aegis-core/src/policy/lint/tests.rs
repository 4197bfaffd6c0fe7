use std::collections::BTreeSet;

use super::{LINTS, Surroundings};
use crate::agent::Agent;
use crate::policy::{Options, PolicySet, Source};

fn set(text: &str) -> PolicySet {
    let source = Source { file: "p.yaml".to_owned(), text: text.to_owned() };
    PolicySet::load(&[source], Options::default()).expect("a policy")
}

/// What is said of a policy for `a` with these actions, as `code line:column message; suggestion`.
fn said(rest: &str) -> Vec<String> {
    let known = BTreeSet::from(["staging", "production"]);
    said_of(&format!("agent: a\n{rest}"), Surroundings { environments: Some(&known), agents: None })
}

fn said_of(text: &str, surroundings: Surroundings<'_>) -> Vec<String> {
    let found = set(text).lint(surroundings);
    let words = |one: &crate::document::Diagnostic| format!("{} {one}", one.kind.map_or("?", |kind| kind.name));
    found.iter().map(words).collect()
}

#[test]
fn a_policy_that_means_what_it_says_has_no_findings() {
    let fine = "actions:\n  - name: deploy\n    allowed_environments: [staging]\n    approval_needed: env == 'production'\n    \
                max_replicas: 50\n  - {name: pay, approval_needed: amount > 500, max_amount: 10000}\n  \
                - {name: read, approval_needed: true, approval: {expires: 5m}}\n  \
                - {name: kubernetes/exec, tools: [kubernetes], allowed_environments: [unknown]}\n";
    assert!(said(fine).is_empty(), "{:?}", said(fine));
}

#[test]
fn a_word_that_is_read_as_something_else_is_named_with_what_was_meant() {
    let of = |condition: &str| {
        said(&format!(
            "actions:\n  - name: deploy\n    allowed_environments: [staging]\n    approval_needed: {condition}\n"
        ))
    };
    let only = |condition: &str, code: &str, hint: &str| {
        let found = of(condition);
        assert!(found.len() == 1 && found[0].starts_with(code) && found[0].ends_with(hint), "{condition}: {found:?}");
    };
    only(
        "env == production",
        "unquoted-text",
        "write \"production\" if the text is meant, `params.production` if the parameter is",
    );
    only("web != agent.id", "unquoted-text", "`params.web` if the parameter is");
    only("yes", "unquoted-text", "`params.NAME` if the parameter is meant");
    only("time.weekday == \"Friday\"", "unknown-weekday", "`time.weekday` is never \"Friday\"; did you mean \"Fri\"?");
    only("time.weekday in [\"Sat\", \"x\"]", "unknown-weekday", "Mon, Tue, Wed, Thu, Fri, Sat, Sun");
    for fine in
        ["env == params.production", "force", "params.yes", "time.weekday == \"Fri\"", "region == other", "true"]
    {
        assert!(of(fine).is_empty(), "{fine}: {:?}", of(fine));
    }
}

#[test]
fn an_environment_that_the_map_never_yields_is_named_with_what_was_meant() {
    let found =
        said("actions:\n  - name: deploy\n    allowed_environments: [stagin]\n    approval_needed: env == \"prod\"\n");
    assert_eq!(
        found,
        [
            "unknown-environment p.yaml:4:5: actions[0].allowed_environments: no target is ever in environment \"stagin\"; \
             did you mean \"staging\"?",
            "unknown-environment p.yaml:5:5: actions[0].approval_needed: no target is ever in environment \"prod\"; \
             did you mean \"production\"?"
        ]
    );
    let of = |names: &[&'static str]| {
        let known = names.iter().copied().collect();
        said_of(
            "agent: a\nactions: [{name: deploy, approval_needed: \"env in ['eu', 'us']\"}]\n",
            Surroundings { environments: Some(&known), agents: None },
        )
    };
    assert!(of(&["blue"])[0].ends_with("the configuration's `environments` map yields: blue"));
    assert!(of(&[])[0].ends_with("map is empty: every target is in \"unknown\""));
    assert!(
        said_of("agent: a\nactions: [{name: deploy, allowed_environments: [x]}]\n", Surroundings::default()).is_empty()
    );
}

#[test]
fn conditions_that_no_call_or_every_call_meets() {
    let code = |condition: &str| {
        let found = said(&format!("actions:\n  - name: deploy\n    approval_needed: {condition}\n"));
        found.iter().map(|one| one.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    for never in [
        "false",
        "1 > 2",
        "replicas > 3 && false",
        "env == 'staging' && env == 'production'",
        "!(1 < 2)",
        "params.a == 'x' && (replicas > 1 && params.a == 'y')",
        "'a' in ['b', 'c']",
    ] {
        assert_eq!(code(&format!("\"{never}\"")), ["condition-never-true"], "{never}");
    }
    for always in
        ["1 < 2", "1 == 1.0", "2.0 in [1, 2]", "replicas > 3 || true", "'a' == 'a'", "replicas > 1 ? true : 2 >= 2"]
    {
        assert_eq!(code(&format!("\"{always}\"")), ["condition-always-true"], "{always}");
    }
    for depends in [
        "true",
        "env == 'staging'",
        "replicas > 3",
        "a == b",
        "replicas > 1 && replicas < 0",
        "a == 1 && a == 1.0",
        "replicas > 1 ? true : false",
    ] {
        assert!(code(&format!("\"{depends}\"")).is_empty(), "{depends}");
    }
    let nowhere = "env != 'staging' && env != 'production' && env != 'unknown'";
    assert_eq!(code(&format!("\"{nowhere}\"")), ["condition-in-no-environment"]);
}

#[test]
fn an_approval_that_nothing_asks_for() {
    let found = said("actions:\n  - {name: deploy, max_replicas: 5, approval: {expires: 5m}}\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("approval-unused p.yaml:3:37: actions[0].approval: nothing in this entry asks"),
        "{found:?}"
    );
    assert!(said("actions:\n  - {name: deploy, max_replicas: 5, on_violation: {max_replicas: approval_needed}, approval: {expires: 5m}}\n").is_empty());
}

#[test]
fn entries_that_never_apply() {
    for entry in [
        "actions:\n  - {name: kubernetes/scale, tools: [argocd]}\n",
        "actions:\n  - {name: \"kube*/*\", tools: [argocd, helm]}\n",
        "tools: [helm]\nactions:\n  - {name: deploy, tools: [argocd]}\n",
        "tools: [helm]\nactions:\n  - {name: kubernetes/scale}\n",
    ] {
        let found = said(entry);
        assert!(found.len() == 1 && found[0].starts_with("entry-never-applies "), "{entry}{found:?}");
    }
    for entry in [
        "tools: [helm, argocd]\nactions: [{name: deploy, tools: [argocd]}]\n",
        "actions: [{name: \"a*/*\", tools: [argocd]}]\n",
    ] {
        assert!(said(entry).is_empty(), "{entry}");
    }
}

#[test]
fn entries_that_say_the_same_twice() {
    let entry = "{name: scale, max_replicas: 5, approval_needed: \"replicas > 3\"}";
    let found = said(&format!(
        "actions:\n  - {entry}\n  - {entry}\n---\nagent: a\nactions:\n  - {entry}\n---\nagent: b\nactions:\n  - {entry}\n"
    ));
    let codes: Vec<&str> = found.iter().filter_map(|one| one.split(' ').next()).collect();
    assert_eq!(codes, ["duplicate-entry"; 2], "{found:?}");
    assert!(
        found[0].contains("p.yaml:4:6: actions[1].name: the entry says the same as the one at p.yaml:3"),
        "{found:?}"
    );
    assert!(said("actions:\n  - {name: scale, max_replicas: 5}\n  - {name: scale, max_replicas: 6}\n").is_empty());
}

#[test]
fn agents_that_nothing_is_enforced_for() {
    let shadow = "agent: a\nmode: shadow\nactions: [{name: deploy}]\n";
    let found = said_of(shadow, Surroundings::default());
    assert!(
        found.len() == 1 && found[0].starts_with("not-enforced p.yaml:2:1: mode: only shadow policies"),
        "{found:?}"
    );
    for enforced in ["agent: a\n", "agent: \"*\"\n", "groups: [ci]\n"] {
        let text = format!("{shadow}---\n{enforced}actions: [{{name: deploy}}]\n");
        assert!(said_of(&text, Surroundings::default()).is_empty(), "{enforced}");
    }
    let other = format!("{shadow}---\nagent: b\nactions: [{{name: deploy}}]\n");
    assert_eq!(said_of(&other, Surroundings::default()).len(), 1);
}

#[test]
fn agents_that_nobody_has_registered() {
    let agents = [Agent { groups: vec!["ci".to_owned()], ..Agent::named("build-1") }];
    let surroundings = Surroundings { agents: Some(&agents), environments: None };
    for (policy, findings) in
        [("agent: build-*", 0), ("agent: build-1", 0), ("groups: [ci]", 0), ("agent: biuld-1", 1), ("groups: [cd]", 1)]
    {
        let found = said_of(&format!("{policy}\nactions: [{{name: deploy}}]\n"), surroundings);
        assert_eq!(found.len(), findings, "{policy}: {found:?}");
        assert!(found.iter().all(|one| one.starts_with("unknown-agent p.yaml:1:1: ")), "{found:?}");
    }
}

#[test]
fn alternations_that_are_anchored_on_one_side_only() {
    let code = |pattern: &str| {
        let text = format!("actions:\n  - name: deploy\n    approval_needed: params.a.matches('{pattern}')\n");
        said(&text).len()
    };
    for hole in ["^a|b$", "^acme/|^other/|x", "a|b$"] {
        assert_eq!(code(hole), 1, "{hole}");
    }
    for fine in ["^(?:a|b)$", "^a$|^b$", "a|b", "^a", "^acme/(x|y)"] {
        assert_eq!(code(fine), 0, "{fine}");
    }
}

#[test]
fn every_lint_has_one_name() {
    let names: BTreeSet<&str> = LINTS.iter().map(|lint| lint.name).collect();
    assert_eq!(names.len(), LINTS.len());
    assert!(names.iter().eq(LINTS.iter().map(|lint| &lint.name)), "by name");
}

#[test]
fn conditions_that_refuse_are_looked_at_too() {
    let found = said(
        "deny_if: env == 'prod'\nactions:\n  - name: deploy\n    deny_if: [replicas > 5, 1 > 2, \"params.a.matches('^a|b$')\"]\n",
    );
    let codes: Vec<&str> = found.iter().filter_map(|one| one.split(' ').next()).collect();
    assert_eq!(codes, ["unknown-environment", "condition-never-true", "unanchored-alternation"], "{found:?}");
}
