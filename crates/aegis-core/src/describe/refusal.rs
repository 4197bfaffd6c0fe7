//! How a tool's clients like to be refused, as the tool's file says.

use std::fmt;
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
    /// git's: as text, which git prints where it looks for a repository's refs; for a push, a report of each ref.
    Git(Option<Arc<PushedRefs>>),
    /// The tool's own shape.
    Own(Arc<OwnShape>),
}

/// The refs of a push that its client wants a report of: of a refusal by its status alone it would say no more than the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedRefs {
    /// Their names.
    pub refs: Vec<String>,
    /// Whether the report goes in the first of several bands, beside messages in the second.
    pub side_band: bool,
}

/// An answer with places for what a refusal says: `{message}` (why, and what to do), `{title}`, `{detail}`, `{code}`, `{status}`,
/// `{id}` (the decision's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnShape {
    /// Its `Content-Type`.
    pub media_type: String,
    /// An object, which the problem's own members stand beside; or a text, into which they are put with XML's escapes.
    pub body: Value,
    /// Whether the reason stands in the status line too, for clients that show nothing else.
    pub status_line: bool,
    /// Headers besides, by name.
    pub headers: Vec<(String, String)>,
}

impl fmt::Display for DenyShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "problem",
            Self::KubernetesStatus => "kubernetes_status",
            Self::Text => "text",
            Self::Git(_) => "git",
            Self::Own(own) => &own.media_type,
        })
    }
}

impl OwnShape {
    /// The places there are.
    pub const PLACES: [&str; 6] = ["message", "title", "detail", "code", "status", "id"];
}
