//! Bodies, read: what has to be there is there and of its type, what we don't know is ignored (AuthZEN 1.0, §10.1.1).

use serde_json::{Map, Value};

use super::{Action, Entity, Evaluation, unreadable};
use crate::describe::{Unreadable, strict_json};

/// The most questions in one request.
pub const MOST_EVALUATIONS: usize = 100;
/// The longest identifier, in bytes.
const LONGEST: usize = 1024;

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    /// All are answered.
    #[default]
    ExecuteAll,
    /// Up to the first no.
    DenyOnFirstDeny,
    /// Up to the first yes.
    PermitOnFirstPermit,
}

/// The body of `/access/v1/evaluations`.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// It has no list: it is a single question.
    One(Evaluation),
    /// Several, each read or not.
    Several {
        /// In their order.
        questions: Vec<Result<Evaluation, Unreadable>>,
        /// When to stop.
        semantic: Semantic,
    },
}

impl Evaluation {
    /// Reads the body of `/access/v1/evaluation`.
    ///
    /// # Errors
    /// What is malformed, missing or of another type.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        Self::of(&object(body)?, &Map::new())
    }

    /// The question of `own`, with what it doesn't say taken whole from `defaults`.
    fn of(own: &Map<String, Value>, defaults: &Map<String, Value>) -> Result<Self, Unreadable> {
        let part = |name: &'static str| own.get(name).or_else(|| defaults.get(name)).map(|value| (name, value));
        let context = match part("context") {
            None => Map::new(),
            Some(part) => map(part)?.clone(),
        };
        machinery(&context)?;
        Ok(Self {
            subject: entity(part("subject").ok_or_else(|| missing("subject"))?)?,
            action: action(part("action").ok_or_else(|| missing("action"))?)?,
            resource: entity(part("resource").ok_or_else(|| missing("resource"))?)?,
            context,
        })
    }
}

impl Batch {
    /// Reads the body of `/access/v1/evaluations`.
    ///
    /// # Errors
    /// What is wrong with the body as a whole; what is wrong with one question stays in its place.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let body = object(body)?;
        let list = match body.get("evaluations") {
            None => &[][..],
            Some(Value::Array(list)) => list,
            Some(_) => return Err(mistyped("evaluations", "an array")),
        };
        if list.is_empty() {
            return Evaluation::of(&body, &Map::new()).map(Self::One);
        }
        if list.len() > MOST_EVALUATIONS {
            let message = format!("evaluations has {} elements, at most {MOST_EVALUATIONS} are taken", list.len());
            return Err(unreadable("too_many_evaluations", message));
        }
        for name in ["subject", "action", "resource", "context"] {
            body.get(name).map(|value| map((name, value))).transpose()?;
        }
        let semantic = semantic(&body)?;
        let question = |item: &Value| match item {
            Value::Object(own) => Evaluation::of(own, &body),
            _ => Err(mistyped("an element of evaluations", "an object")),
        };
        Ok(Self::Several { questions: list.iter().map(question).collect(), semantic })
    }
}

fn semantic(body: &Map<String, Value>) -> Result<Semantic, Unreadable> {
    let Some(options) = body.get("options").map(|value| map(("options", value))).transpose()? else {
        return Ok(Semantic::default());
    };
    match options.get("evaluations_semantic") {
        None => Ok(Semantic::default()),
        Some(Value::String(name)) if name == "execute_all" => Ok(Semantic::ExecuteAll),
        Some(Value::String(name)) if name == "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
        Some(Value::String(name)) if name == "permit_on_first_permit" => Ok(Semantic::PermitOnFirstPermit),
        Some(_) => {
            Err(mistyped("options.evaluations_semantic", "execute_all, deny_on_first_deny or permit_on_first_permit"))
        }
    }
}

/// What a context says to the gateway is of its type, or the caller means something else by it.
fn machinery(context: &Map<String, Value>) -> Result<(), Unreadable> {
    for name in ["call_id", "session_id"] {
        match context.get(name) {
            None => {}
            Some(Value::String(id)) if !id.is_empty() && id.len() <= LONGEST => {}
            Some(_) => return Err(mistyped(&format!("context.{name}"), "a text of 1 to 1024 bytes")),
        }
    }
    match context.get("supported_obligations") {
        None => Ok(()),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(mistyped("context.supported_obligations", "an array of texts")),
    }
}

fn entity(part: (&str, &Value)) -> Result<Entity, Unreadable> {
    let fields = map(part)?;
    let name = part.0;
    let text = |key| identifier(name, fields, key);
    Ok(Entity { kind: text("type")?, id: text("id")?, properties: properties(name, fields)? })
}

fn action(part: (&str, &Value)) -> Result<Action, Unreadable> {
    let fields = map(part)?;
    Ok(Action { name: identifier(part.0, fields, "name")?, properties: properties(part.0, fields)? })
}

fn identifier(part: &str, fields: &Map<String, Value>, key: &str) -> Result<String, Unreadable> {
    let path = format!("{part}.{key}");
    match fields.get(key) {
        None => Err(missing(&path)),
        Some(Value::String(text)) if text.len() <= LONGEST => Ok(text.clone()),
        Some(Value::String(_)) => Err(mistyped(&path, "a text of at most 1024 bytes")),
        Some(_) => Err(mistyped(&path, "a text")),
    }
}

fn properties(part: &str, fields: &Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
    match fields.get("properties") {
        None => Ok(Map::new()),
        Some(Value::Object(properties)) => Ok(properties.clone()),
        Some(_) => Err(mistyped(&format!("{part}.properties"), "an object")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    match strict_json(body)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(mistyped("the body", "an object")),
    }
}

fn map<'a>((name, value): (&str, &'a Value)) -> Result<&'a Map<String, Value>, Unreadable> {
    value.as_object().ok_or_else(|| mistyped(name, "an object"))
}

fn missing(path: &str) -> Unreadable {
    unreadable("missing_field", format!("{path} is missing"))
}

fn mistyped(path: &str, expected: &str) -> Unreadable {
    unreadable("mistyped_field", format!("{path} has to be {expected}"))
}
