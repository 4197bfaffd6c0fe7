//! regorus' interpreter behind one door: a limit on time, the built-ins that it would answer otherwise than OPA replaced, and
//! failures that say what and where without any value of the call.
//!
//! Invariants: a clone answers one call and is dropped; whatever isn't an answer is a [`Failure`]. Deliberately absent:
//! queries (a rule is asked by its path), tracing, strict errors of built-ins (OPA's are undefined, too).

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use regorus::LimitError;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::Value;

use super::builtins;

/// Steps between two looks at the time.
const LOOK_EVERY: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// Why there is no answer: for the operator, without any value of the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(in crate::policy) struct Failure {
    /// What went wrong, behind its place where that is known.
    pub(in crate::policy) why: String,
    /// Whether it is the module's, whatever the call: such a module isn't loaded.
    pub(in crate::policy) defect: bool,
}

impl Failure {
    /// A failure that another call may not have.
    pub(in crate::policy) fn of_the_call(why: impl Into<String>) -> Self {
        Self { why: why.into(), defect: false }
    }
}

/// Modules and data, ready to be asked.
#[derive(Clone)]
pub(in crate::policy) struct Engine(regorus::Engine);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Reads modules (name and text) and data (JSON objects, merged). `limit` is the longest time for one rule and all that
    /// it needs.
    ///
    /// # Errors
    /// What regorus refuses. Much is only found when a rule is asked: [`super::lint`] looks first.
    pub(in crate::policy) fn new<'a>(
        modules: impl Iterator<Item = (&'a str, &'a str)>,
        data: impl Iterator<Item = Cow<'a, str>>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        guarded(|| {
            let mut engine = regorus::Engine::new();
            engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval: LOOK_EVERY });
            engine.set_strict_builtin_errors(false);
            builtins::replace(&mut engine).map_err(|error| told(&error))?;
            for (name, text) in modules {
                engine.add_policy(name.to_owned(), text.to_owned()).map_err(|error| told(&error))?;
            }
            for text in data {
                let data = regorus::Value::from_json_str(&text).map_err(|error| told(&error))?;
                engine.add_data(data).map_err(|error| told(&error))?;
            }
            engine.set_input(regorus::Value::new_object());
            Ok(Self(engine))
        })
    }

    /// Asks a rule without an input, so that clones share what the first evaluation compiles.
    ///
    /// # Errors
    /// What is wrong with any module.
    pub(in crate::policy) fn prepare(&mut self, rule: &str) -> Result<(), Failure> {
        guarded(|| self.0.eval_rule(rule.to_owned()).map(drop).map_err(|error| told(&error)))
    }

    /// The value of a rule; `None` is undefined. Sets come as lists.
    ///
    /// # Errors
    /// Whatever isn't an answer: a limit, a conflict, a value of a type that an operator doesn't take.
    pub(in crate::policy) fn ask(&mut self, rule: &str) -> Result<Option<Value>, Failure> {
        guarded(|| match self.0.eval_rule(rule.to_owned()) {
            Ok(regorus::Value::Undefined) => Ok(None),
            Ok(value) => serde_json::to_value(&value)
                .map(Some)
                .map_err(|_| Failure::of_the_call("the answer has no form in JSON")),
            Err(error) => Err(told(&error)),
        })
    }

    /// Sets the input document of this clone.
    ///
    /// # Errors
    /// When the document has no form in Rego.
    pub(in crate::policy) fn set_input(&mut self, input: &Value) -> Result<(), Failure> {
        guarded(|| {
            let input = serde_json::from_value(input.clone());
            self.0.set_input(input.map_err(|_| Failure::of_the_call("the input has no form in Rego"))?);
            Ok(())
        })
    }
}

/// A panic in the library is a failure like any other: the call is denied and the gateway lives on.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Failure::of_the_call("the Rego interpreter panicked")))
}

/// What went wrong in words of ours, and where: the library's own text may quote values.
fn told(error: &(impl std::ops::Deref<Target = dyn std::error::Error + Send + Sync> + ToString)) -> Failure {
    let source: &(dyn std::error::Error + 'static) = &**error;
    if let Some(limit) = source.downcast_ref::<LimitError>() {
        return Failure::of_the_call(match limit {
            LimitError::TimeLimitExceeded { limit, .. } => {
                format!("the evaluation took longer than {} ms", limit.as_millis())
            }
            LimitError::MemoryLimitExceeded { .. } => "the evaluation needs too much memory".to_owned(),
            LimitError::RegexSizeLimitExceeded { .. } => "a pattern is too large".to_owned(),
        });
    }
    let text = error.to_string();
    let known = KNOWN.iter().find(|(theirs, ..)| text.contains(theirs));
    let (what, defect) = known.map_or(("the evaluation failed", true), |(_, ours, defect)| (*ours, *defect));
    let why = match place(&text) {
        Some((file, line, _)) => format!("{file}:{line}: {what}"),
        None => what.to_owned(),
    };
    Failure { why, defect }
}

/// Where an error of regorus' says it is: `--> file:line:column`, on a line of its own. A tab is four columns to it.
pub(in crate::policy) fn place(text: &str) -> Option<(&str, usize, usize)> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("--> "))?;
    let (rest, column) = line.trim_end().rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

/// Parts of regorus' errors, what we call them, and whether they are the module's whatever the call.
const KNOWN: [(&str, &str, bool); 12] = [
    (builtins::NO_AGREED_ANSWER, "a built-in was given what engines answer differently", false),
    ("expects numeric argument", "a number is needed here, and the call has something else", false),
    ("expects array/set/object", "a list, set or object is needed here, and the call has something else", false),
    ("should not produce multiple outputs", "a rule has two different values", false),
    ("must not produce multiple outputs", "a function has two different values", false),
    ("conflict", "a rule has two different values", false),
    ("not an object", "a head's value is undefined", false),
    ("recursion detected", "a rule needs itself", true),
    ("unsafe", "a variable has no value here", true),
    ("could not find function", "there is no such function", true),
    ("undefined rule", "there is no such rule", true),
    ("not a valid rule path", "there is no such rule", true),
];
