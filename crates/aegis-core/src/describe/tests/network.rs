use std::net::IpAddr;

use proptest::prelude::*;

use super::super::{AddressClass, address_class, canonical_destination, canonical_target};

fn host(text: &str) -> Result<String, String> {
    canonical_destination("https", text, 443).map(|d| d.host).map_err(|unreadable| unreadable.reason)
}

fn target(text: &str) -> Result<String, String> {
    canonical_target(&text.parse().expect(text)).map(|t| t.to_string()).map_err(|unreadable| unreadable.reason)
}

#[test]
fn a_host_has_one_spelling() {
    for (raw, canonical) in [
        ("API.GitHub.com.", "api.github.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("localhost", "localhost"),
        ("my_host.internal", "my_host.internal"),
    ] {
        assert_eq!(host(raw).as_deref(), Ok(canonical), "{raw}");
    }
}

#[test]
fn odd_notations_of_hosts_are_refused() {
    let long = "a".repeat(64);
    for raw in [
        "",
        ".",
        "a..b",
        "example.com..",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "2130706433",
        "127.0.0.01",
        "1.2.3.4.5",
        "127.0.0.1.",
        "１２７.1",
        "user@host",
        "a b",
        "a%2eb",
        "a/b",
        "a\\b",
        "[::1",
        "::1]",
        "[::1%25eth0]",
        "fe80::1%eth0",
        "[127.0.0.1]",
        "*.example.com",
        "a,b",
        "xn--a",
        "a\0b",
        "a:80",
        "999.999.999.999",
        &long,
    ] {
        if raw == "127.0.0.1." {
            assert_eq!(host(raw).as_deref(), Ok("127.0.0.1"));
        } else {
            assert!(host(raw).is_err(), "{raw:?} is {:?}", host(raw));
        }
    }
    assert!(canonical_destination("https", "a.example", 0).is_err());
    assert!(canonical_destination("ssh", "a.example", 22).is_err());
}

#[test]
fn addresses_are_classed_by_what_they_reach() {
    use AddressClass as C;
    for (text, class) in [
        ("8.8.8.8", C::Public),
        ("127.0.0.2", C::Loopback),
        ("0.0.0.0", C::Unspecified),
        ("10.1.2.3", C::Private),
        ("172.31.255.255", C::Private),
        ("172.32.0.0", C::Public),
        ("192.168.1.1", C::Private),
        ("100.64.0.1", C::Cgnat),
        ("100.128.0.1", C::Public),
        ("169.254.169.254", C::Metadata),
        ("169.254.1.1", C::LinkLocal),
        ("100.100.100.200", C::Metadata),
        ("168.63.129.16", C::Metadata),
        ("192.0.2.1", C::Documentation),
        ("198.19.0.1", C::Documentation),
        ("224.0.0.1", C::Multicast),
        ("255.255.255.255", C::Multicast),
        ("250.0.0.1", C::Reserved),
        ("2606:4700::1111", C::Public),
        ("::", C::Unspecified),
        ("::1", C::Loopback),
        ("::ffff:10.0.0.1", C::Private),
        ("::ffff:8.8.8.8", C::Public),
        ("::ffff:169.254.169.254", C::Metadata),
        ("::7f00:1", C::Translated),
        ("64:ff9b::7f00:1", C::Translated),
        ("64:ff9b:1::1", C::Translated),
        ("2002:7f00:1::", C::Translated),
        ("2001:0:1::1", C::Translated),
        ("fd00:ec2::254", C::Metadata),
        ("fd12::1", C::Private),
        ("fe80::1", C::LinkLocal),
        ("ff02::1", C::Multicast),
        ("2001:db8::1", C::Documentation),
        ("2001:10::1", C::Reserved),
        ("4000::1", C::Reserved),
    ] {
        let address: IpAddr = text.parse().expect(text);
        assert_eq!(address_class(address), class, "{text}");
        assert_eq!(address_class(address).is_public(), class == C::Public);
    }
}

#[test]
fn a_target_has_one_spelling() {
    for (raw, canonical) in [
        ("/", "/"),
        ("/v2/", "/v2/"),
        ("/%61/%7euser", "/a/~user"),
        ("/a%c3%a4", "/a%C3%A4"),
        ("/a%3db", "/a%3Db"),
        ("/g%2fp", "/g%2Fp"),
        ("/a?", "/a"),
        ("/a?x=%61&&y=a%2fb&", "/a?x=a&y=a%2Fb"),
        ("/a?x=1/2?3", "/a?x=1/2?3"),
        ("/a?q=%0a", "/a?q=%0A"),
        ("/x{y}", "/x%7By%7D"),
    ] {
        assert_eq!(target(raw).as_deref(), Ok(canonical), "{raw}");
    }
}

#[test]
fn ambiguous_targets_are_refused() {
    for (raw, reason) in [
        ("/a/../b", "path_dot_segment"),
        ("/a/%2e%2E/b", "path_dot_segment"),
        ("/a/.", "path_dot_segment"),
        ("/a%2f..%2fb", "path_dot_segment"),
        ("/a%2f%2fb", "path_empty_segment"),
        ("/a//b", "path_empty_segment"),
        ("//", "path_empty_segment"),
        ("/a;x=1", "path_semicolon"),
        ("/a%3bx", "path_semicolon"),
        ("/a%5cb", "path_backslash"),
        ("/a%00", "target_nul"),
        ("/a%0a", "path_control_character"),
        ("/a%252e", "path_double_encoding"),
        ("/a%zz", "target_escape"),
        ("/a%2", "target_escape"),
        ("/a%ff", "target_not_utf8"),
        ("/a?x=%ff", "target_not_utf8"),
        ("/a?x=1;y=2", "query_semicolon"),
        ("/a?x=%00", "target_nul"),
        ("*", "target_form"),
    ] {
        assert_eq!(target(raw), Err(reason.to_owned()), "{raw}");
    }
}

proptest! {
    #[test]
    fn canonical_targets_stay_as_they_are(raw in "/[a-z%2eEfF./;\\\\{}?&=+0-9ä]{0,24}") {
        if let Ok(parsed) = raw.parse::<http::uri::PathAndQuery>()
            && let Ok(canonical) = canonical_target(&parsed)
        {
            prop_assert_eq!(canonical_target(&canonical), Ok(canonical));
        }
    }

    #[test]
    fn canonical_hosts_stay_as_they_are(raw in "\\PC{0,20}") {
        if let Ok(canonical) = host(&raw) {
            prop_assert_eq!(host(&canonical), Ok(canonical));
        }
    }

    #[test]
    fn every_address_has_a_class(bits: u128, v4: u32) {
        address_class(IpAddr::from(std::net::Ipv6Addr::from(bits)));
        let v4 = std::net::Ipv4Addr::from(v4);
        prop_assert_eq!(address_class(v4.into()), address_class(v4.to_ipv6_mapped().into()));
    }
}
