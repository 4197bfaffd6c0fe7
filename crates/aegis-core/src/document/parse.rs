//! Text → [`Node`]s, over saphyr-parser's events.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Diagnostic, Key, Node, Place, Value};

/// Deeper nesting than any file of ours needs; bounds recursion.
const MAX_DEPTH: usize = 64;
/// Larger than any file of ours; bounds memory. Bytes.
const MAX_SIZE: usize = 8 << 20;

/// More values than any file of ours has; bounds memory, since each takes many times its text.
const MAX_VALUES: usize = 300_000;
/// Line breaks of YAML 1.1 alone (`go-yaml`, and with it Kubernetes, ends a comment at them), and the byte order mark.
const READ_IN_TWO_WAYS: [char; 4] = ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

/// Reads every document of `text`; `file` is what diagnostics call it.
///
/// An empty document is left out. The first error ends the reading, since what follows it can't be trusted.
///
/// # Errors
/// What the text breaks: YAML's grammar, or one of this reader's stricter rules.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Diagnostic> {
    if text.len() > MAX_SIZE {
        let start = Place { line: 1, column: 1 };
        return Err(Diagnostic::error(file, start, "", format!("the file is larger than {} MiB", MAX_SIZE >> 20)));
    }
    check_characters(file, text)?;
    let mut reader = Reader { file, events: Parser::new_from_str(text), values: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                let node = reader.node(event, span, 0)?;
                if node.value != Value::Null {
                    documents.push(node);
                }
            }
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            _ => return Err(reader.error(span, "this is not where a document starts")),
        }
    }
}

/// Refuses characters that YAML 1.1 and 1.2 read differently: what one takes for a comment's end is text for the other.
pub(crate) fn check_characters(file: &str, text: &str) -> Result<(), Diagnostic> {
    let found = text.lines().zip(1..).find_map(|(text, line)| {
        let (character, column) = text.chars().zip(1..).find(|(character, _)| READ_IN_TWO_WAYS.contains(character))?;
        Some((Place { line, column }, u32::from(character)))
    });
    let Some((place, code)) = found else { return Ok(()) };
    let message =
        format!("U+{code:04X} is read in two ways (a line break for some): leave it out, or escape it in quotes");
    Err(Diagnostic::error(file, place, "", message))
}

struct Reader<'a> {
    file: &'a str,
    events: Events<'a>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.events.next_event() {
            Some(Ok(pair)) => Ok(pair),
            Some(Err(error)) => {
                let mark = error.marker();
                let place = Place { line: mark.line(), column: mark.col() + 1 };
                // `- "x" in session.labels`: the commonest way to get a condition's quotes wrong.
                let quotes = "a text that begins with a quote ends with it: put quotes of the other kind round the whole, \
                              such as '\"x\" in session.labels'";
                let hint = error.info().contains("trailing content after").then(|| quotes.to_owned());
                Err(Diagnostic::error(self.file, place, "", format!("not YAML: {}", error.info())).suggest(hint))
            }
            None => Err(Diagnostic::error(self.file, Place { line: 1, column: 1 }, "", "the file ends too early")),
        }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, place(span), "", message)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(self.error(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.error(span, format!("more than {MAX_VALUES} values")));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(span, anchor, tag.is_some())?;
                self.unambiguous(span, &text, style)?;
                scalar(&text, style).map_err(|message| self.error(span, message))?
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_only(span, anchor, tag.is_some())?;
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_only(span, anchor, tag.is_some())?;
                self.map(depth)?
            }
            Event::Alias(_) => return Err(self.error(span, "aliases (*name) are not used here: write the value out")),
            _ => return Err(self.error(span, "a value is missing here")),
        };
        Ok(Node { place: place(span), value })
    }

    fn plain_only(&self, span: Span, anchor: usize, tagged: bool) -> Result<(), Diagnostic> {
        if anchor != 0 {
            return Err(self.error(span, "anchors (&name) are not used here: write the value out"));
        }
        if tagged {
            return Err(self.error(span, "tags (!name) are not used here"));
        }
        Ok(())
    }

    /// In `{?a: 1}` the key is `?a` by YAML 1.2 and `a` by YAML 1.1.
    fn unambiguous(&self, span: Span, text: &str, style: ScalarStyle) -> Result<(), Diagnostic> {
        if style == ScalarStyle::Plain && text.starts_with(['?', ':']) {
            return Err(
                self.error(span, format!("put {text:?} in quotes: some readers take its first character for a sign"))
            );
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, style, 0, None) => {
                    self.unambiguous(span, &text, style)?;
                    text.into_owned()
                }
                _ => return Err(self.error(span, "a key must be plain text")),
            };
            if name == "<<" {
                return Err(self.error(span, "merge keys (<<) are not used here: write the values out"));
            }
            if let Some(line) = seen.insert(name.clone(), span.start.line()) {
                let message = format!("the key {name:?} stands twice in the same mapping");
                let hint = format!("it is on line {line} already: put both together there");
                return Err(self.error(span, message).suggest(Some(hint)));
            }
            let key = Key { place: place(span), name };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push((key, node));
        }
    }
}

fn place(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// YAML 1.2 core schema (§10.3.2) for plain scalars; anything quoted is text.
fn scalar(text: &str, style: ScalarStyle) -> Result<Value, String> {
    if style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => return number(text),
    })
}

fn number(text: &str) -> Result<Value, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |prefix, radix| digits.strip_prefix(prefix).map(|rest| i64::from_str_radix(rest, radix));
    if text == digits
        && let Some(parsed) = radix("0x", 16).or_else(|| radix("0o", 8))
    {
        return parsed.map(Value::Int).or_else(|_| Ok(Value::Text(text.to_owned())));
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && digits.contains(|c: char| c.is_ascii_digit());
    if !numeric {
        return Ok(Value::Text(text.to_owned()));
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(format!(
                "{text} is octal for some readers and decimal for others: write it without the 0, or in quotes"
            ));
        }
        return text.parse().map(Value::Int).map_err(|_| format!("the number {text} is too large"));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        Ok(_) => Err(format!("the number {text} is too large")),
        Err(_) => Ok(Value::Text(text.to_owned())),
    }
}
