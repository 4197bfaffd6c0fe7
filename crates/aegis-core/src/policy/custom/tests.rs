use serde_json::{Value, json};

use crate::agent::Agent;
use crate::call::tests::scale;
use crate::decide::{Decision, Facts, Verdict, decide};
use crate::policy::*;

/// A grant for everything, and one module.
fn load(module: &str) -> Result<PolicySet, Vec<String>> {
    let yaml = Source { file: "p.yaml".to_owned(), text: "agent: a\nactions: [{name: \"*/*\"}]\n".to_owned() };
    let rego = Source { file: "m.rego".to_owned(), text: module.to_owned() };
    PolicySet::load(&[yaml, rego], Options::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn module(rules: &str) -> Result<PolicySet, Vec<String>> {
    load(&format!("package aegis.rules.m\n\n{rules}\n"))
}

fn refused(rules: &str) -> String {
    match module(rules) {
        Ok(_) => panic!("accepted: {rules}"),
        Err(errors) => errors.join("\n"),
    }
}

fn evaluate(set: &PolicySet, params: Value) -> Evaluation {
    let Value::Object(params) = params else { panic!("parameters") };
    let mut call = scale("staging", json!(1));
    call.params = params;
    set.evaluate(Asked::of(&Agent::named("a"), &call))
}

fn facts() -> Facts<'static> {
    Facts { cross_check: true, ..Facts::new(Timestamp::UNIX_EPOCH, "dec_1", "pol_x") }
}

/// Asserts with what was said instead.
#[track_caller]
fn says(errors: &str, part: &str) {
    assert!(errors.contains(part), "{part:?} is not in {errors}");
}

#[test]
fn a_module_has_one_package_and_says_something() {
    for bad in
        ["package aegis.gate", "package aegis.rules", "package aegis.rules.a.b", "package x", "package aegis.rules.No"]
    {
        let errors = load(&format!("{bad}\n\ndeny contains \"x\" if true\n")).expect_err(bad).join("\n");
        assert!(errors.contains("m.rego:1:1: a module's package is `aegis.rules.`"), "{bad}: {errors}");
    }
    says(&refused("helper := 1"), "m.rego:1:1: the module has neither `deny` nor `approval_needed`");
    says(&refused("deny := \"x\""), "m.rego:3:1: \"deny\" is a set of messages; write `deny contains msg if …`");
    says(&refused("deny if true"), "is a set of messages");
    says(&refused("deny contains \"x\" if true\n\nmode := \"observe\""), "m.rego:5:1: the module's mode");
    says(&refused("deny contains \"x\" if true\n\nmode := \"shadow\" if input.x"), "the module's mode");
    let twice =
        Source { file: "n.rego".to_owned(), text: "package aegis.rules.m\ndeny contains \"x\" if true".to_owned() };
    let first = Source { file: "m.rego".to_owned(), ..twice.clone() };
    let errors = PolicySet::load(&[first, twice], Options::default()).expect_err("two of one name");
    assert!(errors[0].to_string().contains("\"m\" is already the name of a module, in"), "{errors:?}");
}

#[test]
fn what_reaches_beyond_the_module_is_refused() {
    let deny = |body: &str| refused(&format!("deny contains \"x\" if {{\n\t{body}\n}}"));
    says(&deny("data.aegis_tables.mode == \"shadow\""), "m.rego:4:2: a module sees `input` and its own rules");
    says(&deny("x := data[input.a]"), "not `data`");
    let import =
        load("package aegis.rules.m\nimport data.aegis.gate\ndeny contains \"x\" if gate.matched").expect_err("import");
    assert!(import[0].contains("m.rego:2:1: `import data.aegis.gate` is not open"), "{import:?}");
    for call in [
        "http.send({})",
        "opa.runtime()",
        "time.now_ns() > 1",
        "rand.intn(\"a\", 2) == 1",
        "net.lookup_ip_addr(\"a\")",
        "print(\"a\")",
        "trace(\"a\")",
        "walk(input)",
        "numbers.range(1, 1000000000)",
        "unknown(1)",
    ] {
        assert!(deny(call).contains("m.rego:4:2: there is no function"), "{call}");
    }
}

#[test]
fn what_engines_answer_differently_is_refused_with_what_to_write() {
    let deny = |body: &str| refused(&format!("deny contains \"x\" if {{\n\t{body}\n}}"));
    says(&deny("not startswith(input.params.x, \"a\")"), "m.rego:4:6: under `not`, engines differ");
    says(&deny("not input.params.x in [1]"), "under `not`");
    says(&deny("input.params.x / 2 > 1"), "m.rego:4:2: arithmetic is for whole numbers");
    says(&deny("x := floor(input.params.x)\n\ty := floor(input.params.y)\n\tx * y > 1"), "may be too large");
    says(&deny("regex.match(\"\\\\d\", input.tool)"), "mean ASCII to OPA");
    says(&deny("regex.match(input.a, input.tool)"), "a pattern is a text");
    says(&deny("x := sprintf(\"%5d\", [1])"), "the verb \"%5\"");
    says(&deny("x := sprintf(\"%d %d\", [1])"), "2 verbs, and there are 1 arguments");
    says(&deny("x := 1 with input as {}"), "`with` is for tests");
    says(&deny("count := 1"), "hides a rule or a built-in");
    says(&deny("count(input.x, n)"), "count takes 1 arguments, not 2; write `x := count(…)`");
    says(&deny("input.x == 1e400"), "m.rego:4:");
    says(&refused("deny contains input.x if true"), "bind it to a variable in the body first");
    says(&refused("deny contains sprintf(\"%s\", [input.x]) if true"), "m.rego:3:15: what a set `contains`");
    says(&refused("deny contains \"x\" if a\na if b\nb if a"), "m.rego:4:1: \"a\" needs itself");
    says(&refused("deny contains \"x\" if f(1)\nf(x) if f(x)"), "needs itself");
    says(&refused("deny contains \"x\" if {"), "m.rego:");
    says(&refused("deny contains \"x\" if y > 1"), "can't be evaluated");
    assert!(
        load(&format!("package aegis.rules.m\n#{}", "x".repeat(65 << 10))).expect_err("large")[0].contains("64 KiB")
    );
}

#[test]
fn a_yaml_policy_cannot_take_a_module_s_name() {
    let source = Source { file: "p.yaml".to_owned(), text: "agent: a\nname: \"rego:m\"\n".to_owned() };
    let errors = PolicySet::load(&[source], Options::default()).expect_err("refused");
    assert!(errors[0].to_string().contains("belong to custom modules"), "{errors:?}");
}

#[test]
fn an_expensive_rule_is_cut_off_and_the_call_denied() {
    let expensive = "deny contains \"x\" if {\n\tsome a in input.params.x\n\tsome b in input.params.x\n\tsome c in input.params.x\n\t\
                     some d in input.params.x\n\ta + b + c + d == -1\n}\n";
    let expensive = expensive.replace("a + b + c + d == -1", "[a, b, c, d] == [0, 0, 0, 0]");
    let set = module(&expensive).expect("loads");
    let many: Vec<u32> = (1..500).collect();
    let found = evaluate(&set, json!({ "x": many }));
    let [finding] = found.findings.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.policy.as_str(), finding.rule.as_str()), ("rego:m", "engine"));
    assert_eq!(
        (finding.reason, finding.effect, finding.mode),
        (Reason::EngineFailed, FindingEffect::Deny, Mode::Enforce)
    );
    assert_eq!(found.failures, ["rego:m: the evaluation took longer than 100 ms"]);
    assert!(evaluate(&set, json!({ "x": [1] })).findings.is_empty(), "the next call is judged as ever");
}

#[test]
fn a_failing_shadow_module_is_only_observed_and_says_why() {
    let set = module("mode := \"shadow\"\n\ndeny contains \"x\" if some x in input.params.list").expect("loads");
    let mut call = scale("staging", json!(1));
    call.params.insert("list".to_owned(), json!("hunter2"));
    let decision = decide(&set, &Agent::named("a"), call, &facts());
    let Decision::Observe(observed) = decision else { panic!("{decision:?}") };
    let explanation = observed.explanation();
    assert_eq!((explanation.decision, explanation.would_decision), (Verdict::Allow, Some(Verdict::Deny)));
    let [why] = explanation.engine_failures.as_slice() else { panic!("{explanation:?}") };
    assert!(why.starts_with("rego:m: m.rego:5:"), "{why}");
    assert!(!serde_json::to_string(explanation).expect("json").contains("hunter2"), "a value of the call got out");
}

#[test]
fn words_are_cut_and_escaped() {
    let set = module("deny contains msg if msg := input.params.say").expect("loads");
    let say = |text: &str| {
        let mut call = scale("staging", json!(1));
        call.params.insert("say".to_owned(), json!(text));
        let agent = Agent::named("a");
        let asked = Asked::of(&agent, &call);
        let evaluation = set.evaluate(asked);
        set.violation(&evaluation.findings[0], asked)
    };
    let violation = say("line\nnext \u{202e}txet\u{1b}[31m");
    assert_eq!(violation.message, "line\\u{a}next \\u{202e}txet\\u{1b}[31m");
    assert_eq!(
        (violation.rule.as_str(), violation.policy.as_str(), violation.reason.as_str()),
        ("deny", "rego:m", "rego")
    );
    assert_eq!(say(&"é".repeat(400)).message, format!("{}…", "é".repeat(300)));
}

#[test]
fn what_doubles_ends_at_a_limit() {
    let mut rules = String::from("deny contains x if {\n\tx0 := input.params.seed\n");
    for n in 1..40 {
        rules.push_str(&format!("\tx{n} := concat(\"\", [x{0}, x{0}])\n", n - 1));
    }
    rules.push_str("\tx := x39\n}");
    let set = module(&rules).expect("loads");
    let found = evaluate(&set, json!({ "seed": "0123456789" }));
    assert_eq!(found.findings[0].reason, Reason::EngineFailed);
    assert!(found.failures[0].contains("what engines answer differently"), "{found:?}");
}

#[test]
fn an_operator_switches_a_module_as_any_policy() {
    let yaml = Source { file: "p.yaml".to_owned(), text: "agent: a\nactions: [{name: \"*/*\"}]\n".to_owned() };
    let text = "package aegis.rules.m\ndeny contains \"x\" if input.tool".to_owned();
    let rego = Source { file: "m.rego".to_owned(), text };
    let modes = BTreeMap::from([("rego:m".to_owned(), Mode::Shadow)]);
    let set = PolicySet::load(&[yaml, rego], Options { modes, ..Options::default() }).expect("loads");
    assert_eq!(set.ids().collect::<Vec<_>>(), ["a", "rego:m"]);
    assert_eq!(evaluate(&set, json!({})).findings[0].mode, Mode::Shadow);
    let (agent, call) = (Agent::named("a"), scale("staging", json!(1)));
    assert_eq!(set.observing(Asked::of(&agent, &call)), ["rego:m"]);
}

#[test]
fn only_what_is_written_out_is_remembered() {
    let set = module(
        "deny contains \"x\" if input.session.count[\"deploy\"] > 3\n\ndeny contains \"y\" if \"secret\" in input.session.labels",
    )
    .expect("loads");
    assert!(set.uses_sessions());
    let agent = Agent::named("a");
    let call = scale("staging", json!(1));
    let session = Session { counts: [("deploy".to_owned(), 4)].into(), labels: ["secret".to_owned()].into() };
    let asked = Asked { session: &session, ..Asked::of(&agent, &call) };
    assert_eq!(set.evaluate(asked).findings.len(), 2);
    assert!(set.evaluate(Asked::of(&agent, &call)).findings.is_empty());
    assert!(!module("deny contains \"x\" if input.tool").expect("loads").uses_sessions());
    says(&refused("deny contains \"x\" if { some n in input.session.count; n > 3 }"), "only what is written out");
    says(&refused("deny contains \"x\" if input.session.count[input.action] > 3"), "only what is written out");
    says(&refused("deny contains \"x\" if { s := input.session; s.labels }"), "only what is written out");
}
