//! The native evaluator: the rules of the [module's documentation](super), over the tables, without I/O or allocation
//! where nothing is found. `rego/gate.rego` says the same in Rego.

mod rules;

pub(super) use rules::{broken, elements, judge};

use super::condition::{Condition, Truth};
use super::egress::EgressPattern;
use super::tables::{Entry, ImageRule, Policy, Shared, Tables, has_tool, is_plain_http};
use super::{Asked, Evaluation, Finding, FindingEffect, Mode, Reason};
use crate::call::{Companion, IMAGES, Presence, Shape, ToolCall};
use crate::session::Marks;

/// Judges a call.
pub(super) fn evaluate(tables: &Tables, asked: Asked<'_>) -> Evaluation {
    let mine = policies_of(tables, asked);
    let mut judge = Judge { asked, matched: Vec::new(), findings: Vec::new() };
    if mine.is_empty() {
        judge.add("", None, "default_deny", Reason::NoPolicy, FindingEffect::Deny, tables.mode);
        return judge.finish();
    }
    let acting = acting_mode(&mine);
    let mut granted = false;
    for policy in &mine {
        granted |= judge.policy(policy) && policy.mode == acting;
        judge.denials(&policy.id, None, &policy.deny, policy.mode);
    }
    if !granted {
        judge.add("", None, "default_deny", Reason::NoEntry, FindingEffect::Deny, acting);
    }
    judge.egress(&mine, acting);
    judge.finish()
}

/// Whether no enforced rule forbids the agent to name the call's destination.
pub(super) fn may_reach(tables: &Tables, asked: Asked<'_>) -> bool {
    let mine = policies_of(tables, asked);
    if mine.is_empty() {
        return tables.mode == Mode::Shadow;
    }
    let mut judge = Judge { asked, matched: Vec::new(), findings: Vec::new() };
    judge.egress(&mine, acting_mode(&mine));
    for policy in &mine {
        for (index, entry) in policy.entries.iter().enumerate().filter(|(_, entry)| applies(policy, entry, asked.call))
        {
            judge.entry_egress(policy, index, entry);
        }
    }
    let forbids = |finding: &Finding| finding.mode == Mode::Enforce && finding.effect == FindingEffect::Deny;
    !judge.findings.iter().any(forbids)
}

/// Whether an enforced condition denies the call, whatever its parameters and environment are.
pub(super) fn denies_flatly(tables: &Tables, asked: Asked<'_>) -> bool {
    let enforced = policies_of(tables, asked).into_iter().filter(|policy| policy.mode == Mode::Enforce);
    enforced.into_iter().any(|policy| {
        let entries = policy.entries.iter().filter(|entry| applies(policy, entry, asked.call));
        let conditions = entries.flat_map(|entry| &entry.deny).chain(&policy.deny);
        conditions.into_iter().any(|condition| condition.in_any_call(None) == Truth::True)
    })
}

/// The mode that decides for the agent.
pub(super) fn mode_of(tables: &Tables, asked: Asked<'_>) -> Mode {
    let mine = policies_of(tables, asked);
    if mine.is_empty() { tables.mode } else { acting_mode(&mine) }
}

/// The policies that are for the agent.
pub(super) fn policies_of<'a>(tables: &'a Tables, asked: Asked<'_>) -> Vec<&'a Policy> {
    tables.of_agent(asked.agent).into_iter().filter_map(|position| tables.policies.get(position)).collect()
}

/// What the call leaves in the session.
pub(super) fn marks(tables: &Tables, asked: Asked<'_>) -> Marks {
    let call = asked.call;
    let mut marks = Marks::default();
    for policy in policies_of(tables, asked) {
        for entry in policy.entries.iter().filter(|entry| applies(policy, entry, call)) {
            let left = entry.labels.iter().filter(|label| label.when.holds(asked) != Truth::False);
            marks.labels.extend(left.map(|label| label.name.clone()));
        }
    }
    let names = [call.action.clone(), format!("{}/{}", call.tool, call.action)];
    let names = names.iter().chain(&call.classes);
    marks.counts.extend(names.filter(|name| tables.counts_all || tables.counted.contains(*name)).cloned());
    marks
}

/// Whether an entry is for the call.
pub(super) fn applies(policy: &Policy, entry: &Entry, call: &ToolCall) -> bool {
    has_tool(policy.tools.as_ref(), &call.tool)
        && has_tool(entry.tools.as_ref(), &call.tool)
        && entry.name.is_for(&call.tool, &call.action, &call.classes)
}

/// Enforcing policies decide; where there are none, the shadow ones.
fn acting_mode(mine: &[&Policy]) -> Mode {
    mine.iter().map(|policy| policy.mode).min().unwrap_or_default()
}

fn lists_destination(egress: Option<&Vec<EgressPattern>>, call: &ToolCall) -> bool {
    match (egress, &call.destination) {
        (Some(allowed), Some(destination)) => allowed.iter().any(|pattern| pattern.lists(destination)),
        _ => false,
    }
}

struct Judge<'a> {
    asked: Asked<'a>,
    matched: Vec<String>,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn finish(mut self) -> Evaluation {
        self.matched.sort_unstable();
        self.matched.dedup();
        self.findings.sort_unstable();
        self.findings.dedup();
        Evaluation { matched: self.matched, findings: self.findings, failures: Vec::new() }
    }

    fn add(
        &mut self,
        policy: &str,
        entry: Option<usize>,
        rule: &str,
        reason: Reason,
        effect: FindingEffect,
        mode: Mode,
    ) {
        let (policy, rule) = (policy.to_owned(), rule.to_owned());
        self.findings.push(Finding { policy, entry, rule, reason, effect, mode, said: None });
    }

    /// Applies a policy's entries; whether it grants the call.
    fn policy(&mut self, policy: &Policy) -> bool {
        let call = self.asked.call;
        let mut granted = is_plain_http(&call.tool, &call.action)
            && has_tool(policy.tools.as_ref(), &call.tool)
            && lists_destination(policy.egress.as_ref(), call);
        for (index, entry) in policy.entries.iter().enumerate() {
            let applies = applies(policy, entry, call);
            if applies {
                self.entry(policy, index, entry);
            }
            if applies || self.comes_with(policy, entry) {
                granted = true;
                self.matched.push(entry.label.clone());
            }
        }
        granted
    }

    /// Whether an entry's grant brings the call along as a companion read.
    fn comes_with(&self, policy: &Policy, entry: &Entry) -> bool {
        let call = self.asked.call;
        let has = |tool: &str| has_tool(policy.tools.as_ref(), tool) && has_tool(entry.tools.as_ref(), tool);
        if let Companion::OfTools(tools) = &call.companion {
            return tools.iter().any(|tool| has(tool) && entry.name.may_be_of(tool));
        }
        if !has(&call.tool) {
            return false;
        }
        match &call.companion {
            Companion::No | Companion::OfTools(_) => false,
            Companion::OfTool => entry.name.may_be_of(&call.tool),
            Companion::OfActions(actions) => {
                actions.iter().any(|write| entry.name.is_for(&call.tool, &write.action, &write.classes))
                    && (self.environment_is_listed(entry) || self.approval(entry) == Truth::True)
            }
        }
    }

    fn environment_is_listed(&self, entry: &Entry) -> bool {
        entry.environments.as_ref().is_none_or(|listed| listed.contains(&self.asked.call.environment.name))
    }

    fn approval(&self, entry: &Entry) -> Truth {
        entry.approval.as_ref().map_or(Truth::False, |condition| condition.holds(self.asked))
    }

    fn entry(&mut self, policy: &Policy, index: usize, entry: &Entry) {
        let mut found: Vec<(&str, Reason, FindingEffect)> = Vec::new();
        let approval = self.approval(entry);
        match approval {
            Truth::True => found.push(("approval_needed", Reason::ApprovalCondition, FindingEffect::Ask)),
            Truth::Unknown => found.push(("approval_needed", Reason::ConditionUnknown, FindingEffect::Deny)),
            Truth::False => {}
        }
        if approval != Truth::True && !self.environment_is_listed(entry) {
            let rule = "allowed_environments";
            found.push((rule, Reason::NotAllowed, effect(entry, rule, Reason::NotAllowed)));
        }
        for rule in &entry.images {
            let each = |reason| found.push((&rule.rule, reason, effect(entry, &rule.rule, reason)));
            judge_images(rule, self.asked.call, each);
        }
        for rule in &entry.rules {
            let each = |reason| found.push((&rule.rule, reason, effect(entry, &rule.rule, reason)));
            judge(rule, self.asked.call, each);
        }
        if entry.sanitize.as_ref().is_some_and(|sanitize| !sanitize.detect.is_empty()) {
            found.push(("sanitize", Reason::SanitizeRequired, FindingEffect::Sanitize));
        }
        for (rule, reason, effect) in found {
            self.add(&policy.id, Some(index), rule, reason, effect, policy.mode);
        }
        self.denials(&policy.id, Some(index), &entry.deny, policy.mode);
        self.entry_egress(policy, index, entry);
    }

    fn denials(&mut self, policy: &str, entry: Option<usize>, conditions: &[Shared<Condition>], mode: Mode) {
        for condition in conditions {
            let reason = match condition.holds(self.asked) {
                Truth::True => Reason::DenyCondition,
                Truth::Unknown => Reason::ConditionUnknown,
                Truth::False => continue,
            };
            self.add(policy, entry, "deny_if", reason, FindingEffect::Deny, mode);
        }
    }

    /// Where the entry's calls may go, besides where the policy's may.
    fn entry_egress(&mut self, policy: &Policy, index: usize, entry: &Entry) {
        let call = self.asked.call;
        if call.destination.is_some() && entry.egress.is_some() && !lists_destination(entry.egress.as_ref(), call) {
            let effect = effect(entry, "egress", Reason::NotAllowed);
            self.add(&policy.id, Some(index), "egress", Reason::NotAllowed, effect, policy.mode);
        }
    }

    fn egress(&mut self, mine: &[&Policy], acting: Mode) {
        let call = self.asked.call;
        if call.destination.is_none() {
            return;
        }
        for policy in
            mine.iter().filter(|policy| policy.egress.is_some() && !lists_destination(policy.egress.as_ref(), call))
        {
            self.add(&policy.id, None, "egress", Reason::NotAllowed, FindingEffect::Deny, policy.mode);
        }
        let declares = |policy: &&&Policy| {
            policy.egress.is_some()
                || policy.entries.iter().any(|entry| entry.egress.is_some() && applies(policy, entry, call))
        };
        if mine.iter().filter(declares).all(|policy| policy.mode != acting) {
            self.add("", None, "egress", Reason::NotAllowed, FindingEffect::Deny, acting);
        }
    }
}

/// What a broken rule leads to: a human may be asked about a value that could be read.
fn effect(entry: &Entry, rule: &str, reason: Reason) -> FindingEffect {
    let readable = matches!(
        reason,
        Reason::AboveMaximum | Reason::BelowMinimum | Reason::Denied | Reason::NotAllowed | Reason::PatternMismatch
    );
    if readable && entry.asks.contains(rule) { FindingEffect::Ask } else { FindingEffect::Deny }
}

/// Whether an absent parameter breaks a rule on it.
fn is_needed(shape: &Shape, param: &str) -> bool {
    match shape {
        Shape::Open => true,
        Shape::Defined(params) => params.get(param) == Some(&Presence::Required),
    }
}

fn judge_images(rule: &ImageRule, call: &ToolCall, mut each: impl FnMut(Reason)) {
    if call.images.is_empty() && is_needed(&call.shape, IMAGES) {
        each(Reason::Missing);
    }
    for image in &call.images {
        match (&image.repository, &image.digest) {
            (None, _) => each(Reason::WrongType),
            (Some(_), None) => each(Reason::NoDigest),
            (Some(repository), Some(digest)) if rule.lists(digest, repository) => {}
            _ => each(Reason::NotAllowed),
        }
    }
}
