//! Findings, facts and the approval at hand → one decision.

use jiff::{Timestamp, ToSpan};
use std::borrow::Cow;

use super::explain::{CallSummary, Explanation, Verdict, guidance};
use super::redact::{Redacted, redact};
use super::undeclared;
use super::{Ask, Decision, Denial, Facts, Observed, Permit};
use crate::agent::Agent;
use crate::approval::{Request, State};
use crate::audit::Resolution;
use crate::budget::{BudgetLimit, Charge, Cost, Spend};
use crate::call::{Environment, ToolCall};
use crate::policy::{Asked, Evaluation, Finding, FindingEffect, Mode, PolicySet, Reason};
use crate::problem::{Code, Violation};
use crate::sanitize::{Redaction, shown};
use crate::session::Marks;
use crate::shadow::{Broken, Judged, Opinion, Watch};

/// Decides one call. Pure and total: equal arguments give an equal decision, and there is no way out but a decision.
///
/// Deny wins over approval, approval over allow; every rule that isn't kept is reported. An approval at hand counts only if
/// it is this agent's, for exactly this call, still good at `facts.now`, and given by all whom the policies ask now; it lifts what asks, never what denies.
pub fn decide(policies: &PolicySet, agent: &Agent, mut call: ToolCall, facts: &Facts<'_>) -> Decision {
    let asked = Asked { agent, call: &call, now: facts.now, session: &facts.session };
    let evaluation = policies.evaluate(asked);
    let engines_differ =
        facts.cross_check && differ(&evaluation, &policies.evaluate_with(policies.other_engine(), asked));

    let marks = policies.session_marks(asked);
    let observed_by = policies.observing(asked);
    let (rules, redactions) = Rules::of(policies, &evaluation, agent, &mut call, facts, engines_differ);
    let judged = rules.judged();
    let (would, enforced) = (judged.would, judged.decision);
    let base = Explanation {
        decision_id: facts.decision_id.clone(),
        at: facts.now,
        trace_id: facts.trace_id.clone(),
        via: facts.via.map(Cow::Borrowed),
        decision: enforced,
        would_decision: (would != enforced).then_some(would),
        mode: if would == enforced { rules.mode(policies.mode()) } else { Mode::Shadow },
        code: None,
        reason: rules.reason(),
        detail: String::new(),
        guidance: String::new(),
        agent: Some(agent.clone()),
        call: Some(CallSummary::of(&call)),
        policy_version: policies.version().to_owned(),
        matched: evaluation.matched.clone(),
        violations: rules.violations(),
        redactions,
        approval: None,
        retry_after: None,
        resets_at: None,
        engines_differ,
        resolved: facts.resolved.clone(),
        observed_by,
        candidate: None,
        watch: Watch { judged, difference: Vec::new() },
        engine_failures: evaluation.failures.clone(),
    };
    let charges = facts.spends.iter().filter_map(|spend| spend.charge(facts.now)).collect();
    match enforced {
        Verdict::Deny => deny(&rules, base),
        Verdict::ApprovalNeeded => ask(policies, agent, call, facts, &evaluation, base, (charges, marks)),
        Verdict::Sanitize if would == Verdict::Sanitize => {
            Decision::Sanitize(Permit { call, explanation: base, spends: None, charges, marks })
        }
        Verdict::Allow if would == Verdict::Allow => {
            Decision::Allow(Permit { call, explanation: base, spends: None, charges, marks })
        }
        Verdict::Sanitize | Verdict::Allow => Decision::Observe(Observed { call, explanation: base, charges, marks }),
    }
}

/// What a candidate makes of the same call, given the same facts (but rates and budgets of its own). Pure and total; nothing is done on it.
///
/// The gateway's guards are part of `facts`; those that are only asked where a policy lets the agent name a host (private
/// addresses) were asked by the policies in force.
pub fn opinion(candidate: &PolicySet, agent: &Agent, call: &ToolCall, facts: &Facts<'_>) -> Opinion {
    let asked = Asked { agent, call, now: facts.now, session: &facts.session };
    let evaluation = candidate.evaluate(asked);
    // Redacted as it would be: a copy, since the call itself is the policies' in force.
    let (rules, _) = Rules::of(candidate, &evaluation, agent, &mut call.clone(), facts, false);
    Opinion {
        version: candidate.version().to_owned(),
        judged: rules.judged(),
        reason: rules.reason(),
        failed: evaluation.findings.iter().any(|finding| finding.reason == Reason::EngineFailed),
        matched: evaluation.matched,
    }
}

/// Two engines that both failed have nothing to disagree about: each has denied, and said why.
pub(super) fn differ(one: &Evaluation, other: &Evaluation) -> bool {
    one != other && (one.failures.is_empty() || other.failures.is_empty())
}

/// Rules that no policy can waive.
fn gateway_rules(call: &ToolCall, facts: &Facts<'_>, engines_differ: bool) -> Vec<Violation> {
    let mut violations = facts.guards.clone();
    let Environment { name, contradicted_by } = &call.environment;
    if let Some(claimed) = contradicted_by {
        let message = format!("the call says its environment is {claimed:?}, but its target is in {name:?}");
        violations.push(Violation::of_gateway("environment_mismatch", "not_allowed", message));
    }
    if engines_differ {
        let message = "the two policy engines disagree about this call; the operator has been told";
        violations.push(Violation::of_gateway("engine_check", "engines_differ", message));
    }
    violations
}

fn deny(rules: &Rules, base: Explanation) -> Decision {
    let code = rules.denial();
    let explanation = Explanation {
        decision: Verdict::Deny,
        code: Some(code),
        detail: unresolved(rules.detail(FindingEffect::Deny), &base.resolved),
        guidance: rules.guidance(code),
        retry_after: if code == Code::RateLimited { rules.retry_after } else { None },
        resets_at: if code == Code::BudgetExceeded { rules.resets_at } else { None },
        ..base
    };
    Decision::Deny(Denial { explanation })
}

/// A refusal's words, and what could not be learned from the tool: the refusal may come of that.
fn unresolved(detail: String, resolved: &[Resolution]) -> String {
    let missing = |one: &Resolution| {
        let what = if one.names.is_empty() { "what the call would make".to_owned() } else { one.names.join(", ") };
        one.failed.as_ref().map(|why| format!("{what} is not known: {why}"))
    };
    std::iter::once(detail).chain(resolved.iter().filter_map(missing)).collect::<Vec<_>>().join("; ")
}

/// The rules ask for a human: is there an answer already?
fn ask(
    policies: &PolicySet,
    agent: &Agent,
    call: ToolCall,
    facts: &Facts<'_>,
    evaluation: &Evaluation,
    base: Explanation,
    (charges, marks): (Vec<Charge>, Option<Marks>),
) -> Decision {
    let refuse = |base: Explanation, code: Code, reason: &str, detail: String| {
        Decision::Deny(Denial { explanation: base.refused(code, reason, detail) })
    };
    let Some(digest) = call.digest().map(|digest| digest.to_string()) else {
        let detail =
            "a human would have to approve this call, but its body was not read: it is too large, or didn't come whole"
                .to_owned();
        return refuse(base, Code::PolicyViolation, "approval: body_unread", detail);
    };
    let at_hand = facts
        .approval
        .filter(|approval| approval.request.agent.id == agent.id && approval.request.call_digest == digest);
    let state = at_hand.map(|approval| {
        let after = crate::approval::apply(approval, &crate::approval::Event::Tick, facts.now);
        (approval, after.map_or(approval.state, |after| after.state))
    });
    let asking: Vec<Finding> = evaluation.findings.iter().filter(|f| f.effect == FindingEffect::Ask).cloned().collect();
    let terms = policies.approval_terms(&asking);
    match state {
        Some((approval, State::Approved)) if approval.suffices(&terms.requirements) => {
            let mut info = approval.info(None);
            info.status = State::Approved.as_str().to_owned();
            let decision = if base.redactions.is_empty() { Verdict::Allow } else { Verdict::Sanitize };
            let reason = format!("approved: {}", base.reason);
            let explanation = Explanation { decision, approval: Some(info), reason, ..base };
            let permit = Permit { call, explanation, spends: Some(approval.id.clone()), charges, marks };
            if decision == Verdict::Sanitize { Decision::Sanitize(permit) } else { Decision::Allow(permit) }
        }
        Some((approval, state @ (State::Rejected | State::Cancelled))) if facts.now < approval.request.expires_at => {
            let (code, word) = match state {
                State::Rejected => (Code::ApprovalRejected, "rejected"),
                _ => (Code::ApprovalCancelled, "cancelled"),
            };
            let who = approval.decided_by.as_deref().unwrap_or("an operator");
            let comment = approval.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
            let base = Explanation { approval: Some(approval.info(None)), ..base };
            refuse(base, code, &format!("approval: {word}"), format!("{who} {word} this call{comment}"))
        }
        Some((approval, state @ (State::Expired | State::Lapsed))) if !approval.told => {
            let mut info = approval.info(None);
            info.status = state.as_str().to_owned();
            let base = Explanation { approval: Some(info), ..base };
            let detail = match state {
                State::Expired => "nobody decided about this call in time",
                _ => "this call was approved, but not repeated in time",
            };
            refuse(base, Code::ApprovalExpired, &format!("approval: {}", state.as_str()), detail.to_owned())
        }
        _ => {
            let (tool, action) = (shown::owned(call.tool), shown::owned(call.action));
            let env = shown::owned(call.environment.name);
            let detail = format!(
                "{action} of {tool} in {env} needs a human's approval: {}",
                base.violations.iter().map(|v| v.message.as_str()).collect::<Vec<_>>().join("; ")
            );
            let request = Request {
                agent: agent.clone(),
                tool,
                action,
                env,
                target: call.target.into_iter().map(|(name, place)| (name, shown::owned(place))).collect(),
                params: shown::params(call.params),
                call_digest: digest,
                violations: base.violations.clone(),
                requirements: terms.requirements,
                policy_version: base.policy_version.clone(),
                decision_id: base.decision_id.clone(),
                requested_at: facts.now,
                expires_at: facts.now.saturating_add(terms.ttl_s.seconds()).unwrap_or(facts.now),
            };
            let explanation = Explanation {
                code: Some(Code::ApprovalNeeded),
                detail,
                guidance: guidance(Code::ApprovalNeeded).to_owned(),
                retry_after: Some(5),
                ..base
            };
            Decision::ApprovalNeeded(Ask { explanation, request })
        }
    }
}

/// The rules that a call doesn't keep, in report order.
#[derive(Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
    retry_after: Option<u64>,
    resets_at: Option<Timestamp>,
}

struct Rule {
    entry: String,
    effect: FindingEffect,
    mode: Mode,
    /// What is refused where nothing else is wrong.
    code: Code,
    violation: Violation,
}

impl Rules {
    /// Everything that isn't kept: what the policies found, parameters that nobody declared, what is redacted (in `call`), the
    /// gateway's own rules, rates, budgets.
    fn of(
        policies: &PolicySet,
        evaluation: &Evaluation,
        agent: &Agent,
        call: &mut ToolCall,
        facts: &Facts<'_>,
        engines_differ: bool,
    ) -> (Self, Vec<Redaction>) {
        let mut rules = Self::default();
        let asked = Asked { agent, call, now: facts.now, session: &facts.session };
        let sanitizers = policies.sanitizers(asked);
        for finding in &evaluation.findings {
            let effect = match finding.effect {
                // What is found and taken out is told below.
                FindingEffect::Sanitize if sanitizers.iter().any(|one| one.policy == finding.policy) => continue,
                // Nobody says what to take out.
                FindingEffect::Sanitize => FindingEffect::Deny,
                effect => effect,
            };
            let entry = policies.entry_label(finding).unwrap_or_default();
            rules.add_of(entry, effect, finding.mode, policies.violation(finding, asked));
        }
        for violation in undeclared::check(asked.call, || policies.declared(asked)) {
            rules.add(FindingEffect::Deny, policies.acting_mode(asked), violation);
        }
        let plain = !policies.redacted_answers(asked).is_empty();
        let redacted = redact(call, sanitizers, plain);
        rules.redacted(&redacted);
        for violation in gateway_rules(call, facts, engines_differ) {
            rules.add(FindingEffect::Deny, Mode::Enforce, violation);
        }
        for over in &facts.over_rate {
            rules.rate(over.mode(), over.retry_after, &over.limit.policy, over.limit.limit, over.limit.per_ms);
        }
        for spend in facts.spends.iter().filter(|spend| !spend.fits()) {
            rules.budget(spend, facts.now);
        }
        let at = |one: Redaction| Redaction { path: shown::owned(one.path), ..one };
        (rules, redacted.redactions.into_iter().map(at).collect())
    }

    /// Only these of what the policies found, and the gateway's own rules.
    pub(super) fn about(
        policies: &PolicySet,
        found: &[&Finding],
        asked: Asked<'_>,
        facts: &Facts<'_>,
        engines_differ: bool,
    ) -> Self {
        let mut rules = Self::default();
        for finding in found {
            rules.add(finding.effect, finding.mode, policies.violation(finding, asked));
        }
        for violation in gateway_rules(asked.call, facts, engines_differ) {
            rules.add(FindingEffect::Deny, Mode::Enforce, violation);
        }
        rules
    }

    fn add(&mut self, effect: FindingEffect, mode: Mode, violation: Violation) {
        self.add_of("", effect, mode, violation);
    }

    /// The same for a rule of an entry.
    fn add_of(&mut self, entry: &str, effect: FindingEffect, mode: Mode, violation: Violation) {
        let entry = entry.to_owned();
        self.list.push(Rule { entry, effect, mode, code: Code::PolicyViolation, violation: violation.shown() });
    }

    pub(super) fn judged(&self) -> Judged {
        let broken = |Rule { entry, effect, mode, violation, .. }: &Rule| Broken {
            entry: entry.clone(),
            effect: *effect,
            mode: *mode,
            violation: violation.clone(),
        };
        Judged {
            decision: self.verdict(|mode| mode == Mode::Enforce),
            would: self.verdict(|_| true),
            broken: self.list.iter().map(broken).collect(),
        }
    }

    fn rate(&mut self, mode: Mode, retry_after: u64, policy: &str, limit: u32, per_ms: u64) {
        let window = match per_ms {
            1000 => "second".to_owned(),
            60_000 => "minute".to_owned(),
            3_600_000 => "hour".to_owned(),
            ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
            ms => format!("{ms} ms"),
        };
        let violation = Violation {
            rule: "rate".to_owned(),
            policy: policy.to_owned(),
            reason: "above_maximum".to_owned(),
            param: None,
            limit: Some(limit.into()),
            actual: None,
            message: format!("more than {limit} calls per {window}"),
        };
        self.retry_after = self.retry_after.max(Some(retry_after));
        let entry = String::new();
        self.list.push(Rule { entry, effect: FindingEffect::Deny, mode, code: Code::RateLimited, violation });
    }

    /// What was taken out of the call, would be, or can't be.
    fn redacted(&mut self, redacted: &Redacted) {
        let Redacted { done, watched, impossible, .. } = redacted;
        done.iter().for_each(|one| self.add(FindingEffect::Sanitize, Mode::Enforce, one.clone()));
        watched.iter().for_each(|one| self.add(FindingEffect::Sanitize, Mode::Shadow, one.clone()));
        impossible.iter().for_each(|one| self.add(FindingEffect::Deny, Mode::Enforce, one.clone()));
    }

    /// A budget that the call doesn't fit into.
    fn budget(&mut self, spend: &Spend, now: Timestamp) {
        let Spend { limit: BudgetLimit { policy, rule, limit, unit, window, mode, cost, .. }, spent } = spend;
        let most = format!("{rule} {} a {}", unit.show(*limit), window.noun());
        let (reason, param, message) = match cost {
            Cost::Known(cost) => {
                let spent = unit.show(*spent);
                ("above_budget", None, format!("{most}: {spent} spent, and this call takes {}", unit.show(*cost)))
            }
            Cost::Unknown { param } => {
                let message =
                    format!("{most}: the call doesn't say what it takes, {param:?} is missing or can't be counted");
                ("cost_unknown", Some(param.clone()), message)
            }
        };
        let violation = Violation {
            rule: rule.clone(),
            policy: policy.clone(),
            reason: reason.to_owned(),
            param,
            limit: Some(unit.show(*limit).to_string().into()),
            actual: None,
            message,
        };
        // What never fits won't fit in the next window either.
        let code = match cost {
            Cost::Known(cost) if cost <= limit => {
                self.resets_at = self.resets_at.max(Some(window.around(now).1));
                Code::BudgetExceeded
            }
            Cost::Known(_) => Code::BudgetExceeded,
            Cost::Unknown { .. } => Code::PolicyViolation,
        };
        self.list.push(Rule { entry: String::new(), effect: FindingEffect::Deny, mode: *mode, code, violation });
    }

    fn verdict(&self, counts: impl Fn(Mode) -> bool) -> Verdict {
        let strictest = self.list.iter().filter(|rule| counts(rule.mode)).map(|rule| rule.effect).max();
        match strictest {
            None => Verdict::Allow,
            Some(FindingEffect::Sanitize) => Verdict::Sanitize,
            Some(FindingEffect::Ask) => Verdict::ApprovalNeeded,
            Some(FindingEffect::Deny) => Verdict::Deny,
        }
    }

    /// The mode of what was found; the gateway's when nothing was.
    fn mode(&self, default: Mode) -> Mode {
        self.list.iter().map(|rule| rule.mode).min().unwrap_or(default)
    }

    /// The code of a refusal: the gravest of what is enforced.
    fn denial(&self) -> Code {
        let denied = |rule: &&Rule| rule.mode == Mode::Enforce && rule.effect == FindingEffect::Deny;
        let codes: Vec<Code> = self.list.iter().filter(denied).map(|rule| rule.code).collect();
        let gravest = [Code::PolicyViolation, Code::BudgetExceeded, Code::RateLimited];
        gravest.into_iter().find(|code| codes.contains(code)).unwrap_or(Code::PolicyViolation)
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.list.iter().map(|rule| rule.violation.clone()).collect()
    }

    pub(super) fn reason(&self) -> String {
        if self.list.is_empty() {
            return "allowed".to_owned();
        }
        self.list
            .iter()
            .map(|rule| format!("{}: {}", rule.violation.rule, rule.violation.reason))
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub(super) fn detail(&self, effect: FindingEffect) -> String {
        let messages = self.list.iter().filter(|rule| rule.effect == effect && rule.mode == Mode::Enforce);
        messages.map(|rule| rule.violation.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    fn guidance(&self, code: Code) -> String {
        let maximum = self
            .list
            .iter()
            .map(|rule| &rule.violation)
            .find(|v| v.rule.starts_with("max_") && v.reason == "above_maximum");
        match (code, maximum) {
            (Code::PolicyViolation, Some(Violation { param: Some(param), limit: Some(limit), .. })) => {
                let most = match limit.as_str() {
                    Some(amount) => format!("{param} {amount} or less"),
                    None if param.ends_with('s') => format!("{limit} {param} or fewer"),
                    None => format!("{param} {limit} or less"),
                };
                format!("Ask for {most}, or ask a human to change the policy.")
            }
            _ => guidance(code).to_owned(),
        }
    }
}
