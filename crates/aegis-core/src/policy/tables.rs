//! The compiled policies: what the native evaluator walks, and, written as JSON, what the Rego walks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Mode;
use super::condition::{Condition, Pattern};
use super::egress::EgressPattern;
use crate::agent::Agent;
use crate::call::ToolCall;
use crate::document::Place;

/// All policies, indexed by whom they are for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tables {
    /// The gateway's mode.
    pub(super) mode: Mode,
    /// Agents named in full → positions in `policies`.
    pub(super) exact: BTreeMap<String, Vec<usize>>,
    /// Groups → positions in `policies`.
    pub(super) groups: BTreeMap<String, Vec<usize>>,
    /// Agents named by a glob.
    pub(super) globs: Vec<AgentGlob>,
    pub(super) policies: Vec<Policy>,
}

/// Agents by a glob.
#[derive(Debug, Serialize)]
pub(super) struct AgentGlob {
    pub(super) pattern: Pattern,
    /// Position in `policies`.
    pub(super) policy: usize,
}

/// One policy.
#[derive(Debug, Serialize)]
pub(super) struct Policy {
    pub(super) id: String,
    /// Its own, or the gateway's.
    pub(super) mode: Mode,
    /// The only tools that it grants anything of; `None` is any.
    pub(super) tools: Option<BTreeSet<String>>,
    /// What it lets its agents name; `None` when it says nothing of it.
    pub(super) egress: Option<Vec<EgressPattern>>,
    pub(super) rate: Option<Rate>,
    pub(super) entries: Vec<Entry>,
}

/// One entry of a policy's `actions`.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Where it is written; no part of what is compiled.
    #[serde(skip)]
    pub(super) origin: Origin,
    pub(super) name: Name,
    /// What `matched` calls it: `policy/entry`.
    pub(super) label: String,
    /// `None` is any.
    pub(super) tools: Option<BTreeSet<String>>,
    /// `None` is any.
    pub(super) environments: Option<BTreeSet<String>>,
    pub(super) approval: Option<Condition>,
    /// How long an approval may take, in seconds.
    pub(super) expires_s: Option<i64>,
    pub(super) images: Vec<ImageRule>,
    pub(super) max: Vec<MaxRule>,
    /// The rules whose readable violations ask a human.
    pub(super) asks: BTreeSet<String>,
    pub(super) rate: Option<Rate>,
}

/// Where an entry is written, for diagnostics that need more than its file.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) file: String,
    /// What diagnostics call it, e.g. `actions[0]`.
    pub(super) path: String,
    pub(super) place: Place,
    /// Its name as written.
    pub(super) name: String,
    /// Where its keys are.
    pub(super) keys: BTreeMap<String, Place>,
}

/// Which actions an entry is for.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Name {
    /// A class, or an action of any tool.
    Bare { text: String },
    /// One action of one tool.
    Exact { tool: String, action: String },
    /// Actions by globs.
    Glob { tool: Pattern, action: Pattern },
}

/// `allowed_images`, or its synonym.
#[derive(Debug, Serialize)]
pub(super) struct ImageRule {
    pub(super) rule: String,
    /// Sorted.
    pub(super) allowed: Vec<AllowedImage>,
}

/// An image that may run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct AllowedImage {
    pub(super) digest: String,
    /// Canonical; `None` is any.
    pub(super) repository: Option<String>,
}

/// `max_<param>`.
#[derive(Debug, Serialize)]
pub(super) struct MaxRule {
    pub(super) rule: String,
    pub(super) param: String,
    /// As written; below 2^53 either way.
    pub(super) max: serde_json::Number,
}

/// `rate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Rate {
    pub(super) limit: u32,
    pub(super) per_ms: u64,
    pub(super) burst: u32,
}

impl Tables {
    /// The positions of the policies that are for this agent, ascending.
    pub(super) fn of_agent(&self, agent: &Agent) -> Vec<usize> {
        let by_group = agent.groups.iter().filter_map(|group| self.groups.get(group));
        let named = self.exact.get(&agent.id).into_iter().chain(by_group).flatten().copied();
        let by_glob = self.globs.iter().filter(|glob| glob.pattern.is_match(&agent.id)).map(|glob| glob.policy);
        let mut found: Vec<usize> = named.chain(by_glob).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Whether `tools` lets a tool through.
pub(super) fn has_tool(tools: Option<&BTreeSet<String>>, tool: &str) -> bool {
    tools.is_none_or(|tools| tools.contains(tool))
}

impl Name {
    /// Whether the entry is for this action of this tool.
    pub(super) fn is_for(&self, tool: &str, action: &str, classes: &BTreeSet<String>) -> bool {
        match self {
            Self::Exact { tool: own_tool, action: own_action } => {
                own_tool == tool && (own_action == action || carries(tool, action, own_action))
            }
            Self::Bare { .. } | Self::Glob { .. } if must_be_named(tool, action) => false,
            Self::Bare { text } => text == action || classes.contains(text),
            Self::Glob { tool: own_tool, action: own_action } => own_tool.is_match(tool) && own_action.is_match(action),
        }
    }

    /// Whether the entry may be for some action of this tool.
    pub(super) fn may_be_of(&self, tool: &str) -> bool {
        match self {
            Self::Bare { .. } => true,
            Self::Exact { tool: own, .. } => own == tool,
            Self::Glob { tool: own, .. } => own.is_match(tool),
        }
    }
}

/// What nobody has described is allowed only where a policy names it in full.
pub(super) fn must_be_named(tool: &str, action: &str) -> bool {
    action == ToolCall::UNKNOWN || is_plain_http(tool, action)
}

/// A tunnel carries requests that nobody reads: what an entry says of plain requests holds for it, so that a rule on a
/// parameter, which a tunnel hides, refuses it.
fn carries(tool: &str, action: &str, own_action: &str) -> bool {
    tool == ToolCall::HTTP && action == ToolCall::CONNECT && own_action == ToolCall::REQUEST
}

/// A request or a tunnel to what no catalogue entry knows.
pub(super) fn is_plain_http(tool: &str, action: &str) -> bool {
    tool == ToolCall::HTTP && matches!(action, ToolCall::REQUEST | ToolCall::CONNECT)
}

impl ImageRule {
    /// Whether an image of this digest and repository is listed.
    pub(super) fn lists(&self, digest: &str, repository: &str) -> bool {
        let from = self.allowed.partition_point(|allowed| allowed.digest.as_str() < digest);
        let same = self.allowed.iter().skip(from).take_while(|allowed| allowed.digest == digest);
        same.into_iter().any(|allowed| allowed.repository.as_deref().is_none_or(|own| own == repository))
    }
}
