//! A tool's definition, checked and compiled; and which of its actions a request is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method};
use serde_json::Value;

use super::body::{Decoded, Decoder, decode, with_query};
use super::cost::CostModel;
use super::glob::Glob;
use super::grpc::Message;
use super::pointer::{Pointer, every_leaf, fold};
use super::resolve::{Asking, Resolver};
use super::signed::Part;
use super::statement::{Dialect, Language};
use super::target::Target;
use super::template::Template;
use super::{Beginning, BodyPlan, DenyShape, Unreadable};
use crate::call::{Companion, Effect, Presence, ToolCall};
use crate::usage;

/// Why a request is unknown that an entry of the name `unknown` is for.
const NO_OTHER: &str = "the catalogue doesn't let this be taken for another action";

/// A tool of the catalogue.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) hosts: Vec<Glob>,
    pub(super) deny: DenyShape,
    /// Whether a path segment may hold an encoded slash.
    pub(super) encoded_slash: bool,
    /// Whether paths hold a secret, so that nothing of them is in a call's facts and parameters.
    pub(super) secret_path: bool,
    /// Facts about the target that a request's signature states.
    pub(super) signed_facts: Vec<(String, Part)>,
    /// Headers that would change what a request means.
    pub(super) refused_headers: Vec<Glob>,
    /// Variables of paths that the tool takes for the same whatever their case: they are in lower case from here on.
    pub(super) ignore_case: BTreeSet<String>,
    /// What the path's `kind` says about the body.
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) actions: Vec<Action>,
    pub(super) routes: Routes,
    pub(super) cases: Vec<Case>,
}

/// A kind of object: its name in bodies, and where things stand in it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) at: BTreeMap<String, Pointer>,
}

/// One entry: how a request of this action looks, and what is read from it.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) classes: BTreeSet<String>,
    pub(super) effect: Effect,
    /// Empty: any.
    pub(super) methods: Vec<Method>,
    pub(super) templates: Vec<Template>,
    /// Query keys, and what they must look like; none: that must not be there, nor any that fits a key with a `*`.
    pub(super) query: Vec<(String, Looks)>,
    /// Headers, in lower case, likewise.
    pub(super) headers: Vec<(String, Looks)>,
    /// Places in the body, likewise: all scalars there must look so, and there must be one.
    pub(super) body: Vec<(Pointer, Looks)>,
    /// When not empty: the body must change these places and no others.
    pub(super) only: Vec<Pointer>,
    /// Empty: the body isn't read.
    pub(super) decoders: Vec<Decoder>,
    /// The fields of a gRPC message.
    pub(super) message: Message,
    pub(super) params: Vec<Param>,
    pub(super) images: Option<Images>,
    /// Facts about the target that the body states too; the path's must agree.
    pub(super) target: BTreeMap<String, Pointer>,
    /// Whether the body is the object that the path names, so that its `kind` and `apiVersion` must agree.
    pub(super) object: bool,
    /// How its cost is worked out, and whose words its answer tells the usage in.
    pub(super) cost: Option<CostModel>,
    pub(super) usage: Option<usage::Dialect>,
    /// Whether it has parameters that the definition doesn't know.
    pub(super) open: bool,
    /// Whether its body is never rewritten, because its bytes are what they are known by.
    pub(super) frozen: bool,
    /// What each template's reads come with; [`Companion::No`] where there is none.
    pub(super) companions: Vec<Companion>,
    /// What only the tool can say of it, in the order in which it is asked.
    pub(super) resolvers: Vec<Resolver>,
    /// The query by which the tool tries a request and leaves everything as it is.
    pub(super) trial: Option<(String, String)>,
}

/// What a text must look like: one of these; none of them: it must be absent.
#[derive(Debug)]
pub(super) struct Looks(pub(super) Vec<Glob>);

impl Looks {
    fn absent(&self) -> bool {
        self.0.is_empty()
    }

    fn fit(&self, text: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(text))
    }

    /// Whether no text, and no absence, is right for both.
    fn excludes(&self, other: &Self) -> bool {
        self.absent() != other.absent()
            || !self.absent() && !self.0.iter().any(|own| other.0.iter().any(|theirs| own.overlaps(theirs)))
    }
}

/// A parameter and where it is read.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) source: From,
    pub(super) kind: Kind,
    pub(super) needed: Needed,
}

#[derive(Debug)]
pub(super) enum From {
    Pointer(Pointer),
    /// Whatever of these is there; where they say different things, all of them.
    Pointers(Vec<Pointer>),
    /// The place of this name in the path's kind of object; a kind without one doesn't have the parameter.
    At(String),
    Query {
        key: String,
        /// Whether it may be repeated: then it is a list.
        all: bool,
    },
    /// A place in the body, or a query key, which counts only where there is no body.
    BodyElseQuery(Pointer, String),
    Path {
        variable: String,
        /// Whether it is a list of one, as where the same parameter may be repeated elsewhere.
        all: bool,
    },
    /// A header, by its name in lower case.
    Header(String),
    /// SHA-256 of the body's exact bytes, as `sha256:…`.
    Digest {
        /// A path variable that states a digest of these bytes too.
        agrees_with: Option<String>,
    },
    /// Put together from the target's facts and from parameters that stand before it; absent when one of them is.
    Text(Vec<Piece>),
    /// The request doesn't say it, whatever stands in it.
    Nowhere,
}

/// A part of a [`From::Text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Named(String),
}

/// What a parameter is. Text of a query or form is turned into it; values of JSON stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Number,
    String,
    Bool,
    Image,
    Object,
    /// Money counted in its currency's smallest part; policy sees the whole unit. The currency is the parameter `currency`.
    MinorUnits,
    /// A program: what it does is told beside it.
    Program(Language),
}

impl Kind {
    /// The same, as this database reads it where it is SQL.
    pub(super) fn in_dialect(self, dialect: Option<Dialect>) -> Self {
        match (self, dialect) {
            (Self::Program(Language::Sql(_)), Some(dialect)) => Self::Program(Language::Sql(dialect)),
            (kind, _) => kind,
        }
    }
}

/// What it means when a parameter is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    Required,
    Partial,
    /// Required, except in a PATCH, which leaves it as it is.
    UnlessPatch,
}

impl Needed {
    pub(super) fn in_method(self, method: &Method) -> Presence {
        match self {
            Self::Required => Presence::Required,
            Self::Partial => Presence::Partial,
            Self::UnlessPatch if *method == Method::PATCH => Presence::Partial,
            Self::UnlessPatch => Presence::Required,
        }
    }
}

/// Where the images stand that an action would run.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) needed: Needed,
    /// The place in the path's kind of object that the pointers start from.
    pub(super) under: Option<String>,
    pub(super) pointers: Vec<Pointer>,
}

/// A recorded request and the call that it is.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) request: String,
    /// The body, where it is no text.
    pub(super) body: Option<Vec<u8>>,
    pub(super) expect: Value,
}

/// The actions' templates, most specific first, by the number of segments.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_count: Vec<Vec<Route>>,
    /// For paths longer than any template without `{x+}`.
    longer: Vec<Route>,
}

#[derive(Debug, Clone, Copy)]
struct Route {
    action: usize,
    template: usize,
}

impl Routes {
    pub(super) fn new(actions: &[Action]) -> Self {
        let mut all: Vec<(Route, &Template, usize)> = Vec::new();
        for (index, action) in actions.iter().enumerate() {
            for (number, template) in action.templates.iter().enumerate() {
                all.push((Route { action: index, template: number }, template, action.conditions()));
            }
        }
        all.sort_by(|a, b| a.1.precedence(b.1).then(b.2.cmp(&a.2)));
        let longest = all.iter().map(|(_, template, _)| template.min_segments()).max().unwrap_or_default();
        let of = |count: usize| {
            all.iter().filter(|(_, template, _)| template.fits(count)).map(|(route, ..)| *route).collect::<Vec<_>>()
        };
        Self { by_count: (0..=longest).map(of).collect(), longer: of(longest + 1) }
    }

    fn for_count(&self, count: usize) -> &[Route] {
        self.by_count.get(count).unwrap_or(&self.longer)
    }
}

impl Action {
    /// The parameters that are programs.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&str, Language)> {
        self.params.iter().filter_map(|param| match param.kind {
            Kind::Program(language) => Some((param.name.as_str(), language)),
            _ => None,
        })
    }

    /// How many conditions it has besides method and path: more is more specific.
    pub(super) fn conditions(&self) -> usize {
        self.query.len() + self.headers.len() + self.body.len() + usize::from(!self.only.is_empty())
    }

    /// Whether some request may match both, and neither is more specific.
    pub(super) fn ties_with(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|method| other.methods.contains(method));
        fn exclusive<K: PartialEq>(mine: &[(K, Looks)], theirs: &[(K, Looks)]) -> bool {
            mine.iter().any(|(key, looks)| theirs.iter().any(|(own, other)| own == key && looks.excludes(other)))
        }
        methods
            && !exclusive(&self.query, &other.query)
            && !exclusive(&self.headers, &other.headers)
            && !exclusive(&self.body, &other.body)
            && !self.changes_elsewhere(other)
            && self.conditions() == other.conditions()
            && self.templates.iter().any(|a| other.templates.iter().any(|b| a.precedence(b).is_eq() && a.overlaps(b)))
    }

    /// Whether it can name images, in a place of theirs or in a parameter.
    pub(super) fn names_images(&self) -> bool {
        self.images.is_some() || self.params.iter().any(|param| param.kind == Kind::Image)
    }

    /// Whether both may change nothing but what the other may not: no body does both.
    fn changes_elsewhere(&self, other: &Self) -> bool {
        let apart = |mine: &Pointer| !other.only.iter().any(|theirs| mine.overlaps(theirs));
        !self.only.is_empty() && !other.only.is_empty() && self.only.iter().all(apart)
    }

    fn matches_head(&self, method: &Method, query: &[(String, String)], headers: &HeaderMap) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.query.iter().all(|(key, looks)| match looks.absent() {
                false => query.iter().any(|(own, value)| own == key && looks.fit(value)),
                true if key.contains('*') => {
                    let keys = Glob::new(key);
                    query.iter().all(|(own, _)| !keys.matches(own))
                }
                true => query.iter().all(|(own, _)| own != key),
            })
            && self.headers.iter().all(|(name, looks)| {
                let mut values = headers.get_all(name).iter();
                match (values.next(), values.next()) {
                    (None, _) => looks.absent(),
                    (Some(only), None) => !looks.absent() && only.to_str().is_ok_and(|text| looks.fit(text)),
                    _ => false,
                }
            })
    }

    fn reads_like(&self, other: &Self) -> bool {
        self.decoders == other.decoders && self.message == other.message
    }

    fn decoded(&self, headers: &HeaderMap, body: &[u8], query: &[(String, String)]) -> Result<Decoded, Unreadable> {
        let decoded = decode(headers, body, &self.decoders, &self.message)?;
        if self.decoders.contains(&Decoder::Query) { with_query(decoded, query, &self.decoders) } else { Ok(decoded) }
    }

    /// Whether something in the body decides that it is this action.
    fn asks_body(&self) -> bool {
        !self.only.is_empty() || !self.body.is_empty()
    }

    fn matches_body(&self, documents: &[Value]) -> Result<bool, Unreadable> {
        for (pointer, looks) in &self.body {
            let mut found = Vec::new();
            documents.iter().try_for_each(|document| pointer.find(document, &mut found))?;
            let fits = |value: &&Value| match value {
                Value::String(text) => looks.fit(text),
                Value::Bool(_) | Value::Number(_) => looks.fit(&value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            };
            if found.is_empty() != looks.absent() || !found.iter().all(fits) {
                return Ok(false);
            }
        }
        Ok(self.changes_only(documents))
    }

    fn changes_only(&self, documents: &[Value]) -> bool {
        if self.only.is_empty() {
            return true;
        }
        let allowed = |place: &[Cow<'_, str>]| self.only.iter().any(|pointer| pointer.covers(place));
        !documents.is_empty() && documents.iter().all(|document| every_leaf(document, &allowed))
    }
}

/// The action that a request is.
#[derive(Debug)]
pub(super) struct Recognised<'a> {
    pub(super) action: &'a Action,
    pub(super) companion: &'a Companion,
    pub(super) variables: Vec<(&'a str, String)>,
    pub(super) documents: Vec<Value>,
    pub(super) textual: bool,
    /// The body's bytes, where it was read.
    pub(super) bytes: Option<&'a [u8]>,
}

/// What a request is to its tool.
#[derive(Debug)]
pub(super) enum Recognition<'a> {
    Known(Recognised<'a>),
    /// Not in the catalogue, or not to be read, because of this.
    Unknown(String),
}

impl Tool {
    /// How much of the body is read: the first action that fits but for its body says it.
    pub(super) fn body_plan(&self, method: &Method, target: &Target, headers: &HeaderMap) -> BodyPlan {
        let mut candidates = self.candidates(method, target, headers).map(|(action, ..)| action).peekable();
        match candidates.peek() {
            Some(first) if first.decoders.contains(&Decoder::GitReceivePack) => BodyPlan::Beginning(Beginning(())),
            Some(first) if !first.decoders.is_empty() => {
                if candidates.any(|action| action.frozen) {
                    BodyPlan::Exact
                } else {
                    BodyPlan::Whole
                }
            }
            _ => BodyPlan::Optional,
        }
    }

    /// How specific the path of the entry is that a request would be of; `None` where there is none, or none that names any of it.
    pub(super) fn specificity(&self, method: &Method, target: &Target, headers: &HeaderMap) -> Option<Vec<u8>> {
        let first = self.candidates(method, target, headers).next();
        first.filter(|(_, template, _)| template.names_something()).map(|(_, template, _)| template.ranks())
    }

    /// Takes a variable's value for what the tool takes it for.
    pub(super) fn fold(&self, name: &str, text: &mut String) {
        if self.ignore_case.contains(name) {
            *text = fold(text);
        }
    }

    fn candidates<'a, 'r>(
        &'a self,
        method: &'r Method,
        target: &'r Target,
        headers: &'r HeaderMap,
    ) -> impl Iterator<Item = (&'a Action, &'a Template, &'a Companion)> {
        let routes = self.routes.for_count(target.segments.len()).iter();
        let found = routes.filter_map(|route| {
            let action = self.actions.get(route.action)?;
            let companion = action.companions.get(route.template).unwrap_or(&Companion::No);
            Some((action, action.templates.get(route.template)?, companion))
        });
        found.filter(move |(action, template, _)| {
            action.matches_head(method, &target.query, headers) && template.matches(&target.segments)
        })
    }

    /// Which action a request is.
    pub(super) fn recognise<'a>(
        &'a self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        body: Option<&'a [u8]>,
        asking: &mut Asking<'_>,
    ) -> Result<Recognition<'a>, Unreadable> {
        let mut read: Option<(&Action, Vec<Value>, bool)> = None;
        for (action, template, companion) in self.candidates(method, target, headers) {
            if action.name == ToolCall::UNKNOWN && !action.asks_body() {
                return Ok(Recognition::Unknown(NO_OTHER.to_owned()));
            }
            if !action.decoders.is_empty() && read.as_ref().is_none_or(|(by, ..)| !action.reads_like(by)) {
                let Some(body) = body else {
                    return Err(Unreadable::new("body_unread", "the body of this request has to be read"));
                };
                match action.decoded(headers, body, &target.query)? {
                    Decoded::Documents { documents, textual } => read = Some((action, documents, textual)),
                    Decoded::Opaque(_) if action.asks_body() => continue,
                    Decoded::Opaque(why) => {
                        let Some(trial) = &action.trial else { return Ok(Recognition::Unknown(why)) };
                        match asking.trial(method, target, action, trial) {
                            Ok(made) => read = Some((action, vec![made], false)),
                            Err(failed) => return Ok(Recognition::Unknown(format!("{why}; {failed}"))),
                        }
                    }
                }
            }
            let documents = read.as_ref().map_or(&[][..], |(_, documents, _)| documents);
            if !action.matches_body(documents)? {
                continue;
            }
            if action.name == ToolCall::UNKNOWN {
                return Ok(Recognition::Unknown(NO_OTHER.to_owned()));
            }
            let mut variables = template.bind(&target.segments);
            variables.iter_mut().for_each(|(name, text)| self.fold(name, text));
            let (documents, textual) =
                read.take().filter(|_| !action.decoders.is_empty()).map(|(_, d, t)| (d, t)).unwrap_or_default();
            return Ok(Recognition::Known(Recognised {
                action,
                companion,
                variables,
                documents,
                textual,
                bytes: body,
            }));
        }
        Ok(Recognition::Unknown("no action of the catalogue looks like this".to_owned()))
    }
}
