use http::{HeaderMap, HeaderValue};

use super::*;

fn read(values: &[&str]) -> Result<Option<Signed>, String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header's value"));
    }
    Signed::read(&headers).map_err(|unreadable| unreadable.reason)
}

fn header(scope: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={}", "0a".repeat(32))
}

#[test]
fn a_signature_says_whose_key_which_region_and_which_service() {
    let signed =
        read(&[&header("AKIDEXAMPLE/20261128/eu-west-1/ecs/aws4_request")]).expect("well-formed").expect("signed");
    assert_eq!((signed.scope.access_key.as_str(), signed.scope.date.as_str()), ("AKIDEXAMPLE", "20261128"));
    assert_eq!((signed.scope.region.as_str(), signed.scope.service.as_str()), ("eu-west-1", "ecs"));
    assert_eq!(signed.headers, ["host", "x-amz-date"]);
    let tight = header("A/20261128/r/s/aws4_request").replace(", ", ",");
    assert!(read(&[&tight]).is_ok_and(|signed| signed.is_some()));
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["Bearer abc"]), Ok(None));
}

#[test]
fn a_scope_that_was_verified_is_read_as_it_was_written() {
    let scope = read(&[&header("A/20261128/r/s/aws4_request")]).expect("well-formed").expect("signed").scope;
    let mut headers = HeaderMap::new();
    headers.insert(VERIFIED_SCOPE, scope.to_string().parse().expect("a header's value"));
    assert_eq!(Scope::verified(&headers), Some(scope));
    let facts = facts(&[("region".to_owned(), Part::Region)], &headers);
    assert_eq!(facts, Ok(vec![("region".to_owned(), "r".to_owned())]));
}

#[test]
fn a_scope_that_is_not_plain_is_refused() {
    let good = header("A/20261128/r/s/aws4_request");
    for scope in [
        "",
        "A",
        "A/20261128/r/s",
        "A/20261128/r/s/other",
        "A/2026/r/s/aws4_request",
        "A/20261128//s/aws4_request",
        "A b/20261128/r/s/aws4_request",
        "A/20261128/r/s/aws4_request/x",
    ] {
        assert_eq!(read(&[&header(scope)]), Err("sigv4_malformed".to_owned()), "{scope}");
    }
    for text in [
        good.replace("SHA256", "SHA512"),
        good.replace("Signature=", "Signed="),
        good.replace("0a", "0A"),
        format!("{good}, Credential=B/20261128/r/s/aws4_request"),
        format!("{good}, Other=1"),
    ] {
        assert_eq!(read(&[&text]), Err("sigv4_malformed".to_owned()), "{text}");
    }
    assert_eq!(read(&[&good, &good]), Err("sigv4_malformed".to_owned()));
}
