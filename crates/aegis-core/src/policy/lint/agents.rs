//! Whom policies are for.

use super::super::Mode;
use super::super::tables::{Policy, Tables};
use super::{at, whom};
use crate::agent::Agent;
use crate::document::{Diagnostic, Kind};

pub(super) const NOT_ENFORCED: Kind =
    Kind { name: "not-enforced", summary: "Only shadow policies are for an agent, so nothing is refused." };
pub(super) const UNKNOWN_AGENT: Kind =
    Kind { name: "unknown-agent", summary: "No registered agent is one that the policy is for." };

/// The findings of all policies; `registered` are the agents that there are.
pub(super) fn lint(tables: &Tables, registered: Option<&[Agent]>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = tables.policies.iter().filter_map(|policy| not_enforced(tables, policy)).collect();
    if let Some(registered) = registered {
        for (position, policy) in tables.policies.iter().enumerate() {
            if !registered.iter().any(|agent| tables.of_agent(agent).contains(&position)) {
                let message = "no registered agent is one that this policy is for".to_owned();
                let hint = "register it with `aegis agent add`, or correct the name";
                found.push(at(&UNKNOWN_AGENT, &policy.origin, whom(policy), message).suggest(Some(hint)));
            }
        }
    }
    found
}

/// A policy that is set to shadow itself, for agents that no enforcing policy is for: they may do anything.
fn not_enforced(tables: &Tables, policy: &Policy) -> Option<Diagnostic> {
    if tables.mode == Mode::Shadow || policy.mode == Mode::Enforce {
        return None;
    }
    // An agent may be in any group, so an enforcing policy of a group may be for it; a glob may be for any group's member.
    let enforces = |position: &usize| tables.policies.get(*position).is_some_and(|other| other.mode == Mode::Enforce);
    let by_group = tables.groups.values().flatten().any(enforces);
    let by_name = match &policy.whom.agent {
        Some(agent) if !agent.contains('*') => tables.of_agent(&Agent::named(agent.as_str())).iter().any(enforces),
        _ => tables.policies.iter().any(|other| other.mode == Mode::Enforce),
    };
    if by_group || by_name {
        return None;
    }
    let message = "only shadow policies are for these agents: nothing that they do is refused".to_owned();
    let hint = "once `aegis report shadow` shows what you expect, set `mode: enforce`";
    Some(at(&NOT_ENFORCED, &policy.origin, "mode", message).suggest(Some(hint)))
}
