//! The three-valued form, evaluated on a call without making a document of it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Condition, Expr, Key, Kind, MAX_ELEMENTS, Operation, Path, Quantifier, Relation, Root, SAFE, Scalar, Term,
    TextTest, Truth,
};
use crate::policy::Asked;
use crate::policy::calendar::TimeValue;

/// A value of a call.
#[derive(Debug, Clone)]
enum Val<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Bool(bool),
    List(&'a [Value]),
    Names(&'a [String]),
    Labels(&'a BTreeSet<String>),
    Object(&'a Map<String, Value>),
    Null,
    /// A number that JSON readers don't agree on.
    Other,
}

/// What an expression is evaluated on.
#[derive(Clone, Copy)]
struct Scope<'a> {
    asked: Asked<'a>,
    /// Inside `all` and `exists`.
    element: Option<Element<'a>>,
}

/// What `all` and `exists` look at, one after the other.
#[derive(Clone, Copy)]
enum Element<'a> {
    Value(&'a Value),
    Text(&'a str),
}

impl Condition {
    /// What the condition says of a call.
    pub(in crate::policy) fn holds(&self, asked: Asked<'_>) -> Truth {
        match self.expr.holds(Scope { asked, element: None }) {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unknown,
        }
    }
}

impl Expr {
    fn holds(&self, scope: Scope<'_>) -> Option<bool> {
        match self {
            Self::Const(value) => Some(*value),
            Self::Flag(path) => match path.find(scope)? {
                Val::Bool(value) => Some(value),
                _ => None,
            },
            Self::Not(inner) => inner.holds(scope).map(|value| !value),
            Self::And(left, right) => match left.holds(scope) {
                Some(false) => Some(false),
                Some(true) => right.holds(scope),
                None => right.holds(scope).filter(|value| !value),
            },
            Self::Or(left, right) => match left.holds(scope) {
                Some(true) => Some(true),
                Some(false) => right.holds(scope),
                None => right.holds(scope).filter(|value| *value),
            },
            Self::If(condition, yes, no) => {
                if condition.holds(scope)? {
                    yes.holds(scope)
                } else {
                    no.holds(scope)
                }
            }
            Self::Compare(relation, kind, left, right) => {
                compare(*relation, *kind, &left.value(scope)?, &right.value(scope)?)
            }
            Self::OneOf(term, kind, list) => {
                let value = term.value(scope)?;
                same_kind(&value, *kind).then(|| list.iter().any(|scalar| equal(&value, &scalar.as_val())))
            }
            Self::Within(term, path) => within(&term.value(scope)?, &path.find(scope)?),
            Self::Text(test, left, right) => match (left.value(scope)?, right.value(scope)?) {
                (Val::Text(left), Val::Text(right)) => Some(match test {
                    TextTest::StartsWith => left.starts_with(&*right),
                    TextTest::EndsWith => left.ends_with(&*right),
                    TextTest::Contains => left.contains(&*right),
                }),
                _ => None,
            },
            Self::Matches(term, pattern) => match term.value(scope)? {
                Val::Text(text) => Some(pattern.is_match(&text)),
                _ => None,
            },
            Self::Has(Path { root: Root::Destination, .. }, _) => Some(scope.asked.call.destination.is_some()),
            Self::Has(path, key) => match path.find(scope)? {
                Val::Object(map) => Some(map.contains_key(key)),
                _ => None,
            },
            Self::IsNull(path) => Some(matches!(path.find(scope)?, Val::Null)),
            Self::Quantified(quantifier, path, inner) => {
                quantified(*quantifier, &elements(path.find(scope)?)?, inner, scope)
            }
        }
    }
}

/// What is looked at, if it isn't too much.
fn elements(container: Val<'_>) -> Option<Vec<Element<'_>>> {
    let few = |size: usize| (size <= MAX_ELEMENTS).then_some(());
    match container {
        Val::List(items) => few(items.len()).map(|()| items.iter().map(Element::Value).collect()),
        Val::Names(names) => few(names.len()).map(|()| names.iter().map(|name| Element::Text(name)).collect()),
        Val::Labels(names) => few(names.len()).map(|()| names.iter().map(|name| Element::Text(name)).collect()),
        Val::Object(map) => few(map.len()).map(|()| map.keys().map(|key| Element::Text(key)).collect()),
        _ => None,
    }
}

/// One element decides: a false one `all`, a true one `exists`; without it, one that is unknown leaves it open.
fn quantified(quantifier: Quantifier, elements: &[Element<'_>], inner: &Expr, scope: Scope<'_>) -> Option<bool> {
    let decisive = quantifier == Quantifier::Exists;
    let mut open = false;
    for element in elements {
        match inner.holds(Scope { element: Some(*element), ..scope }) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decisive)
}

impl Term {
    fn value<'a>(&'a self, scope: Scope<'a>) -> Option<Val<'a>> {
        match self {
            Self::Scalar(scalar) => Some(scalar.as_val()),
            Self::Path(path) => path.find(scope),
            Self::Arithmetic(operation, left, right) => {
                let (left, right) = (left.value(scope)?.whole()?, right.value(scope)?.whole()?);
                Val::safe(match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::Multiply => left * right,
                    Operation::Divide | Operation::Remainder if right == 0.0 => return None,
                    // Exact: of whole numbers below 2^53 the rounded quotient never reaches the next whole number.
                    Operation::Divide => (left / right).trunc(),
                    Operation::Remainder => left % right,
                })
            }
            Self::Negative(inner) => match inner.value(scope)? {
                Val::Number(number) => Some(Val::Number(-number)),
                _ => None,
            },
            Self::Size(path) => {
                let size = match path.find(scope)? {
                    Val::List(items) => items.len(),
                    Val::Names(items) => items.len(),
                    Val::Labels(items) => items.len(),
                    Val::Object(map) => map.len(),
                    Val::Text(text) => text.chars().count(),
                    _ => return None,
                };
                Some(Val::Number(size as f64))
            }
            Self::Count(key) => Val::safe(scope.asked.session.counts.get(key).copied().unwrap_or(0) as f64),
        }
    }
}

impl Path {
    fn find<'a>(&self, scope: Scope<'a>) -> Option<Val<'a>> {
        let Asked { agent, call, now, session } = scope.asked;
        let text = |text: &'a str| Some(Val::Text(Cow::Borrowed(text)));
        match &self.root {
            Root::Env => text(&call.environment.name),
            Root::Tool => text(&call.tool),
            Root::Action => text(&call.action),
            Root::AgentId => text(&agent.id),
            Root::DestinationHost => call.destination.as_ref().and_then(|destination| text(&destination.host)),
            Root::DestinationPort => call.destination.as_ref().map(|d| Val::Number(f64::from(d.port))),
            Root::Destination => None,
            Root::AgentGroups => names(&agent.groups, &self.keys),
            Root::Chain => names(&agent.chain, &self.keys),
            Root::Labels => Some(Val::Labels(&session.labels)),
            Root::Time(zone, field) => Some(match field.at(now, zone) {
                TimeValue::Number(number) => Val::Number(number as f64),
                TimeValue::Word(word) => Val::Text(Cow::Borrowed(word)),
                TimeValue::Text(text) => Val::Text(Cow::Owned(text)),
            }),
            Root::Params => {
                let Some((Key::Name(first), rest)) = self.keys.split_first() else {
                    return Some(Val::Object(&call.params));
                };
                walk(call.params.get(first)?, rest).map(Val::of)
            }
            Root::Element(_) => match (scope.element?, self.keys.as_slice()) {
                (Element::Value(value), keys) => walk(value, keys).map(Val::of),
                (Element::Text(name), []) => text(name),
                (Element::Text(_), _) => None,
            },
        }
    }
}

fn walk<'a>(value: &'a Value, keys: &[Key]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |value, key| match key {
        Key::Name(name) => value.as_object()?.get(name),
        Key::Index(index) => value.as_array()?.get(usize::try_from(*index).ok()?),
    })
}

/// All of them, or one.
fn names<'a>(names: &'a [String], keys: &[Key]) -> Option<Val<'a>> {
    match keys {
        [] => Some(Val::Names(names)),
        [Key::Index(index)] => names.get(usize::try_from(*index).ok()?).map(|name| Val::Text(Cow::Borrowed(name))),
        _ => None,
    }
}

impl<'a> Val<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => number.as_f64().and_then(Self::safe).unwrap_or(Self::Other),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(items) => Self::List(items),
            Value::Object(map) => Self::Object(map),
        }
    }

    /// The number, if every JSON reader agrees on it.
    fn safe(number: f64) -> Option<Self> {
        (number.abs() <= SAFE as f64).then_some(Self::Number(number))
    }

    fn whole(&self) -> Option<f64> {
        match self {
            Self::Number(number) if number.fract() == 0.0 => Some(*number),
            _ => None,
        }
    }
}

impl Scalar {
    fn as_val(&self) -> Val<'_> {
        match self {
            Self::Text(text) => Val::Text(Cow::Borrowed(text)),
            Self::Number(number) => number.as_f64().and_then(Val::safe).unwrap_or(Val::Other),
            Self::Bool(value) => Val::Bool(*value),
        }
    }
}

fn same_kind(value: &Val<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Text => matches!(value, Val::Text(_)),
        Kind::Number => matches!(value, Val::Number(_)),
        Kind::Bool => matches!(value, Val::Bool(_)),
        Kind::Any => matches!(value, Val::Text(_) | Val::Number(_) | Val::Bool(_)),
    }
}

fn equal(left: &Val<'_>, right: &Val<'_>) -> bool {
    match (left, right) {
        (Val::Text(left), Val::Text(right)) => left == right,
        (Val::Number(left), Val::Number(right)) => left == right,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        _ => false,
    }
}

fn compare(relation: Relation, kind: Kind, left: &Val<'_>, right: &Val<'_>) -> Option<bool> {
    if !same_kind(left, kind) || !same_kind(right, kind) {
        return None;
    }
    let order = match (left, right) {
        (Val::Text(left), Val::Text(right)) => left.cmp(right),
        (Val::Number(left), Val::Number(right)) => left.partial_cmp(right)?,
        (Val::Bool(left), Val::Bool(right)) if matches!(relation, Relation::Equal | Relation::NotEqual) => {
            left.cmp(right)
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

fn within(value: &Val<'_>, container: &Val<'_>) -> Option<bool> {
    if !same_kind(value, Kind::Any) {
        return None;
    }
    let among = |name: &String| matches!(value, Val::Text(text) if text == name);
    match (container, value) {
        (Val::List(items), _) => Some(items.iter().any(|item| equal(value, &Val::of(item)))),
        (Val::Names(names), _) => Some(names.iter().any(among)),
        (Val::Labels(names), _) => Some(names.iter().any(among)),
        (Val::Object(map), Val::Text(key)) => Some(map.contains_key(&**key)),
        _ => None,
    }
}
