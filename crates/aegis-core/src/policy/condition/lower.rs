//! CEL's syntax tree → our form, or why not, with the place.

use cel::common::ast::{CallExpr, Expr as Cel, IdedExpr, LiteralValue, SourceInfo, operators as op};

use super::{Expr, Key, Kind, Operation, Path, Pattern, Refusal, Relation, Root, SAFE, Scalar, Term, TextTest};

/// Longest condition, in bytes.
const MAX_LENGTH: usize = 2 << 10;
/// Deepest nesting.
const MAX_DEPTH: u16 = 32;

/// Reads a condition.
pub(super) fn lower(text: &str) -> Result<Expr, Refusal> {
    if text.len() > MAX_LENGTH {
        return Err(Refusal { offset: None, message: format!("the condition is longer than {MAX_LENGTH} bytes") });
    }
    // Without macros, so that `has(x)` stays as written and takes a bare parameter too.
    let parser = cel::Env::default().parser().enable_optional_syntax(false).max_recursion_depth(MAX_DEPTH);
    let (tree, source) = parser.parse_with_source_info(text).map_err(|errors| {
        let first = errors.errors.first();
        let offset = first.and_then(|error| offset_of(text, error.pos));
        let message = first.map_or("not a CEL expression", |error| error.msg.as_str());
        let hint = if has_lone_equals(text) { "; to compare, write ==" } else { "" };
        Refusal { offset, message: format!("not a CEL expression: {}{hint}", message.trim()) }
    })?;
    Lowering { source: &source }.boolean(&tree, 0)
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

struct Lowering<'a> {
    source: &'a SourceInfo,
}

impl Lowering<'_> {
    fn refuse<T>(&self, at: &IdedExpr, message: impl Into<String>) -> Result<T, Refusal> {
        let offset = self.source.offset_for(at.id).and_then(|(start, _)| usize::try_from(start).ok());
        Err(Refusal { offset, message: message.into() })
    }

    /// What is true or false.
    fn boolean(&self, node: &IdedExpr, depth: u16) -> Result<Expr, Refusal> {
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
                _ => self.leaf(node, call),
            },
            _ => self.refuse(node, "a condition has to be true or false"),
        }
    }

    fn flag(&self, node: &IdedExpr) -> Result<Expr, Refusal> {
        let path = self.path(node)?;
        match kind_of_path(&path) {
            Kind::Any | Kind::Bool => Ok(Expr::Flag(path)),
            _ => self.refuse(node, "a condition has to be true or false; compare this with something"),
        }
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
        let (left, right) = (self.term(left)?, self.term(right)?);
        let kind = match (kind_of(&left), kind_of(&right)) {
            (Kind::Any, kind) | (kind, Kind::Any) => kind,
            (left, right) if left == right => left,
            (left, right) => {
                let message = format!("this compares {} with {}", name_of(left), name_of(right));
                return self.refuse(node, message);
            }
        };
        if kind == Kind::Bool && !matches!(relation, Relation::Equal | Relation::NotEqual) {
            return self.refuse(node, "true and false have no order");
        }
        Ok(Expr::Compare(relation, kind, left, right))
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

    fn text_term(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        let term = self.term(node)?;
        match kind_of(&term) {
            Kind::Text | Kind::Any => Ok(term),
            other => self.refuse(node, format!("expected text, found {}", name_of(other))),
        }
    }

    fn unsupported<T>(&self, node: &IdedExpr, call: &CallExpr) -> Result<T, Refusal> {
        let name = match call.func_name.as_str() {
            op::DIVIDE => "/",
            op::MODULO => "%",
            op::ADD | op::SUBSTRACT | op::MULTIPLY | op::NEGATE | "size" => {
                return self.refuse(node, "a condition has to be true or false; compare this with something");
            }
            other => other,
        };
        self.refuse(node, format!("`{name}` is not supported in conditions here"))
    }

    fn within(&self, value: &IdedExpr, container: &IdedExpr) -> Result<Expr, Refusal> {
        let term = self.term(value)?;
        let Cel::List(list) = &container.expr else {
            let path = self.container(container)?;
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
        match kind_of(&term) {
            Kind::Any => Ok(Expr::OneOf(term, kind, items)),
            of if of == kind => Ok(Expr::OneOf(term, kind, items)),
            of => self.refuse(container, format!("this looks for {} in a list of {}", name_of(of), name_of(kind))),
        }
    }

    fn has(&self, what: &IdedExpr) -> Result<Expr, Refusal> {
        let mut path = match &what.expr {
            Cel::Ident(_) | Cel::Select(_) | Cel::Call(_) => self.path(what)?,
            _ => return self.refuse(what, "has() asks for a parameter by name"),
        };
        match (path.root, path.keys.pop()) {
            (Root::Params, Some(Key::Name(key))) => Ok(Expr::Has(path, key)),
            (Root::DestinationHost, None) => {
                Ok(Expr::Has(Path { root: Root::Destination, keys: vec![] }, "host".into()))
            }
            (Root::DestinationPort, None) => {
                Ok(Expr::Has(Path { root: Root::Destination, keys: vec![] }, "port".into()))
            }
            _ => self.refuse(what, "has() asks for a parameter or a part of the destination; the rest is always there"),
        }
    }

    fn term(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        match &node.expr {
            Cel::Literal(literal) => self.literal(node, literal).map(Term::Scalar),
            Cel::Ident(_) | Cel::Select(_) => self.value(node).map(Term::Path),
            Cel::Call(call) => {
                let operation = match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
                    (op::INDEX, _, _) => return self.value(node).map(Term::Path),
                    ("size", Some(what), []) | ("size", None, [what]) => return self.container(what).map(Term::Size),
                    (op::NEGATE, _, [inner]) => return self.number(inner).map(|term| Term::Negative(Box::new(term))),
                    (op::ADD, _, _) => Operation::Add,
                    (op::SUBSTRACT, _, _) => Operation::Subtract,
                    (op::MULTIPLY, _, _) => Operation::Multiply,
                    _ => return self.refuse(node, format!("`{}` can't stand here", call.func_name.trim_matches('_'))),
                };
                let [left, right] = call.args.as_slice() else { return self.refuse(node, "an operator has two sides") };
                Ok(Term::Arithmetic(operation, Box::new(self.number(left)?), Box::new(self.number(right)?)))
            }
            Cel::List(_) | Cel::Map(_) => self.refuse(node, "a list can only stand after `in`"),
            _ => self.refuse(node, "this is not supported in conditions here"),
        }
    }

    fn number(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        let term = self.term(node)?;
        match kind_of(&term) {
            Kind::Number | Kind::Any => Ok(term),
            other => self.refuse(node, format!("arithmetic is for whole numbers; this is {}", name_of(other))),
        }
    }

    fn literal(&self, node: &IdedExpr, literal: &LiteralValue) -> Result<Scalar, Refusal> {
        let whole = |value: i64| (-SAFE..=SAFE).contains(&value).then(|| Scalar::Number(value.into()));
        let number = match literal {
            LiteralValue::Boolean(value) => return Ok(Scalar::Bool(*value.inner())),
            LiteralValue::String(text) => return Ok(Scalar::Text(text.inner().to_owned())),
            LiteralValue::Int(value) => whole(*value.inner()),
            LiteralValue::UInt(value) => i64::try_from(*value.inner()).ok().and_then(whole),
            LiteralValue::Double(value) if value.inner().abs() <= SAFE as f64 => {
                serde_json::Number::from_f64(*value.inner()).map(Scalar::Number)
            }
            LiteralValue::Double(_) => None,
            LiteralValue::Null => return self.refuse(node, "null is not supported in conditions; use has(x)"),
            LiteralValue::Bytes(_) => return self.refuse(node, "bytes are not supported in conditions"),
        };
        match number {
            Some(scalar) => Ok(scalar),
            None => self.refuse(node, "the number is beyond 2^53, where JSON readers stop agreeing"),
        }
    }

    /// A path to something that can be compared.
    fn value(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        let path = self.path(node)?;
        match (path.root, path.keys.as_slice()) {
            (Root::Params | Root::AgentGroups, []) => {
                self.refuse(node, "this is a list or a mapping; name a part of it")
            }
            _ => Ok(path),
        }
    }

    /// A path to a list or a mapping.
    fn container(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        let path = self.path(node)?;
        match kind_of_path(&path) {
            Kind::Any => Ok(path),
            other => self.refuse(node, format!("expected a list or a mapping, found {}", name_of(other))),
        }
    }

    fn path(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        let root = |root| Ok(Path { root, keys: Vec::new() });
        match &node.expr {
            Cel::Ident(name) => match name.trim_start_matches('.') {
                "env" => root(Root::Env),
                "tool" => root(Root::Tool),
                "action" => root(Root::Action),
                "params" => root(Root::Params),
                "agent" => self.refuse(node, "`agent` has `id` and `groups`"),
                "destination" => self.refuse(node, "`destination` has `host` and `port`"),
                name @ ("time" | "chain" | "session") => {
                    self.refuse(node, format!("`{name}` is known to aegis/v1, but this version can't evaluate it yet"))
                }
                name => Ok(Path { root: Root::Params, keys: vec![Key::Name(name.to_owned())] }),
            },
            Cel::Select(select) => {
                if let Cel::Ident(name) = &select.operand.expr {
                    match (name.as_str(), select.field.as_str()) {
                        ("agent", "id") => return root(Root::AgentId),
                        ("agent", "groups") => return root(Root::AgentGroups),
                        ("destination", "host") => return root(Root::DestinationHost),
                        ("destination", "port") => return root(Root::DestinationPort),
                        _ => {}
                    }
                }
                self.step(node, &select.operand, Key::Name(select.field.clone()))
            }
            Cel::Call(call) if call.func_name == op::INDEX => {
                let [operand, index] = call.args.as_slice() else { return self.refuse(node, "an index is missing") };
                let key = match &index.expr {
                    Cel::Literal(LiteralValue::String(name)) => Key::Name(name.inner().to_owned()),
                    Cel::Literal(LiteralValue::Int(index)) if (0..=SAFE).contains(index.inner()) => {
                        Key::Index(index.inner().unsigned_abs())
                    }
                    _ => return self.refuse(index, "an index must be written out: a name or a number from 0"),
                };
                self.step(node, operand, key)
            }
            _ => self.refuse(node, "expected a parameter"),
        }
    }

    fn step(&self, node: &IdedExpr, operand: &IdedExpr, key: Key) -> Result<Path, Refusal> {
        let mut path = self.path(operand)?;
        let fits = matches!(
            (path.root, path.keys.as_slice(), &key),
            (Root::Params, [], Key::Name(_)) | (Root::Params, [_, ..], _) | (Root::AgentGroups, [], Key::Index(_))
        );
        if !fits {
            return self.refuse(node, "there is nothing of that name in here");
        }
        path.keys.push(key);
        Ok(path)
    }
}

impl Scalar {
    fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Number(_) => Kind::Number,
            Self::Bool(_) => Kind::Bool,
        }
    }
}

fn kind_of(term: &Term) -> Kind {
    match term {
        Term::Scalar(scalar) => scalar.kind(),
        Term::Path(path) => kind_of_path(path),
        Term::Arithmetic(..) | Term::Negative(_) | Term::Size(_) => Kind::Number,
    }
}

fn kind_of_path(path: &Path) -> Kind {
    match (path.root, path.keys.as_slice()) {
        (Root::Env | Root::Tool | Root::Action | Root::AgentId | Root::DestinationHost, _) => Kind::Text,
        (Root::AgentGroups, [_, ..]) => Kind::Text,
        (Root::DestinationPort, _) => Kind::Number,
        (Root::Params | Root::AgentGroups | Root::Destination, _) => Kind::Any,
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "a number",
        Kind::Bool => "true or false",
        Kind::Any => "a value",
    }
}
