//! OPA's own v1 cases through our wrapper: each gives OPA's answer, or is refused when it is loaded; `conformance/rego/v1.txt`
//! says which. `./test` sets `AEGIS_CORPORA`, or says that these were not run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aegis_core::policy::{Program, Source};
use serde_json::{Value, json};

use super::opa;

#[derive(serde::Deserialize)]
struct Case {
    note: String,
    query: String,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    data: Value,
    input: Option<Value>,
    input_term: Option<String>,
    want_result: Option<Vec<BTreeMap<String, Value>>>,
    want_error: Option<String>,
    want_error_code: Option<String>,
    #[serde(default)]
    sort_bindings: bool,
}

/// What became of a case.
enum Outcome {
    Pass,
    Refused(String),
    Wrong(String),
}

fn cases() -> Option<Vec<Case>> {
    let Some(corpora) = std::env::var_os("AEGIS_CORPORA") else {
        #[expect(clippy::disallowed_macros, reason = "what a run leaves out is said aloud")]
        {
            println!("not run: AEGIS_CORPORA is not set");
        }
        return None;
    };
    let file = Path::new(&corpora).join("opa-rego-v1/opa_v1_cases.jsonl");
    let text = std::fs::read_to_string(file).expect("the cases");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect())
}

/// A query that only asks for a rule's value: the rule, and the variable that it is bound to.
fn rule(query: &str) -> Option<(&str, &str)> {
    let (path, variable) = query.trim().split_once(" = ")?;
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (path.starts_with("data.") && path.split('.').all(word) && word(variable)).then_some((path, variable))
}

impl Case {
    fn run(&self, opa: Option<&PathBuf>) -> Outcome {
        let Some((path, variable)) = rule(&self.query) else {
            return Outcome::Refused("the query is more than a rule's path".to_owned());
        };
        let input = match (&self.input, &self.input_term) {
            (Some(input), _) => input.clone(),
            (None, None) if self.needs_none() => return Outcome::Refused("a call always has an input".to_owned()),
            (None, None) => json!({}),
            (None, Some(term)) => match serde_json::from_str(term) {
                Ok(input) => input,
                Err(_) => return Outcome::Refused("the input is no JSON".to_owned()),
            },
        };
        let modules = self.modules.iter().enumerate();
        let modules: Vec<_> =
            modules.into_iter().map(|(at, text)| Source { file: format!("{at}.rego"), text: text.clone() }).collect();
        let data = if self.data.is_null() { json!({}) } else { self.data.clone() };
        let program = match Program::load(&modules, &data) {
            Ok(program) => program,
            Err(errors) => {
                let first = errors.first().expect("an error");
                return Outcome::Refused(first.message.clone());
            }
        };
        let found = program.ask(path, &input);
        self.judge(variable, found, || opa.map(|opa| self.ask(opa, path, &input)))
    }

    fn judge(
        &self,
        variable: &str,
        found: Result<Option<Value>, String>,
        opa: impl Fn() -> Option<Option<Value>>,
    ) -> Outcome {
        match found {
            Err(why) if why == "there is no such rule" => Outcome::Refused("the query names no rule".to_owned()),
            // Whether strict or not: nothing was answered, aloud.
            Err(_) if self.fails() => Outcome::Pass,
            Err(why) => Outcome::Wrong(format!("failed: {why}")),
            // OPA's cases fail strictly, OPA itself and we don't: what is it then?
            Ok(found) if self.fails() => match opa() {
                None => Outcome::Pass,
                Some(theirs) if theirs == found => Outcome::Pass,
                Some(theirs) => Outcome::Wrong(format!("found {found:?}, OPA {theirs:?}")),
            },
            Ok(found) => {
                let results = self.want_result.as_deref().unwrap_or_default();
                let wanted = results.first().map(|bindings| self.sorted(bindings[variable].clone()));
                let found = found.map(|found| self.sorted(found));
                if same(wanted.as_ref(), found.as_ref()) {
                    Outcome::Pass
                } else {
                    Outcome::Wrong(format!("found {found:?}, wanted {wanted:?}"))
                }
            }
        }
    }

    /// Whether the case is about an input that isn't there at all.
    fn needs_none(&self) -> bool {
        let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || ".[_".contains(c));
        self.modules.iter().any(|text| text.split("input").skip(1).any(whole))
    }

    fn fails(&self) -> bool {
        self.want_error.is_some() || self.want_error_code.is_some()
    }

    fn sorted(&self, value: Value) -> Value {
        match value {
            Value::Array(mut items) if self.sort_bindings => {
                items.sort_by_key(ToString::to_string);
                Value::Array(items)
            }
            value => value,
        }
    }

    /// What a real OPA answers; `None` where it refuses or fails.
    fn ask(&self, opa: &PathBuf, path: &str, input: &Value) -> Option<Value> {
        let folder = std::env::temp_dir().join(format!("aegis-rego-v1-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        for (at, text) in self.modules.iter().enumerate() {
            std::fs::write(folder.join(format!("{at}.rego")), text).expect("written");
        }
        std::fs::write(folder.join("data.json"), self.data.to_string().replace("null", "{}")).expect("written");
        std::fs::write(folder.join("input.json"), input.to_string()).expect("written");
        let output = std::process::Command::new(opa)
            .current_dir(&folder)
            .args(["eval", "--format", "json", "--input", "input.json", "--data", "data.json"])
            .args((0..self.modules.len()).flat_map(|at| ["--data".to_owned(), format!("{at}.rego")]))
            .arg(path)
            .output()
            .expect("opa runs");
        std::fs::remove_dir_all(&folder).expect("the folder goes");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        answer["result"][0]["expressions"][0].get("value").cloned()
    }
}

/// Equal, numbers by their value.
pub(super) fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a == b || a.as_f64() == b.as_f64(),
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.len() == b.len() && a.iter().all(|(key, a)| same(Some(a), b.get(key)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn opa_s_cases_pass_or_are_refused() {
    let Some(cases) = cases() else { return };
    let opa = opa::program();
    let (mut frozen, mut wrong, mut passed) = (String::new(), String::new(), 0);
    for case in &cases {
        let said = match case.run(opa.as_ref()) {
            Outcome::Pass => {
                passed += 1;
                "pass".to_owned()
            }
            Outcome::Refused(why) => format!("refused: {why}"),
            Outcome::Wrong(why) => {
                let _ = writeln!(wrong, "{}: {why}", case.note);
                "wrong".to_owned()
            }
        };
        let _ = writeln!(frozen, "{}: {said}", case.note.replace('\n', " "));
    }
    assert!(wrong.is_empty(), "neither OPA's answer nor refused, beside {passed} that pass:\n{wrong}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/rego/v1.txt");
    if std::env::var_os("AEGIS_FREEZE").is_some() {
        std::fs::write(&file, &frozen).expect("written");
    }
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let changed: Vec<_> = frozen.lines().zip(before.lines()).filter(|(now, before)| now != before).take(20).collect();
    assert!(frozen == before, "{} is to be frozen again (AEGIS_FREEZE=1): {changed:#?}", file.display());
}
