//! A tool that keeps every byte of every connection, and reads requests by the strictest rules that it can: one framing header,
//! lines that end with CR LF, nothing behind a message but the next one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
}

#[derive(Default)]
struct Connection {
    seen: Vec<u8>,
    closed: bool,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: usize,
}

/// What arrived since the last time.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) requests: Result<Vec<Request>, String>,
    pub(super) bytes: usize,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let this = Self { address: listener.local_addr().expect("bound"), connections: Arc::default() };
        let connections = Arc::clone(&this.connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = Arc::default();
                connections.lock().unwrap().push(Arc::clone(&connection));
                std::thread::spawn(move || {
                    serve(stream, &connection);
                    connection.lock().unwrap().closed = true;
                });
            }
        });
        this
    }

    /// What has arrived since the last time, over all connections. A call that passed is answered after all of it has arrived;
    /// `unsure`: of another nothing says so, and what is on its way is waited for.
    pub(super) fn take(&self, unsure: bool) -> Arrived {
        if unsure {
            self.calm();
        }
        let (mut found, mut bytes, mut wrong) = (Vec::new(), 0, None);
        for connection in self.connections.lock().unwrap().iter() {
            let seen = std::mem::take(&mut connection.lock().unwrap().seen);
            bytes += seen.len();
            let mut rest = seen.as_slice();
            while !rest.is_empty() && wrong.is_none() {
                match request(rest) {
                    Ok(Some((request, length))) => {
                        found.push(request);
                        rest = &rest[length..];
                    }
                    // Half a message whose connection is closed is none, for any reader.
                    Ok(None) if closes(connection) => break,
                    Ok(None) => wrong = Some(format!("half a message: {:?}", String::from_utf8_lossy(rest))),
                    Err(why) => wrong = Some(format!("{why}: {:?}", String::from_utf8_lossy(rest))),
                }
            }
        }
        Arrived { requests: wrong.map_or(Ok(found), Err), bytes }
    }

    fn calm(&self) {
        let seen = || self.connections.lock().unwrap().iter().map(|one| one.lock().unwrap().seen.len()).sum::<usize>();
        let (mut last, mut since) = (seen(), Instant::now());
        while since.elapsed() < CALM {
            std::thread::sleep(Duration::from_millis(5));
            let now = seen();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

/// Nothing has come for so long: what was sent has arrived.
const CALM: Duration = Duration::from_millis(100);

fn closes(connection: &Mutex<Connection>) -> bool {
    let until = Instant::now() + Duration::from_secs(3);
    while !connection.lock().unwrap().closed {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn serve(mut stream: TcpStream, connection: &Mutex<Connection>) {
    let (mut unanswered, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        connection.lock().unwrap().seen.extend_from_slice(&buffer[..read]);
        unanswered.extend_from_slice(&buffer[..read]);
        while let Ok(Some((_, length))) = request(&unanswered) {
            unanswered.drain(..length);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// The request at the front and its length; `None` while it isn't whole.
fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    // Each byte as a character: values may hold others than ASCII.
    let head: String = bytes[..end].iter().copied().map(char::from).collect();
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err("a bare CR, LF or NUL");
    }
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err("no request line") };
    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    for line in lines {
        let (name, value) =
            line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, ""))).ok_or("no header")?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err("no header's name");
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" if length.is_none() => length = Some(value.parse::<usize>().map_err(|_| "no length")?),
            "transfer-encoding" if !chunked && value == "chunked" => chunked = true,
            "content-length" | "transfer-encoding" => return Err("two framing headers, or a strange one"),
            "host" => hosts += 1,
            "connection" if value == "upgrade" => {}
            "proxy-authorization" | "aegis-token" | "connection" | "te" | "trailer" => {
                return Err("a header that ends here");
            }
            _ => {}
        }
    }
    let start = end + 4;
    let body = match (length, chunked) {
        (Some(_), true) => return Err("two framing headers"),
        (None, false) => Some((0, 0)),
        (Some(length), false) => (bytes.len() >= start + length).then_some((length, length)),
        (None, true) => chunks(&bytes[start..])?,
    };
    if hosts != 1 {
        return Err("not one Host");
    }
    let Some((size, length)) = body else { return Ok(None) };
    Ok(Some((Request { method: method.to_owned(), target: target.to_owned(), body: size }, start + length)))
}

/// A chunked body without extensions and trailers: its size, and how many bytes it takes.
fn chunks(bytes: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let (mut at, mut size) = (0, 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "no chunk size")?;
        let length = usize::from_str_radix(line, 16).map_err(|_| "no chunk size")?;
        at += end + 2;
        if bytes.len() < at + length + 2 {
            return Ok(None);
        }
        if &bytes[at + length..at + length + 2] != b"\r\n" {
            return Err("a chunk without an end");
        }
        at += length + 2;
        size += length;
        if length == 0 {
            return Ok(Some((size, at)));
        }
    }
}

/// Waits a moment for something that should never arrive.
pub(super) fn stays_quiet(recorder: &Recorder) -> bool {
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        if recorder.take(false).bytes > 0 {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
