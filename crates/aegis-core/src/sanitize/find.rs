//! What stands in one plain text: two passes, whatever the number of rules. One meets the marks that secrets have (an automaton
//! over all of them) and tries the pattern of that mark there; one meets digits and holds what they are part of against the
//! numbers of its length.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

use super::context::Context;
use super::rules::{Bare, IDS, TOKENS, has_shape};

/// Something in a text, not yet asked for by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: Rule,
}

/// Which rule found it, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// Of the policy's own: which detector, which of its rules.
    Custom(usize, usize),
    /// A field whose text is sensitive.
    Field(usize),
    /// A secret.
    Token(usize),
    /// A number.
    Id(usize),
}

/// Furthest that a pattern looks from its mark.
const WINDOW: usize = 4 << 10;
/// The same for a private key.
const KEY_WINDOW: usize = 16 << 10;

/// Most groups that a number is written in.
const GROUPS: usize = 9;
/// Longest number.
const LONGEST: usize = 34;
/// Most groups that are looked at together.
const CHAIN: usize = 64;

struct Engine {
    /// Marks that are met as they are written, and in any case.
    marks: [AhoCorasick; 2],
    tokens: [Vec<usize>; 2],
    patterns: Vec<OnceLock<Option<Regex>>>,
    by_length: Vec<Vec<usize>>,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);

impl Engine {
    fn new() -> Self {
        let of = |any_case: bool| {
            let mut marks = Vec::new();
            let mut tokens = Vec::new();
            for (index, token) in TOKENS.iter().enumerate() {
                // A pattern in any case has marks in any case.
                for mark in token.marks.iter().filter(|_| token.pattern.starts_with("(?i)") == any_case) {
                    marks.push(*mark);
                    tokens.push(index);
                }
            }
            let automaton = AhoCorasick::builder()
                .ascii_case_insensitive(any_case)
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::DFA))
                .build(marks)
                .expect("a few hundred short marks");
            (automaton, tokens)
        };
        let (exact, of_exact) = of(false);
        let (any, of_any) = of(true);
        let mut by_length = vec![Vec::new(); LONGEST + 1];
        for (index, id) in IDS.iter().enumerate() {
            for (length, list) in by_length.iter_mut().enumerate() {
                let fits = |shape: &&str| match shape.strip_suffix('*') {
                    Some(fixed) => length >= fixed.len(),
                    None => length == shape.len(),
                };
                if id.shapes.iter().any(fits) {
                    list.push(index);
                }
            }
        }
        let patterns = TOKENS.iter().map(|_| OnceLock::new()).collect();
        Self { marks: [exact, any], tokens: [of_exact, of_any], patterns, by_length }
    }

    fn pattern(&self, token: usize) -> Option<&Regex> {
        let compile = || {
            let pattern = TOKENS.get(token).map(|token| format!(r"\A(?:{})", token.pattern))?;
            RegexBuilder::new(&pattern).unicode(false).build().ok()
        };
        self.patterns.get(token)?.get_or_init(compile).as_ref()
    }
}

/// Whether every pattern compiles; for tests.
#[cfg(test)]
pub(super) fn broken() -> Vec<&'static str> {
    let all = 0..TOKENS.len();
    all.filter(|token| ENGINE.pattern(*token).is_none()).map(|token| TOKENS[token].pattern).collect()
}

/// What is looked for: of tokens and of numbers, by their place in the tables.
pub(super) struct Wanted<'a> {
    pub(super) tokens: &'a [bool],
    pub(super) ids: &'a [bool],
}

/// Everything that is wanted and stands in a text, which is the text of `field`.
pub(super) fn spans(field: &str, text: &str, wanted: &Wanted<'_>) -> Vec<Span> {
    let mut found = Vec::new();
    if wanted.tokens.contains(&true) {
        tokens(text, wanted, &mut found);
    }
    if wanted.ids.contains(&true) {
        Numbers { text, bytes: text.as_bytes(), context: Context::of(field, text), wanted, found: &mut found }.all();
    }
    found
}

fn tokens(text: &str, wanted: &Wanted<'_>, found: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    for (marks, tokens) in ENGINE.marks.iter().zip(&ENGINE.tokens) {
        for hit in marks.find_overlapping_iter(bytes) {
            let Some(index) = tokens.get(hit.pattern().as_usize()) else { continue };
            if wanted.tokens.get(*index) == Some(&true)
                && let Some((start, end)) = token(bytes, *index, hit.start())
                && text.is_char_boundary(start)
            {
                found.push(Span { start, end: text.ceil_char_boundary(end), rule: Rule::Token(*index) });
            }
        }
    }
}

/// Where the token is whose mark stands at `at`.
fn token(bytes: &[u8], index: usize, at: usize) -> Option<(usize, usize)> {
    let token = TOKENS.get(index)?;
    // A dot is too common to try a pattern at each: this one has another seven letters on.
    if token.kind == "discord_token" && bytes.get(at + 7) != Some(&b'.') {
        return None;
    }
    let start = match token.back {
        None => at,
        Some((most, class)) => {
            let before = bytes.get(at.saturating_sub(most)..at)?;
            at - before.iter().rev().take_while(|byte| class(**byte)).count()
        }
    };
    let free = token.pattern.starts_with("(?i)") || token.kind == "email";
    // Not a part of a longer one; what is public, or lives for one page, is no secret.
    let before = bytes.get(start.saturating_sub(8)..start).unwrap_or_default().to_ascii_lowercase();
    if token.back.is_some_and(|(_, class)| !free && before.last().is_some_and(|byte| class(*byte)))
        || token.kind == "generic_secret"
            && ["public", "csrf", "xsrf"]
                .iter()
                .any(|word| before.windows(word.len()).any(|part| part == word.as_bytes()))
    {
        return None;
    }
    if !free && start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let window = if token.kind == "private_key" { KEY_WINDOW } else { WINDOW };
    let within = bytes.get(start..bytes.len().min(start + window))?;
    let captures = ENGINE.pattern(index)?.captures(within)?;
    let hit = captures.name("v").or_else(|| captures.get(0))?;
    // `_` ends it where it isn't one of its letters, else that would be the way to hide one.
    let has_it = ["_-]", "9_", "_.]", "_~"].iter().any(|letters| token.pattern.contains(letters));
    let joins =
        has_it && token.kind != "github_token" || !(token.family == super::Kind::Secrets || token.kind == "email");
    let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || joins && *byte == b'_');
    let bounded = captures.name("v").is_some() || within.get(hit.end()).is_none_or(ends);
    let holds = || std::str::from_utf8(hit.as_bytes()).map_or(true, |text| (token.holds)(text));
    (bounded && holds()).then(|| (start + hit.start(), start + hit.end()))
}

struct Numbers<'a> {
    text: &'a str,
    bytes: &'a [u8],
    context: Context<'a>,
    wanted: &'a Wanted<'a>,
    found: &'a mut Vec<Span>,
}

/// Letters and digits without anything between.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    digits: bool,
}

impl Run {
    fn len(self) -> usize {
        self.end - self.start
    }
}

/// What may stand between two groups of a number.
fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'_')
}

impl Numbers<'_> {
    fn all(&mut self) {
        let mut at = 0;
        let mut chain = Vec::new();
        while let Some(digit) = self.bytes.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
            let start = self.run_start(at + digit, at);
            at = self.chain(start, &mut chain);
            self.numbers(&chain);
        }
    }

    /// Where the first group starts of a number that has a digit at `digit`: one or two letters may stand before it.
    fn run_start(&self, digit: usize, floor: usize) -> usize {
        let back = |from: usize| {
            let run = self.bytes.get(floor..from).unwrap_or_default().iter().rev();
            from - run.take(LONGEST + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count()
        };
        let start = back(digit);
        match start.checked_sub(1).and_then(|before| self.bytes.get(before)) {
            Some(b' ' | b'-') if start - 1 > floor => {
                let before = back(start - 1);
                let letters = self.bytes.get(before..start - 1).unwrap_or_default();
                if (1..=2).contains(&letters.len()) && letters.iter().all(u8::is_ascii_uppercase) {
                    before
                } else {
                    start
                }
            }
            _ => start,
        }
    }

    /// The groups from `start` on that may be one number; where they end.
    fn chain(&self, start: usize, chain: &mut Vec<Run>) -> usize {
        chain.clear();
        let mut at = start;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let run = rest.get(..length).unwrap_or_default();
            let digits = run.iter().any(u8::is_ascii_digit);
            // A group of letters only is part of few numbers, and short.
            if length == 0 || !(digits || length <= 4 && run.iter().all(u8::is_ascii_uppercase)) {
                return at.max(start + 1);
            }
            chain.push(Run { start: at, end: at + length, digits });
            at += length;
            let gap =
                self.bytes.get(at..).unwrap_or_default().iter().take(2).take_while(|byte| separates(**byte)).count();
            if gap == 0 || chain.len() == CHAIN {
                return at;
            }
            at += gap;
        }
    }

    fn numbers(&mut self, chain: &[Run]) {
        let mut compact = Vec::with_capacity(LONGEST);
        let mut first = 0;
        while let Some(run) = chain.get(first) {
            if is_uuid(self.bytes, chain.get(first..).unwrap_or_default()) {
                first += 5;
                continue;
            }
            compact.clear();
            for last in first..chain.len().min(first + GROUPS + 4) {
                let Some(group) = chain.get(last) else { break };
                if compact.len() + group.len() > LONGEST {
                    break;
                }
                compact.extend_from_slice(self.bytes.get(group.start..group.end).unwrap_or_default());
                if group.digits || last > first {
                    self.number(chain.get(first..=last).unwrap_or_default(), &compact, *run, *group);
                }
            }
            first += 1;
        }
    }

    fn number(&mut self, groups: &[Run], compact: &[u8], first: Run, last: Run) {
        let Some(ids) = ENGINE.by_length.get(compact.len()).filter(|ids| !ids.is_empty()) else { return };
        let Ok(raw) = std::str::from_utf8(compact) else { return };
        let mut upper = None;
        for index in ids {
            let Some(id) = IDS.get(*index).filter(|_| self.wanted.ids.get(*index) == Some(&true)) else { continue };
            let plain = id.shapes.iter().any(|shape| has_shape(shape, compact));
            let bare = plain
                && match id.bare {
                    Bare::Always => !self.is_fraction(groups),
                    Bare::Never => false,
                    Bare::Grouped(lengths) => {
                        lengths.len() == groups.len()
                            && self.alike(groups)
                            && lengths.iter().zip(groups).all(|(length, run)| usize::from(*length) == run.len())
                    }
                };
            if bare && (id.holds)(raw) {
                self.found.push(Span { start: first.start, end: last.end, rule: Rule::Id(*index) });
                continue;
            }
            if bare || id.words.is_empty() {
                continue;
            }
            let upper = upper.get_or_insert_with(|| raw.to_ascii_uppercase());
            if (plain || id.shapes.iter().any(|shape| has_shape(shape, upper.as_bytes())))
                && (id.holds)(upper)
                && (id.kind == "phone_number" || self.alike(groups))
                && self.context.says(id.words, first.start, last.end)
            {
                self.found.push(Span { start: first.start, end: last.end, rule: Rule::Id(*index) });
            }
        }
    }

    /// Whether the same stands between all groups; around the first of a phone number there may be brackets.
    fn alike(&self, groups: &[Run]) -> bool {
        let gap = |pair: &[Run]| match pair {
            [one, two] => self.bytes.get(one.end..two.start).filter(|gap| !gap.contains(&b')')),
            _ => None,
        };
        let mut gaps = groups.windows(2).filter_map(gap);
        let first = gaps.next();
        gaps.all(|other| Some(other) == first)
    }

    /// The digits after a decimal point are no number of anything: `0.4539578763621486`.
    fn is_fraction(&self, groups: &[Run]) -> bool {
        let [run] = groups else { return false };
        let Some(point) = run.start.checked_sub(1).filter(|at| self.text.as_bytes().get(*at) == Some(&b'.')) else {
            return false;
        };
        let whole = self
            .bytes
            .get(..point)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(5)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        (1..=3).contains(&whole)
            && point
                .checked_sub(whole + 1)
                .and_then(|before| self.bytes.get(before))
                .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.')
    }
}

fn is_uuid(bytes: &[u8], groups: &[Run]) -> bool {
    let hex = |run: &Run| bytes.get(run.start..run.end).unwrap_or_default().iter().all(u8::is_ascii_hexdigit);
    let lengths = groups.iter().take(5).map(|run| run.len());
    let dashes = groups.windows(2).take(4).all(|pair| match pair {
        [one, two] => two.start == one.end + 1 && bytes.get(one.end) == Some(&b'-'),
        _ => false,
    });
    lengths.eq([8, 4, 4, 4, 12]) && dashes && groups.iter().take(5).all(hex)
}
