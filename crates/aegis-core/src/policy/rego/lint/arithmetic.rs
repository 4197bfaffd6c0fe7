//! Arithmetic on whole numbers within 2^53, and differences of sets. OPA computes with fractions exactly and with whole numbers
//! of any length, regorus with doubles: for anything else they have different answers.

use regorus::unstable::{ArithOp, Expr};

use super::{Kind, Lint, begin};

/// Most bits of a result: regorus' whole numbers are exact up to here.
const MAX_BITS: u32 = 62;
/// Bits of what a built-in gives: see [`super::super::builtins`].
const WHOLE_BITS: u32 = 54;

/// What a variable is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A whole number of at most so many bits.
    Whole(u32),
    /// A set.
    Set,
}

impl Lint<'_> {
    /// Checks an arithmetic expression.
    pub(super) fn arithmetic(&mut self, expr: &Expr) {
        match self.known_of(expr) {
            Some(Known::Whole(bits)) if bits > MAX_BITS => {
                self.refuse(
                    begin(expr),
                    "the result may be too large for an exact answer",
                    "compare the factors instead",
                );
            }
            Some(_) => {}
            None => {
                let message =
                    "arithmetic is for whole numbers here, and these aren't known to be: engines differ on fractions";
                let hint = "bind floor(x), ceil(x), round(x) or count(x) to a variable first, and multiply instead of dividing";
                self.refuse(begin(expr), message, hint);
            }
        }
    }

    /// What is known of an expression's value.
    pub(super) fn known_of(&self, expr: &Expr) -> Option<Known> {
        match expr {
            Expr::Number { span, .. } => {
                let number: u64 = span.text().trim_start_matches('-').parse().ok()?;
                Some(Known::Whole((64 - number.leading_zeros()).max(1)))
            }
            Expr::UnaryExpr { expr, .. } => self.known_of(expr),
            Expr::Set { .. } | Expr::SetCompr { .. } => Some(Known::Set),
            Expr::BinExpr { lhs, rhs, .. } => self.known_of(lhs).or_else(|| self.known_of(rhs)),
            Expr::Var { span, .. } => self.known_variable(span.text()),
            Expr::Call { fcn, .. } => match fcn.span().text() {
                "count" => Some(Known::Whole(32)),
                "floor" | "ceil" | "round" | "sum" => Some(Known::Whole(WHOLE_BITS)),
                _ => None,
            },
            Expr::ArithExpr { op, lhs, rhs, .. } => {
                let (left, right) = (self.known_of(lhs), self.known_of(rhs));
                match (op, left, right) {
                    (ArithOp::Add | ArithOp::Sub, Some(Known::Whole(a)), Some(Known::Whole(b))) => {
                        Some(Known::Whole(a.max(b) + 1))
                    }
                    (ArithOp::Mul, Some(Known::Whole(a)), Some(Known::Whole(b))) => Some(Known::Whole(a + b)),
                    (ArithOp::Mod, Some(Known::Whole(a)), Some(Known::Whole(b))) => Some(Known::Whole(a.min(b))),
                    (ArithOp::Sub, Some(Known::Set), Some(Known::Set)) => Some(Known::Set),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn known_variable(&self, name: &str) -> Option<Known> {
        match self.scopes.iter().rev().find_map(|scope| scope.known.get(name)) {
            Some(known) => *known,
            None => (self.rules.get(name)?.0 == Kind::Set).then_some(Known::Set),
        }
    }
}
