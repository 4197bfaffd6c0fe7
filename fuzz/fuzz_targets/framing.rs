//! Any bytes as a connection: where they are cut changes nothing, what goes through goes in order, and nothing comes after a
//! fault.
#![no_main]

use aegis_server::intercept::framing::Reader;
use libfuzzer_sys::fuzz_target;

/// How many bytes go through, how many heads, and whether it ended in a fault.
fn read(bytes: &[u8], step: usize) -> (usize, u64, bool) {
    let mut reader = Reader::new(4096);
    let (mut taken, mut had) = (0, 0);
    while had < bytes.len() {
        had = bytes.len().min(had + step);
        loop {
            match reader.read(&bytes[taken..had]) {
                Ok(0) => break,
                Ok(now) => taken += now,
                Err(_) => return (taken, reader.heads(), true),
            }
        }
    }
    (taken, reader.heads(), false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let whole = read(bytes, bytes.len().max(1));
    let pieces = read(bytes, usize::from(step).max(1));
    assert_eq!((whole.1, whole.2), (pieces.1, pieces.2));
    if !whole.2 {
        assert_eq!(whole.0, pieces.0);
    }
});
