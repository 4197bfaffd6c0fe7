use std::sync::LazyLock;

use crate::describe::Catalogue;
use crate::policy::{DefinedAction, Options, PolicySet, Source};

/// Diagnostics of a policy for `a` against the built-in catalogue and two tools more: errors, or else warnings.
fn said(rest: &str) -> Vec<String> {
    static BUILT_IN: LazyLock<Vec<DefinedAction>> =
        LazyLock::new(|| Catalogue::load(&[], None).expect("the built-in tools").defined());
    let mut defined = BUILT_IN.clone();
    let action = |tool: &str, action: &str, params: Option<&[&str]>| DefinedAction {
        tool: tool.to_owned(),
        action: action.to_owned(),
        classes: ["pay".to_owned()].into(),
        params: params.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
    };
    defined.push(action("payments", "transfer", Some(&["amount", "currency"])));
    defined.push(action("anything", "call", None));
    let source = Source { file: "p.yaml".to_owned(), text: format!("agent: a\n{rest}") };
    let set = PolicySet::load(&[source], Options::default()).expect("a policy");
    let version = set.version().to_owned();
    let words = |found: &[crate::document::Diagnostic]| {
        found.iter().map(|one| format!("{:?} {one}", one.severity)).collect::<Vec<_>>()
    };
    match set.fitted_to(&defined) {
        Ok(set) => {
            assert_eq!(set.version(), version);
            words(set.warnings())
        }
        Err(errors) => words(&errors),
    }
}

#[test]
fn a_mistyped_cap_is_an_error_with_its_place_and_what_was_meant() {
    let all = "no action that this entry is for (kubernetes/apply, kubernetes/autoscale, kubernetes/reconcile, …)";
    assert_eq!(
        said("tools: [kubernetes]\nactions:\n  - name: deploy\n    max_replicass: 50\n"),
        [format!(
            "Error p.yaml:5:5: actions[0].max_replicass: {all} has the parameter `replicass`: the rule would never apply; \
             did you mean `max_replicas`?"
        )]
    );
    let mixed = said("actions:\n  - name: deploy\n    max_replicass: 50\n");
    assert!(mixed[0].starts_with("Error ") && mixed[0].contains("deny those that may have any ("), "{mixed:?}");
    assert!(mixed[0].ends_with("did you mean `max_replicas`?"), "{mixed:?}");
    for name in ["scale", "kubernetes/scale", "kubernetes/sc*", "*/scale"] {
        let said = said(&format!("actions:\n  - {{name: {name:?}, max_replica: 50}}\n"));
        assert_eq!(said.len(), 1, "{name}: {said:?}");
        assert!(said[0].starts_with("Error ") && said[0].ends_with("did you mean `max_replicas`?"), "{name}: {said:?}");
    }
}

#[test]
fn a_cap_that_no_defined_action_has_is_an_error_unless_an_sdk_may_be_meant() {
    for entry in [
        "{name: deploy, tools: [kubernetes], max_usd: 50}",
        "{name: kubernetes/scale, max_usd: 50}",
        "{name: kubernetes/s*, max_usd: 50}",
        "{name: kubernetes/delete, allowed_image_digests: []}",
    ] {
        let said = said(&format!("actions:\n  - {entry}\n"));
        assert!(said[0].starts_with("Error ") && said[0].ends_with("the rule would never apply"), "{entry}: {said:?}");
    }
    let narrowed = said("tools: [kubernetes]\nactions:\n  - {name: deploy, max_usd: 50}\n");
    assert!(narrowed[0].starts_with("Error "), "{narrowed:?}");
    for entry in [
        "{name: scale, max_usd: 50}",
        "{name: \"*/scale\", max_usd: 50}",
        "{name: deploy, tools: [kubernetes, bank], max_usd: 50}",
    ] {
        let said = said(&format!("actions:\n  - {entry}\n"));
        assert_eq!(said.len(), 1, "{entry}: {said:?}");
        assert!(said[0].starts_with("Warning p.yaml:3:") && said[0].contains("functions that an SDK"), "{said:?}");
    }
}

#[test]
fn every_kind_of_rule_has_to_fit() {
    for (rule, near) in [
        ("min_replicass: 1", "did you mean `min_replicas`?"),
        ("allowed_replica: [1]", "did you mean `allowed_replicas`?"),
        ("denied_replica: [1]", "did you mean `denied_replicas`?"),
        ("pattern_replica: x", "did you mean `pattern_replicas`?"),
        ("required_params: [replica]", "did you mean `replicas`?"),
        ("daily_budget: 30 replica", "did you mean `replicas`?"),
        ("sanitize: {detect: [pii], params: [replica]}", "did you mean `replicas`?"),
        ("max_replica.count: 5", "did you mean `max_replicas`?"),
        ("budget: {daily: 5 USD}", "has the parameter `amount`: the rule would never apply"),
        ("max_replicas: 5 USD", "has the parameter `currency`: the rule would never apply"),
    ] {
        let said = said(&format!("actions:\n  - {{name: kubernetes/scale, {rule}}}\n"));
        assert_eq!(said.len(), 1, "{rule}: {said:?}");
        assert!(said[0].starts_with("Error ") && said[0].ends_with(near), "{rule}: {said:?}");
    }
    for rule in ["max_amount: 5 USD", "daily_budget: 5 USD", "daily_budget: 5 requests", "allowed_currency.x: [a]"] {
        let entry = format!("actions:\n  - {{name: payments/transfer, {rule}}}\n");
        assert_eq!(said(&entry), [""; 0], "{rule}");
    }
}

#[test]
fn what_fits_is_silent() {
    for entry in [
        "{name: deploy, max_replicas: 50, allowed_image_digests: [\"sha256:DIGEST\"]}",
        "{name: \"*/*\", max_replicas: 50}",
        "{name: kubernetes/*, max_replicas: 50}",
        "{name: pay, max_replicas: 50}", // an action may have any parameter
        "{name: payments/transfer, max_amount: 50}",
        "{name: deploy, tools: [bank], max_replicass: 50}",
        "{name: http/request, max_port: 443}",
        "{name: kubernetes/unknown}",
    ] {
        let entry = entry.replace("DIGEST", &"a".repeat(64));
        assert_eq!(said(&format!("actions:\n  - {entry}\n")), [""; 0], "{entry}");
    }
}

#[test]
fn a_name_that_nothing_has_is_a_warning_with_the_nearest() {
    let warned = |name: &str| said(&format!("actions:\n  - {name}\n")).join(" ");
    assert_eq!(
        warned("name: deplyo"),
        "Warning p.yaml:3:5: actions[0].name: the catalogue has no action or class `deplyo`: only a function that an SDK \
         describes can be meant; did you mean `deploy`?"
    );
    assert!(warned("name: kubernetes/scael").ends_with("did you mean `kubernetes/scale`?"));
    assert!(warned("name: kubernets/scale").ends_with("did you mean `kubernetes/scale`?"));
    assert!(warned("{name: transfer, tools: [kubernetes]}").contains("no action or class `transfer`"));
    assert_eq!(warned("{name: settle, tools: [bank]}"), "");
}
