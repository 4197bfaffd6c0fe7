//! What tells a secret from a word, a name and a placeholder: how its letters are spread.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::placeholder;

/// Bits per letter.
pub(in crate::sanitize) fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len().max(1) as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length).map(|p| -p * p.log2()).sum()
}

pub(super) fn uncommon(_: &str) -> bool {
    true
}

/// Documents write keys as `AKIAXXXXXXXXXXXXXXXX`, `…EXAMPLE`, `${TOKEN}`.
pub(super) fn not_a_filler(text: &str) -> bool {
    let tail = text.get(text.len() / 3..).unwrap_or(text);
    let fills = |filler: &[u8]| tail.bytes().filter(|byte| filler.contains(byte)).count() * 5 >= tail.len() * 4;
    let filled = fills(b"xX-_") || fills(b"0123-_") && entropy(tail) < 2.1 || fills(b"*#.");
    !filled
        && !text.ends_with("EXAMPLE")
        && !text.contains("XXXXXX")
        && !text.contains("xxxxxx")
        && !text.contains("abcdefghijkl")
}

/// Hexadecimal of a kind that no document fills in.
pub(super) fn varied_hex(text: &str) -> bool {
    let tail = text.get(text.len() / 4..).unwrap_or(text);
    entropy(tail) > 2.6
}

/// As mixed as what a machine draws: not a name or a word.
pub(super) fn entropic(text: &str) -> bool {
    let (upper, lower, digits) = classes(text);
    entropy(text) > 3.4
        && (digits > 1 || (upper > 3 && lower > 3 && entropy(text) > 3.9))
        && (upper + digits) * 10 > text.len()
}

fn classes(text: &str) -> (usize, usize, usize) {
    let count = |is: fn(&u8) -> bool| text.as_bytes().iter().filter(|byte| is(byte)).count();
    (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase), count(u8::is_ascii_digit))
}

/// Whether it is what was put in the place of something, and nothing beside it that could be a secret.
fn was_taken_out(text: &str) -> bool {
    let (mut rest, mut beside) = (text, 0);
    while let Some(letter) = rest.chars().next() {
        match placeholder(rest, |_| false) {
            Some(length) => rest = rest.get(length..).unwrap_or_default(),
            None => {
                beside += usize::from(letter.is_alphanumeric());
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            }
        }
    }
    beside < 3 && text.starts_with('[')
}

/// A reference to a secret, a template, or what says that there is none.
fn stands_for(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.starts_with(['$', '%', '<', '{', '*', '&', '@'])
        || was_taken_out(text)
        || [
            "${",
            "{{",
            "%(",
            "<%",
            "process.env",
            "os.environ",
            "getenv",
            "secretkeyref",
            "env.",
            "example",
            "placeholder",
            "changeme",
        ]
        .iter()
        .any(|mark| lower.contains(mark))
        || ["null", "none", "true", "false", "undefined", "string", "password", "required"]
            .contains(&lower.trim_end_matches([';', ',']))
}

/// What may stand after `password=`: anything but a reference, code, and a plain word.
pub(super) fn password(text: &str) -> bool {
    let (upper, lower, digits) = classes(text);
    let letters = upper + lower;
    let other = text.len() - letters - digits;
    let code = text.contains("::")
        || (text.contains('.') && !text.contains(|c: char| c.is_ascii_digit()) && other == text.matches('.').count());
    !stands_for(text) && !code && !(text.bytes().all(|byte| b"xX*#.-_0".contains(&byte))) && (text.len() >= 3)
}

/// What a header that signs in may hold: anything but the name of a scheme.
pub(super) fn header(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !["negotiate", "required", "optional", "disabled", "enabled", "bearer", "basic"].contains(&lower.as_str())
        && password(text)
}

/// What may stand after `token:`: as mixed as a secret, and no path, no name of something, no version.
pub(super) fn generic(text: &str) -> bool {
    let (upper, lower, digits) = classes(text);
    let plain = text.bytes().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let other = text.len() - plain;
    if stands_for(text) || text.contains("://") || text.starts_with(['/', '.', '-']) || other * 5 > text.len() {
        return false;
    }
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let spread = entropy(text);
    let named = text.split(['.', '_', '-', '/']).filter(|part| part.len() > 2).all(|part| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        digits == 0 || part.bytes().skip_while(|byte| !byte.is_ascii_digit()).all(|byte| byte.is_ascii_digit())
    });
    if hex {
        return text.len() >= 20 && spread > 2.9 && digits > 2;
    }
    !named && spread > 3.1 && digits > 1 && (upper + lower) > 2 && text.len() >= 12
}

/// A password in a URL: anything but a template.
pub(super) fn literal(text: &str) -> bool {
    !text.starts_with(['$', '{', '<', '%', '*']) && !was_taken_out(text)
}

/// A private key has more than its first and last line.
pub(super) fn key_body(text: &str) -> bool {
    let body: String = text.split("-----").skip(2).take(1).collect();
    body.bytes().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count() >= 3
}

/// The first part of a token is a JSON object.
pub(super) fn jwt(text: &str) -> bool {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let head = text.split('.').next().unwrap_or_default();
    let head = GeneralPurpose::new(&alphabet::URL_SAFE, config).decode(head).ok();
    head.is_some_and(|head| head.starts_with(b"{\"") && head.trim_ascii_end().ends_with(b"}"))
}

/// The last part of a chat token is no number.
pub(super) fn slack(text: &str) -> bool {
    not_a_filler(text)
        && text.rsplit('-').next().is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

/// `user:password` on a command line: one of the two is no word.
pub(super) fn credentials(text: &str) -> bool {
    let Some((user, pass)) = text.split_once(':') else { return false };
    let bare = |part: &str| part.trim_matches(['"', '\'', '{', '}']).to_owned();
    let template = |part: &str| part.contains(['<', '>', '[', ']', '%']) || part.contains("${") || stands_for(part);
    let (user, pass) = (bare(user), bare(pass));
    let drawn = |part: &str| {
        let (upper, lower, digits) = classes(part);
        part.len() >= 8 && digits > 0 && upper + lower > 0
    };
    let (upper, lower, digits) = classes(&pass);
    let other = pass.len() - upper - lower - digits;
    !template(&user)
        && !template(&pass)
        && (drawn(&user)
            || drawn(&pass)
            || (pass.len() >= 6 && (digits > 0 || upper > 0 && lower > 0 || other > 0))
            || pass.len() >= 12)
}

/// The value of a header whose name says that it is a secret.
pub(super) fn header_value(text: &str) -> bool {
    header(text) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// `user:password` in base64.
pub(super) fn basic(text: &str) -> bool {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&alphabet::STANDARD, config).decode(text).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|text| text.contains(':') && !text.chars().any(char::is_control) && text.len() > 4)
}

/// 8 to 15 digits, as E.164 has it.
pub(super) fn phone(text: &str) -> bool {
    (8..=15).contains(&text.bytes().filter(u8::is_ascii_digit).count())
}

/// A number with at least five digits.
pub(super) fn record(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 5
}
