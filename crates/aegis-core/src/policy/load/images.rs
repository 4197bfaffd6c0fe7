//! `allowed_images`, and its synonym.

use std::collections::BTreeSet;

use super::super::tables::{AllowedImage, ImageRule};
use super::MAX_LIST;
use crate::call::Image;
use crate::document::{Diagnostic, Fields, Value};

/// Reads the rule under the key `rule`; what is wrong with its items goes to `errors`.
pub(super) fn read(
    file: &str,
    path: &str,
    rule: &str,
    fields: &mut Fields<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Option<ImageRule> {
    let items = fields.list(rule)?;
    if items.len() > MAX_LIST {
        let place = fields.place();
        fields.error_at(rule, place, format!("more than {MAX_LIST} values in one list"), None);
        return None;
    }
    let mut allowed = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}.{rule}[{index}]");
        if let Value::Text(text) = &item.value {
            let entry = check_digest(text).map(|()| AllowedImage { digest: text.clone(), repository: None });
            let synonym = rule == "allowed_image_digests";
            match entry {
                Ok(entry) if synonym => allowed.extend([entry]),
                Ok(_) => errors.push(
                    Diagnostic::error(file, item.place, &path, "expected a mapping, found text")
                        .suggest(Some(format!("write {{digest: \"{text}\"}}"))),
                ),
                Err(message) => errors.push(Diagnostic::error(file, item.place, &path, message)),
            }
            continue;
        }
        let Some(mut image) = Fields::of(file, &path, item, errors) else { continue };
        let digest = image.required_text("digest");
        let repository = image.text("repository");
        let mut check = |key: &str, result: Result<(), String>| {
            if let (Err(message), Some(at)) = (&result, item.get(key)) {
                image.error_at(key, at.place, message.as_str(), None);
            }
            result.is_ok()
        };
        let digest = digest.filter(|digest| check("digest", check_digest(digest)));
        let canonical = repository.map(|repository| canonical_repository(&repository));
        let good = canonical.as_ref().is_none_or(|result| check("repository", result.clone().map(drop)));
        image.finish();
        if let (Some(digest), true) = (digest, good) {
            allowed.extend([AllowedImage { digest, repository: canonical.and_then(Result::ok) }]);
        }
    }
    Some(ImageRule { rule: rule.to_owned(), allowed: allowed.into_iter().collect() })
}

/// `sha256:` and 64 hexadecimal digits in lower case (OCI image specification, "Registered algorithms").
fn check_digest(text: &str) -> Result<(), String> {
    let Some(hex) = text.strip_prefix("sha256:") else {
        return Err("an image digest is sha256: and 64 hexadecimal digits".to_owned());
    };
    if hex.contains('…') || hex.contains("...") {
        return Err(
            "this digest is a placeholder: write the image's real one, sha256: and 64 hexadecimal digits".to_owned()
        );
    }
    if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let found = match hex.chars().find(|letter| !matches!(letter, '0'..='9' | 'a'..='f')) {
        Some(letter) => format!("{letter:?}"),
        None => format!("{} of them", hex.len()),
    };
    Err(format!("an image digest has 64 hexadecimal digits in lower case behind sha256:, this has {found}"))
}

fn canonical_repository(text: &str) -> Result<String, String> {
    let repository = Image::read(text).repository.ok_or_else(|| format!("{text:?} is no repository"))?;
    let last = text.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Err("a repository has no tag and no digest; the digest has a key of its own".to_owned());
    }
    Ok(repository)
}
