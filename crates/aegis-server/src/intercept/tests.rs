use http::{Request, Version};

use super::way::Form;
use super::*;
use crate::identify::Credential;

fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> http::request::Parts {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request").into_parts().0
}

fn reason(head: &http::request::Parts) -> String {
    frame::check(head).err().map(|unreadable| unreadable.reason).unwrap_or_default()
}

#[test]
fn a_plain_request_keeps_the_frame() {
    assert_eq!(reason(&head("GET", "/r/a/", &[("host", "localhost:4180")])), "");
    assert_eq!(reason(&head("GET", "http://a.example/x", &[("host", "A.example")])), "");
    assert_eq!(reason(&head("GET", "http://a.example:80/x", &[("host", "a.example")])), "");
    assert_eq!(reason(&head("CONNECT", "a.example:443", &[("host", "a.example")])), "");
    assert_eq!(reason(&head("POST", "/r/a/", &[("host", "[::1]:1"), ("transfer-encoding", "Chunked")])), "");
}

#[test]
fn what_can_be_read_in_two_ways_breaks_the_frame() {
    for (method, uri, headers, expected) in [
        ("GET", "/r/a/", &[][..], "host_missing"),
        ("GET", "/r/a/", &[("host", "a"), ("host", "a")], "host_duplicate"),
        ("GET", "/r/a/", &[("host", "u@a")], "authority"),
        ("GET", "/r/a/", &[("host", "")], "authority"),
        ("GET", "/r/a/", &[("host", "a:")], "authority"),
        ("GET", "/r/a/", &[("host", "a:0")], "authority"),
        ("GET", "/r/a/", &[("host", "a:70000")], "authority"),
        ("GET", "/r/a/", &[("host", "a:+80")], "authority"),
        ("GET", "/r/a/", &[("host", "a b")], "authority"),
        ("GET", "/r/a/", &[("host", "a,b")], "authority"),
        ("GET", "/r/a/", &[("host", "[::1")], "authority"),
        ("GET", "/r/a/", &[("host", "[]")], "authority"),
        ("GET", "/r/a/", &[("host", "a/b")], "authority"),
        ("GET", "http://a.example/", &[("host", "b.example")], "host_mismatch"),
        ("GET", "http://a.example:81/", &[("host", "a.example")], "host_mismatch"),
        ("GET", "http://u@a.example/", &[("host", "a.example")], "authority"),
        ("CONNECT", "a.example:443", &[("host", "b.example:443")], "host_mismatch"),
        ("CONNECT", "a.example:8443", &[("host", "a.example")], "host_mismatch"),
        ("CONNECT", "a.example:443", &[("host", "a.example:443"), ("content-length", "3")], "connect_body"),
        ("GET", "/r/a/", &[("host", "a"), ("authorization", "NTLM TlRMTVNTUAAB")], "connection_credential"),
        ("GET", "/r/a/", &[("host", "a"), ("authorization", "negotiate YII")], "connection_credential"),
        ("get", "/r/a/", &[("host", "a")], "method"),
        ("Post", "/r/a/", &[("host", "a")], "method"),
        ("TRACE", "/r/a/", &[("host", "a")], "method"),
        ("TRACK", "/r/a/", &[("host", "a")], "method"),
        ("POST", "/r/a/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], "transfer_encoding"),
        (
            "POST",
            "/r/a/",
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            "transfer_encoding",
        ),
        ("POST", "/r/a/", &[("host", "a"), ("transfer-encoding", "chunked, chunked")], "transfer_encoding"),
        ("POST", "/r/a/", &[("host", "a"), ("transfer-encoding", "")], "transfer_encoding"),
        ("POST", "/r/a/", &[("host", "a"), ("content-length", "1"), ("content-length", "1")], "content_length"),
        ("POST", "/r/a/", &[("host", "a"), ("content-length", "+1")], "content_length"),
        ("GET", "/r/a/", &[("host", "a"), ("connection", "upgrade"), ("upgrade", "tcp")], "upgrade"),
        ("GET", "/r/a/", &[("host", "a"), ("connection", "upgrade"), ("upgrade", "websocket, h2c")], "upgrade"),
    ] {
        assert_eq!(reason(&head(method, uri, headers)), expected, "{method} {uri} {headers:?}");
    }
}

#[test]
fn a_coding_needs_http_1_1_and_host_doesnt() {
    let mut old = head("GET", "/r/a/", &[]);
    old.version = Version::HTTP_10;
    assert_eq!(reason(&old), "");
    let mut old = head("POST", "/r/a/", &[("transfer-encoding", "chunked")]);
    old.version = Version::HTTP_10;
    assert_eq!(reason(&old), "transfer_encoding");
}

#[test]
fn h2c_is_ignored_and_the_known_upgrades_stay() {
    let h2c = head(
        "GET",
        "/r/a/",
        &[("host", "a"), ("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AA")],
    );
    assert_eq!(reason(&h2c), "");
    assert!(!headers::upgrades(&h2c.headers));
    let mut headers = h2c.headers;
    headers::strip_connection(&mut headers, false);
    assert_eq!(headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["host"]);

    for protocol in ["websocket", "SPDY/3.1", "WebSocket"] {
        let mut headers = head("GET", "/r/a/", &[("connection", "keep-alive, Upgrade"), ("upgrade", protocol)]).headers;
        assert!(headers::upgrades(&headers), "{protocol}");
        headers::strip_connection(&mut headers, true);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["upgrade"], protocol);
    }
    assert!(!headers::upgrades(&head("GET", "/", &[("upgrade", "websocket")]).headers));
}

#[test]
fn connection_nominates_its_own_headers_and_no_others() {
    let listed = "close, X-Hop, authorization, Content-Length, host, te";
    let sent = [("connection", listed), ("x-hop", "1"), ("authorization", "a"), ("content-length", "1"), ("host", "a")];
    let mut headers = head("GET", "/", &sent).headers;
    headers.insert("te", "trailers".parse().expect("a value"));
    headers.insert("expect", "100-continue".parse().expect("a value"));
    headers::strip_connection(&mut headers, false);
    let mut left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["authorization", "content-length", "host"]);
}

fn bearer(token: &str) -> Credential {
    Credential::Bearer(token.to_owned())
}

fn credential(form: Form, sent: &[(&str, &str)]) -> Credential {
    credential::of(form, &head("GET", "/", sent).headers)
}

#[test]
fn the_proxy_takes_bearer_and_basic_of_its_own_header_only() {
    let of = |sent: &[(&str, &str)]| credential(Form::Forward, sent);
    assert!(of(&[("proxy-authorization", "Bearer abc")]) == bearer("abc"));
    assert!(of(&[("proxy-authorization", "bearer  abc ")]) == bearer("abc"));
    let basic = Credential::Basic { user: "agent".to_owned(), token: "abc".to_owned() };
    assert!(of(&[("proxy-authorization", "Basic YWdlbnQ6YWJj")]) == basic);
    assert!(of(&[("authorization", "Bearer abc")]) == Credential::Missing);
    for bad in ["Bearer", "Bearer ", "Bearer a b", "Basic !", "Basic YWdlbnQ=", "Digest a", "abc", "Basic YWdlbnQ6"] {
        assert!(of(&[("proxy-authorization", bad)]) == Credential::Malformed, "{bad}");
    }
    let twice = [("proxy-authorization", "Bearer abc"), ("proxy-authorization", "Bearer abc")];
    assert!(of(&twice) == Credential::Malformed);
}

#[test]
fn a_route_takes_aegis_token_before_authorization() {
    let of = |sent: &[(&str, &str)]| credential(Form::Route, sent);
    assert!(of(&[("authorization", "Bearer abc")]) == bearer("abc"));
    assert!(of(&[("authorization", "Basic dTpw"), ("aegis-token", "abc")]) == bearer("abc"));
    assert!(of(&[("authorization", "Bearer abc"), ("aegis-token", "")]) == Credential::Malformed);
    assert!(of(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]) == Credential::Malformed);
    assert!(of(&[("aegis-token", "a"), ("aegis-token", "b")]) == Credential::Malformed);
    assert!(of(&[("proxy-authorization", "Bearer abc")]) == Credential::Missing);
    assert!(of(&[]) == Credential::Missing);
}

#[test]
fn what_is_for_aegis_is_off_before_anything_is_described() {
    let left = |form, injected, sent: &[(&str, &str)]| {
        let mut headers = head("GET", "/", sent).headers;
        credential::strip(form, &mut headers, injected);
        headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    let all = [
        ("host", "a"),
        ("aegis-override", "o"),
        ("aegis-anything", "x"),
        ("proxy-authorization", "Bearer p"),
        ("traceparent", "t"),
        ("authorization", "Bearer u"),
    ];
    assert_eq!(left(Form::Forward, false, &all), ["authorization"]);
    assert!(left(Form::Route, false, &all).is_empty(), "it was the agent's credential");
    let with_token = [&all[..], &[("aegis-token", "t")]].concat();
    assert_eq!(left(Form::Route, false, &with_token), ["authorization"]);
    assert!(left(Form::Route, true, &with_token).is_empty(), "Aegis proves itself there");
}

#[test]
fn an_override_is_one_token() {
    let of = |sent: &[(&str, &str)]| credential::override_token(&head("GET", "/", sent).headers).map_err(|e| e.reason);
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&[("aegis-override", "ovr_a")]), Ok(Some("ovr_a".to_owned())));
    assert!(of(&[("aegis-override", "a b")]).is_err());
    assert!(of(&[("aegis-override", "a"), ("aegis-override", "a")]).is_err());
}

fn form(method: &str, uri: &str, version: Version) -> Option<Form> {
    Form::of(&method.parse().expect("a method"), &uri.parse().expect("a uri"), version)
}

#[test]
fn the_form_follows_from_the_request_line() {
    for (method, uri, expected) in [
        ("GET", "/r/k8s/api", Some(Form::Route)),
        ("GET", "/", None),
        ("GET", "/r", None),
        ("GET", "/R/k8s", None),
        ("OPTIONS", "*", None),
        ("GET", "http://a.example/", Some(Form::Forward)),
        ("GET", "https://a.example/", Some(Form::Forward)),
        ("CONNECT", "a.example:443", Some(Form::Tunnel)),
        ("CONNECT", "/r/k8s", Some(Form::Tunnel)),
    ] {
        assert_eq!(form(method, uri, Version::HTTP_11), expected, "{method} {uri}");
    }
    assert_eq!(form("GET", "https://127.0.0.1:4183/r/k8s/api", Version::HTTP_2), Some(Form::Route));
    assert_eq!(form("GET", "https://127.0.0.1:4183/", Version::HTTP_2), None);
    assert_eq!(form("GET", "http://a.example/r/k8s", Version::HTTP_2), Some(Form::Forward));
}

fn via() -> Via {
    let destination = aegis_core::describe::canonical_destination("tunnel", "a.example", 443).expect("a host");
    let over = CancellationToken::new();
    Via {
        destination,
        tool: None,
        cluster: None,
        injected: false,
        refuses_foreign: false,
        credential: Credential::Missing,
        over,
    }
}

#[test]
fn inside_of_an_intercepted_connection_there_is_one_host() {
    let within = |uri: &str, host: &str| {
        let found = way::within(&head("GET", uri, &[("host", host)]), &via());
        found.map(|found| found.target.to_string()).map_err(|unreadable| unreadable.reason)
    };
    assert_eq!(within("/x?y=1", "A.example."), Ok("/x?y=1".to_owned()));
    assert_eq!(within("https://a.example/x", "a.example"), Ok("/x".to_owned()));
    assert_eq!(within("/x", "b.example"), Err("authority_mismatch".to_owned()));
    assert_eq!(within("/x", "a.example:444"), Err("authority_mismatch".to_owned()));
    assert_eq!(within("http://a.example/x", "a.example"), Err("absolute_scheme".to_owned()));
    let connect = head("CONNECT", "a.example:443", &[("host", "a.example")]);
    assert_eq!(way::within(&connect, &via()).expect_err("refused").reason, "connect_within");
    let nameless = head("GET", "/x", &[]);
    assert_eq!(way::within(&nameless, &via()).expect_err("refused").reason, "host_missing");
}

proptest::proptest! {
    #[test]
    fn no_text_names_another_host_inside(text in "[a-zA-Z0-9.:@%\\[\\]/\\\\ -]{0,16}a?\\.?e?x?a?m?p?l?e?\\.?(:443)?") {
        let mut request = head("GET", "/x", &[]);
        if let Ok(value) = HeaderValue::from_str(&text) {
            request.headers.insert(http::header::HOST, value);
            if let Ok(found) = way::within(&request, &via()) {
                let name = text.to_ascii_lowercase();
                let name = name.strip_suffix(":443").unwrap_or(&name).trim_end_matches('.');
                proptest::prop_assert_eq!(name, "a.example");
                let intercepted = matches!(found.way, crate::pipeline::Way::Intercepted { .. });
                proptest::prop_assert!(intercepted);
            }
        }
    }

    #[test]
    fn an_authority_is_itself_again(text in "[a-z0-9.:@\\[\\]/ +-]{0,24}") {
        if let Ok((host, port)) = frame::authority(&text) {
            let again = port.map_or_else(|| host.to_owned(), |_| format!("{host}:{}", text.rsplit(':').next().unwrap_or("")));
            proptest::prop_assert_eq!(again, text.clone());
            proptest::prop_assert!(!text.contains('@') && !text.contains('/') && !text.contains(' '));
        }
    }

    #[test]
    fn a_credential_is_one_token68_or_none(value in "[ -~]{0,40}") {
        for form in [Form::Route, Form::Forward] {
            let sent = [("authorization", value.as_str()), ("proxy-authorization", value.as_str())];
            if let Credential::Bearer(token) | Credential::Basic { token, .. } = credential(form, &sent) {
                proptest::prop_assert!(!token.is_empty() && !token.contains([' ', ',', '"', ':']));
            }
        }
    }
}
