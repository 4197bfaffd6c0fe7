//! Every built-in that a custom module may call, with arguments of every kind, against a real OPA: the same value, the same
//! undefined, or a failure that says so. Never another value, and never undefined where OPA has one.

use std::path::PathBuf;

use aegis_core::policy::{Program, Source};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{opa, rego_v1::same};

pub(super) const BUILTINS: [(&str, usize); 51] = [
    ("abs", 1),
    ("array.concat", 2),
    ("array.reverse", 1),
    ("array.slice", 3),
    ("ceil", 1),
    ("concat", 2),
    ("contains", 2),
    ("count", 1),
    ("endswith", 2),
    ("floor", 1),
    ("format_int", 2),
    ("indexof", 2),
    ("intersection", 1),
    ("is_array", 1),
    ("is_boolean", 1),
    ("is_null", 1),
    ("is_number", 1),
    ("is_object", 1),
    ("is_set", 1),
    ("is_string", 1),
    ("lower", 1),
    ("max", 1),
    ("min", 1),
    ("object.filter", 2),
    ("object.get", 3),
    ("object.keys", 1),
    ("object.remove", 2),
    ("object.union", 2),
    ("object.union_n", 1),
    ("replace", 3),
    ("round", 1),
    ("sort", 1),
    ("split", 2),
    ("startswith", 2),
    ("strings.any_prefix_match", 2),
    ("strings.any_suffix_match", 2),
    ("strings.reverse", 1),
    ("substring", 3),
    ("sum", 1),
    ("to_number", 1),
    ("trim", 2),
    ("trim_left", 2),
    ("trim_prefix", 2),
    ("trim_right", 2),
    ("trim_space", 1),
    ("trim_suffix", 2),
    ("type_name", 1),
    ("union", 1),
    ("units.parse_bytes", 1),
    ("upper", 1),
    ("sprintf", 1),
];

/// Values that calls may hold, odd ones among them.
fn pool() -> Vec<Value> {
    let mut pool = vec![
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!([1, 2, 3]),
        json!([3, -1, 2]),
        json!([0.5, 0.25]),
        json!(["a", "b"]),
        json!(["b", "a", "b"]),
        json!(["a", 1]),
        json!([[1], [2]]),
        json!([{"a": 1}, {"b": {"c": 2}}, {"b": {"d": 3}}]),
        json!({}),
        json!({"a": 1}),
        json!({"a": {"b": [1]}, "c": null}),
        json!({"b": "x"}),
    ];
    // A call has whole numbers as such: `PolicySet::input` sees to that.
    let numbers = [2.5, -2.5, 0.1, 1e-7, 1e21, 1e300, -1e300, 123_456_789.125, 100_000.5, 1_000_000.5];
    pool.extend(numbers.map(Value::from));
    pool.extend([0_i64, 1, 2, 3, 10, 16, -1, -2, 255, 1 << 53, i64::MAX, i64::MIN].map(Value::from));
    let texts = [
        "",
        "a",
        "b",
        "ab",
        "abc",
        "abcabc",
        "aaa",
        "A b",
        "😀é",
        "é",
        "ß",
        "İ",
        "ΑΣ",
        "ŉ",
        " x ",
        "\u{a0}x\u{2003}",
        "a,b",
        "a.b",
        "10",
        "-0",
        "01",
        "0",
        "1.5",
        "1e3",
        ".5",
        "5.",
        "+1",
        "Infinity",
        "nan",
        "0x1F",
        " 1 ",
        "1_0",
        "10Gi",
        "1.5MB",
        "0.1Ei",
        "13.317MiB",
        "512",
        "1E",
        "b",
        "\"1K\"",
        "a\nb",
        "a\"b\\",
        "\u{7f}",
    ];
    pool.extend(texts.map(Value::from));
    pool
}

fn rules() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let (values, mut rules) = (pool(), Vec::new());
    let pool = values.len();
    let mut pick = |kinds: &'static [&'static str]| {
        let (at, form) = (any::<Index>(), select(kinds)).new_tree(&mut runner).expect("an argument").current();
        form.replace('#', &at.index(pool).to_string())
    };
    for (name, arguments) in BUILTINS {
        if name == "sprintf" {
            for verb in ["%s", "%v", "%d", "%s and %v", "%d%%"] {
                for _ in 0..pool {
                    let items: Vec<String> = (0..verb.matches(['s', 'v', 'd']).count().min(verb.matches('%').count()))
                        .map(|_| pick(&["input.pool[#]"]))
                        .collect();
                    let items = &items[..if verb == "%s and %v" { 2 } else { 1 }];
                    rules.push(format!("sprintf(\"{verb}\", [{}])", items.join(", ")));
                }
            }
            continue;
        }
        for _ in 0..if arguments == 1 { pool } else { 2 * pool } {
            let items: Vec<String> = (0..arguments).map(|_| pick(&["input.pool[#]"])).collect();
            rules.push(format!("{name}({})", items.join(", ")));
        }
    }
    // Of these OPA makes numbers that aren't JSON, and can't print them.
    let unprintable = ["01", ".5", "5.", "+1", "1_0", "0x1F"].map(Value::from);
    let unprintable = values
        .iter()
        .enumerate()
        .filter(|(_, value)| unprintable.contains(value))
        .map(|(at, _)| format!("to_number(input.pool[{at}])"))
        .collect::<Vec<_>>();
    rules.retain(|rule| !unprintable.contains(rule));
    rules
}

/// What OPA says of every rule: one answer for each, `null` in a list where undefined.
fn ask(opa: &PathBuf, modules: &[Source], input: &Value, packages: usize) -> Vec<Value> {
    let folder = std::env::temp_dir().join(format!("aegis-builtins-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    for module in modules {
        std::fs::write(folder.join(&module.file), &module.text).expect("written");
    }
    std::fs::write(folder.join("input.json"), input.to_string()).expect("written");
    let output = std::process::Command::new(opa)
        .current_dir(&folder)
        .args(["eval", "--format", "json", "--input", "input.json"])
        .args(modules.iter().flat_map(|module| ["--data", module.file.as_str()]))
        .arg("data.t")
        .output()
        .expect("opa runs");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = &answer["result"][0]["expressions"][0]["value"];
    (0..packages).map(|at| found[format!("p{at}")].clone()).collect()
}

#[test]
fn built_ins_answer_as_opa_s() {
    let Some(opa) = opa::program() else { return };
    let input = json!({ "pool": pool() });
    let rules = rules();
    let modules: Vec<Source> = rules
        .chunks(400)
        .enumerate()
        .map(|(at, rules)| {
            let rules = rules.iter().enumerate().map(|(n, rule)| format!("r{n} := {rule}\n")).collect::<String>();
            Source { file: format!("{at}.rego"), text: format!("package t.p{at}\n\n{rules}") }
        })
        .collect();
    let theirs = ask(&opa, &modules, &input, modules.len());
    let program = Program::load(&modules, &json!({})).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let (mut wrong, mut failed, mut answered) = (Vec::new(), 0, 0);
    for (at, rule) in rules.iter().enumerate() {
        let (package, n) = (at / 400, at % 400);
        let opa = theirs[package].get(format!("r{n}"));
        match program.ask(&format!("data.t.p{package}.r{n}"), &input) {
            Err(why) if why.ends_with("a built-in was given what engines answer differently") => failed += 1,
            Ok(ours) if same(ours.as_ref(), opa) => answered += usize::from(opa.is_some()),
            ours => wrong.push(format!("{rule}: {ours:?}, OPA {opa:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        rules.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    assert!(
        answered > 1000 && failed * 10 < rules.len(),
        "{answered} answered, {failed} failed aloud of {}",
        rules.len()
    );
}
