//! Globs with `*` (any text, also none) as the only special character.

use std::fmt;

/// A pattern in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Glob {
    parts: Vec<String>,
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("*"))
    }
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(str::to_owned).collect() }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            // The leftmost place is always right: it leaves the most for what follows.
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        rest.ends_with(last.as_str())
    }

    /// Whether some text matches both. Exact for patterns with at most one `*`, in front or at the end; else errs on the side
    /// of yes.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self.parts.as_slice(), other.parts.as_slice()) {
            ([one], _) => other.matches(one),
            (_, [one]) => self.matches(one),
            ([a, .., y], [b, .., z]) => {
                (a.starts_with(b.as_str()) || b.starts_with(a.as_str()))
                    && (y.ends_with(z.as_str()) || z.ends_with(y.as_str()))
            }
            _ => true,
        }
    }
}
