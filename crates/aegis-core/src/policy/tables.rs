//! The compiled policies: what the native evaluator walks, and, written as JSON, what the Rego walks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::Number;

use super::Mode;
use super::agents::Globs;
use super::budget::Budget;
use super::calendar::Zone;
use super::condition::{Condition, Pattern};
use super::egress::EgressPattern;
use super::param::Param;
use super::sanitize::Sanitize;
use super::terms::ApprovalRule;
use crate::agent::Agent;
use crate::call::{IMAGES, ToolCall};
use crate::document::Place;
use crate::money::Currency;

/// All policies, indexed by whom they are for. Written out, the keys of every mapping are sorted: the fields here stand in that
/// order, and each policy is sorted by itself, so that no second copy of all of them is made.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tables {
    /// What the conditions ask the session's counts for.
    pub(super) counted: BTreeSet<String>,
    /// Agents named in full → positions in `policies`. Asked at every decision, and by hash: a search among ten thousand names
    /// reads dozens of them, which no cache holds.
    #[serde(serialize_with = "sorted")]
    pub(super) exact: HashMap<String, Vec<usize>>,
    /// Agents named by a glob.
    pub(super) globs: Globs,
    /// Groups → positions in `policies`.
    pub(super) groups: BTreeMap<String, Vec<usize>>,
    /// The gateway's mode.
    pub(super) mode: Mode,
    #[serde(serialize_with = "each_sorted")]
    pub(super) policies: Vec<Policy>,
    /// Whether calls are remembered: something asks for the session.
    pub(super) remembers: bool,
    /// Whether every name of a call is counted: a module in Rego may ask for any.
    #[serde(skip)]
    pub(super) counts_all: bool,
    /// The zones that conditions ask the time in; the input document has the time in each.
    pub(super) zones: BTreeSet<Zone>,
}

fn sorted<S: Serializer>(map: &HashMap<String, Vec<usize>>, serializer: S) -> Result<S::Ok, S::Error> {
    map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
}

fn each_sorted<S: Serializer>(policies: &[Policy], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(policies.len()))?;
    for policy in policies {
        list.serialize_element(&serde_json::to_value(policy).map_err(S::Error::custom)?)?;
    }
    list.end()
}

/// What several entries have in common: compiled once, written out at each of them.
#[derive(Debug)]
pub(super) struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// One policy.
#[derive(Debug, Serialize)]
pub(super) struct Policy {
    /// Where it is written; no part of what is compiled.
    #[serde(skip)]
    pub(super) origin: Origin,
    /// Whom it is for, as written; what is compiled of it are the indexes of [`Tables`].
    #[serde(skip)]
    pub(super) whom: Whom,
    pub(super) id: String,
    /// Its own, or the gateway's.
    pub(super) mode: Mode,
    /// The only tools that it grants anything of; `None` is any.
    pub(super) tools: Option<BTreeSet<String>>,
    /// What it lets its agents name; `None` when it says nothing of it.
    pub(super) egress: Option<Vec<EgressPattern>>,
    pub(super) rate: Option<Rate>,
    pub(super) budgets: Vec<Budget>,
    /// What refuses any call of its agents where it is true.
    pub(super) deny: Vec<Shared<Condition>>,
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
    pub(super) approval: Option<Shared<Condition>>,
    /// Who may approve, and how long that may take.
    pub(super) terms: Option<ApprovalRule>,
    /// What refuses the call where it is true.
    pub(super) deny: Vec<Shared<Condition>>,
    pub(super) images: Vec<ImageRule>,
    /// The rules on parameters.
    pub(super) rules: Vec<Rule>,
    /// Where its calls may go; `None` when it says nothing of it.
    pub(super) egress: Option<Vec<EgressPattern>>,
    pub(super) sanitize: Option<Sanitize>,
    /// The rules whose readable violations ask a human.
    pub(super) asks: BTreeSet<String>,
    pub(super) rate: Option<Rate>,
    pub(super) budgets: Vec<Budget>,
    /// What a call leaves in the session.
    pub(super) labels: Vec<Label>,
}

/// One of an entry's `labels`.
#[derive(Debug, Serialize)]
pub(super) struct Label {
    pub(super) name: String,
    /// Left unless this is false.
    pub(super) when: Shared<Condition>,
}

/// Where a policy or an entry is written, for diagnostics that need more than its file.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) file: String,
    /// What diagnostics call it, e.g. `actions[0]`; empty for a policy.
    pub(super) path: String,
    pub(super) place: Place,
    /// Its name as written; of a policy, where it has one.
    pub(super) name: String,
    /// Where its keys are.
    pub(super) keys: BTreeMap<String, Place>,
}

/// Whom a policy is for, as written.
#[derive(Debug, Serialize)]
pub(super) struct Whom {
    pub(super) agent: Option<String>,
    pub(super) groups: BTreeSet<String>,
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

/// A rule on a parameter.
#[derive(Debug, Serialize)]
pub(super) struct Rule {
    /// Its key, e.g. `max_replicas`.
    pub(super) rule: String,
    #[serde(flatten)]
    pub(super) param: Param,
    #[serde(flatten)]
    pub(super) check: Check,
}

/// What a rule asks of a value.
#[derive(Debug, Serialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub(super) enum Check {
    /// `max_<param>`, `min_<param>`.
    Bound(Bound),
    /// `allowed_<param>`: it is listed.
    Allowed(List),
    /// `denied_<param>`: it isn't listed.
    Denied(List),
    /// `pattern_<param>`: the whole text matches.
    Pattern {
        /// Anchored at both ends.
        pattern: Pattern,
        /// As written.
        #[serde(skip)]
        text: String,
    },
    /// `required_params`: it is there, and not empty.
    Required,
}

/// How much, or how little.
#[derive(Debug, Serialize)]
pub(super) struct Bound {
    pub(super) side: Side,
    /// Below 2^53 either way; of money in the whole unit, of durations in seconds.
    pub(super) limit: Number,
    pub(super) unit: Unit,
    /// The currency of money, as a pattern that takes any case.
    #[serde(serialize_with = "any_case")]
    pub(super) currency: Option<Currency>,
    /// As written.
    #[serde(skip)]
    pub(super) text: String,
}

/// Which side of a bound is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Max,
    Min,
}

/// What a bound is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// The action's own unit.
    Number,
    /// Time: the value is a duration, or a number of seconds.
    Seconds,
    /// The value is in the whole unit, and `currency` is beside it.
    Money,
}

/// Values, by kind; the globs are of texts.
#[derive(Debug, Default, Serialize)]
pub(super) struct List {
    pub(super) texts: BTreeSet<String>,
    pub(super) numbers: Vec<Number>,
    pub(super) bools: BTreeSet<bool>,
    pub(super) globs: Vec<Pattern>,
    /// As written, without repeats.
    #[serde(skip)]
    pub(super) shown: Vec<serde_json::Value>,
}

fn any_case<S: Serializer>(currency: &Option<Currency>, serializer: S) -> Result<S::Ok, S::Error> {
    let letter = |letter: char| format!("[{letter}{}]", letter.to_ascii_lowercase());
    let pattern = |currency: Currency| format!("^(?:{})$", currency.code().chars().map(letter).collect::<String>());
    currency.map(pattern).serialize(serializer)
}

/// `rate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Rate {
    pub(super) limit: u32,
    pub(super) per_ms: u64,
    pub(super) burst: u32,
}

impl Entry {
    /// All of its conditions.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let shared = self.approval.iter().chain(&self.deny).chain(self.labels.iter().map(|label| &label.when));
        shared.map(|condition| &**condition)
    }
}

impl Tables {
    /// The positions of the policies that are for this agent, ascending.
    pub(super) fn of_agent(&self, agent: &Agent) -> Vec<usize> {
        let by_group = agent.groups.iter().filter_map(|group| self.groups.get(group));
        let named = self.exact.get(&agent.id).into_iter().chain(by_group).flatten().copied();
        let mut found: Vec<usize> = named.chain(self.globs.of(&agent.id)).collect();
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

impl Entry {
    /// The parameters that some rule of the entry is on, by their very names.
    pub(super) fn declares(&self) -> impl Iterator<Item = &str> {
        let images = self.images.iter().map(|_| IMAGES);
        let rules = self.rules.iter().filter_map(|rule| rule.param.plain_name());
        let sanitized = self.sanitize.iter().flat_map(|sanitize| sanitize.params.iter().flatten());
        images.chain(rules).chain(sanitized.filter_map(Param::plain_name))
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
