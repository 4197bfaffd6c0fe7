//! Request → call: which tool, which action, where, with what.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::extract::{Head, conventional_images, extract};
use super::pointer::fold;
use super::resolve::Asking;
use super::target::Target;
use super::tool::{From, Recognised, Recognition, Tool};
use super::{Arrival, Catalogue, Unreadable, cost, signed, statement};
use crate::call::{Body, Companion, Destination, Effect, Environment, HttpRequest, Payload, Shape, ToolCall};

/// What is behind an arrival.
pub(super) enum Behind<'a> {
    Known(&'a Tool),
    /// The operator names a tool that has no definition.
    Undefined(&'a str),
    /// Plain HTTP.
    Nothing,
}

/// Headers and a query key or form field by which frameworks let a request be another method than it says; many servers take
/// `_` for `-` in a header's name.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// Headers by which some let it be about another path.
const PATH_OVERRIDES: [&str; 2] = ["x-original-url", "x-rewrite-url"];
/// What stands for a path that holds a secret.
const HIDDEN_PATH: &str = "/***";
const METHOD_OVERRIDE_KEY: &str = "_method";

impl Catalogue {
    pub(super) fn tool_behind<'a>(&'a self, arrival: &Arrival<'a>) -> Behind<'a> {
        match arrival {
            Arrival::Route { tool: Some(ToolCall::HTTP), .. }
            | Arrival::Intercepted { tool: Some(ToolCall::HTTP), .. } => Behind::Nothing,
            Arrival::Route { tool: Some(name), .. } | Arrival::Intercepted { tool: Some(name), .. } => {
                self.tools.get(*name).map_or(Behind::Undefined(name), Behind::Known)
            }
            Arrival::Route { tool: None, upstream, .. } => self.tool_on(&upstream.host),
            Arrival::Forward { destination } | Arrival::Intercepted { destination, .. } => {
                self.tool_on(&destination.host)
            }
        }
    }

    pub(super) fn tool_on(&self, host: &str) -> Behind<'_> {
        let host = host.to_ascii_lowercase();
        let on = |tool: &&Tool| tool.hosts.iter().any(|glob| glob.matches(&host));
        self.tools.values().find(on).map_or(Behind::Nothing, Behind::Known)
    }

    pub(super) fn describe_request(
        &self,
        arrival: &Arrival<'_>,
        mut request: HttpRequest,
        asking: &mut Asking<'_>,
    ) -> Result<ToolCall, Unreadable> {
        let target = Target::parse(&request.target)?;
        check_overrides(&target, &request)?;
        request.target = target.canonical.clone();
        let behind = self.tool_behind(arrival);
        let allowed = matches!(&behind, Behind::Known(tool) if tool.encoded_slash);
        if target.encoded_slash && !allowed {
            return Err(Unreadable::new("path_encoded_slash", "the path has an encoded slash (`%2F`)"));
        }
        let facts = facts_of(arrival);
        let call = match behind {
            Behind::Nothing => self.plain(arrival, &target, request, facts),
            Behind::Undefined(name) => self.unknown(name, &target, request, facts, "the tool has no definition"),
            Behind::Known(tool) => {
                return self.known(tool, &target, request, facts, asking).map(|call| placed(call, arrival));
            }
        };
        Ok(placed(call, arrival))
    }

    fn known(
        &self,
        tool: &Tool,
        target: &Target,
        request: HttpRequest,
        mut facts: BTreeMap<String, String>,
        asking: &mut Asking<'_>,
    ) -> Result<ToolCall, Unreadable> {
        check_headers(tool, &request.headers)?;
        let body = match &request.body {
            Body::Whole(bytes) | Body::Begun(bytes) => Some(bytes.as_ref()),
            Body::Streamed => None,
        };
        let recognised = match tool.recognise(&request.method, target, &request.headers, body, asking)? {
            Recognition::Known(recognised) => recognised,
            Recognition::Unknown(why) => {
                check_query(&target.query, None)?;
                facts.extend(signed::facts(&tool.signed_facts, &request.headers)?);
                let mut call = self.unknown(&tool.name, target, request, facts, &why);
                if tool.secret_path {
                    call.params.insert("path".to_owned(), HIDDEN_PATH.into());
                }
                return Ok(call);
            }
        };
        check_query(&target.query, Some(&recognised))?;
        let head = Head {
            method: &request.method,
            path: target.canonical.path(),
            query: &target.query,
            headers: &request.headers,
            facts: &facts,
        };
        let mut extracted = extract(tool, &recognised, head, asking)?;
        // What the operator says about the route wins over what the request says about its target.
        extracted.target.append(&mut facts);
        let action = recognised.action;
        let mut call = self.defined_call(tool, action, recognised.companion, extracted);
        statement::tell(&mut call, &action.programs().collect::<Vec<_>>())?;
        let length = recognised.bytes.map_or(0, <[u8]>::len);
        cost::meter(&mut call, action, Some((&recognised.documents, length)), &self.prices);
        call.payload = Payload::Http(request);
        Ok(call)
    }

    /// A call of a known tool that its definition doesn't know.
    fn unknown(
        &self,
        tool: &str,
        target: &Target,
        request: HttpRequest,
        mut facts: BTreeMap<String, String>,
        why: &str,
    ) -> ToolCall {
        facts.insert("unknown_because".to_owned(), why.to_owned());
        let params = Map::from_iter([
            ("method".to_owned(), request.method.as_str().into()),
            ("path".to_owned(), target.canonical.path().into()),
        ]);
        ToolCall { payload: Payload::Http(request), ..self.open_call(tool, ToolCall::UNKNOWN, facts, params) }
    }

    /// A request to a host that no tool is known to be on. A GET may do anything there, so its effect is unknown too.
    fn plain(
        &self,
        arrival: &Arrival<'_>,
        target: &Target,
        request: HttpRequest,
        facts: BTreeMap<String, String>,
    ) -> ToolCall {
        let mut params = Map::from_iter([
            ("method".to_owned(), request.method.as_str().into()),
            ("path".to_owned(), target.canonical.path().into()),
        ]);
        match arrival {
            Arrival::Route { upstream: destination, .. }
            | Arrival::Forward { destination }
            | Arrival::Intercepted { destination, .. } => {
                add_destination(&mut params, destination);
            }
        }
        let call = self.open_call(ToolCall::HTTP, ToolCall::REQUEST, facts, params);
        ToolCall { payload: Payload::Http(request), ..call }
    }

    pub(super) fn describe_connect(&self, destination: &Destination) -> ToolCall {
        let (tool, action) = match self.tool_on(&destination.host) {
            Behind::Known(tool) => (tool.name.as_str(), ToolCall::UNKNOWN),
            Behind::Undefined(_) | Behind::Nothing => (ToolCall::HTTP, ToolCall::CONNECT),
        };
        let mut params = Map::from_iter([("method".to_owned(), Method::CONNECT.as_str().into())]);
        add_destination(&mut params, destination);
        let facts = BTreeMap::from([("host".to_owned(), destination.host.clone())]);
        let call = self.open_call(tool, action, facts, params);
        ToolCall { destination: Some(destination.clone()), payload: Payload::Tunnel, ..call }
    }

    pub(super) fn describe_undefined(
        &self,
        tool: &str,
        action: &str,
        params: Map<String, Value>,
        target: BTreeMap<String, String>,
    ) -> ToolCall {
        let images = conventional_images(&params);
        ToolCall { images, ..self.open_call(tool, action, target, params) }
    }

    pub(super) fn open_call(
        &self,
        tool: &str,
        action: &str,
        target: BTreeMap<String, String>,
        params: Map<String, Value>,
    ) -> ToolCall {
        let environment: Environment = self.environments.find(tool, &target, &params, &BTreeSet::new());
        ToolCall {
            tool: tool.to_owned(),
            action: action.to_owned(),
            classes: BTreeSet::new(),
            effect: Effect::Unknown,
            environment,
            target,
            params,
            shape: Shape::Open,
            images: Vec::new(),
            frozen: false,
            companion: Companion::No,
            destination: None,
            metering: crate::cost::Metering::default(),
            payload: Payload::Caller,
        }
    }
}

/// What the way in says about the target.
fn facts_of(arrival: &Arrival<'_>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    match arrival {
        Arrival::Route { name, cluster, upstream, .. } => {
            facts.insert("route".to_owned(), (*name).to_owned());
            facts.insert("host".to_owned(), upstream.host.to_ascii_lowercase());
            facts.extend(cluster.map(|cluster| ("cluster".to_owned(), cluster.to_owned())));
        }
        Arrival::Forward { destination } => {
            facts.insert("host".to_owned(), destination.host.clone());
        }
        Arrival::Intercepted { destination, cluster, .. } => {
            facts.insert("host".to_owned(), destination.host.clone());
            facts.extend(cluster.map(|cluster| ("cluster".to_owned(), cluster.to_owned())));
        }
    }
    facts
}

fn placed(call: ToolCall, arrival: &Arrival<'_>) -> ToolCall {
    match arrival {
        Arrival::Route { .. } => call,
        Arrival::Forward { destination } | Arrival::Intercepted { destination, .. } => {
            ToolCall { destination: Some((*destination).clone()), ..call }
        }
    }
}

fn add_destination(params: &mut Map<String, Value>, destination: &Destination) {
    params.insert("scheme".to_owned(), destination.scheme.as_str().into());
    params.insert("host".to_owned(), destination.host.as_str().into());
    params.insert("port".to_owned(), destination.port.into());
}

/// Refuses what may make a request another one than it says, whatever is behind: policy speaks of method and path everywhere.
fn check_overrides(target: &Target, request: &HttpRequest) -> Result<(), Unreadable> {
    for name in request.headers.keys() {
        let dashed = name.as_str().replace('_', "-");
        if METHOD_OVERRIDES.contains(&dashed.as_str()) {
            return Err(Unreadable::new("method_override", format!("the header {name} may make this another method")));
        }
        if PATH_OVERRIDES.contains(&dashed.as_str()) {
            return Err(Unreadable::new("path_override", format!("the header {name} may make this another path")));
        }
    }
    if target.query.iter().any(|(key, _)| key == METHOD_OVERRIDE_KEY) {
        return Err(Unreadable::new("method_override", "the query key _method may make this another method"));
    }
    if is_posted_form(&request.method, &request.headers)
        && let Body::Whole(bytes) = &request.body
        && form_urlencoded::parse(bytes).any(|(key, _)| key == METHOD_OVERRIDE_KEY)
    {
        return Err(Unreadable::new("method_override", "the form's field _method may make this another method"));
    }
    Ok(())
}

/// Whether a request is a form that is posted: only there do frameworks look for another method among the fields.
pub(super) fn is_posted_form(method: &Method, headers: &HeaderMap) -> bool {
    let form = |value: &http::HeaderValue| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    };
    *method == Method::POST && headers.get_all(http::header::CONTENT_TYPE).iter().any(form)
}

fn check_headers(tool: &Tool, headers: &HeaderMap) -> Result<(), Unreadable> {
    for name in headers.keys() {
        if tool.refused_headers.iter().any(|glob| glob.matches(name.as_str())) {
            return Err(Unreadable::new(
                "refused_header",
                format!("{} calls may not have the header {name}", tool.name),
            ));
        }
    }
    Ok(())
}

/// Refuses query keys that stand twice (some servers take the first, some the last), but for those the action reads whole.
fn check_query(query: &[(String, String)], request: Option<&Recognised<'_>>) -> Result<(), Unreadable> {
    let repeatable = |key: &str| {
        let params = request.iter().flat_map(|request| &request.action.params);
        params.into_iter().any(|param| matches!(&param.source, From::Query { key: own, all: true } if own == key))
    };
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (key, _) in query {
        if seen.insert(fold(key), key).is_some_and(|before| before != key || !repeatable(key)) {
            return Err(Unreadable::new("query_duplicate_key", format!("the query key {key:?} stands twice")));
        }
    }
    Ok(())
}
