//! `aegis policy explain`: how one call would be decided, and by which rules.

use aegis_core::agent::Agent;
use aegis_core::call::{Effect, Environment, ToolCall};
use aegis_core::decide::{Decision, Facts, decide};
use aegis_core::describe::{Catalogue, canonical_destination};
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::{ExplainArgs, Global};
use crate::commands::{print, read_input, tools};
use crate::config::Config;
use crate::load;
use crate::outcome::invalid;

/// A described call, as a user writes it down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    agent: String,
    #[serde(default)]
    groups: Vec<String>,
    tool: String,
    action: String,
    #[serde(default)]
    classes: Vec<String>,
    env: Option<String>,
    #[serde(default)]
    params: serde_json::Map<String, Value>,
    effect: Option<Effect>,
    destination: Option<Named>,
}

/// A destination that the agent names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    scheme: String,
    host: String,
    port: u16,
}

impl Described {
    /// Who asks what. It is read as a function without a definition: a parameter that a rule needs has to be there.
    fn into_call(self, catalogue: &Catalogue) -> Result<(Agent, ToolCall)> {
        let mut call = catalogue.describe_function(&self.tool, &self.action, self.params);
        call.classes.extend(self.classes);
        if let Some(env) = self.env {
            call.environment = Environment::named(env);
        }
        if let Some(effect) = self.effect {
            call.effect = effect;
        }
        if let Some(named) = self.destination {
            call.destination = Some(canonical_destination(&named.scheme, &named.host, named.port)?);
        }
        Ok((Agent { groups: self.groups, ..Agent::named(self.agent) }, call))
    }
}

pub(super) fn run(args: &ExplainArgs, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let (catalogue, policies) = load::all(&config).map_err(invalid)?;
    let (agent, call) = match (&args.call, &args.request, &args.agent) {
        (Some(path), _, _) => {
            let described: Described = serde_json::from_slice(&read_input(path)?)
                .with_context(|| format!("{} is not a described call", path.display()))?;
            described.into_call(&catalogue)?
        }
        (None, Some(path), Some(name)) => {
            let agent = Agent { groups: args.groups.clone(), ..Agent::named(name) };
            (agent, tools::described(&catalogue, &read_input(path)?, &args.route)?)
        }
        _ => bail!("name a file with a described call, or --request FILE and --agent NAME"),
    };
    let facts = Facts { cross_check: true, ..Facts::new(Timestamp::now(), "dec_explain", policies.version()) };
    let decision = decide(&policies, &agent, call, &facts);
    let explanation = match &decision {
        Decision::Allow(permit) | Decision::Sanitize(permit) => permit.explanation(),
        Decision::Observe(observed) => observed.explanation(),
        Decision::ApprovalNeeded(ask) => ask.explanation(),
        Decision::Deny(denial) => denial.explanation(),
    };
    let value = serde_json::to_value(explanation)?;
    print(global, &value, |_| {
        let mut text = format!("{}: {}\n", explanation.decision.as_str(), explanation.detail);
        explanation
            .violations
            .iter()
            .for_each(|v| text.push_str(&format!("  {} ({}): {}\n", v.rule, v.policy, v.message)));
        let matched = if explanation.matched.is_empty() { "none".to_owned() } else { explanation.matched.join(", ") };
        format!("{text}entries that apply: {matched}\npolicy version: {}\n", explanation.policy_version)
    })
}
