//! What detectors find in a text, whatever it is encoded in, and the text without it.
//!
//! A text is read as it came, folded, with its escapes and its URL encoding resolved, and what it holds in base64 and hexadecimal is
//! read the same way. What is found in any of these readings is taken out of the text as it came. Depth and work are bounded: what is
//! beyond is refused, for it could hold anything.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::detector::{Detector, Style, TokenKey, bare};
use super::encoded;
use super::find::{Rule, Span, Wanted, spans};
use super::rules::{FIELDS, IDS, TOKENS, placeholder};
use super::view::View;
use super::{Sanitizer, Unredactable};
use crate::describe::strict_json;

/// Readings within readings.
const DEPTH: usize = 10;
/// What may be read again, as a multiple of a text's length, and beside that.
const WORK: usize = 24;
const FLOOR: usize = 1 << 20;
/// How often a text is read until nothing more is found: what is taken out may lay bare what stood around it.
const ROUNDS: usize = 12;
/// Longest text that is read together with its field's name.
const NAMED: usize = 4 << 10;

/// A text without what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clean {
    pub(super) text: String,
    pub(super) kinds: BTreeSet<String>,
    /// Whether the field goes with it, where it can.
    pub(super) drop: bool,
}

/// Something found: where, and what becomes of that place.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kinds: Vec<String>,
    rank: (u8, usize),
    instead: String,
    drop: bool,
}

/// Detectors at work.
pub(super) struct Look<'a> {
    detectors: Vec<(&'a Detector, Option<&'a TokenKey>)>,
    tokens: Vec<bool>,
    ids: Vec<bool>,
    work: Cell<usize>,
    /// Whether a number may become a text: in answers, which can't be refused.
    numbers: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(detectors: impl IntoIterator<Item = (&'a Detector, Option<&'a TokenKey>)>) -> Self {
        let detectors: Vec<_> = detectors.into_iter().collect();
        let mut tokens = vec![false; TOKENS.len()];
        let mut ids = vec![false; IDS.len()];
        for (detector, _) in &detectors {
            tokens.iter_mut().zip(&detector.tokens).for_each(|(all, one)| *all |= one);
            ids.iter_mut().zip(&detector.ids).for_each(|(all, one)| *all |= one);
        }
        Self { detectors, tokens, ids, work: Cell::new(0), numbers: false }
    }

    pub(super) fn of(sanitizers: impl IntoIterator<Item = &'a Sanitizer>) -> Self {
        Self::new(sanitizers.into_iter().map(|one| (&*one.detect, one.key.as_ref())))
    }

    /// The same for what is answered.
    pub(super) fn for_answers(mut self) -> Self {
        self.numbers = true;
        self
    }

    pub(super) fn is_idle(&self) -> bool {
        self.detectors.iter().all(|(detector, _)| detector.is_empty())
    }

    /// Whether what can't be read may pass.
    pub(super) fn passes_unreadable(&self) -> bool {
        self.detectors.iter().all(|(detector, _)| detector.unreadable)
    }

    /// The text of a field without what is looked for. `None`: there is nothing.
    pub(super) fn text(&self, field: &str, text: &str) -> Result<Option<Clean>, Unredactable> {
        if self.detectors.is_empty() {
            return Ok(None);
        }
        self.work.set(text.len().saturating_mul(WORK).saturating_add(FLOOR));
        self.clean(field, text, 0)
    }

    /// What stands in the text of a field, in order.
    pub(super) fn hits(&self, field: &str, text: &str) -> Result<Vec<Hit>, Unredactable> {
        self.work.set(text.len().saturating_mul(WORK).saturating_add(FLOOR));
        self.all(field, text, 0)
    }

    fn clean(&self, field: &str, text: &str, depth: usize) -> Result<Option<Clean>, Unredactable> {
        let mut current = Cow::Borrowed(text);
        let (mut kinds, mut drop) = (BTreeSet::new(), false);
        for _ in 0..ROUNDS {
            if let Some(json) = self.json(field, &current, depth)? {
                let Some((clean, found)) = json else { break };
                kinds.extend(found);
                current = Cow::Owned(clean);
                continue;
            }
            let hits = self.all(field, &current, depth)?;
            if hits.is_empty() {
                break;
            }
            drop |= hits.iter().any(|hit| hit.drop);
            kinds.extend(hits.iter().flat_map(|hit| hit.kinds.iter().cloned()));
            let next = replaced(&current, &hits);
            if next == *current {
                break;
            }
            current = Cow::Owned(next);
        }
        Ok((!kinds.is_empty()).then(|| Clean { text: current.into_owned(), kinds, drop }))
    }

    /// A text that is JSON, without what its values hold; within `None` where they hold nothing, `None` where it is no JSON. Its
    /// escapes and its fields' names must not hide what it says.
    #[expect(clippy::type_complexity, reason = "an answer, and what it says")]
    fn json(
        &self,
        field: &str,
        text: &str,
        depth: usize,
    ) -> Result<Option<Option<(String, BTreeSet<String>)>>, Unredactable> {
        if depth >= DEPTH || !text.trim_start().starts_with(['{', '[']) {
            return Ok(None);
        }
        let Ok(mut value) = strict_json(text.as_bytes()) else { return Ok(None) };
        let mut kinds = BTreeSet::new();
        self.walk(field, &mut value, &mut kinds, depth + 1)?;
        Ok(Some((!kinds.is_empty()).then(|| (value.to_string(), kinds))))
    }

    /// Redacts a value, and adds the names of what was found.
    pub(super) fn value(
        &self,
        field: &str,
        value: &mut Value,
        kinds: &mut BTreeSet<String>,
    ) -> Result<(), Unredactable> {
        self.work.set(FLOOR.saturating_mul(WORK));
        self.walk(field, value, kinds, 0)
    }

    fn walk(
        &self,
        field: &str,
        value: &mut Value,
        kinds: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<(), Unredactable> {
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.walk(field, item, kinds, depth)),
            Value::Object(map) => {
                for (name, mut value) in std::mem::take(map) {
                    let mut found = BTreeSet::new();
                    let gone = self.member(&name, &mut value, &mut found, depth)?;
                    kinds.extend(found);
                    if gone {
                        continue;
                    }
                    let name = match self.clean("", &name, depth)? {
                        Some(clean) => {
                            kinds.extend(clean.kinds);
                            clean.text
                        }
                        None => name,
                    };
                    map.insert(name, value);
                }
                Ok(())
            }
            _ => self.leaf(field, value, kinds, depth).map(|_| ()),
        }
    }

    /// Whether the member goes.
    fn member(
        &self,
        name: &str,
        value: &mut Value,
        kinds: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<bool, Unredactable> {
        match value {
            Value::Array(_) | Value::Object(_) => self.walk(name, value, kinds, depth).map(|()| false),
            _ => self.leaf(name, value, kinds, depth),
        }
    }

    fn leaf(
        &self,
        field: &str,
        value: &mut Value,
        kinds: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<bool, Unredactable> {
        let Some(text) = text_of(value) else { return Ok(false) };
        let Some(clean) = self.clean(field, &text, depth)? else { return Ok(false) };
        kinds.extend(clean.kinds);
        if value.is_number() && !self.numbers && !clean.drop {
            return Err(Unredactable::number());
        }
        *value = Value::String(clean.text);
        Ok(clean.drop)
    }

    /// Everything in the text of a field, not overlapping, in order.
    fn all(&self, field: &str, text: &str, depth: usize) -> Result<Vec<Hit>, Unredactable> {
        let mut hits = Vec::new();
        if !field.is_empty() {
            self.field(field, text, &mut hits);
        }
        hits.extend(self.read(field, text, depth)?);
        Ok(apart(hits))
    }

    fn read(&self, field: &str, text: &str, depth: usize) -> Result<Vec<Hit>, Unredactable> {
        let mut hits = Vec::new();
        let folded = View::folded(text);
        let plain = folded.as_ref().map_or(text, |view| &view.text);
        self.plain(field, plain, &mut hits);
        self.encoded(plain, depth, &mut hits)?;
        for view in [View::percent(plain), View::unescaped(plain)].into_iter().flatten() {
            self.spend(view.text.len(), depth)?;
            let found = self.read(field, &view.text, depth + 1)?;
            hits.extend(found.into_iter().map(|hit| back(&view, hit)));
        }
        if let Some(folded) = folded {
            hits = hits.into_iter().map(|hit| back(&folded, hit)).collect();
        }
        Ok(apart(hits))
    }

    fn spend(&self, bytes: usize, depth: usize) -> Result<(), Unredactable> {
        let left = self.work.get().checked_sub(bytes).filter(|_| depth < DEPTH);
        self.work.set(left.ok_or_else(Unredactable::too_deep)?);
        Ok(())
    }

    /// What is encoded in the text.
    fn encoded(&self, text: &str, depth: usize, hits: &mut Vec<Hit>) -> Result<(), Unredactable> {
        for one in encoded::all(text) {
            self.spend(one.text.len(), depth)?;
            if one.goes_on() {
                return Err(Unredactable::encoded());
            }
            let Some(clean) = self.clean("", &one.text, depth + 1)? else { continue };
            let original = text.get(one.range.clone()).unwrap_or_default();
            let instead = one.with(&clean.text, original).ok_or_else(Unredactable::encoded)?;
            hits.push(Hit {
                start: one.range.start,
                end: one.range.end,
                kinds: clean.kinds.into_iter().collect(),
                rank: (4, 0),
                instead,
                drop: clean.drop,
            });
        }
        Ok(())
    }

    /// What stands in the text as it is.
    fn plain(&self, field: &str, text: &str, hits: &mut Vec<Hit>) {
        let wanted = Wanted { tokens: &self.tokens, ids: &self.ids };
        let found = spans(field, text, &wanted);
        hits.extend(found.into_iter().filter_map(|span| self.hit(text, span)));
        for (which, (detector, _)) in self.detectors.iter().enumerate() {
            for (index, custom) in detector.custom.iter().enumerate() {
                let Some(pattern) =
                    custom.pattern.as_ref().filter(|_| custom.field.as_ref().is_none_or(|name| *name == bare(field)))
                else {
                    continue;
                };
                let found = pattern
                    .find_iter(text)
                    .filter(|hit| !hit.is_empty() && !self.in_mask(text, hit.start(), hit.end()));
                let span = |hit: regex::Match<'_>| Span {
                    start: hit.start(),
                    end: hit.end(),
                    rule: Rule::Custom(which, index),
                };
                hits.extend(found.filter_map(|hit| self.hit(text, span(hit))));
            }
        }
        // A name and its value, as if they stood in one text: `token` and what is its.
        if !field.is_empty() && text.len() <= NAMED && self.tokens.contains(&true) {
            let head = format!("{field}: ");
            let named = format!("{head}{text}");
            let ids = Wanted { tokens: &self.tokens, ids: &[] };
            let within = spans("", &named, &ids).into_iter().filter(|span| span.start >= head.len());
            let shifted =
                within.map(|span| Span { start: span.start - head.len(), end: span.end - head.len(), ..span });
            hits.extend(shifted.filter_map(|span| self.hit(text, span)));
        }
    }

    /// A field whose text is sensitive whatever it is.
    fn field(&self, field: &str, text: &str, hits: &mut Vec<Hit>) {
        if text.is_empty() || self.placeholder(text) == Some(text.len()) {
            return;
        }
        let name = bare(field);
        let whole = |rule| Span { start: 0, end: text.len(), rule };
        for (index, (family, _, names)) in FIELDS.iter().enumerate() {
            // What a secret is of stands before it: `db_password`.
            let secret = *family == super::Kind::Secrets;
            if names.iter().any(|one| name == *one || (secret && name.ends_with(one))) {
                hits.extend(self.hit(text, whole(Rule::Field(index))));
            }
        }
        for (which, (detector, _)) in self.detectors.iter().enumerate() {
            for (index, custom) in detector.custom.iter().enumerate() {
                if custom.pattern.is_none() && custom.field.as_ref() == Some(&name) {
                    hits.extend(self.hit(text, whole(Rule::Custom(which, index))));
                }
            }
        }
    }

    /// The length of what was put in the place of something, at the start of a text.
    fn placeholder(&self, text: &str) -> Option<usize> {
        let own = |name: &str| {
            self.detectors.iter().any(|(detector, _)| detector.custom.iter().any(|rule| rule.name == name))
        };
        placeholder(text, own)
    }

    /// Whether a place is within what was put there.
    fn in_mask(&self, text: &str, start: usize, end: usize) -> bool {
        let from = text.get(..end).and_then(|before| before.rfind('[')).unwrap_or(0);
        let length = text.get(from..).and_then(|rest| self.placeholder(rest));
        length.is_some_and(|length| start >= from && end <= from + length)
    }

    /// What becomes of a span, if a detector wants it and doesn't let it pass.
    fn hit(&self, text: &str, span: Span) -> Option<Hit> {
        let value = text.get(span.start..span.end)?;
        let (rank, at) = match span.rule {
            Rule::Custom(_, index) => (0, index),
            Rule::Field(index) => (1, index),
            Rule::Token(index) => (2, index),
            Rule::Id(index) => (3, index),
        };
        let wants = |which: usize, detector: &Detector| match span.rule {
            Rule::Custom(of, _) => which == of,
            Rule::Field(index) => detector.fields.get(index) == Some(&true),
            Rule::Token(index) => detector.tokens.get(index) == Some(&true),
            Rule::Id(index) => detector.ids.get(index) == Some(&true),
        };
        let (_, (detector, key)) = self
            .detectors
            .iter()
            .enumerate()
            .find(|(which, (detector, _))| wants(*which, detector) && !detector.lets_pass(value))?;
        let kind = match span.rule {
            Rule::Custom(_, index) => detector.custom.get(index)?.name.as_str(),
            Rule::Field(index) => FIELDS.get(index)?.1,
            Rule::Token(index) => TOKENS.get(index)?.kind,
            Rule::Id(index) => IDS.get(index)?.kind,
        };
        // The same number is the same value, however it is grouped.
        let value = if rank == 3 { bare(value) } else { value.to_owned() };
        Some(Hit {
            start: span.start,
            end: span.end,
            kinds: vec![kind.to_owned()],
            rank: (rank, at),
            instead: detector.instead(*key, kind, &value),
            drop: detector.style == Style::Drop,
        })
    }
}

/// What can hold something, as text: a text, or the digits of a number.
pub(super) fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// Takes away a member of a mapping, if it is to go.
pub(super) fn drop_member(map: &mut Map<String, Value>, name: &str, gone: bool) {
    if gone {
        map.remove(name);
    }
}

fn back(view: &View, hit: Hit) -> Hit {
    let (start, end) = view.back(hit.start, hit.end);
    // What is written anew may hold letters that mean something in a URL.
    let written = view.percent && hit.rank.0 == 4;
    let instead = if written { form_urlencoded::byte_serialize(hit.instead.as_bytes()).collect() } else { hit.instead };
    Hit { start, end, instead, ..hit }
}

/// Of what overlaps, the one whose rule counts more; then the longer.
fn apart(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|a, b| {
        a.rank.cmp(&b.rank).then((b.end - b.start).cmp(&(a.end - a.start))).then(a.start.cmp(&b.start))
    });
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        // `kept` stays sorted by place, so its neighbours tell.
        let at = kept.partition_point(|other| other.start < hit.start);
        let before = at.checked_sub(1).and_then(|before| kept.get(before)).is_some_and(|other| other.end > hit.start);
        let behind = kept.get(at).is_some_and(|other| other.start < hit.end);
        if !before && !behind && hit.start < hit.end {
            kept.insert(at, hit);
        }
    }
    kept
}

fn replaced(text: &str, hits: &[Hit]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for hit in hits {
        clean.push_str(text.get(at..hit.start).unwrap_or_default());
        clean.push_str(&hit.instead);
        at = hit.end;
    }
    clean.push_str(text.get(at..).unwrap_or_default());
    clean
}
