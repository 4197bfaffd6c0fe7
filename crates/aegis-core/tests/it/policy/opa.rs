//! A real OPA, asked about many inputs at once.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aegis_core::policy::{Evaluation, PolicySet};
use serde_json::{Value, json};

/// The program, or `None` where this run does without.
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(tools) = std::env::var_os("AEGIS_TOOLS") {
        let program = PathBuf::from(tools).join("opa");
        assert!(program.is_file(), "AEGIS_TOOLS has no opa: {}", program.display());
        return Some(program);
    }
    assert!(
        std::env::var_os("AEGIS_WITHOUT_OPA").is_some_and(|value| value == "1"),
        "AEGIS_TOOLS (the folder that `opa` is in) is not set; AEGIS_WITHOUT_OPA=1 does without it"
    );
    #[expect(clippy::disallowed_macros, reason = "what a run leaves out is said aloud")]
    {
        println!("AEGIS_WITHOUT_OPA=1: not asking a real OPA");
    }
    None
}

/// What OPA says of each input, from the bundle as it is published.
pub(crate) fn ask(program: &PathBuf, set: &PolicySet, inputs: &[Value]) -> Vec<Evaluation> {
    let folder = std::env::temp_dir().join(format!("aegis-opa-{}-{}", std::process::id(), set.version()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let bundle = folder.join("bundle.tar.gz");
    std::fs::write(&bundle, set.bundle(None)).expect("the bundle is written");
    let query = "[answer | some one in input.inputs; answer := data.aegis.gate.evaluation with input as one]";
    let mut child = Command::new(program)
        .args(["eval", "--format", "json", "--stdin-input", "--bundle"])
        .arg(&bundle)
        .arg(query)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("opa starts");
    let mut stdin = child.stdin.take().expect("its input");
    let text = json!({ "inputs": inputs }).to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("opa ends");
    writer.join().expect("the writer ends").expect("opa reads its input");
    std::fs::remove_dir_all(&folder).expect("the temporary folder goes");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "opa failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    let answers = &answer["result"][0]["expressions"][0]["value"];
    let answers: Vec<Evaluation> = serde_json::from_value(answers.clone()).expect("evaluations");
    assert_eq!(answers.len(), inputs.len(), "OPA left inputs without an answer");
    answers
}

/// The bundle with `policy.wasm` that OPA builds of a set's bundle.
#[cfg(feature = "wasm")]
pub(crate) fn build_wasm(program: &PathBuf, set: &PolicySet) -> Vec<u8> {
    let folder = std::env::temp_dir().join(format!("aegis-wasm-{}-{}", std::process::id(), set.version()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let (bundle, built) = (folder.join("bundle.tar.gz"), folder.join("built.tar.gz"));
    std::fs::write(&bundle, set.bundle(None)).expect("the bundle is written");
    let output = Command::new(program)
        .args(["build", "--target", "wasm", "--entrypoint", "aegis/gate/evaluation", "--output"])
        .arg(&built)
        .arg("--bundle")
        .arg(&bundle)
        .output()
        .expect("opa runs");
    assert!(output.status.success(), "opa build failed: {}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&built).expect("what it built");
    std::fs::remove_dir_all(&folder).expect("the temporary folder goes");
    bytes
}
