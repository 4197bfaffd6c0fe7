//! What can be said of a condition before any call: for lints, never for a decision.

use std::collections::BTreeSet;

use super::{Condition, Expr, Key, Path, Relation, Root, Scalar, Term, TimeField, Truth};

impl Condition {
    /// Its value where it is written as `true` or `false`.
    pub(in crate::policy) fn is_constant(&self) -> Option<bool> {
        match self.expr {
            Expr::Const(value) => Some(value),
            _ => None,
        }
    }

    /// What it is in this environment, or in every one, whatever else the call is; unknown where that depends on the call.
    pub(in crate::policy) fn in_any_call(&self, environment: Option<&str>) -> Truth {
        abstractly(&self.expr, environment)
    }

    /// The environments that it compares with.
    pub(in crate::policy) fn environments(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        walk(&self.expr, &mut |expr| match expr {
            Expr::Compare(Relation::Equal | Relation::NotEqual, _, left, right) => {
                names.extend(compared_with_env(left, right).or_else(|| compared_with_env(right, left)));
            }
            Expr::OneOf(Term::Path(path), _, list) if is_env(path) => names.extend(list.iter().filter_map(text)),
            _ => {}
        });
        names
    }

    /// Bare names that it compares with what is always a text, as in `env == production`: parameters, where a text was
    /// probably meant. `params.production` says that a parameter is meant.
    pub(in crate::policy) fn unquoted(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        walk(&self.expr, &mut |expr| {
            if let Expr::Compare(Relation::Equal | Relation::NotEqual, _, Term::Path(left), Term::Path(right)) = expr {
                let bare = [(left, right), (right, left)].map(|(one, other)| bare(other).filter(|_| is_word(one)));
                names.extend(bare.into_iter().flatten());
            }
        });
        names.retain(|name| !self.text.contains(&format!("params.{name}")));
        names
    }

    /// The name that it consists of: `yes` is a parameter, not a yes.
    pub(in crate::policy) fn only_name(&self) -> Option<&str> {
        match &self.expr {
            Expr::Flag(path) => bare(path).filter(|name| *name == self.text),
            _ => None,
        }
    }

    /// The texts that it compares the weekday with.
    pub(in crate::policy) fn weekdays(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        walk(&self.expr, &mut |expr| match expr {
            Expr::Compare(_, _, Term::Path(path), Term::Scalar(scalar))
            | Expr::Compare(_, _, Term::Scalar(scalar), Term::Path(path))
                if is_weekday(path) =>
            {
                names.extend(text(scalar));
            }
            Expr::OneOf(Term::Path(path), _, list) if is_weekday(path) => names.extend(list.iter().filter_map(text)),
            _ => {}
        });
        names
    }

    /// The patterns of its `matches()`, as the engines read them.
    pub(in crate::policy) fn patterns(&self) -> Vec<&str> {
        let mut patterns = Vec::new();
        walk(&self.expr, &mut |expr| {
            if let Expr::Matches(_, pattern) = expr {
                patterns.push(pattern.as_str());
            }
        });
        patterns
    }
}

fn walk<'a>(expr: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    visit(expr);
    match expr {
        Expr::Not(inner) | Expr::Quantified(_, _, inner) => walk(inner, visit),
        Expr::And(left, right) | Expr::Or(left, right) => [left, right].into_iter().for_each(|side| walk(side, visit)),
        Expr::If(condition, yes, no) => [condition, yes, no].into_iter().for_each(|part| walk(part, visit)),
        _ => {}
    }
}

fn is_env(path: &Path) -> bool {
    path.root == Root::Env && path.keys.is_empty()
}

fn is_weekday(path: &Path) -> bool {
    matches!(path.root, Root::Time(_, TimeField::Weekday))
}

/// Whether it is a text in every call.
fn is_word(path: &Path) -> bool {
    path.keys.is_empty() && matches!(path.root, Root::Env | Root::Tool | Root::Action | Root::AgentId)
        || is_weekday(path)
}

/// The parameter that it is, if it is a whole one.
fn bare(path: &Path) -> Option<&str> {
    match (&path.root, path.keys.as_slice()) {
        (Root::Params, [Key::Name(name)]) => Some(name),
        _ => None,
    }
}

fn text(scalar: &Scalar) -> Option<&str> {
    match scalar {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

fn compared_with_env<'a>(one: &Term, other: &'a Term) -> Option<&'a str> {
    match (one, other) {
        (Term::Path(path), Term::Scalar(scalar)) if is_env(path) => text(scalar),
        _ => None,
    }
}

/// Kleene's three-valued logic, with everything unknown that only a call can say.
fn abstractly(expr: &Expr, env: Option<&str>) -> Truth {
    let of = |inner: &Expr| abstractly(inner, env);
    match expr {
        Expr::Const(value) => truth(*value),
        Expr::Not(inner) => not(of(inner)),
        Expr::And(..) if contradict(expr) => Truth::False,
        Expr::And(left, right) => not(or(not(of(left)), not(of(right)))),
        Expr::Or(left, right) => or(of(left), of(right)),
        Expr::If(condition, yes, no) => match of(condition) {
            Truth::True => of(yes),
            Truth::False => of(no),
            Truth::Unknown if of(yes) == of(no) => of(yes),
            Truth::Unknown => Truth::Unknown,
        },
        Expr::Compare(relation @ (Relation::Equal | Relation::NotEqual), _, left, right) => {
            match (value(left, env), value(right, env)) {
                (Some(left), Some(right)) => truth(same(&left, &right) == (*relation == Relation::Equal)),
                _ => Truth::Unknown,
            }
        }
        Expr::Compare(relation, _, Term::Scalar(Scalar::Number(left)), Term::Scalar(Scalar::Number(right))) => {
            let order = left.as_f64().partial_cmp(&right.as_f64());
            truth(order.is_some_and(|order| match relation {
                Relation::Less => order.is_lt(),
                Relation::LessOrEqual => order.is_le(),
                Relation::Greater => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        Expr::OneOf(term, _, list) => {
            value(term, env).map_or(Truth::Unknown, |value| truth(list.iter().any(|one| same(one, &value))))
        }
        _ => Truth::Unknown,
    }
}

/// A term's value, where no call is needed to know it.
fn value(term: &Term, env: Option<&str>) -> Option<Scalar> {
    match term {
        Term::Scalar(scalar) => Some(scalar.clone()),
        Term::Path(path) if is_env(path) => env.map(|env| Scalar::Text(env.to_owned())),
        _ => None,
    }
}

/// Whether the sides of an `&&` want one value to be two constants.
fn contradict(and: &Expr) -> bool {
    let mut wanted: Vec<(&Path, &Scalar)> = Vec::new();
    conjuncts(and, &mut |conjunct| {
        if let Expr::Compare(Relation::Equal, _, left, right) = conjunct
            && let (Term::Path(path), Term::Scalar(scalar)) | (Term::Scalar(scalar), Term::Path(path)) = (left, right)
        {
            wanted.push((path, scalar));
        }
    });
    let differs =
        |(path, scalar): &(&Path, &Scalar)| wanted.iter().any(|(own, other)| own == path && !same(other, scalar));
    wanted.iter().any(differs)
}

fn conjuncts<'a>(expr: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    match expr {
        Expr::And(left, right) => [left, right].into_iter().for_each(|side| conjuncts(side, visit)),
        other => visit(other),
    }
}

/// Whether two constants are equal; numbers are, whole or not.
fn same(left: &Scalar, right: &Scalar) -> bool {
    match (left, right) {
        (Scalar::Number(left), Scalar::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn truth(value: bool) -> Truth {
    if value { Truth::True } else { Truth::False }
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        Truth::Unknown => Truth::Unknown,
    }
}

fn or(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Truth::True, _) | (_, Truth::True) => Truth::True,
        (Truth::False, Truth::False) => Truth::False,
        _ => Truth::Unknown,
    }
}
