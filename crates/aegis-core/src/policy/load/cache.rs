//! What is compiled while loading, each text once: policies repeat their conditions and globs a great deal.

use std::collections::{BTreeSet, HashMap};

use super::super::calendar::{Calendar, Zone};
use super::super::condition::{Condition, Pattern, Refusal, Shape};
use super::super::tables::{Shared, Tables};
use super::MAX_SHAPES;

/// The compiled texts of one load.
#[derive(Default)]
pub(super) struct Cache {
    conditions: HashMap<String, Shared<Condition>>,
    globs: HashMap<(String, Option<char>), Pattern>,
    patterns: HashMap<String, Pattern>,
    shapes: BTreeSet<Shape>,
    /// Of the policy that is being read.
    calendar: Calendar,
    /// Its conditions that ask for the time: the same text means something else in another policy.
    timed: HashMap<String, Shared<Condition>>,
    /// What all of them use.
    zones: BTreeSet<Zone>,
    remembers: bool,
    counted: BTreeSet<String>,
    /// Whether it has been said that there are too many shapes.
    told: bool,
}

impl Cache {
    /// From here on conditions are of a policy with this calendar.
    pub(super) fn enter(&mut self, calendar: Calendar) {
        self.calendar = calendar;
        self.timed.clear();
    }

    /// Tables without a policy, with what the host has to put into the input: the time in UTC and in every zone that is asked
    /// for, and the session.
    pub(super) fn host_keeps(&self) -> Tables {
        let mut zones = self.zones.clone();
        zones.insert(Zone::default());
        Tables { zones, remembers: self.remembers, counted: self.counted.clone(), ..Tables::default() }
    }

    /// A condition.
    pub(super) fn condition(&mut self, text: &str) -> Result<Shared<Condition>, Refusal> {
        if let Some(known) = self.conditions.get(text).or_else(|| self.timed.get(text)) {
            return Ok(known.clone());
        }
        let condition = self.keep(Condition::compile(text, &self.calendar)?);
        if self.shapes.len() > MAX_SHAPES && !self.told {
            self.told = true;
            let message = format!("more than {MAX_SHAPES} shapes of conditions in all policies together");
            return Err(Refusal { offset: None, message });
        }
        let known = if condition.uses.zone.is_some() { &mut self.timed } else { &mut self.conditions };
        known.insert(text.to_owned(), condition.clone());
        Ok(condition)
    }

    /// The condition that is always `value`.
    pub(super) fn constant(&mut self, value: bool) -> Shared<Condition> {
        let text = if value { "true" } else { "false" };
        if let Some(known) = self.conditions.get(text) {
            return known.clone();
        }
        let condition = self.keep(Condition::constant(value));
        self.conditions.insert(text.to_owned(), condition.clone());
        condition
    }

    /// Takes a condition's rule to the others of its shape.
    fn keep(&mut self, mut condition: Condition) -> Shared<Condition> {
        self.shapes.extend(condition.rule.take());
        self.zones.extend(condition.uses.zone.clone());
        self.remembers |= condition.uses.session;
        self.counted.extend(condition.uses.counts.iter().cloned());
        Shared::new(condition)
    }

    /// A glob; see [`Pattern::glob`].
    pub(super) fn glob(&mut self, glob: &str, not: Option<char>) -> Result<Pattern, String> {
        let key = (glob.to_owned(), not);
        if let Some(known) = self.globs.get(&key) {
            return Ok(known.clone());
        }
        let pattern = Pattern::glob(glob, not)?;
        self.globs.insert(key, pattern.clone());
        Ok(pattern)
    }

    /// A pattern that whole texts match.
    pub(super) fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        if let Some(known) = self.patterns.get(text) {
            return Ok(known.clone());
        }
        let pattern = Pattern::whole(text)?;
        self.patterns.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }

    /// The generated rules of all conditions.
    pub(super) fn into_shapes(self) -> BTreeSet<Shape> {
        self.shapes
    }
}
