//! Conditions: CEL text → a small three-valued form, evaluated here and written as Rego.
//!
//! A condition is true, false or *unknown*; unknown is what a missing or mistyped operand makes of a comparison, and the
//! caller denies on it. `&&` and `||` follow CEL: a false (true) side decides, whatever the other one is; so do `all` and
//! `exists` with their elements.
//!
//! What is looked at:
//! - the call: `env`, `tool`, `action`, `destination.host`, `destination.port`, `params.…`; any other bare name is a parameter;
//! - who asks: `agent.id`, `agent.groups`, `agent.parent` (absent for an agent that acts for itself), `chain` (its callers,
//!   nearest first);
//! - when, in the policy's time zone: `time.weekday`, `.hour`, `.minute`, `.day`, `.month`, `.year`, `.date`, `.unix`, and
//!   `time.freezes`, the names of the policy's freezes that are on;
//! - what went before: `session.labels`, and `session.count["…"]`, which is 0 for what never happened.
//!
//! There is one kind of number, JSON's: compared as numbers, whole or not, up to ±(2^53−1), the range in which every JSON
//! reader agrees. Arithmetic is on whole numbers only; `/` cuts off the fraction and `%` has the sign of its left side, as
//! CEL's do on integers. Strings compare, and are counted, by code point. A mapping's elements are its keys.
//!
//! Invariants: native and Rego agree on every input, for every expression that [`Condition::compile`] accepts; what can't be
//! said faithfully in both is refused there, with what to write instead. Constants, parameter names, zones and freezes are
//! lifted out of the Rego into data, so that conditions of the same shape share one rule. Work is bounded: by the length and
//! depth of the text, by [`MAX_ELEMENTS`] of a list, and by one `all` or `exists` at a time.
//!
//! Deliberately absent: string `+`, `map`, `filter`, conversions, timestamps as values, CEL's own evaluator.

mod eval;
mod inspect;
mod lower;
mod pattern;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(super) use pattern::Pattern;
use serde::Serialize;
pub(super) use shape::Shape;

use super::calendar::{Calendar, TimeField, Zone};

/// The largest whole number that every JSON reader agrees on: 2^53 − 1.
pub(super) const SAFE: i64 = (1 << 53) - 1;
/// Most elements that `all` and `exists` look at; of a longer list nothing is known. `rego/condition.rego` says the same.
const MAX_ELEMENTS: usize = 1_000;

/// A condition of a policy, ready for both back ends.
#[derive(Debug, Serialize)]
pub(super) struct Condition {
    /// As the author wrote it, for the approver and the agent.
    #[serde(skip)]
    pub(super) text: String,
    /// The shape's id: which generated rule it is.
    pub(super) shape: String,
    /// What that rule is asked with.
    pub(super) consts: Vec<serde_json::Value>,
    /// The generated rule, until it is collected with all others of its shape.
    #[serde(skip)]
    pub(super) rule: Option<Shape>,
    /// What has to be known for it, besides the call and the agent.
    #[serde(skip)]
    pub(super) uses: Uses,
    #[serde(skip)]
    expr: Expr,
}

/// What conditions look at that somebody has to keep for them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Uses {
    /// The zone that they are asked the time in.
    pub(super) zone: Option<Zone>,
    /// Whether they look at the session at all.
    pub(super) session: bool,
    /// What they ask the session's counts for.
    pub(super) counts: BTreeSet<String>,
    /// The labels that they ask for by name.
    pub(super) labels: BTreeSet<String>,
}

/// What a condition says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

/// Why a text is no condition of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Characters into the text, where that is known.
    pub(super) offset: Option<usize>,
    /// What is wrong.
    pub(super) message: String,
}

impl Condition {
    /// Reads CEL.
    pub(super) fn compile(text: &str, calendar: &Calendar) -> Result<Self, Refusal> {
        let (expr, uses) = lower::lower(text, calendar)?;
        Ok(Self { uses, ..Self::of(text.trim().to_owned(), expr) })
    }

    /// The condition that is always `value`.
    pub(super) fn constant(value: bool) -> Self {
        Self::of(value.to_string(), Expr::Const(value))
    }

    fn of(text: String, expr: Expr) -> Self {
        let (rule, consts) = Shape::of(&expr);
        Self { text, shape: rule.id.clone(), consts, rule: Some(rule), uses: Uses::default(), expr }
    }
}

/// A three-valued expression.
#[derive(Debug, Clone)]
enum Expr {
    Const(bool),
    /// A parameter that is `true` or `false` itself.
    Flag(Path),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Compare(Relation, Kind, Term, Term),
    /// One of these constants, all of one kind.
    OneOf(Term, Kind, Vec<Scalar>),
    /// An element of a list, or a key of a mapping.
    Within(Term, Path),
    Text(TextTest, Term, Term),
    Matches(Term, Pattern),
    /// Whether a mapping has a key.
    Has(Path, String),
    IsNull(Path),
    /// Of all elements of a list, or of some; they are [`Root::Element`] inside.
    Quantified(Quantifier, Path, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    All,
    Exists,
}

/// What both sides of a comparison must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bool,
    /// Not known before the call: both sides must be of the same one.
    Any,
}

/// A value.
#[derive(Debug, Clone)]
enum Term {
    Scalar(Scalar),
    Path(Path),
    Arithmetic(Operation, Box<Term>, Box<Term>),
    Negative(Box<Term>),
    /// How many elements a list, keys a mapping, or characters a text has.
    Size(Path),
    /// How often something happened in the session.
    Count(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    root: Root,
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    Env,
    Tool,
    Action,
    Params,
    AgentId,
    AgentGroups,
    /// The callers, nearest first.
    Chain,
    Destination,
    DestinationHost,
    DestinationPort,
    Time(Zone, TimeField),
    Labels,
    /// The element that is looked at; of this kind.
    Element(Kind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Name(String),
    Index(u64),
}
