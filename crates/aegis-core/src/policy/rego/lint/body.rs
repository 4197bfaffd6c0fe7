//! Bodies and expressions.

use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, LiteralStmt, Query, Ref, Span};

use super::{Lint, Reach, Scope, begin, calls};

impl Lint<'_> {
    /// Takes down that the current rule needs another.
    pub(super) fn need(&mut self, name: &str) {
        self.needs.entry(self.current.clone()).or_default().insert(name.to_owned());
    }

    /// Walks a body, and then what its variables go into.
    pub(super) fn query(&mut self, query: &Query, then: impl FnOnce(&mut Self)) {
        self.scoped(|lint| {
            for stmt in &query.stmts {
                lint.statement(stmt);
            }
            then(lint);
        });
    }

    fn scoped(&mut self, walk: impl FnOnce(&mut Self)) {
        self.scopes.push(Scope::default());
        walk(self);
        for (name, span) in self.scopes.pop().map(|scope| scope.unused).unwrap_or_default() {
            self.refuse(&span, format!("the variable {name:?} is declared and not used"), "write _ or leave it out");
        }
    }

    fn statement(&mut self, stmt: &LiteralStmt) {
        for with in &stmt.with_mods {
            self.refuse(&with.span, "`with` is for tests of Rego, not for rules", "");
        }
        match &stmt.literal {
            Literal::SomeVars { vars, .. } => vars.iter().for_each(|var| self.must_be_used(var)),
            Literal::SomeIn { key, value, collection, .. } => {
                key.iter().chain([value]).for_each(|pattern| self.declared(pattern));
                self.expr(collection);
            }
            Literal::Expr { expr, .. } => self.expr(expr),
            Literal::NotExpr { expr, .. } => self.negated(expr),
            Literal::Every { key, value, domain, query, .. } => {
                self.expr(domain);
                self.scoped(|lint| {
                    key.iter().chain([value]).for_each(|var| lint.must_be_used(var));
                    lint.query(query, |_| {});
                });
            }
        }
    }

    /// Variables that a pattern declares have names of their own.
    pub(super) fn declared(&mut self, pattern: &Expr) {
        match pattern {
            Expr::Var { span, .. } => self.name_is_free(span),
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| self.declared(item)),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
                self.expr(key);
                self.declared(value);
            }),
            _ => self.expr(pattern),
        }
    }

    fn must_be_used(&mut self, var: &Span) {
        self.name_is_free(var);
        if let Some(scope) = self.scopes.last_mut().filter(|_| var.text() != "_") {
            scope.unused.insert(var.text().to_owned(), var.clone());
        }
    }

    fn name_is_free(&mut self, var: &Span) {
        let name = var.text();
        if name == "_" {
            return;
        }
        // A body shares its names with its function's arguments.
        let own = if self.scopes.len() == 2 { 0 } else { self.scopes.len().saturating_sub(1) };
        if self.scopes.iter().skip(own).any(|scope| scope.known.contains_key(name)) {
            self.refuse(var, format!("the variable {name:?} is declared twice"), "take another name");
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.known.insert(name.to_owned(), None);
        }
        if self.reach == Reach::Own && (self.rules.contains_key(name) || calls::is_reserved(name)) {
            let message = format!("the variable {name:?} hides a rule or a built-in of that name");
            self.refuse(var, message, "take another name");
        }
    }

    /// OPA evaluates what is inside of a negated call before it negates, regorus negates the whole: they agree where nothing
    /// inside can be undefined.
    fn negated(&mut self, expr: &Expr) {
        let agreed = match expr {
            Expr::Bool { .. } => true,
            Expr::Call { params, .. } => params.iter().all(|param| self.is_bound(param)),
            Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } => {
                [lhs, rhs].into_iter().all(|side| self.is_bound(side) || self.is_path(side))
            }
            Expr::BoolExpr { lhs, rhs, .. } => self.is_bound(lhs) && self.is_bound(rhs),
            Expr::Membership { key, value, collection, .. } => {
                key.iter().chain([value, collection]).all(|part| self.is_bound(part))
            }
            _ => self.is_path(expr),
        };
        if agreed {
            self.expr(expr);
        } else {
            let message = "under `not`, engines differ where a part is undefined";
            let hint = "bind what it needs to variables first, or give it a name: `ok if …` and `not ok`";
            self.refuse(begin(expr), message, hint);
        }
    }

    /// A variable of the body, or a constant.
    fn is_bound(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Var { span, .. } => !self.rules.contains_key(span.text()) && !matches!(span.text(), "input" | "data"),
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => true,
            Expr::UnaryExpr { expr, .. } => self.is_bound(expr),
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().all(|item| self.is_bound(item)),
            Expr::Object { fields, .. } => {
                fields.iter().all(|(_, key, value)| self.is_bound(key) && self.is_bound(value))
            }
            _ => false,
        }
    }

    /// A path such as `input.params.x`, `rule`, `items[i]`.
    fn is_path(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Var { .. } => true,
            Expr::RefDot { refr, .. } => self.is_path(refr),
            Expr::RefBrack { refr, index, .. } => self.is_path(refr) && self.is_bound(index),
            _ => false,
        }
    }

    pub(super) fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. } | Expr::RawString { .. } | Expr::Bool { .. } | Expr::Null { .. } => {}
            Expr::Number { span, .. } => self.number(span),
            Expr::Var { span, .. } => self.variable(span),
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| self.expr(item)),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
                self.expr(key);
                self.expr(value);
            }),
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.comprehension(&[term], query)
            }
            Expr::ObjectCompr { key, value, query, .. } => self.comprehension(&[key, value], query),
            Expr::Call { fcn, params, .. } => {
                self.call(begin(fcn), fcn, params);
                params.iter().for_each(|param| self.expr(param));
            }
            Expr::UnaryExpr { span, expr, .. } => {
                if !matches!(expr.as_ref(), Expr::Number { .. }) {
                    self.refuse(span, "a minus stands before a number only", "write `0 - x`");
                }
                self.expr(expr);
            }
            Expr::RefDot { refr, field, .. } => {
                if !self.remembered(refr, Some(field.0.text())) {
                    self.expr(refr);
                }
            }
            Expr::RefBrack { refr, index, .. } => {
                let text = calls::literal(index);
                if !self.remembered(refr, text.as_deref()) {
                    self.expr(refr);
                }
                self.expr(index);
            }
            Expr::ArithExpr { lhs, rhs, .. } => {
                self.arithmetic(expr);
                self.operands(lhs, rhs);
            }
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => self.assignment(op, lhs, rhs),
            Expr::Membership { key, value, collection, .. } => {
                key.iter().chain([value, collection]).for_each(|part| self.expr(part));
            }
        }
    }

    /// Takes down what of `input.session` is asked for: only that is kept for an agent.
    fn remembered(&mut self, refr: &Ref<Expr>, key: Option<&str>) -> bool {
        let path = super::components(refr);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (path.as_slice(), key) {
            (["input", "session", "count"], Some(name)) => {
                self.session.get_or_insert_default().insert(name.to_owned());
                true
            }
            (["input", "session"], Some("labels")) => {
                self.session.get_or_insert_default();
                true
            }
            (["input", "session", "count"], None) | (["input"], Some("session")) => {
                let hint = "write `input.session.labels`, or `input.session.count[\"deploy\"]` with a text";
                self.refuse(begin(refr), "only what is written out is remembered of a session", hint);
                true
            }
            _ => false,
        }
    }

    /// The parts of an arithmetic expression are covered by what is said of the whole.
    fn operands(&mut self, lhs: &Expr, rhs: &Expr) {
        for side in [lhs, rhs] {
            match side {
                Expr::ArithExpr { lhs, rhs, .. } if self.known_of(side).is_some() => self.operands(lhs, rhs),
                _ => self.expr(side),
            }
        }
    }

    fn comprehension(&mut self, terms: &[&Ref<Expr>], query: &Query) {
        self.query(query, |lint| terms.iter().for_each(|term| lint.expr(term)));
    }

    fn assignment(&mut self, op: &AssignOp, lhs: &Expr, rhs: &Expr) {
        self.expr(rhs);
        match op {
            AssignOp::ColEq => {
                self.declared(lhs);
                let known = self.known_of(rhs);
                if let (Expr::Var { span, .. }, Some(scope)) = (lhs, self.scopes.last_mut()) {
                    scope.known.insert(span.text().to_owned(), known);
                }
            }
            AssignOp::Eq => self.expr(lhs),
        }
    }

    pub(super) fn variable(&mut self, span: &Span) {
        let name = span.text();
        if let Some(scope) = self.scopes.iter_mut().rev().find(|scope| scope.known.contains_key(name)) {
            scope.unused.remove(name);
        }
        if name == "data" && self.reach == Reach::Own {
            self.refuse(span, "a module sees `input` and its own rules, not `data`", "name its rules without a path");
        }
        if self.rules.contains_key(name) {
            self.need(name);
        }
    }

    /// Numbers that every engine reads alike.
    fn number(&mut self, span: &Span) {
        let text = span.text().trim_start_matches('-');
        let agreed = if text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse::<u64>().is_ok_and(|number| number < 1 << 53)
        } else {
            text.parse().is_ok_and(|number: f64| shortest(number) == text)
        };
        if !agreed {
            self.refuse(span, "a number beyond 2^53, or not in its shortest form, is read differently", "");
        }
    }
}

/// A number as JSON has it.
fn shortest(number: f64) -> String {
    serde_json::Value::from(number).to_string()
}
