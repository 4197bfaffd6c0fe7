use proptest::prelude::*;

use super::{Malformed, Reader};

const HEAD: &str = "POST /x HTTP/1.1\r\nHost: a\r\n";

/// Reads all of it at once; how much was let through, and the reader then.
fn read(bytes: &[u8]) -> (Result<usize, Malformed>, Reader) {
    in_pieces(bytes, &[bytes.len().max(1)])
}

fn reason(text: &str) -> &'static str {
    read(text.as_bytes()).0.err().map_or("", |malformed| malformed.reason)
}

/// Reads it in pieces of these sizes, over and over, as a connection would.
fn in_pieces(bytes: &[u8], sizes: &[usize]) -> (Result<usize, Malformed>, Reader) {
    let mut reader = Reader::new(64 * 1024);
    let (mut taken, mut had) = (0, 0);
    for size in sizes.iter().cycle() {
        had = bytes.len().min(had + size);
        loop {
            match reader.read(bytes.get(taken..had).unwrap_or_default()) {
                Ok(0) => break,
                Ok(now) => taken += now,
                Err(malformed) => return (Err(malformed), reader),
            }
        }
        if had == bytes.len() {
            break;
        }
    }
    (Ok(taken), reader)
}

#[test]
fn whole_messages_go_through_and_the_next_head_waits_for_its_end() {
    let one = format!("{HEAD}Content-Length: 5\r\n\r\nhello");
    let two = format!("{HEAD}Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n");
    let all = format!("{one}{two}\r\nGET / HTTP/1.0\r\n\r\n{HEAD}");
    let (taken, reader) = read(all.as_bytes());
    assert_eq!(taken, Ok(all.len() - HEAD.len()));
    assert_eq!((reader.heads(), reader.is_at_head()), (3, true));
}

#[test]
fn what_two_parsers_would_delimit_differently_is_malformed() {
    let with = |lines: &str| format!("{HEAD}{lines}\r\n\r\n");
    for (text, expected) in [
        (with("Content-Length: 5\r\nContent-Length: 5"), "content_length"),
        (with("Content-Length: 5, 5"), "content_length"),
        (with("Content-Length: +5"), "content_length"),
        (with("Content-Length: 0x5"), "content_length"),
        (with("Content-Length:"), "content_length"),
        (with("Content-Length: 18446744073709551615"), "content_length"),
        (with("Content-Length: 5\r\nTransfer-Encoding: chunked"), "length_and_coding"),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 5"), "length_and_coding"),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "transfer_encoding"),
        (with("Transfer-Encoding: gzip, chunked"), "transfer_encoding"),
        (with("Transfer-Encoding: identity"), "transfer_encoding"),
        (with("Transfer-Encoding: chunked;q=1"), "transfer_encoding"),
        (with("Transfer-Encoding:"), "transfer_encoding"),
        (with("Transfer_Encoding: chunked"), "header_resembles"),
        (with("Content-Length-: 5"), "header_resembles"),
        (with("Content-Length : 5"), "header_name"),
        (with("Transfer-Encoding\t: chunked"), "header_name"),
        (with(": chunked"), "header_name"),
        (with("nonsense"), "header_name"),
        (with("X: a\r\n b"), "header_folded"),
        (with("X: a\0"), "header_value"),
        (with("X: a\u{7f}"), "header_value"),
        (with("X: a\rb"), "line_end"),
        (with("X: a\nY: b"), "line_end"),
        (format!("{HEAD}\n"), "line_end"),
        (HEAD.replace("\r\n", "\n") + "\n", "line_end"),
        (format!("\r\n\r\n{HEAD}\r\n"), "empty_lines"),
        ("GET /x\r\n\r\n".to_owned(), "request_line"),
        ("GET  /x HTTP/1.1\r\n\r\n".to_owned(), "request_line"),
        ("GET /x HTTP/1.1 \r\n\r\n".to_owned(), "request_line"),
        ("GET\t/x HTTP/1.1\r\n\r\n".to_owned(), "request_line"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "request_line"),
        ("GET /x HTTP/1.2\r\n\r\n".to_owned(), "version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "version"),
        ("GET /x#y HTTP/1.1\r\n\r\n".to_owned(), "target_characters"),
        ("GET /é HTTP/1.1\r\n\r\n".to_owned(), "target_characters"),
        ("GET http:// HTTP/1.1\r\n\r\n".to_owned(), "target"),
        ("GET /x HTTP/1.1\r\nContent-Length: 1\r\n\r\na".to_owned(), "body_undefined"),
        ("HEAD /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "body_undefined"),
    ] {
        assert_eq!(reason(&text), expected, "{text:?}");
    }
}

#[test]
fn a_chunked_body_is_read_to_the_letter() {
    let with = |body: &str| format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}");
    for (body, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", ""),
        ("005\r\nhello\r\n0\r\n\r\n", ""),
        ("5;a=\"b\";c\r\nhello\r\n0\r\n\r\n", ""),
        ("0\r\nX: y\r\n\r\n", ""),
        ("\r\n", "chunk_size"),
        ("zz\r\n", "chunk_size"),
        ("0x5\r\n", "chunk_size"),
        ("-5\r\n", "chunk_size"),
        ("5 \r\nhello\r\n", "chunk_size"),
        (" 5\r\nhello\r\n", "chunk_size"),
        ("fffffffffffffffff\r\n", "chunk_size"),
        ("5;a=\"\\\";\"\r\nhello\r\n0\r\n\r\n", ""),
        ("5;\r\nhello\r\n", "chunk_size"),
        ("5;a=\r\nhello\r\n", "chunk_size"),
        ("5;a=\"b\r\nhello\r\n", "chunk_size"),
        ("5;a\0\r\nhello\r\n", "chunk_size"),
        ("5\nhello\r\n0\r\n\r\n", "line_end"),
        ("5;a\nb\r\nhello\r\n", "line_end"),
        ("5\r\nhello0\r\n\r\n", "chunk_line"),
        ("3\r\nhello\r\n0\r\n\r\n", "chunk_line"),
        ("5\r\nhello\n0\r\n\r\n", "line_end"),
        ("0\r\nX y\r\n\r\n", "header_name"),
        ("0\r\n X: y\r\n\r\n", "header_folded"),
        ("0\r\nX: y\n\r\n", "line_end"),
    ] {
        assert_eq!(reason(&with(body)), expected, "{body:?}");
    }
    assert_eq!(reason(&with(&format!("5;{}\r\n", "a".repeat(300)))), "chunk_line");
    assert_eq!(reason(&with(&format!("5;{}", "a".repeat(300)))), "chunk_line");
    assert_eq!(reason(&with(&format!("0\r\n{}", "X: y\r\n".repeat(2000)))), "chunk_line");
}

#[test]
fn heads_are_bounded() {
    let long = format!("{HEAD}X: {}\r\n\r\n", "a".repeat(70_000));
    assert_eq!(read(long.as_bytes()).0.map_err(|malformed| malformed.status), Err(431));
    assert_eq!(reason(long.get(..66_000).unwrap_or_default()), "head_too_large");
    assert_eq!(reason(&format!("{HEAD}{}\r\n", "X: y\r\n".repeat(100))), "too_many_headers");
    assert_eq!(reason(&format!("{HEAD}{}\r\n", "X: y\r\n".repeat(99))), "");
    assert_eq!(reason(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(40_000))), "target_too_long");
}

#[test]
fn behind_a_request_for_another_protocol_nothing_is_read_until_it_is_answered() {
    for head in ["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"] {
        let all = format!("{head}\u{16}\u{3}not HTTP");
        let (taken, mut reader) = read(all.as_bytes());
        assert_eq!((taken, reader.is_waiting(), reader.plain()), (Ok(head.len()), true, 0));
        let mut refused = reader.clone();
        refused.resume(false);
        assert_eq!(refused.read(b"GET /x HTTP/1.1\r\n\r\n"), Ok(19));
        reader.resume(true);
        assert_eq!(reader.read(b"\x16\x03not HTTP"), Ok(10));
    }
}

/// Pieces of messages, good and bad, so that chance finds what is near to both.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST /x HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Upgrade: h2c\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"abc".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Where a connection's bytes are cut changes nothing about what is read.
    #[test]
    fn cuts_change_nothing(bytes in pieces(), sizes in proptest::collection::vec(1_usize..9, 1..6)) {
        let (whole, reader) = read(&bytes);
        let (pieced, other) = in_pieces(&bytes, &sizes);
        prop_assert_eq!(whole.is_err(), pieced.is_err());
        if whole.is_ok() {
            prop_assert_eq!(whole, pieced);
            prop_assert_eq!(reader.state, other.state);
        }
        prop_assert_eq!(reader.heads(), other.heads());
    }
}

/// How many requests hyper reads from the same bytes, without us in front; `None` when it finds fault with them.
async fn hyper_reads(bytes: &[u8]) -> Option<u64> {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use http_body_util::{BodyExt as _, Empty};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (mut client, server) = tokio::io::duplex(1 << 20);
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let counted = Arc::clone(&counted);
        async move {
            if request.into_body().collect().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(http::Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true);
    let connection = builder.serve_connection(hyper_util::rt::TokioIo::new(server), service);
    client.write_all(bytes).await.expect("room");
    client.shutdown().await.expect("open");
    let (served, read) = tokio::join!(connection, async move { client.read_to_end(&mut Vec::new()).await });
    read.expect("answers");
    served.ok().map(|()| count.load(Ordering::Relaxed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// What goes through is what hyper reads: as many messages, and nothing that it finds fault with.
    #[test]
    fn hyper_reads_the_same_messages(bytes in messages()) {
        let (taken, reader) = read(&bytes);
        // A connection that says `close` or asks for another protocol is read no further.
        if taken == Ok(bytes.len()) && reader.is_at_head() {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            prop_assert_eq!(runtime.block_on(hyper_reads(&bytes)), Some(reader.heads()));
        }
    }
}

/// Whole messages that are mostly in order, so that many go through.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => Just("X-A: b\r\n"), 2 => Just("X_B:\tc \r\n"), 1 => Just("X-C:\r\n"), 1 => Just("Expect: 100-continue\r\n"),
        1 => Just("Connection: keep-alive\r\n"), 1 => Just("Trailer: x\r\n"), 1 => Just("TE: trailers\r\n"),
    ];
    let body = prop_oneof![
        3 => Just(("", "")), 2 => Just(("Content-Length: 3\r\n", "abc")), 1 => Just(("content-length:0003\r\n", "\r\n\r")),
        1 => Just(("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n")),
        1 => Just(("transfer-encoding:\tCHUNKED\r\n", "00a;x=\"y\"\r\n0123456789\r\n0\r\nT: u\r\n\r\n")),
        1 => Just(("Content-Length: 0\r\n", "")),
    ];
    let start = prop_oneof![
        Just("POST /x HTTP/1.1\r\n"),
        Just("PUT http://a/b?c HTTP/1.1\r\n"),
        Just("DELETE /%20 HTTP/1.1\r\n"),
        Just("\r\nPATCH /a;b HTTP/1.1\r\n"),
        Just("OPTIONS * HTTP/1.1\r\n"),
    ];
    let message = (start, proptest::collection::vec(line, 0..4), body)
        .prop_map(|(start, lines, (length, body))| format!("{start}Host: a\r\n{}{length}\r\n{body}", lines.concat()));
    proptest::collection::vec(message, 0..5).prop_map(|messages| messages.concat().into_bytes())
}
