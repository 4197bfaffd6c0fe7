use serde_json::json;

use super::beginning;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";
const NONE: &str = "0000000000000000000000000000000000000000";

fn pkt(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| pkt(line)).collect::<String>() + "0000"
}

fn document(body: &str) -> serde_json::Value {
    beginning(body.as_bytes()).expect("it can be read").expect("it is whole").0.document()
}

fn reason(body: &str) -> String {
    beginning(body.as_bytes()).expect_err("refused").message
}

#[test]
fn every_ref_of_a_push_is_told_apart() {
    let first = format!("{OLD} {NEW} refs/heads/main\0 report-status side-band-64k atomic agent=git/2");
    let create = format!("{NONE} {NEW} refs/tags/v1");
    let delete = format!("{OLD} {NONE} refs/heads/old\n");
    let body = lines(&[&format!("shallow {OLD}\n"), &first, &create, &delete]);
    assert_eq!(
        document(&format!("{body}PACK\0\0")),
        json!({
            "refs": ["refs/heads/main", "refs/tags/v1", "refs/heads/old"],
            "creates": ["refs/tags/v1"], "updates": ["refs/heads/main"], "deletes": ["refs/heads/old"],
            "kept": ["refs/heads/main", "refs/tags/v1"], "commits": [NEW, NEW], "replaced": [OLD, OLD],
            "options": [], "atomic": true, "signed": false, "shallow": true,
        })
    );
    let (push, length) = beginning(format!("{body}PACK").as_bytes()).expect("read").expect("whole");
    assert_eq!(length, body.len());
    let reported = push.reported().expect("its client wants to know");
    assert!(reported.side_band && reported.refs == ["refs/heads/main", "refs/tags/v1", "refs/heads/old"]);
}

#[test]
fn a_push_that_only_creates_is_not_forced_and_of_no_other_is_it_told() {
    let force = |commands: &[(&str, &str)]| {
        let named: Vec<String> =
            commands.iter().enumerate().map(|(at, (old, new))| format!("{old} {new} refs/heads/{at}")).collect();
        document(&lines(&named.iter().map(String::as_str).collect::<Vec<_>>())).get("force").cloned()
    };
    assert_eq!(force(&[(NONE, NEW), (NONE, OLD)]), Some(json!(false)));
    for other in [&[(OLD, NEW)][..], &[(NONE, NEW), (OLD, NEW)], &[(OLD, NONE)]] {
        assert_eq!(force(other), None, "{other:?}");
    }
}

#[test]
fn the_probe_before_a_large_push_names_nothing() {
    assert_eq!(beginning(b"0000").expect("read").map(|(push, length)| (push.commands.len(), length)), Some((0, 4)));
}

#[test]
fn options_follow_the_commands_of_who_can_have_them() {
    let first = format!("{NONE} {NEW} refs/heads/a\0push-options");
    let body = lines(&[&first]) + &lines(&["ci.skip", "merge_request.create\n"]);
    assert_eq!(document(&body)["options"], json!(["ci.skip", "merge_request.create"]));
    assert_eq!(beginning(lines(&[&first]).as_bytes()), Ok(None), "they are still to come");
}

#[test]
fn a_certificates_commands_are_commands() {
    let command = format!("{OLD} {NEW} refs/heads/main\n");
    let certificate = |lines: &[&str]| {
        let begin = pkt("push-cert\0report-status\n");
        begin + &lines.iter().map(|line| pkt(line)).collect::<String>() + &pkt("push-cert-end\n") + "0000"
    };
    let head = ["certificate version 0.1\n", "pusher a <a> 1 +0000\n", "push-option x\n", "\n"];
    let signature = ["-----BEGIN SSH SIGNATURE-----\n", "U1NI\n", "-----END SSH SIGNATURE-----\n"];
    let signed = certificate(&[&head[..], &[command.as_str()], &signature].concat());
    let read = document(&signed);
    assert_eq!(
        (&read["updates"], &read["signed"], &read["options"]),
        (&json!(["refs/heads/main"]), &json!(true), &json!(["x"]))
    );
    for hidden in [
        certificate(&[&[command.as_str()], &head[..], &signature].concat()),
        certificate(&[&head[..], &signature, &[command.as_str()]].concat()),
    ] {
        assert!(reason(&hidden).contains("outside the commands"));
    }
    assert!(reason(&certificate(&[&head[..], &["hello\n"]].concat())).contains("no command"));
    assert!(reason(&(pkt("push-cert\0\n") + "0000")).contains("no end"));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let plain = format!("{OLD} {NEW} refs/heads/main");
    for (body, why) in [
        ("zzzz".to_owned(), "no length"),
        ("+004".to_owned(), "no length"),
        ("0001".to_owned(), "no push has"),
        (lines(&[&plain, &format!("{plain}\0atomic")]), "not the first"),
        (lines(&[&format!("{OLD} 22 refs/heads/main")]), "no `old new ref`"),
        (lines(&[&format!("{OLD} {NEW}{NEW} refs/heads/main")]), "no `old new ref`"),
        (lines(&[&format!("{OLD} {NEW} ")]), "no `old new ref`"),
        (lines(&[&format!("{plain}\nmore")]), "control character"),
        (lines(&["shallow x"]), "no commit"),
    ] {
        assert!(reason(&body).contains(why), "{body:?}: {}", reason(&body));
    }
    assert!(beginning(b"0006\xff\xfe").is_err());
    for length in 0..lines(&[&plain]).len() {
        assert_eq!(beginning(&lines(&[&plain]).as_bytes()[..length]), Ok(None));
    }
}
