use std::path::Path;

use aegis_core::describe::Catalogue;
use aegis_core::policy::{Options, PolicySet, Source};
use proptest::prelude::*;

use super::{read, run};

const POLICY: &str = "agent: a\nactions:\n  - name: deploy\n    allowed_environments: [staging]\n    \
    approval_needed: env == 'production'\n    max_replicas: 50\n";

fn policies() -> PolicySet {
    let source = Source { file: "p.yaml".to_owned(), text: POLICY.to_owned() };
    PolicySet::load(&[source], Options::default()).expect("a policy")
}

fn refused(text: &str) -> Vec<String> {
    let errors = read::parse("p.test.yaml", text, Path::new(".")).expect_err("refused");
    errors.iter().map(ToString::to_string).collect()
}

/// What is wrong with a scale to `replicas` in `env`, of which `rest` is expected.
fn differences(env: &str, replicas: &str, rest: &str) -> Vec<String> {
    let text = format!(
        "cases:\n  - case: one\n    agent: a\n    \
         call: {{tool: kubernetes, action: scale, env: {env}, params: {{replicas: {replicas}}}}}\n    {rest}\n"
    );
    let cases = read::parse("p.test.yaml", &text, Path::new(".")).expect("cases");
    let catalogue = Catalogue::load(&[], None).expect("the built-in tools");
    run::run(&cases[0], &catalogue, &policies()).differences
}

#[test]
fn what_is_as_expected_passes() {
    for (env, replicas, rest) in [
        ("staging", "50", "expect: {decision: allow, rules: []}"),
        (
            "production",
            "5",
            "expect: {decision: approval_needed, rules: [approval_needed], reasons: [approval_condition]}",
        ),
        ("production", "5", "approved: true\n    expect: {decision: allow}"),
        ("elsewhere", "51", "expect: {decision: deny, rules: [allowed_environments, max_replicas]}"),
    ] {
        assert!(differences(env, replicas, rest).is_empty(), "{env} {replicas} {rest}");
    }
}

#[test]
fn what_is_not_is_said_in_words() {
    assert_eq!(
        differences("staging", "51", "expect: {decision: allow, rules: [allowed_environments]}"),
        [
            "expected allow, got deny",
            "rules expected and not found: allowed_environments",
            "rules found and not expected: max_replicas"
        ]
    );
    let shadow = "expect: {decision: deny, would_decision: deny, rules: [max_replicas]}";
    assert_eq!(differences("staging", "51", shadow), ["expected that it would deny, got the same as is done"]);
}

#[test]
fn a_call_that_nothing_could_send_fails() {
    let text = "cases: [{case: one, agent: a, call: {tool: kubernetes, action: scale, params: {replica: 5}}, expect: {decision: deny}}]";
    let cases = read::parse("p.test.yaml", text, Path::new(".")).expect("cases");
    let catalogue = Catalogue::load(&[], None).expect("the built-in tools");
    let outcome = run::run(&cases[0], &catalogue, &policies());
    assert_eq!(outcome.differences, ["kubernetes/scale has no parameter `replica`; did you mean `replicas`?"]);
}

#[test]
fn files_are_refused_with_everything_that_is_wrong_and_where() {
    let case = "  - case: one\n    agent: a\n    call: {tool: t, action: x}\n    expect: {decision: deny}\n";
    assert!(refused("case: []\n")[0].contains("p.test.yaml:1:1: `cases` is missing"), "{:?}", refused("case: []\n"));
    let twice = refused(&format!("cases:\n{case}{case}"));
    assert_eq!(twice, ["p.test.yaml:6:5: case: \"one\" is already the name of the case at line 2"]);
    for (from, to, expected) in [
        ("decision: deny", "decision: maybe", "5:24: cases[0].expect.decision: this is no decision; allow, sanitize"),
        ("decision: deny", "decison: deny", "unknown key; did you mean `decision`?"),
        ("agent: a", "agnet: a", "unknown key; did you mean `agent`?"),
        ("action: x", "", "a call is `tool` and `action`, or a `destination`"),
        ("action: x", "action: x, params: [1]", "cases[0].call.params: expected a mapping, found a list"),
        (
            "action: x",
            "action: x, destination: {host: \"127.1\"}",
            "write an IPv4 address as four plain decimal numbers",
        ),
        ("action: x", "action: x, effect: good", "this is no effect; read, write"),
        ("agent: a", "agent: a\n    now: today", "this is no time (RFC 3339); write it as in"),
        ("agent: a", "agent: a\n    spent: {daily_budget: -1}", "expected a budget's key and an amount"),
        ("agent: a", "agent: a\n    session: {counts: {deploy: -1}}", "counts: expected a mapping of whole numbers"),
        ("agent: a", "agent: a\n    request: {file: no.http}", "a case has one of `call` and `request`"),
    ] {
        let found = refused(&format!("cases:\n{}", case.replace(from, to)));
        assert!(found.iter().any(|error| error.contains(expected)), "{to}: {found:?}");
    }
}

/// A file with every key that there is.
const EVERYTHING: &str = r#"cases:
  - case: one
    agent: a
    groups: [b]
    call:
      tool: kubernetes
      action: apply
      classes: [deploy]
      env: staging
      effect: write
      target: {namespace: web}
      params: {replicas: 3}
      images: ["nginx"]
      destination: {scheme: https, host: example.com, port: 443}
    now: 2026-12-24T18:00:00Z
    session: {counts: {deploy: 1}, labels: [x]}
    approved: true
    spent: {daily_budget: 1.5}
    expect: {decision: deny, would_decision: allow, rules: [a], reasons: [b], labels: [c]}
"#;

#[test]
fn every_key_is_read() {
    let cases = read::parse("p.test.yaml", EVERYTHING, Path::new(".")).expect("cases");
    assert_eq!((cases.len(), cases[0].spent.get("daily_budget")), (1, Some(&1.5)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Cases, or errors with places in the file; whatever is written, and whatever a call is described from.
    #[test]
    fn no_file_is_too_odd_to_be_read(at in 0usize..EVERYTHING.len(), cut in 0usize..40, with in "[ -~\n]{0,12}") {
        let end = (at + cut).min(EVERYTHING.len());
        let text = format!("{}{with}{}", &EVERYTHING[..at], &EVERYTHING[end..]);
        match read::parse("p.test.yaml", &text, Path::new("/no/such")) {
            Ok(cases) => {
                let catalogue = Catalogue::load(&[], None).expect("the built-in tools");
                let policies = policies();
                cases.iter().for_each(|case| drop(run::run(case, &catalogue, &policies)));
            }
            Err(errors) => {
                let lines = text.lines().count() + 1;
                prop_assert!(!errors.is_empty() && errors.iter().all(|error| (1..=lines).contains(&error.line)));
            }
        }
    }
}
