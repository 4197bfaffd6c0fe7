//! How a tool's clients like to be refused, as the tool's file says.

use std::sync::Arc;

use serde_json::Value;

/// How a tool's clients like to be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyShape {
    /// `application/problem+json`.
    Problem,
    /// A Kubernetes `Status`.
    KubernetesStatus,
    /// `text/plain`: the reason and what to do, for clients that print a refusal's text as it is, as git does.
    Text,
    /// The tool's own shape.
    Own(Arc<OwnShape>),
}

/// An answer with places for what a refusal says: `{message}` (why, and what to do), `{title}`, `{detail}`, `{code}`, `{status}`,
/// `{id}` (the decision's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnShape {
    /// Its `Content-Type`.
    pub media_type: String,
    /// An object, which the problem's own members stand beside; or a text, into which they are put with XML's escapes.
    pub body: Value,
    /// Headers besides, by name.
    pub headers: Vec<(String, String)>,
}

impl OwnShape {
    /// The places there are.
    pub const PLACES: [&str; 6] = ["message", "title", "detail", "code", "status", "id"];
}
