//! A shell's text → words and operators, as POSIX has them and bash reads them.
//!
//! Own code, and strict: what it doesn't know is refused, so that it can't be wrong about what follows. It knows quotes, escapes,
//! comments, plain expansions (which make a word one whose text isn't known), substitutions (which are programs of their own),
//! and redirections. It doesn't know here-documents, arithmetic, `[[`, `case`, functions and arrays.

use super::Unread;

/// How deep substitutions may stand in each other.
const DEEPEST: usize = 8;
/// The longest text that is read, in bytes.
const LONGEST: usize = 32 * 1024;

/// A word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// What is known of its text.
    pub(super) text: String,
    /// Whether it has parts that are known only when it runs.
    pub(super) dynamic: bool,
    /// Whether it may become the names of files.
    pub(super) glob: bool,
    /// Whether any part of it is quoted or escaped.
    pub(super) quoted: bool,
    /// Where the value begins, should it be an assignment.
    pub(super) value_at: Option<usize>,
}

/// What stands between words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `|` or `|&`.
    Pipe,
    /// `;`, `&`, `&&`, `||`, or the end of a line.
    End,
    Open,
    Close,
    /// `<` or `<>`: the word that follows is read.
    Input,
    /// `<<<`: the word that follows is what is read.
    HereString,
    /// `>` and its like: the word that follows is written.
    Output,
}

/// A text's tokens, and those of every program that stands within.
pub(super) fn programs(text: &str) -> Result<Vec<Vec<Token>>, Unread> {
    if text.len() > LONGEST {
        return Err(Unread("it is too long to be read"));
    }
    let strange = |c: char| c.is_control() && c != '\n' && c != '\t' || c.is_whitespace() && !c.is_ascii();
    if text.contains(strange) {
        return Err(Unread("it has characters that shells read differently"));
    }
    let mut reader = Reader { chars: text.chars().collect(), at: 0, found: Vec::new() };
    reader.program(0)?;
    Ok(reader.found)
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    found: Vec<Vec<Token>>,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn peek_after(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn takes(&mut self, text: &str) -> bool {
        let there = text.chars().enumerate().all(|(ahead, c)| self.peek_after(ahead) == Some(c));
        if there {
            self.at += text.chars().count();
        }
        there
    }

    /// To the end of the text, or to the `)` that ends a substitution.
    fn program(&mut self, depth: usize) -> Result<(), Unread> {
        if depth > DEEPEST {
            return Err(Unread("its substitutions are too deep"));
        }
        let mut tokens = Vec::new();
        let mut open = 0_usize;
        loop {
            match self.peek() {
                None if depth > 0 || open > 0 => return Err(Unread("a bracket in it isn't closed")),
                None => break,
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.peek_after(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                Some('(') if self.peek_after(1) == Some('(') => {
                    return Err(Unread("it has arithmetic, which may run programs"));
                }
                Some('(') => {
                    self.at += 1;
                    open += 1;
                    tokens.push(Token::Open);
                }
                Some(')') if open > 0 => {
                    self.at += 1;
                    open -= 1;
                    tokens.push(Token::Close);
                }
                Some(')') if depth > 0 => {
                    self.at += 1;
                    break;
                }
                Some(')') => return Err(Unread("a bracket in it wasn't opened")),
                Some('<' | '>' | '&' | '|' | ';' | '\n') => tokens.push(self.operator()?),
                Some(_) => {
                    let word = self.word(depth)?;
                    let number = !word.quoted && !word.dynamic && word.text.bytes().all(|byte| byte.is_ascii_digit());
                    // `2>`: the number says which stream is redirected.
                    if !(number && matches!(self.peek(), Some('<' | '>'))) {
                        tokens.push(Token::Word(word));
                    }
                }
            }
        }
        self.found.push(tokens);
        Ok(())
    }

    fn operator(&mut self) -> Result<Token, Unread> {
        // The longest first.
        const OPERATORS: [(&str, Option<Token>); 19] = [
            ("<<<", Some(Token::HereString)),
            ("<<", None),
            ("<(", None),
            (">(", None),
            ("<>", Some(Token::Output)),
            ("<&", Some(Token::Input)),
            ("<", Some(Token::Input)),
            ("&>>", Some(Token::Output)),
            ("&>", Some(Token::Output)),
            (">>", Some(Token::Output)),
            (">|", Some(Token::Output)),
            (">&", Some(Token::Output)),
            (">", Some(Token::Output)),
            ("&&", Some(Token::End)),
            ("&", Some(Token::End)),
            ("||", Some(Token::End)),
            ("|&", Some(Token::Pipe)),
            ("|", Some(Token::Pipe)),
            (";", Some(Token::End)),
        ];
        if self.takes("\n") {
            return Ok(Token::End);
        }
        for (text, token) in OPERATORS {
            if self.takes(text) {
                return token.ok_or(Unread("it has a here-document or a substitution of a file"));
            }
        }
        Err(Unread("it has an operator that isn't known"))
    }

    fn word(&mut self, depth: usize) -> Result<Word, Unread> {
        let mut word = Word::default();
        // How many braces are open: `{a,b}` becomes several words.
        let mut braces = 0_usize;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | '<' | '>' | '&' | '|' | ';' | '(' | ')' => break,
                '\'' => {
                    word.quoted = true;
                    self.at += 1;
                    self.until_quote(&mut word)?;
                }
                '"' => {
                    word.quoted = true;
                    self.at += 1;
                    self.double_quoted(&mut word, depth)?;
                }
                '\\' => {
                    let next = self.peek_after(1).ok_or(Unread("it ends in a backslash"))?;
                    self.at += 2;
                    if next != '\n' {
                        word.quoted = true;
                        word.text.push(next);
                    }
                }
                '$' => self.expansion(&mut word, depth, false)?,
                '`' => self.backquoted(&mut word, depth)?,
                _ => {
                    match c {
                        '*' | '?' | '[' => word.glob = true,
                        '{' => braces += 1,
                        '}' => braces = braces.saturating_sub(1),
                        ',' | '.' if braces > 0 => word.dynamic = true,
                        '=' if word.value_at.is_none() && !word.quoted && is_variable(&word.text) => {
                            word.value_at = Some(word.text.len() + 1);
                        }
                        _ => {}
                    }
                    word.text.push(c);
                    self.at += 1;
                }
            }
        }
        Ok(word)
    }

    fn until_quote(&mut self, word: &mut Word) -> Result<(), Unread> {
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\'' => return Ok(()),
                other => word.text.push(other),
            }
        }
        Err(Unread("a quote in it isn't closed"))
    }

    fn double_quoted(&mut self, word: &mut Word, depth: usize) -> Result<(), Unread> {
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(());
                }
                '\\' => {
                    match self.peek_after(1) {
                        Some('\n') => {}
                        Some(next @ ('$' | '`' | '"' | '\\')) => word.text.push(next),
                        Some(next) => word.text.extend(['\\', next]),
                        None => break,
                    }
                    self.at += 2;
                }
                '$' => self.expansion(word, depth, true)?,
                '`' => self.backquoted(word, depth)?,
                other => {
                    word.text.push(other);
                    self.at += 1;
                }
            }
        }
        Err(Unread("a quote in it isn't closed"))
    }

    /// What follows a `$`.
    fn expansion(&mut self, word: &mut Word, depth: usize, quoted: bool) -> Result<(), Unread> {
        self.at += 1;
        match self.peek() {
            Some('(') if self.peek_after(1) == Some('(') => {
                return Err(Unread("it has arithmetic, which may run programs"));
            }
            Some('(') => {
                self.at += 1;
                self.program(depth + 1)?;
            }
            Some('{') => self.braced()?,
            Some('[') => return Err(Unread("it has arithmetic, which may run programs")),
            Some('"') if !quoted => return Err(Unread("it has a text that is translated")),
            Some('\'') if !quoted => {
                // Escapes of its own; they aren't worked out.
                self.at += 1;
                word.quoted = true;
                loop {
                    match self.peek().ok_or(Unread("a quote in it isn't closed"))? {
                        '\'' => break,
                        '\\' => self.at += 2,
                        _ => self.at += 1,
                    }
                }
                self.at += 1;
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => self.at += 1,
            _ => {
                word.text.push('$');
                return Ok(());
            }
        }
        word.dynamic = true;
        Ok(())
    }

    /// `${NAME}`, and with a default or a cut that is plain text; other forms may run programs.
    fn braced(&mut self) -> Result<(), Unread> {
        self.at += 1;
        let start = self.at;
        while self.peek().is_some_and(|c| c != '}') {
            self.at += 1;
        }
        let inside: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        self.at += 1;
        let name = inside.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count();
        let rest = inside.get(name..).unwrap_or_default();
        let cut = [":-", "-", ":+", "+", "%%", "%", "##", "#"].iter().find_map(|form| rest.strip_prefix(form));
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_./*-".contains(c));
        match (name, rest.is_empty(), cut) {
            (1.., true, _) => Ok(()),
            (1.., false, Some(text)) if plain(text) => Ok(()),
            _ => Err(Unread("it has an expansion that may run programs")),
        }
    }

    fn backquoted(&mut self, word: &mut Word, depth: usize) -> Result<(), Unread> {
        self.at += 1;
        let start = self.at;
        while self.peek().is_some_and(|c| c != '`') {
            self.at += 1;
        }
        let inside = self.chars.get(start..self.at).unwrap_or_default();
        if self.peek().is_none() || inside.contains(&'\\') {
            return Err(Unread("it has a backquote that can't be followed"));
        }
        self.at += 1;
        if depth >= DEEPEST {
            return Err(Unread("its substitutions are too deep"));
        }
        let mut reader = Reader { chars: inside.to_vec(), at: 0, found: Vec::new() };
        reader.program(0)?;
        self.found.append(&mut reader.found);
        word.dynamic = true;
        Ok(())
    }
}

/// Whether a text is a variable's name, with `+` behind it where something is added.
fn is_variable(text: &str) -> bool {
    let name = text.strip_suffix('+').unwrap_or(text);
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
