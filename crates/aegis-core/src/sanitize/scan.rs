//! What a file holds that must not leave: type and place, never the value.
//!
//! JSON is read value by value, as the gateway reads a call, so that a field's name counts and a place is a path. Anything else is
//! a text, read block by block: what is longer than the overlap of two blocks may be missed where they meet.

use std::ops::Range;

use serde::Serialize;

use super::Unredactable;
use super::detector::Detector;
use super::look::{Hit, Look};
use super::view::View;
use crate::describe::strict_json;

/// A place where something was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// First byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// The type: `email`, `github_token`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The family (`pii`), or `custom`.
    pub rule: String,
    /// In JSON the pointer to the value, else empty.
    pub path: String,
}

/// What stands in a whole file.
///
/// # Errors
/// When a text in it is encoded in itself too often to be read.
pub fn scan(text: &str, detector: &Detector) -> Result<Vec<Finding>, Unredactable> {
    let json = text.trim_start().starts_with(['{', '[']) && strict_json(text.as_bytes()).is_ok();
    if json { in_json(text, detector) } else { scan_text(text, 0, detector) }
}

/// What stands in a part of a file that starts at `offset`, read as a text.
///
/// # Errors
/// When a text in it is encoded in itself too often to be read.
pub fn scan_text(text: &str, offset: u64, detector: &Detector) -> Result<Vec<Finding>, Unredactable> {
    let look = Look::new([(detector, None)]);
    let hits = look.hits("", text)?;
    Ok(hits.into_iter().flat_map(|hit| findings(hit, offset, "")).collect())
}

/// What is looked at together of a text that comes piece by piece, and how much of it is looked at again with what follows: what is
/// longer than that may be missed.
const BLOCK: usize = 1 << 20;
const OVERLAP: usize = 32 << 10;
/// What is kept of what was told already: it says what a number behind it is.
const CONTEXT: usize = 256;

/// Scans a text that comes piece by piece. What is told doesn't depend on where the pieces end.
#[derive(Debug)]
pub struct Scanner<'a> {
    detector: &'a Detector,
    held: String,
    /// Where `held` starts, and up to where was told what there is.
    offset: u64,
    told: u64,
    block: usize,
    overlap: usize,
}

impl<'a> Scanner<'a> {
    /// One that has seen nothing yet.
    pub fn new(detector: &'a Detector) -> Self {
        Self::of(detector, BLOCK, OVERLAP)
    }

    pub(super) fn of(detector: &'a Detector, block: usize, overlap: usize) -> Self {
        Self { detector, held: String::new(), offset: 0, told: 0, block, overlap }
    }

    /// What is found up to here.
    ///
    /// # Errors
    /// When a text is encoded in itself too often to be read.
    pub fn push(&mut self, text: &str) -> Result<Vec<Finding>, Unredactable> {
        self.held.push_str(text);
        if self.held.len() < self.block + self.overlap { Ok(Vec::new()) } else { self.tell(self.overlap) }
    }

    /// What is found in the rest.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn finish(mut self) -> Result<Vec<Finding>, Unredactable> {
        self.tell(0)
    }

    fn tell(&mut self, hold: usize) -> Result<Vec<Finding>, Unredactable> {
        let found = scan_text(&self.held, self.offset, self.detector)?;
        let mut cut = self.offset + self.held.floor_char_boundary(self.held.len() - hold) as u64;
        if hold > 0 {
            // What reaches over the cut is told whole, next time.
            let over = found.iter().filter(|one| one.start < cut && one.end >= cut).map(|one| one.start).min();
            cut = over.unwrap_or(cut);
        }
        let told = self.told;
        self.told = cut.max(told);
        let new = found.into_iter().filter(|one| one.start >= told && (hold == 0 || one.start < cut)).collect();
        let keep = usize::try_from(self.told - self.offset).unwrap_or(0).saturating_sub(CONTEXT);
        let keep = self.held.floor_char_boundary(keep);
        self.held.drain(..keep);
        self.offset += keep as u64;
        Ok(new)
    }
}

fn findings(hit: Hit, offset: u64, path: &str) -> Vec<Finding> {
    let Hit { start, end, kinds, .. } = hit;
    let rule = |kind: &str| super::rules::family_of(kind).map_or("custom", super::Kind::as_str).to_owned();
    let one = |kind: String| Finding {
        start: offset + start as u64,
        end: offset + end as u64,
        rule: rule(&kind),
        kind,
        path: path.to_owned(),
    };
    kinds.into_iter().map(one).collect()
}

fn in_json(text: &str, detector: &Detector) -> Result<Vec<Finding>, Unredactable> {
    let look = Look::new([(detector, None)]);
    let mut found = Vec::new();
    let mut leaves = Vec::new();
    Reader { text, at: 0, leaves: &mut leaves }.value("", "");
    for leaf in leaves {
        let raw = text.get(leaf.range.clone()).unwrap_or_default();
        let view = if leaf.is_text { View::unescaped(raw) } else { None };
        let hits = look.hits(&leaf.field, view.as_ref().map_or(raw, |view| &view.text))?;
        for mut hit in hits {
            if let Some(view) = &view {
                (hit.start, hit.end) = view.back(hit.start, hit.end);
            }
            found.extend(findings(hit, leaf.range.start as u64, &leaf.path));
        }
    }
    Ok(found)
}

/// A text or a number in a JSON text that was read already: where it stands (without its quotes), and of which field it is.
struct Leaf {
    range: Range<usize>,
    path: String,
    field: String,
    is_text: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    leaves: &'a mut Vec<Leaf>,
}

impl Reader<'_> {
    fn peek(&mut self) -> u8 {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    /// The inside of the text that starts here.
    fn string(&mut self) -> Range<usize> {
        let start = self.at + 1;
        let mut end = start;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        start..end
    }

    fn value(&mut self, path: &str, field: &str) {
        match self.peek() {
            b'{' => self.object(path),
            b'[' => self.array(path, field),
            b'"' => {
                let range = self.string();
                self.leaves.push(Leaf { range, path: path.to_owned(), field: field.to_owned(), is_text: true });
            }
            _ => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let length = rest.find([',', '}', ']', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
                let range = self.at..self.at + length;
                self.at += length.max(1);
                self.leaves.push(Leaf { range, path: path.to_owned(), field: field.to_owned(), is_text: false });
            }
        }
    }

    fn object(&mut self, path: &str) {
        self.at += 1;
        while self.at < self.text.len() {
            match self.peek() {
                b'"' => {
                    let range = self.string();
                    let raw = self.text.get(range.clone()).unwrap_or_default();
                    let name = View::unescaped(raw).map_or_else(|| raw.to_owned(), |view| view.text);
                    let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                    self.leaves.push(Leaf { range, path: path.clone(), field: String::new(), is_text: true });
                    self.peek();
                    self.at += 1;
                    self.value(&path, &name);
                }
                b'}' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    fn array(&mut self, path: &str, field: &str) {
        self.at += 1;
        let mut index = 0;
        while self.at < self.text.len() {
            match self.peek() {
                b']' => {
                    self.at += 1;
                    return;
                }
                b',' => self.at += 1,
                _ => {
                    self.value(&format!("{path}/{index}"), field);
                    index += 1;
                }
            }
        }
    }
}
