//! The strict reader of HTTP/1.1's framing: where each message and its body end, in a grammar without a second reading.
//!
//! It stands before hyper ([`super::wire`]): what it lets through is so plain that hyper, and whoever else reads it, sees the
//! same messages. What two parsers are known to delimit differently is [`Malformed`], not repaired: a bare LF, a folded line,
//! a length beside a coding, two lengths (equal ones too), a name that only resembles a framing header's, a body where a
//! method has none. RFC 9112 lets a recipient repair some of these; a gateway that decides about what it read must not.
//!
//! Invariants: bytes are let through once, in order, and unchanged; nothing of a head goes through before all of it was read;
//! the state is bounded (a head by its limit, a chunk's line and a trailer section by theirs).
//! Deliberately absent: what a message means (`frame` and `way` read that, once its sender is known), and any I/O.

mod head;
#[cfg(test)]
mod tests;

/// The longest line that says a chunk's size, its extensions included.
const CHUNK_LINE: usize = 256;
/// The largest trailer section, in bytes.
const TRAILERS: usize = 8 * 1024;

/// Why a message can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// The status it is answered with: 400, 414, 431, 501 or 505.
    pub status: u16,
    /// For records and metrics.
    pub reason: &'static str,
    /// For the caller.
    pub message: &'static str,
}

impl Malformed {
    /// The client stopped in the middle of a head.
    pub(super) const INCOMPLETE: Self = Self::new("head_incomplete", "the request ended in the middle of its head");

    const fn new(reason: &'static str, message: &'static str) -> Self {
        Self { status: 400, reason, message }
    }

    const fn with_status(status: u16, reason: &'static str, message: &'static str) -> Self {
        Self { status, reason, message }
    }
}

/// The reader of one connection's requests. See the module.
#[derive(Debug, Clone)]
pub struct Reader {
    state: State,
    /// Whether the message under way may end in another protocol.
    switches: bool,
    head_limit: usize,
    heads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two messages, or inside a head; so many bytes of it hold no end.
    Head { scanned: usize },
    /// Inside a body with so much left.
    Body(u64),
    /// Inside a chunked body.
    Chunked(Chunk),
    /// After a message that asked for another protocol: what follows belongs to whichever protocol the answer says.
    Waiting,
    /// Another protocol.
    Opaque,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// Before a line with a size.
    Size,
    /// Inside a chunk with so much left.
    Data(u64),
    /// Before the line end that ends a chunk.
    End,
    /// After the last chunk, so many bytes of trailers read.
    Trailers(usize),
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
}

impl Reader {
    /// A reader of heads of at most `head_limit` bytes.
    pub fn new(head_limit: usize) -> Self {
        Self { state: State::Head { scanned: 0 }, switches: false, head_limit, heads: 0 }
    }

    /// How many heads were let through.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether it waits to be told which protocol comes next ([`Reader::resume`]).
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether a message's head comes next, or is under way.
    pub fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// How many of the next bytes need no reading: they are a body's, or another protocol's.
    pub fn plain(&self) -> u64 {
        match self.state {
            State::Body(left) | State::Chunked(Chunk::Data(left)) => left,
            State::Opaque => u64::MAX,
            State::Head { .. } | State::Chunked(_) | State::Waiting => 0,
        }
    }

    /// Goes on after [`Reader::is_waiting`]: in another protocol, or with the next message.
    pub fn resume(&mut self, switched: bool) {
        if self.is_waiting() {
            self.state = if switched { State::Opaque } else { State::Head { scanned: 0 } };
        }
    }

    /// Reads on. `bytes` are all that were not let through yet; answers how many of them may go now, from the front.
    ///
    /// # Errors
    /// Why the message at the front can't be taken. Nothing may be read after it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        loop {
            match self.step(bytes.get(taken..).unwrap_or_default()) {
                Ok(0) => return Ok(taken),
                Ok(now) => taken += now,
                // What is before it goes first; it will be found again.
                Err(_) if taken > 0 => return Ok(taken),
                Err(malformed) => return Err(malformed),
            }
        }
    }

    /// One part of a message; changes nothing when it fails.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self.state {
            State::Waiting => Ok(0),
            State::Head { scanned } => self.head(bytes, scanned),
            State::Body(_) | State::Opaque | State::Chunked(Chunk::Data(_)) => {
                let now = bytes.len().min(usize::try_from(self.plain()).unwrap_or(usize::MAX));
                self.took(now as u64);
                Ok(now)
            }
            State::Chunked(chunk) => self.chunk(chunk, bytes),
        }
    }

    /// Counts `now` bytes of [`Reader::plain`] that went through unread.
    pub fn took(&mut self, now: u64) {
        match self.state {
            State::Body(left) if left == now => self.message_ended(),
            State::Body(left) => self.state = State::Body(left.saturating_sub(now)),
            State::Chunked(Chunk::Data(left)) if left == now => self.state = State::Chunked(Chunk::End),
            State::Chunked(Chunk::Data(left)) => self.state = State::Chunked(Chunk::Data(left.saturating_sub(now))),
            State::Head { .. } | State::Chunked(_) | State::Waiting | State::Opaque => {}
        }
    }

    fn head(&mut self, bytes: &[u8], scanned: usize) -> Result<usize, Malformed> {
        let end = head::end(bytes, scanned)?;
        if end.unwrap_or(bytes.len()) > self.head_limit {
            let message = "the request's head is larger than what is taken here";
            return Err(Malformed::with_status(431, "head_too_large", message));
        }
        let Some(end) = end else {
            // A CR at the end may be half a line end.
            self.state = State::Head { scanned: bytes.len().saturating_sub(1) };
            return Ok(0);
        };
        let head = head::check(bytes.get(..end).unwrap_or_default())?;
        self.heads += 1;
        self.switches = head.switches;
        match head.length {
            Length::Known(0) => self.message_ended(),
            Length::Known(length) => self.state = State::Body(length),
            Length::Chunked => self.state = State::Chunked(Chunk::Size),
        }
        Ok(end)
    }

    fn chunk(&mut self, chunk: Chunk, bytes: &[u8]) -> Result<usize, Malformed> {
        let longest = match chunk {
            Chunk::Size => CHUNK_LINE,
            Chunk::End | Chunk::Data(_) => 2,
            Chunk::Trailers(read) => TRAILERS.saturating_sub(read),
        };
        let Some(line) = head::line(bytes)? else {
            if bytes.len() > longest {
                return Err(Malformed::new("chunk_line", "a line of the chunked body is too long"));
            }
            return Ok(0);
        };
        let taken = line.len() + 2;
        if taken > longest {
            return Err(Malformed::new("chunk_line", "a line of the chunked body is too long"));
        }
        match chunk {
            Chunk::Size => match chunk_size(line)? {
                0 => self.state = State::Chunked(Chunk::Trailers(0)),
                size => self.state = State::Chunked(Chunk::Data(size)),
            },
            Chunk::End | Chunk::Data(_) if line.is_empty() => self.state = State::Chunked(Chunk::Size),
            Chunk::End | Chunk::Data(_) => {
                return Err(Malformed::new("chunk_data", "a chunk is longer than its size says"));
            }
            Chunk::Trailers(_) if line.is_empty() => self.message_ended(),
            Chunk::Trailers(read) => {
                head::field(line)?;
                self.state = State::Chunked(Chunk::Trailers(read + taken));
            }
        }
        Ok(taken)
    }

    fn message_ended(&mut self) {
        self.state = if self.switches { State::Waiting } else { State::Head { scanned: 0 } };
    }
}

/// A chunk's size (RFC 9112 §7.1): hexadecimal digits, then the end or extensions, which mean nothing to us.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let malformed = Malformed::new("chunk_size", "a chunk's size is malformed");
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let (digits, extensions) = line.split_at_checked(end).ok_or(malformed)?;
    if digits.is_empty()
        || digits.len() > 15
        || !digits.iter().all(u8::is_ascii_hexdigit)
        || !head::are_extensions(extensions)
    {
        return Err(malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| malformed)
}
