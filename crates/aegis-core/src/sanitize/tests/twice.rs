//! A call that was redacted holds nothing more to redact: in every form that a body has.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::json;

use super::{post, sanitizer, sent, to};
use crate::sanitize::tests::redacting::samples;
use crate::sanitize::{Detector, Sanitizer, Style, TokenKey, apply, shown};

/// A body of this form that says this.
fn body(form: usize, text: &str) -> (&'static str, String) {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    match form {
        0 => ("application/json", json!({"a": text, "b": [{"note": text}], "n": 1.5}).to_string()),
        1 => ("application/x-www-form-urlencoded", format!("a=1&note={encoded}&b={encoded}")),
        2 => ("text/plain", text.to_owned()),
        3 => ("application/json", json!({"inner": json!({"note": text}).to_string()}).to_string()),
        4 => ("application/x-ndjson", format!("{}\n{}\n", json!({"a": text}), json!([text]))),
        5 => (
            "multipart/form-data; boundary=qq",
            format!("--qq\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{text}\r\n--qq--\r\n"),
        ),
        _ => ("application/yaml", format!("a: 1\nnote: {}\n", json!(text))),
    }
}

proptest! {
    #[test]
    fn a_redacted_call_is_left_as_it_is(
        form in 0..7_usize,
        parts in proptest::collection::vec((any::<prop::sample::Index>(), r#"[ -~\n]{0,12}"#), 1..4),
        cut in any::<prop::sample::Index>(),
        style in 0..3_usize,
        params in any::<bool>(),
    ) {
        let samples = samples();
        let text: String = parts.iter().map(|(which, between)| format!("{}{between}", which.get(&samples))).collect();
        let (media_type, mut body) = body(form, &text);
        // A body that is cut off is refused, or holds nothing more either.
        if cut.index(4) == 0 {
            body.truncate(body.floor_char_boundary(cut.index(body.len() + 1)));
        }
        let detect = Detector::new(Detector::all_names()).with(Vec::new(), Vec::new(), Style::ALL[style]);
        let all = [Sanitizer { detect: detect.into(), key: Some(TokenKey::new([7; 32])), ..sanitizer(None) }];
        let params = if params && form == 0 { json!({"a": text}) } else { json!({}) };
        let mut call = to("/x?note=plain", post(media_type, &body, params));
        let before = sent(&call);
        let Ok(found) = apply(&mut call, &all) else { return Ok(()) };
        let once = sent(&call);
        if found.is_empty() {
            prop_assert_eq!(&once, &before);
        }
        let again = apply(&mut call, &all);
        prop_assert_eq!(again.as_ref().map(Vec::len).map_err(ToString::to_string), Ok(0), "{:?}\n{:?}\n{:?}", body, once, again);
        prop_assert_eq!(sent(&call), once);
    }

    #[test]
    fn what_is_shown_once_is_shown_for_good(
        parts in proptest::collection::vec((any::<prop::sample::Index>(), r#"[ -~\n]{0,12}"#), 0..4),
        any in any::<String>(),
    ) {
        let samples = samples();
        let near: String = parts.iter().map(|(which, between)| format!("{}{between}", which.get(&samples))).collect();
        for text in [near, any] {
            let once = shown::text(&text).into_owned();
            prop_assert_eq!(shown::text(&once), Cow::Borrowed(once.as_str()), "{:?}", text);
            let value = shown::value(json!({"note": text}));
            prop_assert_eq!(shown::value(value.clone()), value, "{:?}", text);
        }
    }
}
