//! Any text as a request target: canonical once is canonical for good.
#![no_main]

use aegis_core::describe::canonical_target;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(raw) = text.parse::<PathAndQuery>() else { return };
    let Ok(once) = canonical_target(&raw) else { return };
    assert_eq!(canonical_target(&once).as_ref(), Ok(&once));
});
