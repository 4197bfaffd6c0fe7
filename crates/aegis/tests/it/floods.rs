//! Many connections that do nothing, or next to it: the honest are served meanwhile, and memory stays flat.
//!
//! `AEGIS_FLOOD=10000` opens as many (it takes that many file descriptors here, and twice as many in the gateway).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::process::{Folder, raw};
use crate::upstream::Upstream;

const POLICY: &str = "agent: tester\nactions: [{name: http/request}]\n";

#[test]
fn idle_and_dripping_connections_cost_little_and_keep_nobody_out() {
    let many = std::env::var("AEGIS_FLOOD").map_or(1500, |number| number.parse().expect("a number"));
    let tool = Upstream::start(None);
    let config = format!(
        "routes: [{{name: tool, upstream: \"http://{}\"}}]\n\
         limits: {{connections: {}, connections_per_client: {}, head_time: 2m}}\n",
        tool.address,
        many + 600,
        many + 500
    );
    let gateway = Folder::with(&config, &[("tester.yaml", POLICY)]).serve();
    let token = gateway.folder.agent("tester");
    let get = format!("GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nConnection: close\r\n\r\n");
    let ask = || {
        let started = Instant::now();
        assert!(raw(gateway.address("proxy"), &get).starts_with("HTTP/1.1 200"));
        started.elapsed()
    };
    for _ in 0..20 {
        ask();
    }
    let before = gateway.memory();
    let connect = || TcpStream::connect(gateway.address("proxy")).expect("connected");
    let idle: Vec<TcpStream> = (0..many).map(|_| connect()).collect();
    let mut dripping: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    let mut slowest = Duration::ZERO;
    for byte in get.bytes().take(20) {
        for stream in &mut dripping {
            stream.write_all(&[byte]).expect("taken");
        }
        slowest = slowest.max(ask());
    }
    let grown = gateway.memory().saturating_sub(before);
    let each = grown / (many + 200);
    println!("{many} idle and 200 dripping connections: {each} bytes each; the slowest honest answer took {slowest:?}");
    assert!(each < 48 << 10, "{each} bytes for each connection");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    drop((idle, dripping));
    assert!(ask() < Duration::from_secs(5));
}

#[test]
fn one_address_leaves_the_others_their_share() {
    let tool = Upstream::start(None);
    let config =
        format!("routes: [{{name: tool, upstream: \"http://{}\"}}]\nlimits: {{connections: 40}}\n", tool.address);
    let gateway = Folder::with(&config, &[("tester.yaml", POLICY)]).serve();
    let connect = || TcpStream::connect(gateway.address("proxy")).expect("connected");
    let held: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    // Half of them are one client's; the rest were closed at once.
    let open = held.iter().filter(|stream| still_open(stream)).count();
    assert_eq!(open, 20);
}

/// Nothing comes, and no end either.
fn still_open(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
