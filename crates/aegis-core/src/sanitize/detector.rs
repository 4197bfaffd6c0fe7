//! What a policy looks for: types of the tables, rules of its own, values that it lets pass, and what is put in their place.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use regex::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};
use sha2::Sha256;

use super::Kind;
use super::rules::{self, FIELDS, IDS, TOKENS};
use crate::describe::Glob;

/// What is put in the place of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// `[REDACTED:email]`.
    #[default]
    Mask,
    /// `[TOKEN:email:…]`, the same for the same value.
    Token,
    /// Nothing: the field goes. Where it can't (within a text, in a list) it is masked.
    Drop,
}

impl Style {
    /// Every style there is.
    pub const ALL: [Self; 3] = [Self::Mask, Self::Token, Self::Drop];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Token => "token",
            Self::Drop => "drop",
        }
    }
}

/// The key of tokens: 32 bytes that only the gateway knows.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 (RFC 2104) of a value and its type, in sixteen letters: no digits, which could look like a number of somebody.
    fn of(&self, kind: &str, value: &str) -> String {
        let keyed = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        let code = keyed.chain_update(kind).chain_update([0]).chain_update(value).finalize().into_bytes();
        code.iter().take(8).flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half)).collect()
    }
}

/// A rule of a policy's own.
#[derive(Debug, Clone)]
pub struct Custom {
    /// What a redaction by it is called.
    pub name: String,
    /// As written, for telling policies apart.
    written: Vec<String>,
    pub(super) pattern: Option<Regex>,
    /// The field that it is for, without signs and capitals.
    pub(super) field: Option<String>,
}

impl Custom {
    /// A rule that finds what fits a pattern.
    ///
    /// # Errors
    /// Why it is no pattern.
    pub fn pattern(name: &str, pattern: &str, field: Option<&str>) -> Result<Self, String> {
        let compiled = RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|why| why.to_string())?;
        if compiled.is_match("") {
            return Err("it fits the empty text, and so every place".to_owned());
        }
        Ok(Self::of(name, Some(compiled), field, vec![pattern.to_owned()]))
    }

    /// A rule that finds words, in any case, not within other words.
    ///
    /// # Errors
    /// Why these are no words.
    pub fn words(name: &str, words: &[String], field: Option<&str>) -> Result<Self, String> {
        let any: Vec<String> = words.iter().map(|word| regex::escape(word)).collect();
        let pattern = format!(r"(?i)(?:^|\b)(?:{})(?:\b|$)", any.join("|"));
        let compiled = RegexBuilder::new(&pattern).size_limit(4 << 20).build().map_err(|why| why.to_string())?;
        Ok(Self::of(name, Some(compiled), field, words.to_vec()))
    }

    /// A rule that finds whatever a field holds.
    pub fn field(name: &str, field: &str) -> Self {
        Self::of(name, None, Some(field), Vec::new())
    }

    fn of(name: &str, pattern: Option<Regex>, field: Option<&str>, written: Vec<String>) -> Self {
        Self { name: name.to_owned(), written, pattern, field: field.map(bare) }
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, &self.written, &self.field).serialize(serializer)
    }
}

/// A name without signs and capitals.
pub(super) fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// What is looked for, and what is put in its place.
#[derive(Debug, Clone, Serialize)]
pub struct Detector {
    /// Families and types, as written.
    pub names: BTreeSet<String>,
    /// Rules of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom: Vec<Custom>,
    /// Values that pass, each with `*` for any letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What is put in the place of what is found.
    #[serde(skip_serializing_if = "is_mask")]
    pub style: Style,
    /// Whether what can't be read (a picture, a stream) passes.
    #[serde(skip_serializing_if = "is_no")]
    pub unreadable: bool,
    #[serde(skip)]
    pub(super) tokens: Vec<bool>,
    #[serde(skip)]
    pub(super) ids: Vec<bool>,
    #[serde(skip)]
    pub(super) fields: Vec<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_no(unreadable: &bool) -> bool {
    !unreadable
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_mask(style: &Style) -> bool {
    *style == Style::Mask
}

static NAMES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| rules::types().map(|(_, kind)| kind).collect());

impl Detector {
    /// Every family and type that can be named.
    pub fn all_names() -> impl Iterator<Item = &'static str> {
        Kind::ALL.into_iter().map(Kind::as_str).chain(NAMES.iter().copied())
    }

    /// The patterns of secrets, for comparing with other programs.
    pub fn patterns() -> impl Iterator<Item = &'static str> {
        TOKENS.iter().filter(|token| token.family == Kind::Secrets).map(|token| token.pattern)
    }

    /// The types of a family.
    pub fn types_of(family: Kind) -> BTreeSet<&'static str> {
        rules::types().filter(|(of, _)| *of == family).map(|(_, kind)| kind).collect()
    }

    /// One that looks for families and types by these names; names that there aren't are nothing.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: BTreeSet<String> = names.into_iter().map(Into::into).collect();
        let wanted = |family: Kind, kind: &str| names.contains(family.as_str()) || names.contains(kind);
        let tokens = TOKENS.iter().map(|token| wanted(token.family, token.kind)).collect();
        let ids = IDS.iter().map(|id| wanted(id.family, id.kind)).collect();
        let fields = FIELDS.iter().map(|(family, kind, _)| wanted(*family, kind)).collect();
        Self {
            names,
            custom: Vec::new(),
            allow: Vec::new(),
            style: Style::Mask,
            unreadable: false,
            tokens,
            ids,
            fields,
        }
    }

    /// The same with rules of its own.
    #[must_use]
    pub fn with(mut self, custom: Vec<Custom>, allow: Vec<String>, style: Style) -> Self {
        (self.custom, self.allow, self.style) = (custom, allow, style);
        self
    }

    /// Whether it looks for nothing.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.custom.is_empty()
    }

    pub(super) fn lets_pass(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        self.allow.iter().any(|glob| Glob::new(&glob.to_lowercase()).matches(&value))
    }

    /// What is put in the place of a value. Without a key nothing can be told by a token, so there is none.
    pub(super) fn instead(&self, key: Option<&TokenKey>, kind: &str, value: &str) -> String {
        match (self.style, key) {
            (Style::Token, Some(key)) => format!("[TOKEN:{kind}:{}]", key.of(kind, value)),
            _ => format!("[REDACTED:{kind}]"),
        }
    }
}

impl PartialEq for Detector {
    fn eq(&self, other: &Self) -> bool {
        let custom = |one: &Self| {
            one.custom
                .iter()
                .map(|rule| (rule.name.clone(), rule.written.clone(), rule.field.clone()))
                .collect::<Vec<_>>()
        };
        self.names == other.names
            && self.unreadable == other.unreadable
            && self.allow == other.allow
            && self.style == other.style
            && custom(self) == custom(other)
    }
}

impl Eq for Detector {}
