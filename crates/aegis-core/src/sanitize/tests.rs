mod corpora;
mod redacting;
mod twice;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::look::{Clean, Look};
use super::{Detector, Kind, Redaction, Sanitizer, apply, find, shown};
use crate::call::tests::scale;
use crate::call::{Body, HttpRequest, Payload, ToolCall};
use crate::policy::Mode;

/// Looks for everything.
fn all() -> Detector {
    Detector::new(Kind::ALL.map(Kind::as_str))
}

fn redact(field: &str, text: &str) -> Option<Clean> {
    Look::new([(&all(), None)]).text(field, text).expect("can be read")
}

fn names(field: &str, text: &str) -> Vec<String> {
    redact(field, text).map(|clean| clean.kinds.into_iter().collect()).unwrap_or_default()
}

/// Put together here, so that no scanner of this repository takes it for a real one.
fn secret(head: &str, of: &str, length: usize) -> String {
    format!("{head}{}", of.repeat(length).chars().take(length).collect::<String>())
}

#[test]
fn what_is_looked_for_is_found() {
    let cases = [
        ("mail jane.doe@example.org now".to_owned(), "email"),
        ("card 4111 1111 1111 1111".to_owned(), "card_number"),
        ("card 4111111111111111.".to_owned(), "card_number"),
        ("ssn 123-45-6789".to_owned(), "us_ssn"),
        ("to DE89 3704 0044 0532 0130 00".to_owned(), "iban"),
        ("call +49 (30) 1234-5678".to_owned(), "phone_number"),
        ("personal code 131052-308T".to_owned(), "fi_hetu"),
        ("medicare 1EG4-TE5-MK73".to_owned(), "us_mbi"),
        (secret("AKIA", "ABCDEFGH", 16), "aws_access_key"),
        (secret("ghp_", "a1B2c3D4", 36), "github_token"),
        (secret("xoxb-", "1234567890-abc", 20), "slack_token"),
        (secret("sk_live_", "a1B2", 24), "stripe_key"),
        (
            format!(
                "{}.{}.{}",
                concat!("eyJ", "hbGciOiJIUzI1NiJ9"),
                concat!("eyJ", "zdWIiOiIxIn0"),
                secret("", "ef", 20)
            ),
            "jwt",
        ),
        (format!("-----BEGIN {} KEY-----\nabc\n-----END {} KEY-----", "PRIVATE", "PRIVATE"), "private_key"),
        (format!("postgres://app:{}@db/x", "hunter2"), "url_password"),
    ];
    for (text, name) in cases {
        assert_eq!(names("message", &text), [name], "{text}");
    }
    assert_eq!(names("client_secret", "x"), ["secret_field"]);
    assert_eq!(names("MRN", "12345"), ["medical_record_number"]);
}

#[test]
fn what_is_kept_and_told_is_looked_through_whatever_the_policies() {
    let token = secret("ghp_", "a1B2c3D4", 36);
    assert_eq!(shown::text("http/request"), "http/request");
    assert_eq!(shown::text("Deploy of web-2 in production"), "Deploy of web-2 in production");
    assert_eq!(shown::text(&format!("there is no route {token:?}")), "there is no route \"[REDACTED:github_token]\"");
    // In letters alone, too.
    assert_eq!(shown::text(&secret("ghp_", "a", 36)), "[REDACTED:github_token]");
    let params = json!({"replicas": 200, "note": [token], "password": "hunter2", "digest": format!("sha256:{}", "ab".repeat(32))});
    let Value::Object(params) = params else { unreachable!("a mapping") };
    let shown = Value::Object(shown::params(params));
    assert_eq!(
        shown,
        json!({"replicas": 200, "note": ["[REDACTED:github_token]"], "password": "[REDACTED:secret_field]",
            "digest": format!("sha256:{}", "ab".repeat(32))})
    );
}

#[test]
fn what_only_looks_alike_stays() {
    let cases = [
        "card 4111 1111 1111 1112",    // the check digit is wrong
        "0000 0000 0000 0000",         // no card
        "666-12-3456",                 // never issued
        "DE88 3704 0044 0532 0130 00", // the check digits are wrong
        "replicas 50, image nginx@sha256:4111",
        "git@github",
        "2026-11-22T12:00:00Z",
        "v1.2.3+build.7",
    ];
    for text in cases {
        assert_eq!(names("message", text), Vec::<String>::new(), "{text}");
    }
}

fn sanitizer(params: Option<&[&str]>) -> Sanitizer {
    let path = |path: &&str| path.split('.').map(str::to_owned).collect();
    Sanitizer {
        policy: "p".to_owned(),
        mode: Mode::Enforce,
        detect: Arc::new(all()),
        params: params.map(|paths| paths.iter().map(path).collect()),
        key: None,
    }
}

fn post(content_type: &str, body: &str, params: Value) -> ToolCall {
    let Value::Object(params) = params else { panic!("a mapping") };
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", content_type.parse().expect("a value"));
    let body = Body::Whole(Bytes::from(body.to_owned()));
    let target = "/send?to=x%40example.org".parse().expect("a target");
    let request = HttpRequest { method: http::Method::POST, target, headers, body };
    ToolCall { params, payload: Payload::Http(request), ..scale("staging", json!(1)) }
}

fn sent(call: &ToolCall) -> (String, String) {
    let Payload::Http(HttpRequest { target, body: Body::Whole(body), .. }) = &call.payload else { panic!("http") };
    (target.to_string(), String::from_utf8(body.to_vec()).expect("text"))
}

#[test]
fn parameters_and_payload_are_redacted_alike() {
    let body = r#"{"text":"mail a@example.org","n":1.5,"list":["a@example.org"],"other":"b@example.org"}"#;
    let params = json!({"text": "mail a@example.org", "list": ["a@example.org"], "to": "x@example.org"});
    let mut call = post("application/json", body, params);
    let redactions = apply(&mut call, &[sanitizer(None)]).expect("can be redacted");
    let mail = "[REDACTED:email]";
    assert_eq!(call.params["text"], format!("mail {mail}"));
    let (target, body) = sent(&call);
    assert_eq!(target, "/send?to=%5BREDACTED%3Aemail%5D");
    assert_eq!(body, format!(r#"{{"list":["{mail}"],"n":1.5,"other":"{mail}","text":"mail {mail}"}}"#));
    let paths: Vec<&str> = redactions.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["body.other", "params.list", "params.text", "params.to"]);
    assert!(apply(&mut call, &[sanitizer(None)]).expect("again").is_empty(), "a redacted call is left as it is");
}

#[test]
fn only_the_named_parameters_are_looked_at() {
    let body = r#"{"meta":{"note":"a@example.org"},"to":"b@example.org"}"#;
    let params = json!({"meta": {"note": "a@example.org"}, "to": "b@example.org"});
    let mut call = post("application/json; charset=utf-8", body, params);
    let only = [sanitizer(Some(&["meta.note"]))];
    assert_eq!(find(&call, &only), [Redaction { kind: "email".into(), path: "params.meta.note".into() }]);
    apply(&mut call, &only).expect("can be redacted");
    assert_eq!(sent(&call).1, r#"{"meta":{"note":"[REDACTED:email]"},"to":"b@example.org"}"#);
}

#[test]
fn what_cannot_be_rewritten_is_refused() {
    let params = json!({"text": "a@example.org"});
    let reason = |mut call: ToolCall| apply(&mut call, &[sanitizer(Some(&["text"]))]).expect_err("refused").reason;
    let json = r#"{"text":"a@example.org"}"#;
    assert_eq!(reason(post("application/x-protobuf", json, params.clone())), "body_format");
    assert_eq!(reason(post("application/json", "{}", params.clone())), "elsewhere");
    assert_eq!(reason(post("application/json", r#"{"text":1,"text":2}"#, params.clone())), "body_format");
    for (name, value, expected) in [("content-encoding", "gzip", "body_encoded"), ("content-md5", "x", "body_signed")] {
        let mut call = post("application/json", json, params.clone());
        if let Payload::Http(request) = &mut call.payload {
            request.headers.insert(http::HeaderName::from_static(name), value.parse().expect("a value"));
        }
        assert_eq!(reason(call), expected);
    }
    let mut call = post("application/json", json, params);
    if let Payload::Http(request) = &mut call.payload {
        request.body = Body::Streamed;
    }
    assert_eq!(reason(call), "body_unread");
}

#[test]
fn forms_are_rewritten_pair_by_pair() {
    let mut call =
        post("application/x-www-form-urlencoded", "a=1&text=a%40example.org&a=2", json!({"text": "a@example.org"}));
    apply(&mut call, &[sanitizer(Some(&["text"]))]).expect("can be redacted");
    assert_eq!(sent(&call).1, "a=1&text=%5BREDACTED%3Aemail%5D&a=2");
}

/// A call over HTTP to this target.
fn to(target: &str, call: ToolCall) -> ToolCall {
    let mut call = call;
    if let Payload::Http(request) = &mut call.payload {
        request.target = target.parse().expect("a target");
    }
    call
}

#[test]
fn what_no_parameter_holds_is_found_in_query_header_and_path() {
    let key = secret("AKIA", "ABCDEFGH", 16);
    let plain = || post("application/json", "{}", json!({"method": "POST"}));
    let mut call = to(&format!("/x?leak={key}&b=1"), plain());
    let found = apply(&mut call, &[sanitizer(None)]).expect("can be redacted");
    assert_eq!(sent(&call).0, "/x?leak=%5BREDACTED%3Aaws_access_key%5D&b=1");
    assert_eq!(found, [Redaction { kind: "aws_access_key".into(), path: "query.leak".into() }]);

    let mut call = to("/x", plain());
    if let Payload::Http(request) = &mut call.payload {
        request.headers.insert("x-note", format!("see {key}").parse().expect("a value"));
        request.headers.insert("content-length", "12".parse().expect("a value"));
        request.headers.insert("x-api-key", key.parse().expect("a value"));
    }
    apply(&mut call, &[sanitizer(None)]).expect("can be redacted");
    let Payload::Http(request) = &call.payload else { panic!("http") };
    assert_eq!(request.headers["x-note"], "see [REDACTED:aws_access_key]");
    assert_eq!(request.headers["x-api-key"], key.as_str(), "what the agent signs in with is the tool's to judge");

    for target in [format!("/x/{key}"), "/x/a%40example.org/y".to_owned()] {
        assert_eq!(apply(&mut to(&target, plain()), &[sanitizer(None)]).expect_err("refused").reason, "elsewhere");
    }
}

#[test]
fn a_second_place_does_not_hide_the_one_that_cannot_be_rewritten() {
    let note = json!({"note": "a@example.org"});
    let decoys = [
        post("application/json", r#"{"decoy":"a@example.org"}"#, note.clone()),
        post("application/yaml", "", note.clone()),
        to("/notes/a%40example.org?x=a@example.org", post("application/json", "{}", note.clone())),
    ];
    for call in decoys {
        let mut call = to("/notes/a%40example.org?x=a@example.org", call);
        let refused = apply(&mut call, &[sanitizer(Some(&["note"]))]).expect_err("refused");
        assert_eq!(refused.reason, "elsewhere");
    }
    let mut yaml = to("/x?x=a@example.org", post("application/yaml", "note: a@example.org", note));
    assert_eq!(apply(&mut yaml, &[sanitizer(Some(&["note"]))]).expect_err("refused").reason, "body_format");
}

#[test]
fn numbers_names_and_json_within_a_text_hide_nothing() {
    let mut call = post(
        "application/json",
        r#"{"pan":4111111111111111,"n":5}"#,
        json!({"pan": 4_111_111_111_111_111_u64, "n": 5}),
    );
    assert_eq!(apply(&mut call, &[sanitizer(None)]).expect_err("a text is no number").reason, "number");
    assert_eq!(find(&call, &[sanitizer(None)]), [Redaction { kind: "card_number".into(), path: "params.pan".into() }]);
    let mut call = ToolCall {
        params: json!({"patient_id": "12345"}).as_object().cloned().expect("a mapping"),
        ..scale("staging", json!(1))
    };
    apply(&mut call, &[sanitizer(None)]).expect("can be redacted");
    assert_eq!(call.params["patient_id"], "[REDACTED:medical_record_number]");

    for (body, params) in
        [(r#"{"m":{"a@example.org":1}}"#, json!({"m": {"a@example.org": 1}})), (r#"{"a@example.org":1}"#, json!({}))]
    {
        let call = to("/x", post("application/json", body, params));
        let refused = apply(&mut call.clone(), &[sanitizer(None)]).expect_err("refused");
        assert_eq!(refused.reason, "field_name");
        assert!(
            !format!("{:?}", find(&call, &[sanitizer(None)])).contains("example.org"),
            "places never hold the value"
        );
    }
    let mut form = to("/x", post("application/x-www-form-urlencoded", "a%40example.org=1", json!({})));
    assert_eq!(apply(&mut form, &[sanitizer(None)]).expect_err("refused").reason, "field_name");

    let text = r#"{"to":"jane\u0040example.org","login":{"password":"hunter2"}}"#;
    let clean = redact("message", text).expect("found");
    assert_eq!(clean.text, r#"{"login":{"password":"[REDACTED:secret_field]"},"to":"[REDACTED:email]"}"#);
    assert_eq!(clean.kinds.into_iter().collect::<Vec<_>>(), ["email", "secret_field"]);
}

#[test]
fn what_stands_beside_a_number_does_not_hide_it() {
    for text in [
        "4111 1111 1111 1111 12 28",
        "4111111111111111 123",
        "1 2 3 4 4111 1111 1111 1111",
        "4111.1111.1111.1111",
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "2026 11 22 4111-1111-1111-1111",
    ] {
        assert_eq!(names("message", text), ["card_number"], "{text}");
    }
    for text in [
        "DE89 3704 0044 0532 0130 00 EUR",
        "IBAN DE89370400440532013000 BIC COBADEFF",
        "AB12 DE89 3704 0044 0532 0130 00",
    ] {
        assert_eq!(names("message", text), ["iban"], "{text}");
    }
    for text in [format!("redis://:{}@cache/0", "hunter2"), format!("Postgres://app:{}@db", "hunter2")] {
        assert_eq!(names("message", &text), ["url_password"], "{text}");
    }
    for field in ["db_password", "DB_PASSWORD", "newPassword", "aws_secret_access_key"] {
        assert_eq!(names(field, "x"), ["secret_field"], "{field}");
    }
    assert_eq!(
        names("at", "1763855521008"),
        Vec::<String>::new(),
        "milliseconds are no card, whatever their digits say"
    );
    assert_eq!(names("note", &format!("key {}", secret("sk-ant-", "a1B2-c3D4", 40))), ["llm_api_key"]);
}

proptest! {
    #[test]
    fn redacting_twice_changes_nothing_more(text in r"[ -~]{0,40}(a@b\.de|4111111111111111|123-45-6789|\+49301234567)?[ -~]{0,40}") {
        if let Some(clean) = redact("message", &text) {
            prop_assert_eq!(redact("message", &clean.text), None, "{}", clean.text);
        }
    }
}

#[test]
fn a_body_that_is_known_by_its_bytes_stays_as_it_is_or_goes_nowhere() {
    let frozen = |body: &str, note: &str| ToolCall {
        frozen: true,
        ..to("/x", post("application/json", body, json!({"note": note})))
    };
    let mut found = frozen(r#"{"note":"a@example.org"}"#, "a@example.org");
    assert_eq!(apply(&mut found, &[sanitizer(None)]).expect_err("refused").reason, "integrity");
    // Found nowhere but in the body.
    let mut hidden = frozen(r#"{"other":"a@example.org"}"#, "x");
    assert_eq!(apply(&mut hidden, &[sanitizer(None)]).expect_err("refused").reason, "integrity");
    let body = r#"{ "note" : "x" }"#;
    let mut clean = frozen(body, "x");
    assert!(apply(&mut clean, &[sanitizer(None)]).expect("nothing to redact").is_empty());
    assert_eq!(sent(&clean).1, body);
}
