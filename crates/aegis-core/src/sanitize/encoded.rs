//! Texts within a text: base64 (both alphabets, padded or not, in lines), hexadecimal, and in those gzip and UTF-16. What is taken
//! out of one is written back in its encoding, where that gives the very letters that were read.

use std::io::{Read, Write};
use std::ops::Range;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Shortest run of letters that is looked into.
const SHORTEST: usize = 12;
/// Shortest line of an encoding that goes on in the next.
const LINE: usize = 16;
/// Most that a compressed text may become.
const INFLATED: u64 = 4 << 20;

/// A text that another holds.
pub(super) struct Encoded {
    pub(super) range: Range<usize>,
    pub(super) text: String,
    letters: Letters,
    form: Form,
}

#[derive(Clone, Copy)]
enum Letters {
    Base64 { url: bool, padded: bool, line: usize, returns: bool },
    Hex { upper: bool },
}

/// What the bytes are.
#[derive(Clone, Copy)]
enum Form {
    Utf8,
    Utf16 {
        big: bool,
        marked: bool,
    },
    Gzip,
    /// Compressed, and more than is looked at.
    Endless,
}

impl Encoded {
    /// Whether there is more of it than is looked at.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.form, Form::Endless)
    }

    /// This with another text, in the same encoding. `None`: what was read can't be written as it came.
    pub(super) fn with(&self, text: &str, original: &str) -> Option<String> {
        let same = matches!(self.form, Form::Gzip) || self.write(&self.text).as_deref() == Some(original);
        same.then(|| self.write(text)).flatten()
    }

    fn write(&self, text: &str) -> Option<String> {
        let bytes = to_bytes(text, self.form)?;
        Some(match self.letters {
            Letters::Hex { upper } => {
                bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
            }
            Letters::Base64 { url, padded, line, returns } => {
                let plain = base64(url, padded).encode(&bytes);
                if line == 0 {
                    plain
                } else {
                    let lines: Vec<&str> =
                        plain.as_bytes().chunks(line).filter_map(|part| std::str::from_utf8(part).ok()).collect();
                    lines.join(if returns { "\r\n" } else { "\n" })
                }
            }
        })
    }
}

fn base64(url: bool, padded: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true)
        .with_encode_padding(padded);
    GeneralPurpose::new(if url { &alphabet::URL_SAFE } else { &alphabet::STANDARD }, config)
}

/// Every text that is encoded within this one.
pub(super) fn all(text: &str) -> Vec<Encoded> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = run(bytes, at);
        if length >= SHORTEST {
            let range = whole(bytes, at, length);
            at = range.end;
            look(text, range, &mut found);
        } else {
            at += length.max(1);
        }
    }
    found
}

fn run(bytes: &[u8], at: usize) -> usize {
    let letter = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    bytes.get(at..).unwrap_or_default().iter().take_while(letter).count()
}

/// The run with its padding, and with the lines that go on with it.
fn whole(bytes: &[u8], at: usize, length: usize) -> Range<usize> {
    let mut end = at + length;
    if length >= LINE && length.is_multiple_of(4) {
        let gap = if bytes.get(end) == Some(&b'\r') { 2 } else { 1 };
        while bytes.get(end + gap - 1) == Some(&b'\n')
            && (gap == 1 || bytes.get(end) == Some(&b'\r'))
            && bytes.get(end + gap).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        {
            let next = run(bytes, end + gap);
            end += gap + next;
            if next != length {
                break;
            }
        }
    }
    end += bytes.get(end..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=').count();
    at..end
}

fn look(text: &str, range: Range<usize>, found: &mut Vec<Encoded>) {
    let Some(token) = text.get(range.clone()) else { return };
    if let Some(encoded) = decode(token, range.start) {
        found.push(encoded);
        return;
    }
    // A path, or names joined by dashes, may have it as one of its parts.
    let mut at = range.start;
    for part in token.split(['/', '-', '_', '\r', '\n']) {
        if part.len() >= SHORTEST && part.len() < token.len() {
            found.extend(decode(part, at));
        }
        at += part.len() + 1;
    }
}

fn decode(token: &str, at: usize) -> Option<Encoded> {
    let range = at..at + token.len();
    let hex = token.len().is_multiple_of(2) && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        let start: Vec<u8> = hex_bytes(token.get(..SHORTEST)?)?;
        if let Some((text, form)) = promising(&start).then(|| to_text(&hex_bytes(token)?)).flatten() {
            let upper = token.bytes().any(|byte| byte.is_ascii_uppercase());
            return Some(Encoded { range, text, letters: Letters::Hex { upper }, form });
        }
    }
    let url = token.contains(['-', '_']);
    let engine = base64(url, true);
    if !promising(&engine.decode(token.get(..12)?).ok()?) {
        return None;
    }
    let line = token.find(['\r', '\n']).unwrap_or(0);
    let returns = token.contains('\r');
    let joined;
    let letters = if line > 0 {
        joined = token.replace(['\r', '\n'], "");
        &joined
    } else {
        token
    };
    // One letter too many says nothing, and many a decoder passes over it.
    let odd = !letters.ends_with('=') && letters.len() % 4 == 1;
    let letters = letters.get(..letters.len() - usize::from(odd))?;
    let (text, form) = to_text(&engine.decode(letters).ok()?)?;
    let padded = token.ends_with('=') || letters.len().is_multiple_of(4);
    Some(Encoded { range, text, letters: Letters::Base64 { url, padded, line, returns }, form })
}

fn hex_bytes(token: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    token.as_bytes().chunks(2).map(pair).collect()
}

/// Whether the first bytes may be those of a text: most that is no text is told here, at once.
fn promising(start: &[u8]) -> bool {
    let text = |byte: &u8| *byte >= 0x20 && *byte != 0x7f || matches!(byte, b'\n' | b'\r' | b'\t');
    let utf16 = |from: usize| start.iter().skip(from).step_by(2).all(|byte| *byte == 0) && start.len() > 3;
    start.starts_with(&[0x1f, 0x8b, 8])
        || start.starts_with(&[0xff, 0xfe])
        || start.starts_with(&[0xfe, 0xff])
        || utf16(0)
        || utf16(1)
        || start.iter().all(text)
}

/// The text that bytes are, if they are one.
fn to_text(bytes: &[u8]) -> Option<(String, Form)> {
    if bytes.starts_with(&[0x1f, 0x8b, 8]) {
        let mut inflated = Vec::new();
        // What breaks off, or has something behind it, was read up to there, as others read it.
        let _ = MultiGzDecoder::new(bytes).take(INFLATED + 1).read_to_end(&mut inflated);
        if inflated.len() as u64 > INFLATED {
            let shown = inflated.utf8_chunks().next()?.valid();
            let text = shown.len() + 4 > inflated.len() && is_text(shown);
            return text.then(|| (String::new(), Form::Endless));
        }
        let text = String::from_utf8(inflated).ok()?;
        return is_text(&text).then_some((text, Form::Gzip));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && is_text(text)
    {
        return Some((text.to_owned(), Form::Utf8));
    }
    let (big, marked) = match bytes {
        [0xff, 0xfe, ..] => (false, true),
        [0xfe, 0xff, ..] => (true, true),
        [0, _, 0, _, ..] => (true, false),
        [_, 0, _, 0, ..] => (false, false),
        _ => return None,
    };
    let text = from_utf16(bytes.get(if marked { 2 } else { 0 }..)?, big)?;
    is_text(&text).then_some((text, Form::Utf16 { big, marked }))
}

/// A text of UTF-16's bytes.
pub(super) fn from_utf16(bytes: &[u8], big: bool) -> Option<String> {
    let unit = |pair: &[u8]| match pair {
        [one, two] => Some(if big { u16::from_be_bytes([*one, *two]) } else { u16::from_le_bytes([*one, *two]) }),
        _ => None,
    };
    let units: Option<Vec<u16>> = bytes.chunks(2).map(unit).collect();
    String::from_utf16(&units?).ok()
}

/// UTF-16's bytes of a text.
pub(super) fn to_utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

fn to_bytes(text: &str, form: Form) -> Option<Vec<u8>> {
    Some(match form {
        Form::Utf8 => text.as_bytes().to_vec(),
        Form::Utf16 { big, marked } => {
            let mark: &[u8] = match (marked, big) {
                (false, _) => &[],
                (true, true) => &[0xfe, 0xff],
                (true, false) => &[0xff, 0xfe],
            };
            [mark, &to_utf16(text, big)].concat()
        }
        Form::Endless => return None,
        Form::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).ok()?;
            encoder.finish().ok()?
        }
    })
}

/// Something to read: no control characters.
fn is_text(text: &str) -> bool {
    text.len() >= 6
        && !text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t' | '\u{1b}'))
}
