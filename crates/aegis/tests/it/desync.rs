//! Cases of http-desync-guardian (a proxy's own classification of requests) and llhttp (a parser's suite) over raw sockets, on the
//! forward proxy, a route and the API, with a tool behind that keeps every byte of every connection.
//!
//! The oracle is that **what arrives is what was decided**: as many requests as there are allow records, each with the method
//! and target that its answer was about, each with one framing that says its length, read by a reader of this file's own.
//! What the guardian calls severe or ambiguous is refused, its connection is closed, and not a byte of it arrives.
//!
//! `conformance/http/*.txt` says what becomes of each case, so that a change shows; `AEGIS_WRITE_CONFORMANCE=1` writes them anew.

mod cases;
mod recorder;
mod responses;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use self::cases::{Case, Class};
use self::recorder::{Arrived, Recorder};
use crate::process::{Folder, Gateway, eventually};

const POLICY: &str = "agent: tester\negress: {allow: [\"tool.test:80\"]}\nactions: [{name: http/request}]\n";

/// Where a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Route,
    Api,
}

struct World {
    gateway: Gateway,
    recorder: Recorder,
    token: String,
    operator: String,
}

impl World {
    fn new() -> Self {
        let recorder = Recorder::start();
        let address = recorder.address;
        let config = format!(
            "routes: [{{name: tool, upstream: \"http://{address}\"}}]\nupstreams: {{\"tool.test:80\": \"{address}\"}}\n"
        );
        let gateway = Folder::with(&config, &[("tester.yaml", POLICY)]).serve();
        let token = gateway.folder.agent("tester");
        let operator = std::fs::read_to_string(gateway.folder.path("aegis-data/operator.token")).expect("a token");
        Self { gateway, recorder, token, operator: operator.trim().to_owned() }
    }

    fn address(&self, way: Way) -> SocketAddr {
        self.gateway.address(if way == Way::Api { "api" } else { "proxy" })
    }

    /// Sends a case's bytes and reads until the gateway has nothing more to say.
    fn send(&self, way: Way, case: &Case) -> Vec<Answer> {
        let bytes = case.bytes(way, if way == Way::Api { &self.operator } else { &self.token });
        let mut stream = TcpStream::connect(self.address(way)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
        // It may refuse, and close, before it has read everything.
        let _ = stream.write_all(&bytes);
        let mut seen = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => seen.extend_from_slice(&buffer[..read]),
                // It waits for more of what isn't whole: there is no more.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = stream.shutdown(Shutdown::Write);
                    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
                }
                Err(_) => break,
            }
        }
        answers(&seen)
    }

    /// How many calls went through to their tool, by the records.
    fn forwarded(&self) -> usize {
        let records = self.gateway.folder.records();
        records.iter().filter(|record| record["event"] == "outcome" && record["result"] == "forwarded").count()
    }
}

/// One answer, as far as the oracle needs it.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    decision: Option<String>,
    closes: bool,
}

impl Answer {
    /// The tool's own: of a call that was allowed and whose body then broke off, the tool got no whole request.
    fn passed(&self) -> bool {
        self.decision.as_deref() == Some("allow") && self.status < 300
    }
}

fn answers(seen: &[u8]) -> Vec<Answer> {
    let text = String::from_utf8_lossy(seen);
    let mut found = Vec::new();
    let mut rest = text.as_ref();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let length: usize = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        rest = after.get(length..).unwrap_or_default();
        if status == 100 {
            continue;
        }
        let closes = field("connection").is_some_and(|value| value == "close");
        found.push(Answer { status, decision: field("aegis-decision"), closes });
    }
    found
}

/// What became of a case, in one word for each answer; and whether that keeps the oracle.
fn verdict(way: Way, case: &Case, answers: &[Answer], arrived: &Arrived) -> Result<String, String> {
    let passed = answers.iter().filter(|answer| answer.passed()).count();
    let requests = arrived.requests.as_ref().map_err(|why| format!("what arrived can't be read: {why}"))?;
    if way != Way::Api && passed != requests.len() {
        return Err(format!("{passed} allowed, and {} arrived: {requests:?}", requests.len()));
    }
    if way == Way::Api && arrived.bytes > 0 {
        return Err("the API forwarded something".to_owned());
    }
    for request in requests {
        if !case.sends(&request.method, &request.target) {
            return Err(format!("{} {} was never sent", request.method, request.target));
        }
    }
    // Whether the API reads on behind what it refuses unread is a matter of time.
    let told = if way == Way::Api { 1 } else { usize::MAX };
    let words: Vec<String> = answers.iter().take(told).map(|answer| answer.status.to_string()).collect();
    let words = if words.is_empty() { "closed".to_owned() } else { words.join(" ") };
    let refused = answers.first().is_none_or(|answer| matches!(answer.status, 400 | 414 | 431 | 501 | 505));
    // It reads no body for a path that it doesn't have.
    let unread = way == Way::Api && words == "404";
    if case.class == Class::Refuse && !unread {
        // A body that nobody has to read is on its way by the time that it turns out to be malformed.
        let begun = answers.first().is_some_and(|answer| answer.decision.as_deref() == Some("allow"));
        if !refused || !requests.is_empty() || (arrived.bytes > 0 && !begun) {
            return Err(format!("not refused: {words}, {} bytes arrived", arrived.bytes));
        }
        // Of a body that breaks off nothing says so beforehand: it just ends.
        if answers.len() > 1 || answers.first().is_some_and(|answer| !answer.closes && !begun) {
            return Err(format!("its connection stays open: {words}"));
        }
    }
    Ok(words)
}

fn conformance(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../conformance/http").join(name)
}

/// Compares with what is committed, or writes it.
fn settle(file: &str, found: &BTreeMap<String, String>, about: &str) {
    let mut text = format!("# {about}\n");
    for (case, words) in found {
        let _ = writeln!(text, "{case}\t{words}");
    }
    let path = conformance(file);
    if std::env::var_os("AEGIS_WRITE_CONFORMANCE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        return std::fs::write(&path, text).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> = similar::TextDiff::from_lines(committed.as_str(), text.as_str())
        .iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .map(|change| format!("{}{change}", change.tag()))
        .collect();
    assert!(changed.is_empty(), "{} no longer says what happens:\n{}", path.display(), changed.concat());
}

/// Cases that wait for more than there is take a second each: several gateways share them.
const GATEWAYS: usize = 4;

type Found = (BTreeMap<String, String>, Vec<String>);

fn share(cases: &[Case]) -> Found {
    let world = World::new();
    let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
    let (mut allowed, mut arrived) = (0, 0);
    for case in cases {
        let mut words = Vec::new();
        for way in [Way::Forward, Way::Route, Way::Api] {
            let answers = world.send(way, case);
            let broken = |answer: &Answer| answer.decision.as_deref() == Some("allow") && !answer.passed();
            let seen = world.recorder.take(answers.is_empty() || answers.iter().any(broken));
            allowed += answers.iter().filter(|answer| answer.passed()).count();
            arrived += seen.requests.as_ref().map_or(0, Vec::len);
            match verdict(way, case, &answers, &seen) {
                Ok(word) => words.push(word),
                Err(why) => wrong.push(format!("{} by {way:?}: {why}", case.name)),
            }
        }
        found.insert(case.name.clone(), words.join(" | "));
    }
    if !recorder::stays_quiet(&world.recorder) {
        wrong.push("something arrived that nobody was answered for".to_owned());
    }
    // The records say the same as the answers did.
    if allowed != arrived {
        wrong.push(format!("{allowed} allowed, and {arrived} arrived"));
    }
    eventually("as many outcomes as there were arrivals", || world.forwarded() == arrived);
    (found, wrong)
}

fn run(name: &str, cases: &[Case]) {
    let shares: Vec<Found> = std::thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(GATEWAYS));
        let running: Vec<_> = parts.map(|part| scope.spawn(|| share(part))).collect();
        running.into_iter().map(|share| share.join().expect("no panic")).collect()
    });
    let (found, wrong): (Vec<_>, Vec<_>) = shares.into_iter().unzip();
    let wrong = wrong.concat();
    if wrong.is_empty() {
        return settle(name, &found.into_iter().flatten().collect(), ABOUT);
    }
    panic!("{}", wrong.join("\n"));
}

const ABOUT: &str = "case, then the statuses that it gets: forward proxy | route | API";

#[test]
fn requests_of_the_desync_guardian_arrive_as_they_were_decided_or_not_at_all() {
    let Some(cases) = cases::guardian() else { return };
    assert_eq!(cases.len(), 158);
    run("desync-guardian.txt", &cases);
}

#[test]
fn requests_of_llhttp_arrive_as_they_were_decided_or_not_at_all() {
    let Some(cases) = cases::llhttp("request") else { return };
    assert!(cases.len() > 150, "{}", cases.len());
    run("llhttp-requests.txt", &cases);
}
