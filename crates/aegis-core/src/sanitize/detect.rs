//! What is found in one text, by pattern and check digit.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::Kind;

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
static DETECTORS: [Detector; 16] = [
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
    detector!(Secrets, "url_password", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@", always),
    detector!(Secrets, "aegis_key", r"\b(?:aegis|ovr)_[A-Za-z0-9_-]{40,}", always),
    detector!(Pii, "iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b", iban),
    detector!(Pii, "email", r"(?i)\b[a-z0-9._%+-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?\.[a-z]{2,63}\b", always),
    detector!(Pii, "card_number", r"\b[0-9](?:[ -]?[0-9]){12,18}\b", card),
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
        &["password", "passwd", "secret", "apikey", "accesstoken", "clientsecret", "privatekey"],
    ),
    (Kind::Phi, "medical_record_number", &["mrn", "medicalrecordnumber", "patientid"]),
    (Kind::Phi, "diagnosis", &["diagnosis", "diagnoses", "icd10", "icd10code", "medication", "medications"]),
];

/// What stands where something was: no detector finds anything in it.
fn mask(name: &str) -> String {
    format!("[REDACTED:{name}]")
}

/// The text of a field without what `kinds` name, and the names of what was found. `None` when there is nothing.
pub(super) fn redact(field: &str, text: &str, kinds: &BTreeSet<Kind>) -> Option<(String, BTreeSet<&'static str>)> {
    let mut names = BTreeSet::new();
    let field: String = field.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let whole = FIELDS.iter().find(|(kind, _, fields)| kinds.contains(kind) && fields.contains(&field.as_str()));
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
            let hit = &hit[0];
            if (detector.holds)(hit) {
                found = true;
                mask(detector.name)
            } else {
                hit.to_owned()
            }
        });
        if found {
            clean = replaced.into_owned();
            names.insert(detector.name);
        }
    }
    (!names.is_empty()).then_some((clean, names))
}

fn always(_: &str) -> bool {
    true
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|letter| letter.to_digit(10)).collect()
}

/// The Luhn check digit (ISO/IEC 7812-1 annex B) over 13 to 19 digits that aren't all the same.
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
    (15..=34).contains(&text.len()) && rest == Some(1)
}
