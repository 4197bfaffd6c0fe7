//! Entries that can't apply, or say nothing new.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::tables::{Entry, Name, Policy, has_tool};
use super::at;
use crate::document::{Diagnostic, Kind};

pub(super) const DUPLICATE: Kind = Kind { name: "duplicate-entry", summary: "An entry says the same as another one." };
pub(super) const NEVER_APPLIES: Kind =
    Kind { name: "entry-never-applies", summary: "An entry's name and tools exclude each other." };

/// Entries whose name, tools and policy's tools have no tool in common.
pub(super) fn never_applying(policy: &Policy) -> impl Iterator<Item = Diagnostic> {
    policy.entries.iter().filter_map(|entry| {
        let listed = entry.tools.iter().chain(&policy.tools).flatten();
        let lets = |tool: &str| has_tool(policy.tools.as_ref(), tool) && has_tool(entry.tools.as_ref(), tool);
        let possible = match &entry.name {
            Name::Exact { tool, .. } => lets(tool),
            _ if entry.tools.is_none() && policy.tools.is_none() => true,
            name => { listed }.any(|tool| lets(tool) && name.may_be_of(tool)),
        };
        // An empty list allows nothing, which is said where it stands.
        let empty = [&entry.tools, &policy.tools].into_iter().flatten().any(|tools| tools.is_empty());
        if possible || empty {
            return None;
        }
        let (key, where_else) = match &entry.tools {
            Some(_) if policy.tools.is_some() => ("tools", "the entry's name, its `tools` and the policy's `tools`"),
            Some(_) => ("tools", "the entry's name and its `tools`"),
            None => ("name", "the entry's name and the policy's `tools`"),
        };
        let message = format!("the entry is for no call: {where_else} have no tool in common");
        Some(at(&NEVER_APPLIES, &entry.origin, key, message))
    })
}

/// Entries that are equal to an earlier one for the same agents in the same mode.
pub(super) fn duplicates(policies: &[Policy]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<String, &Entry> = BTreeMap::new();
    let mut found = Vec::new();
    for policy in policies {
        for entry in &policy.entries {
            let Some(key) = meaning(policy, entry) else { continue };
            let Some(earlier) = first.get(&key) else {
                first.insert(key, entry);
                continue;
            };
            let origin = &earlier.origin;
            let message = format!("the entry says the same as the one at {}:{}", origin.file, origin.place.line);
            found.push(at(&DUPLICATE, &entry.origin, "name", message).suggest(Some("remove one of them")));
        }
    }
    found
}

/// All that an entry means, as text: whom it is for, and what is compiled of it, without its label.
fn meaning(policy: &Policy, entry: &Entry) -> Option<String> {
    let mut compiled = serde_json::to_value(entry).ok()?;
    if let Value::Object(keys) = &mut compiled {
        keys.remove("label");
    }
    let whom = (&policy.whom, policy.mode, &policy.tools);
    serde_json::to_string(&(whom, compiled)).ok()
}
