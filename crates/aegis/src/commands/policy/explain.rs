//! `aegis policy explain`: how one call would be decided, and by which rules.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_core::agent::Agent;
use aegis_core::budget::Spend;
use aegis_core::call::ToolCall;
use aegis_core::decide::{Explanation, Facts, decide};
use aegis_core::describe::Catalogue;
use aegis_core::document::{self, Fields};
use aegis_core::policy::{Asked, Exercised, PolicySet, Rule};
use aegis_core::session;
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::json;

use super::written::{WrittenCall, texts};
use crate::cli::{ExplainArgs, Global};
use crate::commands::{print, read_input, tools};
use crate::config::Config;
use crate::load;
use crate::outcome::invalid;

pub(super) fn run(args: &ExplainArgs, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let (catalogue, policies) = load::all(&config).map_err(invalid)?;
    let (agent, call) = match (&args.call, &args.request, &args.agent) {
        (Some(path), _, _) => read(path, &catalogue)?,
        (None, Some(path), Some(name)) => {
            let agent = Agent { groups: args.groups.clone(), ..Agent::named(name) };
            (agent, tools::described(&catalogue, &read_input(path)?, &args.route)?)
        }
        _ => bail!("name a file with a described call, or --request FILE and --agent NAME"),
    };
    let now = Timestamp::now();
    let asked = Asked { agent: &agent, call: &call, now, session: &session::EMPTY };
    // As on a new day: what was spent is the store's to know, what a call costs is not.
    let spends: Vec<Spend> = policies.budgets(asked).into_iter().map(|limit| Spend { limit, spent: 0 }).collect();
    let rules = rules(&policies, &policies.exercised(asked, &policies.evaluate(asked), &spends));
    let facts = Facts { cross_check: true, spends, ..Facts::new(now, "dec_explain", policies.version()) };
    let decision = decide(&policies, &agent, call, &facts);
    let explanation = super::test_cases::explanation(&decision);
    let mut value = serde_json::to_value(&explanation)?;
    if let Some(keys) = value.as_object_mut() {
        keys.insert("rules".to_owned(), rules.iter().map(|(rule, kept)| json!({"rule": rule, "kept": kept})).collect());
    }
    print(global, &value, |_| text(&explanation, &rules))
}

/// A call that is written down, and who asks.
fn read(path: &Path, catalogue: &Catalogue) -> Result<(Agent, ToolCall)> {
    let file = path.display().to_string();
    let text = String::from_utf8(read_input(path)?).with_context(|| format!("{file} is not text"))?;
    let documents = document::parse(&file, &text).map_err(|error| invalid(vec![error]))?;
    let [node] = documents.as_slice() else { bail!("{file} is not one described call") };
    let mut errors = Vec::new();
    let written = Fields::of(&file, "", node, &mut errors).map(|mut fields| {
        let agent = fields.required_text("agent").unwrap_or_default();
        let agent = Agent { groups: texts(&mut fields, "groups"), ..Agent::named(agent) };
        let call = WrittenCall::read(&mut fields);
        if !call.says_what() {
            fields.error_at("", node.place, "a call is `tool` and `action`, or a `destination`", None);
        }
        fields.finish();
        (agent, call)
    });
    match written {
        Some((agent, call)) if errors.is_empty() => Ok((agent, call.describe(catalogue)?)),
        _ => Err(invalid(errors)),
    }
}

/// The rules that the call was judged by, each with whether it keeps it, in the order of the files.
fn rules(policies: &PolicySet, exercised: &[Exercised]) -> Vec<(Rule, bool)> {
    let kept: BTreeMap<&str, bool> = exercised.iter().map(|one| (one.id.as_str(), one.kept)).collect();
    let all = policies.rules().into_iter();
    all.filter_map(|rule| kept.get(rule.id.as_str()).copied().map(|kept| (rule, kept))).collect()
}

fn text(explanation: &Explanation, rules: &[(Rule, bool)]) -> String {
    let mut text = format!("{}: {}\n", explanation.decision.as_str(), explanation.detail);
    for violation in &explanation.violations {
        // What no policy said is nobody's: default deny.
        let of = if violation.policy.is_empty() { String::new() } else { format!(" ({})", violation.policy) };
        text.push_str(&format!("  {}{of}: {}\n", violation.rule, violation.message));
    }
    explanation.engine_failures.iter().for_each(|why| text.push_str(&format!("  no answer from {why}\n")));
    text.push_str(if rules.is_empty() { "no entry applies\n" } else { "rules that it was judged by:\n" });
    for (rule, kept) in rules {
        let Rule { id, file, place, .. } = rule;
        let word = match (id.strip_suffix("#name"), kept) {
            (Some(_), _) => "applies",
            (None, true) => "kept",
            (None, false) => "broken",
        };
        let id = id.strip_suffix("#name").unwrap_or(id);
        text.push_str(&format!("  {word:8} {id}  {file}:{}\n", place.line));
    }
    format!("{text}policy version: {}\n", explanation.policy_version)
}
