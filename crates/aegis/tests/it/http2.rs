//! HTTP/2 by h2spec, all sections, on every listener that speaks it; and its floods.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::process::{Folder, Gateway, raw};
use crate::tools::tool;

const POLICY: &str = "agent: tester\negress: {allow: [\"192.0.2.1:443\"]}\nactions: [{name: http/request}]\n";

/// What h2spec expects of a server that answers at length and late, and our authorizer doesn't: why.
const OF_GRPC: [(&str, &str); 3] = [
    ("Sends a WINDOW_UPDATE frame on half-closed (remote) stream", "gRPC's refusal is trailers alone, no DATA frame"),
    ("Sends a PRIORITY frame on half-closed (remote) stream", "the same"),
    (
        "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
        "each stream is answered at once, so that there are never as many",
    ),
];

/// Runs h2spec, again where something failed: where our answer crosses what it sends, it sees the answer and not the reset.
/// What failed each time and isn't among `known`.
fn h2spec(address: SocketAddr, tls: bool, known: &[(&str, &str)]) -> Vec<String> {
    let once = || {
        let mut failed = h2spec_once(address, tls);
        failed.retain(|name| !known.iter().any(|(known, _)| known == name));
        failed
    };
    let mut failed = once();
    for _ in 0..4 {
        if !failed.is_empty() {
            let again = once();
            failed.retain(|name| again.contains(name));
        }
    }
    failed
}

fn h2spec_once(address: SocketAddr, tls: bool) -> Vec<String> {
    let mut command = Command::new(tool("h2spec"));
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "--timeout", "1"]);
    if tls {
        command.args(["-t", "-k"]);
    }
    let output = command.output().expect("h2spec runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("145 tests, "), "{text}");
    let failed = text.lines().filter_map(|line| line.trim_start().strip_prefix("\u{d7} "));
    let mut failed: Vec<String> =
        failed.map(|line| line.split_once(": ").map_or(line, |(_, name)| name).to_owned()).collect();
    failed.sort();
    failed.dedup();
    failed
}

/// A port behind which each connection is a tunnel through the proxy: what is inside of an intercepted connection.
fn through(gateway: &Gateway, token: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (proxy, token) = (gateway.address("proxy"), token.to_owned());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let token = token.clone();
            std::thread::spawn(move || relay(client, proxy, &token));
        }
    });
    address
}

fn relay(client: TcpStream, proxy: SocketAddr, token: &str) -> Option<()> {
    let mut tunnel = TcpStream::connect(proxy).ok()?;
    let head =
        format!("CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    tunnel.write_all(head.as_bytes()).ok()?;
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") {
        tunnel.read_exact(&mut byte).ok()?;
        seen.extend_from_slice(&byte);
    }
    assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
    let (mut up, mut down) = ((client.try_clone().ok()?, tunnel.try_clone().ok()?), (tunnel, client));
    let upward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut up.0, &mut up.1);
        let _ = up.1.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut down.0, &mut down.1);
    let _ = down.1.shutdown(Shutdown::Write);
    upward.join().ok()
}

#[test]
fn every_http2_listener_keeps_the_standard() {
    let folder = Folder::with("interception: {hosts: [\"192.0.2.1\"]}\n", &[("tester.yaml", POLICY)]);
    let gateway = folder.serve();
    let token = gateway.folder.agent("tester");
    let listeners = [
        ("under TLS", gateway.address("proxy_tls"), true, &[][..]),
        ("inside of an intercepted connection", through(&gateway, &token), true, &[]),
        ("to the external authorizer", gateway.address("ext_authz"), false, &OF_GRPC),
    ];
    std::thread::scope(|scope| {
        for (which, address, tls, known) in listeners {
            scope.spawn(move || assert_eq!(h2spec(address, tls, known), Vec::<String>::new(), "{which}"));
        }
    });
    // The honest are served all the same.
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nConnection: close\r\n\r\n");
    assert!(raw(gateway.address("proxy"), &head).starts_with("HTTP/1.1 404"));
}

/// A frame (RFC 9113 \u{a7}4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends a preface and then the same again and again, until the connection ends or `most` was sent; how much.
fn flood(address: SocketAddr, most: usize, mut next: impl FnMut(u32) -> Vec<u8>) -> usize {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_write_timeout(Some(Duration::from_secs(5))).expect("set");
    let mut reader = stream.try_clone().expect("cloned");
    let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut sent = 0;
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    for number in 0.. {
        if sent > most || stream.write_all(&bytes).is_err() {
            break;
        }
        sent += bytes.len();
        bytes = next(number);
    }
    let _ = stream.shutdown(Shutdown::Both);
    let _ = reading.join();
    sent
}

/// What a flood sends whose frames are answered.
const ANSWERED: usize = 1 << 20;
/// What a flood can't get rid of before its connection is over: far more than sockets hold.
const ENDLESS: usize = 64 << 20;

#[test]
fn floods_of_frames_end_their_connection() {
    let folder = Folder::with("", &[("tester.yaml", POLICY)]);
    let gateway = folder.serve();
    let address = gateway.address("ext_authz");
    let before = gateway.memory();
    // `:method POST`, `:scheme http`, `:path /`, by HPACK's static table.
    let head = [0x83, 0x86, 0x84];
    // Each is answered before its reset is read: there is nothing to give up, and nothing is kept.
    flood(address, ANSWERED, |number| {
        let stream = number * 2 + 1;
        [frame(1, 4, stream, &head), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    let continuation = flood(address, ENDLESS, |number| match number {
        0 => frame(1, 0, 1, &head),
        _ => frame(9, 0, 1, &[0; 4096]),
    });
    assert!(continuation < ENDLESS, "CONTINUATION without an end");
    // Pings and settings are answered, at the pace at which the answers are taken; nothing of them is kept.
    flood(address, ANSWERED, |_| [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, &[])].concat().repeat(64));
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes more");
    let token = gateway.folder.agent("tester");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nConnection: close\r\n\r\n");
    assert!(raw(gateway.address("proxy"), &head).starts_with("HTTP/1.1 404"));
}
