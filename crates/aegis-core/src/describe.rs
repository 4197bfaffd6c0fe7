//! How a parsed request becomes a [`ToolCall`]: the tool catalogue.
//!
//! One YAML file per tool (built in under `catalogue/`, the operator's own in `tools:`), each with its own cases. What no
//! entry recognises becomes `action: unknown` of a known tool, or `http/request`; never a guess. What can be read in two
//! ways is [`Unreadable`].

use crate::call::{Destination, HttpRequest, ToolCall};
use crate::document::Diagnostic;
use crate::policy::Source;

/// All tool definitions and the operator's environment map. Immutable; shared by all calls.
#[derive(Debug)]
pub struct Catalogue {}

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
        /// The host of the route's upstream, for the environment map.
        host: &'a str,
    },
    /// The forward proxy: the agent names the destination.
    Forward {
        /// Canonical destination.
        destination: &'a Destination,
    },
}

/// Whether a request's body has to be read before the call can be described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPlan {
    /// Read it whole, up to the limit; over it the request is refused.
    Whole,
    /// Nothing in the description depends on it: read it if it is known to be small, else stream it.
    Optional,
}

/// How a tool's clients like to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyShape {
    /// `application/problem+json`.
    Problem,
    /// A Kubernetes `Status`.
    KubernetesStatus,
}

/// Why a request can't be described: it is refused, nothing is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// For records: without raw values, e.g. `duplicate_json_key`.
    pub reason: String,
    /// For the caller, with the place.
    pub message: String,
}

impl Catalogue {
    /// The built-in tools, the operator's `sources`, and the environment map (the `environments:` list of the configuration).
    ///
    /// # Errors
    /// Every error in any of them, each with its place.
    pub fn load(
        sources: &[Source],
        environments: Option<(&str, &crate::document::Node)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let _ = (sources, environments);
        todo!()
    }

    /// Whether the body has to be read.
    pub fn body_plan(&self, arrival: &Arrival<'_>, request: &http::request::Parts) -> BodyPlan {
        let _ = (arrival, request);
        todo!()
    }

    /// Describes a request. The target and the headers are those that would be forwarded.
    ///
    /// # Errors
    /// What makes it ambiguous or malformed.
    pub fn describe(&self, arrival: &Arrival<'_>, request: HttpRequest) -> Result<ToolCall, Unreadable> {
        let _ = (arrival, request);
        todo!()
    }

    /// Describes a tunnel.
    pub fn describe_tunnel(&self, destination: &Destination) -> ToolCall {
        let _ = destination;
        todo!()
    }

    /// How a tool's clients like to be refused.
    pub fn deny_shape(&self, tool: &str) -> DenyShape {
        let _ = tool;
        todo!()
    }
}

/// A canonical path and query, or why the raw one can be read in two ways (`..`, `//`, `%2f`, `;`, `\`, `%00`…).
///
/// # Errors
/// What is ambiguous about it.
pub fn canonical_target(raw: &http::uri::PathAndQuery) -> Result<http::uri::PathAndQuery, Unreadable> {
    let _ = raw;
    todo!()
}

/// The destination that an agent names (`host`, `port`), canonical: lower case, A-label, no trailing dot, strict IP literals.
///
/// # Errors
/// Odd notations (`0x7f.1`, `127.1`), user info, empty or zero ports, look-alike or encoded hosts.
pub fn canonical_destination(scheme: &str, host: &str, port: u16) -> Result<Destination, Unreadable> {
    let _ = (scheme, host, port);
    todo!()
}
