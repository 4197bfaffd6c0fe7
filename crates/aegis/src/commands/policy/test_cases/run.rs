//! One case: decided as the gateway would, and compared with what was expected.

use std::collections::BTreeSet;

use aegis_core::approval::{Approval, State};
use aegis_core::budget::{BudgetLimit, Spend};
use aegis_core::call::{Environment, ToolCall};
use aegis_core::decide::{Ask, Decision, Denial, Explanation, Facts, Verdict, decide};
use aegis_core::describe::{Catalogue, Unreadable};
use aegis_core::policy::{Asked, Exercised, PolicySet};
use aegis_core::problem::Code;
use anyhow::Result;

use super::read::{Case, Expect, What};
use crate::cli::RouteArgs;
use crate::commands::tools;

/// What became of a case.
pub(super) struct Outcome {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) name: String,
    /// What was decided.
    pub(super) actual: Option<Actual>,
    /// What is wrong with it, in words; nothing when it passed.
    pub(super) differences: Vec<String>,
    pub(super) exercised: Vec<Exercised>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Actual {
    pub(super) decision: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) would_decision: Option<Verdict>,
    pub(super) rules: BTreeSet<String>,
    pub(super) reasons: BTreeSet<String>,
    /// What the call leaves in the agent's session.
    pub(super) labels: BTreeSet<String>,
    /// Each violation in a sentence.
    pub(super) messages: Vec<String>,
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs a case.
pub(super) fn run(case: &Case, catalogue: &Catalogue, policies: &PolicySet) -> Outcome {
    let mut outcome = Outcome {
        file: case.file.clone(),
        line: case.place.line,
        name: case.name.clone(),
        actual: None,
        differences: Vec::new(),
        exercised: Vec::new(),
    };
    match decided(case, catalogue, policies) {
        Ok(Judged { explanation, exercised, labels }) => {
            let actual = Actual::of(&explanation, labels);
            outcome.differences = differences(&case.expect, &actual);
            if explanation.engines_differ {
                outcome
                    .differences
                    .push("the native engine and Rego disagree about this call: please report it".to_owned());
            }
            outcome.exercised = exercised;
            outcome.actual = Some(actual);
        }
        Err(error) => outcome.differences.push(format!("{error:#}")),
    }
    outcome
}

/// A decision, and what else the policies say of its call.
struct Judged {
    explanation: Explanation,
    exercised: Vec<Exercised>,
    labels: BTreeSet<String>,
}

fn decided(case: &Case, catalogue: &Catalogue, policies: &PolicySet) -> Result<Judged> {
    let facts = || Facts {
        cross_check: true,
        session: case.session.clone(),
        ..Facts::new(case.now, "dec_test", policies.version())
    };
    let call = match describe(case, catalogue) {
        Ok(call) => call,
        // A request that can't be read is refused by the gateway too; a call that can't be written is a mistake in the case.
        Err(error) => match (error.downcast_ref::<Unreadable>(), &case.what) {
            (Some(unreadable), What::Request { .. }) => {
                let Unreadable { reason, message } = unreadable.clone();
                let denial = Denial::unread(&facts(), Some(&case.agent), Code::BadRequest, &reason, message);
                let explanation = denial.into_explanation();
                return Ok(Judged { explanation, exercised: Vec::new(), labels: BTreeSet::new() });
            }
            _ => return Err(error),
        },
    };
    let asked = Asked { agent: &case.agent, call: &call, now: case.now, session: &case.session };
    let budgets = policies.budgets(asked).into_iter();
    let spends: Vec<Spend> = budgets.map(|limit| Spend { spent: spent(case, &limit), limit }).collect();
    let exercised = policies.exercised(asked, &policies.evaluate(asked), &spends);
    let labels = policies.session_marks(asked).map(|marks| marks.labels).unwrap_or_default();
    let facts = Facts { spends, ..facts() };
    let decision = match decide(policies, &case.agent, call, &facts) {
        Decision::ApprovalNeeded(ask) if case.approved => {
            let approval = approved(&ask, case);
            let facts = Facts { approval: Some(&approval), ..facts };
            decide(policies, &case.agent, describe(case, catalogue)?, &facts)
        }
        decision => decision,
    };
    Ok(Judged { explanation: explanation(&decision), exercised, labels })
}

fn describe(case: &Case, catalogue: &Catalogue) -> Result<ToolCall> {
    match &case.what {
        What::Call(call) => call.clone().describe(catalogue),
        What::Request { raw, tool, cluster, env } => {
            let route = RouteArgs { route_tool: tool.clone(), cluster: cluster.clone() };
            let mut call = tools::described(catalogue, raw, &route)?;
            if let Some(env) = env {
                call.environment = Environment::named(env.as_str());
            }
            Ok(call)
        }
    }
}

/// What was spent of a budget before, in its smallest parts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "read as not negative; saturates, and then it is spent"
)]
fn spent(case: &Case, limit: &BudgetLimit) -> u64 {
    let exact = format!("{}.{}", limit.rule, limit.window.as_str());
    let amount = case.spent.get(&exact).or_else(|| case.spent.get(&limit.rule)).copied().unwrap_or_default();
    (amount * 10f64.powi(i32::from(limit.unit.decimals))).round() as u64
}

/// A human's yes to exactly what is asked.
fn approved(ask: &Ask, case: &Case) -> Approval {
    Approval {
        id: "apr_test".to_owned(),
        request: ask.request().clone(),
        state: State::Approved,
        asked: 1,
        votes: Vec::new(),
        decided_by: Some("a human".to_owned()),
        decided_at: Some(case.now),
        comment: None,
        told: false,
    }
}

pub(in crate::commands::policy) fn explanation(decision: &Decision) -> Explanation {
    match decision {
        Decision::Allow(permit) | Decision::Sanitize(permit) => permit.explanation(),
        Decision::Observe(observed) => observed.explanation(),
        Decision::ApprovalNeeded(ask) => ask.explanation(),
        Decision::Deny(denial) => denial.explanation(),
    }
    .clone()
}

impl Actual {
    fn of(explanation: &Explanation, labels: BTreeSet<String>) -> Self {
        // What isn't let through leaves nothing.
        let passes = matches!(explanation.decision, Verdict::Allow | Verdict::Sanitize);
        let violations = &explanation.violations;
        let mut reasons: BTreeSet<String> = violations.iter().map(|violation| violation.reason.clone()).collect();
        if violations.is_empty() && explanation.decision == Verdict::Deny {
            reasons.insert(explanation.reason.clone());
        }
        let mut messages: Vec<String> = violations.iter().map(|v| format!("{}: {}", v.rule, v.message)).collect();
        if messages.is_empty() && !explanation.detail.is_empty() {
            messages.push(explanation.detail.clone());
        }
        Self {
            decision: explanation.decision,
            would_decision: explanation.would_decision,
            rules: violations.iter().map(|violation| violation.rule.clone()).collect(),
            reasons,
            labels: if passes { labels } else { BTreeSet::new() },
            messages,
        }
    }
}

/// What is other than expected, in words.
fn differences(expect: &Expect, actual: &Actual) -> Vec<String> {
    let mut found = Vec::new();
    if expect.decision != actual.decision {
        found.push(format!("expected {}, got {}", expect.decision.as_str(), actual.decision.as_str()));
    }
    if let Some(would) = expect.would_decision
        && Some(would) != actual.would_decision
    {
        let got = actual.would_decision.map_or("the same as is done", Verdict::as_str);
        found.push(format!("expected that it would {}, got {got}", would.as_str()));
    }
    let sets = [
        ("rules", &expect.rules, &actual.rules),
        ("reasons", &expect.reasons, &actual.reasons),
        ("labels", &expect.labels, &actual.labels),
    ];
    for (what, expected, got) in sets {
        let Some(expected) = expected else { continue };
        let listed = |set: Vec<&String>| set.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let missing: Vec<&String> = expected.difference(got).collect();
        let extra: Vec<&String> = got.difference(expected).collect();
        if !missing.is_empty() {
            found.push(format!("{what} expected and not found: {}", listed(missing)));
        }
        if !extra.is_empty() {
            found.push(format!("{what} found and not expected: {}", listed(extra)));
        }
    }
    found
}
