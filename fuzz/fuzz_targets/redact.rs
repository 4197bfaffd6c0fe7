//! Any bytes as a body in which everything is looked for: refused, or redacted once and for good; and so is what is told of it.
#![no_main]

use std::sync::LazyLock;

use aegis_core::call::{Body, Payload};
use aegis_core::describe::Catalogue;
use aegis_core::policy::Mode;
use aegis_core::sanitize::{Answers, Detector, Redactor, Sanitizer, apply, shown};
use libfuzzer_sys::fuzz_target;

const FORMS: [&str; 7] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/x-ndjson",
    "multipart/form-data; boundary=b",
    "application/yaml",
    "application/json; charset=utf-16",
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(&[], None).expect("the built-in tools load"));
static ALL: LazyLock<[Sanitizer; 1]> = LazyLock::new(|| {
    let detect = Detector::new(Detector::all_names()).into();
    [Sanitizer { policy: "p".to_owned(), mode: Mode::Enforce, detect, params: None, key: None }]
});
static ANSWERS: LazyLock<Answers> =
    LazyLock::new(|| Answers::new([(Detector::new(Detector::all_names()).into(), None)]));

fn body(payload: &Payload) -> Option<&Body> {
    match payload {
        Payload::Http(request) => Some(&request.body),
        _ => None,
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (form, bytes) = input;
    let media_type = FORMS[usize::from(form) % FORMS.len()];
    let length = bytes.len();
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: tool.example\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    if let Ok(mut call) = CATALOGUE.match_raw(&[head.as_bytes(), bytes].concat(), None)
        && apply(&mut call, &*ALL).is_ok()
    {
        let once = call.payload.clone();
        assert_eq!(apply(&mut call, &*ALL), Ok(Vec::new()));
        assert_eq!(body(&call.payload), body(&once));
    }
    let text = String::from_utf8_lossy(bytes);
    let once = shown::text(&text).into_owned();
    assert_eq!(shown::text(&once), once);
    // Of what comes in pieces nothing is told that isn't told of it whole: nothing is lost, and nothing is there twice.
    let mut pieces = Redactor::new(&ANSWERS);
    let mut told: String = text.split_inclusive(' ').map(|piece| pieces.push(piece)).collect();
    let (rest, found) = pieces.finish();
    told.push_str(&rest);
    assert!(!found.is_empty() || told == text);
});
