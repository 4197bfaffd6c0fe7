//! The other side: what a tool answers that can be read in two ways. Its client gets one answer in one framing, or 502; and
//! what stands behind an answer is never the answer to anybody's next call.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cases::{self, Case};
use crate::process::{Folder, Gateway};

/// A tool that answers `/case` with the bytes that it was given, and anything else with `next`.
#[derive(Clone)]
struct Tool {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Tool {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let this = Self { address: listener.local_addr().expect("bound"), answer: Arc::default() };
        let tool = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tool = tool.clone();
                std::thread::spawn(move || tool.serve(stream));
            }
        });
        this
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        let mut served = false;
        loop {
            // An answer that ends with its connection: nobody asks again, so this ends it.
            let _ = stream.set_read_timeout(served.then_some(Duration::from_millis(40)));
            let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
            seen.extend_from_slice(&buffer[..read]);
            if !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                continue;
            }
            let asked = seen.windows(5).any(|five| five == b"/case");
            seen.clear();
            let answer = if asked {
                self.answer.lock().unwrap().clone()
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext".to_vec()
            };
            served |= asked;
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// One answer in one framing, read to its end: status and body.
fn read(stream: &mut TcpStream) -> Result<(u16, Vec<u8>), String> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).into_owned();
            let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
            let lower = head.to_ascii_lowercase();
            let count = |name: &str| lower.split("\r\n").filter(|line| line.starts_with(name)).count();
            let (lengths, codings) = (count("content-length:"), count("transfer-encoding:"));
            if lengths + codings > 1 {
                return Err(format!("two framings: {head}"));
            }
            let mut body = seen[end + 4..].to_vec();
            let bodiless = status < 200 || status == 204 || status == 304;
            let length = lower
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            let done = match length {
                _ if bodiless => true,
                Some(length) => body.len() >= length,
                None if codings == 1 => body.ends_with(b"0\r\n\r\n"),
                None => false,
            };
            if done {
                if length.is_some_and(|length| body.len() > length && !bodiless) || (bodiless && !body.is_empty()) {
                    return Err(format!("something stands behind the answer: {head}"));
                }
                body.truncate(4096);
                return Ok((status, body));
            }
        }
        match stream.read(&mut buffer) {
            // Broken off, be it before anything of it was sent.
            Ok(0) => return Ok((status(&seen), Vec::new())),
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
            Err(error) => return Err(format!("{error}")),
        }
    }
}

fn status(seen: &[u8]) -> u16 {
    String::from_utf8_lossy(seen).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

struct World {
    gateway: Gateway,
    tool: Tool,
    token: String,
}

impl World {
    fn new() -> Self {
        let tool = Tool::start();
        let config = format!("routes: [{{name: tool, upstream: \"http://{}\"}}]\n", tool.address);
        let gateway = Folder::with(&config, &[("tester.yaml", super::POLICY)]).serve();
        let token = gateway.folder.agent("tester");
        Self { gateway, tool, token }
    }

    /// What a client gets for `/case`, and what two further calls get.
    fn ask(&self, answer: &[u8]) -> Result<String, String> {
        *self.tool.answer.lock().unwrap() = answer.to_vec();
        let first = self.get("/case")?;
        for _ in 0..2 {
            let (status, body) = self.get("/next")?;
            if (status, body.as_slice()) != (200, b"next") {
                return Err(format!("the next call got {status} {:?}", String::from_utf8_lossy(&body)));
            }
        }
        Ok(if first.0 == 0 { "none".to_owned() } else { first.0.to_string() })
    }

    fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let mut stream = TcpStream::connect(self.gateway.address("proxy")).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let head = format!("GET /r/tool{path} HTTP/1.1\r\nHost: a\r\nAegis-Token: {}\r\n\r\n", self.token);
        stream.write_all(head.as_bytes()).expect("sent");
        read(&mut stream)
    }
}

fn check(file: &str, cases: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let world = World::new();
    let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, answer) in cases {
        match world.ask(&answer) {
            Ok(words) => drop(found.insert(name, words)),
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    super::settle(file, &found, "case, then the status that the client of such an answer gets");
}

#[test]
fn answers_of_llhttp_become_one_answer_or_none() {
    let Some(cases) = cases::llhttp("response") else { return };
    assert!(cases.len() > 70, "{}", cases.len());
    check("llhttp-responses.txt", cases.iter().map(|case: &Case| (case.name.clone(), case.raw().to_vec())));
}

#[test]
fn hostile_answers_become_one_answer_or_none() {
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}");
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let cases = [
        ("two answers at once", ok("Content-Length: 2\r\n", "ok") + poison),
        ("more than its length", ok("Content-Length: 2\r\n", "ok and more")),
        ("less than its length", ok("Content-Length: 20\r\n", "ok")),
        ("differing lengths", ok("Content-Length: 2\r\nContent-Length: 4\r\n", "okok")),
        ("equal lengths", ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ok")),
        ("a list of lengths", ok("Content-Length: 2, 2\r\n", "ok")),
        ("a negative length", ok("Content-Length: -2\r\n", "ok")),
        ("a length and a coding", ok("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n")),
        ("an unknown coding", ok("Transfer-Encoding: xchunked\r\n", "2\r\nok\r\n0\r\n\r\n")),
        ("a broken chunk", ok("Transfer-Encoding: chunked\r\n", "zz\r\nok\r\n0\r\n\r\n")),
        ("an answer behind the last chunk", ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n") + poison),
        ("no answer at all", "nonsense\r\n\r\n".to_owned()),
        ("a folded line", ok("X: a\r\n b\r\nContent-Length: 2\r\n", "ok")),
        ("a NUL in a value", ok("X: a\0b\r\nContent-Length: 2\r\n", "ok")),
        ("204 with a body", format!("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok{poison}")),
        ("304 with a body", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok{poison}")),
        ("continue, then an answer", "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &ok("Content-Length: 2\r\n", "ok")),
        (
            "early hints, then an answer",
            "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".to_owned() + &ok("Content-Length: 2\r\n", "ok"),
        ),
        (
            "a protocol that nobody asked for",
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("a head of 1 MB", ok(&format!("X: {}\r\nContent-Length: 2\r\n", "a".repeat(1 << 20)), "ok")),
        ("1000 header lines", ok(&format!("{}Content-Length: 2\r\n", "X: y\r\n".repeat(1000)), "ok")),
        (
            "a header that claims a decision",
            ok("Aegis-Decision: deny\r\nAegis-Decision-Id: x\r\nContent-Length: 2\r\n", "ok"),
        ),
        ("nominated headers", ok("Connection: content-length, x-a\r\nX-A: b\r\nContent-Length: 2\r\n", "ok")),
        ("trailers", ok("Transfer-Encoding: chunked\r\nTrailer: x\r\n", "2\r\nok\r\n0\r\nX: y\r\n\r\n")),
    ];
    check("hostile-responses.txt", cases.map(|(name, answer)| (name.to_owned(), answer.into_bytes())));
}
