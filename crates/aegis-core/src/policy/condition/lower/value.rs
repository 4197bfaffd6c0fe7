//! What is compared: constants, paths, arithmetic.

use cel::common::ast::{Expr as Cel, IdedExpr, LiteralValue, SelectExpr, operators as op};

use super::super::{Key, Kind, Operation, Path, Refusal, Root, SAFE, Scalar, Term};
use super::{Lowering, instead_of, is_freezes};
use crate::document::nearest;
use crate::policy::calendar::TimeField;

impl Lowering<'_> {
    pub(super) fn term(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        match &node.expr {
            Cel::Literal(literal) => self.literal(node, literal).map(Term::Scalar),
            Cel::Ident(_) | Cel::Select(_) => self.value(node),
            Cel::Call(call) => {
                let name = call.func_name.as_str();
                let operation = match (name, call.target.as_deref(), call.args.as_slice()) {
                    (op::INDEX, _, _) => return self.value(node),
                    ("size", Some(what), []) | ("size", None, [what]) => return self.sizeable(what).map(Term::Size),
                    (op::NEGATE, _, [inner]) => return self.number(inner).map(|term| Term::Negative(Box::new(term))),
                    (op::ADD, _, _) => Operation::Add,
                    (op::SUBSTRACT, _, _) => Operation::Subtract,
                    (op::MULTIPLY, _, _) => Operation::Multiply,
                    (op::DIVIDE, _, _) => Operation::Divide,
                    (op::MODULO, _, _) => Operation::Remainder,
                    _ => {
                        let shown = name.trim_matches('_');
                        return self.refuse(node, format!("`{shown}` can't stand here; {}", instead_of(name)));
                    }
                };
                let [left, right] = call.args.as_slice() else { return self.refuse(node, "an operator has two sides") };
                let (left, right) = (self.operand(operation, left)?, self.operand(operation, right)?);
                Ok(Term::Arithmetic(operation, Box::new(left), Box::new(right)))
            }
            Cel::List(_) | Cel::Map(_) => self.refuse(node, "a list can only stand after `in`"),
            _ => self.refuse(node, "this is not supported in conditions here"),
        }
    }

    fn operand(&self, operation: Operation, node: &IdedExpr) -> Result<Term, Refusal> {
        // CEL divides doubles without cutting off; here a number is a number, and `/` and `%` are for whole ones.
        if matches!(operation, Operation::Divide | Operation::Remainder)
            && matches!(node.expr, Cel::Literal(LiteralValue::Double(_)))
        {
            return self.refuse(node, "`/` and `%` are for whole numbers; write it without a point");
        }
        self.number(node)
    }

    pub(super) fn text_term(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        let term = self.term(node)?;
        match kind_of(&term) {
            Kind::Text | Kind::Any => Ok(term),
            other => self.refuse(node, format!("expected text, found {}", name_of(other))),
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
            LiteralValue::Null => return self.refuse(node, "null can only be compared: x == null; see also has(x)"),
            LiteralValue::Bytes(_) => return self.refuse(node, "bytes are not supported in conditions; write text"),
        };
        match number {
            Some(scalar) => Ok(scalar),
            None => self.refuse(node, "the number is beyond 2^53, where JSON readers stop agreeing"),
        }
    }

    /// Something that can be compared.
    fn value(&self, node: &IdedExpr) -> Result<Term, Refusal> {
        if let Some(key) = self.count(node)? {
            let mut uses = self.uses.borrow_mut();
            uses.session = true;
            uses.counts.insert(key.clone());
            return Ok(Term::Count(key));
        }
        let path = self.path(node)?;
        match (&path.root, path.keys.as_slice()) {
            (Root::Params, []) => self.refuse(node, "this is a mapping; name a part of it"),
            (Root::AgentGroups | Root::Chain | Root::Labels, []) => {
                self.refuse(node, "this is a list; ask with in, size(), all() or exists()")
            }
            _ => Ok(Term::Path(path)),
        }
    }

    /// The key in `session.count["deploy"]`.
    fn count(&self, node: &IdedExpr) -> Result<Option<String>, Refusal> {
        let (operand, key) = match &node.expr {
            Cel::Select(select) => (&*select.operand, Some(select.field.clone())),
            Cel::Call(call) if call.func_name == op::INDEX => match call.args.as_slice() {
                [operand, index] => match &index.expr {
                    Cel::Literal(LiteralValue::String(name)) => (operand, Some(name.inner().to_owned())),
                    _ => (operand, None),
                },
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        if !is_member(operand, "session", "count") {
            return Ok(None);
        }
        match key {
            Some(key) => Ok(Some(key)),
            None => self.refuse(node, "write out what is counted: session.count[\"deploy\"]"),
        }
    }

    /// A path to a list or a mapping.
    pub(super) fn container(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        let path = self.path(node)?;
        match kind_of_path(&path) {
            Kind::Any => Ok(path),
            other => self.refuse(node, format!("expected a list or a mapping, found {}", name_of(other))),
        }
    }

    /// A path to a list, a mapping or a text.
    fn sizeable(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        if is_freezes(node) {
            return self.refuse(node, "compare it with 0: size(time.freezes) > 0");
        }
        let path = match &node.expr {
            Cel::Ident(_) | Cel::Select(_) | Cel::Call(_) => self.path(node)?,
            _ => return self.refuse(node, "size() is asked of a parameter"),
        };
        match kind_of_path(&path) {
            Kind::Any | Kind::Text => Ok(path),
            other => self.refuse(node, format!("expected a list, a mapping or text, found {}", name_of(other))),
        }
    }

    pub(super) fn path(&self, node: &IdedExpr) -> Result<Path, Refusal> {
        let root = |root| Ok(Path { root, keys: Vec::new() });
        match &node.expr {
            Cel::Ident(name) => match (name.trim_start_matches('.'), self.element) {
                (name, Some((element, kind))) if name == element => root(Root::Element(kind)),
                ("env", _) => root(Root::Env),
                ("tool", _) => root(Root::Tool),
                ("action", _) => root(Root::Action),
                ("params", _) => root(Root::Params),
                ("chain", _) => root(Root::Chain),
                ("agent", _) => self.refuse(node, "`agent` has `id`, `groups` and `parent`"),
                ("destination", _) => self.refuse(node, "`destination` has `host` and `port`"),
                ("session", _) => self.refuse(node, "`session` has `labels` and `count[\"…\"]`"),
                ("time", _) => self.refuse(node, format!("`time` has {}", time_fields())),
                (name, _) => Ok(Path { root: Root::Params, keys: vec![Key::Name(name.to_owned())] }),
            },
            Cel::Select(select) => match self.member(node, select)? {
                Some(path) => Ok(path),
                None => self.step(node, &select.operand, Key::Name(select.field.clone())),
            },
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
            Cel::Call(call) => {
                let name = call.func_name.as_str();
                self.refuse(node, format!("`{}` can't stand here; {}", name.trim_matches('_'), instead_of(name)))
            }
            _ => self.refuse(node, "expected a parameter"),
        }
    }

    /// What a root other than `params` has under this name.
    fn member(&self, node: &IdedExpr, select: &SelectExpr) -> Result<Option<Path>, Refusal> {
        let Cel::Ident(name) = &select.operand.expr else { return Ok(None) };
        if self.element.is_some_and(|(element, _)| element == name) {
            return Ok(None);
        }
        let root = match (name.as_str(), select.field.as_str()) {
            ("agent", "id") => Root::AgentId,
            ("agent", "groups") => Root::AgentGroups,
            ("agent", "parent") => return Ok(Some(Path { root: Root::Chain, keys: vec![Key::Index(0)] })),
            ("destination", "host") => Root::DestinationHost,
            ("destination", "port") => Root::DestinationPort,
            ("session", "labels") => {
                self.uses.borrow_mut().session = true;
                Root::Labels
            }
            ("session", "count") => {
                return self.refuse(node, "ask for one count: session.count[\"deploy\"] > 3");
            }
            ("time", "freezes") => {
                return self.refuse(node, "ask \"name\" in time.freezes, or size(time.freezes) > 0");
            }
            ("time", field) => return self.time(node, field).map(Some),
            _ => return Ok(None),
        };
        Ok(Some(Path { root, keys: Vec::new() }))
    }

    fn time(&self, node: &IdedExpr, field: &str) -> Result<Path, Refusal> {
        let Some(field) = TimeField::ALL.into_iter().find(|known| known.name() == field) else {
            let hint = nearest(field, TimeField::ALL.map(TimeField::name))
                .map_or_else(|| format!("it has {}", time_fields()), |near| format!("did you mean `{near}`?"));
            return self.refuse(node, format!("`time` has no `{field}`; {hint}"));
        };
        Ok(Path { root: self.clock(field), keys: Vec::new() })
    }

    /// The time in the policy's zone.
    pub(super) fn clock(&self, field: TimeField) -> Root {
        let zone = self.calendar.zone.clone();
        self.uses.borrow_mut().zone = Some(zone.clone());
        Root::Time(zone, field)
    }

    fn step(&self, node: &IdedExpr, operand: &IdedExpr, key: Key) -> Result<Path, Refusal> {
        let mut path = self.path(operand)?;
        let fits = matches!(
            (&path.root, path.keys.as_slice(), &key),
            (Root::Params, [], Key::Name(_))
                | (Root::Params, [_, ..], _)
                | (Root::Element(Kind::Any), _, _)
                | (Root::AgentGroups | Root::Chain, [], Key::Index(_))
        );
        if !fits {
            return self.refuse(node, "there is nothing of that name in here");
        }
        path.keys.push(key);
        Ok(path)
    }
}

/// Whether it is `root.field`.
fn is_member(node: &IdedExpr, root: &str, field: &str) -> bool {
    matches!(&node.expr, Cel::Select(select) if select.field == field
        && matches!(&select.operand.expr, Cel::Ident(name) if name == root))
}

fn time_fields() -> String {
    let names: Vec<String> = TimeField::ALL.iter().map(|field| format!("`{}`", field.name())).collect();
    format!("{} and `freezes`", names.join(", "))
}

impl Scalar {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Number(_) => Kind::Number,
            Self::Bool(_) => Kind::Bool,
        }
    }
}

pub(super) fn kind_of(term: &Term) -> Kind {
    match term {
        Term::Scalar(scalar) => scalar.kind(),
        Term::Path(path) => kind_of_path(path),
        Term::Arithmetic(..) | Term::Negative(_) | Term::Size(_) | Term::Count(_) => Kind::Number,
    }
}

pub(super) fn kind_of_path(path: &Path) -> Kind {
    match (&path.root, path.keys.as_slice()) {
        (Root::Env | Root::Tool | Root::Action | Root::AgentId | Root::DestinationHost, _) => Kind::Text,
        (Root::AgentGroups | Root::Chain, [_, ..]) => Kind::Text,
        (Root::DestinationPort, _) => Kind::Number,
        (Root::Time(_, field), _) if field.is_text() => Kind::Text,
        (Root::Time(..), _) => Kind::Number,
        (Root::Element(kind), []) => *kind,
        _ => Kind::Any,
    }
}

pub(super) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "a number",
        Kind::Bool => "true or false",
        Kind::Any => "a value",
    }
}
