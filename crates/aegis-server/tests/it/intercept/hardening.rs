//! Bad input of every kind: a limit, a reason, nothing forwarded unread, and the honest are served all the while.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::world::{Answer, BODY_LIMIT, PATIENCE, POLICY, SEND_IDLE, World, read_answer};

const GET: &str = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n";

/// The head of a call whose body decides.
fn scale(lines: &str) -> String {
    let line = "PATCH /r/k8s/apis/apps/v1/namespaces/shop/deployments/web/scale HTTP/1.1\r\nHost: a\r\n";
    format!("{line}Authorization: Bearer {{token}}\r\nContent-Type: application/merge-patch+json\r\n{lines}\r\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Sends a scale whose body is coded.
async fn coded(world: &World, lines: &str, body: &[u8]) -> Answer {
    let head = scale(&format!("{lines}Content-Length: {}\r\n", body.len()));
    world.send_bytes(&[world.fill(&head).as_slice(), body].concat()).await
}

#[tokio::test]
async fn a_compressed_body_is_decided_on_as_what_it_is_and_forwarded_as_it_was_read() {
    let world = World::new(POLICY).await;
    let (few, many) = (br#"{"spec":{"replicas":50}}"#, br#"{"spec":{"replicas":200}}"#);
    for (coding, few, many) in [("gzip", gzip(few), gzip(many)), ("deflate", zlib(few), zlib(many))] {
        let line = format!("Content-Encoding: {coding}\r\n");
        let before = world.upstream.seen().len();
        let refused = coded(&world, &line, &many).await;
        assert_eq!((refused.status, refused.json()["violations"][0]["actual"].as_u64()), (403, Some(200)), "{coding}");
        assert_eq!(world.upstream.seen().len(), before);
        assert_eq!(coded(&world, &line, &few).await.status, 200, "{coding}");
        let seen = world.upstream.seen()[before..].to_ascii_lowercase();
        assert!(seen.ends_with(r#"{"spec":{"replicas":50}}"#) && seen.contains("content-length: 24\r\n"), "{seen}");
        assert!(!seen.contains("content-encoding"), "{seen}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_without_doubt_is_refused_with_its_reason() {
    let world = World::new(POLICY).await;
    let body = gzip(br#"{"spec":{"replicas":5}}"#);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let large = gzip(&(0..BODY_LIMIT * 2).map(|at| (at * at / 7) as u8).collect::<Vec<_>>());
    for (what, lines, body, status, word) in [
        ("an unknown coding", "Content-Encoding: br\r\n", &body, 415, "Content-Encoding"),
        ("two codings", "Content-Encoding: gzip, gzip\r\n", &body, 415, "Content-Encoding"),
        ("two lines of codings", "Content-Encoding: gzip\r\nContent-Encoding: br\r\n", &body, 415, "Content-Encoding"),
        ("not what it says", "Content-Encoding: deflate\r\n", &body, 400, "not what"),
        ("a bomb", "Content-Encoding: gzip\r\n", &bomb, 413, "larger than"),
        ("larger than a body may be", "Content-Encoding: gzip\r\n", &large, 413, "larger than"),
        ("signed bytes", "Content-Encoding: gzip\r\nContent-Digest: sha-256=:x:\r\n", &body, 400, "signed"),
    ] {
        let answer = coded(&world, lines, body).await;
        assert_eq!(answer.status, status, "{what}: {}\n{}", answer.head, answer.body);
        assert!(answer.body.contains(word), "{what}: {}", answer.body);
        if status == 415 {
            assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, identity"), "{what}");
        }
    }
    assert_eq!(world.upstream.seen(), "");
    // What nobody has to read goes on as it came.
    let head = "PUT /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(world.send(head).await.status, 200);
    assert!(world.upstream.seen().contains("content-encoding: br"));
}

#[tokio::test]
async fn json_that_two_readers_read_differently_is_refused() {
    let world = World::new(POLICY).await;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for (what, body) in [
        ("a key twice", r#"{"spec":{"replicas":5,"replicas":200}}"#.as_bytes()),
        ("a key twice, once escaped", br#"{"spec":{"replicas":5,"replic\u0061s":200}}"#),
        ("the object twice", br#"{"spec":{"replicas":5},"spec":{"replicas":200}}"#),
        ("100,000 levels", &deep.as_bytes()[..BODY_LIMIT - 1]),
        ("a big integer", br#"{"spec":{"replicas":99999999999999999999}}"#),
        ("a big double", br#"{"spec":{"replicas":1e400}}"#),
        ("data behind it", br#"{"spec":{"replicas":5}}{"spec":{"replicas":200}}"#),
        ("a byte order mark", b"\xef\xbb\xbf{\"spec\":{\"replicas\":5}}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("a lone surrogate", br#"{"spec":{"replicas":5,"x":"\ud800"}}"#),
        ("overlong UTF-8", b"{\"spec\":{\"replicas\":5,\"x\":\"\xc0\xaf\"}}"),
        ("NaN", br#"{"spec":{"replicas":NaN}}"#),
        ("a comment", br#"{"spec":{"replicas":5/*200*/}}"#),
        ("single quotes", br#"{'spec':{'replicas':5}}"#),
        ("half of it", br#"{"spec":{"replicas":5"#),
    ] {
        let head = scale(&format!("Content-Length: {}\r\n", body.len()));
        let answer = world.send_bytes(&[world.fill(&head).as_slice(), body].concat()).await;
        assert_eq!(
            (answer.status, answer.json()["title"].as_str()),
            (400, Some("BadRequest")),
            "{what}: {}",
            answer.body
        );
    }
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn a_lying_or_absent_content_type_is_never_guessed_from() {
    let world = World::new(POLICY).await;
    for (what, lines, body, status) in [
        // Some of kubectl's own have none: read as JSON, and decided on.
        ("absent", "", r#"{"spec":{"replicas":200}}"#, 403),
        ("JSON as text", "Content-Type: text/plain\r\n", r#"{"spec":{"replicas":5}}"#, 403),
        ("JSON as a form", "Content-Type: application/x-www-form-urlencoded\r\n", r#"{"spec":{"replicas":5}}"#, 403),
        ("a form as JSON", "Content-Type: application/merge-patch+json\r\n", "spec[replicas]=5", 400),
        ("multipart", "Content-Type: multipart/form-data; boundary=x\r\n", "--x\r\n\r\n5\r\n--x--", 403),
        ("two types", "Content-Type: application/json\r\nContent-Type: text/plain\r\n", "{}", 415),
        ("two types in one", "Content-Type: application/merge-patch+json, text/plain\r\n", "{}", 415),
        ("UTF-16", "Content-Type: application/merge-patch+json; charset=utf-16\r\n", "{}", 415),
        ("UTF-7", "Content-Type: application/merge-patch+json; charset=\"UTF-7\"\r\n", "{}", 415),
        ("two charsets", "Content-Type: application/merge-patch+json; charset=utf-8; charset=utf-16\r\n", "{}", 415),
    ] {
        let head = scale(&format!("{lines}Content-Length: {}\r\n", body.len()));
        let head = head.replacen("Content-Type: application/merge-patch+json\r\n", "", 1);
        let answer = world.send(&format!("{head}{body}")).await;
        assert_eq!(answer.status, status, "{what}: {}\n{}", answer.head, answer.body);
    }
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn what_makes_a_request_another_one_is_refused_whatever_is_behind() {
    let world = World::new(POLICY).await;
    let post = |target: &str, lines: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {{token}}\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    for route in ["/r/tool/x", "/r/k8s/api/v1/nodes"] {
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"] {
            let answer = world.send(&post(route, &format!("{name}: DELETE\r\n"), "")).await;
            assert_eq!((answer.status, answer.body.contains("another method")), (400, true), "{route} {name}");
        }
        for name in ["X-Original-URL", "X-Rewrite-URL"] {
            let answer = world.send(&post(route, &format!("{name}: /admin\r\n"), "")).await;
            assert_eq!((answer.status, answer.body.contains("another path")), (400, true), "{route} {name}");
        }
        for query in ["?_method=DELETE", "?a=1&%5Fmethod=DELETE"] {
            assert_eq!(world.send(&post(&format!("{route}{query}"), "", "")).await.status, 400, "{route}{query}");
        }
        let form = "Content-Type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n";
        for body in ["a=1&_method=DELETE", "%5fmethod=DELETE"] {
            let answer = world.send(&post(route, form, body)).await;
            assert_eq!((answer.status, answer.body.contains("_method")), (400, true), "{route}: {}", answer.body);
        }
    }
    assert_eq!(world.upstream.seen(), "");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(world.send(&post("/r/tool/x", form, "method=DELETE&a=_method")).await.status, 200);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&scale("Content-Length: 1000\r\n"))).await.expect("sent");
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let started = Instant::now();
    let mut seen = Vec::new();
    let _ = timeout(PATIENCE, reader.read_to_end(&mut seen)).await.expect("an end");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.starts_with("HTTP/1.1 400") && seen.contains("bytes a second"), "{seen}");
    assert!(started.elapsed() < Duration::from_secs(5));
    drip.abort();
    assert_eq!(world.upstream.seen(), "");
}

#[tokio::test]
async fn a_client_that_takes_nothing_gives_up_its_connection_and_its_upstreams() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&GET.replace("/x ", "/endless "))).await.expect("sent");
    let started = Instant::now();
    let cut = async {
        while !world.upstream.seen().ends_with("cut off") || !world.store.unsettled().await.expect("a list").is_empty()
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, cut).await.expect("cut off and settled");
    assert!(started.elapsed() >= SEND_IDLE);
    drop(stream);
}

#[tokio::test]
async fn an_endless_answer_passes_at_the_pace_of_whoever_reads_it() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&GET.replace("/x ", "/endless "))).await.expect("sent");
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    let some = async {
        while read < 64 << 20 {
            read += stream.read(&mut buffer).await.expect("more of it");
        }
    };
    timeout(PATIENCE, some).await.expect("64 MiB");
}

#[tokio::test]
async fn refusals_without_a_sender_do_not_fill_the_record() {
    let world = World::new(POLICY).await;
    let bad = "GET /r/tool/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer forged\r\n\r\n";
    let mut stream = world.connect().await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        stream.write_all(bad.as_bytes()).await.expect("sent");
        let answer = read_answer(&mut stream).await;
        assert_eq!((answer.status, answer.header("aegis-decision")), (401, Some("deny")));
        ids.push(answer.header("aegis-decision-id").expect("an id").to_owned());
    }
    for _ in 0..50 {
        assert_eq!(world.send("nonsense\r\n\r\n").await.status, 400);
    }
    let decisions = world.decisions().await;
    assert_eq!(decisions.len(), 42, "21 of each");
    let known: Vec<&str> = decisions.iter().map(|decision| decision.decision_id.as_str()).collect();
    assert!(ids.iter().all(|id| known.contains(&id.as_str())), "every answer's id leads to a record");
    let metrics = world.events.metrics().expect("text");
    assert!(metrics.contains("aegis_refusals_unrecorded_total 308\n"), "{metrics}");
    assert!(metrics.contains("aegis_malformed_requests_total{reason=\"request_line\"} 50\n"), "{metrics}");
    assert_eq!(world.send(GET).await.status, 200);
    assert_eq!(world.decisions().await.len(), 43, "who is known is always on record");
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_like_any_refusal_and_in_its_turn() {
    let world = World::new(POLICY).await;
    let mut stream = world.connect().await;
    let both = format!("{GET}GET /r/tool/x HTTP/1.1\nHost: a\r\n\r\n{GET}");
    stream.write_all(&world.fill(&both)).await.expect("sent");
    let mut seen = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut seen)).await.expect("an end");
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let statuses: Vec<&str> = seen.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400"], "{seen}");
    assert!(seen.contains("application/problem+json") && seen.contains("connection: close"), "{seen}");
    assert!(seen.contains(r#""code":"BadRequest""#) && seen.contains("CR LF"), "{seen}");
    let decisions = world.decisions().await;
    let last = decisions.last().expect("a record");
    assert_eq!((last.reason.as_str(), last.agent.is_none()), ("request: line_end", true));
}

#[tokio::test]
async fn behind_a_refused_tunnel_or_upgrade_the_next_request_is_one() {
    let world = World::new(POLICY).await;
    let connect =
        "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\nProxy-Authorization: Bearer {token}\r\n\r\n";
    let upgrade = "GET /r/k8s/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    for first in [connect, upgrade] {
        let mut stream = world.connect().await;
        stream.write_all(&world.fill(&format!("{first}{GET}"))).await.expect("sent");
        assert_eq!(read_answer(&mut stream).await.status, 403);
        assert_eq!(read_answer(&mut stream).await.status, 200);
    }
    assert_eq!(world.upstream.seen().matches("GET /x ").count(), 2);
}

#[tokio::test]
async fn whoever_expects_to_continue_is_told_once_it_is_known_who_it_is() {
    let world = World::new(POLICY).await;
    let head = scale("Content-Length: 24\r\nExpect: 100-continue\r\n");
    let mut stream = world.connect().await;
    stream.write_all(head.replace("{token}", "forged").as_bytes()).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 401);
    let mut stream = world.connect().await;
    stream.write_all(&world.fill(&head)).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 100);
    assert_eq!(world.upstream.seen(), "", "nothing goes on before it is decided");
    stream.write_all(br#"{"spec":{"replicas":50}}"#).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 200);
    let mut stream = world.connect().await;
    let large = scale("Content-Length: 1000000000\r\nExpect: 100-continue\r\n");
    stream.write_all(&world.fill(&large)).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 413, "before any of it is sent");
}

#[tokio::test]
async fn a_gigabyte_is_refused_early() {
    let world = World::new(POLICY).await;
    for (lines, chunk) in [
        ("Content-Length: 1000000000\r\n", "a".repeat(1 << 16)),
        ("Transfer-Encoding: chunked\r\n", format!("10000\r\n{}\r\n", "a".repeat(1 << 16))),
    ] {
        let mut stream = world.connect().await;
        stream.write_all(&world.fill(&scale(lines))).await.expect("sent");
        let (mut reader, mut writer) = stream.into_split();
        let sending = tokio::spawn(async move {
            let mut sent = 0_usize;
            while sent < 1_000_000_000 && writer.write_all(chunk.as_bytes()).await.is_ok() {
                sent += chunk.len();
            }
            sent
        });
        let mut seen = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut seen)).await.expect("an end");
        assert!(String::from_utf8_lossy(&seen).starts_with("HTTP/1.1 413"), "{}", String::from_utf8_lossy(&seen));
        let sent = timeout(PATIENCE, sending).await.expect("cut off").expect("no panic");
        assert!(sent < 32 << 20, "{sent} bytes were taken");
    }
    assert_eq!(world.upstream.seen(), "");
}
