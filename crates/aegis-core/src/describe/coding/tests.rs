use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Undecoded, without_coding};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

fn reason(lines: &[(&'static str, &'static str)], body: &[u8], most: usize) -> String {
    match without_coding(&mut headers(lines), body, most) {
        Ok(_) => String::new(),
        Err(Undecoded::TooLarge) => "too_large".to_owned(),
        Err(Undecoded::Unreadable(unreadable)) => unreadable.reason,
    }
}

const MOST: usize = 4 << 20;

#[test]
fn one_coding_comes_off_with_what_says_so() {
    let text = br#"{"spec":{"replicas":3}}"#;
    for (coding, body) in [("gzip", gzip(text)), ("GZIP", gzip(text)), ("x-gzip", gzip(text)), ("deflate", zlib(text))]
    {
        let mut all = headers(&[("content-encoding", coding), ("content-length", "7"), ("x-other", "stays")]);
        let decoded = without_coding(&mut all, &body, MOST).expect("decoded");
        assert_eq!(decoded.as_deref(), Some(&text[..]), "{coding}");
        assert_eq!(all.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
    for lines in [&[][..], &[("content-encoding", "identity")]] {
        assert_eq!(without_coding(&mut headers(lines), text, MOST), Ok(None));
    }
    assert_eq!(without_coding(&mut headers(&[("content-encoding", "gzip")]), b"", MOST), Ok(None));
}

#[test]
fn what_is_not_one_coding_to_its_end_stays() {
    let text = b"hello hello hello";
    let mut cut = gzip(text);
    cut.truncate(cut.len() - 3);
    let mut wrong_sum = gzip(text);
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let gz = [("content-encoding", "gzip")];
    for (lines, body, expected) in [
        (&[("content-encoding", "br")][..], gzip(text), "content_encoding"),
        (&[("content-encoding", "zstd")], gzip(text), "content_encoding"),
        (&[("content-encoding", "gzip, gzip")], gzip(&gzip(text)), "content_encoding"),
        (&[("content-encoding", "gzip"), ("content-encoding", "deflate")], gzip(text), "content_encoding"),
        (&[("content-encoding", "identity, gzip")], gzip(text), "content_encoding"),
        (&[("content-encoding", "")], gzip(text), "content_encoding"),
        (&[("content-encoding", "gzip;q=1")], gzip(text), "content_encoding"),
        (&gz, text.to_vec(), "content_malformed"),
        (&gz, zlib(text), "content_malformed"),
        (&gz, cut, "content_malformed"),
        (&gz, wrong_sum, "content_malformed"),
        (&gz, [gzip(text), b"more".to_vec()].concat(), "content_malformed"),
        (&gz, [gzip(text), gzip(text)].concat(), "content_malformed"),
        (&[("content-encoding", "deflate")], raw_deflate(text), "content_malformed"),
        (&[("content-encoding", "gzip"), ("content-md5", "x")], gzip(text), "content_signed"),
        (&[("content-encoding", "gzip"), ("content-digest", "x")], gzip(text), "content_signed"),
        (&[("content-encoding", "gzip"), ("digest", "x")], gzip(text), "content_signed"),
        (&[("content-encoding", "gzip"), ("x-amz-content-sha256", "x")], gzip(text), "content_signed"),
        (&[("content-encoding", "gzip"), ("authorization", "AWS4-HMAC-SHA256 x")], gzip(text), "content_signed"),
    ] {
        assert_eq!(reason(lines, &body, MOST), expected, "{lines:?}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let gz = [("content-encoding", "gzip")];
    let bomb = gzip(&vec![0; 64 << 20]);
    assert_eq!(reason(&gz, &bomb, 256 << 20), "content_ratio");
    assert_eq!(reason(&gz, &bomb, MOST), "too_large");
    assert_eq!(reason(&gz, &gzip(&vec![0; 60_000]), MOST), "");
    assert_eq!(reason(&gz, &gzip(&vec![0; 60_000]), 50_000), "too_large");
    assert_eq!(reason(&gz, &gzip(&vec![0; 66_000]), MOST), "content_ratio");
}

proptest! {
    #[test]
    fn decoding_undoes_coding(bytes in proptest::collection::vec(any::<u8>(), 1..4096)) {
        for (coding, body) in [("gzip", gzip(&bytes)), ("deflate", zlib(&bytes))] {
            let mut all = headers(&[("content-encoding", coding)]);
            let decoded = without_coding(&mut all, &body, MOST);
            prop_assert_eq!(decoded, Ok(Some(bytes.clone().into())));
        }
    }

    /// Whatever is sent: refused, or within the bound.
    #[test]
    fn nothing_comes_of_noise_beyond_the_bound(bytes in proptest::collection::vec(any::<u8>(), 1..512), most in 0_usize..4096) {
        for coding in ["gzip", "deflate"] {
            if let Ok(Some(decoded)) = without_coding(&mut headers(&[("content-encoding", coding)]), &bytes, most) {
                prop_assert!(decoded.len() <= most);
            }
        }
    }
}
