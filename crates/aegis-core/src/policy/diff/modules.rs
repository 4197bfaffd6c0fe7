//! Custom modules, before and after. They are for every agent and may only restrict, so one that comes is less; what another
//! text says of calls nobody can tell.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Change, Direction};
use crate::policy::Mode;
use crate::policy::custom::Custom;

/// Everything that changes.
pub(super) fn compare(before: &[Custom], after: &[Custom]) -> Vec<Change> {
    let mut pairs: BTreeMap<&str, (Option<&Custom>, Option<&Custom>)> = BTreeMap::new();
    before.iter().for_each(|module| pairs.entry(&module.id).or_default().0 = Some(module));
    after.iter().for_each(|module| pairs.entry(&module.id).or_default().1 = Some(module));
    pairs.into_iter().flat_map(|(id, pair)| of_one(id, pair)).collect()
}

fn of_one(id: &str, pair: (Option<&Custom>, Option<&Custom>)) -> Vec<Change> {
    let change = |rule: &str, direction, mode, values: (Value, Value), sentence: &str| {
        let observed = if mode == Mode::Shadow { " (only observed)" } else { "" };
        Change {
            agents: vec!["*".to_owned()],
            policy: id.to_owned(),
            entry: None,
            rule: rule.to_owned(),
            direction,
            mode,
            before: values.0,
            after: values.1,
            sentence: format!("every agent {sentence}{observed}"),
        }
    };
    let text = |module: &Custom| json!(module.text);
    match pair {
        (None, Some(module)) => {
            let sentence = "may do less: a custom module is asked as well, and may only restrict";
            vec![change("rego", Direction::Less, module.mode, (Value::Null, text(module)), sentence)]
        }
        (Some(module), None) => {
            let sentence = "may do more: a custom module, which could only restrict, is no longer asked";
            vec![change("rego", Direction::More, module.mode, (text(module), Value::Null), sentence)]
        }
        (Some(was), Some(is)) => {
            let mut changes = Vec::new();
            if was.text != is.text {
                let sentence = "is judged differently: a custom module has another text";
                let mode = was.mode.min(is.mode);
                changes.push(change("rego", Direction::Different, mode, (text(was), text(is)), sentence));
            }
            if was.mode != is.mode {
                let (direction, sentence) = match is.mode {
                    Mode::Shadow => (Direction::More, "may do more: a custom module only observes"),
                    Mode::Enforce => (Direction::Less, "may do less: what a custom module says is enforced"),
                };
                changes.push(change("mode", direction, Mode::Enforce, (json!(was.mode), json!(is.mode)), sentence));
            }
            changes
        }
        (None, None) => Vec::new(),
    }
}
