//! One entry of `actions:`.

use std::collections::BTreeSet;

use http::Method;

use super::super::body::Decoder;
use super::super::cost;
use super::super::glob::Glob;
use super::super::pointer::Pointer;
use super::super::statement::{Dialect, Language};
use super::super::template::Template;
use super::super::tool::{Action, From, Images, Kind, Looks, Needed, Param, Piece};
use super::{Context, message, resolve};
use crate::call::{Companion, Effect, IMAGES, ToolCall};
use crate::document::{Node, Value, nearest};
use crate::money::CURRENCY;
use crate::usage;

/// The action of a tool's discovery reads.
const DISCOVER: &str = "discover";
/// The class of reads.
const READ: &str = "read";

const EFFECTS: [(&str, Effect); 6] = [
    ("read", Effect::Read),
    ("write", Effect::Write),
    ("destroy", Effect::Destroy),
    ("exec", Effect::Exec),
    ("spend", Effect::Spend),
    ("publish", Effect::Publish),
];
const NEEDED: [(&str, Needed); 3] =
    [("required", Needed::Required), ("partial", Needed::Partial), ("unless_patch", Needed::UnlessPatch)];
const KINDS: [(&str, Kind); 9] = [
    ("int", Kind::Int),
    ("number", Kind::Number),
    ("string", Kind::String),
    ("bool", Kind::Bool),
    ("image", Kind::Image),
    ("object", Kind::Object),
    ("minor_units", Kind::MinorUnits),
    ("sql", Kind::Program(Language::Sql(Dialect::Any))),
    ("shell", Kind::Program(Language::Shell)),
];

/// One of a few names.
pub(super) fn one_of<T: Copy>(table: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names = || table.iter().map(|(name, _)| *name);
        match nearest(text, names()) {
            Some(name) => format!("{text:?} is not known; did you mean `{name}`?"),
            None => format!("{text:?} is not known; one of: {}", names().collect::<Vec<_>>().join(", ")),
        }
    })
}

/// An entry, and the actions that it names as those it is a companion of.
pub(super) fn read(context: &mut Context<'_>, path: &str, node: &Node) -> Option<(Action, Vec<String>)> {
    let mut fields = context.fields(path, node)?;
    let name = fields.required_text("action");
    let object = fields.bool("object").unwrap_or(false);
    let open = fields.bool("open").unwrap_or(false);
    let frozen = fields.bool("frozen").unwrap_or(false);
    fields.required("match");
    fields.node("message");
    for key in ["cost", "usage", "classes", "effect", "decode", "params", "images", "target", "companion_of", "resolve"]
    {
        fields.node(key);
    }
    fields.finish();
    let texts = |text: &str| Ok(text.to_owned());
    let unknown = name.as_deref() == Some(ToolCall::UNKNOWN);
    let effect = context.parsed(&format!("{path}.effect"), node.get("effect"), |text| one_of(&EFFECTS, text));
    if effect.is_empty() && !unknown {
        context.error(node, path, "`effect` is missing");
    }
    let mut action = Action {
        name: name?,
        classes: context.parsed(&format!("{path}.classes"), node.get("classes"), texts).into_iter().collect(),
        effect: effect.first().copied().unwrap_or(Effect::Unknown),
        methods: Vec::new(),
        templates: Vec::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        only: Vec::new(),
        decoders: context.parsed(&format!("{path}.decode"), node.get("decode"), |text| one_of(&Decoder::ALL, text)),
        message: message::read(context, &format!("{path}.message"), node.get("message")),
        params: params(context, &format!("{path}.params"), node.get("params")),
        images: images(context, &format!("{path}.images"), node.get("images")),
        target: Default::default(),
        object,
        cost: cost::read(context, &format!("{path}.cost"), node.get("cost")),
        usage: context
            .parsed(&format!("{path}.usage"), node.get("usage"), |text| one_of(&usage::Dialect::ALL, text))
            .first()
            .copied(),
        open,
        frozen,
        companions: Vec::new(),
        resolvers: Vec::new(),
        trial: None,
    };
    for (fact, node) in context.entries(&format!("{path}.target"), node.get("target")) {
        let pointers = context.parsed(&format!("{path}.target.{fact}"), Some(node), Pointer::parse);
        action.target.extend(pointers.into_iter().next().map(|pointer| (fact.to_owned(), pointer)));
    }
    if let Some(pattern) = node.get("match") {
        read_match(context, &format!("{path}.match"), pattern, &mut action);
    }
    resolve::read(context, &format!("{path}.resolve"), node.get("resolve"), &mut action);
    check(context, path, node, &action);
    let companion_of = context.parsed(&format!("{path}.companion_of"), node.get("companion_of"), texts);
    if !companion_of.is_empty() && !may_come_along(&action) {
        context.error(
            node,
            path,
            "only a GET or HEAD that reads can be a companion, or a POST whose body says that it does",
        );
    }
    Some((action, companion_of))
}

fn may_come_along(action: &Action) -> bool {
    let plain = |method: &Method| *method == Method::GET || *method == Method::HEAD;
    let told = |method: &Method| *method == Method::POST && !action.body.is_empty();
    action.effect == Effect::Read
        && !action.methods.is_empty()
        && action.methods.iter().all(|method| plain(method) || told(method))
}

/// The tool's `companions:`: GETs that any granted action of the tool brings along.
pub(super) fn discovery(context: &mut Context<'_>, node: &Node) -> Action {
    let templates = context.parsed("companions", Some(node), |text| {
        // A read at any depth would take Secrets and exec along.
        if text.contains("+}") { Err("a companion has an exact depth".to_owned()) } else { Template::parse(text) }
    });
    let templates: Vec<Template> = templates.into_iter().flatten().collect();
    Action {
        name: DISCOVER.to_owned(),
        classes: BTreeSet::from([READ.to_owned()]),
        effect: Effect::Read,
        methods: vec![Method::GET],
        companions: vec![Companion::OfTool; templates.len()],
        templates,
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        only: Vec::new(),
        decoders: Vec::new(),
        message: Default::default(),
        params: Vec::new(),
        images: None,
        target: Default::default(),
        object: false,
        cost: None,
        usage: None,
        open: false,
        resolvers: Vec::new(),
        trial: None,
        frozen: false,
    }
}

fn read_match(context: &mut Context<'_>, path: &str, node: &Node, action: &mut Action) {
    let Some(mut fields) = context.fields(path, node) else { return };
    fields.required("path");
    for key in ["method", "query", "header", "body", "only"] {
        fields.node(key);
    }
    fields.finish();
    action.methods = context.parsed(&format!("{path}.method"), node.get("method"), |text| {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&text);
        let method = known.then(|| Method::from_bytes(text.as_bytes()).ok()).flatten();
        method.ok_or_else(|| format!("{text:?} is no method, in upper case"))
    });
    let templates = context.parsed(&format!("{path}.path"), node.get("path"), Template::parse);
    action.templates = templates.into_iter().flatten().collect();
    action.only = context.parsed(&format!("{path}.only"), node.get("only"), Pointer::parse);
    let named = |key: &str| Ok(key.to_owned());
    let lower = |key: &str| {
        let name = http::HeaderName::from_bytes(key.as_bytes());
        name.map(|name| name.as_str().to_owned()).map_err(|_| format!("{key:?} is no header's name"))
    };
    action.query = looks(context, &format!("{path}.query"), node.get("query"), named);
    action.headers = looks(context, &format!("{path}.header"), node.get("header"), lower);
    action.body = looks(context, &format!("{path}.body"), node.get("body"), Pointer::parse);
}

/// A mapping of places to what must stand there: a glob, several, or null.
fn looks<K>(
    context: &mut Context<'_>,
    path: &str,
    node: Option<&Node>,
    key: impl Fn(&str) -> Result<K, String>,
) -> Vec<(K, Looks)> {
    let mut all = Vec::new();
    for (name, node) in context.entries(path, node) {
        let globs = match &node.value {
            Value::Null => Vec::new(),
            Value::List(items) if items.is_empty() => {
                context.error(node, path, "expected a glob, several, or null");
                continue;
            }
            _ => context.parsed(&format!("{path}.{name}"), Some(node), |text| Ok(Glob::new(text))),
        };
        match key(name) {
            Ok(key) => all.push((key, Looks(globs))),
            Err(message) => context.error(node, path, message),
        }
    }
    all
}

/// `{host}/{name}@{digest}` as pieces.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("{text:?} has a `{{` without a `}}`"))?;
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(Piece::Named(name.to_owned()));
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    Ok(pieces)
}

fn params(context: &mut Context<'_>, path: &str, node: Option<&Node>) -> Vec<Param> {
    let mut params = Vec::new();
    for (name, node) in context.entries(path, node) {
        let path = format!("{path}.{name}");
        let Some(mut fields) = context.fields(&path, node) else { continue };
        let all = fields.bool("all").unwrap_or(false);
        let nowhere = fields.bool("nowhere").unwrap_or(false);
        let agrees_with = fields.text("agrees_with");
        for key in
            ["pointer", "or_query", "at", "query", "path", "header", "digest", "text", "type", "dialect", "presence"]
        {
            fields.node(key);
        }
        fields.finish();
        let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
        let in_body = |pointer| match text("or_query") {
            Some(key) => From::BodyElseQuery(pointer, key),
            None => From::Pointer(pointer),
        };
        let mut sources: Vec<From> = context
            .parsed(&format!("{path}.pointer"), node.get("pointer"), Pointer::parse)
            .into_iter()
            .map(in_body)
            .collect();
        if sources.len() > 1 && node.get("or_query").is_none() {
            let several = |source| if let From::Pointer(pointer) = source { Some(pointer) } else { None };
            sources = vec![From::Pointers(sources.into_iter().filter_map(several).collect())];
        }
        if node.get("or_query").is_some() && node.get("pointer").is_none() {
            context.error(node, &path, "`or_query` is for a `pointer`, where there is no body");
        }
        sources.extend(text("at").map(From::At));
        sources.extend(text("query").map(|key| From::Query { key, all }));
        sources.extend(text("path").map(|variable| From::Path { variable, all }));
        sources.extend(text("header").map(|name| From::Header(name.to_ascii_lowercase())));
        let digests = context.parsed(&format!("{path}.digest"), node.get("digest"), |text| match text {
            "body" => Ok(From::Digest { agrees_with: agrees_with.clone() }),
            _ => Err("expected `body`: what the digest is of".to_owned()),
        });
        sources.extend(digests);
        sources.extend(context.parsed(&format!("{path}.text"), node.get("text"), pieces).into_iter().map(From::Text));
        sources.extend(nowhere.then_some(From::Nowhere));
        let kind = context.parsed(&format!("{path}.type"), node.get("type"), |text| one_of(&KINDS, text));
        let dialect =
            context.parsed(&format!("{path}.dialect"), node.get("dialect"), |text| one_of(&Dialect::ALL, text));
        let needed = context.parsed(&format!("{path}.presence"), node.get("presence"), |text| one_of(&NEEDED, text));
        let mut sources = sources.into_iter();
        let (Some(source), None) = (sources.next(), sources.next()) else {
            context.error(
                node,
                &path,
                "a parameter is read from exactly one of `pointer`, `at`, `query`, `path`, `header`, `digest`, `text`, `nowhere`",
            );
            continue;
        };
        params.push(Param {
            name: name.to_owned(),
            source,
            kind: kind.first().copied().unwrap_or(Kind::String).in_dialect(dialect.first().copied()),
            needed: needed.first().copied().unwrap_or(Needed::Required),
        });
    }
    params
}

fn images(context: &mut Context<'_>, path: &str, node: Option<&Node>) -> Option<Images> {
    let node = node?;
    let mut fields = context.fields(path, node)?;
    let under = fields.text("under");
    fields.required("pointers");
    fields.node("presence");
    fields.finish();
    let needed = context.parsed(&format!("{path}.presence"), node.get("presence"), |text| one_of(&NEEDED, text));
    let pointers = context.parsed(&format!("{path}.pointers"), node.get("pointers"), Pointer::parse);
    Some(Images { needed: needed.first().copied().unwrap_or(Needed::Required), under, pointers })
}

/// What an entry can't mean.
fn check(context: &mut Context<'_>, path: &str, node: &Node, action: &Action) {
    let reads_body = action.object
        || !action.only.is_empty()
        || !action.body.is_empty()
        || !action.target.is_empty()
        || action.images.is_some()
        || action.params.iter().any(|param| {
            matches!(
                param.source,
                From::Pointer(_) | From::Pointers(_) | From::BodyElseQuery(..) | From::At(_) | From::Digest { .. }
            )
        });
    if reads_body && action.decoders.is_empty() {
        context.error(node, path, "something is read from the body, but `decode` doesn't say how");
    }
    message::check(context, path, node, action);
    if action.images.is_some() && action.params.iter().any(|param| param.kind == Kind::Image || param.name == IMAGES) {
        context.error(node, path, "images are either `images:` or parameters of type image");
    }
    if action.params.iter().any(|param| param.kind == Kind::MinorUnits)
        && !action.params.iter().any(|param| param.name == CURRENCY && param.kind == Kind::String)
    {
        context.error(
            node,
            path,
            "minor_units are of a currency: the action needs a parameter `currency`, which is text",
        );
    }
    if let Some(why) = action.cost.as_ref().and_then(|cost| cost.lacks(&action.params)) {
        context.error(node, path, why);
    }
    for param in &action.params {
        if let From::Path { variable, .. } | From::Digest { agrees_with: Some(variable) } = &param.source
            && !action.templates.iter().any(|template| template.variables().any(|name| name == variable))
        {
            context.error(node, path, format!("no path has the variable {variable:?}"));
        }
    }
}
