//! How a parsed request becomes a [`ToolCall`]: the tool catalogue.
//!
//! One YAML file per tool (built in under `catalogue/`, the operator's own in `tools:`), each with its own cases. What no
//! entry recognises becomes `action: unknown` of a known tool, or `http/request`; never a guess. What can be read in two
//! ways is [`Unreadable`].
//!
//! Invariants: the target that is forwarded is the canonical one that was matched; a parameter is read from the bytes that
//! are forwarded; a value that can't be read as its rule expects is never passed for absent.
//!
//! Deliberately absent: asking the tool (what it has to be asked is left open as a [`Question`]), and rewriting bodies.

mod address;
mod body;
mod bracket;
mod cases;
mod coding;
mod cost;
mod crate_file;
mod defined;
mod destination;
mod environment;
mod extract;
mod git;
mod glob;
mod graphql;
mod grpc;
mod image;
mod import;
mod json;
mod load;
mod mcp;
mod multipart;
mod named;
mod npm;
mod pointer;
mod protobuf;
mod python_file;
mod raw;
mod recognise;
mod refusal;
mod resolve;
mod signed;
mod statement;
mod target;
mod template;
#[cfg(test)]
mod tests;
mod tool;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use address::{AddressClass, address_class};
pub use cases::{Checked, Failure};
pub(crate) use coding::{INTEGRITY, is_coded};
pub use coding::{Undecoded, without_coding};
pub use destination::canonical_destination;
pub(crate) use glob::Glob;
pub use import::{Imported, NotImported, import};
pub(crate) use json::parse as strict_json;
pub(crate) use pointer::fold;
pub use raw::Match;
pub use refusal::{DenyShape, OwnShape, PushedRefs};
pub use resolve::{Answer, Answers, Described, Question};
use serde::Serialize;
pub use signed::{Scope, Signed, VERIFIED_SCOPE};
pub use statement::{Argument, Dialect, Language};
pub use target::canonical_target;
pub(crate) use target::decoded_path;
pub use written::Written;

use crate::call::{Destination, Effect, HttpRequest, IMAGES, Payload, ToolCall};
use crate::document::Diagnostic;
use crate::policy::{DefinedAction, Source};

/// All tool definitions and the operator's environment map. Immutable; shared by all calls.
#[derive(Debug)]
pub struct Catalogue {
    tools: BTreeMap<String, tool::Tool>,
    prices: cost::Prices,
    environments: environment::EnvironmentMap,
}

/// By which way a request came, as far as describing it depends on that.
#[derive(Debug, Clone)]
pub enum Arrival<'a> {
    /// A sidecar route: the operator says which tool it leads to.
    Route {
        /// The route's name.
        name: &'a str,
        /// The tool that the operator says is behind it.
        tool: Option<&'a str>,
        /// The operator's name for the target cluster, for the environment map.
        cluster: Option<&'a str>,
        /// The route's upstream: its host is for the environment map, all of it for plain requests.
        upstream: &'a Destination,
    },
    /// The forward proxy: the agent names the destination.
    Forward {
        /// Canonical destination.
        destination: &'a Destination,
    },
    /// An intercepted connection: the agent names the destination, and the operator may say what is there.
    Intercepted {
        /// Canonical destination.
        destination: &'a Destination,
        /// The tool that the operator says is there.
        tool: Option<&'a str>,
        /// The operator's name for the cluster there, for the environment map.
        cluster: Option<&'a str>,
    },
}

/// Whether a request's body has to be read before the call can be described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPlan {
    /// Read it whole, up to the limit; over it the request is refused.
    Whole,
    /// The same, and no byte of it may change: not its content coding either.
    Exact,
    /// Read it until it has said what is asked; the rest goes through as it comes.
    Beginning(Beginning),
    /// Nothing in the description depends on it: read it if it is known to be small, else stream it.
    Optional,
}

/// The beginning of a body that says what is asked: of a push, which refs, ahead of all that they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning(());

impl Beginning {
    /// The most bytes that are read of it.
    pub const MOST: usize = git::MOST;

    /// How long it is; `None` while `bytes` don't hold all of it.
    ///
    /// # Errors
    /// What is malformed or ambiguous about it.
    pub fn length(self, bytes: &[u8]) -> Result<Option<usize>, Unreadable> {
        Ok(git::beginning(bytes)?.map(|(_, length)| length))
    }
}

/// Why a request can't be described: it is refused, nothing is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// For records: without raw values, e.g. `json_duplicate_key`.
    pub reason: String,
    /// For the caller, with the place.
    pub message: String,
}

impl Unreadable {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// One tool of the catalogue, for a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The tool.
    pub tool: String,
    /// The hosts that it is on; none, and only a route leads to it.
    pub hosts: Vec<String>,
    /// How its clients are refused: `problem`, `kubernetes_status`, `text`, or the media type of a shape of its own.
    pub deny_response: String,
    /// Its actions, sorted; those of several entries with different classes stand apart.
    pub actions: Vec<ListedAction>,
}

/// One action of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ListedAction {
    /// The action.
    pub action: String,
    /// Its classes.
    pub classes: Vec<String>,
    /// Its effect, e.g. `write`.
    pub effect: String,
}

impl Catalogue {
    /// The built-in tools, the operator's `sources`, and the environment map (the `environments:` list of the configuration,
    /// with the name of its file).
    ///
    /// # Errors
    /// Every error in any of them, each with its place.
    pub fn load(
        sources: &[Source],
        environments: Option<(&str, &crate::document::Node)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        load::catalogue(sources, environments)
    }

    /// Whether the body has to be read.
    pub fn body_plan(&self, arrival: &Arrival<'_>, request: &http::request::Parts) -> BodyPlan {
        let target = request.uri.path_and_query().and_then(|raw| target::Target::parse(raw).ok());
        if recognise::is_posted_form(&request.method, &request.headers) {
            // A field of it may make it another method.
            return BodyPlan::Whole;
        }
        match (self.tool_behind(arrival), target) {
            (recognise::Behind::Known(tool), Some(target)) => {
                tool.body_plan(&request.method, &target, &request.headers)
            }
            _ => BodyPlan::Optional,
        }
    }

    /// Describes a request. Its target is made canonical; target and headers are what will be forwarded.
    ///
    /// # Errors
    /// What makes it ambiguous or malformed.
    pub fn describe(&self, arrival: &Arrival<'_>, request: HttpRequest) -> Result<ToolCall, Unreadable> {
        self.describe_with(arrival, request, &Answers::default()).map(|described| described.call)
    }

    /// The same, given what the tool was asked so far. What is left open is unresolved in the call.
    ///
    /// # Errors
    /// As [`Catalogue::describe`].
    pub fn describe_with(
        &self,
        arrival: &Arrival<'_>,
        request: HttpRequest,
        answers: &Answers,
    ) -> Result<Described, Unreadable> {
        let mut asking = resolve::Asking { answers: Some(answers), open: Vec::new() };
        let call = self.describe_request(arrival, request, &mut asking)?;
        Ok(Described { call, open: asking.open })
    }

    /// Describes a tunnel. To a host that a tool is known to be on it is that tool's `unknown`: what it carries can't be
    /// read. To any other it is `http/connect`.
    pub fn describe_tunnel(&self, destination: &Destination) -> ToolCall {
        self.describe_connect(destination)
    }

    /// Describes a call that is known by its name and parameters (an SDK's decorator, the decision API). An action of the
    /// catalogue is what its definition says. What has no definition (a function) has its parameters as they are, and the
    /// environment map may trust one of them.
    pub fn describe_function(
        &self,
        tool: &str,
        action: &str,
        params: serde_json::Map<String, serde_json::Value>,
    ) -> ToolCall {
        self.describe_named(tool, action, params, BTreeMap::new())
    }

    /// The environments that the map can yield, without [`Environment::UNKNOWN`](crate::call::Environment::UNKNOWN).
    pub fn environments(&self) -> BTreeSet<&str> {
        self.environments.names()
    }

    /// How a tool's clients like to be refused.
    pub fn deny_shape(&self, tool: &str) -> DenyShape {
        self.tools.get(tool).map_or(DenyShape::Problem, |tool| tool.deny.clone())
    }

    /// How this call's client likes to be refused.
    pub fn deny_shape_of(&self, call: &ToolCall) -> DenyShape {
        match (self.deny_shape(&call.tool), &call.payload) {
            (DenyShape::Git(_), Payload::Http(request)) => DenyShape::Git(git::pushed(request).map(Arc::new)),
            (shape, _) => shape,
        }
    }

    /// The tool that is known to be on a host.
    pub fn tool_at(&self, host: &str) -> Option<&str> {
        match self.tool_on(host) {
            recognise::Behind::Known(tool) => Some(&tool.name),
            recognise::Behind::Undefined(_) | recognise::Behind::Nothing => None,
        }
    }

    /// Whether a route may say that this tool is behind it.
    pub fn has_tool(&self, name: &str) -> bool {
        name == ToolCall::HTTP || self.tools.contains_key(name)
    }

    /// All actions with their parameters, for comparing policies with them. An action of several entries stands there for each.
    pub fn defined(&self) -> Vec<DefinedAction> {
        let open = |tool: &str, action: &str| DefinedAction {
            tool: tool.to_owned(),
            action: action.to_owned(),
            classes: BTreeSet::new(),
            params: None,
        };
        let mut all = vec![open(ToolCall::HTTP, ToolCall::REQUEST), open(ToolCall::HTTP, ToolCall::CONNECT)];
        for tool in self.tools.values() {
            all.push(open(&tool.name, ToolCall::UNKNOWN));
            for action in tool.actions.iter().filter(|action| action.name != ToolCall::UNKNOWN) {
                let params = action.params.iter().map(|param| param.name.as_str());
                let params = params.chain(action.names_images().then_some(IMAGES));
                let params = params.chain(action.resolved_params().map(|param| param.name.as_str()));
                let tokens = matches!(action.cost, Some(cost::CostModel::Tokens(_))).then_some(cost::TOKENS);
                let params = params.chain(tokens);
                let facts = statement::names(action.programs().map(|(_, language)| language));
                let params = params.map(str::to_owned).chain(facts.map(str::to_owned)).collect();
                all.push(DefinedAction {
                    tool: tool.name.clone(),
                    action: action.name.clone(),
                    classes: action.classes.clone(),
                    params: (!action.open).then_some(params),
                });
            }
        }
        all
    }

    /// All tools and their actions, sorted.
    pub fn tools(&self) -> Vec<Listing> {
        let listed = |name: &str, classes: Vec<String>, effect: Effect| ListedAction {
            action: name.to_owned(),
            classes,
            effect: effect.to_string(),
        };
        let generic = [ToolCall::CONNECT, ToolCall::REQUEST].map(|action| listed(action, Vec::new(), Effect::Unknown));
        let mut all = vec![Listing {
            tool: ToolCall::HTTP.to_owned(),
            hosts: Vec::new(),
            deny_response: DenyShape::Problem.to_string(),
            actions: generic.into(),
        }];
        for tool in self.tools.values() {
            let entries = tool.actions.iter().filter(|action| action.name != ToolCall::UNKNOWN);
            let mut actions: Vec<ListedAction> =
                entries.map(|a| listed(&a.name, a.classes.iter().cloned().collect(), a.effect)).collect();
            actions.sort();
            actions.dedup();
            all.push(Listing {
                tool: tool.name.clone(),
                hosts: tool.hosts.iter().map(ToString::to_string).collect(),
                deny_response: tool.deny.to_string(),
                actions,
            });
        }
        all.sort_by(|a, b| a.tool.cmp(&b.tool));
        all
    }
}
