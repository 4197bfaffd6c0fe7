//! Any bytes as a raw HTTP request: described or refused, never a panic, and the same twice.
#![no_main]

use std::sync::LazyLock;

use aegis_core::describe::Catalogue;
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(&[], None).expect("the built-in tools load"));

fuzz_target!(|raw: &[u8]| {
    let digests: Vec<_> = (0..2).map(|_| CATALOGUE.match_raw(raw, None).map(|call| call.digest())).collect();
    assert_eq!(digests[0], digests[1]);
});
