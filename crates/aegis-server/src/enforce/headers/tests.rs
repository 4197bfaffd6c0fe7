use http::header::HeaderMap;
use proptest::prelude::*;

use super::{declared_length, strip_connection, strip_request, upgrade};
use crate::enforce::testing::header_map;

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_is_about_one_connection_ends_here() {
    let mut headers = header_map(&[
        ("connection", "keep-alive, X-Mine"),
        ("connection", "Authorization, Host, content-length ,content-type"),
        ("keep-alive", "timeout=5"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "close"),
        ("aegis-override", "x"),
        ("host", "a"),
        ("authorization", "x"),
        ("content-length", "1"),
        ("content-type", "text/plain"),
        ("x-other", "1"),
    ]);
    strip_connection(&mut headers);
    assert_eq!(names(&headers), ["authorization", "content-length", "content-type", "host", "x-other"]);
}

#[test]
fn an_agent_brings_no_credential_of_its_own_where_aegis_has_one() {
    let brought = header_map(&[
        ("authorization", "Bearer agent"),
        ("cookie", "session=1"),
        ("private-token", "x"),
        ("impersonate-user", "root"),
        ("impersonate-extra-scopes", "all"),
        ("x-remote-user", "root"),
        ("x_api_key", "x"),
        ("expect", "100-continue"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("host", "elsewhere"),
        ("content-length", "7"),
        ("traceparent", "00-x"),
        ("accept", "*/*"),
    ]);
    let mut headers = brought.clone();
    strip_request(&mut headers, true);
    assert_eq!(names(&headers), ["accept"]);
    let mut headers = brought;
    strip_request(&mut headers, false);
    assert_eq!(
        names(&headers),
        [
            "accept",
            "authorization",
            "cookie",
            "impersonate-extra-scopes",
            "impersonate-user",
            "private-token",
            "x-remote-user",
            "x_api_key"
        ]
    );
}

#[test]
fn only_known_protocols_are_upgraded_to() {
    for good in ["websocket", "WebSocket", "SPDY/3.1"] {
        assert!(upgrade(&header_map(&[("upgrade", good)])).is_some(), "{good}");
    }
    for bad in ["h2c", "HTTP/2.0", "websocket, h2c", "TLS/1.0", ""] {
        assert!(upgrade(&header_map(&[("upgrade", bad)])).is_none(), "{bad}");
    }
    assert!(upgrade(&header_map(&[("upgrade", "websocket"), ("upgrade", "websocket")])).is_none());
    assert!(upgrade(&HeaderMap::new()).is_none());
}

#[test]
fn a_declared_length_is_read() {
    assert_eq!(declared_length(&header_map(&[("content-length", "12")])), Some(12));
    assert_eq!(declared_length(&HeaderMap::new()), None);
}

proptest! {
    #[test]
    fn whatever_connection_says_framing_and_identity_stay(value in "[ -~]{0,80}") {
        let mut headers = header_map(&[("host", "a"), ("authorization", "x"), ("content-length", "1")]);
        headers.insert("connection", value.parse().expect("printable"));
        strip_connection(&mut headers);
        prop_assert_eq!(names(&headers), ["authorization", "content-length", "host"]);
    }
}
