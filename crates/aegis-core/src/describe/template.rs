//! Path templates and the order in which they are tried: the most specific first.
//!
//! `/a/{x}` has a variable for one segment, `{x:p|q}` one that is `p` or `q`, `{x:v*}` one that looks so, `{x}:run` one that stands
//! before `:run`, `{x+}` one for one or more segments (at most one in a template), and `[/{y}]` is a part that may be absent.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::glob::Glob;

/// One way a path can look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: Vec<Segment>,
    /// The `{x+}` and what follows it.
    many: Option<(String, Vec<Segment>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    OneOf(String, Vec<String>),
    Like(String, Vec<Glob>),
    /// `{x}:run`: anything before this text.
    Before(String, String),
    Any(String),
}

impl Segment {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::OneOf(_, values) => values.iter().any(|value| value == text),
            Self::Like(_, globs) => globs.iter().any(|glob| glob.matches(text)),
            Self::Before(_, end) => text.strip_suffix(end.as_str()).is_some_and(|value| !value.is_empty()),
            Self::Any(_) => !text.is_empty(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 4,
            Self::OneOf(..) => 3,
            Self::Like(..) | Self::Before(..) => 2,
            Self::Any(_) => 1,
        }
    }

    fn variable(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::OneOf(name, _) | Self::Like(name, _) | Self::Before(name, _) | Self::Any(name) => Some(name),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Any(_) => matches!(self, Self::Any(_)),
            Self::Before(_, end) => match self {
                Self::Any(_) => true,
                Self::Before(_, own) => end.ends_with(own.as_str()),
                Self::Literal(_) | Self::OneOf(..) | Self::Like(..) => false,
            },
            Self::Literal(text) => self.matches(text),
            Self::OneOf(_, values) => values.iter().all(|value| self.matches(value)),
            Self::Like(_, globs) => match self {
                Self::Any(_) => true,
                Self::Like(_, own) => globs.iter().all(|glob| own.contains(glob)),
                Self::Literal(_) | Self::OneOf(..) | Self::Before(..) => false,
            },
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any(_), _) | (_, Self::Any(_)) => true,
            (Self::Literal(text), segment) | (segment, Self::Literal(text)) => segment.matches(text),
            (Self::OneOf(_, values), segment) | (segment, Self::OneOf(_, values)) => {
                values.iter().any(|value| segment.matches(value))
            }
            (Self::Like(_, globs), Self::Like(_, others)) => {
                globs.iter().any(|glob| others.iter().any(|other| glob.overlaps(other)))
            }
            (Self::Before(_, one), Self::Before(_, other)) => {
                one.ends_with(other.as_str()) || other.ends_with(one.as_str())
            }
            (Self::Like(..), Self::Before(..)) | (Self::Before(..), Self::Like(..)) => true,
        }
    }
}

impl Template {
    /// Compiles a template; each `[…]` doubles the result.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, String> {
        if let Some((head, rest)) = text.split_once('[') {
            let (inner, tail) = rest.split_once(']').ok_or_else(|| format!("{text:?} has `[` without `]`"))?;
            let mut both = Self::parse(&format!("{head}{tail}"))?;
            both.extend(Self::parse(&format!("{head}{inner}{tail}"))?);
            return Ok(both);
        }
        let path = text.strip_prefix('/').ok_or_else(|| format!("{text:?} must start with `/`"))?;
        let mut template = Self { before: Vec::new(), many: None };
        for part in path.split('/') {
            let variable = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if let Some(name) = variable.and_then(|variable| variable.strip_suffix('+')) {
                if template.many.is_some() {
                    return Err(format!("{text:?} has more than one `{{…+}}`"));
                }
                template.many = Some((checked(name, text)?, Vec::new()));
                continue;
            }
            let segment = match variable.map(|variable| variable.split_once(':').ok_or(variable)) {
                Some(Ok((name, values))) if values.contains('*') => {
                    Segment::Like(checked(name, text)?, values.split('|').map(Glob::new).collect())
                }
                Some(Ok((name, values))) => {
                    Segment::OneOf(checked(name, text)?, values.split('|').map(str::to_owned).collect())
                }
                Some(Err(name)) => Segment::Any(checked(name, text)?),
                None if part.contains(['{', '}', ']']) => before(part, text)?,
                None => Segment::Literal(part.to_owned()),
            };
            match &mut template.many {
                Some((_, after)) => after.push(segment),
                None => template.before.push(segment),
            }
        }
        Ok(vec![template])
    }

    /// The names of its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let after = self.many.iter().flat_map(|(_, after)| after);
        let many = self.many.iter().map(|(name, _)| name.as_str());
        self.before.iter().chain(after).filter_map(Segment::variable).chain(many)
    }

    /// How many of these facts it names by their values; `None` where one of them contradicts it.
    pub(super) fn closeness(&self, facts: &BTreeMap<String, String>) -> Option<usize> {
        let after = self.many.iter().flat_map(|(_, after)| after);
        let mut close = 0;
        for segment in self.before.iter().chain(after) {
            let (Segment::OneOf(name, _) | Segment::Like(name, _)) = segment else { continue };
            match facts.get(name) {
                Some(fact) if segment.matches(fact) => close += 1,
                Some(_) => return None,
                None => {}
            }
        }
        Some(close)
    }

    /// How many segments it has at least.
    pub(super) fn min_segments(&self) -> usize {
        self.before.len() + self.many.as_ref().map_or(0, |(_, after)| after.len() + 1)
    }

    /// Whether a path of `count` segments can match at all.
    pub(super) fn fits(&self, count: usize) -> bool {
        count == self.min_segments() || (self.many.is_some() && count > self.min_segments())
    }

    pub(super) fn matches(&self, path: &[String]) -> bool {
        if !self.fits(path.len()) {
            return false;
        }
        let after = self.many.as_ref().map_or(&[][..], |(_, after)| after);
        let head = self.before.iter().zip(path).all(|(segment, text)| segment.matches(text));
        head && after.iter().rev().zip(path.iter().rev()).all(|(segment, text)| segment.matches(text))
    }

    /// The variables' values in a path that matches.
    pub(super) fn bind(&self, path: &[String]) -> Vec<(&str, String)> {
        fn named<'t>((segment, text): (&'t Segment, &String)) -> Option<(&'t str, String)> {
            let text = match segment {
                Segment::Before(_, end) => text.strip_suffix(end.as_str()).unwrap_or(text),
                _ => text.as_str(),
            };
            Some((segment.variable()?, text.to_owned()))
        }
        let mut bound: Vec<_> = self.before.iter().zip(path).filter_map(named).collect();
        if let Some((name, after)) = &self.many {
            let end = path.len().saturating_sub(after.len());
            bound.push((name.as_str(), path.get(self.before.len()..end).unwrap_or_default().join("/")));
            bound.extend(after.iter().zip(path.get(end..).unwrap_or_default()).filter_map(named));
        }
        bound
    }

    /// Whether it has a segment that isn't a variable.
    pub(super) fn names_something(&self) -> bool {
        let after = self.many.iter().flat_map(|(_, after)| after);
        self.before.iter().chain(after).any(|segment| segment.variable().is_none())
    }

    pub(super) fn ranks(&self) -> Vec<u8> {
        let mut ranks: Vec<u8> = self.before.iter().map(Segment::rank).collect();
        if let Some((_, after)) = &self.many {
            ranks.push(0);
            ranks.extend(after.iter().map(Segment::rank));
        }
        ranks
    }

    /// `Less` when this one is tried first: literal before listed before any before many, from the left.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        other.ranks().cmp(&self.ranks())
    }

    /// Whether some path may match both. Errs on the side of yes.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let length = match (&self.many, &other.many) {
            (None, None) => self.min_segments() == other.min_segments(),
            (None, Some(_)) => other.fits(self.min_segments()),
            (Some(_), None) => self.fits(other.min_segments()),
            (Some(_), Some(_)) => true,
        };
        let ends = || self.backwards().zip(other.backwards()).all(|(a, b)| a.overlaps(b));
        length && self.before.iter().zip(&other.before).all(|(a, b)| a.overlaps(b)) && ends()
    }

    /// The segments at the path's end, the last one first, as far as they are known.
    fn backwards(&self) -> impl Iterator<Item = &Segment> {
        let known = self.many.as_ref().map_or(&self.before, |(_, after)| after);
        known.iter().rev()
    }

    /// Whether what this path writes is what `read` shows: the same object, its collection, or a subresource of it (one
    /// segment more or less), for every value that `read`'s variables can have. Below a `{x+}` of the same name it is what the
    /// file's author says that it is: there is no telling what stands under what.
    pub(super) fn writes_what(&self, read: &Self) -> bool {
        if let (Some((name, _)), Some((other, _))) = (&self.many, &read.many) {
            return name == other && self.before == read.before;
        }
        self.many.is_none()
            && read.many.is_none()
            && self.before.len().abs_diff(read.before.len()) <= 1
            && self.before.iter().zip(&read.before).all(|(write, read)| write.covers(read))
    }

    /// The same, with one template for each value of its `{x:p|q}`.
    pub(super) fn split(&self) -> Vec<Self> {
        let listed = |segment: &Segment| match segment {
            Segment::OneOf(_, values) => values.len() > 1,
            Segment::Literal(_) | Segment::Like(..) | Segment::Before(..) | Segment::Any(_) => false,
        };
        let Some(at) = self.before.iter().position(listed) else { return vec![self.clone()] };
        let Some(Segment::OneOf(name, values)) = self.before.get(at) else { return vec![self.clone()] };
        let one = |value: &String| {
            let mut one = self.clone();
            if let Some(segment) = one.before.get_mut(at) {
                *segment = Segment::OneOf(name.clone(), vec![value.clone()]);
            }
            one.split()
        };
        values.iter().flat_map(one).collect()
    }
}

/// `{x}:run`.
fn before(part: &str, template: &str) -> Result<Segment, String> {
    let found = part.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    match found.filter(|(_, end)| end.len() > 1 && end.starts_with(':') && !end.contains(['{', '}', ']'])) {
        Some((name, end)) => Ok(Segment::Before(checked(name, template)?, end.to_owned())),
        None => Err(format!("{template:?}: a variable must be a whole segment, or stand before a colon: {{x}}:run")),
    }
}

fn checked(name: &str, template: &str) -> Result<String, String> {
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if valid { Ok(name.to_owned()) } else { Err(format!("{template:?}: {name:?} is no variable's name")) }
}
