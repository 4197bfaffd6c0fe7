//! What is looked for: a table of secrets ([`secrets`]), one of numbers ([`ids`]), and fields whose text is sensitive whatever it
//! looks like.

pub(super) mod ids;
mod lively;
pub(super) mod secrets;

pub(super) use super::Kind as Family;
pub(super) use ids::{Bare, IDS, has_shape};
pub(super) use secrets::TOKENS;

/// Fields whose text is sensitive whatever it looks like: family, what a redaction is called, names without signs and capitals.
pub(super) const FIELDS: &[(Family, &str, &[&str])] = &[
    (
        Family::Secrets,
        "secret_field",
        &[
            "password",
            "passwd",
            "passphrase",
            "secret",
            "apikey",
            "accesstoken",
            "refreshtoken",
            "secretaccesskey",
            "secretkey",
            "privatekey",
            "clientsecret",
        ],
    ),
    (Family::Phi, "medical_record_number", &["mrn", "medicalrecordnumber", "medicalrecordno", "patientid"]),
    (
        Family::Phi,
        "diagnosis",
        &[
            "diagnosis",
            "diagnoses",
            "diagnosiscode",
            "icd10",
            "icd10code",
            "icd9",
            "icd9code",
            "icdcode",
            "icdcodes",
            "medication",
            "medications",
            "prescription",
            "prescriptions",
        ],
    ),
    (Family::Pii, "date_of_birth", &["dateofbirth", "dob", "birthdate", "birthday", "geburtsdatum"]),
];

/// What a type is in: its family.
pub(super) fn family_of(kind: &str) -> Option<Family> {
    types().find(|(_, name)| *name == kind).map(|(family, _)| family)
}

/// Every type with its family, some more than once.
pub(super) fn types() -> impl Iterator<Item = (Family, &'static str)> {
    let fields = FIELDS.iter().map(|(family, kind, _)| (*family, *kind));
    let tokens = TOKENS.iter().map(|token| (token.family, token.kind));
    fields.chain(tokens).chain(IDS.iter().map(|id| (id.family, id.kind)))
}

/// The length of what was put in the place of something, where a text begins with it; `own` says which names there are beside the
/// types. Whatever else stands in such brackets is only made to look like it.
pub(super) fn placeholder(text: &str, own: impl Fn(&str) -> bool) -> Option<usize> {
    let named = |name: &str| own(name) || types().any(|(_, kind)| kind == name);
    let inner = |head: &str| text.strip_prefix(head)?.split_once(']').map(|(inner, _)| inner);
    if let Some(name) = inner("[REDACTED:") {
        return named(name).then(|| "[REDACTED:]".len() + name.len());
    }
    let inner = inner("[TOKEN:")?;
    let (name, code) = inner.rsplit_once(':')?;
    let drawn = code.len() == 16 && code.bytes().all(|letter| (b'a'..=b'p').contains(&letter));
    (drawn && named(name)).then(|| "[TOKEN:]".len() + inner.len())
}
