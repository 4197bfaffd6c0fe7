use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::glob::Glob;
use super::super::image::image;
use super::super::pointer::Pointer;
use super::super::template::Template;
use super::super::{json as strict, pointer};

fn refused(text: &str) -> (String, String) {
    let unreadable = strict::parse(text.as_bytes()).expect_err(text);
    (unreadable.reason, unreadable.message)
}

#[test]
fn json_that_two_readers_read_differently_is_refused() {
    for (text, reason) in [
        (r#"{"a":1,"a":1}"#, "json_duplicate_key"),
        (r#"{"a":{"b":[{"c":1,"\u0063":2}]}}"#, "json_duplicate_key"),
        ("99999999999999999999", "json_number"),
        ("9223372036854775808", "json_number"),
        ("1e300", "json_number"),
        ("50.00000000000000000001", "json_number"),
        ("5000000000000000000000e-20", "json_number"),
        ("1e400", "json_malformed"),
        ("1 2", "json_malformed"),
        ("\u{feff}{}", "json_malformed"),
        (r#""\ud800""#, "json_malformed"),
        ("01", "json_malformed"),
        ("NaN", "json_malformed"),
        ("{a:1}", "json_malformed"),
        ("[1,]", "json_malformed"),
        ("", "json_malformed"),
        (&"[".repeat(200), "json_depth"),
        (&format!("{}{}", "[".repeat(65), "]".repeat(65)), "json_depth"),
    ] {
        assert_eq!(refused(text).0, reason, "{text}");
    }
    assert_eq!(refused(r#"{"a/b":[0,{"~":1,"~":2}]}"#).1, "the key at /a~1b/1/~0 stands twice in the same object");
    assert!(strict::parse(b"\"\xff\"").is_err());
}

#[test]
fn json_keeps_what_it_says() {
    for text in ["-9223372036854775808", "0.30000000000000004", "0.000001", "\"50.00000000000000000001\"", "[1e3, 1.5]"]
    {
        assert!(strict::parse(text.as_bytes()).is_ok(), "{text}");
    }
    assert!(strict::parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
    assert_eq!(strict::parse(br#"{"a":"50","b":50,"c":50.0}"#), Ok(json!({"a": "50", "b": 50, "c": 50.0})));
}

#[test]
fn a_pointer_passes_nothing_over() {
    let document = json!({"a": [{"b": 1}, {"b": "x"}, {"c": 2}], "s": "text", "n": null, "x/y": {"~": 5}});
    let find = |text: &str| {
        let mut found = Vec::new();
        Pointer::parse(text).expect("a pointer").find(&document, &mut found).map(|()| json!(found))
    };
    assert_eq!(find("/a/*/b"), Ok(json!([1, "x"])));
    assert_eq!(find("/a/1/b"), Ok(json!(["x"])));
    assert_eq!(find("/x~1y/~0"), Ok(json!([5])));
    assert_eq!(find("/n"), Ok(json!([null])));
    assert_eq!(find("/n/below"), Ok(json!([])));
    assert_eq!(find("/missing/below"), Ok(json!([])));
    // Text where an object should be isn't absent.
    assert_eq!(find("/s/below"), Ok(json!(["text"])));
    assert_eq!(find("/s/*"), Ok(json!(["text"])));
    for text in ["/A", "/X~1Y"] {
        assert_eq!(find(text).expect_err("another case").reason, "json_key_case");
    }
    assert!(Pointer::parse("a").is_err());
    assert!(pointer::same_but_case("ſpec", "Spec") && pointer::same_but_case("\u{212a}ind", "kind"));
}

#[test]
fn images_are_read_by_the_oci_grammar() {
    let hex = "0123456789abcdef".repeat(4);
    let read = |text: &str| {
        let image = image(&Value::from(text));
        (image.repository, image.digest)
    };
    let named = |repository: &str| Some(repository.to_owned());
    assert_eq!(read("nginx"), (named("docker.io/library/nginx"), None));
    assert_eq!(read("nginx:1.27"), (named("docker.io/library/nginx"), None));
    assert_eq!(read("Registry.ACME.io:5000/a/b:v1"), (named("registry.acme.io:5000/a/b"), None));
    assert_eq!(read(&format!("acme/app@sha256:{hex}")), (named("docker.io/acme/app"), Some(format!("sha256:{hex}"))));
    assert_eq!(read(&format!("app:v1@sha256:{hex}")).1, Some(format!("sha256:{hex}")));
    assert_eq!(read(&format!("app@sha256:{}", hex.to_uppercase())).1, None);
    for bad in ["", "UPPER", "a b", "app@sha256:12", "app@", "app:", "https://x/y", "app\n", "-a", "app@md5:0123"] {
        assert_eq!(read(bad), (None, None), "{bad:?}");
    }
    assert_eq!(image(&json!(5)).reference, "5");
    assert_eq!(image(&json!({"a": 1})).repository, None);
}

#[test]
fn globs_match_the_whole_text() {
    for (pattern, text, matches) in [
        ("prod-*", "prod-eu", true),
        ("prod-*", "prod", false),
        ("*", "", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false),
        ("*.io", "acme.io", true),
        ("exact", "exactly", false),
        ("a**b", "ab", true),
    ] {
        assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} {text}");
    }
}

#[test]
fn templates_bind_their_variables() {
    let bind = |template: &str, path: &str| {
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        let templates = Template::parse(template).expect(template);
        let found = templates.iter().find(|template| template.matches(&segments))?;
        Some(
            found
                .bind(&segments)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    assert_eq!(bind("/v2/{name+}/manifests/{ref}", "/v2/a/b/manifests/1").as_deref(), Some("name=a/b ref=1"));
    assert_eq!(bind("/v2/{name+}/manifests/{ref}", "/v2/manifests/1"), None);
    assert_eq!(bind("/a[/{x}]", "/a").as_deref(), Some(""));
    assert_eq!(bind("/a[/{x}]", "/a/b").as_deref(), Some("x=b"));
    assert_eq!(bind("/a/{x}", "/a/"), None);
    assert_eq!(bind("/{k:pods|jobs}", "/jobs").as_deref(), Some("k=jobs"));
    assert_eq!(bind("/{k:pods|jobs}", "/secrets"), None);
    for bad in ["a", "/{}", "/{a b}", "/x{a}", "/a[b", "/{a+}/{b+}"] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
}

/// JSON values and their text.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn bytes_never_panic_the_json_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = strict::parse(&bytes);
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads(value in any_json()) {
        prop_assert_eq!(strict::parse(value.to_string().as_bytes()), Ok(value));
    }

    #[test]
    fn globs_agree_with_regular_expressions(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        let expression = format!("^{}$", pattern.replace('*', ".*"));
        let expected = regex::Regex::new(&expression).expect("a regex").is_match(&text);
        prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
    }

    #[test]
    fn image_references_never_panic(text in "\\PC{0,60}") {
        let image = image(&Value::from(text.clone()));
        prop_assert_eq!(image.reference, text);
    }
}

proptest! {
    /// Whatever stands in them, near the forms that they have.
    #[test]
    fn readers_of_pushes_and_uploads_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "(0000|00[0-9a-f]{2}|[01]{40} | refs/heads/a|push-cert|\u{0}push-options|\n|shallow |-----BEGIN ){0,12}",
        form in "(--b|\r\n|\n|--|Content-Disposition: form-data; |name=\"|filename=\"|\"|content|a|:action|file_upload){0,20}",
        length in any::<u32>(),
    ) {
        for body in [bytes.as_slice(), text.as_bytes(), form.as_bytes()] {
            let _ = super::super::git::beginning(body);
            let _ = super::super::multipart::form("multipart/form-data; boundary=b", body);
            let _ = super::super::python_file::document("multipart/form-data; boundary=b", body);
            let _ = super::super::npm::document(body);
            let _ = super::super::crate_file::document(body);
            let _ = super::super::crate_file::document(&[&length.to_le_bytes(), body].concat());
        }
        // The beginning of a push is the same, whatever follows it.
        if let Ok(Some((push, length))) = super::super::git::beginning(text.as_bytes()) {
            let longer = [text.as_bytes(), bytes.as_slice()].concat();
            prop_assert_eq!(super::super::git::beginning(&longer), Ok(Some((push, length))));
        }
    }
}
