//! Whether an agent may be connected to a host before anything that it would ask there is known.
//!
//! This is the pre-decision of a connection that Aegis itself answers (an intercepted one): nothing is forwarded on it, so there
//! is no permit, and whatever comes on it is a call of its own with a decision of its own. Judged are the things that no request
//! can change: that some policy is for the agent, and that the policies' `egress` lists the host and port. What an entry asks
//! for is asked of each request.

use super::compose::{Rules, differ};
use super::explain::{CallSummary, Explanation, guidance};
use super::{Denial, Facts, Verdict};
use crate::agent::Agent;
use crate::call::ToolCall;
use crate::policy::{Asked, Finding, FindingEffect, PolicySet, Reason};
use crate::problem::Code;

/// Judges the connection that `call` describes as a tunnel. Pure and total.
///
/// # Errors
/// The denial, with every reason.
pub fn reach(policies: &PolicySet, agent: &Agent, call: &ToolCall, facts: &Facts<'_>) -> Result<(), Box<Denial>> {
    let asked = Asked { agent, call, now: facts.now, session: &facts.session };
    let evaluation = policies.evaluate(asked);
    let engines_differ =
        facts.cross_check && differ(&evaluation, &policies.evaluate_with(policies.other_engine(), asked));
    let by_entry = policies.lists_hosts_by_entry(asked);
    let about_the_host = |finding: &&Finding| match finding.reason {
        Reason::NoPolicy | Reason::EngineFailed => true,
        // Where no policy lists hosts but an entry does, that entry is asked, of each request.
        _ => finding.rule == "egress" && finding.entry.is_none() && !(by_entry && finding.policy.is_empty()),
    };
    let found: Vec<&Finding> = evaluation.findings.iter().filter(about_the_host).collect();
    let rules = Rules::about(policies, &found, asked, facts, engines_differ);
    if rules.judged().decision != Verdict::Deny {
        return Ok(());
    }
    let code = Code::PolicyViolation;
    let refusal = Explanation::refusal(facts, Some(agent.clone()), code, &rules.reason(), String::new());
    let explanation = Explanation {
        detail: rules.detail(FindingEffect::Deny),
        guidance: guidance(code).to_owned(),
        call: Some(CallSummary::of(call)),
        policy_version: policies.version().to_owned(),
        violations: rules.violations(),
        engines_differ,
        engine_failures: evaluation.failures.clone(),
        ..refusal
    };
    Err(Box::new(Denial { explanation }))
}
