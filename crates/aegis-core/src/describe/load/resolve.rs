//! `resolve:` of an entry: what the tool is asked about a call.

use std::collections::BTreeSet;

use super::super::glob::Glob;
use super::super::pointer::Pointer;
use super::super::resolve::{Form, Place, Resolver, Slashes, Slot, Yield};
use super::super::tool::{Action, Kind, Piece};
use super::{ARRIVAL_FACTS, Context, action};
use crate::call::IMAGES;
use crate::document::{Node, Value};

/// Reads the list into the action, whose paths and parameters are known.
pub(super) fn read(context: &mut Context<'_>, path: &str, node: Option<&Node>, action: &mut Action) {
    let mut known: BTreeSet<String> =
        action.templates.iter().flat_map(|template| template.variables()).map(str::to_owned).collect();
    known.extend(action.target.keys().cloned());
    known.extend(ARRIVAL_FACTS.map(str::to_owned));
    known.extend(action.params.iter().map(|param| param.name.clone()));
    let taken = known.clone();
    for (index, node) in context.items(path, node).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(resolver) = entry(context, &path, node, action) else { continue };
        for slot in &resolver.pieces {
            if let Piece::Named(name) = &slot.piece
                && !known.contains(name)
            {
                context.error(node, &path, format!("nothing before is named {name:?}"));
            }
        }
        for one in &resolver.yields {
            // A fact and a parameter may have one name, and then they are one value.
            let twin = |other: &Yield| {
                other.name == one.name && other.fact != one.fact && other.place == one.place && other.form == one.form
            };
            let again = known.contains(&one.name) && !resolver.yields.iter().any(twin);
            if taken.contains(&one.name) || again {
                context.error(
                    node,
                    &path,
                    format!("{:?} is known already: the tool isn't asked what the call says", one.name),
                );
            }
            known.insert(one.name.clone());
        }
        action.resolvers.push(resolver);
    }
}

/// One question. A `trial` is put into the action.
fn entry(context: &mut Context<'_>, path: &str, node: &Node, action: &mut Action) -> Option<Resolver> {
    let mut fields = context.fields(path, node)?;
    let (get, head, trial) = (fields.text("get"), fields.text("head"), fields.text("trial"));
    let keep = fields.bool("keep").unwrap_or(true);
    for key in ["accept", "facts", "params"] {
        fields.node(key);
    }
    fields.finish();
    if let (Some(trial), None, None) = (&trial, &get, &head) {
        self::trial(context, path, node, trial, action);
        return None;
    }
    let is_head = head.is_some();
    let (Some(template), None, None) = (get.clone().or(head.clone()), trial, get.and(head)) else {
        context.error(node, path, "a question is exactly one of `get`, `head` and `trial`");
        return None;
    };
    let (prefix, rest) = match template.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((prefix, rest)) => (Some(prefix.to_owned()), rest),
        None => (None, template.as_str()),
    };
    let whole = prefix.as_ref().is_none_or(|prefix| prefix.starts_with('/') && !prefix.contains('{'));
    if !rest.starts_with('/') || !whole {
        context.error(
            node,
            path,
            "a question's target starts with `/`, or with `[/…]`, which is there where the call's path has it",
        );
    }
    let accept = context.parsed(&format!("{path}.accept"), node.get("accept"), |text| {
        match text.is_empty() || !text.is_ascii() {
            true => Err("expected a media type".to_owned()),
            false => Ok(text.to_owned()),
        }
    });
    let mut yields = yields(context, &format!("{path}.facts"), node.get("facts"), true);
    yields.extend(self::yields(context, &format!("{path}.params"), node.get("params"), false));
    if yields.is_empty() {
        context.error(node, path, "a question needs `facts` or `params`: what is read from its answer");
    }
    if is_head && yields.iter().any(|one| matches!(one.place, Place::Pointer(_))) {
        context.error(node, path, "the answer to a HEAD has headers only");
    }
    let pieces = match action::pieces(rest) {
        Ok(pieces) => pieces.into_iter().map(slot).collect(),
        Err(message) => {
            context.error(node, path, message);
            return None;
        }
    };
    let label = format!("{} {template}", if is_head { "HEAD" } else { "GET" });
    Some(Resolver { head: is_head, prefix, pieces, accept, keep, yields, label })
}

/// `{name+}` keeps the slashes of its value, `{name%}` encodes them.
fn slot(piece: Piece) -> Slot {
    match piece {
        Piece::Named(name) => match (name.strip_suffix('+'), name.strip_suffix('%')) {
            (Some(name), _) => Slot { piece: Piece::Named(name.to_owned()), slashes: Slashes::Kept },
            (None, Some(name)) => Slot { piece: Piece::Named(name.to_owned()), slashes: Slashes::Encoded },
            (None, None) => Slot { piece: Piece::Named(name), slashes: Slashes::Refused },
        },
        literal => Slot { piece: literal, slashes: Slashes::Refused },
    }
}

/// `trial: dryRun=All`
fn trial(context: &mut Context<'_>, path: &str, node: &Node, text: &str, action: &mut Action) {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match text.split_once('=').filter(|(key, value)| plain(key) && plain(value)) {
        Some((key, value)) if action.trial.is_none() && !action.decoders.is_empty() => {
            action.trial = Some((key.to_owned(), value.to_owned()));
        }
        Some(_) => context.error(node, path, "there is one `trial`, and only of an action that decodes its body"),
        None => context.error(node, path, "expected a query such as dryRun=All"),
    }
}

fn yields(context: &mut Context<'_>, path: &str, node: Option<&Node>, fact: bool) -> Vec<Yield> {
    let mut all = Vec::new();
    for (name, node) in context.entries(path, node) {
        let path = format!("{path}.{name}");
        if name == IMAGES {
            context.error(node, &path, "images are a parameter of type image");
        }
        let mut form = Form::default();
        let (pointer, header, kind) = match &node.value {
            Value::Map(_) => {
                let Some(mut fields) = context.fields(&path, node) else { continue };
                for key in ["pointer", "header", "type", "like"] {
                    fields.node(key);
                }
                form.behind = fields.text("behind").unwrap_or_default();
                fields.finish();
                form.like = context.parsed(&format!("{path}.like"), node.get("like"), |text| Ok(Glob::new(text)));
                (node.get("pointer"), node.get("header").and_then(Node::text), node.get("type"))
            }
            _ => (Some(node), None, None),
        };
        let mut places: Vec<Place> =
            context.parsed(&path, pointer, Pointer::parse).into_iter().map(Place::Pointer).collect();
        places.extend(header.map(|name| Place::Header(name.to_ascii_lowercase())));
        let kind = context.parsed(&format!("{path}.type"), kind, |text| match text {
            "string" => Ok(Kind::String),
            "image" if !fact => Ok(Kind::Image),
            _ => Err("expected string or, of a parameter, image".to_owned()),
        });
        let mut places = places.into_iter();
        let (Some(place), None) = (places.next(), places.next()) else {
            context.error(node, &path, "expected a JSON Pointer into the answer, or {header: NAME}");
            continue;
        };
        let kind = kind.first().copied().unwrap_or(Kind::String);
        all.push(Yield { name: name.to_owned(), fact, kind, place, form });
    }
    all
}
