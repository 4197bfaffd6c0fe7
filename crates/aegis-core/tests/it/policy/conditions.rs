//! Random conditions about random calls: native, regorus, a real OPA and the `cel` crate's own interpreter.
//!
//! The first three must never differ. From CEL we differ on purpose, in what [`KNOWN`] lists and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aegis_core::policy::{Evaluation, Mode};
use cel::{Context, Program};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Question, arbitrary, both, cel as grammar, load, opa};

/// A call that every entry of [`grammar::policy`] is for.
fn question() -> impl Strategy<Value = Question> {
    arbitrary::question().prop_map(|mut question| {
        // What nobody described is matched by no glob.
        if ["unknown", "request", "connect"].contains(&question.call.action.as_str()) {
            question.call.action = "scale".to_owned();
        }
        question
    })
}

/// What an evaluation says of each entry's condition.
fn truths(evaluation: &Evaluation, entries: usize) -> Vec<Option<bool>> {
    let mut truths = vec![Some(false); entries];
    for finding in evaluation.findings.iter().filter(|finding| finding.rule == "approval_needed") {
        let truth = finding.entry.and_then(|entry| truths.get_mut(entry)).expect("an entry's finding");
        *truth = (finding.reason.as_str() == "approval_condition").then_some(true);
    }
    truths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn native_and_rego_agree_on_conditions(
        condition in grammar::condition(),
        zone in prop::sample::select(&grammar::ZONES),
        questions in prop::collection::vec(question(), 1..16),
    ) {
        let set = load(&grammar::policy(zone, &[condition]), Mode::Enforce);
        for question in questions {
            both(&set, question.asked());
        }
    }
}

#[test]
fn a_real_opa_agrees_on_conditions() {
    let Some(program) = opa::program() else { return };
    let mut runner = TestRunner::deterministic();
    for round in 0..6 {
        let conditions =
            (prop::collection::vec(grammar::condition(), 50), prop::collection::vec(grammar::pattern_condition(), 30));
        let (some, others) = conditions.new_tree(&mut runner).expect("conditions").current();
        let zone = grammar::ZONES[round % grammar::ZONES.len()];
        let texts = [some, others].concat();
        let set = load(&grammar::policy(zone, &texts), Mode::Enforce);
        let questions = prop::collection::vec(question(), 60).new_tree(&mut runner).expect("calls").current();
        let inputs: Vec<_> = questions.iter().map(|question| set.input(question.asked())).collect();
        let natives: Vec<Evaluation> = questions.iter().map(|question| both(&set, question.asked())).collect();
        for ((opa, native), input) in opa::ask(&program, &set, &inputs).into_iter().zip(natives).zip(&inputs) {
            let (native, opa) = (truths(&native, texts.len()), truths(&opa, texts.len()));
            for (text, (native, opa)) in texts.iter().zip(native.into_iter().zip(opa)) {
                assert_eq!(native, opa, "native (left) and OPA (right) differ about\n{text}\non {input}");
            }
        }
    }
}

/// The largest number that every JSON reader agrees on.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// Where we mean something else than CEL, and why.
struct Known {
    why: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

/// A condition that we and CEL answer differently.
struct Case<'a> {
    text: &'a str,
    input: &'a Value,
    ours: Option<bool>,
    theirs: Option<bool>,
}

const KNOWN: &[Known] = &[
    Known {
        why: "what is of two kinds is not compared, and a mapping's keys are text: unknown, where CEL says unequal",
        applies: |case| case.ours.is_none() && [" == ", " != ", " in "].iter().any(|test| case.text.contains(test)),
    },
    Known {
        why: "a number beyond 2^53 is unknown, because JSON readers don't agree on it; so is a product that gets there",
        applies: |case| case.ours.is_none() && (has_large(case.input) || case.text.contains("9007199254740991")),
    },
    Known {
        why: "\\d, \\w and \\s are ASCII, as in Go",
        applies: |case| {
            let classes = ["\\\\d", "\\\\w", "\\\\s"].iter().any(|class| case.text.contains(class));
            classes && case.theirs.is_some() && !(case.text.is_ascii() && case.input.to_string().is_ascii())
        },
    },
    Known {
        why: "true and false have no order: unknown",
        applies: |case| case.ours.is_none() && ["<", ">"].iter().any(|order| case.text.contains(order)),
    },
];

fn has_large(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|number| number.abs() > SAFE / 100.0),
        Value::Array(items) => items.iter().any(has_large),
        Value::Object(map) => map.values().any(has_large),
        _ => false,
    }
}

/// JSON has one kind of number; CEL has three, and adds and compares them as it was told them. Here whole ones are integers.
fn in_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() <= SAFE => cel::Value::Int(whole as i64),
            number => cel::Value::Float(number.expect("a number")),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(in_cel).collect())),
        Value::Object(map) => {
            let entries: HashMap<String, cel::Value> =
                map.iter().map(|(key, value)| (key.clone(), in_cel(value))).collect();
            cel::Value::Map(entries.into())
        }
    }
}

/// What CEL's own interpreter says.
fn asked_in_cel(program: &Program, input: &Value, freezes: &[&str], zone: &str) -> Option<bool> {
    let mut context = Context::default();
    let mut add = |name: &str, value: &Value| context.add_variable_from_value(name, in_cel(value));
    for name in ["env", "tool", "action", "params", "destination"] {
        add(name, &input[name]);
    }
    for (name, value) in input["params"].as_object().expect("parameters") {
        add(name, value);
    }
    let mut agent = input["agent"].clone();
    if let Some(parent) = input["agent"]["chain"].get(0) {
        agent["parent"] = parent.clone();
    }
    add("agent", &agent);
    add("chain", &input["agent"]["chain"]);
    let mut time = input["time"][zone].clone();
    time["freezes"] = json!(freezes);
    add("time", &time);
    let mut session = input["session"].clone();
    for counted in ["deploy", "kubernetes/scale"] {
        if session["count"].get(counted).is_none() {
            session["count"][counted] = json!(0);
        }
    }
    add("session", &session);
    match program.execute(&context) {
        Ok(cel::Value::Bool(truth)) => Some(truth),
        _ => None,
    }
}

/// The freezes that are on, told from their instants.
fn freezes_on(question: &Question, zone: &str) -> Vec<&'static str> {
    let in_zone = |date: &str| format!("{date}T00:00[{zone}]").parse::<jiff::Zoned>().expect("a time").timestamp();
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
    let spans = [
        ("year-end", in_zone("2026-12-20"), in_zone("2027-01-03")),
        ("long", at("2026-06-01T12:00:00Z"), at("2028-12-01T00:00:00+02:00")),
    ];
    spans
        .into_iter()
        .filter(|(_, from, until)| (*from..*until).contains(&question.now))
        .map(|(name, ..)| name)
        .collect()
}

#[test]
fn cel_agrees_but_for_what_is_known() {
    let mut runner = TestRunner::deterministic();
    let (mut agreed, mut known, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for round in 0..150 {
        let zone = grammar::ZONES[round % grammar::ZONES.len()];
        let texts = prop::collection::vec(grammar::condition(), 8).new_tree(&mut runner).expect("conditions").current();
        let set = load(&grammar::policy(zone, &texts), Mode::Enforce);
        for _ in 0..20 {
            let question = question().new_tree(&mut runner).expect("a call").current();
            let (input, freezes) = (set.input(question.asked()), freezes_on(&question, zone));
            let ours = truths(&set.evaluate(question.asked()), texts.len());
            for (text, ours) in texts.iter().zip(ours) {
                // A bare parameter in has() is our own: CEL's takes a member only.
                let program = Program::compile(&text.replace("has(flag)", "has(params.flag)")).expect("CEL");
                let theirs = asked_in_cel(&program, &input, &freezes, zone);
                let case = Case { text, input: &input, ours, theirs };
                match KNOWN.iter().find(|known| (known.applies)(&case)) {
                    _ if ours == theirs => *agreed.entry(ours).or_insert(0) += 1,
                    Some(row) => *known.entry(row.why).or_insert(0) += 1,
                    None => wrong.push(format!("{text}\n  ours {ours:?}, CEL {theirs:?} on {input}")),
                }
            }
        }
    }
    wrong.sort_by_key(String::len);
    let shown: String = wrong.iter().take(40).map(|line| format!("{line}\n")).collect();
    assert!(wrong.is_empty(), "{} differ, {agreed:?} agree, {known:?} are known:\n{shown}", wrong.len());
    assert!([Some(true), Some(false), None].iter().all(|truth| agreed.get(truth) > Some(&2_000)), "{agreed:?}");
}
