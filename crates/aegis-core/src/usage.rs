//! How much of a model a call used, read from its answer as it passes: plain JSON, a stream of events, or either one gzipped.
//!
//! Nothing of the answer is kept but the object that says it. Invariants: what isn't said to the end is unknown, never zero and
//! never a part; memory doesn't grow with the answer. Deliberately absent: counting tokens ourselves.

mod scan;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use flate2::write::{GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::scan::{Events, Place, Scan};

/// Whose words the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Chat completions, responses and embeddings of OpenAI, and of all who speak as it does.
    OpenAi,
    /// Messages of Anthropic.
    Anthropic,
    /// Gemini.
    Gemini,
}

impl Dialect {
    /// Their names in a tool's definition.
    pub const ALL: [(&'static str, Self); 3] =
        [("openai", Self::OpenAi), ("anthropic", Self::Anthropic), ("gemini", Self::Gemini)];
}

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All tokens that went in, those from a cache among them.
    pub input_tokens: u64,
    /// All tokens that came out, those that weren't shown among them.
    pub output_tokens: u64,
    /// Of those that went in: read from a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Of those that went in: written to a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Most bytes of an answer that are looked at, once its coding is off.
const MOST: u64 = 256 << 20;

/// Reads one answer.
#[derive(Debug)]
pub struct Reader {
    coding: Coding,
    broken: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each answer, and it isn't moved about")]
enum Coding {
    None(Sink),
    Gzip(Box<GzDecoder<Sink>>),
    Deflate(Box<ZlibDecoder<Sink>>),
}

impl Reader {
    /// A reader for an answer with these headers; `None` where it is of a kind or coding that isn't read.
    pub fn new(dialect: Dialect, headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).map_or(Some(""), |value: &http::HeaderValue| value.to_str().ok());
        let media_type = text(CONTENT_TYPE)?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let form = match media_type.as_str() {
            "application/json" => Form::Plain(Scan::new()),
            "text/event-stream" => Form::Events(Events::default()),
            _ => return None,
        };
        let sink = Sink { form, found: Found { dialect, ..Found::default() }, seen: 0 };
        let coding = match text(CONTENT_ENCODING)?.to_ascii_lowercase().as_str() {
            "" | "identity" => Coding::None(sink),
            "gzip" | "x-gzip" => Coding::Gzip(Box::new(GzDecoder::new(sink))),
            "deflate" => Coding::Deflate(Box::new(ZlibDecoder::new(sink))),
            _ => return None,
        };
        Some(Self { coding, broken: false })
    }

    /// The next bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        let written = match &mut self.coding {
            Coding::None(sink) => sink.write_all(bytes),
            Coding::Gzip(gzip) => gzip.write_all(bytes),
            Coding::Deflate(deflate) => deflate.write_all(bytes),
        };
        self.broken = written.is_err();
    }

    /// What was used, once the answer has ended; `None` where it didn't say so to the end.
    pub fn finish(self) -> Option<Usage> {
        if self.broken {
            return None;
        }
        let sink = match self.coding {
            Coding::None(sink) => sink,
            Coding::Gzip(gzip) => gzip.finish().ok()?,
            Coding::Deflate(deflate) => deflate.finish().ok()?,
        };
        sink.finish()
    }
}

/// Where the answer's bytes go once its coding is off.
#[derive(Debug)]
struct Sink {
    form: Form,
    found: Found,
    seen: u64,
}

#[derive(Debug)]
enum Form {
    Plain(Scan),
    Events(Events),
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > MOST {
            return Err(std::io::Error::other("the answer is larger than what is looked at"));
        }
        let found = &mut self.found;
        match &mut self.form {
            Form::Plain(scan) => scan.feed(bytes, |place, text| found.take(place, text)),
            Form::Events(events) => events.feed(bytes, |place, text| found.take(place, text)),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn finish(self) -> Option<Usage> {
        let whole = match &self.form {
            Form::Plain(scan) => scan.is_whole(),
            Form::Events(_) => true,
        };
        self.found.usage().filter(|_| whole)
    }
}

/// What an answer has said so far.
#[derive(Debug)]
struct Found {
    dialect: Dialect,
    input: Option<u64>,
    output: Option<u64>,
    cached: u64,
    written: u64,
    /// Something of it couldn't be read.
    garbled: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { dialect: Dialect::OpenAi, input: None, output: None, cached: 0, written: 0, garbled: false }
    }
}

impl Found {
    fn take(&mut self, place: Place, text: Option<&[u8]>) {
        let Some(value) = text.and_then(|text| serde_json::from_slice::<Value>(text).ok()) else {
            self.garbled = true;
            return;
        };
        let count = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
        match self.dialect {
            _ if value.is_null() => {}
            Dialect::OpenAi if place != Place::Metadata => {
                let either = |one: &str, other: &str| count(one).or_else(|| count(other));
                self.input = either("/prompt_tokens", "/input_tokens");
                // Embeddings have no output, and say so by their total.
                let all = count("/total_tokens");
                self.output = either("/completion_tokens", "/output_tokens")
                    .or_else(|| all.zip(self.input).and_then(|(all, input)| all.checked_sub(input)));
                self.cached = either("/prompt_tokens_details/cached_tokens", "/input_tokens_details/cached_tokens")
                    .unwrap_or_default();
            }
            Dialect::Anthropic if place != Place::Metadata => {
                if let Some(input) = count("/input_tokens") {
                    self.cached = count("/cache_read_input_tokens").unwrap_or(self.cached);
                    self.written = count("/cache_creation_input_tokens").unwrap_or(self.written);
                    self.input = input.checked_add(self.cached).and_then(|sum| sum.checked_add(self.written));
                }
                // What a stream says at its beginning is no more than a beginning.
                if place != Place::Message {
                    self.output = count("/output_tokens");
                }
            }
            Dialect::Gemini if place == Place::Metadata => {
                self.input = count("/promptTokenCount")
                    .and_then(|prompt| prompt.checked_add(count("/toolUsePromptTokenCount").unwrap_or_default()));
                let shown = count("/candidatesTokenCount").unwrap_or_default();
                self.output = shown.checked_add(count("/thoughtsTokenCount").unwrap_or_default());
                self.cached = count("/cachedContentTokenCount").unwrap_or_default();
            }
            _ => {}
        }
    }

    fn usage(self) -> Option<Usage> {
        let (input_tokens, output_tokens) = self.input.zip(self.output).filter(|_| !self.garbled)?;
        Some(Usage { input_tokens, output_tokens, cached_tokens: self.cached, cache_write_tokens: self.written })
    }
}
