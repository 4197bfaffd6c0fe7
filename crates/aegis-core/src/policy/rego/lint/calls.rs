//! The built-ins that a module may call: those on which regorus and OPA agreed for every kind of argument, and those that
//! [`super::super::builtins`] replaces.

use regorus::unstable::{Expr, Ref, Span};

use super::super::builtins::{self, REPLACED};
use super::{Kind, Lint, Reach};
use crate::policy::condition::Pattern;

/// Built-ins of regorus' own, and how many arguments each takes.
const AGREED: [(&str, u8); 36] = [
    ("abs", 1),
    ("array.reverse", 1),
    ("array.slice", 3),
    ("contains", 2),
    ("endswith", 2),
    ("intersection", 1),
    ("is_array", 1),
    ("is_boolean", 1),
    ("is_null", 1),
    ("is_number", 1),
    ("is_object", 1),
    ("is_set", 1),
    ("is_string", 1),
    ("max", 1),
    ("min", 1),
    ("object.filter", 2),
    ("object.get", 3),
    ("object.keys", 1),
    ("object.remove", 2),
    ("object.union", 2),
    ("object.union_n", 1),
    ("regex.match", 2),
    ("sort", 1),
    ("split", 2),
    ("startswith", 2),
    ("strings.any_prefix_match", 2),
    ("strings.any_suffix_match", 2),
    ("strings.reverse", 1),
    ("trim", 2),
    ("trim_left", 2),
    ("trim_prefix", 2),
    ("trim_right", 2),
    ("trim_space", 1),
    ("trim_suffix", 2),
    ("type_name", 1),
    ("union", 1),
];
fn agreed(name: &str) -> Option<u8> {
    AGREED.iter().copied().find(|(own, _)| *own == name).map(|(_, arguments)| arguments)
}

fn replaced(name: &str) -> Option<u8> {
    REPLACED.iter().find(|(own, ..)| *own == name).map(|(_, arguments, _)| *arguments)
}

/// Whether a name, or the first word of it, belongs to a built-in.
pub(super) fn is_reserved(name: &str) -> bool {
    let built_in = |own: &str| own.split('.').next() == Some(name);
    AGREED.iter().any(|(own, _)| built_in(own))
        || REPLACED.iter().any(|(own, ..)| built_in(own))
        || matches!(name, "input" | "data")
}

impl Lint<'_> {
    /// Checks what is called, and with how many arguments; the arguments are walked by the caller.
    pub(super) fn call(&mut self, span: &Span, fcn: &Ref<Expr>, params: &[Ref<Expr>]) {
        let name: String = fcn.span().text().chars().filter(|c| !c.is_whitespace()).collect();
        if let Some((Kind::Function(arguments), _)) = self.rules.get(&name).copied() {
            self.need(&name);
            self.arguments(span, &name, arguments, params.len(), true);
        } else if let Some(arguments) = replaced(&name) {
            self.arguments(span, &name, usize::from(arguments), params.len(), false);
        } else if let Some(arguments) = agreed(&name) {
            self.arguments(span, &name, usize::from(arguments), params.len(), true);
        } else if self.reach == Reach::Own
            || !name.split_once('.').is_some_and(|(package, _)| self.imported.contains(package))
        {
            let message = format!("there is no function {name:?} that all engines answer alike");
            self.refuse(span, message, "docs/policy-rego.md lists those that there are");
            return;
        }
        match name.as_str() {
            "regex.match" => self.pattern(params),
            "sprintf" => self.format(span, params),
            _ => {}
        }
    }

    fn arguments(&mut self, span: &Span, name: &str, takes: usize, given: usize, with_result: bool) {
        if given == takes || with_result && given == takes + 1 {
            return;
        }
        let hint = if given == takes + 1 { format!("write `x := {name}(…)`") } else { String::new() };
        self.refuse(span, format!("{name} takes {takes} arguments, not {given}"), &hint);
    }

    /// A pattern that both engines read alike, as it stands.
    fn pattern(&mut self, params: &[Ref<Expr>]) {
        let Some(pattern) = params.first() else { return };
        let Some(text) = literal(pattern) else {
            self.refuse(pattern.span(), "a pattern is a text in the module here, so that it can be checked", "");
            return;
        };
        if let Err(message) = Pattern::parse(&text) {
            self.refuse(pattern.span(), message, "");
        } else if has_perl_class(&text) {
            let message = "\\d, \\w and \\s mean ASCII to OPA and Unicode to others";
            self.refuse(pattern.span(), message, "write [0-9], [0-9A-Za-z_] or [ \\t\\n\\r\\f]");
        }
    }

    /// A format whose verbs all engines write alike.
    fn format(&mut self, span: &Span, params: &[Ref<Expr>]) {
        let [format, arguments, ..] = params else { return };
        let (Some(text), Expr::Array { items, .. }) = (literal(format), arguments.as_ref()) else {
            self.refuse(span, "sprintf is given its format as a text and its arguments as a list here", "");
            return;
        };
        match builtins::verbs(&text) {
            Err(verb) => {
                self.refuse(
                    format.span(),
                    format!("the verb {verb:?} is written differently by engines"),
                    "use %s, %v or %d",
                );
            }
            Ok(verbs) if verbs != items.len() => {
                self.refuse(span, format!("the format has {verbs} verbs, and there are {} arguments", items.len()), "");
            }
            Ok(_) => {}
        }
    }
}

pub(super) fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => {
            value.as_string().ok().map(|text| text.to_string())
        }
        _ => None,
    }
}

fn has_perl_class(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next().is_some_and(|c| "dDwWsS".contains(c)) {
            return true;
        }
    }
    false
}
