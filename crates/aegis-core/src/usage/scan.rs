//! JSON and streams of events, byte by byte, for the one object in them that matters. It doesn't check that the rest is JSON.

/// Where an object about usage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `/usage`.
    Top,
    /// `/message/usage`: the beginning of a stream.
    Message,
    /// `/response/usage`.
    Response,
    /// `/usageMetadata`.
    Metadata,
}

/// The longest object about usage that is read; the longest key that is told apart.
const LONGEST: usize = 16 * 1024;
const LONGEST_KEY: usize = 32;

/// One JSON text.
#[derive(Debug)]
pub(super) struct Scan {
    /// How many objects and lists are open; a list of answers counts for nothing.
    depth: usize,
    in_list: bool,
    started: bool,
    in_text: bool,
    escaped: bool,
    /// The text that is being read, as far as it may be a key.
    text: Vec<u8>,
    /// The key last read, on the first and on the second level.
    keys: [Vec<u8>; 2],
    taking: Option<Taking>,
}

#[derive(Debug)]
struct Taking {
    place: Place,
    depth: usize,
    bytes: Vec<u8>,
    too_long: bool,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            depth: 0,
            in_list: false,
            started: false,
            in_text: false,
            escaped: false,
            text: Vec::new(),
            keys: [Vec::new(), Vec::new()],
            taking: None,
        }
    }

    /// Whether a text has begun and ended.
    pub(super) fn is_whole(&self) -> bool {
        self.started && self.depth == 0 && !self.in_text && self.taking.is_none()
    }

    pub(super) fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Place, Option<&[u8]>)) {
        for &byte in bytes {
            self.byte(byte, &mut found);
        }
    }

    fn byte(&mut self, byte: u8, found: &mut impl FnMut(Place, Option<&[u8]>)) {
        if self.in_text {
            self.take(byte);
            match (self.escaped, byte) {
                (true, _) => self.escaped = false,
                (false, b'\\') => self.escaped = true,
                (false, b'"') => {
                    self.in_text = false;
                    return;
                }
                _ => {}
            }
            if self.text.len() < LONGEST_KEY {
                self.text.push(byte);
            }
            return;
        }
        match byte {
            b'}' | b']' => {
                // Of the object that a plain value stands in.
                if self.taking.as_ref().is_some_and(|taking| self.depth == taking.depth) {
                    self.end(found);
                }
                self.take(byte);
                self.depth = self.depth.saturating_sub(1);
                if self.taking.as_ref().is_some_and(|taking| self.depth == taking.depth) {
                    self.end(found);
                }
            }
            b',' if self.taking.as_ref().is_some_and(|taking| self.depth == taking.depth) => self.end(found),
            _ => {
                self.take(byte);
                self.other(byte);
            }
        }
    }

    fn other(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_text = true;
                self.text.clear();
            }
            b'{' | b'[' => {
                // A list of answers: each of its elements is one.
                self.in_list |= !self.started && byte == b'[';
                self.started = true;
                self.depth += 1;
            }
            b':' if self.taking.is_none() => {
                let level = self.depth.checked_sub(1 + usize::from(self.in_list));
                let Some(key) = level.and_then(|level| self.keys.get_mut(level)) else { return };
                std::mem::swap(key, &mut self.text);
                if let Some(place) = self.place() {
                    let depth = self.depth;
                    self.taking = Some(Taking { place, depth, bytes: Vec::new(), too_long: false });
                }
            }
            _ => {}
        }
    }

    /// What the value is that comes now.
    fn place(&self) -> Option<Place> {
        let level = self.depth - usize::from(self.in_list);
        let [first, second] = &self.keys;
        match (level, first.as_slice(), second.as_slice()) {
            (1, b"usage", _) => Some(Place::Top),
            (1, b"usageMetadata", _) => Some(Place::Metadata),
            (2, b"message", b"usage") => Some(Place::Message),
            (2, b"response", b"usage") => Some(Place::Response),
            _ => None,
        }
    }

    fn take(&mut self, byte: u8) {
        if let Some(taking) = &mut self.taking {
            if taking.bytes.len() < LONGEST {
                taking.bytes.push(byte);
            } else {
                taking.too_long = true;
            }
        }
    }

    fn end(&mut self, found: &mut impl FnMut(Place, Option<&[u8]>)) {
        if let Some(taking) = self.taking.take() {
            found(taking.place, (!taking.too_long).then_some(&taking.bytes));
        }
    }
}

/// A stream of server-sent events: the data of each is one JSON text.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// What of the line's name was read, and whether it is over.
    name: Vec<u8>,
    in_value: bool,
    after_cr: bool,
    scan: Option<Scan>,
}

impl Events {
    pub(super) fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Place, Option<&[u8]>)) {
        for &byte in bytes {
            let second = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if second => {}
                b'\n' | b'\r' => {
                    // An empty line ends the event.
                    if self.name.is_empty() && !self.in_value {
                        self.scan = None;
                    }
                    self.name.clear();
                    self.in_value = false;
                }
                b':' if !self.in_value => {
                    self.in_value = true;
                    if self.name == b"data" && self.scan.is_none() {
                        self.scan = Some(Scan::new());
                    }
                }
                _ if !self.in_value && self.name.len() < LONGEST_KEY => self.name.push(byte),
                _ if !self.in_value => {}
                _ if self.name == b"data" => {
                    if let Some(scan) = &mut self.scan {
                        scan.byte(byte, &mut found);
                    }
                }
                _ => {}
            }
        }
    }
}
