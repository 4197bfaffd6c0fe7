//! The same text as its reader will see it: full-width digits folded, invisible letters left out, escapes resolved. What is found
//! there is taken out where it stands in the text as it came.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// A text, and for each of its bytes (and its end) the place in the text that it was made of.
pub(super) struct View {
    pub(super) text: String,
    map: Vec<u32>,
    /// Whether what is put in has to be written as `%XX`.
    pub(super) percent: bool,
}

impl View {
    fn empty(of: &str) -> Option<Self> {
        // A place is 32 bits; bodies are far smaller.
        (u32::try_from(of.len()).is_ok()).then(|| Self {
            text: String::with_capacity(of.len()),
            map: Vec::with_capacity(of.len() + 1),
            percent: false,
        })
    }

    fn push(&mut self, letter: char, from: usize) {
        self.text.push(letter);
        self.map.resize(self.text.len(), from as u32);
    }

    fn end(mut self, of: &str) -> Self {
        self.map.push(of.len() as u32);
        self
    }

    /// A range of this text, as it came.
    pub(super) fn back(&self, start: usize, end: usize) -> (usize, usize) {
        let at = |place: usize| self.map.get(place).or(self.map.last()).map_or(0, |at| *at as usize);
        (at(start), at(end))
    }

    /// Without what a reader doesn't see, and with the letters that it reads as ASCII being that. `None`: it is that already.
    pub(super) fn folded(text: &str) -> Option<Self> {
        if text.is_ascii() {
            return None;
        }
        let normal = DecomposingNormalizerBorrowed::new_nfkd();
        let mut view = Self::empty(text)?;
        for (at, letter) in text.char_indices() {
            match letter {
                _ if letter.is_ascii() => view.push(letter, at),
                _ if is_invisible(letter) => {}
                '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => view.push('-', at),
                _ if letter.is_whitespace() => view.push(' ', at),
                _ => match digit(letter) {
                    Some(digit) => view.push(digit, at),
                    None => view.compatible(&normal, letter, at),
                },
            }
        }
        Some(view.end(text))
    }

    /// A letter that is another way to write ASCII letters, as those; any other as it is.
    fn compatible(&mut self, normal: &DecomposingNormalizerBorrowed<'_>, letter: char, at: usize) {
        let mut plain = normal.normalize_iter(std::iter::once(letter)).filter(|part| !is_mark(*part)).peekable();
        if plain.peek().is_some_and(char::is_ascii) {
            plain.for_each(|part| self.push(part, at));
        } else {
            self.push(letter, at);
        }
    }

    /// With `%40` as `@`. `None`: there is none.
    pub(super) fn percent(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let escape = |at: usize| {
            let digits = bytes.get(at..at + 3)?.strip_prefix(b"%")?;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16)
                .ok()
                .filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
        };
        memchr::memchr_iter(b'%', bytes).find(|at| escape(*at).is_some())?;
        let form = !text.contains(' ');
        let mut view = Self::empty(text)?;
        view.percent = true;
        let (mut at, mut found) = (0, false);
        while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let run: Vec<u8> = (0..4).map_while(|next| escape(at + next * 3)).collect();
            // A letter is one to four bytes.
            let whole = (1..=run.len()).find_map(|count| {
                let letter = std::str::from_utf8(run.get(..count)?).ok()?.chars().next()?;
                Some((letter, count * 3))
            });
            found |= whole.is_some();
            let (shown, length) = match (whole, letter) {
                (Some(whole), _) => whole,
                (None, '+') if form => (' ', 1),
                (None, letter) => (letter, letter.len_utf8()),
            };
            view.push(shown, at);
            at += length;
        }
        found.then(|| view.end(text))
    }

    /// With the escapes of JSON, of programs and of HTML resolved. `None`: there is none.
    pub(super) fn unescaped(text: &str) -> Option<Self> {
        if memchr::memchr(b'\\', text.as_bytes()).is_none() && memchr::memmem::find(text.as_bytes(), b"&").is_none() {
            return None;
        }
        let mut view = Self::empty(text)?;
        let (mut at, mut found) = (0, false);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let letter = rest.chars().next().unwrap_or(' ');
            let escape = match letter {
                '\\' => backslash(rest),
                '&' => entity(rest),
                _ => None,
            };
            found |= escape.is_some();
            let (shown, length) = escape.unwrap_or((letter, letter.len_utf8()));
            view.push(shown, at);
            at += length;
        }
        found.then(|| view.end(text))
    }
}

fn hex(text: Option<&str>) -> Option<u32> {
    text.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
}

fn backslash(rest: &str) -> Option<(char, usize)> {
    let simple = |letter: char| Some((letter, 2));
    match rest.as_bytes().get(1)? {
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'"' => simple('"'),
        b'\'' => simple('\''),
        b'/' => simple('/'),
        b'\\' => simple('\\'),
        b'x' => hex(rest.get(2..4)).and_then(char::from_u32).map(|letter| (letter, 4)),
        b'u' => {
            let unit = hex(rest.get(2..6))?;
            if (0xd800..0xdc00).contains(&unit) && rest.get(6..8) == Some("\\u") {
                let low = hex(rest.get(8..12)).filter(|low| (0xdc00..0xe000).contains(low))?;
                return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).map(|letter| (letter, 12));
            }
            char::from_u32(unit).map(|letter| (letter, 6))
        }
        _ => None,
    }
}

fn entity(rest: &str) -> Option<(char, usize)> {
    let end = rest.bytes().take(10).position(|byte| byte == b';')?;
    let name = rest.get(1..end)?;
    let letter = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => hex(Some(digits)),
            None => number.parse().ok(),
        }
        .and_then(char::from_u32)?,
        None => match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "commat" => '@',
            "nbsp" => ' ',
            _ => return None,
        },
    };
    Some((letter, end + 1))
}

/// Letters that take no room (Unicode, Default_Ignorable_Code_Point).
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
        || is_mark(letter)
}

/// Accents that stand on the letter before them.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// The zeros of other scripts (Unicode, general category Nd): nine more digits follow each.
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x104a0, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0,
    0x11650, 0x116c0, 0x11730, 0x118e0,
];

fn digit(letter: char) -> Option<char> {
    let code = letter as u32;
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}
