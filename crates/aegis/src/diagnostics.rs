//! Diagnostics as people read them: the message, the line of the file it is about, and a caret under the place.
//!
//! Lines that may hold a credential are not repeated, and nothing that a file holds moves the cursor: who reviews somebody else's
//! policies must see what they say. Colours are the caller's choice (see [`Style`]).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use aegis_core::document::{Diagnostic, Severity};

use crate::style::Style;
use crate::table::plain_lines;

/// Renders `diagnostics`, with the lines that they are about, and a summary at the end.
pub(crate) fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut sources: HashMap<&str, Option<String>> = HashMap::new();
    let mut out = String::new();
    for diagnostic in diagnostics {
        let source = sources
            .entry(&diagnostic.file)
            .or_insert_with(|| std::fs::read_to_string(Path::new(&diagnostic.file)).ok());
        one(&mut out, diagnostic, source.as_deref(), style);
        out.push('\n');
    }
    out
}

/// How many errors and warnings there are, in words.
pub(crate) fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, diagnostics.len() - errors) {
        (errors, 0) => counted(errors, "error"),
        (0, warnings) => counted(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

fn one(out: &mut String, diagnostic: &Diagnostic, source: Option<&str>, style: Style) {
    let head = match diagnostic.severity {
        Severity::Error => style.red("error"),
        Severity::Warning => style.yellow("warning"),
    };
    let code = diagnostic.kind.map(|kind| style.dim(&format!("[{}]", kind.name))).unwrap_or_default();
    let key = if diagnostic.key.is_empty() { String::new() } else { format!("{}: ", diagnostic.key) };
    let digits = diagnostic.line.to_string().len();
    let (pad, bar) = (" ".repeat(digits), style.blue("|"));
    // Writing to a String can't fail.
    let _ = writeln!(out, "{head}{code}: {}", style.bold(&plain_lines(&format!("{key}{}", diagnostic.message))));
    let place = plain_lines(&format!("{}:{}:{}", diagnostic.file, diagnostic.line, diagnostic.column));
    let _ = writeln!(out, "{pad}{} {place}", style.blue("-->"));
    let line = source.and_then(|source| source.lines().nth(diagnostic.line - 1));
    if let Some(line) = line.filter(|line| !line.trim().is_empty() && !line.contains("credential")) {
        let before: String =
            line.chars().take(diagnostic.column - 1).map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
        let caret = match diagnostic.severity {
            Severity::Error => style.red("^"),
            Severity::Warning => style.yellow("^"),
        };
        let _ = writeln!(out, "{pad} {bar}");
        let _ = writeln!(out, "{} {bar} {}", style.blue(&diagnostic.line.to_string()), plain_lines(line));
        let _ = writeln!(out, "{pad} {bar} {before}{caret}");
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        let _ = writeln!(out, "{pad} {} {}: {}", style.blue("="), style.bold("help"), plain_lines(suggestion));
    }
}

#[cfg(test)]
mod tests;
