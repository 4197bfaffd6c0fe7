//! A text that comes piece by piece, redacted on its way. What is told doesn't depend on where the pieces end.
//!
//! Whole lines go on as they come, so that whoever follows a log sees it. A line that doesn't end, and a private key that has begun,
//! are held back; longer than [`OVERLAP`] they are looked at together with that much of what follows.

use std::collections::BTreeSet;

use super::Answers;

/// What is held back at most of a text that has no lines.
const OVERLAP: usize = 32 << 10;
/// Marks of what goes over several lines.
const LONG: [(&str, &str); 1] = [("-----BEGIN", "-----END")];

/// Redacts a text that comes piece by piece.
#[derive(Debug)]
pub struct Redactor<'a> {
    answers: &'a Answers,
    held: String,
    found: BTreeSet<String>,
}

impl<'a> Redactor<'a> {
    /// One that has seen nothing yet.
    pub fn new(answers: &'a Answers) -> Self {
        Self { answers, held: String::new(), found: BTreeSet::new() }
    }

    /// What goes on, now that this has come.
    pub fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        let whole = self.held.rfind('\n').map_or(0, |end| end + 1);
        let whole = LONG.iter().fold(whole, |whole, (begin, end)| self.before_open(whole, begin, end));
        let least = self.held.floor_char_boundary(self.held.len().saturating_sub(OVERLAP));
        // What has no end is cut where nothing was found that reaches over the cut.
        let cut = if whole == 0 && self.held.len() > 2 * OVERLAP { self.quiet(least) } else { whole };
        self.pass(cut)
    }

    /// The rest.
    pub fn finish(mut self) -> (String, BTreeSet<String>) {
        let rest = self.pass(self.held.len());
        (rest, self.found)
    }

    /// What was found so far.
    pub fn found(&self) -> &BTreeSet<String> {
        &self.found
    }

    /// `whole`, or the start of something that has begun before it and not ended.
    fn before_open(&self, whole: usize, begin: &str, end: &str) -> usize {
        let Some(at) = self.held.rfind(begin) else { return whole };
        // Its last line counts once it is whole: cut in front of that, its beginning would be told without its end.
        let open = !self.held.get(at..whole).unwrap_or_default().contains(end);
        if open && self.held.len() - at < OVERLAP { whole.min(at) } else { whole }
    }

    /// The last place up to `at` that is in nothing: a space, or `at` itself.
    fn quiet(&self, at: usize) -> usize {
        let head = self.held.get(..at).unwrap_or_default();
        head.rfind([' ', ',', '\t', '}', ']', '>']).map_or(at, |space| space + 1)
    }

    fn pass(&mut self, cut: usize) -> String {
        let rest = self.held.split_off(cut);
        let text = std::mem::replace(&mut self.held, rest);
        if text.is_empty() { text } else { self.answers.text(&text, &mut self.found).unwrap_or(text) }
    }
}
