//! Findings, facts and the approval at hand → one decision.

use jiff::ToSpan;

use super::explain::{CallSummary, Explanation, Verdict, guidance};
use super::{Ask, Decision, Denial, Facts, Observed, Permit};
use crate::agent::Agent;
use crate::approval::{Request, State};
use crate::call::{Environment, ToolCall};
use crate::policy::{Asked, Evaluation, Finding, FindingEffect, Mode, PolicySet};
use crate::problem::{Code, Violation};

/// Decides one call. Pure and total: equal arguments give an equal decision, and there is no way out but a decision.
///
/// Deny wins over approval, approval over allow; every rule that isn't kept is reported. An approval at hand counts only if
/// it is this agent's, for exactly this call, and still good at `facts.now`; it lifts what asks, never what denies.
pub fn decide(policies: &PolicySet, agent: &Agent, call: ToolCall, facts: &Facts<'_>) -> Decision {
    let asked = Asked { agent, call: &call, now: facts.now, session: &facts.session };
    let evaluation = policies.evaluate(asked);
    let engines_differ = facts.cross_check && policies.evaluate_with(policies.other_engine(), asked) != evaluation;

    let mut rules = Rules::default();
    for finding in &evaluation.findings {
        rules.add(finding.effect, finding.mode, policies.violation(finding, asked));
    }
    for violation in gateway_rules(&call, facts, engines_differ) {
        rules.add(FindingEffect::Deny, Mode::Enforce, violation);
    }
    for over in &facts.over_rate {
        rules.rate(over.mode(), over.retry_after, &over.limit.policy, over.limit.limit, over.limit.per_ms);
    }

    let would = rules.verdict(|_| true);
    let enforced = rules.verdict(|mode| mode == Mode::Enforce);
    let base = Explanation {
        decision_id: facts.decision_id.clone(),
        at: facts.now,
        trace_id: facts.trace_id.clone(),
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
        approval: None,
        retry_after: None,
        engines_differ,
    };
    match enforced {
        Verdict::Deny => deny(&rules, base),
        Verdict::ApprovalNeeded => ask(policies, agent, call, facts, &evaluation, base),
        // Nothing is redacted yet, so what asks for it can't pass.
        Verdict::Sanitize => deny(&rules, base),
        Verdict::Allow if would == Verdict::Allow => Decision::Allow(Permit { call, explanation: base, spends: None }),
        Verdict::Allow => Decision::Observe(Observed { call, explanation: base }),
    }
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
    let code = if rules.only_rate() { Code::RateLimited } else { Code::PolicyViolation };
    let explanation = Explanation {
        decision: Verdict::Deny,
        code: Some(code),
        detail: rules.detail(FindingEffect::Deny),
        guidance: rules.guidance(code),
        retry_after: if code == Code::RateLimited { rules.retry_after } else { None },
        ..base
    };
    Decision::Deny(Denial { explanation })
}

/// The rules ask for a human: is there an answer already?
fn ask(
    policies: &PolicySet,
    agent: &Agent,
    call: ToolCall,
    facts: &Facts<'_>,
    evaluation: &Evaluation,
    base: Explanation,
) -> Decision {
    let refuse = |base: Explanation, code: Code, reason: &str, detail: String| {
        Decision::Deny(Denial { explanation: base.refused(code, reason, detail) })
    };
    let Some(digest) = call.digest().map(|digest| digest.to_string()) else {
        let detail = "a human would have to approve this call, but its body is too large to be read".to_owned();
        return refuse(base, Code::PolicyViolation, "approval: body_unread", detail);
    };
    let at_hand = facts
        .approval
        .filter(|approval| approval.request.agent.id == agent.id && approval.request.call_digest == digest);
    let state = at_hand.map(|approval| {
        let after = crate::approval::apply(approval, &crate::approval::Event::Tick, facts.now);
        (approval, after.map_or(approval.state, |after| after.state))
    });
    match state {
        Some((approval, State::Approved)) => {
            let mut info = approval.info(None);
            info.status = State::Approved.as_str().to_owned();
            let explanation = Explanation {
                decision: Verdict::Allow,
                approval: Some(info),
                reason: format!("approved: {}", base.reason),
                ..base
            };
            Decision::Allow(Permit { call, explanation, spends: Some(approval.id.clone()) })
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
            let asking: Vec<Finding> =
                evaluation.findings.iter().filter(|f| f.effect == FindingEffect::Ask).cloned().collect();
            let detail = format!(
                "{} of {} in {} needs a human's approval: {}",
                call.action,
                call.tool,
                call.environment.name,
                base.violations.iter().map(|v| v.message.as_str()).collect::<Vec<_>>().join("; ")
            );
            let request = Request {
                agent: agent.clone(),
                tool: call.tool,
                action: call.action,
                env: call.environment.name,
                target: call.target,
                params: call.params,
                call_digest: digest,
                violations: base.violations.clone(),
                policy_version: base.policy_version.clone(),
                decision_id: base.decision_id.clone(),
                requested_at: facts.now,
                expires_at: facts
                    .now
                    .saturating_add(policies.approval_terms(&asking).ttl_s.seconds())
                    .unwrap_or(facts.now),
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
struct Rules {
    list: Vec<Rule>,
    retry_after: Option<u64>,
}

struct Rule {
    effect: FindingEffect,
    mode: Mode,
    rate: bool,
    violation: Violation,
}

impl Rules {
    fn add(&mut self, effect: FindingEffect, mode: Mode, violation: Violation) {
        self.list.push(Rule { effect, mode, rate: false, violation });
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
        self.list.push(Rule { effect: FindingEffect::Deny, mode, rate: true, violation });
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

    fn only_rate(&self) -> bool {
        self.list
            .iter()
            .filter(|rule| rule.mode == Mode::Enforce && rule.effect == FindingEffect::Deny)
            .all(|rule| rule.rate)
    }

    fn violations(&self) -> Vec<Violation> {
        self.list.iter().map(|rule| rule.violation.clone()).collect()
    }

    fn reason(&self) -> String {
        if self.list.is_empty() {
            return "allowed".to_owned();
        }
        self.list
            .iter()
            .map(|rule| format!("{}: {}", rule.violation.rule, rule.violation.reason))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn detail(&self, effect: FindingEffect) -> String {
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
