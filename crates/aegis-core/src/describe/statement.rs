//! What a text that is a program says it does: SQL and shell as parameters, with facts beside them that a rule can be on.
//!
//! The facts of all such parameters of a call stand together under fixed names ([`NAMES`]), so that one policy holds for every
//! tool. No list is ever empty: where there is nothing to tell it is [`NONE`]. Invariants: a text that isn't wholly understood
//! has no facts at all, and every rule and condition on them denies; a call that brings parameters of these names itself is
//! refused. Deliberately absent: what a program that is started then does, and whether a table is a view.

mod functions;
mod shell;
mod sql;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
pub use sql::Dialect;

use super::Unreadable;
use super::glob::Glob;
use crate::call::{Effect, Presence, Shape, ToolCall};

/// What stands in a list where there is nothing to tell.
const NONE: &str = "none";
/// The facts of SQL, and of shell; the last of each says why there are no others.
const SQL: [&str; 4] = ["sql_verbs", "sql_tables", "sql_dangerous", "sql_unread"];
const SHELL: [&str; 3] = ["shell_commands", "shell_dangerous", "shell_unread"];

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// SQL, as this database reads it.
    Sql(Dialect),
    /// A POSIX shell.
    Shell,
}

impl Language {
    /// The language of this name, `sql` or `shell`, as this database reads it where it is SQL.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(kind: &str, dialect: Option<&str>) -> Result<Self, String> {
        let names = || Dialect::ALL.map(|(name, _)| name).join(", ");
        match (kind, dialect) {
            ("sql", None) => Ok(Self::Sql(Dialect::Any)),
            ("sql", Some(name)) => {
                let found = Dialect::ALL.iter().find(|(known, _)| *known == name).map(|(_, dialect)| *dialect);
                found.map(Self::Sql).ok_or_else(|| format!("{name:?} is no dialect; one of: {}", names()))
            }
            ("shell", None) => Ok(Self::Shell),
            ("shell", Some(_)) => Err("a shell has no dialect".to_owned()),
            _ => Err(format!("{kind:?} is no language that is read; one of: sql, shell")),
        }
    }

    /// The names of the facts about it.
    pub(super) fn facts(self) -> &'static [&'static str] {
        match self {
            Self::Sql(_) => &SQL,
            Self::Shell => &SHELL,
        }
    }
}

/// An argument of a server's tools that is a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The tools that have it; `*` is any run of characters.
    pub tool: String,
    /// Its name.
    pub name: String,
    /// What it is written in.
    pub language: Language,
}

impl Argument {
    /// Whether a tool of this name has it.
    pub(super) fn is_of(&self, tool: &str) -> bool {
        Glob::new(&self.tool).matches(tool)
    }
}

/// Why a text isn't understood, without anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unread(&'static str);

/// What is known of one text.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    /// Verbs of SQL, programs of a shell.
    verbs: BTreeSet<String>,
    /// `None` where not all of them are known.
    tables: Option<BTreeSet<String>>,
    dangerous: BTreeSet<String>,
    effect: Effect,
}

/// Puts the facts about a call's programs beside them. `programs` are its parameters that are some, with what they are
/// written in.
pub(super) fn tell(call: &mut ToolCall, programs: &[(&str, Language)]) -> Result<(), Unreadable> {
    if programs.is_empty() {
        return Ok(());
    }
    if said_by(&call.params, programs) {
        let message =
            format!("the call brings a parameter of the name of what is found out about it ({SQL:?}, {SHELL:?})");
        return Err(Unreadable::new("statement_fact", message));
    }
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut unread: BTreeMap<&str, &str> = BTreeMap::new();
    let mut worst: Option<Effect> = None;
    for (name, language) in programs {
        let Some(value) = call.params.get(*name) else { continue };
        let [verbs, .., dangerous, why] = language.facts() else { continue };
        let facts = read(value, *language);
        let effect = facts.as_ref().map_or(Effect::Unknown, |facts| facts.effect);
        worst = worst.into_iter().chain([effect]).max_by_key(|effect| rank(*effect));
        match facts {
            Ok(facts) => {
                all.entry(*verbs).or_default().extend(facts.verbs);
                all.entry(*dangerous).or_default().extend(facts.dangerous);
                if let Language::Sql(_) = language {
                    match facts.tables {
                        Some(tables) => all.entry("sql_tables").or_default().extend(tables),
                        None => unread.extend([("sql_tables", "")]),
                    }
                }
            }
            Err(Unread(because)) => {
                unread.extend(language.facts().iter().map(|fact| (*fact, "")));
                unread.insert(why, because);
            }
        }
    }
    for (name, values) in all {
        if !unread.contains_key(name) {
            call.params.insert(name.to_owned(), listed(values));
        }
    }
    for (name, because) in unread.into_iter().filter(|(_, because)| !because.is_empty()) {
        call.params.insert(name.to_owned(), because.into());
    }
    if let (Effect::Unknown, Some(worst)) = (call.effect, worst) {
        call.effect = worst;
    }
    if let Shape::Defined(shape) = &mut call.shape {
        for (name, language) in programs {
            let of_text = shape.get(*name).copied().unwrap_or(Presence::Partial);
            let presence = if call.params.contains_key(*name) { Presence::Required } else { of_text };
            for fact in language.facts().iter().rev().skip(1) {
                let entry = shape.entry((*fact).to_owned()).or_insert(presence);
                if presence == Presence::Required {
                    *entry = Presence::Required;
                }
            }
        }
    }
    Ok(())
}

/// Effects, the worst last.
fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Read => 0,
        Effect::Write => 1,
        Effect::Destroy => 2,
        Effect::Exec => 3,
        Effect::Spend | Effect::Publish | Effect::Unknown => 4,
    }
}

fn listed(values: BTreeSet<String>) -> Value {
    match values.is_empty() {
        true => Value::from(vec![NONE]),
        false => values.into_iter().map(Value::String).collect(),
    }
}

fn read(value: &Value, language: Language) -> Result<Facts, Unread> {
    const NO_TEXT: Unread = Unread("it is no text");
    match (language, value) {
        (Language::Sql(dialect), Value::String(text)) => sql::read(text, dialect),
        (Language::Shell, Value::String(text)) => shell::read(text),
        (Language::Shell, Value::Array(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            shell::read_words(&words.ok_or(NO_TEXT)?)
        }
        _ => Err(NO_TEXT),
    }
}

/// Adds the facts to the names that an action has.
pub(super) fn names<'a>(languages: impl Iterator<Item = Language> + 'a) -> impl Iterator<Item = &'static str> + 'a {
    languages.flat_map(|language| language.facts().iter().copied())
}

/// Whether a call says itself what is found out about it.
pub(super) fn said_by(params: &Map<String, Value>, programs: &[(&str, Language)]) -> bool {
    names(programs.iter().map(|(_, language)| *language)).any(|name| params.contains_key(name))
}
