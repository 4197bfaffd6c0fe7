//! Random custom modules, from the forms that a module may have: natively, as Rego in this process, and by a real OPA they say
//! the same of every call, or a module fails aloud here.

use std::fmt::Write as _;

use aegis_core::agent::Agent;
use aegis_core::policy::{Asked, Evaluation, Finding, Mode, Reason};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Call, load_with, opa};

const PATHS: [&str; 9] = [
    "input.params.replicas",
    "input.params.name",
    "input.params.list",
    "input.params.map",
    "input.params.map.a",
    "input.params.nothing",
    "input.env",
    "input.agent.groups",
    "input.params.list[0]",
];
const COLLECTIONS: [&str; 4] = ["input.params.list", "input.params.map", "input.agent.groups", "input.params.nothing"];
const LITERALS: [&str; 10] = ["1", "0", "50", "2.5", "\"a\"", "\"prod-web\"", "true", "null", "[\"a\"]", "{}"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// A writer of bodies: choices come from the runner, variables are counted.
struct Writer<'a> {
    runner: &'a mut TestRunner,
    /// Those of any type.
    bound: Vec<String>,
    /// Those whose type OPA knows: it refuses some uses of them.
    typed: Vec<String>,
    count: usize,
}

impl Writer<'_> {
    fn below(&mut self, n: usize) -> usize {
        any::<Index>().new_tree(self.runner).expect("a choice").current().index(n)
    }

    fn one(&mut self, of: &'static [&'static str]) -> &'static str {
        select(of).new_tree(self.runner).expect("a choice").current()
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn variable(&mut self) -> String {
        let at = self.below(self.bound.len());
        self.bound[at].clone()
    }

    fn any_variable(&mut self) -> String {
        let at = self.below(self.bound.len() + self.typed.len());
        self.bound.iter().chain(&self.typed).nth(at).expect("a variable").clone()
    }

    /// Of no type that OPA knows.
    fn untyped(&mut self) -> String {
        if self.below(3) == 0 { self.variable() } else { self.one(&PATHS).to_owned() }
    }

    /// What may be undefined.
    fn operand(&mut self) -> String {
        match self.below(4) {
            0 => self.any_variable(),
            1 => self.one(&LITERALS).to_owned(),
            _ => self.one(&PATHS).to_owned(),
        }
    }

    fn call(&mut self) -> String {
        let (x, y) = (self.untyped(), self.operand());
        match self.below(12) {
            0 => format!("lower({x})"),
            1 => format!("count({x})"),
            2 => format!("floor({x})"),
            3 => format!("object.get({x}, \"a\", {y})"),
            4 => format!("split({x}, \"-\")"),
            5 => format!("concat(\"-\", {x})"),
            6 => format!("label({x})"),
            7 => format!("sort({x})"),
            8 => format!("substring({x}, 0, 2)"),
            9 => format!("trim_prefix({x}, \"prod-\")"),
            10 => format!("type_name({x})"),
            _ => format!("sprintf(\"%v/%v\", [{x}, {y}])"),
        }
    }

    fn statement(&mut self) -> String {
        match self.below(16) {
            0 | 1 => {
                let (value, name) = (self.untyped(), self.fresh());
                self.bound.push(name.clone());
                format!("{name} := {value}")
            }
            2 | 3 => {
                let (value, name) = (self.call(), self.fresh());
                self.typed.push(name.clone());
                format!("{name} := {value}")
            }
            4 | 5 => {
                let (list, name) = (self.one(&COLLECTIONS), self.fresh());
                self.bound.push(name.clone());
                format!("some {name} in {list}")
            }
            6 => {
                let (list, key, value) = (self.one(&COLLECTIONS), self.fresh(), self.fresh());
                self.bound.extend([key.clone(), value.clone()]);
                format!("some {key}, {value} in {list}")
            }
            7 => {
                let (list, name) = (self.one(&COLLECTIONS), self.fresh());
                self.bound.push(name.clone());
                format!("{name} := {list}[_]")
            }
            8 => format!("not {} == {}", self.one(&PATHS), self.one(&LITERALS)),
            9 => {
                format!("not {}", self.one(&["helper", "input.params.flag", "input.params.map.a", "other", "named.a"]))
            }
            10 => {
                let (x, kind) = (self.variable(), self.below(4));
                match kind {
                    0 => format!("not startswith({x}, \"prod\")"),
                    1 => format!("not {x} in [1, \"a\", null]"),
                    2 => format!("not {x} > 3"),
                    _ => format!("not label({x})"),
                }
            }
            11 => {
                let (list, literal) = (self.one(&COLLECTIONS), self.one(&LITERALS));
                let comparison = self.one(&COMPARISONS);
                format!("every e{0} in {list} {{ e{0} {comparison} {literal} }}", self.count)
            }
            12 => {
                let (list, literal, name) = (self.one(&COLLECTIONS), self.one(&LITERALS), self.fresh());
                let comparison = self.one(&COMPARISONS);
                format!("count([{name} | some {name} in {list}; {name} {comparison} {literal}]) > 0")
            }
            13 => {
                let (x, name) = (self.untyped(), self.fresh());
                let form = self.one(&["+ 1 > 3", "* 2 < 60", "% 2 == 0", "- 5 >= 0"]);
                format!("{name} := floor({x})\n\t{name} {form}")
            }
            14 => format!(
                "{} in {}",
                self.untyped(),
                self.one(&["names", "input.params.list", "input.agent.groups", "[1, \"a\"]"])
            ),
            _ => {
                let (left, right) = (self.one(&PATHS), self.operand());
                format!("{left} {} {right}", self.one(&COMPARISONS))
            }
        }
    }

    fn body(&mut self, statements: usize) -> String {
        (0..statements).fold(String::new(), |mut body, _| {
            let _ = write!(body, "\n\t{}", self.statement());
            body
        })
    }
}

/// A module of two rules and the helpers that they use.
fn module(runner: &mut TestRunner, name: &str) -> String {
    let mut writer = Writer { runner, bound: vec!["start".to_owned()], typed: Vec::new(), count: 0 };
    let start = "\n\tstart := input.tool";
    let mut text = format!("package aegis.rules.{name}\n\nmode := \"shadow\"\n");
    for rule in ["deny", "approval_needed"] {
        let length = 1 + writer.below(4);
        let body = writer.body(length);
        let last = writer.any_variable();
        let form = writer.one(&["%v", "said %v", "%v: no"]);
        let _ = write!(text, "\n{rule} contains msg if {{{start}{body}\n\tmsg := sprintf(\"{form}\", [{last}])\n}}\n");
        writer.bound.truncate(1);
        writer.typed.clear();
    }
    let helper = writer.body(2);
    writer.bound.truncate(1);
    let other = writer.one(&PATHS);
    let (least, literal) = (writer.one(&["0", "3", "\"b\""]), writer.one(&LITERALS));
    text.replace("{{", "{")
        + &format!(
            "\nhelper if {{{start}{}\n}}\n\nother if {other} == {literal}\n\nlabel(x) := \"big\" if x > {least}\n\n\
             label(x) := \"small\" if x <= {least}\n\nnames contains x if some x in input.params.list\n\n\
             named[key] := value if some key, value in input.params.map\n",
            helper
                .lines()
                .filter(|line| !line.contains("helper"))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
                .trim_end(),
        )
}

fn calls(runner: &mut TestRunner, count: usize) -> Vec<Call> {
    let leaf = || {
        prop_oneof![
            Just(json!(1)),
            Just(json!(50)),
            Just(json!(2.5)),
            Just(json!("a")),
            Just(json!("prod-web")),
            Just(json!("Ab-é")),
            Just(json!(true)),
            Just(json!(null)),
        ]
    };
    let list = prop_oneof![4 => prop::collection::vec(leaf(), 0..4).prop_map(Value::from), 1 => leaf()];
    let map = prop_oneof![
        4 => prop::collection::btree_map(select(vec!["a", "b"]).prop_map(str::to_owned), leaf(), 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        1 => leaf(),
    ];
    let some = |strategy: BoxedStrategy<Value>| prop::option::weighted(0.85, strategy);
    let params =
        (some(leaf().boxed()), some(leaf().boxed()), some(list.boxed()), some(map.boxed()), some(leaf().boxed()));
    let call = params.prop_map(|(replicas, name, list, map, flag)| {
        let params = [("replicas", replicas), ("name", name), ("list", list), ("map", map), ("flag", flag)];
        let params: serde_json::Map<_, _> =
            params.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        serde_json::from_value(json!({"action": "x", "params": params})).expect("a call")
    });
    prop::collection::vec(call, count).new_tree(runner).expect("calls").current()
}

/// The findings of modules, without those that failed here.
fn heard(evaluation: &Evaluation, failed: &[String]) -> Vec<Finding> {
    let findings = evaluation.findings.iter().filter(|finding| !failed.contains(&finding.policy));
    findings.cloned().collect()
}

#[test]
fn random_modules_say_the_same_everywhere() {
    let Some(program) = opa::program() else { return };
    let mut runner = TestRunner::deterministic();
    let (mut said, mut silent, mut aloud) = (0, 0, 0);
    for _ in 0..12 {
        let modules: Vec<String> = (0..25).map(|at| module(&mut runner, &format!("m{at}"))).collect();
        let set = load_with("agent: a\nactions: [{name: \"*/*\"}]\n", &modules, Mode::Enforce);
        let agent = Agent { groups: vec!["a".to_owned(), "sre".to_owned()], ..Agent::named("a") };
        let calls: Vec<_> = calls(&mut runner, 25).iter().map(Call::describe).collect();
        let asked: Vec<_> = calls.iter().map(|call| Asked::of(&agent, call)).collect();
        let inputs: Vec<Value> = asked.iter().map(|asked| set.input(*asked)).collect();
        let theirs = opa::ask(&program, &set, &inputs);
        for ((asked, input), theirs) in asked.into_iter().zip(&inputs).zip(&theirs) {
            let ours = set.evaluate(asked);
            let failures = ours.findings.iter().filter(|finding| finding.reason == Reason::EngineFailed);
            let failed: Vec<String> = failures.map(|finding| finding.policy.clone()).collect();
            assert!(
                ours.failures.len() >= failed.len() && ours.findings.iter().all(|finding| finding.mode == Mode::Shadow)
            );
            aloud += failed.len();
            let (one, other) = (heard(&ours, &failed), heard(theirs, &failed));
            if one != other {
                let which =
                    one.iter().chain(&other).find(|finding| !(one.contains(finding) && other.contains(finding)));
                let which = which.expect("one of them");
                let at: usize = which.policy.trim_start_matches("rego:m").parse().expect("a module");
                panic!("{which:?} is only said by one, of {input}, in\n{}", modules[at]);
            }
            said += one.len();
            silent += 25 - failed.len();
            if failed.is_empty() {
                let rego = set.evaluate_with(aegis_core::policy::Engine::Rego, asked);
                assert_eq!(ours, rego, "native (left) and Rego (right) differ on {input}");
            }
        }
    }
    assert!(said > 1000 && silent > 5000 && aloud * 5 < silent, "{said} said, {silent} asked, {aloud} failed aloud");
}
