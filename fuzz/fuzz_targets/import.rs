//! Any text as an OpenAPI document: imported or refused; what is imported loads, and its own cases hold.
#![no_main]

use aegis_core::describe::{Catalogue, import};
use aegis_core::policy::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(imported) = import("fuzz", text, Some("imported")) else { return };
    let source = Source { file: "imported.yaml".to_owned(), text: imported.text };
    let loaded = Catalogue::load(&[source], None).expect("what is imported loads");
    assert!(loaded.check().failures.iter().all(|failure| failure.tool != "imported"));
});
