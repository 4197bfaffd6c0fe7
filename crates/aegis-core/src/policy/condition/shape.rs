//! The same form as Rego: two functions per node, one that succeeds when it is true and one when it is false; neither means
//! unknown. Each binds its operands and checks their kinds before it compares, and `not` is only put before what can't fail.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Expr, Key, Kind, Operation, Path, Quantifier, Relation, Root, Scalar, Term, TextTest};

/// A generated rule. Conditions that differ in constants and parameter names only have the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Shape {
    /// `s` and a digest of the text, so that it doesn't depend on other conditions.
    pub(in crate::policy) id: String,
    /// The Rego.
    pub(in crate::policy) rego: String,
}

/// Stands for the shape's id until that is known; no generated text has it otherwise.
const SELF: &str = "@";

impl Shape {
    /// The shape of an expression, and the constants that were lifted out of it.
    pub(super) fn of(expr: &Expr) -> (Self, Vec<Value>) {
        let mut writer = Writer { rules: String::new(), consts: Vec::new(), nodes: 0, args: "c" };
        let (yes, no) = writer.node(expr);
        let rego = format!(
            "{}\nval(\"{SELF}\", c) := \"true\" if {yes}(c)\nelse := \"false\" if {no}(c)\nelse := \"unknown\"\n",
            writer.rules
        );
        let digest = Sha256::digest(rego.as_bytes());
        let id: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let id = format!("s{id}");
        let rego = rego.replace(SELF, &id);
        (Self { id, rego }, writer.consts)
    }
}

struct Writer {
    rules: String,
    consts: Vec<Value>,
    nodes: usize,
    /// What a node's functions are asked with: the constants, and the element inside `all` and `exists`.
    args: &'static str,
}

/// The lines of a rule's body.
#[derive(Default, Clone)]
struct Body {
    lines: Vec<String>,
    vars: usize,
}

impl Body {
    fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Binds an expression to a new variable.
    fn bind(&mut self, expression: &str) -> String {
        let var = format!("v{}", self.vars);
        self.vars += 1;
        self.line(format!("{var} := {expression}"));
        var
    }
}

impl Writer {
    /// Writes the functions of a node; returns the names of the one for true and the one for false.
    fn node(&mut self, expr: &Expr) -> (String, String) {
        match expr {
            Expr::Not(inner) => {
                let (yes, no) = self.node(inner);
                (no, yes)
            }
            Expr::And(left, right) => {
                let ((left_yes, left_no), (right_yes, right_no)) = (self.node(left), self.node(right));
                let both = vec![self.call(&left_yes), self.call(&right_yes)];
                self.rule(&[both], &[vec![self.call(&left_no)], vec![self.call(&right_no)]])
            }
            Expr::Or(left, right) => {
                let ((left_yes, left_no), (right_yes, right_no)) = (self.node(left), self.node(right));
                let neither = vec![self.call(&left_no), self.call(&right_no)];
                self.rule(&[vec![self.call(&left_yes)], vec![self.call(&right_yes)]], &[neither])
            }
            Expr::If(condition, yes, no) => {
                let (is, isnt) = self.node(condition);
                let ((a_yes, a_no), (b_yes, b_no)) = (self.node(yes), self.node(no));
                let both = |left: &str, right: &str| vec![self.call(left), self.call(right)];
                let (a, b) = ([both(&is, &a_yes), both(&isnt, &b_yes)], [both(&is, &a_no), both(&isnt, &b_no)]);
                self.rule(&a, &b)
            }
            Expr::Quantified(quantifier, path, inner) => self.quantified(*quantifier, path, inner),
            Expr::Const(value) => {
                let (always, never) = (vec!["c != null".to_owned()], vec!["c == null".to_owned()]);
                if *value { self.rule(&[always], &[never]) } else { self.rule(&[never], &[always]) }
            }
            leaf => self.leaf(leaf),
        }
    }

    /// An element for which it is true, or none for which it isn't false; `every` is true of no elements at all.
    fn quantified(&mut self, quantifier: Quantifier, path: &Path, inner: &Expr) -> (String, String) {
        let mut body = Body::default();
        let container = self.path(path, &mut body);
        let elements = body.bind(&format!("elements({container})"));
        let outside = std::mem::replace(&mut self.args, "c, e");
        let (yes, no) = self.node(inner);
        let some = |function: &str, writer: &Self| {
            let one = [format!("some e in {elements}"), writer.call(function)];
            body.lines.iter().cloned().chain(one).collect::<Vec<_>>()
        };
        let every = |function: &str, writer: &Self| {
            let all = [format!("every e in {elements} {{ {} }}", writer.call(function))];
            body.lines.iter().cloned().chain(all).collect::<Vec<_>>()
        };
        let (yes, no) = match quantifier {
            Quantifier::All => (every(&yes, self), some(&no, self)),
            Quantifier::Exists => (some(&yes, self), every(&no, self)),
        };
        self.args = outside;
        self.rule(&[yes], &[no])
    }

    fn call(&self, function: &str) -> String {
        format!("{function}({})", self.args)
    }

    fn leaf(&mut self, expr: &Expr) -> (String, String) {
        let mut body = Body::default();
        let (yes, no) = match expr {
            Expr::Flag(path) => {
                let value = self.path(path, &mut body);
                (format!("{value} == true"), format!("{value} == false"))
            }
            Expr::Compare(relation, kind, left, right) => {
                let (left, right) = (self.term(left, &mut body), self.term(right, &mut body));
                guard(*kind, &[&left, &right], relation_is_order(*relation), &mut body);
                let (yes, no) = operators(*relation);
                (format!("{left} {yes} {right}"), format!("{left} {no} {right}"))
            }
            Expr::OneOf(term, kind, list) => {
                let value = self.term(term, &mut body);
                guard(*kind, &[&value], false, &mut body);
                let list = self.lift(Value::Array(list.iter().map(Scalar::to_json).collect()));
                (format!("{value} in {list}"), format!("not {value} in {list}"))
            }
            Expr::Within(term, path) => {
                let (value, container) = (self.term(term, &mut body), self.path(path, &mut body));
                (format!("within({container}, {value}) == true"), format!("within({container}, {value}) == false"))
            }
            Expr::Text(test, left, right) => {
                let (left, right) = (self.term(left, &mut body), self.term(right, &mut body));
                guard(Kind::Text, &[&left, &right], false, &mut body);
                let function = match test {
                    TextTest::StartsWith => "startswith",
                    TextTest::EndsWith => "endswith",
                    TextTest::Contains => "contains",
                };
                (format!("{function}({left}, {right})"), format!("not {function}({left}, {right})"))
            }
            Expr::Matches(term, pattern) => {
                let value = self.term(term, &mut body);
                guard(Kind::Text, &[&value], false, &mut body);
                let pattern = self.lift(Value::String(pattern.as_str().to_owned()));
                (format!("regex.match({pattern}, {value})"), format!("not regex.match({pattern}, {value})"))
            }
            Expr::Has(path, key) => {
                let parent = self.path(path, &mut body);
                body.line(format!("is_object({parent})"));
                let key = self.lift(Value::String(key.clone()));
                (format!("has_key({parent}, {key})"), format!("not has_key({parent}, {key})"))
            }
            Expr::IsNull(path) => {
                let value = self.path(path, &mut body);
                (format!("is_null({value})"), format!("not is_null({value})"))
            }
            // The others are not leaves; `node` takes them.
            _ => ("c == null".to_owned(), "c == null".to_owned()),
        };
        let with = |last: String| body.lines.iter().cloned().chain([last]).collect::<Vec<_>>();
        self.rule(&[with(yes)], &[with(no)])
    }

    fn rule(&mut self, yes: &[Vec<String>], no: &[Vec<String>]) -> (String, String) {
        let names = (format!("{SELF}_{}_t", self.nodes), format!("{SELF}_{}_f", self.nodes));
        self.nodes += 1;
        for (name, bodies) in [(&names.0, yes), (&names.1, no)] {
            for body in bodies {
                let (args, body) = (self.args, body.join("\n\t"));
                self.rules.push_str(&format!("\n{name}({args}) if {{\n\t{body}\n}}\n"));
            }
        }
        names
    }

    /// Puts a constant into data.
    fn lift(&mut self, value: Value) -> String {
        self.consts.push(value);
        format!("c[{}]", self.consts.len() - 1)
    }

    fn term(&mut self, term: &Term, body: &mut Body) -> String {
        match term {
            Term::Scalar(scalar) => {
                let constant = self.lift(scalar.to_json());
                body.bind(&constant)
            }
            Term::Path(path) => self.path(path, body),
            Term::Arithmetic(operation, left, right) => {
                let (left, right) = (self.term(left, body), self.term(right, body));
                body.line(format!("whole({left})"));
                body.line(format!("whole({right})"));
                let result = body.bind(&match operation {
                    Operation::Add => format!("{left} + {right}"),
                    Operation::Subtract => format!("{left} - {right}"),
                    Operation::Multiply => format!("{left} * {right}"),
                    Operation::Divide => format!("quotient({left}, {right})"),
                    Operation::Remainder => format!("remainder({left}, {right})"),
                });
                body.line(format!("number({result})"));
                result
            }
            Term::Negative(inner) => {
                let value = self.term(inner, body);
                body.line(format!("number({value})"));
                body.bind(&format!("0 - {value}"))
            }
            Term::Size(path) => {
                let value = self.path(path, body);
                body.bind(&format!("size({value})"))
            }
            Term::Count(key) => {
                let key = self.lift(Value::from(key.as_str()));
                body.bind(&format!("object.get(input.session.count, {key}, 0)"))
            }
        }
    }

    /// Walks to a value one key at a time, so that no step is taken into what has no keys.
    fn path(&mut self, path: &Path, body: &mut Body) -> String {
        let mut value = body.bind(match &path.root {
            Root::Env => "input.env",
            Root::Tool => "input.tool",
            Root::Action => "input.action",
            Root::Params => "input.params",
            Root::AgentId => "input.agent.id",
            Root::AgentGroups => "input.agent.groups",
            Root::Destination => "input.destination",
            Root::DestinationHost => "input.destination.host",
            Root::DestinationPort => "input.destination.port",
            Root::Chain => "input.agent.chain",
            Root::Labels => "input.session.labels",
            Root::Time(..) => "input.time",
            Root::Element(_) => "e",
        });
        let in_zone = match &path.root {
            Root::Time(zone, field) => vec![Key::Name(zone.name().to_owned()), Key::Name(field.name().to_owned())],
            _ => Vec::new(),
        };
        for key in in_zone.iter().chain(&path.keys) {
            let (kind, key) = match key {
                Key::Name(name) => ("object", Value::from(name.as_str())),
                Key::Index(index) => ("array", Value::from(*index)),
            };
            body.line(format!("is_{kind}({value})"));
            let key = self.lift(key);
            value = body.bind(&format!("{value}[{key}]"));
        }
        value
    }
}

impl Scalar {
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Bool(value) => Value::Bool(*value),
        }
    }
}

fn guard(kind: Kind, values: &[&str], ordered: bool, body: &mut Body) {
    let function = match kind {
        Kind::Text => "is_string",
        Kind::Number => "number",
        Kind::Bool => "is_boolean",
        Kind::Any => match values {
            [left, right] => {
                let function = if ordered { "ordered" } else { "alike" };
                return body.line(format!("{function}({left}, {right})"));
            }
            _ => "scalar",
        },
    };
    values.iter().for_each(|value| body.line(format!("{function}({value})")));
}

fn relation_is_order(relation: Relation) -> bool {
    !matches!(relation, Relation::Equal | Relation::NotEqual)
}

/// The operator, and its opposite.
fn operators(relation: Relation) -> (&'static str, &'static str) {
    match relation {
        Relation::Equal => ("==", "!="),
        Relation::NotEqual => ("!=", "=="),
        Relation::Less => ("<", ">="),
        Relation::LessOrEqual => ("<=", ">"),
        Relation::Greater => (">", "<="),
        Relation::GreaterOrEqual => (">=", "<"),
    }
}
