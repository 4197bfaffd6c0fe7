//! Any text as a YAML or JSON document: read or refused with a place, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match aegis_core::document::parse("fuzz", text) {
        Ok(nodes) => nodes.iter().for_each(|node| drop(node.to_json())),
        Err(error) => assert!(error.line >= 1 && error.column >= 1, "{error}"),
    }
});
