//! What is found in one text, by pattern and check digit.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::Kind;
use crate::describe::strict_json;

/// One thing that is looked for.
struct Detector {
    kind: Kind,
    /// What a redaction of it is called.
    name: &'static str,
    pattern: LazyLock<Regex>,
    /// What a match must also be: a check digit, a range.
    holds: fn(&str) -> bool,
}

macro_rules! detector {
    ($kind:ident, $name:literal, $pattern:literal, $holds:expr) => {
        Detector {
            kind: Kind::$kind,
            name: $name,
            pattern: LazyLock::new(|| Regex::new($pattern).expect("a pattern that a test compiles")),
            holds: $holds,
        }
    };
}

/// In the order in which they are tried: the more particular first, since what is redacted isn't looked at again.
static DETECTORS: [Detector; 17] = [
    detector!(
        Secrets,
        "private_key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        always
    ),
    detector!(Secrets, "jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", always),
    detector!(Secrets, "aws_access_key", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", always),
    detector!(
        Secrets,
        "github_token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b",
        always
    ),
    detector!(Secrets, "gitlab_token", r"\bglpat-[A-Za-z0-9_-]{20,}", always),
    detector!(Secrets, "slack_token", r"\bxox[abposr]-[A-Za-z0-9-]{10,}", always),
    detector!(Secrets, "stripe_key", r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}\b", always),
    detector!(Secrets, "google_api_key", r"\bAIza[A-Za-z0-9_-]{35}", always),
    detector!(Secrets, "llm_api_key", r"\bsk-[A-Za-z0-9_-]{20,}", always),
    detector!(Secrets, "url_password", r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@"]*:[^\s/@"]+@"#, always),
    detector!(Secrets, "aegis_key", r"\b(?:aegis|ovr)_[A-Za-z0-9_-]{40,}", always),
    detector!(Pii, "iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,}\b", iban),
    detector!(Pii, "email", r"(?i)\b[a-z0-9._%+-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?\.[a-z]{2,63}\b", always),
    detector!(Pii, "card_number", r"\b[0-9](?:[ .\u{a0}\u{2010}-\u{2015}-]?[0-9]){12,}\b", card),
    detector!(Pii, "us_ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", ssn),
    detector!(Pii, "phone_number", r"\+[1-9][0-9](?:[ ().-]{0,2}[0-9]){6,12}\b", always),
    detector!(
        Phi,
        "us_mbi",
        r"\b[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}\b",
        always
    ),
];

/// Fields whose text is sensitive whatever it looks like.
const FIELDS: [(Kind, &str, &[&str]); 3] = [
    (
        Kind::Secrets,
        "secret_field",
        &["password", "passwd", "secret", "apikey", "accesstoken", "secretaccesskey", "privatekey"],
    ),
    (Kind::Phi, "medical_record_number", &["mrn", "medicalrecordnumber", "patientid"]),
    (Kind::Phi, "diagnosis", &["diagnosis", "diagnoses", "icd10", "icd10code", "medication", "medications"]),
];

/// What stands where something was: no detector finds anything in it.
fn mask(name: &str) -> String {
    format!("[REDACTED:{name}]")
}

/// A text without what was found in it, and the names of that.
type Found = (String, BTreeSet<&'static str>);

/// The text of a field without what `kinds` name, and the names of what was found. `None` when there is nothing. A text that
/// is JSON is looked into: its escapes and its fields' names must not hide what it says.
pub(super) fn redact(field: &str, text: &str, kinds: &BTreeSet<Kind>) -> Option<Found> {
    let plain = redact_plain(field, text, kinds);
    let inner = plain.as_ref().map_or(text, |(clean, _)| clean);
    let Some(mut value) =
        inner.trim_start().starts_with(['{', '[']).then(|| strict_json(inner.as_bytes()).ok()).flatten()
    else {
        return plain;
    };
    let mut names = BTreeSet::new();
    redact_value(field, &mut value, kinds, &mut names);
    if names.is_empty() {
        return plain;
    }
    names.extend(plain.into_iter().flat_map(|(_, names)| names));
    Some((value.to_string(), names))
}

pub(super) fn redact_value(field: &str, value: &mut Value, kinds: &BTreeSet<Kind>, names: &mut BTreeSet<&'static str>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(field, item, kinds, names)),
        Value::Object(map) => {
            for (name, mut value) in std::mem::take(map) {
                redact_value(&name, &mut value, kinds, names);
                let name = redact_plain("", &name, kinds).map_or(name, |(clean, found)| {
                    names.extend(found);
                    clean
                });
                map.insert(name, value);
            }
        }
        _ => {
            let Some(text) = text_of(value) else { return };
            if let Some((clean, found)) = redact(field, &text, kinds) {
                names.extend(found);
                *value = Value::String(clean);
            }
        }
    }
}

/// What can hold something, as text: a text, or the digits of a number.
pub(super) fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn redact_plain(field: &str, text: &str, kinds: &BTreeSet<Kind>) -> Option<Found> {
    let mut names = BTreeSet::new();
    let field: String = field.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    // What a secret is of stands before it: `db_password`.
    let is = |kind: Kind, name: &&str| field == **name || (kind == Kind::Secrets && field.ends_with(*name));
    let whole =
        FIELDS.iter().find(|(kind, _, fields)| kinds.contains(kind) && fields.iter().any(|name| is(*kind, name)));
    if let Some((_, name, _)) = whole
        && !text.is_empty()
    {
        names.insert(*name);
        let clean = mask(name);
        return (clean != text).then_some((clean, names));
    }
    let mut clean = text.to_owned();
    for detector in DETECTORS.iter().filter(|detector| kinds.contains(&detector.kind)) {
        let mut found = false;
        let replaced = detector.pattern.replace_all(&clean, |hit: &regex::Captures<'_>| {
            let parts = parts(&hit[0], detector.holds);
            found |= !parts.is_empty();
            without(&hit[0], &parts, &mask(detector.name))
        });
        if found {
            clean = replaced.into_owned();
            names.insert(detector.name);
        }
    }
    (!names.is_empty()).then_some((clean, names))
}

/// Most words that a number is written in, each of at least [`SHORTEST`] letters.
const WORDS: usize = 9;
const SHORTEST: usize = 3;

/// Where a run of words is what is looked for: all of it, or the longest parts of it, from the start of a word to the end of
/// one. What stands beside a number must not hide it.
fn parts(run: &str, holds: fn(&str) -> bool) -> Vec<Range<usize>> {
    if holds(run) {
        return Vec::from([Range { start: 0, end: run.len() }]);
    }
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut start = None;
    for (at, letter) in run.char_indices().chain([(run.len(), ' ')]) {
        match (letter.is_ascii_alphanumeric(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut first = 0;
    while let Some(from) = words.get(first) {
        // The last word may be short: what is left over of groups of four.
        let long = words.iter().skip(first).take(WORDS).take_while(|word| word.len() >= SHORTEST).count();
        let last = (first..words.len().min(first + (long + 1).min(WORDS)))
            .rev()
            .find(|last| words.get(*last).and_then(|last| run.get(from.start..last.end)).is_some_and(holds));
        first = match last.and_then(|last| Some((last, words.get(last)?.end))) {
            Some((last, end)) => {
                found.push(from.start..end);
                last + 1
            }
            None => first + 1,
        };
    }
    found
}

/// `text` with a mask where `parts` are.
fn without(text: &str, parts: &[Range<usize>], mask: &str) -> String {
    let mut clean = String::new();
    let mut at = 0;
    for part in parts {
        clean.push_str(text.get(at..part.start).unwrap_or_default());
        clean.push_str(mask);
        at = part.end;
    }
    clean + text.get(at..).unwrap_or_default()
}

fn always(_: &str) -> bool {
    true
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|letter| letter.to_digit(10)).collect()
}

/// The Luhn check digit (ISO/IEC 7812-1 annex B) over 13 to 19 digits that aren't all the same, of an issuer of payment cards:
/// none starts with another digit, but milliseconds since 1970 do.
fn card(text: &str) -> bool {
    let digits = digits(text);
    let double = |(place, digit): (usize, &u32)| match place % 2 {
        0 => *digit,
        _ if *digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(double).sum();
    (13..=19).contains(&digits.len())
        && sum.is_multiple_of(10)
        && digits.first().is_some_and(|digit| (2..=6).contains(digit))
        && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// A US social security number that can have been issued: no part is zeros, the area is below 900 and not 666.
fn ssn(text: &str) -> bool {
    let mut parts = text.split('-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(area), Some(group), Some(serial)) => {
            area < "900" && !["000", "666"].contains(&area) && group != "00" && serial != "0000"
        }
        _ => false,
    }
}

/// The check digits of an IBAN (ISO 13616): 97 divides the rearranged number with rest 1.
fn iban(text: &str) -> bool {
    let text: String = text.chars().filter(|letter| *letter != ' ').collect();
    let (Some(head), Some(tail)) = (text.get(..4), text.get(4..)) else { return false };
    let rest = tail.chars().chain(head.chars()).try_fold(0_u32, |rest, letter| {
        let value = letter.to_digit(36)?;
        Some(if value < 10 { (rest * 10 + value) % 97 } else { (rest * 100 + value) % 97 })
    });
    let country = head.bytes().take(2).all(|letter| letter.is_ascii_uppercase());
    (15..=34).contains(&text.len()) && country && rest == Some(1)
}
