//! `docs/policy-rego.md`: its module loads and says what the page says that it does; its built-ins are those that there are.

use std::collections::BTreeSet;
use std::path::Path;

use aegis_core::agent::Agent;
use aegis_core::policy::{Asked, FindingEffect, Mode};
use serde_json::{Value, json};

use super::{Call, builtins, load_with, opa};

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy-rego.md");
    std::fs::read_to_string(file).expect("the page")
}

fn block(page: &str) -> String {
    let (_, rest) = page.split_once("```rego\n").expect("a module");
    rest.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_module_of_the_guide_says_what_it_says() {
    let set = load_with("agent: a\nactions: [{name: \"*/*\"}]\n", &[block(&page())], Mode::Enforce);
    let agent = Agent::named("a");
    let mut inputs = Vec::new();
    let mut said = |params: Value| {
        let call: Call = serde_json::from_value(json!({"action": "x", "params": params})).expect("a call");
        let call = call.describe();
        let asked = Asked::of(&agent, &call);
        let evaluation = set.evaluate(asked);
        inputs.push((set.input(asked), evaluation.clone()));
        evaluation
            .findings
            .iter()
            .map(|finding| (finding.effect, set.violation(finding, asked).message))
            .collect::<Vec<_>>()
    };
    assert_eq!(said(json!({"regions": ["eu", "us"], "replicas": 10, "current_replicas": 5})), []);
    let twice = r#"["eu", "eu"] names a region twice"#.to_owned();
    assert_eq!(said(json!({"regions": ["eu", "eu"]})), [(FindingEffect::Deny, twice)]);
    let more = "11 replicas are more than twice the 5 that run".to_owned();
    assert_eq!(said(json!({"replicas": 11, "current_replicas": 5})), [(FindingEffect::Ask, more)]);
    let Some(program) = opa::program() else { return };
    let (inputs, ours): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
    assert_eq!(opa::ask(&program, &set, &inputs), ours);
}

#[test]
fn the_guide_lists_the_built_ins_that_there_are() {
    let page = page();
    let list = page.split("`abs`").nth(1).and_then(|rest| rest.split("OPA also checks").next()).expect("the list");
    let mut listed: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    listed.insert("abs");
    let mut tested: BTreeSet<&str> = builtins::BUILTINS.iter().map(|(name, _)| *name).collect();
    tested.insert("regex.match");
    assert_eq!(listed, tested);
}
