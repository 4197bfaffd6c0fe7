//! Conditions: CEL text → a small three-valued form, evaluated here and written as Rego.
//!
//! A condition is true, false or *unknown*; unknown is what a missing or mistyped operand makes of a comparison, and the
//! caller denies on it. `&&` and `||` follow CEL: a false (true) side decides, whatever the other one is.
//!
//! What is looked at: `env`, `tool`, `action`, `agent.id`, `agent.groups`, `destination.host`, `destination.port`,
//! `params.…`; any other bare name is a parameter. Numbers are compared as numbers, whole or not, up to ±(2^53−1), the
//! range in which every JSON reader agrees; arithmetic is on whole numbers only. Strings compare by code point.
//!
//! Invariants: native and Rego agree on every input, for every expression that [`Condition::compile`] accepts; what can't be
//! said faithfully in both is refused there. Constants and parameter names are lifted out of the Rego into data, so that
//! conditions of the same shape share one rule.
//!
//! Deliberately absent: `/`, `%`, string `+`, `size()` of text (the engines count differently), comprehensions, time,
//! conversions, CEL's own evaluator.

mod eval;
mod inspect;
mod lower;
mod pattern;
mod shape;
#[cfg(test)]
mod tests;

pub(super) use pattern::Pattern;
use serde::Serialize;
pub(super) use shape::Shape;

/// The largest whole number that every JSON reader agrees on: 2^53 − 1.
pub(super) const SAFE: i64 = (1 << 53) - 1;

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
    #[serde(skip)]
    expr: Expr,
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
    pub(super) fn compile(text: &str) -> Result<Self, Refusal> {
        Ok(Self::of(text.trim().to_owned(), lower::lower(text)?))
    }

    /// The condition that is always `value`.
    pub(super) fn constant(value: bool) -> Self {
        Self::of(value.to_string(), Expr::Const(value))
    }

    fn of(text: String, expr: Expr) -> Self {
        let (rule, consts) = Shape::of(&expr);
        Self { text, shape: rule.id.clone(), consts, rule: Some(rule), expr }
    }
}

/// A three-valued expression.
#[derive(Debug)]
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
#[derive(Debug)]
enum Term {
    Scalar(Scalar),
    Path(Path),
    Arithmetic(Operation, Box<Term>, Box<Term>),
    Negative(Box<Term>),
    /// How many elements a list, or keys a mapping, has.
    Size(Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Env,
    Tool,
    Action,
    Params,
    AgentId,
    AgentGroups,
    Destination,
    DestinationHost,
    DestinationPort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Name(String),
    Index(u64),
}
