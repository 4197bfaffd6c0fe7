//! The cases, as the bytes that are sent. What identifies the sender and leads to the tool is put into the first request; all
//! else stays as it is.

use std::path::PathBuf;

use aegis_core::describe::canonical_target;
use aegis_core::document::{Node, Value, parse};

use super::Way;

/// What has to become of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It must be refused: its own suite says that it is dangerous, or no message.
    Refuse,
    /// Taken or refused: `conformance/http` says which.
    Open,
}

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) class: Class,
    raw: Vec<u8>,
}

/// Behind each case: a request that is in order, to be answered only where the one before it ended there.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: tool.test\r\nConnection: close\r\n\r\n";

/// What llhttp refuses, and Aegis takes: why.
const OTHERWISE: [(&str, &str); 3] = [
    ("invalid/04 HTTP protocol and ANNOUNCE method", "llhttp knows a list of methods; here policy says which may pass"),
    ("invalid/14 Invalid method", "the same: MKCOLA is a token"),
    ("method/15 PRI request HTTP2", "`PRI *` on HTTP/1.1 is no request for any tool: 404"),
];

impl Case {
    pub(super) fn bytes(&self, way: Way, token: &str) -> Vec<u8> {
        let (target, credential) = match way {
            Way::Forward => ("http://tool.test", format!("Proxy-Authorization: Bearer {token}\r\n")),
            Way::Route => ("/r/tool", format!("Aegis-Token: {token}\r\n")),
            Way::Api => ("", format!("Authorization: Bearer {token}\r\n")),
        };
        let mut bytes = adapted(&self.raw, target, &credential);
        // The one behind it is adapted too: if it were taken for a request, it should get as far as it can.
        if self.raw.ends_with(NEXT.as_bytes()) {
            bytes.truncate(bytes.len() - NEXT.len());
            bytes.extend(adapted(NEXT.as_bytes(), target, &credential));
        }
        bytes
    }

    /// Whether this method and target (as it is forwarded) stand in the case.
    pub(super) fn sends(&self, method: &str, target: &str) -> bool {
        if (method, target) == ("GET", "/smuggled") {
            return self.raw.ends_with(NEXT.as_bytes());
        }
        let text = String::from_utf8_lossy(&self.raw);
        let canonical = |word: &str| {
            let path = word.split_once("://").map_or(word, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
            path.parse().ok().and_then(|path| canonical_target(&path).ok()).is_some_and(|path| path.as_str() == target)
        };
        // A body may have taken the first bytes of what follows it.
        text.contains(&format!("{method} ")) && text.split_ascii_whitespace().any(canonical)
    }
}

/// The first request with the way in front of its target, and with a credential and a `Host` where it has none.
fn adapted(raw: &[u8], target: &str, credential: &str) -> Vec<u8> {
    let end = raw.iter().position(|byte| *byte == b'\n').map_or(raw.len(), |at| at + 1);
    let (line, rest) = raw.split_at(end);
    // The place of a path: behind the first blank.
    let at = line.windows(2).position(|pair| pair == b" /").map_or(0, |at| at + 1);
    let (method, path) = line.split_at(at);
    let mut bytes = Vec::new();
    // One empty line may stand before a request.
    if line == b"\r\n" {
        return [line, &adapted(rest, target, credential)].concat();
    }
    bytes.extend_from_slice(method);
    if at > 0 {
        bytes.extend_from_slice(target.as_bytes());
    }
    bytes.extend_from_slice(path);
    let head = String::from_utf8_lossy(rest).to_ascii_lowercase();
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let names_host = head.lines().any(|line| line.starts_with("host:"));
    bytes.extend_from_slice(credential.as_bytes());
    if !names_host {
        bytes.extend_from_slice(b"Host: tool.test\r\n");
    }
    // A named host has to be the target's.
    let rest =
        if names_host && head.starts_with("host:") { rest.splitn(2, |byte| *byte == b'\n').nth(1) } else { Some(rest) };
    if names_host && head.starts_with("host:") {
        bytes.extend_from_slice(b"Host: tool.test\r\n");
    }
    bytes.extend_from_slice(rest.unwrap_or_default());
    bytes
}

fn folder() -> Option<PathBuf> {
    let Some(corpora) = std::env::var_os("AEGIS_CORPORA") else {
        println!("not run: AEGIS_CORPORA is not set");
        return None;
    };
    Some(PathBuf::from(corpora).join("http-parser"))
}

fn files(start: &str) -> Option<Vec<(String, String)>> {
    let mut files: Vec<_> = std::fs::read_dir(folder()?)
        .expect("the corpus")
        .map(|entry| entry.expect("a file").path())
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.strip_prefix(start)?.to_owned();
            Some((name, std::fs::read_to_string(&path).expect("text")))
        })
        .collect();
    files.sort();
    Some(files)
}

/// The guardian's, each with the body that it announces.
pub(super) fn guardian() -> Option<Vec<Case>> {
    let mut cases = Vec::new();
    for (file, text) in files("desync-guardian_")? {
        let documents = parse(&file, &text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let Value::List(entries) = &documents[0].value else { panic!("{file}: no list") };
        for (number, entry) in entries.iter().enumerate() {
            let name = format!("{file}/{:02} {}", number + 1, printable(&plain(entry.get("name"))));
            cases.push(of_guardian(name, entry));
        }
    }
    Some(cases)
}

fn of_guardian(name: String, entry: &Node) -> Case {
    let mut raw =
        format!("{} {} {}\r\n", plain(entry.get("method")), plain(entry.get("uri")), plain(entry.get("version")));
    let (mut length, mut coded) = (None, false);
    if let Some(Value::List(headers)) = entry.get("headers").map(|node| &node.value) {
        for header in headers {
            let (field, value) = (plain(header.get("name")), plain(header.get("value")));
            raw.push_str(&format!("{field}: {value}\r\n"));
            let folded: String =
                field.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
            if folded == "contentlength" {
                length = length.or_else(|| value.trim().parse::<usize>().ok());
            }
            coded |= folded == "transferencoding";
        }
    }
    raw.push_str("\r\n");
    if coded {
        raw.push_str("0\r\n\r\n");
    } else {
        raw.push_str(&"a".repeat(length.unwrap_or(0).min(4 << 20)));
    }
    raw.push_str(NEXT);
    let tier = plain(entry.get("expected").and_then(|expected| expected.get("tier")));
    let class = if matches!(tier.as_str(), "Severe" | "Ambiguous") { Class::Refuse } else { Class::Open };
    // A character above U+007F stands for the byte of that value.
    let raw = raw.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect();
    Case { name: format!("{tier} {name}"), class, raw }
}

fn plain(node: Option<&Node>) -> String {
    match node.map(Node::to_json) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// llhttp's, of requests or of responses: the fenced blocks, with its escapes.
pub(super) fn llhttp(kind: &str) -> Option<Vec<Case>> {
    let mut cases = Vec::new();
    for (file, text) in files(&format!("llhttp_{kind}_"))? {
        let (mut title, mut meta, mut number) = (String::new(), String::new(), 0);
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(heading) = line.strip_prefix("##") {
                title = heading.trim_start_matches('#').trim().to_owned();
            } else if line.starts_with("<!-- meta=") {
                meta = line.to_owned();
            } else if line == "```http" {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                while lines.peek().is_some_and(|line| line.is_empty()) {
                    lines.next();
                }
                let mut log = String::new();
                if lines.peek() == Some(&"```log") {
                    log = lines.by_ref().skip(1).take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
                }
                number += 1;
                let strict = meta.contains(&format!("\"{kind}\"")) && !meta.contains("pause");
                let fails = log.contains("error code=") && !log.contains("message complete");
                let name = format!("{file}/{number:02} {title}");
                let taken = OTHERWISE.iter().any(|(known, _)| *known == name);
                let class = if strict && fails && !taken { Class::Refuse } else { Class::Open };
                let mut raw = unescaped(&block.join("\n"));
                if kind == "request" {
                    raw.extend_from_slice(NEXT.as_bytes());
                }
                cases.push(Case { name, class, raw });
            }
        }
    }
    Some(cases)
}

/// A `\` at the end of a line joins it with the next; line ends are CR LF; `\r \n \t \f \xHH \NNN` stand for bytes.
fn unescaped(block: &str) -> Vec<u8> {
    let text = block.replace("\\\n", "").replace('\n', "\r\n");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = |radix: u32, most: usize| {
            let count = more.iter().skip(usize::from(radix == 16)).take(most);
            count.take_while(|byte| char::from(**byte).is_digit(radix)).count()
        };
        let (byte, used) = match (first, more.first()) {
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'f')) => (0x0c, 2),
            (b'\\', Some(b'x')) if digits(16, 2) == 2 => (number(&more[1..3], 16), 4),
            (b'\\', Some(b'0'..=b'7')) => (number(&more[..digits(8, 3)], 8), 1 + digits(8, 3)),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    bytes
}

fn number(digits: &[u8], radix: u32) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), radix).expect("a byte")
}

impl Case {
    /// The bytes as they are.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }
}
