//! What stands around a number and says what it is: a word in front of it or shortly behind it, or the name of its field.

/// Furthest in front, and behind.
const BEFORE: usize = 48;
const BEHIND: usize = 28;

/// The surroundings of numbers in a text.
pub(super) struct Context<'a> {
    text: &'a str,
    /// The field's name as words: `patientPhone_no` is `patient phone no`.
    field: String,
    /// The same in one word.
    joined: String,
}

impl<'a> Context<'a> {
    pub(super) fn of(field: &str, text: &'a str) -> Self {
        let field = words_of(field);
        let joined = field.replace(' ', "");
        Self { text, field, joined }
    }

    /// Whether one of `words` stands before `start`, behind `end`, or in the field's name.
    pub(super) fn says(&self, words: &[&str], start: usize, end: usize) -> bool {
        let named = !self.field.is_empty()
            && words.iter().any(|word| {
                stands(&self.field, word) || (word.len() > 4 && self.joined.contains(&word.replace([' ', '-'], "")))
            });
        named || {
            let from = self.text.floor_char_boundary(start.saturating_sub(BEFORE));
            let to = self.text.ceil_char_boundary((end + BEHIND).min(self.text.len()));
            // What was taken out says nothing: what is found twice has to be found alike.
            let before =
                self.text.get(from..start).map(|text| text.rsplit(']').next().unwrap_or(text)).unwrap_or_default();
            let behind = self.text.get(end..to).map(|text| text.split('[').next().unwrap_or(text)).unwrap_or_default();
            let (before, behind) = (spaced(before), spaced(behind));
            words.iter().any(|word| stands(&before, word) || stands(&behind, word))
        }
    }
}

/// In lower case, `_` a space.
fn spaced(text: &str) -> String {
    text.to_lowercase().replace('_', " ")
}

/// A name's words: camel case, dashes and underscores are spaces.
fn words_of(name: &str) -> String {
    let mut words = String::new();
    let mut lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && lower {
            words.push(' ');
        }
        lower = letter.is_lowercase() || letter.is_ascii_digit();
        if letter.is_alphanumeric() { words.extend(letter.to_lowercase()) } else { words.push(' ') }
    }
    words
}

/// Whether a word stands in a text, not within another: a short one ends there too.
fn stands(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        let begins = !letter(text.get(..at).and_then(|before| before.chars().next_back()));
        begins && (word.len() > 4 || !letter(text.get(at + word.len()..).and_then(|rest| rest.chars().next())))
    })
}
