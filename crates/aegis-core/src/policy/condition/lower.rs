//! CEL's syntax tree → our form, or why not, with the place and what to write instead.
//!
//! Here: what is true or false. `lower/value.rs` has what is compared, `lower/freeze.rs` what becomes of a freeze's name.

mod freeze;
mod value;

use std::cell::RefCell;

use cel::common::ast::{CallExpr, Expr as Cel, IdedExpr, LiteralValue, SourceInfo, operators as op};

use super::{Expr, Kind, Path, Pattern, Quantifier, Refusal, Relation, Root, Scalar, Term, TextTest, Uses};
use crate::policy::calendar::Calendar;

/// Longest condition, in bytes.
const MAX_LENGTH: usize = 2 << 10;
/// Deepest nesting.
const MAX_DEPTH: u16 = 32;
/// Names that mean something everywhere, and so can't be an element's.
const ROOTS: [&str; 9] = ["env", "tool", "action", "params", "agent", "destination", "time", "chain", "session"];

/// Reads a condition, and says what it uses.
pub(super) fn lower(text: &str, calendar: &Calendar) -> Result<(Expr, Uses), Refusal> {
    if text.len() > MAX_LENGTH {
        return Err(Refusal { offset: None, message: format!("the condition is longer than {MAX_LENGTH} bytes") });
    }
    // Without macros, so that `has(x)` stays as written and takes a bare parameter too.
    let parser = cel::Env::default().parser().enable_optional_syntax(false).max_recursion_depth(MAX_DEPTH);
    let (tree, source) = parser.parse_with_source_info(text).map_err(|errors| {
        let first = errors.errors.first();
        let offset = first.and_then(|error| offset_of(text, error.pos));
        let message = first.map_or("", |error| error.msg.as_str());
        Refusal { offset, message: format!("not a CEL expression: {}", in_our_words(text, message)) }
    })?;
    let uses = RefCell::default();
    let expr = Lowering { source: &source, calendar, element: None, uses: &uses }.boolean(&tree, 0)?;
    Ok((expr, uses.into_inner()))
}

/// What the parser says, without its grammar's names, and with what was probably meant.
fn in_our_words(text: &str, message: &str) -> String {
    let message = message.trim().trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    if message.ends_with("'<EOF>'") {
        return "it ends too early".to_owned();
    }
    let words = || text.split_whitespace();
    let hint = if has_lone_equals(text) {
        "; to compare, write =="
    } else if words().any(|word| word == "and") {
        "; for `and`, write &&"
    } else if words().any(|word| word == "or") {
        "; for `or`, write ||"
    } else if words().any(|word| word == "not") {
        "; for `not`, write !"
    } else {
        ""
    };
    format!("{message}{hint}")
}

/// Whether a `=` stands alone, as in `env = "production"`: other languages compare, or assign, with it.
fn has_lone_equals(text: &str) -> bool {
    let rest = ["==", "!=", "<=", ">="].iter().fold(text.to_owned(), |text, operator| text.replace(operator, " "));
    rest.contains('=')
}

/// Characters up to a line and column; both count from 1, columns of the parser's errors may be 0.
fn offset_of(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?.checked_sub(1)?, usize::try_from(column).ok()?);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    Some(before + column.saturating_sub(1))
}

#[derive(Clone, Copy)]
struct Lowering<'a> {
    source: &'a SourceInfo,
    calendar: &'a Calendar,
    /// Inside `all` and `exists`: what the element is called, and its kind.
    element: Option<(&'a str, Kind)>,
    uses: &'a RefCell<Uses>,
}

impl<'a> Lowering<'a> {
    fn refuse<T>(&self, at: &IdedExpr, message: impl Into<String>) -> Result<T, Refusal> {
        let offset = self.source.offset_for(at.id).and_then(|(start, _)| usize::try_from(start).ok());
        Err(Refusal { offset, message: message.into() })
    }

    /// What is true or false.
    fn boolean(&self, node: &'a IdedExpr, depth: u16) -> Result<Expr, Refusal> {
        if depth > MAX_DEPTH {
            return self.refuse(node, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let next = |node| self.boolean(node, depth + 1).map(Box::new);
        match &node.expr {
            Cel::Literal(LiteralValue::Boolean(value)) => Ok(Expr::Const(*value.inner())),
            Cel::Ident(_) | Cel::Select(_) => self.flag(node),
            Cel::Call(call) => match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
                (op::LOGICAL_NOT, _, [inner]) => Ok(Expr::Not(next(inner)?)),
                (op::LOGICAL_AND, _, [left, right]) => Ok(Expr::And(next(left)?, next(right)?)),
                (op::LOGICAL_OR, _, [left, right]) => Ok(Expr::Or(next(left)?, next(right)?)),
                (op::CONDITIONAL, _, [condition, yes, no]) => Ok(Expr::If(next(condition)?, next(yes)?, next(no)?)),
                (op::INDEX, _, _) => self.flag(node),
                (op::IN, _, [value, container]) => self.within(value, container),
                ("has", None, [what]) => self.has(what),
                ("all", Some(list), args) => self.quantified(Quantifier::All, node, list, args, depth),
                ("exists", Some(list), args) => self.quantified(Quantifier::Exists, node, list, args, depth),
                _ => self.leaf(node, call),
            },
            _ => self.refuse(node, "a condition has to be true or false"),
        }
    }

    fn flag(&self, node: &IdedExpr) -> Result<Expr, Refusal> {
        let path = self.path(node)?;
        match value::kind_of_path(&path) {
            Kind::Any | Kind::Bool => Ok(Expr::Flag(path)),
            _ => self.refuse(node, "a condition has to be true or false; compare this with something"),
        }
    }

    /// `list.all(x, condition)`, `list.exists(x, condition)`.
    fn quantified(
        &self,
        quantifier: Quantifier,
        node: &IdedExpr,
        list: &IdedExpr,
        args: &'a [IdedExpr],
        depth: u16,
    ) -> Result<Expr, Refusal> {
        let name = if quantifier == Quantifier::All { "all" } else { "exists" };
        let [variable, inner] = args else {
            return self.refuse(node, format!("write list.{name}(x, condition on x), with one name for the element"));
        };
        if self.element.is_some() {
            return self.refuse(node, "`all` and `exists` can't be nested; compare the inner list with `in`");
        }
        let Cel::Ident(variable_name) = &variable.expr else {
            return self.refuse(variable, format!("name the element first: list.{name}(x, condition on x)"));
        };
        if ROOTS.contains(&variable_name.as_str()) {
            let message = format!("`{variable_name}` means something else already; give the element another name");
            return self.refuse(variable, message);
        }
        let list = self.container(list)?;
        let kind = match list.root {
            Root::Chain | Root::AgentGroups | Root::Labels => Kind::Text,
            _ => Kind::Any,
        };
        let inside = Self { element: Some((variable_name.as_str(), kind)), ..*self };
        Ok(Expr::Quantified(quantifier, list, Box::new(inside.boolean(inner, depth + 1)?)))
    }

    fn leaf(&self, node: &IdedExpr, call: &CallExpr) -> Result<Expr, Refusal> {
        let relation = match call.func_name.as_str() {
            op::EQUALS => Relation::Equal,
            op::NOT_EQUALS => Relation::NotEqual,
            op::LESS => Relation::Less,
            op::LESS_EQUALS => Relation::LessOrEqual,
            op::GREATER => Relation::Greater,
            op::GREATER_EQUALS => Relation::GreaterOrEqual,
            _ => return self.text_test(node, call),
        };
        let [left, right] = call.args.as_slice() else { return self.refuse(node, "a comparison has two sides") };
        if let Some(freezes) = self.number_of_freezes(relation, left, right)? {
            return Ok(freezes);
        }
        if let Some(null) = self.null(node, relation, left, right)? {
            return Ok(null);
        }
        let (left, right) = (self.term(left)?, self.term(right)?);
        let kind = match (value::kind_of(&left), value::kind_of(&right)) {
            (Kind::Any, kind) | (kind, Kind::Any) => kind,
            (left, right) if left == right => left,
            (left, right) => {
                let message = format!("this compares {} with {}", value::name_of(left), value::name_of(right));
                return self.refuse(node, message);
            }
        };
        if kind == Kind::Bool && !matches!(relation, Relation::Equal | Relation::NotEqual) {
            return self.refuse(node, "true and false have no order");
        }
        Ok(Expr::Compare(relation, kind, left, right))
    }

    /// `x == null`, `x != null`, for an `x` that is there; whether it is there, only has(x) asks.
    fn null(
        &self,
        node: &IdedExpr,
        relation: Relation,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Option<Expr>, Refusal> {
        let is_null = |side: &IdedExpr| matches!(side.expr, Cel::Literal(LiteralValue::Null));
        let other = match (is_null(left), is_null(right)) {
            (false, false) => return Ok(None),
            (true, _) => right,
            (false, true) => left,
        };
        let path = match &other.expr {
            Cel::Ident(_) | Cel::Select(_) | Cel::Call(_) => self.path(other)?,
            _ => return self.refuse(node, "only a parameter can be null"),
        };
        if value::kind_of_path(&path) != Kind::Any || (path.root, path.keys.as_slice()) == (Root::Params, &[]) {
            return self.refuse(node, "only a parameter can be null; has(x) asks whether one is there");
        }
        let is_null = Expr::IsNull(self.path(other)?);
        match relation {
            Relation::Equal => Ok(Some(is_null)),
            Relation::NotEqual => Ok(Some(Expr::Not(Box::new(is_null)))),
            _ => self.refuse(node, "null has no order; compare with == or !="),
        }
    }

    fn text_test(&self, node: &IdedExpr, call: &CallExpr) -> Result<Expr, Refusal> {
        let (target, argument) = match (call.target.as_deref(), call.args.as_slice()) {
            (Some(target), [argument]) => (target, argument),
            (None, [target, argument]) if call.func_name == "matches" => (target, argument),
            _ => return self.unsupported(node, call),
        };
        let test = match call.func_name.as_str() {
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            "contains" => TextTest::Contains,
            "matches" => {
                let Cel::Literal(LiteralValue::String(pattern)) = &argument.expr else {
                    return self.refuse(argument, "the pattern of matches() must be written out");
                };
                let pattern = Pattern::parse(pattern.inner()).or_else(|message| self.refuse(argument, message))?;
                return Ok(Expr::Matches(self.text_term(target)?, pattern));
            }
            _ => return self.unsupported(node, call),
        };
        Ok(Expr::Text(test, self.text_term(target)?, self.text_term(argument)?))
    }

    fn unsupported<T>(&self, node: &IdedExpr, call: &CallExpr) -> Result<T, Refusal> {
        let name = match call.func_name.as_str() {
            op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO | op::NEGATE | "size" => {
                return self.refuse(node, "a condition has to be true or false; compare this with something");
            }
            other => other,
        };
        let message = format!("`{}` is not supported in conditions here; {}", name.trim_matches('_'), instead_of(name));
        self.refuse(node, message)
    }

    fn within(&self, value: &IdedExpr, container: &IdedExpr) -> Result<Expr, Refusal> {
        if is_freezes(container) {
            return self.in_freeze(value);
        }
        let term = self.term(value)?;
        let Cel::List(list) = &container.expr else {
            let path = self.container(container)?;
            if let (Root::Labels, Term::Scalar(Scalar::Text(label))) = (&path.root, &term) {
                self.uses.borrow_mut().labels.insert(label.clone());
            }
            return Ok(Expr::Within(term, path));
        };
        let items = list.elements.iter().map(|item| match self.term(item)? {
            Term::Scalar(scalar) => Ok(scalar),
            _ => self.refuse(item, "a list in a condition holds constants only"),
        });
        let items: Vec<Scalar> = items.collect::<Result<_, _>>()?;
        let Some(kind) = items.first().map(Scalar::kind) else {
            return self.refuse(container, "nothing is in an empty list");
        };
        if items.iter().any(|item| item.kind() != kind) {
            return self.refuse(container, "a list in a condition holds constants of one kind");
        }
        match value::kind_of(&term) {
            Kind::Any => Ok(Expr::OneOf(term, kind, items)),
            of if of == kind => Ok(Expr::OneOf(term, kind, items)),
            of => {
                let (of, kind) = (value::name_of(of), value::name_of(kind));
                self.refuse(container, format!("this looks for {of} in a list of {kind}"))
            }
        }
    }

    fn has(&self, what: &IdedExpr) -> Result<Expr, Refusal> {
        let mut path = match &what.expr {
            Cel::Ident(_) | Cel::Select(_) | Cel::Call(_) => self.path(what)?,
            _ => return self.refuse(what, "has() asks for a parameter by name"),
        };
        let part = |part: &str| Ok(Expr::Has(Path { root: Root::Destination, keys: vec![] }, part.to_owned()));
        match (&path.root, path.keys.pop()) {
            (Root::Params | Root::Element(_), Some(super::Key::Name(key))) => Ok(Expr::Has(path, key)),
            (Root::DestinationHost, None) => part("host"),
            (Root::DestinationPort, None) => part("port"),
            // `agent.parent`, the first of the chain.
            (Root::Chain, Some(super::Key::Index(0))) if matches!(what.expr, Cel::Select(_)) => {
                let (size, none) = (Term::Size(path), Term::Scalar(Scalar::Number(0.into())));
                Ok(Expr::Compare(Relation::Greater, Kind::Number, size, none))
            }
            _ => self.refuse(
                what,
                "has() asks for a parameter, a part of the destination or agent.parent; the rest is always there",
            ),
        }
    }
}

/// `time.freezes`.
fn is_freezes(node: &IdedExpr) -> bool {
    matches!(&node.expr, Cel::Select(select) if select.field == "freezes"
        && matches!(&select.operand.expr, Cel::Ident(name) if name == "time"))
}

/// What to write instead of a function of CEL.
fn instead_of(function: &str) -> &'static str {
    match function {
        "filter" | "map" | "exists_one" | "existsOne" => "ask with list.all(x, …) or list.exists(x, …)",
        "double" | "int" | "uint" | "string" | "bool" | "bytes" | "type" | "dyn" => {
            "values are compared as they are, and a number is a number"
        }
        "timestamp" | "duration" | "getHours" | "getMinutes" | "getDayOfWeek" | "getDate" | "getMonth"
        | "getFullYear" => "ask time.weekday, time.hour, time.date, time.unix or time.freezes",
        "lowerAscii" | "upperAscii" | "replace" | "substring" | "trim" | "split" | "indexOf" | "charAt" => {
            "ask the text as it is, with matches(\"…\")"
        }
        _ => {
            "there are has, size, startsWith, endsWith, contains, matches, all, exists, in, comparisons and whole-number \
             arithmetic"
        }
    }
}
