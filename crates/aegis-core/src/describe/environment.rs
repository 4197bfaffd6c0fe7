//! Where a target is: the operator's `environments:` map, first match wins.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::glob::Glob;
use crate::call::Environment;
use crate::document::{Diagnostic, Fields, Node, Value as Written, nearest};

/// The parameters in which a call may say itself where its target is.
const CLAIMS: [&str; 2] = ["env", "environment"];

/// The compiled map.
#[derive(Debug, Default)]
pub(super) struct EnvironmentMap {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    tool: Option<Glob>,
    facts: Vec<(String, Glob)>,
    params: Vec<(String, Glob)>,
    environment: String,
}

impl EnvironmentMap {
    /// Reads the list. `facts` are the keys that some target can have.
    pub(super) fn read(file: &str, node: &Node, facts: &BTreeSet<&str>, errors: &mut Vec<Diagnostic>) -> Self {
        let Written::List(items) = &node.value else {
            let message = format!("expected a list, found {}", node.value.kind());
            errors.push(Diagnostic::error(file, node.place, "environments", message));
            return Self::default();
        };
        let rule = |(index, item)| Rule::read(file, &format!("environments[{index}]"), item, facts, errors);
        Self { rules: items.iter().enumerate().filter_map(rule).collect() }
    }

    /// The environments that its rules name.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.rules.iter().map(|rule| rule.environment.as_str()).collect()
    }

    /// The environment of a call's target, and whether the call says otherwise.
    ///
    /// A parameter that the operator chose to trust by matching it can't contradict what it was mapped to. Where nothing
    /// matches there is nothing to contradict: the environment is unknown.
    pub(super) fn find(
        &self,
        tool: &str,
        target: &BTreeMap<String, String>,
        params: &Map<String, Value>,
        unresolved: &BTreeSet<String>,
    ) -> Environment {
        // A rule that looks at what isn't known may be the one that counts, and with it none after it.
        let may_match = |rule: &&Rule| rule.matches(tool, target, params, unresolved);
        let Some(rule) = self.rules.iter().find(may_match).filter(|rule| !rule.looks_at(unresolved)) else {
            return Environment::named(Environment::UNKNOWN);
        };
        let trusted = |key: &str| {
            rule.params.iter().any(|(name, _)| name == key) || rule.facts.iter().any(|(name, _)| name == key)
        };
        let claims = CLAIMS.into_iter().filter(|key| !trusted(key)).flat_map(|key| {
            let param = params.get(key).and_then(|value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            param.into_iter().chain(target.get(key).cloned())
        });
        let contradicted_by = claims.into_iter().find(|claim| *claim != rule.environment);
        Environment { name: rule.environment.clone(), contradicted_by }
    }
}

impl Rule {
    fn read(file: &str, path: &str, node: &Node, facts: &BTreeSet<&str>, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut fields = Fields::of(file, path, node, errors)?;
        let environment = fields.required_text("env");
        let pattern = fields.required("match");
        if environment.as_deref() == Some(Environment::UNKNOWN) {
            let message = "`unknown` is what a target is in that nothing matches; it can't be mapped to";
            fields.error_at("env", fields.place(), message, None);
        }
        fields.finish();
        let path = format!("{path}.match");
        let pattern = pattern.and(node.get("match"))?;
        let mut rule = Self { tool: None, facts: Vec::new(), params: Vec::new(), environment: environment? };
        rule.read_match(file, &path, pattern, facts, errors)?;
        Some(rule)
    }

    fn read_match(
        &mut self,
        file: &str,
        path: &str,
        node: &Node,
        facts: &BTreeSet<&str>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<()> {
        let mut fields = Fields::of(file, path, node, errors)?;
        self.tool = fields.text("tool").map(|text| Glob::new(&text));
        if let Some(mut params) = fields.map("param") {
            let names: Vec<String> = params.unasked().iter().map(|key| key.name.clone()).collect();
            for name in names {
                let glob = params.text(&name).map(|text| Glob::new(&text));
                self.params.extend(glob.map(|glob| (name, glob)));
            }
        }
        let keys: Vec<_> = fields.unasked().into_iter().cloned().collect();
        for key in keys {
            if !facts.contains(key.name.as_str()) {
                let valid = facts.iter().copied().chain(["tool", "param"]);
                let suggestion = nearest(&key.name, valid).map(|name| format!("did you mean `{name}`?"));
                fields.error_at(&key.name, key.place, "no tool's target has this", suggestion);
            }
            let glob = fields.text(&key.name).map(|text| Glob::new(&text));
            self.facts.extend(glob.map(|glob| (key.name, glob)));
        }
        if self.tool.is_none() && self.facts.is_empty() && self.params.is_empty() {
            fields.error_at("", fields.place(), "a match needs at least one key, e.g. `tool` or `host`", None);
        }
        fields.finish();
        Some(())
    }

    /// Whether it matches, or could: what is unresolved may be anything.
    fn matches(
        &self,
        tool: &str,
        target: &BTreeMap<String, String>,
        params: &Map<String, Value>,
        unresolved: &BTreeSet<String>,
    ) -> bool {
        let fact = |key: &str, glob: &Glob| target.get(key).is_some_and(|value| glob.matches(value));
        let param =
            |key: &str, glob: &Glob| params.get(key).and_then(Value::as_str).is_some_and(|value| glob.matches(value));
        self.tool.as_ref().is_none_or(|glob| glob.matches(tool))
            && self.facts.iter().all(|(key, glob)| unresolved.contains(key) || fact(key, glob))
            && self.params.iter().all(|(key, glob)| unresolved.contains(key) || param(key, glob))
    }

    fn looks_at(&self, names: &BTreeSet<String>) -> bool {
        self.facts.iter().chain(&self.params).any(|(key, _)| names.contains(key))
    }
}
