//! Forms whose field names have brackets (`metadata[env]=prod`, `items[0][price]=p`, `types[]=card`) or dots, as nested objects.
//!
//! `[name]` is a member, digits too: `*` in a pointer goes over them as over a list. `[]` at the end is a list. What some
//! reader would take for something else is [`Unreadable`]: a field twice, a field that is both a value and an object, brackets
//! that don't match, `[]` in the middle, a name that begins with a space.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Unreadable;
use super::json::MAX_DEPTH;
use super::pointer::fold;
use super::target::pairs;

/// Reads the whole form.
pub(super) fn parse(body: &[u8]) -> Result<Value, Unreadable> {
    nested(fields(body)?)
}

/// The same of AWS's forms, whose names have dots: `InstanceId.1` is a member of `InstanceId`.
pub(super) fn dotted(body: &[u8]) -> Result<Value, Unreadable> {
    placed(fields(body)?, dots)
}

/// Puts fields in their places.
pub(super) fn nested(fields: impl IntoIterator<Item = (String, Value)>) -> Result<Value, Unreadable> {
    placed(fields, steps)
}

fn fields(body: &[u8]) -> Result<impl Iterator<Item = (String, Value)>, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable::new("form_malformed", "the form is not UTF-8"))?;
    Ok(pairs(text)?.into_iter().map(|(name, text)| (name, Value::String(text))))
}

fn placed(
    fields: impl IntoIterator<Item = (String, Value)>,
    steps: fn(&str) -> Result<Vec<&str>, Unreadable>,
) -> Result<Value, Unreadable> {
    let mut whole = Map::new();
    let mut seen = BTreeSet::new();
    for (name, value) in fields {
        let steps = steps(&name)?;
        let is_item = steps.last().is_some_and(|step| step.is_empty());
        if !seen.insert(fold(&name)) && !is_item {
            return Err(Unreadable::new("form_duplicate_field", format!("the form's field {name:?} stands twice")));
        }
        place(&mut whole, &steps, value, &name)?;
    }
    Ok(Value::Object(whole))
}

/// `a.b.1` as `a`, `b` and `1`; none is empty.
fn dots(name: &str) -> Result<Vec<&str>, Unreadable> {
    let steps: Vec<&str> = name.split('.').collect();
    if steps.len() > MAX_DEPTH || steps.iter().any(|step| step.is_empty()) {
        return Err(Unreadable::new("form_dots", format!("the form's field {name:?} can be read in two ways")));
    }
    Ok(steps)
}

/// `a[b][]` as `a`, `b` and the empty text.
fn steps(name: &str) -> Result<Vec<&str>, Unreadable> {
    let malformed = || Unreadable::new("form_brackets", format!("the form's field {name:?} can be read in two ways"));
    let (first, mut rest) = name.find('[').and_then(|at| name.split_at_checked(at)).unwrap_or((name, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:@".contains(&byte));
    if first.is_empty() || !plain(first) {
        return Err(malformed());
    }
    let mut steps = vec![first];
    while !rest.is_empty() {
        let (step, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(malformed)?;
        let list_within = step.is_empty() && !after.is_empty();
        if list_within || step.contains('[') || steps.len() >= MAX_DEPTH {
            return Err(malformed());
        }
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn place(map: &mut Map<String, Value>, steps: &[&str], value: Value, name: &str) -> Result<(), Unreadable> {
    let conflict = || Unreadable::new("form_conflict", format!("the form's field {name:?} is two things at once"));
    match steps {
        [] => Err(conflict()),
        [last] if map.contains_key(*last) => Err(conflict()),
        [last] => {
            map.insert((*last).to_owned(), value);
            Ok(())
        }
        [list, ""] => {
            let list = map.entry(*list).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().ok_or_else(conflict)?.push(value);
            Ok(())
        }
        [first, rest @ ..] => {
            let within = map.entry(*first).or_insert_with(|| Value::Object(Map::new()));
            place(within.as_object_mut().ok_or_else(conflict)?, rest, value, name)
        }
    }
}

#[cfg(test)]
mod tests;
