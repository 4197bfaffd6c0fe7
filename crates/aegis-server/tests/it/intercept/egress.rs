//! Where an agent may not go, in every spelling, by every way that it can name a host: nothing is sent, and it is recorded.

use super::world::{World, read_answer};
use tokio::io::AsyncWriteExt as _;

/// Every address that a policy could be talked into listing, listed: what refuses them is the gateway.
const POLICY: &str = "
agent: tester
egress:
  allow: ['tool.test', '127.0.0.1', '10.0.0.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '224.0.0.1', '192.0.0.192',
          '[::1]', '[::ffff:127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[2001:0:7f00:1::]', '[fe80::1]',
          '[fd00:ec2::254]', '[::127.0.0.1]', 'localhost']
actions:
  - name: http/request
";

const REFUSED: u16 = 403;
const MALFORMED: u16 = 400;

/// A host as it is written, and what becomes of it.
const HOSTS: [(&str, u16); 47] = [
    // Addresses that are nobody's business, plainly.
    ("127.0.0.1", REFUSED),
    ("10.0.0.1", REFUSED),
    ("169.254.169.254", REFUSED),
    ("100.64.0.1", REFUSED),
    ("0.0.0.0", REFUSED),
    ("224.0.0.1", REFUSED),
    ("192.0.0.192", REFUSED),
    ("[::1]", REFUSED),
    ("[0:0:0:0:0:0:0:1]", REFUSED),
    ("[fe80::1]", REFUSED),
    ("[fd00:ec2::254]", REFUSED),
    // The same inside of others.
    ("[::ffff:127.0.0.1]", REFUSED),
    ("[::ffff:7f00:1]", REFUSED),
    ("[64:ff9b::7f00:1]", REFUSED),
    ("[2002:7f00:1::]", REFUSED),
    ("[2001:0:7f00:1::]", REFUSED),
    ("[::127.0.0.1]", REFUSED),
    // The same in notations that resolvers take.
    ("2130706433", MALFORMED),
    ("0x7f000001", MALFORMED),
    ("0x7f.1", MALFORMED),
    ("017700000001", MALFORMED),
    ("0177.0.0.1", MALFORMED),
    ("127.1", MALFORMED),
    ("127.0.1", MALFORMED),
    ("127.0.0.1.", REFUSED),
    ("127.0.0.01", MALFORMED),
    ("127.0.0.256", MALFORMED),
    ("[::1%25lo]", MALFORMED),
    ("[::1%lo]", MALFORMED),
    ("[::1", MALFORMED),
    ("::1", MALFORMED),
    ("[127.0.0.1]", MALFORMED),
    // Names of this machine.
    ("localhost", REFUSED),
    ("LOCALHOST.", REFUSED),
    // Names that look like one that is listed.
    ("tool.test.evil.example", REFUSED),
    ("evil-tool.test", REFUSED),
    ("xn--tol-jua.test", REFUSED),
    ("xn--tool-", MALFORMED),
    ("t\u{43e}ol.test", MALFORMED),
    ("tool\u{3002}test", MALFORMED),
    ("tool%2etest", MALFORMED),
    ("%74ool.test", MALFORMED),
    ("tool.test..", MALFORMED),
    ("user@tool.test", MALFORMED),
    ("tool.test@evil.example", MALFORMED),
    ("tool.test\\@evil.example", MALFORMED),
    ("tool.test#.evil.example", MALFORMED),
];

fn proxied(host: &str, port: u16) -> String {
    format!(
        "GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nProxy-Authorization: Bearer {{token}}\r\n\r\n"
    )
}

fn connect(host: &str, port: u16) -> String {
    format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nProxy-Authorization: Bearer {{token}}\r\n\r\n")
}

#[tokio::test]
async fn no_spelling_of_a_host_leads_where_its_plain_one_may_not() {
    let world = World::new(POLICY).await;
    let port = world.upstream.address.port();
    let mut wrong = Vec::new();
    for (host, expected) in HOSTS {
        for (form, message) in [("absolute", proxied(host, 80)), ("connect", connect(host, 443))] {
            let answer = world.send(&message).await;
            // What isn't even a request line, hyper answers by itself.
            let said = answer.header("aegis-decision").is_none_or(|decision| decision == "deny");
            if answer.status != expected || !said {
                wrong.push(format!("{form} {host}: {} {}", answer.status, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        let answer = world.send(&proxied(host, port)).await;
        assert_eq!(answer.status, REFUSED, "{host}: port {port} isn't listed, and nobody but the tool listens there");
    }
    assert_eq!(world.upstream.seen(), "");
    let reasons: Vec<String> = world.decisions().await.into_iter().map(|decision| decision.reason).collect();
    assert!(
        reasons.iter().filter(|reason| reason.contains("egress_guard: private_network")).count() >= 30,
        "{reasons:?}"
    );
}

#[tokio::test]
async fn spellings_of_a_listed_name_are_that_name() {
    let world = World::new(POLICY).await;
    for host in ["tool.test", "TOOL.test", "tool.test.", "Tool.Test."] {
        let answer = world.send(&proxied(host, 80)).await;
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
        let mut stream = world.connect().await;
        stream.write_all(&world.fill(&connect(host, 443))).await.expect("sent");
        assert_eq!(read_answer(&mut stream).await.status, 200, "{host}");
    }
    assert_eq!(world.upstream.seen().matches("host: tool.test\r\n").count(), 4);
}
