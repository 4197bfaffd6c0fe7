//! A hostile agent on the same host, against the real binary.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::process::{Folder, Gateway, eventually, stderr};

const POLICY: &str = "agent: evil\nactions:\n  - name: http/request\n";

/// A tool that grants every upgrade and echoes, or answers `/slow` without an end; counts nothing.
fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).unwrap_or_default();
    let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
    if head.contains("/slow") {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\ntick\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        return;
    }
    let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

fn gateway() -> (Gateway, String) {
    let config = format!("routes: [{{name: tool, upstream: \"http://{}\"}}]\n", endless());
    let gateway = Gateway::start(&config, &[("evil.yaml", POLICY)]);
    let token = gateway.folder.agent("evil");
    (gateway, token)
}

fn send(gateway: &Gateway, path: &str, token: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address("proxy")).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let head = format!("GET /r/tool{path} HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).expect("written");
    stream
}

/// Reads up to the end of a head.
fn head(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        seen.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Whether the connection ends within its read timeout, whatever still comes before that.
fn ends(stream: &mut TcpStream) -> bool {
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    let mut buffer = [0; 4096];
    while std::time::Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            Ok(_) => {}
        }
    }
    false
}

#[test]
fn suspending_an_agent_cuts_its_upgrades_and_answers_under_way() {
    let (gateway, token) = gateway();
    let mut upgrade = send(&gateway, "/ws", &token, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    assert!(head(&mut upgrade).starts_with("HTTP/1.1 101"));
    upgrade.write_all(b"ping").expect("written");
    let mut echo = [0; 4];
    upgrade.read_exact(&mut echo).expect("the echo");
    let mut answer = send(&gateway, "/slow", &token, "");
    assert!(head(&mut answer).starts_with("HTTP/1.1 200"));

    gateway.folder.json(&["agent", "suspend", "evil"]);
    assert!(ends(&mut upgrade), "the upgrade goes on");
    assert!(ends(&mut answer), "the answer goes on");
    let cut = |record: &serde_json::Value| record["event"] == "outcome" && record["error"] == "identity_withdrawn";
    // The outcome is recorded once the connection has ended.
    eventually("both are on record as cut", || {
        gateway.folder.records().iter().filter(|record| cut(record)).count() == 2
    });
}

#[test]
fn revoking_a_token_cuts_what_it_has_under_way_and_nothing_else() {
    let (gateway, token) = gateway();
    let other = gateway.folder.token("evil");
    let upgrading = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let mut revoked = send(&gateway, "/ws", &token, upgrading);
    let mut kept = send(&gateway, "/ws", &other, upgrading);
    assert!(head(&mut revoked).starts_with("HTTP/1.1 101") && head(&mut kept).starts_with("HTTP/1.1 101"));
    let output = gateway.folder.run(&["token", "revoke", &token]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(ends(&mut revoked), "the upgrade goes on");
    kept.write_all(b"ping").expect("written");
    let mut echo = [0; 4];
    kept.read_exact(&mut echo).expect("the echo");
}

#[test]
fn idle_connections_keep_no_operator_out() {
    let config = format!("routes: [{{name: tool, upstream: \"http://{}\"}}]\n", endless());
    let gateway = Folder::with(&config, &[("evil.yaml", POLICY)]).serve_with_descriptors(256);
    gateway.folder.agent("evil");
    let hold = |address: SocketAddr| (0..150).map(move |_| TcpStream::connect(address).expect("connected"));
    let held: Vec<_> = hold(gateway.address("proxy")).chain(hold(gateway.address("api"))).collect();
    // It gets its answer while they are held: without the mend, none came before the client gave up.
    gateway.folder.json(&["agent", "suspend", "evil"]);
    drop(held);
}

#[test]
fn the_operators_token_isnt_sent_to_whoever_has_the_port_of_a_gateway_that_is_gone() {
    let folder = Folder::with("", &[("evil.yaml", POLICY)]);
    assert!(folder.run(&["agent", "add", "evil"]).status.success());
    let hostile = TcpListener::bind("127.0.0.1:0").expect("a free port");
    hostile.set_nonblocking(true).expect("set");
    let address = hostile.local_addr().expect("bound");
    let data = folder.path("aegis-data");
    std::fs::write(data.join("gateway.json"), format!("{{\"api\":\"{address}\",\"pid\":1}}")).expect("written");
    // Another command holds the directory, or a gateway that is starting.
    let lock = std::fs::File::options().write(true).open(data.join("lock")).expect("the lock");
    lock.try_lock().expect("held");

    let output = folder.run(&["agent", "list"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the data directory is in use"), "{said}");
    assert!(hostile.accept().is_err(), "it was asked");
}

#[test]
fn unfinished_bodies_of_one_agent_take_no_more_than_its_share_of_memory() {
    const BODY: usize = 250 * 1024;
    let (gateway, token) = gateway();
    let post = |sent: usize| {
        let mut stream = TcpStream::connect(gateway.address("proxy")).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let head =
            format!("POST /r/tool/ws HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nContent-Length: {BODY}\r\n\r\n");
        // Refused already, some can't be written to the end.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; sent]));
        stream
    };
    let held: Vec<_> = (0..300).map(|_| post(BODY - 1)).collect();
    // 64 MiB hold 262 of them; the others have to be answered.
    let refused = || {
        let answered = held.iter().filter(|stream| {
            stream.set_nonblocking(true).expect("set");
            let mut start = [0; 12];
            stream.peek(&mut start).is_ok_and(|read| start[..read] == *b"HTTP/1.1 503")
        });
        answered.count()
    };
    eventually("those over the share are refused", || refused() >= 300 - 262);
    drop(held);
    let again = || head(&mut post(BODY)).starts_with("HTTP/1.1 503");
    eventually("the room is given back", || !again());
}
