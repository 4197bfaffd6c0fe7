//! What policies want redacted, done to the call before anything else is said of it: what a human approves, what is
//! forwarded and what is recorded is the redacted call.

use crate::call::{Digest, ToolCall};
use crate::policy::{Asked, Mode, PolicySet};
use crate::problem::Violation;
use crate::sanitize::{self, Redaction, Sanitizer};

/// What became of a call that policies want redacted.
#[derive(Debug, Default)]
pub(super) struct Redacted {
    /// What was taken out.
    pub(super) redactions: Vec<Redaction>,
    /// Something was taken out, by these policies.
    pub(super) done: Vec<Violation>,
    /// Something would be taken out, by policies that only observe.
    pub(super) watched: Vec<Violation>,
    /// Something has to be taken out and can't be.
    pub(super) impossible: Option<Violation>,
}

/// Redacts a call as the enforcing ones of `sanitizers` want it. With `plain` its answer will be looked through too.
pub(super) fn redact(call: &mut ToolCall, sanitizers: Vec<Sanitizer>, plain: bool) -> Redacted {
    let mut redacted = Redacted::default();
    if plain {
        sanitize::ask_for_plain(call);
    }
    if sanitizers.is_empty() {
        return redacted;
    }
    let (enforced, watched): (Vec<_>, Vec<_>) = sanitizers.into_iter().partition(|one| one.mode == Mode::Enforce);
    for one in &watched {
        let found = sanitize::find(call, std::slice::from_ref(one));
        redacted.watched.extend((!found.is_empty()).then(|| violation(one, &found)));
    }
    let before: Vec<Violation> = enforced
        .iter()
        .filter_map(|one| {
            let found = sanitize::find(call, std::slice::from_ref(one));
            (!found.is_empty()).then(|| violation(one, &found))
        })
        .collect();
    match sanitize::apply(call, &enforced) {
        Ok(redactions) => {
            redacted.done = before;
            if let (true, false, Some(one)) = (redacted.done.is_empty(), redactions.is_empty(), enforced.first()) {
                // Found in the body only, beside the parameters.
                redacted.done.push(violation(one, &redactions));
            }
            redacted.redactions = redactions;
        }
        Err(why) => {
            let policy = enforced.first().map(|one| one.policy.clone()).unwrap_or_default();
            redacted.impossible =
                Some(Violation { policy, ..Violation::of_gateway("sanitize", why.reason, why.message) });
        }
    }
    redacted
}

/// The digest that an approval of this call is bound to: that of the call as it would run.
pub fn approval_digest(policies: &PolicySet, asked: Asked<'_>) -> Option<Digest> {
    let sanitizers: Vec<Sanitizer> =
        policies.sanitizers(asked).into_iter().filter(|one| one.mode == Mode::Enforce).collect();
    let plain = !policies.redacted_answers(asked).is_empty();
    if sanitizers.is_empty() && !plain {
        return asked.call.digest();
    }
    let mut call = asked.call.clone();
    if plain {
        sanitize::ask_for_plain(&mut call);
    }
    sanitize::apply(&mut call, &sanitizers).ok()?;
    call.digest()
}

fn violation(sanitizer: &Sanitizer, found: &[Redaction]) -> Violation {
    let places: Vec<String> = found.iter().map(|one| format!("{} in {}", one.kind, one.path)).collect();
    Violation {
        policy: sanitizer.policy.clone(),
        ..Violation::of_gateway("sanitize", "redacted", format!("{} is redacted", places.join(", ")))
    }
}
