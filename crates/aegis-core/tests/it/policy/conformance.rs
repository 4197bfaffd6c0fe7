//! `conformance/policy/*.yaml` and `conformance/rego/*.yaml`: policies, calls, and what is to be found, through every engine.

use std::path::Path;

use aegis_core::agent::Agent;
use aegis_core::document::parse;
use aegis_core::policy::{Evaluation, Mode, Options, PolicySet};
use aegis_core::session::Session;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Question, agent, both, load_with, opa};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The gateway's mode.
    #[serde(default)]
    mode: Mode,
    /// The policies, as an operator would write them.
    policies: String,
    /// Custom modules beside them.
    #[serde(default)]
    modules: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    agent: String,
    #[serde(default)]
    groups: Vec<String>,
    /// Who called the agent, nearest first.
    #[serde(default)]
    chain: Vec<String>,
    /// When; RFC 3339.
    #[serde(default)]
    now: Timestamp,
    /// What the agent has done before.
    #[serde(default)]
    session: Session,
    call: Call,
    #[serde(default)]
    matched: Vec<String>,
    /// Each as `[policy, entry, rule, reason, effect, mode]`; of custom modules also `message, param`.
    #[serde(default)]
    findings: Vec<Vec<Value>>,
}

impl Case {
    fn question(&self) -> Question {
        let agent = Agent { chain: self.chain.clone(), ..agent(&self.agent, &self.groups) };
        Question { agent, call: self.call.describe(), now: self.now, session: self.session.clone() }
    }

    fn expected(&self) -> Evaluation {
        let findings = self.findings.iter().map(|said| {
            let [policy, entry, rule, reason, effect, mode, words @ ..] = said.as_slice() else { panic!("{}", self.case) };
            let said = match words {
                [] => Value::Null,
                [message, param] => json!({"message": message, "param": param}),
                _ => panic!("{}", self.case),
            };
            json!({"policy": policy, "entry": entry, "rule": rule, "reason": reason, "effect": effect, "mode": mode, "said": said})
        });
        let evaluation = json!({"matched": self.matched, "findings": findings.collect::<Vec<Value>>()});
        serde_json::from_value(evaluation).expect("an expectation")
    }
}

fn files() -> Vec<(String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let mut files = Vec::new();
    let items = ["policy", "rego"].map(|part| std::fs::read_dir(folder.join(part)).expect("conformance"));
    let items = items.into_iter().flatten().map(|item| item.expect("a file").path());
    for path in items.filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        let nodes = parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let [node] = nodes.as_slice() else { panic!("{name}: one document") };
        let file = serde_json::from_value(node.to_json()).unwrap_or_else(|error| panic!("{name}: {error}"));
        files.push((name, file));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(files.len() >= 5, "conformance/policy has lost files");
    files
}

#[test]
fn the_engines_find_what_the_cases_say() {
    let opa = opa::program();
    let mut wrong = Vec::new();
    for (name, file) in files() {
        let set = load_with(&file.policies, &file.modules, file.mode);
        let mut inputs = Vec::new();
        for case in &file.cases {
            let question = case.question();
            inputs.push(set.input(question.asked()));
            let found = both(&set, question.asked());
            if found != case.expected() {
                let found = serde_json::to_string(&found).expect("json");
                wrong.push(format!("{name}: {}:\n  found {found}", case.case));
            }
        }
        let Some(opa) = &opa else { continue };
        for (case, found) in file.cases.iter().zip(opa::ask(opa, &set, &inputs)) {
            if found != case.expected() {
                let found = serde_json::to_string(&found).expect("json");
                wrong.push(format!("{name}: {}:\n  OPA found {found}", case.case));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Whatever the tables of a bundle say is enforced by its Rego, or the bundle is refused where its Rego is all there is.
#[test]
fn a_bundle_that_was_edited_says_the_same_as_rego_or_is_refused() {
    // What only the gateway enforces, as the tables call it.
    let gateways = ["rate", "terms", "budgets", "sanitize", "labels"];
    for (name, file) in files() {
        let set = load_with(&file.policies, &file.modules, file.mode);
        let edited = set.archive(None).with("aegis/edited.rego", b"package aegis.edited\n".to_vec());
        let options = Options { mode: file.mode, ..Options::default() };
        let taken = match PolicySet::from_archive(&edited, options) {
            Ok((taken, _)) => taken,
            Err(error) => {
                let error = error.to_string();
                assert!(gateways.iter().any(|key| error.contains(&format!("enforce `{key}`"))), "{name}: {error}");
                continue;
            }
        };
        assert!(taken.is_rego_only(), "{name}");
        for case in &file.cases {
            let found = taken.evaluate(case.question().asked());
            assert_eq!(found, case.expected(), "{name}: {}", case.case);
        }
    }
}

/// The bundle's Rego, compiled by a real OPA, says the same: beside the policies that it was made of, and alone as OPA writes it.
#[cfg(feature = "wasm")]
#[test]
fn what_opa_compiles_to_webassembly_finds_what_the_cases_say() {
    use aegis_core::policy::{Archive, Engine};

    let Some(opa) = opa::program() else { return };
    let (mut beside, mut alone, mut refused) = (0, 0, Vec::new());
    for (name, file) in files() {
        let set = load_with(&file.policies, &file.modules, file.mode);
        let built = Archive::read(&opa::build_wasm(&opa, &set)).expect("OPA's bundle");
        let module = built.file("policy.wasm").expect("a module").to_vec();
        let options = Options { mode: file.mode, engine: Engine::Wasm, ..Options::default() };
        let own = match PolicySet::from_archive(&set.archive(None).with("policy.wasm", module), options.clone()) {
            Ok((own, _)) => own,
            Err(error) => {
                // OPA leaves some built-ins of custom modules to the host, which has none.
                let wanted = error.to_string().contains("wants built-ins from its host");
                assert!(wanted && !file.modules.is_empty(), "{name}: {error}");
                continue;
            }
        };
        assert_ne!(own.version(), set.version(), "what decides is part of the version");
        let (again, _) = PolicySet::from_bundle(&own.bundle(None), options.clone()).expect("its own bundle comes back");
        assert_eq!(again.version(), own.version());
        let theirs = PolicySet::from_archive(&built, options.clone());
        refused.extend(theirs.as_ref().err().map(ToString::to_string));
        for case in &file.cases {
            let question = case.question();
            let asked = question.asked();
            assert_eq!(own.evaluate(asked), case.expected(), "{name}: {}", case.case);
            beside += 1;
            if let Ok((theirs, _)) = &theirs {
                assert_eq!(theirs.evaluate(asked), case.expected(), "{name}: {}, as OPA wrote it", case.case);
                alone += 1;
            }
        }
        let plain = Options { engine: Engine::Native, ..options };
        assert!(PolicySet::from_archive(&built, plain).is_err(), "{name}: WebAssembly that nobody asked for");
    }
    assert!(beside > 100 && alone > 50, "{beside} beside, {alone} alone: {refused:?}");
}
