use serde_json::json;

use super::{form, parts};

const TYPE: &str = "multipart/form-data; boundary=b";

fn reason(body: &str) -> String {
    form(TYPE, body.as_bytes()).expect_err("refused").message
}

#[test]
fn fields_and_files_are_read() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nt\r\n\
        --b\r\nContent-Disposition: form-data; name=\"ref\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nma\r\nin\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n\r\n\
        --b--\r\n";
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let expected = json!({"token": "t", "ref": "ma\r\nin", "file": {"filename": "a b.txt", "digest": empty}});
    assert_eq!(form(TYPE, body.as_bytes()), Ok(expected));
    assert_eq!(form("multipart/form-data; boundary=\"b\"", b"--b--"), Ok(json!({})));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let field = |head: &str, content: &str| format!("--b\r\n{head}\r\n\r\n{content}\r\n--b--\r\n");
    let plain = "Content-Disposition: form-data; name=\"a\"";
    for (body, why) in [
        (format!("x\r\n{}", field(plain, "1")), "start with its boundary"),
        (format!("{}x", field(plain, "1")), "follows its end"),
        (field(plain, "1").replace("--b--", "--b-"), "alone in its line"),
        (field(plain, "1\n--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n2"), "lone line feed"),
        (field(plain, "--b").replace("--b\r\n--b--", "--b\r\n\r\n--b--"), "lone line feed"),
        (field(&format!("{plain}\r\nContent-Transfer-Encoding: base64"), "MQ=="), "Content-Transfer-Encoding"),
        (field(&format!("{plain}\r\n{plain}"), "1"), "twice"),
        (field(&format!("{plain}\r\n folded"), "1"), "no header"),
        (field(&format!("{plain}; name=\"b\""), "1"), "Content-Disposition"),
        (field(&format!("{plain}; filename*=UTF-8''x"), "1"), "Content-Disposition"),
        (field("Content-Disposition: form-data; name=\"a\\\"b\"", "1"), "Content-Disposition"),
        (field("Content-Disposition: form-data; name=\"a%22\"", "1"), "reads alike"),
        (field("Content-Disposition: form-data; name=\"_charset_\"", "latin1"), "reads alike"),
        (field("Content-Disposition: form-data", "1"), "Content-Disposition"),
        (field("Content-Type: text/plain", "1"), "no Content-Disposition"),
        (field(&format!("{plain}\r\nContent-Type: text/plain; charset=utf-16"), "1"), "UTF-8"),
        ("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1".to_owned(), "no end"),
    ] {
        let reason = reason(&body);
        assert!(reason.contains(why), "{body:?}: {reason}");
    }
    let twice = format!("--b\r\n{plain}\r\n\r\n1\r\n--b\r\n{}\r\n\r\n2\r\n--b--\r\n", plain.replace("\"a\"", "\"A\""));
    assert_eq!(form(TYPE, twice.as_bytes()).expect_err("refused").reason, "form_duplicate_field");
    for kind in
        ["multipart/form-data", "multipart/form-data; boundary=b; boundary=c", "multipart/form-data; boundary=\"b b\""]
    {
        assert!(form(kind, b"--b--").is_err(), "{kind}");
    }
}

#[test]
fn it_is_bounded() {
    let one = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    assert_eq!(parts(TYPE, format!("{}--b--", one.repeat(1000)).as_bytes()).map(|parts| parts.len()), Ok(1000));
    assert!(parts(TYPE, format!("{}--b--", one.repeat(1001)).as_bytes()).is_err());
    let long = format!("--b\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n1\r\n--b--", "a".repeat(9000));
    assert!(parts(TYPE, long.as_bytes()).is_err());
}
