//! What a Rego module may say here: the part of Rego v1 that regorus and OPA answer alike, found by asking both.
//!
//! Anything else is refused when the module is loaded, with its place and what to write instead; nothing is ever left to be
//! silently undefined. Deliberately absent: OPA's type checker (`opa check` has it), and every built-in that reads a clock, a
//! network, a file or chance.

mod arithmetic;
mod body;
mod calls;

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Module, Parser, Ref, Rule, RuleHead, Source, Span};

use super::engine;
use crate::document::{Diagnostic, Place};

/// Largest module, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Most rules of a module.
const MAX_RULES: usize = 500;

/// How much of Rego is open to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Reach {
    /// Its own rules and the input, nothing else.
    Own,
    /// Data and other modules as well: for asking Rego by itself.
    All,
}

/// What rules of one name are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Kind {
    /// One value.
    Value,
    /// `contains`.
    Set,
    /// `name[key] := value`.
    Object,
    /// A function of so many arguments.
    Function(usize),
}

/// A module that has passed, with its syntax tree.
#[derive(Debug)]
pub(in crate::policy) struct Checked {
    pub(in crate::policy) module: Module,
    pub(in crate::policy) rules: BTreeMap<String, (Kind, Place)>,
    /// What it asks of the agent's session, if anything: what is to be counted.
    pub(in crate::policy) session: Option<BTreeSet<String>>,
}

/// Reads a module.
///
/// # Errors
/// Everything in it that isn't in the common part, with place and suggestion.
pub(in crate::policy) fn read(file: &str, text: &str, reach: Reach) -> Result<Checked, Vec<Diagnostic>> {
    let start = Place { line: 1, column: 1 };
    let refuse = |place, message: String| vec![Diagnostic::error(file, place, "", message)];
    if text.len() > MAX_BYTES {
        return Err(refuse(start, format!("the module is larger than {} KiB", MAX_BYTES >> 10)));
    }
    let module = parse(file, text).map_err(|message| {
        let place = engine::place(&message).map_or(start, |(_, line, column)| in_characters(text, line, column));
        let what = message.lines().last().map_or("", |line| line.trim_start_matches("error: "));
        refuse(place, format!("not Rego v1 as this version reads it: {what}"))
    })?;
    let mut lint = Lint::new(file, reach);
    lint.module(&module);
    lint.errors.sort_by_key(|error| (error.line, error.column));
    if lint.errors.is_empty() {
        Ok(Checked { module, rules: lint.rules, session: lint.session })
    } else {
        Err(lint.errors)
    }
}

fn parse(file: &str, text: &str) -> Result<Module, String> {
    let parsed = std::panic::catch_unwind(|| {
        let source = Source::from_contents(file.to_owned(), text.to_owned()).map_err(|error| error.to_string())?;
        let mut parser = Parser::new(&source).map_err(|error| error.to_string())?;
        parser.enable_rego_v1().map_err(|error| error.to_string())?;
        parser.parse().map_err(|error| error.to_string())
    });
    parsed.unwrap_or_else(|_| Err("the parser gave up".to_owned()))
}

/// Where something begins, in characters; regorus' own columns take a tab for four.
pub(in crate::policy) fn place(span: &Span) -> Place {
    let before = span.source.contents().get(..span.start as usize).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place { line: span.line as usize, column: line.chars().count() + 1 }
}

/// A place of regorus', whose columns take a tab for four.
fn in_characters(text: &str, line: usize, column: usize) -> Place {
    let mut width = 1;
    let before = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().take_while(|c| {
        let within = width < column;
        width += if *c == '\t' { 4 } else { 1 };
        within
    });
    Place { line, column: before.count() + 1 }
}

/// Where an expression begins: the span of an operator, a call or a path is only its own sign's.
fn begin(expr: &Expr) -> &Span {
    match expr {
        Expr::Call { fcn: first, .. }
        | Expr::RefDot { refr: first, .. }
        | Expr::RefBrack { refr: first, .. }
        | Expr::BinExpr { lhs: first, .. }
        | Expr::BoolExpr { lhs: first, .. }
        | Expr::ArithExpr { lhs: first, .. }
        | Expr::AssignExpr { lhs: first, .. } => begin(first),
        Expr::Membership { key, value, .. } => begin(key.as_ref().unwrap_or(value)),
        _ => expr.span(),
    }
}

/// The variables that a body declares.
#[derive(Default)]
struct Scope {
    /// What each is known to be.
    known: BTreeMap<String, Option<arithmetic::Known>>,
    /// Those of `some` and `every` that nothing has used yet: OPA refuses what stays here.
    unused: BTreeMap<String, Span>,
}

/// What is known while a module is walked.
struct Lint<'a> {
    file: &'a str,
    reach: Reach,
    rules: BTreeMap<String, (Kind, Place)>,
    /// What is asked of the agent's session.
    session: Option<BTreeSet<String>>,
    /// What imports call other packages.
    imported: BTreeSet<String>,
    /// Which rules each rule needs.
    needs: BTreeMap<String, BTreeSet<String>>,
    /// The rule that is being walked.
    current: String,
    /// The bodies around, the innermost last; the first has a function's arguments.
    scopes: Vec<Scope>,
    errors: Vec<Diagnostic>,
}

impl<'a> Lint<'a> {
    fn new(file: &'a str, reach: Reach) -> Self {
        Self {
            file,
            reach,
            rules: BTreeMap::new(),
            session: None,
            imported: BTreeSet::from(["data".to_owned()]),
            needs: BTreeMap::new(),
            current: String::new(),
            scopes: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn refuse(&mut self, span: &Span, message: impl Into<String>, suggestion: &str) {
        self.refuse_at(place(span), message, suggestion);
    }

    fn refuse_at(&mut self, place: Place, message: impl Into<String>, suggestion: &str) {
        let suggestion = (!suggestion.is_empty()).then_some(suggestion);
        self.errors.push(Diagnostic::error(self.file, place, "", message).suggest(suggestion));
    }

    fn module(&mut self, module: &Module) {
        if module.policy.len() > MAX_RULES {
            self.refuse(&module.package.span, format!("more than {MAX_RULES} rules in one module"), "");
            return;
        }
        for import in &module.imports {
            let path = components(&import.refr);
            let known = matches!(path.as_slice(), [rego, v1] if rego == "rego" && v1 == "v1");
            let open = self.reach != Reach::Own && path.first().is_some_and(|root| root == "data" || root == "input");
            if open {
                let own = import.r#as.as_ref().map(|name| name.text().to_owned());
                self.imported.extend(own.or_else(|| path.last().cloned()));
            }
            if !known && !open {
                let message = format!("`import {}` is not open to a module", path.join("."));
                self.refuse(&import.span, message, "write `input.…` in full; `import rego.v1` may stay");
            }
        }
        for rule in &module.policy {
            self.declare(rule);
        }
        for rule in &module.policy {
            self.rule(rule);
        }
        self.recursion();
    }

    /// Takes down a rule's name and kind: rules of one name are of one kind.
    fn declare(&mut self, rule: &Rule) {
        let (refr, kind) = match rule {
            Rule::Default { refr, args, .. } if args.is_empty() => (refr, Kind::Value),
            Rule::Default { refr, args, .. } => (refr, Kind::Function(args.len())),
            Rule::Spec { head, .. } => match head {
                RuleHead::Set { refr, .. } => (refr, Kind::Set),
                RuleHead::Func { refr, args, .. } => (refr, Kind::Function(args.len())),
                RuleHead::Compr { refr, .. } => {
                    (refr, if matches!(refr.as_ref(), Expr::RefBrack { .. }) { Kind::Object } else { Kind::Value })
                }
            },
        };
        let span = refr.span().clone();
        let Some(name) = self.head_name(refr) else {
            if self.reach == Reach::Own {
                self.refuse(&span, "a rule's name is one word here", "");
            }
            return;
        };
        if calls::is_reserved(&name) {
            self.refuse(&span, format!("{name:?} is the name of something built in"), "take another name");
        }
        match self.rules.get(&name) {
            Some((other, at)) if *other != kind && self.reach == Reach::Own => {
                let message = format!(
                    "{name:?} is something else in line {}: a set, an object, a function of other arguments or a single value",
                    at.line
                );
                self.refuse(&span, message, "");
            }
            Some(_) => {}
            None => {
                self.rules.insert(name, (kind, place(&span)));
            }
        }
    }

    /// A head's name: a word, or a word with one key in brackets.
    fn head_name(&self, refr: &Ref<Expr>) -> Option<String> {
        match refr.as_ref() {
            Expr::Var { span, .. } => Some(span.text().to_owned()),
            Expr::RefBrack { refr, .. } => match refr.as_ref() {
                Expr::Var { span, .. } => Some(span.text().to_owned()),
                _ => None,
            },
            _ => None,
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.scopes = vec![Scope::default()];
        match rule {
            Rule::Default { refr, value, .. } => {
                self.current = self.head_name(refr).unwrap_or_default();
                self.expr(value);
            }
            Rule::Spec { head, bodies, .. } => {
                let (RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. }) = head;
                self.current = self.head_name(refr).unwrap_or_default();
                if let RuleHead::Func { args, .. } = head {
                    args.iter().for_each(|arg| self.declared(arg));
                }
                if bodies.is_empty() {
                    self.head(head);
                }
                // What a body says of its variables holds for the value that goes with it; the first has the head's.
                for (index, body) in bodies.iter().enumerate() {
                    self.query(&body.query, |lint| match &body.assign {
                        Some(assign) => lint.expr(&assign.value),
                        None if index == 0 => lint.head(head),
                        None => {}
                    });
                }
            }
        }
    }

    fn head(&mut self, head: &RuleHead) {
        match head {
            RuleHead::Set { key: Some(key), .. } => self.plain(key, "what a set `contains`"),
            RuleHead::Set { key: None, .. } => {}
            RuleHead::Compr { refr, assign, .. } => {
                let several = self.has_variable(refr);
                if several {
                    self.head_keys(refr);
                }
                match assign {
                    Some(assign) if several => self.plain(&assign.value, "the value of an object's key"),
                    Some(assign) => self.expr(&assign.value),
                    None => {}
                }
            }
            RuleHead::Func { assign: Some(assign), .. } => self.expr(&assign.value),
            RuleHead::Func { assign: None, .. } => {}
        }
    }

    fn has_variable(&self, refr: &Expr) -> bool {
        match refr {
            Expr::RefBrack { refr, index, .. } => {
                !matches!(
                    index.as_ref(),
                    Expr::String { .. }
                        | Expr::RawString { .. }
                        | Expr::Number { .. }
                        | Expr::Bool { .. }
                        | Expr::Null { .. }
                ) || self.has_variable(refr)
            }
            Expr::RefDot { refr, .. } => self.has_variable(refr),
            _ => false,
        }
    }

    fn head_keys(&mut self, refr: &Expr) {
        match refr {
            Expr::RefBrack { refr, index, .. } => {
                self.plain(index, "an object's key");
                self.head_keys(refr);
            }
            Expr::RefDot { refr, .. } => self.head_keys(refr),
            _ => {}
        }
    }

    /// Variables and constants only: with anything that may be undefined here, regorus fails where OPA goes on.
    fn plain(&mut self, expr: &Expr, what: &str) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => self.expr(expr),
            Expr::Var { span, .. }
                if !self.rules.contains_key(span.text()) && !matches!(span.text(), "input" | "data") =>
            {
                self.variable(span);
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| self.plain(item, what)),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
                self.plain(key, what);
                self.plain(value, what);
            }),
            _ => {
                let message =
                    format!("{what} is made of variables and constants here: engines differ where it is undefined");
                self.refuse(begin(expr), message, "bind it to a variable in the body first: `msg := …`");
            }
        }
    }

    /// No rule needs itself: OPA refuses that, and an interpreter would only notice on the way.
    fn recursion(&mut self) {
        let mut circular: Vec<String> = Vec::new();
        for start in self.needs.keys() {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(name) = open.pop() {
                for next in self.needs.get(name).into_iter().flatten() {
                    if next == start {
                        circular.push(start.clone());
                    }
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
        }
        circular.dedup();
        for name in circular {
            let at = self.rules.get(&name).map_or(Place { line: 1, column: 1 }, |(_, place)| *place);
            self.refuse_at(at, format!("{name:?} needs itself; recursion is not part of Rego"), "");
        }
    }
}

/// The words of a path such as `aegis.rules.x`; empty where it isn't one.
pub(in crate::policy) fn components(refr: &Ref<Expr>) -> Vec<String> {
    let spans = Parser::get_path_ref_components(refr).unwrap_or_default();
    spans.iter().map(|span| span.text().trim_matches('"').to_owned()).collect()
}
