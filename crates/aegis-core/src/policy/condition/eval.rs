//! The three-valued form, evaluated on a call without making a document of it.

use serde_json::{Map, Value};

use super::{Condition, Expr, Key, Kind, Operation, Path, Relation, Root, SAFE, Scalar, Term, TextTest, Truth};
use crate::policy::Asked;

/// A value of a call.
#[derive(Debug, Clone, Copy)]
enum Val<'a> {
    Text(&'a str),
    Number(f64),
    Bool(bool),
    List(&'a [Value]),
    Names(&'a [String]),
    Object(&'a Map<String, Value>),
    /// `null`, or a number that JSON readers don't agree on.
    Other,
}

impl Condition {
    /// What the condition says of a call.
    pub(in crate::policy) fn holds(&self, asked: Asked<'_>) -> Truth {
        match self.expr.holds(asked) {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unknown,
        }
    }
}

impl Expr {
    fn holds(&self, asked: Asked<'_>) -> Option<bool> {
        match self {
            Self::Const(value) => Some(*value),
            Self::Flag(path) => match path.find(asked)? {
                Val::Bool(value) => Some(value),
                _ => None,
            },
            Self::Not(inner) => inner.holds(asked).map(|value| !value),
            Self::And(left, right) => match left.holds(asked) {
                Some(false) => Some(false),
                Some(true) => right.holds(asked),
                None => right.holds(asked).filter(|value| !value),
            },
            Self::Or(left, right) => match left.holds(asked) {
                Some(true) => Some(true),
                Some(false) => right.holds(asked),
                None => right.holds(asked).filter(|value| *value),
            },
            Self::If(condition, yes, no) => {
                if condition.holds(asked)? {
                    yes.holds(asked)
                } else {
                    no.holds(asked)
                }
            }
            Self::Compare(relation, kind, left, right) => {
                compare(*relation, *kind, left.value(asked)?, right.value(asked)?)
            }
            Self::OneOf(term, kind, list) => {
                let value = term.value(asked)?;
                same_kind(value, *kind).then(|| list.iter().any(|scalar| equal(value, scalar.as_val())))
            }
            Self::Within(term, path) => within(term.value(asked)?, path.find(asked)?),
            Self::Text(test, left, right) => match (left.value(asked)?, right.value(asked)?) {
                (Val::Text(left), Val::Text(right)) => Some(match test {
                    TextTest::StartsWith => left.starts_with(right),
                    TextTest::EndsWith => left.ends_with(right),
                    TextTest::Contains => left.contains(right),
                }),
                _ => None,
            },
            Self::Matches(term, pattern) => match term.value(asked)? {
                Val::Text(text) => Some(pattern.is_match(text)),
                _ => None,
            },
            Self::Has(Path { root: Root::Destination, .. }, _) => Some(asked.call.destination.is_some()),
            Self::Has(path, key) => match path.find(asked)? {
                Val::Object(map) => Some(map.contains_key(key)),
                _ => None,
            },
        }
    }
}

impl Term {
    fn value<'a>(&'a self, asked: Asked<'a>) -> Option<Val<'a>> {
        match self {
            Self::Scalar(scalar) => Some(scalar.as_val()),
            Self::Path(path) => path.find(asked),
            Self::Arithmetic(operation, left, right) => {
                let (left, right) = (left.value(asked)?.whole()?, right.value(asked)?.whole()?);
                Val::safe(match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::Multiply => left * right,
                })
            }
            Self::Negative(inner) => match inner.value(asked)? {
                Val::Number(number) => Some(Val::Number(-number)),
                _ => None,
            },
            Self::Size(path) => {
                let size = match path.find(asked)? {
                    Val::List(items) => items.len(),
                    Val::Names(items) => items.len(),
                    Val::Object(map) => map.len(),
                    _ => return None,
                };
                Some(Val::Number(size as f64))
            }
        }
    }
}

impl Path {
    fn find<'a>(&self, asked: Asked<'a>) -> Option<Val<'a>> {
        let Asked { agent, call, .. } = asked;
        match self.root {
            Root::Env => Some(Val::Text(&call.environment.name)),
            Root::Tool => Some(Val::Text(&call.tool)),
            Root::Action => Some(Val::Text(&call.action)),
            Root::AgentId => Some(Val::Text(&agent.id)),
            Root::DestinationHost => call.destination.as_ref().map(|destination| Val::Text(&destination.host)),
            Root::DestinationPort => call.destination.as_ref().map(|d| Val::Number(f64::from(d.port))),
            Root::Destination => None,
            Root::AgentGroups => match self.keys.as_slice() {
                [] => Some(Val::Names(&agent.groups)),
                [Key::Index(index)] => agent.groups.get(usize::try_from(*index).ok()?).map(|g| Val::Text(g)),
                _ => None,
            },
            Root::Params => {
                let Some((Key::Name(first), rest)) = self.keys.split_first() else {
                    return Some(Val::Object(&call.params));
                };
                let found = rest.iter().try_fold(call.params.get(first)?, |value, key| match key {
                    Key::Name(name) => value.as_object()?.get(name),
                    Key::Index(index) => value.as_array()?.get(usize::try_from(*index).ok()?),
                });
                found.map(Val::of)
            }
        }
    }
}

impl<'a> Val<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Other,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => number.as_f64().and_then(Self::safe).unwrap_or(Self::Other),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items),
            Value::Object(map) => Self::Object(map),
        }
    }

    /// The number, if every JSON reader agrees on it.
    fn safe(number: f64) -> Option<Self> {
        (number.abs() <= SAFE as f64).then_some(Self::Number(number))
    }

    fn whole(self) -> Option<f64> {
        match self {
            Self::Number(number) if number.fract() == 0.0 => Some(number),
            _ => None,
        }
    }
}

impl Scalar {
    fn as_val(&self) -> Val<'_> {
        match self {
            Self::Text(text) => Val::Text(text),
            Self::Number(number) => number.as_f64().and_then(Val::safe).unwrap_or(Val::Other),
            Self::Bool(value) => Val::Bool(*value),
        }
    }
}

fn same_kind(value: Val<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Text => matches!(value, Val::Text(_)),
        Kind::Number => matches!(value, Val::Number(_)),
        Kind::Bool => matches!(value, Val::Bool(_)),
        Kind::Any => matches!(value, Val::Text(_) | Val::Number(_) | Val::Bool(_)),
    }
}

fn equal(left: Val<'_>, right: Val<'_>) -> bool {
    match (left, right) {
        (Val::Text(left), Val::Text(right)) => left == right,
        (Val::Number(left), Val::Number(right)) => left == right,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        _ => false,
    }
}

fn compare(relation: Relation, kind: Kind, left: Val<'_>, right: Val<'_>) -> Option<bool> {
    if !same_kind(left, kind) || !same_kind(right, kind) {
        return None;
    }
    let order = match (left, right) {
        (Val::Text(left), Val::Text(right)) => left.cmp(right),
        (Val::Number(left), Val::Number(right)) => left.partial_cmp(&right)?,
        (Val::Bool(left), Val::Bool(right)) if matches!(relation, Relation::Equal | Relation::NotEqual) => {
            left.cmp(&right)
        }
        _ => return None,
    };
    Some(match relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Less => order.is_lt(),
        Relation::LessOrEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::GreaterOrEqual => order.is_ge(),
    })
}

fn within(value: Val<'_>, container: Val<'_>) -> Option<bool> {
    if !same_kind(value, Kind::Any) {
        return None;
    }
    match (container, value) {
        (Val::List(items), _) => Some(items.iter().any(|item| equal(value, Val::of(item)))),
        (Val::Names(names), _) => Some(names.iter().any(|name| equal(value, Val::Text(name)))),
        (Val::Object(map), Val::Text(key)) => Some(map.contains_key(key)),
        _ => None,
    }
}
