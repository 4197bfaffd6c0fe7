//! The decision API of the real binary: AuthZEN's own cases, and what agents may expect of it.

mod approvals;
mod certification;
mod page;
mod questions;
mod todo;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Folder, Gateway};

/// An answer of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Sends one request on a connection of its own. `None` when nobody answers.
pub(crate) fn try_send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).expect("text");
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Answer { status, headers, text: text.to_owned() })
}

/// Somebody with a token, and a gateway.
pub(crate) struct Client {
    pub(crate) api: SocketAddr,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn of(gateway: &Gateway, token: &str) -> Self {
        Self { api: gateway.address("api"), token: token.to_owned() }
    }

    pub(crate) fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("Authorization", bearer.as_str()), ("Content-Type", "application/json")], more].concat();
        try_send(self.api, method, path, &headers, body).expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], &body.to_string())
    }

    pub(crate) fn ask(&self, body: &Value) -> Value {
        let answer = self.post("/access/v1/evaluation", body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json");
        let answer = answer.json();
        fits_the_schema(&answer);
        answer
    }
}

/// What the evaluation response schema of the corpora asks: `decision` is a boolean, `context` an object if it is there.
pub(crate) fn fits_the_schema(answer: &Value) {
    assert!(answer["decision"].is_boolean(), "{answer}");
    assert!(answer.get("context").is_none_or(Value::is_object), "{answer}");
}

/// A tool's call, as an SDK asks about it.
pub(crate) fn tool(agent: &str, tool: &str, arguments: Value) -> Value {
    json!({
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": tool, "properties": {"arguments": arguments}},
    })
}

/// A file of AuthZEN's corpus; `None` where there is none, which is said.
pub(crate) fn corpus(name: &str) -> Option<String> {
    let Some(corpora) = std::env::var_os("AEGIS_CORPORA") else {
        eprintln!("not run: AEGIS_CORPORA is not set, so {name} was not tried");
        return None;
    };
    Some(std::fs::read_to_string(PathBuf::from(corpora).join("authzen").join(name)).expect("the corpus"))
}

/// Registers an agent with groups.
pub(crate) fn add(folder: &Folder, name: &str, groups: &[&str]) {
    let groups = groups.iter().flat_map(|group| ["--group", group]);
    folder.json(&["agent", "add", name].into_iter().chain(groups).collect::<Vec<_>>());
}
