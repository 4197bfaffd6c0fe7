//! Any bytes as a compressed body: refused, or within the bound; and what comes of it is described or refused as any body is.
#![no_main]

use aegis_core::describe::without_coding;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (gzip, most, body) = input;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(if gzip { "gzip" } else { "deflate" }));
    if let Ok(Some(decoded)) = without_coding(&mut headers, body, usize::from(most)) {
        assert!(decoded.len() <= usize::from(most) && !headers.contains_key(CONTENT_ENCODING));
    }
});
