//! What is allowed: YAML → checked, versioned [`PolicySet`] → an evaluation of one call.
//!
//! One source, two back ends that must never differ: the native evaluator over tables (the default), and an OPA bundle
//! evaluated by regorus' interpreter (`engine: rego`) or by any OPA. Both answer with the same [`Evaluation`]: rule ids and
//! reasons, no prose; prose is made once, by [`PolicySet::violation`].
//!
//! # What policies mean
//!
//! **Whom a policy is for.** The agent that it names (`*` in a name is any run of characters), and every agent in one of its
//! `groups`. Nobody else: without a policy a call is denied (`default_deny`, in the gateway's mode). Several policies may be
//! for one agent; order never matters. A policy's own `mode` wins over the gateway's. *Enforcing* policies decide; shadow ones
//! only where the agent has no enforcing one, and what they find is only observed.
//!
//! **Which calls an entry is for.** A bare `name` is a class of the call or its action; `tool/action` takes globs (`*` is any
//! run of characters but `/`). `tools`, of the policy and of the entry, narrows that. What nobody has described (action
//! `unknown`, plain HTTP requests and tunnels) is only matched by its exact name, such as `kubernetes/unknown`;
//! an entry for `http/request` is for tunnels as well, which carry requests that nobody reads.
//!
//! **Grants.** A call is granted by an entry that is for it; plain HTTP and tunnels also by an `egress.allow` that lists the
//! destination; a companion read also by what grants its write: discovery by any entry that may be for the tool, a look at
//! the written object by an entry for the write whose `allowed_environments` has this environment (or that has none, or whose
//! `approval_needed` is true). What is not granted is denied.
//!
//! **Rules.** All entries for the call, of all the agent's policies, apply together, and everything that isn't kept is found:
//! - `allowed_environments`: the environment is listed.
//! - `approval_needed`: true asks a human, and lifts this entry's `allowed_environments` violation, nothing else. A condition
//!   that can't be evaluated denies.
//! - `max_<param>`, `min_<param>`: the parameter is a number within the bound. A bound of money (`500 USD`) is kept by a number of
//!   whole units with that currency beside it in `currency`, in any case; no other currency is compared. A bound of time (`30m`)
//!   is kept by a duration as text (`90s`) or by a number of seconds.
//! - `allowed_<param>`, `denied_<param>`: the value is listed, or isn't. Texts, numbers, true and false; `*` in a text is any run
//!   of characters. A value of a kind that the list doesn't have is of the wrong type.
//! - `pattern_<param>`: the whole text matches the regular expression.
//! - Of a list, every element keeps these rules, and there is one.
//! - `required_params`: the parameter is there, and neither null nor empty.
//! - `deny_if`: none of these conditions is true; one that can't be evaluated denies. A policy's own holds for every call.
//! - `allowed_images` (`allowed_image_digests`): every image has a listed digest (and repository, where the list says one).
//! - `sanitize`: what it names is redacted before the call goes on.
//! - A dotted parameter (`max_spec.replicas`) is a path into mappings, and a parameter of that very name: both, where both are there.
//! - Absent parameters: a rule on what the action doesn't have, or leaves unchanged, doesn't apply; else absent denies. Required
//!   parameters have to be there in a partial write as well.
//! - `on_violation: {RULE: approval_needed}` asks instead of denying where the value is there and readable.
//!
//! **Sessions.** `labels: [NAME]` or `labels: {NAME: condition}` of an entry is what an admitted call of it leaves with its
//! agent: unless the condition is false, so that what can't be evaluated is remembered. `session.labels` and
//! `session.count["…"]` of a condition ask for what was left; also by shadow policies, since their calls did run.
//!
//! **Time** is in the policy's `timezone` (UTC without one). `freezes: [{name, from, until}]` names spans of it, `until` not
//! included; a date begins at midnight.
//!
//! **Egress** is asked for what the agent names. Every policy of the agent that has `egress` must list the destination, every entry
//! for the call that has one too, and one that decides must have it.
//!
//! **Counts** (`rate`, `budget`) are state, and no part of an evaluation: [`PolicySet::rates`] and [`PolicySet::budgets`] say what a
//! call takes from them.
//!
//! Deliberately absent: any way to allow by failing. A key that this version can't enforce refuses the file.

mod agents;
mod budget;
mod bundle;
mod calendar;
mod condition;
mod coverage;
mod custom;
mod diff;
mod duration;
mod egress;
mod fit;
mod lint;
mod load;
mod native;
mod param;
mod rego;
mod sanitize;
mod tables;
mod terms;
#[cfg(test)]
mod tests;
#[cfg(feature = "wasm")]
mod wasm;
#[cfg(not(feature = "wasm"))]
#[path = "policy/wasm/absent.rs"]
mod wasm;
mod wording;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

pub use coverage::{Exercised, Rule};
pub use diff::{Change, Direction, diff};
use jiff::Timestamp;
pub use lint::{LINTS, Surroundings};
pub use rego::Program;
use serde::{Deserialize, Serialize};
pub use words::Words;

use crate::agent::Agent;
use crate::call::ToolCall;
use crate::document::{Diagnostic, Place};
use crate::problem::Violation;
use crate::session::{self, Marks, Session};

pub use bundle::{Archive, ArchiveError, BundleError, FileDigest, MAX_UNPACKED, Publication, Risk};

/// Whether a policy refuses, or only records what it would have refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Refuses.
    #[default]
    Enforce,
    /// Observes.
    Shadow,
}

impl Mode {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// Which back end decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The evaluator in this crate.
    #[default]
    Native,
    /// The bundle's Rego, by regorus' interpreter.
    Rego,
    /// The bundle's `policy.wasm`, by wasmi's interpreter; only in a build with the feature `wasm`.
    Wasm,
}

/// An action that is defined somewhere: what policies can be for, and what their rules can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinedAction {
    /// Its tool.
    pub tool: String,
    /// Its name.
    pub action: String,
    /// Its classes.
    pub classes: BTreeSet<String>,
    /// Its parameters, `images` among them where it names any; `None` when it may have any.
    pub params: Option<BTreeSet<String>>,
}

/// A policy file, as read by whoever has the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What diagnostics call it.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The back end that decides.
    pub engine: Engine,
    /// The gateway's mode; a policy's own wins.
    pub mode: Mode,
    /// Policy ids → the mode that an operator has switched them to; it wins over the policy's own. Of a policy that isn't
    /// there it means nothing.
    pub modes: BTreeMap<String, Mode>,
    /// What `sanitize: {style: token}` makes its tokens with; without it there is a mask in their place.
    pub token_key: Option<crate::sanitize::TokenKey>,
}

/// Checked policies of one version. Immutable; shared by all calls until the next version.
#[derive(Debug)]
pub struct PolicySet {
    tables: tables::Tables,
    /// Policy ids → positions in the tables.
    positions: BTreeMap<String, usize>,
    engine: Engine,
    bundle: bundle::Bundle,
    version: String,
    /// Who put it in force, when that is known.
    publication: Option<Publication>,
    /// `Some` when there are no tables, only a bundle's Rego: the policies that its data names.
    foreign: Option<Vec<String>>,
    warnings: Vec<Diagnostic>,
    /// Whether any policy is in shadow mode.
    observes: bool,
    freezes: Vec<(Timestamp, Diagnostic)>,
    /// The custom modules, asked beside the tables.
    custom: Option<custom::Prepared>,
    /// The bundle's WebAssembly, where that decides.
    machine: Option<wasm::Machine>,
    /// Prepared when it is first asked: many sets are only ever asked natively.
    interpreter: OnceLock<Result<rego::Interpreter, rego::Failure>>,
    /// What `style: token` makes its tokens with.
    token_key: Option<crate::sanitize::TokenKey>,
}

/// What a call is judged by, besides the call itself.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who.
    pub agent: &'a Agent,
    /// What.
    pub call: &'a ToolCall,
    /// When.
    pub now: Timestamp,
    /// What the agent has done before.
    pub session: &'a Session,
}

impl<'a> Asked<'a> {
    /// A call without a past, at the Unix epoch; whoever knows better says so.
    pub fn of(agent: &'a Agent, call: &'a ToolCall) -> Self {
        Self { agent, call, now: Timestamp::UNIX_EPOCH, session: &session::EMPTY }
    }
}

/// What the policies say of one call. Equal for both back ends.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// The entries that applied, as `policy/entry`, sorted.
    pub matched: Vec<String>,
    /// Everything that isn't plainly allowed, sorted, without repeats. Empty means: allowed.
    pub findings: Vec<Finding>,
    /// Why engines gave no answer where they should have: for the operator, without any value of the call. What follows from
    /// it is among the findings; engines that fail differently still say the same.
    #[serde(skip)]
    pub failures: Vec<String>,
}

impl PartialEq for Evaluation {
    fn eq(&self, other: &Self) -> bool {
        (&self.matched, &self.findings) == (&other.matched, &other.findings)
    }
}

impl Eq for Evaluation {}

/// One rule that a call doesn't positively keep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The policy's id; empty for the default deny.
    pub policy: String,
    /// Index of the entry in the policy; `None` for rules of the whole policy.
    pub entry: Option<usize>,
    /// The rule's key, e.g. `max_replicas`; `default_deny`.
    pub rule: String,
    /// Why.
    pub reason: Reason,
    /// What follows.
    pub effect: FindingEffect,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
    /// The words of a custom module; no other finding has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// What a custom module says of a call: the author's text, in which values of the call may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The message, as it is; [`PolicySet::violation`] cuts and escapes it.
    pub message: String,
    /// The parameter that it is about.
    pub param: Option<String>,
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingEffect {
    /// A part of the call is redacted first.
    Sanitize,
    /// A human is asked.
    Ask,
    /// The call is refused.
    Deny,
}

/// Why a rule isn't kept. In the order of the wire forms, which is the order that Rego sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A number is above the maximum.
    AboveMaximum,
    /// The condition for asking a human is true.
    ApprovalCondition,
    /// A number is below the minimum.
    BelowMinimum,
    /// A condition can't be evaluated.
    ConditionUnknown,
    /// A value is one of those that are refused.
    Denied,
    /// A condition for refusing the call is true.
    DenyCondition,
    /// The engine failed; the call is refused.
    EngineFailed,
    /// A parameter that the rule needs isn't there.
    Missing,
    /// An image has no digest.
    NoDigest,
    /// No entry of the agent's policies is for this action.
    NoEntry,
    /// No policy is for this agent.
    NoPolicy,
    /// A value isn't one of those listed.
    NotAllowed,
    /// An amount is in another currency than its limit, and so isn't compared.
    OtherCurrency,
    /// A text doesn't match the pattern.
    PatternMismatch,
    /// A custom module says so.
    Rego,
    /// Parts of the call have to be redacted.
    SanitizeRequired,
    /// A parameter that the rule needs has the wrong type or can't be read.
    WrongType,
}

impl Reason {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::NoEntry => "no_entry",
            Self::NotAllowed => "not_allowed",
            Self::AboveMaximum => "above_maximum",
            Self::Missing => "missing",
            Self::Rego => "rego",
            Self::WrongType => "wrong_type",
            Self::NoDigest => "no_digest",
            Self::ConditionUnknown => "condition_unknown",
            Self::ApprovalCondition => "approval_condition",
            Self::EngineFailed => "engine_failed",
            Self::BelowMinimum => "below_minimum",
            Self::Denied => "denied",
            Self::DenyCondition => "deny_condition",
            Self::OtherCurrency => "other_currency",
            Self::PatternMismatch => "pattern_mismatch",
            Self::SanitizeRequired => "sanitize_required",
        }
    }
}

/// A `rate` that applies to a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// What it counts: policy id, entry (or none) and agent. Equal keys share one count.
    pub key: String,
    /// The policy that says so.
    pub policy: String,
    /// Calls per [`RateLimit::per_ms`].
    pub limit: u32,
    /// The window, in milliseconds.
    pub per_ms: u64,
    /// How many may come at once.
    pub burst: u32,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
}

impl PolicySet {
    /// Reads and checks all sources together. Their order doesn't matter.
    ///
    /// # Errors
    /// Every error found, each with its place. One bad file refuses all: a set with a policy left out is another policy.
    pub fn load(sources: &[Source], options: Options) -> Result<Self, Vec<Diagnostic>> {
        let load::Loaded { mut tables, shapes, modules, mut warnings, freezes } = load::load(sources, &options)?;
        let whole = |message: String| vec![Diagnostic::error("", Place { line: 1, column: 1 }, "", message)];
        let bundle = bundle::Bundle::of(&tables, &shapes, &modules, sources, &options.modes)
            .map_err(|error| whole(format!("the policies can't be written as data: {error}")))?;
        warnings.extend(bundle.too_large());
        tables.counts_all = bundle.asks_for_sessions();
        let positions = tables.policies.iter().enumerate().map(|(at, policy)| (policy.id.clone(), at)).collect();
        let version = bundle.version();
        let observes = tables.policies.iter().any(|policy| policy.mode == Mode::Shadow)
            || modules.iter().any(|module| module.mode == Mode::Shadow);
        let set = Self {
            tables,
            positions,
            engine: options.engine,
            bundle,
            version,
            publication: None,
            foreign: None,
            warnings,
            observes,
            freezes,
            custom: custom::Prepared::of(modules)?,
            machine: None,
            interpreter: OnceLock::new(),
            token_key: options.token_key,
        };
        match set.engine {
            Engine::Rego => match set.interpreter() {
                Ok(_) => Ok(set),
                Err(error) => Err(whole(format!("the Rego engine refuses the policies: {error}"))),
            },
            Engine::Native => Ok(set),
            Engine::Wasm => Err(whole(
                "`engine: wasm` takes policies from a bundle with policy.wasm; files of policies hold none".to_owned(),
            )),
        }
    }

    /// The same set, compared with the actions that are defined: a rule that could never apply is no protection. What may
    /// be meant for functions that only an SDK describes becomes a warning.
    ///
    /// # Errors
    /// Every rule on a parameter that none of its entry's actions has, where that is a mistake.
    pub fn fitted_to(mut self, defined: &[DefinedAction]) -> Result<Self, Vec<Diagnostic>> {
        let (errors, warnings) = fit::compare(&self.tables, defined);
        if !errors.is_empty() {
            return Err(errors);
        }
        self.warnings.extend(warnings);
        Ok(self)
    }

    /// The same set, looked at when it comes into force: a freeze that is over by then protects nothing and becomes a warning.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        let over = self.freezes.iter().filter(|(until, _)| *until <= now).map(|(_, warning)| warning.clone());
        self.warnings.extend(over);
        self
    }

    /// Whether these and other policies are the same to whoever evaluates them. A version is a short name for that.
    pub fn decides_like(&self, other: &Self) -> bool {
        self.bundle.evaluated().eq(other.bundle.evaluated())
    }

    /// The version: digest of what was compiled, as `sha256:…` shortened to 12 digits behind `pol_`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Warnings found while loading.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.foreign.as_ref().map_or(self.tables.policies.len(), Vec::len)
    }

    /// Whether there are none: everything is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The policies' ids, in the order of the files; then those of custom modules.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let foreign = self.foreign.iter().flatten().map(String::as_str);
        let modules = self.modules().iter().map(|module| module.id.as_str());
        self.tables.policies.iter().map(|policy| policy.id.as_str()).chain(foreign).chain(modules)
    }

    /// The gateway's mode, which holds where no policy matches.
    pub fn mode(&self) -> Mode {
        self.tables.mode
    }

    /// Judges a call by the configured engine. Total: an engine that fails is a finding.
    pub fn evaluate(&self, asked: Asked<'_>) -> Evaluation {
        self.evaluate_with(self.engine, asked)
    }

    /// Judges a call by the given engine, for comparing the two. What is only Rego is always judged as Rego.
    pub fn evaluate_with(&self, engine: Engine, asked: Asked<'_>) -> Evaluation {
        match engine {
            Engine::Native if self.foreign.is_none() => self.natively(asked),
            Engine::Wasm if let Some(machine) = &self.machine => machine.evaluate(&self.input(asked)),
            Engine::Native | Engine::Rego | Engine::Wasm => match self.interpreter() {
                Ok(interpreter) => interpreter.evaluate(&self.input(asked)),
                Err(failure) => rego::failed(failure),
            },
        }
    }

    fn modules(&self) -> &[custom::Custom] {
        self.custom.as_ref().map_or(&[], custom::Prepared::modules)
    }

    /// The tables by the native evaluator, the custom modules by regorus.
    fn natively(&self, asked: Asked<'_>) -> Evaluation {
        let mut evaluation = native::evaluate(&self.tables, asked);
        if let Some(custom) = &self.custom {
            let custom::Heard { findings, failures } = custom.ask(&self.input(asked));
            evaluation.findings.extend(findings);
            evaluation.findings.sort_unstable();
            evaluation.findings.dedup();
            evaluation.failures = failures;
        }
        evaluation
    }

    fn interpreter(&self) -> Result<&rego::Interpreter, &rego::Failure> {
        self.interpreter.get_or_init(|| self.bundle.interpreter()).as_ref()
    }

    /// The other engine than the configured one; what is only Rego has no other.
    pub fn other_engine(&self) -> Engine {
        match self.engine {
            Engine::Native => Engine::Rego,
            Engine::Wasm if self.foreign.is_some() => Engine::Wasm,
            Engine::Wasm => Engine::Native,
            Engine::Rego if self.foreign.is_some() => Engine::Rego,
            Engine::Rego => Engine::Native,
        }
    }

    /// Whether no enforced rule forbids the agent to name this destination at all. Asked before a name is resolved, so that
    /// a lookup can't carry data out. In shadow mode nothing is forbidden.
    pub fn may_reach(&self, asked: Asked<'_>) -> bool {
        match self.foreign {
            None => native::may_reach(&self.tables, asked),
            Some(_) => bundle::may_reach(&self.evaluate(asked)),
        }
    }

    /// Whether some entry of the agent's policies has an `egress` of its own.
    pub fn lists_hosts_by_entry(&self, asked: Asked<'_>) -> bool {
        let mut entries = native::policies_of(&self.tables, asked).into_iter().flat_map(|policy| &policy.entries);
        entries.any(|entry| entry.egress.is_some())
    }

    /// Whether the agent could ever be allowed a call like this, whatever its parameters and environment turn out to be, if only by
    /// a human: some entry is for it, and nothing forbids it flatly. For showing an agent what it may use, never for a decision.
    pub fn may_call(&self, asked: Asked<'_>) -> bool {
        let enforced = |finding: &&Finding| finding.mode == Mode::Enforce;
        let evaluation = self.evaluate(asked);
        let forbids = |finding: &Finding| match finding.reason {
            Reason::NoPolicy | Reason::NoEntry | Reason::EngineFailed => true,
            Reason::DenyCondition => native::denies_flatly(&self.tables, asked),
            _ => false,
        };
        !evaluation.findings.iter().filter(enforced).any(forbids)
    }

    /// The rate limits that apply to a call: those of the agent's policies, and those of the entries that are for it.
    pub fn rates(&self, asked: Asked<'_>) -> Vec<RateLimit> {
        let agent = &asked.agent.id;
        let mut limits = Vec::new();
        for policy in native::policies_of(&self.tables, asked) {
            let mut add = |rate: Option<tables::Rate>, entry: &str| {
                limits.extend(rate.map(|tables::Rate { limit, per_ms, burst }| RateLimit {
                    key: format!("{}|{entry}|{agent}", policy.id),
                    policy: policy.id.clone(),
                    limit,
                    per_ms,
                    burst,
                    mode: policy.mode,
                }));
            };
            add(policy.rate, "");
            for (index, entry) in policy.entries.iter().enumerate() {
                if entry.rate.is_some() && native::applies(policy, entry, asked.call) {
                    add(entry.rate, &index.to_string());
                }
            }
        }
        limits
    }

    /// Whether the policies look at what an agent has done before; if not, nothing of it has to be fetched or kept.
    pub fn uses_sessions(&self) -> bool {
        self.tables.remembers || self.tables.counts_all
    }

    /// What the call leaves in its agent's session once it is admitted: the labels of all entries that are for it, unless
    /// their condition is false, and the counts that some condition asks for. `None` when the policies use no sessions.
    pub fn session_marks(&self, asked: Asked<'_>) -> Option<Marks> {
        self.uses_sessions().then(|| native::marks(&self.tables, asked))
    }

    /// The mode that decides for an agent: that of its enforcing policies, if it has any; the gateway's, if it has none at all.
    pub fn acting_mode(&self, asked: Asked<'_>) -> Mode {
        native::mode_of(&self.tables, asked)
    }

    /// The parameters that a rule of some entry for this call is on. A path declares nothing: what else is in its mapping,
    /// nobody has thought about.
    pub fn declared(&self, asked: Asked<'_>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for policy in native::policies_of(&self.tables, asked) {
            for entry in policy.entries.iter().filter(|entry| native::applies(policy, entry, asked.call)) {
                names.extend(entry.declares().map(str::to_owned));
            }
        }
        names
    }

    /// The ids of the policies in shadow mode that are for the agent, and of the custom modules, which are for all.
    pub fn observing(&self, asked: Asked<'_>) -> Vec<String> {
        if !self.observes {
            return Vec::new();
        }
        let mine = native::policies_of(&self.tables, asked).into_iter();
        let policies = mine.filter(|policy| policy.mode == Mode::Shadow).map(|policy| policy.id.clone());
        let modules = self.modules().iter().filter(|module| module.mode == Mode::Shadow);
        policies.chain(modules.map(|module| module.id.clone())).collect()
    }

    /// The entry that a finding is about, as `policy/entry`; `None` for rules of a whole policy.
    pub fn entry_label(&self, finding: &Finding) -> Option<&str> {
        Some(&self.policy(finding)?.entries.get(finding.entry?)?.label)
    }

    /// Where a policy is written: its file and the place of its document.
    pub fn place(&self, policy: &str) -> Option<(&str, Place)> {
        let policy = self.tables.policies.get(*self.positions.get(policy)?)?;
        Some((&policy.origin.file, policy.origin.place))
    }

    /// Where an entry is written: the index in its policy's `actions`.
    pub fn entry_index(&self, policy: &str, label: &str) -> Option<usize> {
        let policy = self.tables.policies.get(*self.positions.get(policy)?)?;
        policy.entries.iter().position(|entry| entry.label == label)
    }

    /// A finding in words, with limit and actual value.
    pub fn violation(&self, finding: &Finding, asked: Asked<'_>) -> Violation {
        wording::violation(finding, self.policy(finding), asked)
    }

    fn policy(&self, finding: &Finding) -> Option<&tables::Policy> {
        self.tables.policies.get(*self.positions.get(&finding.policy)?)
    }

    /// The input document that the bundle's Rego is asked with (`data.aegis.gate.evaluation`).
    pub fn input(&self, asked: Asked<'_>) -> serde_json::Value {
        rego::input(asked, &self.tables.zones)
    }
}
