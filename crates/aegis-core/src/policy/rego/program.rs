//! Rego by itself: for holding the interpreter, its limits and the lint against cases that others wrote.

use serde_json::Value;

use super::{Engine, Reach, lint};
use crate::document::{Diagnostic, Place};
use crate::policy::{Source, custom};

/// Modules and data, read and evaluated as custom modules are, but for what only those may not do: have other packages, and
/// look at data.
#[derive(Debug)]
pub struct Program(Engine);

impl Program {
    /// Reads modules and data (a JSON object).
    ///
    /// # Errors
    /// Whatever engines would answer differently, with its place.
    pub fn load(modules: &[Source], data: &Value) -> Result<Self, Vec<Diagnostic>> {
        let read = |module: &Source| lint::read(&module.file, &module.text, Reach::All).err();
        let errors: Vec<_> = modules.iter().filter_map(read).flatten().collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let texts = modules.iter().map(|module| (module.file.as_str(), module.text.as_str()));
        let engine = Engine::new(texts, [data.to_string().into()].into_iter(), custom::LIMIT);
        let start = Place { line: 1, column: 1 };
        let mut engine = engine.map_err(|failure| vec![Diagnostic::error("", start, "", failure.to_string())])?;
        // There is no such rule; what is asked first compiles, and clones share what it made.
        let _ = engine.prepare("data.aegis.nothing");
        Ok(Self(engine))
    }

    /// The value of a rule by its path, such as `data.example.deny`; `None` is undefined. Sets come as lists.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, rule: &str, input: &Value) -> Result<Option<Value>, String> {
        let mut engine = self.0.clone();
        let answer = engine.set_input(input).and_then(|()| engine.ask(rule));
        answer.map_err(|failure| failure.to_string())
    }
}
