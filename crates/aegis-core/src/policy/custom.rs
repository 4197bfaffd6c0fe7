//! Custom Rego: `*.rego` files beside the YAML, for what YAML can't say. They may only restrict.
//!
//! A file is one module, `package aegis.rules.<name>`. Its rules `deny contains …` and `approval_needed contains …` are asked
//! about every call, with the same input as the generated Rego, and each message becomes a finding of policy `rego:<name>`. A
//! message is text, or `{"msg": text, "param": text}`. `mode := "shadow"` (or `"enforce"`) is the module's own mode.
//!
//! Invariants: a module sees the input and its own rules, so nothing in it can grant, lift or hide anything; what engines would
//! answer differently is refused when it is loaded ([`super::rego::lint`]); what fails when it is asked denies, in the module's
//! mode, and says why to the operator. Deliberately absent: data, other modules, anything that isn't in the call.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use regorus::unstable::{Expr, Module, Rule, RuleHead};
use serde_json::Value;

use super::rego::{Checked, Engine, Failure, Kind, Reach, components, place, read};
use super::{Finding, FindingEffect, Mode, Options, Reason, Said, Source};
use crate::document::{Diagnostic, Place};

/// Most modules.
const MAX_MODULES: usize = 50;
/// Most messages of one rule about one call; `rego/collect.rego` has the same.
const MAX_MESSAGES: usize = 32;
/// Longest time for one rule about one call. Ordinary ones take well under a millisecond.
pub(super) const LIMIT: Duration = Duration::from_millis(100);
/// The rules that are asked.
const ASKED: [(&str, FindingEffect); 2] = [("approval_needed", FindingEffect::Ask), ("deny", FindingEffect::Deny)];
/// The evaluator of what modules say, before the lines for each module.
const COLLECT: &str = include_str!("rego/collect.rego");

/// A custom module.
#[derive(Debug, Clone)]
pub(super) struct Custom {
    /// Of `package aegis.rules.<name>`.
    pub(super) name: String,
    /// What its findings call it, `rego:<name>`.
    pub(super) id: String,
    /// Its own mode, or the gateway's.
    pub(super) mode: Mode,
    /// What diagnostics call it.
    pub(super) file: String,
    /// As it was written: OPA gets the same bytes.
    pub(super) text: String,
    /// What it asks of the agent's session, if anything: what is to be counted.
    pub(super) session: Option<BTreeSet<String>>,
    /// Which of the rules that are asked it has.
    rules: Vec<(&'static str, FindingEffect)>,
}

impl Custom {
    /// Reads a module.
    ///
    /// # Errors
    /// Everything in it that a module may not have, with its place.
    pub(super) fn load(source: &Source, options: &Options) -> Result<Self, Vec<Diagnostic>> {
        let mode = options.mode;
        let Source { file, text } = source;
        let Checked { module, rules, session } = read(file, text, Reach::Own)?;
        let mut errors = Vec::new();
        let at = place(&module.package.span);
        let refuse =
            |at: Place, message: &str, hint: &str| Diagnostic::error(file, at, "", message).suggest(Some(hint));
        let path = components(&module.package.refr);
        let name = match path.as_slice() {
            [aegis, part, name] if aegis == "aegis" && part == "rules" && is_name(name) => name.clone(),
            _ => {
                let message = "a module's package is `aegis.rules.` and a name: lower-case letters, digits and _";
                errors.push(refuse(at, message, "write e.g. `package aegis.rules.no_friday`"));
                String::new()
            }
        };
        let asked: Vec<_> = ASKED.into_iter().filter(|(rule, _)| rules.contains_key(*rule)).collect();
        for (rule, _) in &asked {
            if let Some((kind, at)) = rules.get(*rule)
                && *kind != Kind::Set
            {
                errors.push(refuse(
                    *at,
                    &format!("{rule:?} is a set of messages"),
                    &format!("write `{rule} contains msg if …`"),
                ));
            }
        }
        if asked.is_empty() {
            errors.push(refuse(
                at,
                "the module has neither `deny` nor `approval_needed`",
                "without one it says nothing",
            ));
        }
        let own = rules.get("mode").map(|(_, at)| own_mode(&module).ok_or(*at)).transpose();
        let mode = own.map(|own| own.unwrap_or(mode)).unwrap_or_else(|at| {
            errors.push(refuse(
                at,
                "the module's mode is one of two words",
                "write `mode := \"shadow\"` or `mode := \"enforce\"`",
            ));
            mode
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        let id = format!("rego:{name}");
        let mode = options.modes.get(&id).copied().unwrap_or(mode);
        Ok(Self { name, id, mode, file: file.clone(), text: text.clone(), session, rules: asked })
    }

    /// Its name in a bundle.
    pub(super) fn archived(&self) -> String {
        format!("aegis/rules/{}.rego", self.name)
    }

    fn finding(&self, rule: &str, reason: Reason, effect: FindingEffect, said: Option<Said>) -> Finding {
        Finding { policy: self.id.clone(), entry: None, rule: rule.to_owned(), reason, effect, mode: self.mode, said }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The one word that the module's `mode` is, if it is that.
fn own_mode(module: &Module) -> Option<Mode> {
    let rules = module.policy.iter().filter_map(|rule| match rule.as_ref() {
        Rule::Spec { head: RuleHead::Compr { refr, assign, .. }, bodies, .. } if refr.span().text() == "mode" => {
            Some((assign.as_ref().filter(|_| bodies.is_empty()), true))
        }
        Rule::Spec { head: RuleHead::Func { refr, .. } | RuleHead::Set { refr, .. }, .. }
        | Rule::Default { refr, .. } => (refr.span().text() == "mode").then_some((None, false)),
        Rule::Spec { .. } => None,
    });
    let rules: Vec<_> = rules.collect();
    let [(Some(assign), true)] = rules.as_slice() else { return None };
    match assign.value.as_ref() {
        Expr::String { span, .. } if span.text() == "shadow" => Some(Mode::Shadow),
        Expr::String { span, .. } if span.text() == "enforce" => Some(Mode::Enforce),
        _ => None,
    }
}

/// Checks the modules of one set together.
///
/// # Errors
/// Two of one name, or too many.
pub(super) fn together(modules: &[Custom]) -> Result<(), Vec<Diagnostic>> {
    let start = Place { line: 1, column: 1 };
    let mut seen: BTreeMap<&str, &Custom> = BTreeMap::new();
    let mut errors = Vec::new();
    for module in modules {
        if let Some(first) = seen.insert(&module.name, module) {
            let message = format!("{:?} is already the name of a module, in {}", module.name, first.file);
            errors.push(Diagnostic::error(&module.file, start, "", message));
        }
    }
    if modules.len() > MAX_MODULES {
        let file = modules.last().map_or("", |module| &module.file);
        errors.push(Diagnostic::error(file, start, "", format!("more than {MAX_MODULES} modules")));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The Rego that makes findings of what the modules say, for the bundle.
pub(super) fn collect(modules: &[Custom]) -> String {
    let mut text = COLLECT.to_owned();
    for module in modules {
        let (policy, mode) = (&module.id, mode_word(module.mode));
        for (rule, effect) in &module.rules {
            let effect = if *effect == FindingEffect::Ask { "ask" } else { "deny" };
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "\nfound contains finding if {{\n\tmessages := data.aegis.rules.{}.{rule}\n\t\
                 some finding in findings({policy:?}, {mode:?}, {rule:?}, {effect:?}, messages)\n}}",
                module.name,
            );
        }
    }
    text
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

/// What the modules said of a call.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) findings: Vec<Finding>,
    /// Why modules gave no answer, for the operator.
    pub(super) failures: Vec<String>,
}

/// Modules, ready to be asked natively: without the tables, each by itself.
#[derive(Debug)]
pub(super) struct Prepared {
    modules: Vec<Custom>,
    engine: Engine,
}

impl Prepared {
    /// Prepares modules, in the order of their names; `None` where there are none.
    ///
    /// # Errors
    /// What regorus refuses, at its place.
    pub(super) fn of(modules: Vec<Custom>) -> Result<Option<Self>, Vec<Diagnostic>> {
        if modules.is_empty() {
            return Ok(None);
        }
        let texts = modules.iter().map(|module| (module.file.as_str(), module.text.as_str()));
        let mut errors = Vec::new();
        let refused = |file: &str, failure: Failure| {
            Diagnostic::error(
                file,
                Place { line: 1, column: 1 },
                "",
                format!("the module can't be evaluated: {failure}"),
            )
        };
        let mut engine = Engine::new(texts, std::iter::empty(), LIMIT).map_err(|failure| vec![refused("", failure)])?;
        for module in &modules {
            for (rule, _) in &module.rules {
                // The first evaluation compiles; clones share what it made. An input without anything may well fail.
                if let Err(failure) = engine.prepare(&path(module, rule))
                    && failure.defect
                {
                    errors.push(refused(&module.file, failure));
                }
            }
        }
        if errors.is_empty() { Ok(Some(Self { modules, engine })) } else { Err(errors) }
    }

    /// The modules, in the order of their names.
    pub(super) fn modules(&self) -> &[Custom] {
        &self.modules
    }

    /// Asks every module about a call. Total: one that doesn't answer is a finding that denies, in its own mode.
    pub(super) fn ask(&self, input: &Value) -> Heard {
        let mut heard = Heard::default();
        let mut engine = self.engine.clone();
        let ready = engine.set_input(input);
        for module in &self.modules {
            for (rule, effect) in &module.rules {
                match ready.clone().and_then(|()| engine.ask(&path(module, rule))) {
                    Ok(answer) => module.hear(rule, *effect, answer, &mut heard),
                    Err(Failure { why, .. }) => {
                        heard.fail(module, &why);
                        if module.mode == Mode::Enforce {
                            // The call is denied; what else would be said isn't worth the time of another limit.
                            return heard;
                        }
                    }
                }
            }
        }
        heard
    }
}

fn path(module: &Custom, rule: &str) -> String {
    format!("data.aegis.rules.{}.{rule}", module.name)
}

impl Custom {
    /// Takes down what a rule said, as `rego/collect.rego` does.
    fn hear(&self, rule: &str, effect: FindingEffect, answer: Option<Value>, heard: &mut Heard) {
        let Some(Value::Array(messages)) = answer else {
            return heard.fail(self, &format!("{rule} is undefined"));
        };
        if messages.len() > MAX_MESSAGES {
            return heard.fail(self, &format!("{rule} has more than {MAX_MESSAGES} messages"));
        }
        for message in messages {
            match Said::read(message) {
                Some(said) => heard.findings.push(self.finding(rule, Reason::Rego, effect, Some(said))),
                None => heard.fail(self, &format!("{rule} contains something else than a message")),
            }
        }
    }
}

impl Heard {
    fn fail(&mut self, module: &Custom, why: &str) {
        self.failures.push(format!("{}: {why}", module.id));
        self.findings.push(module.finding("engine", Reason::EngineFailed, FindingEffect::Deny, None));
    }
}

impl Said {
    /// Text, or an object with `msg` and perhaps `param`, and nothing else.
    fn read(message: Value) -> Option<Self> {
        match message {
            Value::String(message) => Some(Self { message, param: None }),
            Value::Object(mut fields) => {
                let Some(Value::String(message)) = fields.remove("msg") else { return None };
                let param = match fields.remove("param") {
                    None => None,
                    Some(Value::String(param)) => Some(param),
                    Some(_) => return None,
                };
                fields.is_empty().then_some(Self { message, param })
            }
            _ => None,
        }
    }
}
