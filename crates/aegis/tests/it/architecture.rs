//! ARCHITECTURE.md is true: the crates and edges it names are those that cargo knows, and the module edges hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The table under "Four crates, four verbs".
fn written() -> Edges {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let names = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows = text.lines().filter(|line| line.starts_with("| `aegis"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let name = names(cells[1]).pop_first().expect("a crate's name");
        (name, names(cells[3]))
    })
    .collect()
}

fn real() -> Edges {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let edges = dependencies.iter().filter_map(|d| d["name"].as_str()).filter(|name| ours.contains(name));
            (package["name"].as_str().expect("a name").to_owned(), edges.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn the_crates_and_their_edges_are_those_that_are_written_down() {
    let (written, real) = (written(), real());
    assert_eq!(written.len(), 4, "four crates, four verbs");
    assert_eq!(written, real);
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates/aegis-server/src").join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    let single = root().join("crates/aegis-server/src").join(format!("{folder}.rs"));
    if let Ok(text) = std::fs::read_to_string(&single) {
        found.push((single, text));
    }
    assert!(!found.is_empty(), "no sources of {folder}");
    found
}

#[test]
fn the_api_never_reaches_enforce_and_nothing_reaches_back() {
    for (from, never) in [
        ("api", "crate::enforce"),
        ("enforce", "crate::pipeline"),
        ("enforce", "crate::intercept"),
        ("identify", "crate::pipeline"),
        ("identify", "crate::enforce"),
        ("pipeline", "crate::intercept"),
    ] {
        for (path, text) in sources(from) {
            let line = text.lines().find(|line| line.contains(never) && !line.trim_start().starts_with("//"));
            assert_eq!(line, None, "{} reaches {never}", path.display());
        }
    }
}

#[test]
fn the_pipeline_is_short_enough_to_be_read_from_top_to_bottom() {
    let text = std::fs::read_to_string(root().join("crates/aegis-server/src/pipeline.rs")).expect("pipeline.rs");
    assert!(text.lines().count() < 150, "pipeline.rs has {} lines", text.lines().count());
}
