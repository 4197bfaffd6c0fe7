//! Decided calls to put before a store: made by the real `decide`, since nothing else can make them.
//!
//! Shared by the tests inside the crate and those outside of it.

use std::collections::BTreeMap;

use aegis_core::agent::Agent;
use aegis_core::approval::Approval;
use aegis_core::budget::Spend;
use aegis_core::call::{Companion, Effect, Environment, Payload, Presence, Shape, ToolCall};
use aegis_core::decide::{Ask, Decision, Denial, Facts, Passage, decide};
use aegis_core::policy::{Options, PolicySet, Source};
use aegis_core::problem::Code;
use jiff::Timestamp;

pub(crate) const AGENT: &str = "deploy-manager";

const POLICY: &str = "
agent: deploy-manager
actions:
  - name: deploy
    allowed_environments: [staging]
    approval_needed: env == \"production\"
    max_replicas: 1000000
";

pub(crate) fn policies() -> PolicySet {
    policies_with("")
}

/// The same, with one more key in its entry.
pub(crate) fn policies_with(key: &str) -> PolicySet {
    let source = Source { file: "policy.yaml".into(), text: format!("{POLICY}    {key}\n") };
    PolicySet::load(&[source], Options::default()).expect("the policy is good")
}

fn scale(env: &str, replicas: u64) -> ToolCall {
    ToolCall {
        tool: "kubernetes".into(),
        action: "scale".into(),
        classes: ["deploy", "scale"].map(String::from).into(),
        effect: Effect::Write,
        environment: Environment::named(env),
        target: BTreeMap::from([("namespace".into(), "web".into())]),
        params: serde_json::Map::from_iter([("replicas".to_owned(), replicas.into())]),
        shape: Shape::Defined(BTreeMap::from([("replicas".into(), Presence::Required)])),
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: aegis_core::cost::Metering::default(),
        payload: Payload::Caller,
    }
}

fn facts<'a>(decision_id: &str, approval: Option<&'a Approval>) -> Facts<'a> {
    Facts { approval, ..Facts::new(Timestamp::now(), decision_id, "pol_test") }
}

/// The agent, with a token.
pub(crate) fn agent() -> Agent {
    Agent { token_id: Some("jti-1".into()), ..Agent::named(AGENT) }
}

/// A call that staging's policy lets through.
pub(crate) fn permit(decision_id: &str) -> Passage {
    permit_under(&policies(), &agent(), decision_id)
}

/// The same call by another agent under other policies, which let it through.
pub(crate) fn permit_under(policies: &PolicySet, agent: &Agent, decision_id: &str) -> Passage {
    passage(decide(policies, agent, scale("staging", 3), &facts(decision_id, None)))
}

/// The same call, which takes something out of budgets.
pub(crate) fn spending(decision_id: &str, spends: Vec<Spend>) -> Decision {
    let facts = Facts { spends, ..facts(decision_id, None) };
    decide(&policies(), &agent(), scale("staging", 3), &facts)
}

/// A call to production with `replicas`, which needs a human's yes, under the approval at hand.
pub(crate) fn in_production(
    policies: &PolicySet,
    decision_id: &str,
    replicas: u64,
    approval: Option<&Approval>,
) -> Decision {
    decide(policies, &agent(), scale("production", replicas), &facts(decision_id, approval))
}

pub(crate) fn passage(decision: Decision) -> Passage {
    match decision {
        Decision::Allow(permit) => Passage::Permit(permit),
        other => panic!("not allowed: {other:?}"),
    }
}

pub(crate) fn asking(decision: Decision) -> Ask {
    match decision {
        Decision::ApprovalNeeded(ask) => ask,
        other => panic!("asks nobody: {other:?}"),
    }
}

/// A request that could not be read.
pub(crate) fn unreadable(decision_id: &str) -> Denial {
    let detail = "the raw value hunter2 can't be read".to_owned();
    Denial::unread(&facts(decision_id, None), Some(&agent()), Code::BadRequest, "framing: two_hosts", detail)
}

/// What shadow mode makes of a call in `env` with `replicas`, under a maximum of 50 in staging.
pub(crate) fn observed(decision_id: &str, env: &str, replicas: u64) -> Passage {
    match decide(&shadow(), &agent(), scale(env, replicas), &facts(decision_id, None)) {
        Decision::Allow(permit) => Passage::Permit(permit),
        Decision::Observe(observed) => Passage::Observed(observed),
        other => panic!("shadow mode holds nothing back: {other:?}"),
    }
}

/// The same, by the tool's own name of the action.
pub(crate) fn observed_action(decision_id: &str, action: &str) -> Passage {
    let call = ToolCall { action: action.to_owned(), ..scale("staging", 60) };
    passage_of(decide(&shadow(), &agent(), call, &facts(decision_id, None)))
}

fn passage_of(decision: Decision) -> Passage {
    match decision {
        Decision::Observe(observed) => Passage::Observed(observed),
        other => panic!("not only observed: {other:?}"),
    }
}

fn shadow() -> PolicySet {
    let text = POLICY.replace("1000000", "50").replace("agent: deploy-manager", "agent: deploy-manager\nmode: shadow");
    PolicySet::load(&[Source { file: "policy.yaml".into(), text }], Options::default()).expect("the policy is good")
}
