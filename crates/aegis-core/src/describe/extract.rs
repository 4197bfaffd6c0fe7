//! A recognised request → target facts, parameters, images.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

use super::defined::show_images;
use super::image::{bare_digest, image};
use super::pointer::Pointer;
use super::resolve::{Asking, named};
use super::tool::{From, Kind, Object, Param, Piece, Recognised, Tool};
use super::{Unreadable, signed};
use crate::call::{Digest, IMAGES, Image, Presence, Shape};
use crate::money::{CURRENCY, Currency};

/// What an action's definition says of one request.
#[derive(Debug)]
pub(super) struct Extracted {
    pub(super) target: BTreeMap<String, String>,
    pub(super) params: Map<String, Value>,
    pub(super) shape: Shape,
    pub(super) images: Vec<Image>,
    /// What only the tool can say, and hasn't.
    pub(super) unresolved: BTreeSet<String>,
}

/// A request's head, as far as parameters stand in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    /// Its canonical path.
    pub(super) path: &'a str,
    /// The decoded query, in order.
    pub(super) query: &'a [(String, String)],
    pub(super) headers: &'a HeaderMap,
    /// What the operator says of the target.
    pub(super) facts: &'a BTreeMap<String, String>,
}

/// Reads everything that the definition names.
pub(super) fn extract(
    tool: &Tool,
    request: &Recognised<'_>,
    head: Head<'_>,
    asking: &mut Asking<'_>,
) -> Result<Extracted, Unreadable> {
    let method = head.method;
    let shown = request.variables.iter().filter(|_| !tool.secret_path);
    let mut target: BTreeMap<String, String> = shown.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    target.extend(signed::facts(&tool.signed_facts, head.headers)?);
    let object = target.get("kind").and_then(|kind| tool.objects.get(kind));
    if request.action.object {
        check_object(request, &target, object)?;
    }
    for (fact, pointer) in &request.action.target {
        // Where the action's other paths state it, this one says that there is none: a cluster's own objects are in no namespace,
        // whatever their body says.
        let elsewhere = request.action.templates.iter().any(|template| template.variables().any(|name| name == fact));
        read_fact(&request.documents, fact, pointer, elsewhere, &mut target)?;
    }
    let mut extracted =
        Extracted { target, params: Map::new(), shape: Shape::Open, images: Vec::new(), unresolved: BTreeSet::new() };
    let mut defined = BTreeMap::new();
    for param in &request.action.params {
        let value = match &param.source {
            From::Text(pieces) => Some(joined(pieces, &extracted, head.facts).map(Value::String)),
            _ => read_param(param, request, object, head)?,
        };
        let Some(value) = value else { continue };
        let presence = param.needed.in_method(method);
        defined.insert(param.name.clone(), presence);
        if param.kind == Kind::Image {
            // The strictest wins, should there be several.
            let images = defined.entry(IMAGES.to_owned()).or_insert(Presence::Partial);
            if presence == Presence::Required {
                *images = Presence::Required;
            }
        }
        let Some(value) = value else { continue };
        if param.kind == Kind::Image {
            extracted.images.extend(images_of(&value));
        }
        extracted.params.insert(param.name.clone(), value);
    }
    resolve(request, head, asking, &mut extracted, &mut defined);
    for param in request.action.params.iter().filter(|param| param.kind == Kind::MinorUnits) {
        in_whole_units(&mut extracted.params, &param.name)?;
    }
    if let Some(images) = &request.action.images
        && let Some(base) = images.under.as_ref().map_or(Some(None), |at| object.and_then(|o| o.at.get(at)).map(Some))
    {
        defined.insert(IMAGES.to_owned(), images.needed.in_method(method));
        let mut found = Vec::new();
        for pointer in &images.pointers {
            let pointer = base.map_or_else(|| pointer.clone(), |base| base.join(pointer));
            request.documents.iter().try_for_each(|document| pointer.find(document, &mut found))?;
        }
        extracted.images.extend(found.into_iter().map(image));
    }
    show_images(&extracted.images, &mut extracted.params);
    if !request.action.open {
        extracted.shape = Shape::Defined(defined);
    }
    Ok(extracted)
}

/// Adds what the tool says, and the texts that are put together from it.
fn resolve(
    request: &Recognised<'_>,
    head: Head<'_>,
    asking: &mut Asking<'_>,
    extracted: &mut Extracted,
    defined: &mut BTreeMap<String, Presence>,
) {
    let action = request.action;
    if action.resolvers.is_empty() {
        return;
    }
    let Extracted { target, params, unresolved, .. } = extracted;
    *unresolved = asking.resolve(action, head.path, head.facts, target, params);
    for found in action.resolved_params() {
        defined.insert(found.name.clone(), Presence::Required);
        if found.kind == Kind::Image {
            defined.insert(IMAGES.to_owned(), Presence::Required);
            extracted.images.extend(extracted.params.get(&found.name).into_iter().flat_map(images_of));
        }
    }
    for param in &action.params {
        let From::Text(pieces) = &param.source else { continue };
        if extracted.params.contains_key(&param.name) {
            continue;
        }
        let Some(text) = joined(pieces, extracted, head.facts).map(Value::String) else { continue };
        if param.kind == Kind::Image {
            extracted.images.extend(images_of(&text));
        }
        extracted.params.insert(param.name.clone(), text);
    }
}

/// Turns an amount in a currency's smallest part into the whole unit, which is what policies are written in. Text stays, and no
/// rule on amounts accepts it.
fn in_whole_units(params: &mut Map<String, Value>, name: &str) -> Result<(), Unreadable> {
    let unreadable = |why: String| Unreadable::new("minor_units", format!("{name} can't be read: {why}"));
    let code = params.get(CURRENCY).and_then(Value::as_str).map(str::to_owned);
    let Some(value) = params.get_mut(name) else { return Ok(()) };
    let currency = code.as_deref().and_then(Currency::of).filter(|currency| currency.is_counted_alike());
    let currency =
        currency.ok_or_else(|| unreadable("its currency is missing, or its smallest part isn't known".to_owned()))?;
    let values = match value {
        Value::Array(items) => items.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for value in values {
        let Value::Number(number) = value else { continue };
        let major = number.as_u64().and_then(|minor| currency.major(minor));
        *number = major.ok_or_else(|| unreadable(format!("it is no amount of the smallest part of {currency}")))?;
    }
    Ok(())
}

/// The images that parameters without a definition name, by convention: `image`, `images`, `image_digest`.
pub(super) fn conventional_images(params: &Map<String, Value>) -> Vec<Image> {
    let mut images: Vec<Image> =
        ["image", IMAGES].iter().filter_map(|name| params.get(*name)).flat_map(images_of).collect();
    images.extend(params.get("image_digest").filter(|value| !value.is_null()).map(bare_digest));
    images
}

pub(super) fn images_of(value: &Value) -> Vec<Image> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().map(image).collect(),
        one => vec![image(one)],
    }
}

/// The body's `kind` and `apiVersion` must be those that the path names.
fn check_object(
    request: &Recognised<'_>,
    target: &BTreeMap<String, String>,
    object: Option<&Object>,
) -> Result<(), Unreadable> {
    let version = target.get("version").map(String::as_str).unwrap_or("v1");
    let expected = match target.get("group") {
        Some(group) => format!("{group}/{version}"),
        None => version.to_owned(),
    };
    agree(&request.documents, &Pointer::key("apiVersion"), "apiVersion", &expected)?;
    object.map_or(Ok(()), |object| agree(&request.documents, &Pointer::key("kind"), "kind", &object.kind))
}

fn agree(documents: &[Value], pointer: &Pointer, key: &str, expected: &str) -> Result<(), Unreadable> {
    match single(documents, pointer)? {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text == expected => Ok(()),
        Some(_) => Err(contradiction(key, expected)),
    }
}

fn contradiction(key: &str, expected: &str) -> Unreadable {
    Unreadable::new("body_contradicts_path", format!("the body's {key} is not {expected:?}, which the path says"))
}

/// A fact that path and body may both state.
fn read_fact(
    documents: &[Value],
    fact: &str,
    pointer: &Pointer,
    path_says: bool,
    target: &mut BTreeMap<String, String>,
) -> Result<(), Unreadable> {
    let stated = match single(documents, pointer)? {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Unreadable::new("body_target", format!("the body's {fact} is not text"))),
    };
    match target.get(fact) {
        Some(known) if known != stated => Err(contradiction(fact, known)),
        Some(_) => Ok(()),
        None if path_says => Err(Unreadable::new(
            "body_contradicts_path",
            format!("the body says a {fact}, and the path says that there is none"),
        )),
        None => {
            target.insert(fact.to_owned(), stated.clone());
            Ok(())
        }
    }
}

/// The one value at a pointer, over all documents.
fn single<'v>(documents: &'v [Value], pointer: &Pointer) -> Result<Option<&'v Value>, Unreadable> {
    let mut found = Vec::new();
    documents.iter().try_for_each(|document| pointer.find(document, &mut found))?;
    found.dedup();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Unreadable::new("ambiguous_value", "the request sets the same place to different values")),
    }
}

/// `None`: this request doesn't have the parameter at all. `Some(None)`: it has, and it is absent.
fn read_param(
    param: &Param,
    request: &Recognised<'_>,
    object: Option<&Object>,
    head: Head<'_>,
) -> Result<Option<Option<Value>>, Unreadable> {
    let pointer = match &param.source {
        From::Path { variable, all } => {
            let bound = variable_of(request, variable).map(|text| typed(text, param.kind));
            return Ok(Some(if *all { bound.map(|value| Value::Array(vec![value])) } else { bound }));
        }
        From::Query { key, all } => {
            let mut values = head.query.iter().filter(|(name, _)| name == key).map(|(_, text)| typed(text, param.kind));
            let value = if *all {
                let list: Vec<Value> = values.collect();
                (!list.is_empty()).then_some(Value::Array(list))
            } else {
                values.next()
            };
            return Ok(Some(value));
        }
        From::Header(name) => {
            let mut values = head.headers.get_all(name).iter();
            let (first, None) = (values.next(), values.next()) else {
                return Err(Unreadable::new("header_twice", format!("the header {name} stands twice")));
            };
            let text = first.map(|value| value.to_str()).transpose();
            let text =
                text.map_err(|_| Unreadable::new("header_text", format!("the header {name} is no plain text")))?;
            return Ok(Some(text.map(|text| typed(text, param.kind))));
        }
        From::Digest { agrees_with } => {
            let stated = agrees_with.as_ref().and_then(|variable| variable_of(request, variable));
            if let (Some(bytes), Some(stated)) = (request.bytes, stated) {
                check_digest(bytes, stated)?;
            }
            let digest = request.bytes.map(|bytes| Digest::of(bytes).to_string());
            return Ok(Some(digest.map(Value::String)));
        }
        From::Nowhere => return Ok(Some(None)),
        From::Text(_) => return Ok(None),
        From::At(name) => match object.and_then(|object| object.at.get(name)) {
            Some(pointer) => pointer,
            None => return Ok(None),
        },
        From::Pointers(pointers) => return any_of(pointers, param, request).map(Some),
        From::BodyElseQuery(_, key) if request.documents.is_empty() => {
            let found = head.query.iter().find(|(name, _)| name == key);
            return Ok(Some(found.map(|(_, text)| typed(text, param.kind))));
        }
        From::Pointer(pointer) | From::BodyElseQuery(pointer, _) => pointer,
    };
    let value = if pointer.is_multiple() {
        let mut found = Vec::new();
        request.documents.iter().try_for_each(|document| pointer.find(document, &mut found))?;
        (!found.is_empty())
            .then(|| Value::Array(found.into_iter().map(|value| untext(value, param, request)).collect()))
    } else {
        single(&request.documents, pointer)?.map(|value| untext(value, param, request))
    };
    Ok(Some(value))
}

fn variable_of<'r>(request: &'r Recognised<'_>, variable: &str) -> Option<&'r str> {
    request.variables.iter().find(|(name, _)| *name == variable).map(|(_, text)| text.as_str())
}

/// A digest that a request states of its body must be that of its bytes.
fn check_digest(bytes: &[u8], stated: &str) -> Result<(), Unreadable> {
    let (algorithm, digits) = stated.split_once(':').unwrap_or(("", stated));
    let own = match algorithm {
        "sha256" => hexadecimal(&Sha256::digest(bytes)),
        "sha512" => hexadecimal(&Sha512::digest(bytes)),
        _ => {
            let message = format!("the digest {stated:?} is neither SHA-256 nor SHA-512, so it can't be checked");
            return Err(Unreadable::new("digest_unknown", message));
        }
    };
    let differs =
        || Unreadable::new("digest_differs", format!("the body's digest is not {stated}: it is {algorithm}:{own}"));
    if own == digits { Ok(()) } else { Err(differs()) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands at any of these places: the one value, or all the different ones.
fn any_of(pointers: &[Pointer], param: &Param, request: &Recognised<'_>) -> Result<Option<Value>, Unreadable> {
    let mut found = Vec::new();
    for pointer in pointers {
        request.documents.iter().try_for_each(|document| pointer.find(document, &mut found))?;
    }
    found.retain(|value| !value.is_null());
    let several = pointers.iter().any(Pointer::is_multiple);
    if !several {
        found.dedup();
    }
    let values: Vec<Value> = found.into_iter().map(|value| untext(value, param, request)).collect();
    Ok(match values.as_slice() {
        [] => None,
        [one] if !several => Some(one.clone()),
        _ => Some(Value::Array(values)),
    })
}

/// The pieces together; `None` when one of them is absent or isn't one plain value.
fn joined(pieces: &[Piece], so_far: &Extracted, facts: &BTreeMap<String, String>) -> Option<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => Some(text.clone()),
        Piece::Named(name) => named(name, facts, &so_far.target, &so_far.params),
    };
    pieces.iter().map(piece).collect()
}

/// A form has only text; JSON has types, which stay as they are: `"50"` is not 50.
fn untext(value: &Value, param: &Param, request: &Recognised<'_>) -> Value {
    match value {
        Value::String(text) if request.textual => typed(text, param.kind),
        other => other.clone(),
    }
}

/// Text as the type that it should be, if it is written in that type's one plain way; else as text, which no rule on that
/// type accepts.
fn typed(text: &str, kind: Kind) -> Value {
    let read = match kind {
        Kind::Int | Kind::MinorUnits => {
            text.parse::<i64>().ok().filter(|number| number.to_string() == text).map(Value::from)
        }
        Kind::Number => super::json::parse(text.as_bytes()).ok().filter(Value::is_number),
        Kind::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::String | Kind::Image | Kind::Object | Kind::Program(_) => None,
    };
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}
