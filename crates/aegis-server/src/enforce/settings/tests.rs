use proptest::prelude::*;

use super::{Credential, Secret, Upstream};

#[test]
fn an_upstream_is_read_with_its_defaults() {
    let read = |text: &str| text.parse::<Upstream>().expect(text);
    let upstream = read("https://K8s.internal/api/");
    assert!(upstream.secure);
    assert_eq!((upstream.host.as_str(), upstream.port, upstream.base_path.as_str()), ("k8s.internal", 443, "/api"));
    assert_eq!(upstream.authority(), "k8s.internal");
    assert_eq!(read("http://a").host_port(), "a:80");
    assert_eq!(read("http://a:8080").authority(), "a:8080");
    assert_eq!(read("http://a:443").authority(), "a:443");
    let v6 = read("https://[::1]:6443");
    assert_eq!((v6.host.as_str(), v6.host_port().as_str()), ("::1", "[::1]:6443"));
}

#[test]
fn what_is_no_upstream_is_refused() {
    for bad in [
        "",
        "example.com",
        "/r",
        "ftp://a",
        "ssh://a",
        "https://",
        "https://u:p@a",
        "https://a?x=1",
        "https://a#x",
        "https://a:0",
        "https://a:",
        "https://a:70000",
        "https://[nonsense]",
    ] {
        assert!(bad.parse::<Upstream>().is_err(), "{bad}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = format!("s3cr{}", "et");
    let credential = Credential::Basic { user: "u".to_owned(), password: Secret::new(&*secret) };
    assert_eq!(format!("{credential:?}"), r#"Basic { user: "u", password: *** }"#);
}

proptest! {
    #[test]
    fn whatever_is_read_is_a_host_and_a_port(text in "https?://[!-~]{0,40}") {
        if let Ok(upstream) = text.parse::<Upstream>() {
            prop_assert!(!upstream.host.is_empty() && upstream.port != 0);
            prop_assert!(!upstream.host.contains(['@', '/', '?', '#']));
            prop_assert!(upstream.base_path.is_empty() || upstream.base_path.starts_with('/'));
            prop_assert!(!upstream.base_path.contains(['?', '#']));
        }
    }
}
