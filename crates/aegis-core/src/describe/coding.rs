//! A body's content coding (RFC 9110 §8.4) taken off, within bounds, so that what is read is what is forwarded.
//!
//! One coding, gzip or deflate, to its exact end. Invariants: never more than `most` bytes come of it, and never more than
//! [`RATIO`] times what was sent; a body whose bytes are signed or digested is never another one. Deliberately absent: brotli
//! and zstd (no client of ours sends them), several codings on one another, and putting a coding back on: a tool that
//! understands a coded body understands it without one.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};

use super::Unreadable;

/// What a body may grow to, as a multiple of what was sent. Text and JSON stay far below; bombs are at 1000.
const RATIO: usize = 100;
/// Below this a body may grow by whatever it likes.
const FLOOR: usize = 64 * 1024;

/// Headers that say what a body's bytes are: another body would not be what they say.
pub(crate) const INTEGRITY: [&str; 9] = [
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "signature",
    "signature-input",
    "x-amz-content-sha256",
    "x-hub-signature",
    "x-hub-signature-256",
];

/// Why a body stays coded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecoded {
    /// It can't be read, or not be another than it is.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It is larger than what is read.
    #[error("the body is larger than what is read")]
    TooLarge,
}

/// Whether a header says that a body is coded.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    codings(headers).any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Takes the coding off a body and what says so off its headers. `None` when there is none. At most `most` bytes come of it.
///
/// # Errors
/// A coding that isn't taken; a body that isn't so coded, or is signed; one that would be too large.
pub fn without_coding(headers: &mut HeaderMap, body: &[u8], most: usize) -> Result<Option<Bytes>, Undecoded> {
    if !is_coded(headers) || body.is_empty() {
        return Ok(None);
    }
    let all: Vec<Vec<u8>> = codings(headers).map(<[u8]>::to_ascii_lowercase).collect();
    let ratio = body.len().saturating_mul(RATIO).max(FLOOR);
    let decoded = match all.as_slice() {
        [one] if one == b"gzip" || one == b"x-gzip" => {
            read(&mut GzDecoder::new(body), most.min(ratio), |gzip| gzip.get_ref().is_empty())
        }
        [one] if one == b"deflate" => {
            read(&mut ZlibDecoder::new(body), most.min(ratio), |zlib| zlib.get_ref().is_empty())
        }
        _ => {
            let message = "the body's Content-Encoding is not taken here: send it with one gzip or deflate, or without";
            return Err(Unreadable::new("content_encoding", message).into());
        }
    };
    let signed = headers.get_all(AUTHORIZATION).iter().any(|value| value.as_bytes().starts_with(b"AWS4-"));
    if signed || INTEGRITY.iter().any(|name| headers.contains_key(*name)) {
        let message =
            "the body is coded and its bytes are signed: it can't be read and stay what it is; send it uncoded";
        return Err(Unreadable::new("content_signed", message).into());
    }
    match decoded {
        Ok(decoded) => {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            Ok(Some(decoded.into()))
        }
        Err(Broken::Beyond) if most <= ratio => Err(Undecoded::TooLarge),
        Err(Broken::Beyond) => {
            let message = format!("the body grows to more than {RATIO} times its size when it is decompressed");
            Err(Unreadable::new("content_ratio", message).into())
        }
        Err(Broken::Malformed) => {
            Err(Unreadable::new("content_malformed", "the body is not what its Content-Encoding says").into())
        }
    }
}

/// All codings of all lines, in order.
fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(http::HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

enum Broken {
    Beyond,
    Malformed,
}

/// Reads to the end, which must be the body's too.
fn read<R: Read>(reader: &mut R, most: usize, at_end: impl Fn(&R) -> bool) -> Result<Vec<u8>, Broken> {
    let mut decoded = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    reader.by_ref().take(bound).read_to_end(&mut decoded).map_err(|_| Broken::Malformed)?;
    if decoded.len() > most {
        return Err(Broken::Beyond);
    }
    if at_end(reader) { Ok(decoded) } else { Err(Broken::Malformed) }
}

#[cfg(test)]
mod tests;
