//! A GraphQL request → what each of its root fields asks for.
//!
//! One document for each root field that the operation may run: `{"operation": "mutation", "field": "mergePullRequest",
//! "arguments": {…}}`. The field's own name, whatever its alias; fragments are looked into; of several operations the one that
//! `operationName` names; of a batch all of them. Arguments are literal, or what the request's variables say. A field with
//! `@skip` or `@include` counts as asked for.
//!
//! Invariants: a field that the server might run is never passed over; what this reader and a server may take for different
//! things (two fragments of one name, an argument that stands twice) is refused. Deliberately absent: the schema, so that the
//! names below the root say nothing; persisted queries, whose text isn't in the request.

use std::collections::{BTreeMap, BTreeSet};

use apollo_parser::Parser;
use apollo_parser::cst::{
    self, CstNode as _, Definition, Document, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
};
use serde_json::{Map, Value, json};

use super::Unreadable;
use super::body::Decoded;
use super::json;

/// Deeper nesting than any call of ours needs; bounds recursion.
const MAX_DEPTH: usize = 64;
/// Most tokens of a document.
const MAX_TOKENS: usize = 20_000;
/// Most root fields of a request: each gets its own copy of what the variables hold.
const MAX_FIELDS: usize = 64;
/// What the request's own text, repeated by variables, may grow to, as a multiple of its size.
const GROWTH: usize = 8;
/// The keys that a request may have; another may make the server read something else than `query`.
const KEYS: [&str; 4] = ["query", "variables", "operationName", "extensions"];
/// What asks for the type's name, and for nothing else.
const TYPENAME: &str = "__typename";

/// Why a request isn't read: the call is `unknown`, or it is refused.
enum Stop {
    Opaque(String),
    Unreadable(Unreadable),
}

impl From<Unreadable> for Stop {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable)
    }
}

fn opaque(why: impl Into<String>) -> Stop {
    Stop::Opaque(why.into())
}

fn ambiguous(message: impl Into<String>) -> Stop {
    Stop::Unreadable(Unreadable::new("graphql_ambiguous", message))
}

/// Reads a body of `application/json`.
pub(super) fn read(body: &[u8]) -> Result<Decoded, Unreadable> {
    match requests(json::parse(body)?, body.len().saturating_mul(GROWTH)) {
        Ok(documents) => Ok(Decoded::Documents { documents, textual: false }),
        Err(Stop::Opaque(why)) => Ok(Decoded::Opaque(why)),
        Err(Stop::Unreadable(unreadable)) => Err(unreadable),
    }
}

/// One request, or a batch.
fn requests(body: Value, budget: usize) -> Result<Vec<Value>, Stop> {
    let requests = match body {
        Value::Array(requests) if requests.is_empty() => return Err(opaque("the batch is empty")),
        Value::Array(requests) => requests,
        one => vec![one],
    };
    let mut budget = budget;
    let mut documents = Vec::new();
    for request in requests {
        let Value::Object(request) = request else { return Err(opaque("a GraphQL request is an object")) };
        operation(request, &mut budget, &mut documents)?;
        if documents.len() > MAX_FIELDS {
            return Err(opaque(format!("the request asks for more than {MAX_FIELDS} root fields")));
        }
    }
    Ok(documents)
}

fn operation(request: Map<String, Value>, budget: &mut usize, documents: &mut Vec<Value>) -> Result<(), Stop> {
    if let Some(key) = request.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(opaque(format!("the request has the key {key:?}, which may stand for another query")));
    }
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if !request.get("extensions").is_none_or(empty) {
        return Err(opaque("the request has `extensions`, which may stand for another query"));
    }
    let Some(Value::String(text)) = request.get("query") else {
        return Err(opaque("the request has no `query`"));
    };
    let none = Map::new();
    let variables = match request.get("variables") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err(opaque("`variables` is no object")),
    };
    let name = match request.get("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(opaque("`operationName` is no text")),
    };
    let document = parse(text)?;
    let (operations, fragments) = definitions(&document)?;
    let chosen = chosen(&operations, name)?;
    let kind = match chosen.operation_type() {
        None => "query",
        Some(kind) if kind.query_token().is_some() => "query",
        Some(kind) if kind.mutation_token().is_some() => "mutation",
        Some(_) => "subscription",
    };
    let mut reader = Reader { fragments, defaults: defaults(chosen)?, variables, seen: BTreeSet::new(), budget };
    let mut fields = Vec::new();
    reader.fields(chosen.selection_set(), 0, &mut fields)?;
    if fields.iter().any(|(name, _)| name != TYPENAME) {
        fields.retain(|(name, _)| name != TYPENAME);
    }
    if fields.is_empty() {
        return Err(opaque("the operation asks for nothing"));
    }
    let described =
        fields.into_iter().map(|(field, arguments)| json!({"operation": kind, "field": field, "arguments": arguments}));
    documents.extend(described);
    Ok(())
}

fn parse(text: &str) -> Result<Document, Stop> {
    let tree = Parser::new(text).recursion_limit(MAX_DEPTH).token_limit(MAX_TOKENS).parse();
    if let Some(error) = tree.errors().next() {
        let message = format!("`query` is no GraphQL document: {}", error.message());
        return Err(Unreadable::new("graphql_malformed", message).into());
    }
    Ok(tree.document())
}

type Operations = Vec<(Option<String>, OperationDefinition)>;
type Fragments = BTreeMap<String, FragmentDefinition>;

fn definitions(document: &Document) -> Result<(Operations, Fragments), Stop> {
    let mut operations = Operations::new();
    let mut fragments = Fragments::new();
    for definition in document.definitions() {
        match definition {
            Definition::OperationDefinition(operation) => {
                let name = operation.name().map(|name| name.text().to_string());
                if operations.iter().any(|(other, _)| *other == name) {
                    return Err(ambiguous("two operations have the same name"));
                }
                operations.push((name, operation));
            }
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name());
                let name = name.ok_or_else(|| opaque("a fragment has no name"))?.text().to_string();
                if fragments.insert(name, fragment).is_some() {
                    return Err(ambiguous("two fragments have the same name"));
                }
            }
            _ => return Err(opaque("the document defines types")),
        }
    }
    Ok((operations, fragments))
}

/// The operation that the server would run.
fn chosen<'o>(operations: &'o Operations, name: Option<&str>) -> Result<&'o OperationDefinition, Stop> {
    match (operations.as_slice(), name.filter(|name| !name.is_empty())) {
        ([], _) => Err(opaque("the document has no operation")),
        ([(_, only)], None) => Ok(only),
        (_, None) => Err(ambiguous("the document has several operations, and `operationName` names none")),
        (all, Some(name)) => {
            let found = all.iter().find(|(own, _)| own.as_deref() == Some(name)).map(|(_, operation)| operation);
            found.ok_or_else(|| ambiguous("`operationName` names no operation of the document"))
        }
    }
}

fn defaults(operation: &OperationDefinition) -> Result<BTreeMap<String, Option<cst::Value>>, Stop> {
    let mut defaults = BTreeMap::new();
    let defined = operation.variable_definitions().into_iter().flat_map(|all| all.variable_definitions());
    for definition in defined {
        let name = definition.variable().and_then(|variable| variable.name());
        let name = name.ok_or_else(|| opaque("a variable has no name"))?.text().to_string();
        let default = definition.default_value().and_then(|default| default.value());
        if defaults.insert(name, default).is_some() {
            return Err(ambiguous("a variable is defined twice"));
        }
    }
    Ok(defaults)
}

struct Reader<'a> {
    fragments: Fragments,
    /// The operation's variables.
    defaults: BTreeMap<String, Option<cst::Value>>,
    /// What the request says they are.
    variables: &'a Map<String, Value>,
    /// The fragments that were looked into: a second time they say nothing new.
    seen: BTreeSet<String>,
    /// How much more the variables may be repeated.
    budget: &'a mut usize,
}

impl Reader<'_> {
    fn fields(
        &mut self,
        selections: Option<SelectionSet>,
        depth: usize,
        found: &mut Vec<(String, Value)>,
    ) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(opaque("the fragments nest too deep"));
        }
        for selection in selections.into_iter().flat_map(|set| set.selections()) {
            match selection {
                Selection::Field(field) => {
                    let name = field.name().ok_or_else(|| opaque("a field has no name"))?.text().to_string();
                    let arguments = field.arguments().into_iter().flat_map(|all| all.arguments());
                    let arguments = self.object(arguments.map(|argument| (argument.name(), argument.value())))?;
                    found.push((name, arguments));
                    if found.len() > MAX_FIELDS {
                        return Err(opaque(format!("the operation asks for more than {MAX_FIELDS} root fields")));
                    }
                }
                Selection::InlineFragment(inline) => self.fields(inline.selection_set(), depth + 1, found)?,
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name());
                    let name = name.ok_or_else(|| opaque("a fragment has no name"))?.text().to_string();
                    let fragment = self.fragments.get(&name).ok_or_else(|| opaque("a fragment isn't defined"))?;
                    let inner = fragment.selection_set();
                    if self.seen.insert(name) {
                        self.fields(inner, depth + 1, found)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Arguments, or the fields of an input object.
    fn object(
        &mut self,
        entries: impl Iterator<Item = (Option<cst::Name>, Option<cst::Value>)>,
    ) -> Result<Value, Stop> {
        let mut map = Map::new();
        let mut names = BTreeSet::new();
        for (name, value) in entries {
            let (Some(name), Some(value)) = (name, value) else { return Err(opaque("an argument is incomplete")) };
            if !names.insert(name.text().to_string()) {
                return Err(ambiguous(format!("{:?} stands twice", name.text().as_str())));
            }
            if let Some(value) = self.value(value)? {
                map.insert(name.text().to_string(), value);
            }
        }
        Ok(Value::Object(map))
    }

    /// `None` for a variable that has no value: the server takes the place for absent.
    fn value(&mut self, value: cst::Value) -> Result<Option<Value>, Stop> {
        Ok(Some(match value {
            cst::Value::Variable(variable) => return self.variable(variable),
            cst::Value::StringValue(text) => Value::String(String::from(text)),
            cst::Value::IntValue(number) => json::parse(number.source_string().trim().as_bytes())?,
            cst::Value::FloatValue(number) => json::parse(number.source_string().trim().as_bytes())?,
            cst::Value::BooleanValue(value) => Value::Bool(value.true_token().is_some()),
            cst::Value::NullValue(_) => Value::Null,
            cst::Value::EnumValue(name) => {
                let name = name.name().ok_or_else(|| opaque("a value is incomplete"))?;
                Value::String(name.text().to_string())
            }
            cst::Value::ListValue(list) => {
                let mut items = Vec::new();
                for value in list.values() {
                    items.push(self.value(value)?.unwrap_or(Value::Null));
                }
                Value::Array(items)
            }
            cst::Value::ObjectValue(object) => {
                self.object(object.object_fields().map(|field| (field.name(), field.value())))?
            }
        }))
    }

    fn variable(&mut self, variable: cst::Variable) -> Result<Option<Value>, Stop> {
        let name = variable.name().ok_or_else(|| opaque("a variable has no name"))?;
        let default = self.defaults.get(name.text().as_str()).cloned();
        let default = default.ok_or_else(|| ambiguous("a variable is used that the operation doesn't define"))?;
        let Some(given) = self.variables.get(name.text().as_str()) else {
            return match default {
                // Constant: it has no variables.
                Some(default) => self.value(default),
                None => Ok(None),
            };
        };
        let left = self.budget.checked_sub(weight(given));
        *self.budget = left.ok_or_else(|| opaque("the variables are repeated too often"))?;
        Ok(Some(given.clone()))
    }
}

/// About how much memory a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len() + 1,
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 1,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>() + 1,
    }
}

#[cfg(test)]
mod tests;
