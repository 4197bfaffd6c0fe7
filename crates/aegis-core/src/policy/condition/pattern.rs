//! Patterns that Rust's `regex` and Go's `regexp` read alike.

use regex_syntax::ast::{self, Ast};
use serde::{Serialize, Serializer};

/// regorus' own limit on a compiled expression, in bytes; native keeps the same one.
const SIZE_LIMIT: usize = 100 << 10;
/// Longest accepted text, in bytes.
const MAX_LENGTH: usize = 1 << 10;
/// Most repetitions, nested ones multiplied. Go refuses more than 1000.
const MAX_REPEAT: u32 = 200;

/// A pattern, rewritten into the part of the syntax that both engines read alike.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Whether the pattern is found in `text`.
    pub(in crate::policy) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The rewritten text.
    pub(in crate::policy) fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole-text pattern of a glob: `*` stands for any run of characters other than those in `not` (a class's inside).
    pub(in crate::policy) fn glob(glob: &str, not: Option<char>) -> Result<Self, String> {
        let run = not.map_or("(?:.|\\n)*".to_owned(), |c| format!("[^{}]*", escape(c)));
        let parts: Vec<String> = glob.split('*').map(|part| part.chars().map(escape).collect()).collect();
        Self::build(format!("^(?:{})$", parts.join(&run)))
    }

    /// A pattern as an author writes it.
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("the pattern is longer than {MAX_LENGTH} bytes"));
        }
        let ast = ast::parse::ParserBuilder::new().nest_limit(32).build().parse(text);
        let ast = ast.map_err(|error| format!("the pattern isn't valid: {}", error.kind()))?;
        let mut portable = String::new();
        rewrite(&ast, 1, &mut portable)?;
        Self::build(portable)
    }

    /// A pattern as an author writes it, which the whole text has to match.
    pub(in crate::policy) fn whole(text: &str) -> Result<Self, String> {
        let Self { text, .. } = Self::parse(text)?;
        Self::build(format!("^(?:{text})$"))
    }

    fn build(text: String) -> Result<Self, String> {
        let regex = regex::RegexBuilder::new(&text).size_limit(SIZE_LIMIT).build();
        let regex = regex.map_err(|_| "the pattern is too large".to_owned())?;
        Ok(Self { text, regex })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn escape(c: char) -> String {
    if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }
}

fn rewrite(ast: &Ast, repeated: u32, out: &mut String) -> Result<(), String> {
    match ast {
        Ast::Empty(_) => {}
        Ast::Literal(literal) => out.push_str(&escape_literal(literal)?),
        Ast::Dot(_) => out.push('.'),
        Ast::Assertion(assertion) => out.push(match assertion.kind {
            ast::AssertionKind::StartLine | ast::AssertionKind::StartText => '^',
            ast::AssertionKind::EndLine | ast::AssertionKind::EndText => '$',
            _ => return Err("word boundaries are not supported in patterns".to_owned()),
        }),
        Ast::ClassPerl(class) => {
            out.push_str(if class.negated { "[^" } else { "[" });
            out.push_str(perl(&class.kind));
            out.push(']');
        }
        Ast::ClassBracketed(class) => {
            out.push_str(if class.negated { "[^" } else { "[" });
            let ast::ClassSet::Item(item) = &class.kind else {
                return Err("set operations in classes are not supported in patterns".to_owned());
            };
            class_item(item, out)?;
            out.push(']');
        }
        Ast::Repetition(repetition) => repeat(repetition, repeated, out)?,
        Ast::Group(group) => {
            if let ast::GroupKind::NonCapturing(flags) = &group.kind
                && !flags.items.is_empty()
            {
                return Err("flags such as (?i) are not supported in patterns".to_owned());
            }
            out.push_str("(?:");
            rewrite(&group.ast, repeated, out)?;
            out.push(')');
        }
        Ast::Alternation(alternation) => {
            for (index, branch) in alternation.asts.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                rewrite(branch, repeated, out)?;
            }
        }
        Ast::Concat(concat) => concat.asts.iter().try_for_each(|part| rewrite(part, repeated, out))?,
        Ast::Flags(_) => return Err("flags such as (?i) are not supported in patterns".to_owned()),
        Ast::ClassUnicode(_) => return Err("\\p classes are not supported in patterns".to_owned()),
    }
    Ok(())
}

fn repeat(repetition: &ast::Repetition, repeated: u32, out: &mut String) -> Result<(), String> {
    if matches!(*repetition.ast, Ast::Repetition(_) | Ast::Assertion(_) | Ast::Empty(_)) {
        return Err("a repetition of a repetition or of an anchor is not supported in patterns".to_owned());
    }
    let (operator, most) = match &repetition.op.kind {
        ast::RepetitionKind::ZeroOrOne => ("?".to_owned(), 1),
        ast::RepetitionKind::ZeroOrMore => ("*".to_owned(), 1),
        ast::RepetitionKind::OneOrMore => ("+".to_owned(), 1),
        ast::RepetitionKind::Range(range) => match *range {
            ast::RepetitionRange::Exactly(n) => (format!("{{{n}}}"), n),
            ast::RepetitionRange::AtLeast(n) => (format!("{{{n},}}"), n),
            ast::RepetitionRange::Bounded(m, n) => (format!("{{{m},{n}}}"), n),
        },
    };
    let repeated = repeated.saturating_mul(most.max(1));
    if repeated > MAX_REPEAT {
        return Err(format!("more than {MAX_REPEAT} repetitions are not supported in patterns"));
    }
    rewrite(&repetition.ast, repeated, out)?;
    out.push_str(&operator);
    Ok(())
}

fn escape_literal(literal: &ast::Literal) -> Result<String, String> {
    use ast::LiteralKind;
    match literal.kind {
        LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous => Ok(escape(literal.c)),
        LiteralKind::Special(_) if literal.c.is_ascii_control() => Ok(format!("\\x{:02x}", u32::from(literal.c))),
        _ => Err("numeric character escapes are not supported in patterns: write the character".to_owned()),
    }
}

fn class_item(item: &ast::ClassSetItem, out: &mut String) -> Result<(), String> {
    use ast::ClassSetItem as Item;
    match item {
        Item::Empty(_) => {}
        Item::Literal(literal) => out.push_str(&escape_literal(literal)?),
        Item::Range(range) => {
            out.push_str(&escape_literal(&range.start)?);
            out.push('-');
            out.push_str(&escape_literal(&range.end)?);
        }
        Item::Perl(class) if !class.negated => out.push_str(perl(&class.kind)),
        Item::Union(union) => union.items.iter().try_for_each(|item| class_item(item, out))?,
        _ => return Err("nested, named and negated classes in classes are not supported in patterns".to_owned()),
    }
    Ok(())
}

/// The ASCII members, which is what Go's classes mean; Rust's are Unicode.
fn perl(kind: &ast::ClassPerlKind) -> &'static str {
    match kind {
        ast::ClassPerlKind::Digit => "0-9",
        ast::ClassPerlKind::Space => "\\t\\n\\f\\r ",
        ast::ClassPerlKind::Word => "0-9A-Za-z_",
    }
}
