use proptest::prelude::*;
use serde_json::json;

use super::{all, apply, names, post, redact, sanitizer, secret, sent, to};
use crate::call::{Body, Payload};
use crate::sanitize::find::broken;
use crate::sanitize::look::Look;
use crate::sanitize::rules::types;
use crate::sanitize::{Answers, Custom, Detector, Kind, Redactor, Sanitizer, Style, TokenKey, checks, scan, scan_text};

#[test]
fn every_pattern_compiles_and_every_type_has_a_name_of_its_own_form() {
    assert_eq!(broken(), Vec::<&str>::new());
    for (_, name) in types() {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        assert!(!Kind::ALL.iter().any(|kind| kind.as_str() == name), "{name}");
    }
}

type Check = fn(&str) -> bool;

/// Each by an example of the document that defines the number, or one computed by it.
#[test]
fn check_digits_tell_a_number_from_a_misprint() {
    let cases: [(Check, &str, &str); 30] = [
        (checks::card, "4111111111111111", "4111111111111112"),
        (checks::card, "378282246310005", "378282246310006"),
        (checks::iban, "GB29NWBK60161331926819", "GB29NWBK60161331926818"),
        (checks::iban, "DE89370400440532013000", "DE893704004405320130"),
        (checks::npi, "1234567893", "1234567894"),
        (checks::dea, "AB1234563", "AB1234564"),
        (checks::nhs, "9434765919", "9434765918"),
        (checks::dni, "12345678Z", "12345678A"),
        (checks::dni, "X1234567L", "X1234567M"),
        (checks::codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        (checks::pesel, "44051401359", "44051401358"),
        (checks::cpf, "52998224725", "52998224724"),
        (checks::cnpj, "11222333000181", "11222333000182"),
        (checks::aadhaar, "399876543211", "399876543212"),
        (checks::tfn, "876543210", "876543211"),
        (checks::abn, "51824753556", "51824753557"),
        (checks::acn, "004085616", "004085617"),
        (checks::nir, "255081416802538", "255081416802539"),
        (checks::steuer_id, "86095742719", "86095742718"),
        (checks::personnummer, "8112189876", "8112189875"),
        (checks::hetu, "131052-308T", "131052-308U"),
        (checks::nric, "S2740116C", "S2740116D"),
        (checks::bsn, "111222333", "111222334"),
        (checks::rijksregister, "85073003328", "85073003329"),
        (checks::ahv, "7569217076985", "7569217076986"),
        (checks::tckn, "10000000146", "10000000147"),
        (checks::china, "11010519491231002X", "110105194912310021"),
        (checks::rut, "125319092", "125319093"),
        (checks::cuit, "20267565393", "20267565394"),
        (checks::thai, "1234567890121", "1234567890122"),
    ];
    for (holds, right, wrong) in cases {
        assert!(holds(right) && !holds(wrong), "{right} {wrong}");
    }
}

#[test]
fn a_word_in_front_or_a_field_says_what_a_number_is() {
    assert_eq!(names("", "9434765919"), Vec::<String>::new(), "a phone number, an order, anything");
    assert_eq!(names("", "NHS number: 943 476 5919"), ["uk_nhs"]);
    assert_eq!(names("nhsNumber", "9434765919"), ["uk_nhs"]);
    assert_eq!(names("provider_npi", "1234567893"), ["us_npi"]);
    assert_eq!(names("", "pesel 44051401359"), ["pl_pesel"]);
    assert_eq!(names("", "opposing 130692544"), Vec::<String>::new(), "`sin` is a word of its own");
    assert_eq!(names("", "took 0.4111111111111111 s"), Vec::<String>::new(), "a fraction");
    assert_eq!(names("id", "41111111-1111-4111-8111-111111111111"), Vec::<String>::new(), "a UUID");
}

#[test]
fn generic_secrets_need_their_word_and_look_drawn() {
    let drawn = concat!("q7Zr2", "Lk9fX4vB1nT8cWm");
    for text in [format!("API_TOKEN={drawn}"), format!("\"apiKey\": \"{drawn}\""), format!("client_secret: {drawn}")] {
        assert_eq!(names("", &text), ["generic_secret"], "{text}");
    }
    for text in [
        drawn,
        "token: my-service-account",
        "secretName: tls-certificates",
        "TOKEN=${TOKEN}",
        "auth: github.com/acme/login",
    ] {
        assert_eq!(names("", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(names("token", drawn), ["generic_secret"]);
}

#[test]
fn what_is_encoded_is_found_and_written_back_as_it_came() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let once = STANDARD.encode("mail jane@example.org now");
    let clean = redact("", &format!("x {once} y")).expect("found");
    assert_eq!(clean.text, format!("x {} y", STANDARD.encode("mail [REDACTED:email] now")));
    let twice = STANDARD.encode(&once);
    let clean = redact("", &twice).expect("found");
    assert_eq!(clean.text, STANDARD.encode(STANDARD.encode("mail [REDACTED:email] now")));
    // Bits behind the last letter that no encoder writes: nothing puts them back.
    let odd = STANDARD.encode("to jane@example.org").replace("Zw==", "Zx==");
    let detector = all();
    assert_eq!(Look::new([(&detector, None)]).text("", &odd).expect_err("refused").reason, "encoded");
    // In a URL, what is written anew is URL-encoded.
    let clean = redact("", &format!("?q={}", once.replace('=', "%3D"))).expect("found");
    assert!(!clean.text.contains(&once) && clean.kinds.contains("email"), "{}", clean.text);
}

#[test]
fn what_is_nested_beyond_reach_is_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let deep = (0..14).fold("jane@example.org and more".to_owned(), |text, _| STANDARD.encode(text));
    let all = all();
    assert_eq!(Look::new([(&all, None)]).text("", &deep).expect_err("refused").reason, "too_deep");
}

fn with(detector: Detector) -> Sanitizer {
    Sanitizer { detect: detector.into(), ..sanitizer(None) }
}

#[test]
fn tokens_are_equal_for_equal_values_and_tell_nothing() {
    let detector = Detector::new(["pii"]).with(Vec::new(), Vec::new(), Style::Token);
    let token = |key: u8, text: &str| {
        let key = TokenKey::new([key; 32]);
        Look::new([(&detector, Some(&key))]).text("", text).expect("read").expect("found").text
    };
    assert_eq!(token(1, "card 4111 1111 1111 1111"), token(1, "card 4111-1111-1111-1111"), "one number");
    assert_ne!(token(1, "a@example.org"), token(1, "b@example.org"));
    assert_ne!(token(1, "a@example.org"), token(2, "a@example.org"), "another gateway's key");
    let shown = token(1, "to a@example.org");
    assert!(
        shown.starts_with("to [TOKEN:email:") && !shown.contains(|letter: char| letter.is_ascii_digit()),
        "{shown}"
    );
    assert!(Look::new([(&detector, None)]).text("", &shown).expect("read").is_none(), "a token is left alone");
    assert_eq!(
        Look::new([(&detector, None)]).text("", "a@example.org").expect("read").expect("found").text,
        "[REDACTED:email]",
        "no key, no token"
    );
}

#[test]
fn dropped_fields_go_and_what_cannot_go_is_masked() {
    let drop = || with(Detector::new(["pii"]).with(Vec::new(), Vec::new(), Style::Drop));
    let body = r#"{"list":["a@example.org"],"mail":"a@example.org","n":1,"pan":4111111111111111}"#;
    let mut call =
        to("/x?mail=b%40example.org&n=1", post("application/json", body, json!({"mail": "a@example.org", "n": 1})));
    apply(&mut call, &[drop()]).expect("can be redacted");
    assert_eq!(sent(&call), ("/x?n=1".to_owned(), r#"{"list":["[REDACTED:email]"],"n":1}"#.to_owned()));
    assert_eq!(serde_json::Value::Object(call.params.clone()), json!({"n": 1}));
}

#[test]
fn own_rules_and_allowed_values() {
    let custom = vec![
        Custom::pattern("project", r"PRJ-[0-9]{6}", None).expect("a pattern"),
        Custom::words("codename", &["Blue Heron".to_owned()], None).expect("words"),
        Custom::field("salary", "annual_salary"),
    ];
    let detector = Detector::new(["email"]).with(custom, vec!["*@acme.example".to_owned()], Style::Mask);
    let clean = |field: &str, text: &str| {
        Look::new([(&detector, None)]).text(field, text).expect("read").map(|clean| clean.text)
    };
    assert_eq!(clean("", "see PRJ-123456").as_deref(), Some("see [REDACTED:project]"));
    assert_eq!(clean("", "the blue heron flies").as_deref(), Some("the [REDACTED:codename] flies"));
    assert_eq!(clean("annualSalary", "high").as_deref(), Some("[REDACTED:salary]"));
    assert_eq!(clean("", "jane@acme.example"), None);
    assert_eq!(clean("", "jane@acme.example, jo@example.org").as_deref(), Some("jane@acme.example, [REDACTED:email]"));
    assert_eq!(clean("", "4111111111111111"), None, "only mail addresses");
    assert!(Custom::pattern("x", "a*", None).is_err() && Custom::pattern("x", "(", None).is_err());
}

#[test]
fn bodies_of_parts_lines_and_prose_are_rewritten_in_place() {
    let body = "--b\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nto a@example.org\r\n--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"x.json\"\r\ncontent-type: application/json\r\n\r\n{\"to\":\"a@example.org\"}\r\n--b--\r\n";
    let sent_of = |kind: &str, body: &str| {
        let mut call = to("/x", post(kind, body, json!({})));
        apply(&mut call, &[sanitizer(None)]).map(|_| sent(&call).1)
    };
    let clean = sent_of("multipart/form-data; boundary=b", body).expect("can be redacted");
    assert_eq!(clean, body.replace("a@example.org", "[REDACTED:email]"));
    assert_eq!(sent_of("multipart/form-data; boundary=c", body).expect_err("refused").reason, "body_format");
    assert_eq!(
        sent_of("application/x-ndjson", "{\"a\":\"x\"}\n{\"a\":\"a@example.org\"}\n").expect("redacted"),
        "{\"a\":\"x\"}\n{\"a\":\"[REDACTED:email]\"}\n"
    );
    assert_eq!(sent_of("text/plain", "to a@example.org\n").expect("redacted"), "to [REDACTED:email]\n");
    assert_eq!(
        sent_of("application/xml", "<to>a&#64;example.org</to>").expect("redacted"),
        "<to>[REDACTED:email]</to>"
    );
    assert_eq!(
        sent_of("application/yaml", "to: mail a@example.org\n").expect("redacted"),
        "to: mail [REDACTED:email]\n"
    );
    assert_eq!(sent_of("application/yaml", "to: a@example.org\n").expect_err("a list now").reason, "body_format");
    assert_eq!(sent_of("application/yaml", "replicas: 3\n").expect("nothing in it"), "replicas: 3\n");
    assert_eq!(
        sent_of("application/octet-stream", "to a@example.org").expect_err("no known form").reason,
        "body_format"
    );
    assert_eq!(sent_of("image/png", "\u{1}\u{2}").expect_err("no text").reason, "body_format");
}

#[test]
fn what_cannot_be_read_passes_where_the_policy_says_so() {
    let mut detector = Detector::new(["pii"]);
    detector.unreadable = true;
    let mut call = to("/x", post("image/png", "\u{1}\u{2}", json!({})));
    apply(&mut call, &[with(detector.clone())]).expect("passes");
    if let Payload::Http(request) = &mut call.payload {
        request.body = Body::Streamed;
    }
    apply(&mut call, &[with(detector)]).expect("passes");
}

#[test]
fn a_scan_says_type_and_place() {
    let mail = "jane@example.org";
    let text = format!(r#"{{"a":[{{"b/c":"to {mail}"}}],"password":"x","pan":4111111111111111}}"#);
    let found = scan(&text, &all()).expect("read");
    let told: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|one| {
            let (start, end) = (usize::try_from(one.start).expect("short"), usize::try_from(one.end).expect("short"));
            (one.kind.as_str(), one.path.as_str(), &text[start..end])
        })
        .collect();
    assert_eq!(
        told,
        [("email", "/a/0/b~1c", mail), ("secret_field", "/password", "x"), ("card_number", "/pan", "4111111111111111")]
    );
    let escaped = r#"{"m":"jane\u0040example.org!"}"#;
    let found = scan(escaped, &all()).expect("read");
    assert_eq!((found[0].start, found[0].end), (6, 27));
    assert_eq!(scan_text("to jane@example.org", 100, &all()).expect("read")[0].start, 103);
}

#[test]
fn answers_never_fail_they_lose_what_cannot_be_read() {
    let answers = Answers::new([(all().into(), None)]);
    let mut found = std::collections::BTreeSet::new();
    let mut value = json!({"pan": 4_111_111_111_111_111_u64, "to": "a@example.org"});
    answers.value(&mut value, &mut found);
    assert_eq!(value, json!({"pan": "[REDACTED:card_number]", "to": "[REDACTED:email]"}));
}

#[test]
fn a_stream_is_redacted_wherever_its_pieces_end() {
    let answers = Answers::new([(all().into(), None)]);
    let key = format!(
        "-----BEGIN {0} KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQ\n-----END {0} KEY-----",
        "PRIVATE"
    );
    let text = format!("first line\nto a@example.org, then\n{key}\nlast 4111 1111 1111 1111");
    let clean = "first line\nto [REDACTED:email], then\n[REDACTED:private_key]\nlast [REDACTED:card_number]";
    for at in 0..text.len() {
        let mut redactor = Redactor::new(&answers);
        let mut shown = redactor.push(&text[..at]);
        shown.push_str(&redactor.push(&text[at..]));
        let (rest, found) = redactor.finish();
        assert_eq!(shown + &rest, clean, "{at}");
        assert_eq!(found.len(), 3);
    }
    // Whole lines go on at once.
    let mut redactor = Redactor::new(&answers);
    assert_eq!(redactor.push("a\nb"), "a\n");
    // What has no lines is held back no longer than it has to be.
    let mut redactor = Redactor::new(&answers);
    let mut shown = String::new();
    for _ in 0..1_000 {
        shown.push_str(&redactor.push(
            "to a@example.org and some more words that say nothing of anybody, over and over again, without end ",
        ));
    }
    assert!(shown.contains("[REDACTED:email]") && !shown.contains("a@example.org"));
    let (rest, _) = redactor.finish();
    assert!(!rest.contains("a@example.org") && rest.len() < 70_000);
}

/// A token is the first letters of HMAC-SHA-256 over type, zero and value; this one was worked out by Python's `hmac`.
#[test]
fn a_token_is_an_hmac() {
    let key = TokenKey::new([7; 32]);
    let detector = Detector::new(["email"]).with(Vec::new(), Vec::new(), Style::Token);
    let answers = Answers::new([(detector.into(), Some(key))]);
    let shown = answers.text("a@example.org", &mut std::collections::BTreeSet::new());
    assert_eq!(shown.as_deref(), Some("[TOKEN:email:ooancjmokeafpacp]"));
}

/// Values of each kind, put together so that no scanner takes this file for a leak.
pub(super) fn samples() -> Vec<String> {
    vec![
        "a@example.org".into(),
        "4111 1111 1111 1111".into(),
        "078-05-1123".into(),
        "GB29 NWBK 6016 1331 9268 19".into(),
        "+49 30 1234567".into(),
        "(415) 555-0132".into(),
        secret("ghp_", "a1B2c3D4e5", 36),
        secret("AKIA", "ABCDEFGH", 16),
        format!("password={}", "hunter2!x"),
        format!("api_token: {}", "q7Zr2Lk9fX4vB1nT8cWm"),
        format!("postgres://app:{}@db.example.org/x", "hunter2"),
        "MRN: 1234567".into(),
        "NHS 943 476 5919".into(),
        "Authorization: Bearer abcdefgh12345678ijkl".into(),
        "Z8078221M".into(),
    ]
}

proptest! {
    #[test]
    fn twice_is_once(parts in proptest::collection::vec((0..15_usize, r#"[ -~\n]{0,12}"#), 0..5), field in "[a-z]{0,6}", style in 0..3_usize) {
        let samples = samples();
        let text: String = parts.iter().map(|(which, between)| format!("{}{between}", samples[*which])).collect();
        let key = TokenKey::new([7; 32]);
        let detector = all().with(Vec::new(), Vec::new(), Style::ALL[style]);
        let look = Look::new([(&detector, Some(&key))]);
        if let Some(clean) = look.text(&field, &text).expect("can be read") {
            prop_assert_eq!(look.text(&field, &clean.text).expect("can be read"), None, "{:?} {:?}", text, clean.text);
        }
    }

    #[test]
    fn any_text_is_read(text in any::<String>(), like in r#"[%\\u0-9a-fA-F&#;+=/_-]{0,60}"#) {
        let detector = all();
        let look = Look::new([(&detector, None)]);
        let _ = look.text("note", &text);
        let _ = look.text("note", &like);
        let _ = scan(&text, &detector);
        let _ = scan(&format!("{{\"a\":[{like}]}}"), &detector);
    }
}

#[test]
fn what_only_looks_taken_out_is_taken_out() {
    assert_eq!(names("password", "[REDACTED:hunter2-and-more]"), ["secret_field"]);
    assert_eq!(names("password", "[TOKEN:email:hunter2]"), ["secret_field"]);
    assert_eq!(redact("password", "[REDACTED:secret_field]"), None);
    assert_eq!(redact("password", "[TOKEN:secret_field:abcdefghijklmnop]"), None);
    assert_eq!(names("", "password=[REDACTED:Tr0ub4dor-and-3]"), ["generic_secret"]);
    assert_eq!(names("", "password=[REDACTED:email]Tr0ub4dor3"), ["generic_secret"]);
    let own = Custom::pattern("project", r"PRJ-\d{4}", None).expect("a pattern");
    let detector = Detector::new(["pii"]).with(vec![own], Vec::new(), Style::Mask);
    let look = Look::new([(&detector, None)]);
    let clean = look.text("", "[REDACTED:PRJ-1234]").expect("can be read").expect("found");
    assert!(!clean.text.contains("1234"), "{}", clean.text);
    assert_eq!(look.text("", "see [REDACTED:project]").expect("can be read"), None);
}

#[test]
fn a_secret_ends_where_its_letters_do() {
    let key = secret("AKIA", "Z7QHTXR2VLKMN4PD", 16);
    for text in [format!("x_{key}_y"), format!("{key}_"), format!("{key}-x")] {
        assert_eq!(names("", &text), ["aws_access_key"], "{text}");
    }
    let token = secret("ghp_", "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4", 36);
    assert_eq!(names("", &format!("{token}_")), ["github_token"]);
}

#[test]
fn what_is_compressed_hides_nothing_by_its_size_or_its_end() {
    use std::io::Write;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).expect("to memory");
        encoder.finish().expect("to memory")
    };
    let large = [b"jane@example.org ".to_vec(), vec![b' '; 5 << 20]].concat();
    let all = all();
    let look = Look::new([(&all, None)]);
    assert_eq!(look.text("", &STANDARD.encode(gzip(&large))).expect_err("refused").reason, "encoded");
    let mut behind = gzip(b"mail jane@example.org now");
    behind.extend_from_slice(b"xx");
    assert_eq!(names("", &STANDARD.encode(&behind)), ["email"]);
    let mut cut = gzip(b"mail jane@example.org now");
    cut.truncate(cut.len() - 4);
    assert_eq!(names("", &STANDARD.encode(&cut)), ["email"]);
    // A picture, say: no text, whatever its size.
    assert_eq!(look.text("", &STANDARD.encode(gzip(&vec![0xfe_u8; 5 << 20]))).expect("can be read"), None);
}

#[test]
fn lines_of_an_encoding_are_read_together() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let once = STANDARD.encode("please write a mail to jane.doe@example.org by tomorrow, and to nobody else at all");
    for (width, end) in [(76, "\r\n"), (76, "\n"), (20, "\n"), (20, "\r\n")] {
        let lines: Vec<&str> =
            once.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).expect("letters")).collect();
        let text = lines.join(end);
        let clean = redact("", &text).unwrap_or_else(|| panic!("{width} {end:?}"));
        assert!(clean.kinds.contains("email"), "{width} {end:?}");
        assert_eq!(clean.text.contains('\r'), end == "\r\n", "{width} {end:?}");
    }
    let all = all();
    let odd = format!("{}A", STANDARD.encode("to: jane@example.org!"));
    assert_eq!(odd.len() % 4, 1);
    assert_eq!(Look::new([(&all, None)]).text("", &odd).expect_err("refused").reason, "encoded");
}
