//! Which parameter a rule is on: a name, or a path into mappings (`spec.replicas`).
//!
//! A dotted name is read as a path and as a parameter of that very name. Where a call has both, both have to keep the rule: a
//! caller who may name parameters as it likes must not be able to show one and mean the other.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::call::{Presence, Shape};

/// Longest path. The Rego walks that many steps.
const MAX_KEYS: usize = 4;

/// A parameter's name, ready to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Param {
    /// As written.
    #[serde(rename = "param")]
    pub(super) name: String,
    /// The path's keys, where the name is dotted; else empty.
    keys: Vec<String>,
}

/// A place that a rule's parameter is at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// A value, and the mapping that it is in.
    Value { value: &'a Value, beside: &'a Map<String, Value> },
    /// The path leads through something that is no mapping.
    Blocked,
}

impl Param {
    /// Reads a name or path.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) {
            return Err("a part of the parameter's name is missing".to_owned());
        }
        if keys.len() > MAX_KEYS {
            return Err(format!("a path has at most {MAX_KEYS} parts"));
        }
        Ok(Self { name: text.to_owned(), keys: if keys.len() > 1 { keys } else { Vec::new() } })
    }

    /// Everywhere that it is in a call's parameters.
    pub(super) fn places<'a>(&self, params: &'a Map<String, Value>) -> impl Iterator<Item = Place<'a>> + use<'a> {
        let named = params.get(&self.name).map(|value| Place::Value { value, beside: params });
        named.into_iter().chain(self.walk(params))
    }

    fn walk<'a>(&self, params: &'a Map<String, Value>) -> Option<Place<'a>> {
        let (first, rest) = self.keys.split_first()?;
        let mut beside = params;
        let mut value = params.get(first)?;
        for key in rest {
            let Value::Object(map) = value else { return Some(Place::Blocked) };
            beside = map;
            value = map.get(key)?;
        }
        Some(Place::Value { value, beside })
    }

    /// What the action's definition says of it; `None` when the action doesn't have it.
    pub(super) fn presence(&self, shape: &Shape) -> Option<Presence> {
        match shape {
            Shape::Open => Some(Presence::Required),
            Shape::Defined(params) => params.get(&self.name).or_else(|| params.get(self.keys.first()?)).copied(),
        }
    }

    /// The name of the parameter that a definition must have, so that this one can be there.
    pub(super) fn head(&self) -> &str {
        self.keys.first().unwrap_or(&self.name)
    }

    /// The name, where it isn't a path.
    pub(super) fn plain_name(&self) -> Option<&str> {
        self.keys.is_empty().then_some(&self.name)
    }

    /// The keys that lead to it; one where the name isn't dotted.
    pub(super) fn path(&self) -> Vec<String> {
        if self.keys.is_empty() { vec![self.name.clone()] } else { self.keys.clone() }
    }
}

/// A list of names as they are written.
pub(super) fn serialize_names<S: Serializer>(params: &[Param], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(params.iter().map(|param| &param.name))
}

#[cfg(test)]
mod tests;
