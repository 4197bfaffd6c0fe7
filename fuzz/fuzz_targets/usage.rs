//! Any bytes as an answer of a model, plain or in events, gzipped or not: what it used is the same wherever the answer is cut into
//! pieces, and of one that is cut off nothing is said.
#![no_main]

use std::io::Write as _;

use aegis_core::usage::{Dialect, Reader, Usage};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fn read(dialect: Dialect, headers: &HeaderMap, bytes: &[u8], size: usize) -> Option<Usage> {
    let mut reader = Reader::new(dialect, headers).expect("these are read");
    bytes.chunks(size.max(1)).for_each(|piece| reader.feed(piece));
    reader.finish()
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (form, size, bytes) = input;
    let (_, dialect) = Dialect::ALL[usize::from(form >> 2) % Dialect::ALL.len()];
    let media_type = if form & 1 == 0 { "application/json" } else { "text/event-stream" };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
    let whole = read(dialect, &headers, bytes, bytes.len());
    assert_eq!(read(dialect, &headers, bytes, usize::from(size)), whole);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if form & 2 == 0 {
        // As they are: most are no gzip.
        assert_eq!(read(dialect, &headers, bytes, 1), read(dialect, &headers, bytes, bytes.len()));
        return;
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory");
    let coded = gzip.finish().expect("memory");
    assert_eq!(read(dialect, &headers, &coded, usize::from(size)), whole);
    assert_eq!(read(dialect, &headers, &coded[..coded.len() - 1], coded.len()), None);
});
