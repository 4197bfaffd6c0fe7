//! How a command ends: done, a no, or bad use or input.

use std::fmt;
use std::process::ExitCode;

use aegis_core::document::Diagnostic;

use crate::diagnostics;
use crate::style::Style;

/// The answer is no: exit code 1. Everything else that goes wrong is exit code 2.
#[derive(Debug)]
pub(crate) struct No(pub(crate) String);

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for No {}

/// Files that are refused, with every reason.
#[derive(Debug)]
pub(crate) struct Invalid(pub(crate) Vec<Diagnostic>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&diagnostics::summary(&self.0))
    }
}

impl std::error::Error for Invalid {}

/// Files that are refused, as an error.
pub(crate) fn invalid(diagnostics: Vec<Diagnostic>) -> anyhow::Error {
    Invalid(diagnostics).into()
}

/// Says what went wrong, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let no = error.downcast_ref::<No>();
    let diagnostics = error.downcast_ref::<Invalid>().map(|Invalid(diagnostics)| diagnostics.as_slice());
    let style = Style::stderr();
    if json {
        let document =
            serde_json::json!({"error": format!("{error:#}"), "diagnostics": diagnostics.unwrap_or_default()});
        eprintln!("{document}");
    } else if let Some(no) = no {
        eprintln!("{no}");
    } else {
        eprint!("{}", diagnostics.map(|diagnostics| diagnostics::render(diagnostics, style)).unwrap_or_default());
        eprintln!("{}: {error:#}", style.red("aegis"));
    }
    ExitCode::from(if no.is_some() { 1 } else { 2 })
}
