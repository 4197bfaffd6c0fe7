//! Any text as a host that an agent names: canonical once is canonical for good, and no address hides in a name.
#![no_main]

use std::net::IpAddr;

use aegis_core::describe::canonical_destination;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(once) = canonical_destination("tunnel", text, 443) else { return };
    assert_eq!(canonical_destination("tunnel", &once.host, 443).as_ref(), Ok(&once));
    assert!(once.host.is_ascii() && !once.host.contains(['%', '@', '/', '\\', ' ', '[', ']']));
    if once.host.parse::<IpAddr>().is_err() {
        let last = once.host.rsplit('.').next().unwrap_or_default();
        assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{:?} may be taken for an address", once.host);
    }
});
