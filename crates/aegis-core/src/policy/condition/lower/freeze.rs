//! Freezes: a name is two instants, and being on is a comparison with them.

use cel::common::ast::{Expr as Cel, IdedExpr, LiteralValue};

use super::super::{Expr, Kind, Path, Refusal, Relation, Scalar, Term};
use super::{Lowering, is_freezes};
use crate::document::nearest;
use crate::policy::calendar::{Freeze, TimeField};

impl Lowering<'_> {
    /// `"year-end" in time.freezes`.
    pub(super) fn in_freeze(&self, name: &IdedExpr) -> Result<Expr, Refusal> {
        let Cel::Literal(LiteralValue::String(text)) = &name.expr else {
            return self.refuse(name, "write out the freeze's name: \"year-end\" in time.freezes");
        };
        let freezes = &self.calendar.freezes;
        match freezes.get(text.inner()) {
            Some(freeze) => Ok(self.is_on(freeze)),
            None => {
                let hint = match nearest(text.inner(), freezes.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if freezes.is_empty() => "it has no `freezes`".to_owned(),
                    None => format!("it has {}", freezes.keys().cloned().collect::<Vec<_>>().join(", ")),
                };
                self.refuse(name, format!("the policy has no freeze {:?}; {hint}", text.inner()))
            }
        }
    }

    /// `size(time.freezes) > 0`, and what says the same or its opposite.
    pub(super) fn number_of_freezes(
        &self,
        relation: Relation,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Option<Expr>, Refusal> {
        let Cel::Call(call) = &left.expr else { return Ok(None) };
        let asked = match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            ("size", Some(what), []) | ("size", None, [what]) => is_freezes(what),
            _ => false,
        };
        if !asked {
            return Ok(None);
        }
        let number = match &right.expr {
            Cel::Literal(LiteralValue::Int(number)) => Some(*number.inner()),
            _ => None,
        };
        let any = match (relation, number) {
            (Relation::Greater | Relation::NotEqual, Some(0)) | (Relation::GreaterOrEqual, Some(1)) => true,
            (Relation::Equal | Relation::LessOrEqual, Some(0)) | (Relation::Less, Some(1)) => false,
            _ => return self.refuse(right, "ask whether any freeze is on: size(time.freezes) > 0"),
        };
        let each = self.calendar.freezes.values().map(|freeze| self.is_on(freeze));
        let Some(on) = each.reduce(|one, other| Expr::Or(Box::new(one), Box::new(other))) else {
            return self.refuse(left, "the policy has no `freezes`");
        };
        Ok(Some(if any { on } else { Expr::Not(Box::new(on)) }))
    }

    fn is_on(&self, freeze: &Freeze) -> Expr {
        let now = |relation, instant: i64| {
            let path = Path { root: self.clock(TimeField::Unix), keys: Vec::new() };
            let instant = Term::Scalar(Scalar::Number(instant.into()));
            Box::new(Expr::Compare(relation, Kind::Number, Term::Path(path), instant))
        };
        Expr::And(now(Relation::GreaterOrEqual, freeze.from.as_second()), now(Relation::Less, freeze.until.as_second()))
    }
}
