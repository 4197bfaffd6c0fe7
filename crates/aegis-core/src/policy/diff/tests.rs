use super::{Change, Direction, diff};
use crate::policy::{Options, PolicySet, Source};

fn load(files: &[(&str, &str)]) -> PolicySet {
    let source = |(file, text): &(&str, &str)| Source { file: (*file).to_owned(), text: (*text).to_owned() };
    let sources: Vec<Source> = files.iter().map(source).collect();
    PolicySet::load(&sources, Options::default()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn policy(entry: &str) -> PolicySet {
    load(&[("p.yaml", &format!("agent: a\nactions:\n  - {{name: deploy, {entry}}}\n"))])
}

/// The one change between two forms of an entry.
fn change(before: &str, after: &str) -> Change {
    let mut changes = diff(&policy(before), &policy(after));
    assert_eq!(changes.len(), 1, "{before} → {after}: {changes:#?}");
    changes.remove(0)
}

#[test]
fn each_rule_knows_its_directions() {
    let pairs = [
        ("max_replicas: 5", "max_replicas: 6"),
        ("min_replicas: 2", "min_replicas: 1"),
        ("max_amount: 5 USD", "max_amount: 6 USD"),
        ("allowed_environments: [qa]", "allowed_environments: [qa, staging]"),
        ("allowed_region: [eu]", "allowed_region: [eu, us]"),
        ("denied_region: [eu, us]", "denied_region: [eu]"),
        ("tools: [kubernetes]", "tools: [kubernetes, argocd]"),
        ("deny_if: replicas > 5", "max_replicas: 9, deny_if: replicas > 5"),
        ("daily_budget: 5 USD", "daily_budget: 6 USD"),
        ("rate: {limit: 1, per: 1s}", "rate: {limit: 2, per: 1s}"),
        ("approval: {count: 2, approvers: ['group:a']}", "approval: {count: 1, approvers: ['group:a']}"),
        ("approval: {expires: 5m}", "approval: {expires: 10m}"),
        ("max_replicas: 5", "max_replicas: 5, on_violation: {max_replicas: approval_needed}"),
        ("egress: {allow: [a.example]}", "egress: {allow: [a.example, b.example]}"),
        ("sanitize: {detect: [pii, secrets]}", "sanitize: {detect: [pii]}"),
        ("approval_needed: 'true'", "max_replicas: 9, approval_needed: 'true'"),
    ];
    for (before, after) in pairs {
        let (there, back) = (change(before, after).direction, change(after, before).direction);
        assert_eq!(there.reversed(), back, "{before} → {after}");
        let comes = after.starts_with("max_replicas: 9");
        assert_eq!(there, if comes { Direction::Less } else { Direction::More }, "{before} → {after}");
    }
    for (before, after) in [
        ("approval_needed: replicas > 5", "approval_needed: replicas > 6"),
        ("pattern_ref: a.*", "pattern_ref: b.*"),
        ("allowed_environments: [qa]", "allowed_environments: [staging]"),
        ("labels: [seen]", "labels: [seen, read]"),
        ("max_amount: 5 USD", "max_amount: 5 EUR"),
    ] {
        assert_eq!(change(before, after).direction, Direction::Different, "{before} → {after}");
    }
}

#[test]
fn a_change_is_said_in_a_sentence() {
    let said = |before, after| change(before, after).sentence;
    assert_eq!(
        said("max_replicas: 5", "max_replicas: 6"),
        "a may do more in `deploy`: replicas up to 6; until now replicas up to 5"
    );
    assert_eq!(
        said("approval_needed: replicas > 5", "max_replicas: 9, approval_needed: replicas > 5"),
        "a may do less in `deploy`: replicas up to 9; until now without max_replicas"
    );
    let nothing = load(&[("p.yaml", "agent: a\negress: {allow: [a.example]}\nactions: []\n")]);
    let some =
        load(&[("p.yaml", "agent: a\negress: {allow: [a.example]}\nactions: [{name: deploy, max_replicas: 5}]\n")]);
    assert_eq!(diff(&nothing, &some)[0].sentence, "a may do `deploy`: replicas up to 5");
    let watched = load(&[("p.yaml", "agent: a\nmode: shadow\nactions: [{name: deploy, max_replicas: 5}]\n")]);
    let relaxed = load(&[("p.yaml", "agent: a\nmode: shadow\nactions: [{name: deploy, max_replicas: 6}]\n")]);
    assert!(diff(&watched, &relaxed)[0].sentence.ends_with("(only observed)"));
}

#[test]
fn order_and_names_change_nothing() {
    let one = "agent: a\nname: x\nactions: [{name: deploy}, {name: scale}]\n";
    let two = "agent: b\nactions: [{name: read}]\n";
    let before = load(&[("1.yaml", one), ("2.yaml", two)]);
    let one = "agent: a\nname: y\nactions: [{name: scale}, {name: deploy}]\n";
    let after = load(&[("1.yaml", two), ("2.yaml", one)]);
    let changes = diff(&before, &after);
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn a_custom_module_only_restricts() {
    let yaml = ("p.yaml", "agent: a\nactions: [{name: deploy}]\n");
    let module = |limit: u32| {
        format!("package aegis.rules.windows\n\ndeny contains \"too many\" if input.params.replicas > {limit}\n")
    };
    let (five, six) = (module(5), module(6));
    let (without, with) = (load(&[yaml]), load(&[yaml, ("m.rego", &five)]));
    let other = load(&[yaml, ("m.rego", &six)]);
    let direction = |before, after| diff(before, after).iter().map(|change| change.direction).collect::<Vec<_>>();
    assert_eq!(direction(&without, &with), [Direction::Less]);
    assert_eq!(direction(&with, &without), [Direction::More]);
    assert_eq!(direction(&with, &other), [Direction::Different]);
    assert_eq!(direction(&with, &with), []);
}
