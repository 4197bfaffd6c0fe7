//! Families of keys (`max_<param>`), and what an unknown key was probably meant to be.

use crate::document::Fields;

/// A family of rules on parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Min,
    Max,
    Allowed,
    Denied,
    Pattern,
}

const FAMILIES: [(&str, Family); 5] = [
    ("min", Family::Min),
    ("max", Family::Max),
    ("allowed", Family::Allowed),
    ("denied", Family::Denied),
    ("pattern", Family::Pattern),
];
/// What people write for a family's word.
const SYNONYMS: [(&str, &str); 14] = [
    ("minimum", "min"),
    ("maximum", "max"),
    ("limit", "max"),
    ("allow", "allowed"),
    ("allows", "allowed"),
    ("permitted", "allowed"),
    ("deny", "denied"),
    ("block", "denied"),
    ("blocked", "denied"),
    ("forbidden", "denied"),
    ("disallowed", "denied"),
    ("regex", "pattern"),
    ("match", "pattern"),
    ("matches", "pattern"),
];
/// The fixed keys that start like one of the families: a key this close to one is that key, mistyped.
const FIXED: [&str; 3] = ["allowed_environments", "allowed_images", "allowed_image_digests"];
/// Other keys of an entry that could be taken for one of a family, mistyped.
const OTHERS: [&str; 4] = ["deny_if", "required_params", "daily_budget", "approval_needed"];
/// Keys that only an entry has.
const OF_ENTRIES: [&str; 6] =
    ["approval_needed", "approval", "required_params", "sanitize", "on_violation", "allowed_environments"];

/// The family and the parameter that a key names.
pub(super) fn family(key: &str) -> Option<(Family, &str)> {
    let (word, param) = key.split_once('_')?;
    let (_, family) = FAMILIES.iter().find(|(known, _)| *known == word)?;
    let mistyped = |fixed: &&str| key.len().abs_diff(fixed.len()) <= 2 && strsim::osa_distance(key, fixed) <= 2;
    (*family != Family::Allowed || !FIXED.iter().any(mistyped)).then_some((*family, param))
}

/// Whether a rule's parameter is the environment, which is none: it follows from the target.
pub(super) fn is_environment(param: &str) -> bool {
    ["env", "envs", "environment", "environments"].contains(&param)
}

/// Ends the reading of an entry: what is left is unknown.
pub(super) fn finish(mut fields: Fields<'_>) {
    for key in fields.unasked() {
        let Some(meant) = meant_family(&key.name) else { continue };
        fields.node(&key.name);
        fields.error_at(&key.name, key.place, "unknown key", Some(format!("did you mean `{meant}`?")));
    }
    fields.finish();
}

/// Says of keys that stand beside `actions` that they belong under it.
pub(super) fn refuse_those_of_entries(fields: &mut Fields<'_>) {
    for key in fields.unasked() {
        let name = key.name.as_str();
        if OF_ENTRIES.contains(&name)
            || FIXED.contains(&name)
            || family(name).is_some_and(|(_, param)| !param.is_empty())
        {
            fields.node(name);
            let suggestion = "put it into each entry that it is for".to_owned();
            fields.error_at(name, key.place, "the key belongs into an entry of `actions`", Some(suggestion));
        }
    }
}

/// The key of a family that this one was probably meant to be.
fn meant_family(key: &str) -> Option<String> {
    let snake = snake_case(key);
    if OTHERS.iter().any(|other| strsim::osa_distance(&snake, other) <= 2) {
        // Its nearest key is found without us.
        return None;
    }
    if family(&snake).is_some() || FIXED.contains(&snake.as_str()) {
        return (snake != key).then_some(snake);
    }
    let (word, param) = snake.split_once('_').filter(|(_, param)| !param.is_empty())?;
    let synonym = SYNONYMS.iter().find(|(synonym, _)| *synonym == word).map(|(_, known)| *known);
    let near = || {
        let near = FAMILIES.iter().map(|(known, _)| (strsim::osa_distance(word, known), *known));
        near.filter(|(distance, known)| *distance <= known.len() / 3).min().map(|(_, known)| known)
    };
    let key = format!("{}_{param}", synonym.or_else(near)?);
    match family(&key) {
        Some(_) => Some(key),
        // Near to a fixed one: that is meant.
        None => FIXED.into_iter().min_by_key(|fixed| strsim::osa_distance(&key, fixed)).map(str::to_owned),
    }
}

/// `maxReplicas` and `max-replicas` as `max_replicas`.
fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        match letter {
            '-' => snake.push('_'),
            'A'..='Z' => {
                if !snake.is_empty() && !snake.ends_with('_') {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            other => snake.push(other),
        }
    }
    snake
}
