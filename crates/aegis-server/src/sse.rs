//! Server-sent events (WHATWG HTML §9.2), cut out of a stream of bytes one by one, so that each can be looked at and passed on.
//!
//! Invariant: what isn't changed is passed on byte by byte. An event that is larger than a message may be isn't kept: it ends the
//! stream. What stands behind the last blank line is no event, and is dropped.

use bytes::{Bytes, BytesMut};

/// An event is larger than a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub(crate) struct TooLarge(usize);

/// Cuts events out of bytes.
#[derive(Debug)]
pub(crate) struct Events {
    pending: BytesMut,
    /// Up to where `pending` was looked through: the start of the line that isn't complete.
    line: usize,
    limit: usize,
    started: bool,
}

/// One event, as it came: its lines, blank line included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event(pub(crate) Bytes);

impl Events {
    /// Cuts events of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { pending: BytesMut::new(), line: 0, limit, started: false }
    }

    /// Takes bytes, and gives the events that are complete by them.
    ///
    /// # Errors
    /// The event that begins is too large.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        self.pending.extend_from_slice(bytes);
        if !self.started {
            let mark = b"\xef\xbb\xbf";
            if self.pending.len() < mark.len() && mark.starts_with(&self.pending) {
                return Ok(Vec::new());
            }
            if self.pending.starts_with(mark) {
                let _ = self.pending.split_to(mark.len());
            }
            self.started = true;
        }
        let mut events = Vec::new();
        while let Some((content, end)) = line_end(&self.pending, self.line) {
            if content == self.line {
                events.push(Event(self.pending.split_to(end).freeze()));
                self.line = 0;
            } else {
                self.line = end;
            }
        }
        if self.pending.len() > self.limit { Err(TooLarge(self.limit)) } else { Ok(events) }
    }
}

/// Where the line that starts at `from` ends, without and with its line break. A CR at the very end may be half of one.
fn line_end(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let at = from + rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\n'), _) => Some((at, at + 1)),
        (Some(b'\r'), Some(b'\n')) => Some((at, at + 2)),
        (Some(b'\r'), Some(_)) => Some((at, at + 1)),
        _ => None,
    }
}

impl Event {
    /// What it says.
    pub(crate) fn data(&self) -> Option<Vec<u8>> {
        let mut data: Option<Vec<u8>> = None;
        for line in self.lines() {
            let (field, value) = split(line);
            if field == b"data" {
                match &mut data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => data = Some(value.to_vec()),
                }
            }
        }
        data
    }

    /// The same event, saying this.
    pub(crate) fn saying(&self, data: &str) -> Bytes {
        let mut out = BytesMut::new();
        for line in self.lines().filter(|line| split(line).0 != b"data" && !line.is_empty()) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
        }
        out.extend_from_slice(&said(data));
        out.freeze()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (content, end) = match line_end(&self.0, from) {
                Some(found) => found,
                None if from < self.0.len() => (self.0.len() - 1, self.0.len()),
                None => return None,
            };
            let line = self.0.get(from..content);
            from = end;
            line
        })
    }
}

/// An event that says this and nothing else.
pub(crate) fn said(data: &str) -> Bytes {
    let mut out = BytesMut::new();
    for line in data.lines() {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
    out.freeze()
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return (line, b"") };
    let (field, rest) = line.split_at_checked(colon).unwrap_or((line, b""));
    let value = rest.get(1..).unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut events = Events::new(64);
        let cut = chunks.iter().flat_map(|chunk| events.push(chunk).expect("small"));
        cut.map(|event| event.data().unwrap_or_default()).collect()
    }

    #[test]
    fn events_are_cut_wherever_the_bytes_are() {
        let text =
            b"\xef\xbb\xbfid: 1\ndata: {\"a\":1}\n\nevent: x\r\ndata:one\r\ndata: two\r\n\r\n:ping\r\rdata: last\n\n";
        let whole = cut(&[text]);
        assert_eq!(whole, [b"{\"a\":1}".to_vec(), b"one\ntwo".to_vec(), Vec::new(), b"last".to_vec()]);
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(cut(&[a, b]), whole, "cut at {at}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&single), whole);
    }

    #[test]
    fn a_changed_event_keeps_what_isnt_its_data() {
        let mut events = Events::new(64);
        let found = events.push(b"id: 7\nretry: 5\ndata: a\ndata: b\n\ndata: unfinished").expect("small");
        assert_eq!(found.len(), 1);
        let event = found.first().expect("one");
        assert_eq!(event.saying("new").as_ref(), b"id: 7\nretry: 5\ndata: new\n\n");
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::new(8);
        assert!(events.push(b"data: 12").expect("not yet").is_empty());
        assert_eq!(events.push(b"3"), Err(TooLarge(8)));
    }
}
