//! One operation of an OpenAPI document → one action.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::{Document, list, object};
use super::{snake, snake_kept};
use crate::call::IMAGES;
use crate::describe::fold;

/// Headers that say nothing about what is done, or that never get to a rule.
const HEADERS: [&str; 6] = ["accept", "authorization", "content-type", "cookie", "user-agent", "if-none-match"];
/// Names of fields that are container images.
const IMAGE: [&str; 5] = ["image", "image_ref", "image_uri", "image_url", "container_image"];

/// An action to be written.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    /// In upper case.
    pub(super) method: String,
    pub(super) path: String,
    pub(super) summary: Option<String>,
    pub(super) decode: Vec<&'static str>,
    pub(super) params: Vec<Param>,
    pub(super) open: bool,
    /// A request that it is, where that can be made up.
    pub(super) example: Option<Example>,
}

/// A parameter to be written.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: String,
    /// `path`, `query`, `header` or `pointer`, and where there.
    pub(super) source: (&'static str, String),
    pub(super) all: bool,
    pub(super) kind: &'static str,
    pub(super) required: bool,
}

/// A request of the operation.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) target: String,
    pub(super) body: Option<(&'static str, String)>,
}

impl Operation {
    /// `at` is the method, the path as the catalogue writes it, the path's item, and the operation in it.
    pub(super) fn read(
        document: Document<'_>,
        at: (&str, &str, &Map<String, Value>, &Map<String, Value>),
        name: String,
        skipped: &mut Vec<String>,
    ) -> Self {
        let (method, path, item, operation) = at;
        let summary =
            operation.get("summary").and_then(Value::as_str).map(|text| text.trim().replace(['\n', '\r'], " "));
        let mut made = Self {
            name,
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            summary: summary.filter(|text| !text.is_empty()),
            decode: Vec::new(),
            params: Vec::new(),
            open: false,
            example: None,
        };
        // The operation's own come first, and win.
        for parameter in list(operation, "parameters").chain(list(item, "parameters")) {
            match document.resolved(parameter).and_then(Value::as_object) {
                Some(parameter) => made.parameter(document, parameter),
                None => made.open = true,
            }
        }
        let body = operation.get("requestBody").and_then(|body| document.resolved(body)).and_then(Value::as_object);
        if let Some(body) = body {
            made.body(document, body, skipped);
        }
        made.example = made.example(document, list(operation, "parameters").chain(list(item, "parameters")), body);
        made
    }

    fn has(&self, name: &str) -> bool {
        self.params.iter().any(|param| param.name == name)
    }

    fn parameter(&mut self, document: Document<'_>, parameter: &Map<String, Value>) {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
        let (key, place) = (text("name"), text("in"));
        let schema = parameter.get("schema").and_then(|schema| document.resolved(schema)).and_then(Value::as_object);
        let kind = schema.and_then(|schema| document.kind(schema)).unwrap_or("string");
        let source = match place {
            "path" => ("path", snake_kept(key)),
            "query" if kind == "object" => {
                self.open = true;
                return;
            }
            "query" => ("query", key.to_owned()),
            "header" if HEADERS.contains(&key.to_ascii_lowercase().as_str()) => return,
            "header" => ("header", key.to_owned()),
            _ => return,
        };
        if source.0 == "path" && !self.path.contains(&format!("{{{}}}", source.1)) {
            return;
        }
        let name = snake(key);
        if name.is_empty() || self.has(&name) {
            return;
        }
        let all = source.0 == "query" && kind == "array";
        let required = source.0 == "path" || parameter.get("required") == Some(&Value::Bool(true));
        self.params.push(Param { name, source, all, kind: if all { "string" } else { of(kind) }, required });
    }

    fn body(&mut self, document: Document<'_>, body: &Map<String, Value>, skipped: &mut Vec<String>) {
        for (media_type, content) in object(body, "content") {
            let plain = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let decoder = match plain.as_str() {
                "application/json" => "json",
                "application/x-www-form-urlencoded" => "form",
                _ if plain.ends_with("+json") => "+json",
                _ => {
                    let at = format!("{} {}", self.method, self.path);
                    skipped.push(format!("{at}: its body as {media_type} isn't read; such a call is unknown"));
                    continue;
                }
            };
            if !self.decode.contains(&decoder) {
                self.decode.push(decoder);
            }
            match content.get("schema") {
                Some(schema) => self.fields(document, schema),
                None => self.open = true,
            }
        }
        // A body that nobody decodes isn't looked at: whatever it may say isn't listed.
        self.open |= self.decode.is_empty();
    }

    fn fields(&mut self, document: Document<'_>, schema: &Value) {
        let mut fields = document.fields(schema);
        self.open |= fields.open;
        // Keys that differ by case alone are never read: which of them a server takes isn't known.
        let mut folded: BTreeMap<String, usize> = BTreeMap::new();
        fields.properties.keys().for_each(|key| *folded.entry(fold(key)).or_default() += 1);
        let listed = fields.properties.len();
        fields.properties.retain(|key, _| folded.get(&fold(key)) == Some(&1));
        self.open |= fields.properties.len() < listed;
        for (key, schema) in fields.properties {
            let schema = document.resolved(schema).and_then(Value::as_object);
            let read_only = schema.is_some_and(|schema| schema.get("readOnly") == Some(&Value::Bool(true)));
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            if self.params.iter().any(|param| param.source == ("pointer", pointer.clone())) || read_only {
                continue;
            }
            let kind = schema.and_then(|schema| document.kind(schema));
            let items = schema.and_then(|schema| document.resolved(schema.get("items")?)).and_then(Value::as_object);
            let scalars =
                items.and_then(|items| document.kind(items)).filter(|kind| !matches!(*kind, "object" | "array"));
            let (pointer, kind) = match (kind, scalars) {
                (Some("array"), Some(scalar)) => (format!("{pointer}/*"), of(scalar)),
                (Some("string"), _) if IMAGE.contains(&snake(key).as_str()) => (pointer, "image"),
                (Some(kind), _) => (pointer, of(kind)),
                // Of no type, or of several: whatever it is.
                (None, _) => (pointer, "object"),
            };
            let name = snake(key);
            // `images` is what a call's image parameters are together.
            let name = if self.has(&name) || name == IMAGES { format!("body_{name}") } else { name };
            if name.is_empty() || self.has(&name) {
                self.open = true;
                continue;
            }
            let required = fields.required.contains(key);
            self.params.push(Param { name, source: ("pointer", pointer), all: false, kind, required });
        }
    }

    /// A request made of the document's examples; `None` where one is missing that can't be made up.
    fn example<'a>(
        &self,
        document: Document<'a>,
        parameters: impl Iterator<Item = &'a Value>,
        body: Option<&'a Map<String, Value>>,
    ) -> Option<Example> {
        let mut target = on_the_wire(&self.path);
        let mut query = Vec::new();
        let mut seen = BTreeSet::new();
        for parameter in parameters {
            let parameter = document.resolved(parameter)?.as_object()?;
            let (name, place) = (parameter.get("name")?.as_str()?, parameter.get("in")?.as_str()?);
            if !seen.insert((name, place)) {
                continue;
            }
            let required = parameter.get("required") == Some(&Value::Bool(true));
            match place {
                "path" => target = target.replace(&format!("{{{}}}", snake_kept(name)), &sample(document, parameter)?),
                "query" if required => query.push(format!("{}={}", encoded(name), sample(document, parameter)?)),
                "header" if required && !HEADERS.contains(&name.to_ascii_lowercase().as_str()) => return None,
                _ => {}
            }
        }
        if target.contains('{') {
            return None;
        }
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let Some(body) = body else { return Some(Example { target, body: None }) };
        let json = object(body, "content").find(|(media_type, _)| *media_type == "application/json");
        let example = json.and_then(|(_, content)| shown(document, content.as_object()?));
        match (example, body.get("required") == Some(&Value::Bool(true))) {
            (Some(example), _) => Some(Example { target, body: Some(("application/json", example.to_string())) }),
            (None, false) => Some(Example { target, body: None }),
            (None, true) => None,
        }
    }
}

/// An example that stands beside a schema, or in it.
fn shown<'a>(document: Document<'a>, of: &'a Map<String, Value>) -> Option<&'a Value> {
    let several = object(of, "examples").next().and_then(|(_, one)| document.resolved(one)?.get("value"));
    let schema = || document.resolved(of.get("schema")?)?.get("example");
    of.get("example").or(several).or_else(schema)
}

/// A template's path with what can't stand in a request's path encoded; its variables stay.
pub(super) fn on_the_wire(path: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "/{}-._~!$&'()*+,;=:@".contains(*c);
    path.chars()
        .map(|c| if plain(&c) { c.to_string() } else { encoded(c.encode_utf8(&mut [0; 4])).replace('+', "%20") })
        .collect()
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A parameter's value that needs no encoding.
fn sample(document: Document<'_>, parameter: &Map<String, Value>) -> Option<String> {
    let schema = parameter.get("schema").and_then(|schema| document.resolved(schema)).and_then(Value::as_object);
    let first = schema.and_then(|schema| list(schema, "enum").next());
    let kind = schema.and_then(|schema| document.kind(schema));
    let value = shown(document, parameter).or(first);
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        Some(_) => return None,
        None if matches!(kind, Some("integer" | "number")) => "1".to_owned(),
        None if kind == Some("boolean") => "true".to_owned(),
        None => "example".to_owned(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (text.chars().all(plain) && !matches!(text.as_str(), "" | "." | "..")).then_some(text)
}

/// A catalogue's type for one of JSON Schema.
fn of(kind: &str) -> &'static str {
    match kind {
        "integer" => "int",
        "number" => "number",
        "boolean" => "bool",
        "object" | "array" => "object",
        _ => "string",
    }
}
