use std::collections::HashMap;

use aegis_core::call::Destination;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap as RawHeaders, HeaderValue as RawHeader};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use http::HeaderMap;
use http_body::Body as _;
use proptest::prelude::*;

use super::super::Route;
use super::body::{Sent, resolve};
use super::forwarded::{self, Told};
use super::stated::{Bodies, Stated};
use super::taken_in;
use crate::pipeline::Way;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let pairs = list.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    let mut headers = HeaderMap::new();
    pairs.for_each(|(name, value): (http::HeaderName, http::HeaderValue)| {
        headers.append(name, value);
    });
    headers
}

const NGINX: [(&str, &str); 2] = [("x-original-method", "DELETE"), ("x-original-url", "https://tool.test/a?b=1")];
const CADDY: [(&str, &str); 4] = [
    ("x-forwarded-method", "DELETE"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "tool.test"),
    ("x-forwarded-uri", "/a?b=1"),
];

#[test]
fn a_request_is_told_of_by_one_whole_set_or_two_that_agree() {
    for (list, by_nginx) in [(&NGINX[..], true), (&CADDY[..], false), (&[&NGINX[..], &CADDY[..]].concat(), true)] {
        let mut told = headers(list);
        told.insert("accept", "*/*".parse().expect("a value"));
        let (scheme, host, target) = ("https".to_owned(), "tool.test".to_owned(), "/a?b=1".to_owned());
        let expected = Told { method: http::Method::DELETE, scheme, host, target, by_nginx };
        assert_eq!(forwarded::read(&mut told), Ok(expected));
        assert_eq!(told.len(), 1, "they are not the call's: {told:?}");
    }
}

#[test]
fn a_request_that_is_told_of_in_two_ways_or_in_part_is_refused() {
    let with = |list: &[(&'static str, &'static str)], change: (&'static str, &'static str)| {
        let kept = list.iter().filter(|(name, _)| *name != change.0).copied();
        kept.chain((!change.1.is_empty()).then_some(change)).collect::<Vec<_>>()
    };
    let both = [&NGINX[..], &CADDY[..]].concat();
    let mut cases = vec![Vec::new(), vec![("x-forwarded-proto", "https"), ("x-forwarded-host", "tool.test")]];
    for (name, value) in [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "other.test"),
        ("x-forwarded-uri", "/a?b=2"),
        ("x-original-method", "GET"),
        ("x-original-url", "https://tool.test/b"),
    ] {
        cases.push(with(&both, (name, value)));
    }
    for (list, name) in
        [(&NGINX[..], 0), (&NGINX[..], 1), (&CADDY[..], 0), (&CADDY[..], 1), (&CADDY[..], 2), (&CADDY[..], 3)]
    {
        cases.push(with(list, (list[name].0, "")));
        cases.push([list, &[list[name]]].concat());
    }
    for url in ["/a", "https://tool.test", "tool.test/a", "https://tool.test/a#b", "https://tool.test/a b"] {
        cases.push(with(&NGINX, ("x-original-url", url)));
    }
    cases.push([&NGINX[..], &[("x-original-uri", "/other")]].concat());
    for case in cases {
        let refused = forwarded::read(&mut headers(&case)).expect_err("refused");
        assert_eq!(refused.reason, "authorize_headers", "{case:?}");
    }
}

fn state(words: &[(&str, &str)]) -> Result<Option<Way>, String> {
    let upstream = Destination { scheme: "https".into(), host: "10.0.0.1".into(), port: 6443 };
    let k8s = Route {
        name: "k8s".into(),
        tool: Some("kubernetes".into()),
        cluster: Some("main".into()),
        upstream,
        credential: true,
        sigv4: None,
        refuses_foreign: false,
    };
    let routes = HashMap::from([("k8s".to_owned(), k8s)]);
    let stated =
        Stated::read(words.iter().copied()).and_then(|stated| stated.way(&routes, |tool| tool == "kubernetes"));
    stated.map_err(|unreadable| unreadable.reason)
}

#[test]
fn what_the_operator_states_is_a_route_or_what_is_behind_the_proxy() {
    assert!(matches!(state(&[]), Ok(None)));
    assert!(matches!(state(&[("body", "sent")]), Ok(None)));
    let of = |words| match state(words) {
        Ok(Some(Way::Route { name, tool, cluster, upstream })) => (name, tool, cluster, upstream.to_string()),
        other => panic!("{other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of(&[("route", "k8s")]), ("k8s".into(), some("kubernetes"), some("main"), "10.0.0.1:6443".into()));
    let said = [("tool", "kubernetes"), ("upstream", "https://K8s.test")];
    assert_eq!(of(&said), (String::new(), some("kubernetes"), None, "k8s.test:443".into()));
    assert_eq!(of(&[("cluster", "c")]), (String::new(), None, some("c"), ":0".into()), "the agent's host says nothing");
    for (words, reason) in [
        (&[("rout", "k8s")][..], "stated"),
        (&[("route", "")], "stated"),
        (&[("route", "k8s"), ("route", "k8s")], "stated"),
        (&[("route", "k8s"), ("tool", "kubernetes")], "stated"),
        (&[("route", "other")], "unknown_route"),
        (&[("tool", "other")], "stated"),
        (&[("upstream", "k8s.test")], "stated"),
        (&[("upstream", "ftp://k8s.test")], "stated"),
        (&[("body", "whole")], "stated"),
        (&[("body", "-1")], "stated"),
    ] {
        assert_eq!(state(words).expect_err("refused"), reason, "{words:?}");
    }
}

#[tokio::test]
async fn a_body_is_known_by_its_length_or_by_what_the_operator_says() {
    use Bodies::{Dropped, Sent as SentWhole, Unknown, UpTo};
    let none = "";
    for (text, whole, length, bodies, reason) in [
        ("abc", false, Some("3"), Unknown, none),
        ("abc", true, Some("4"), Unknown, "partial"),
        ("abc", true, Some("4"), SentWhole, "partial"),
        ("abc", true, None, Unknown, "partial"),
        ("abc", false, None, SentWhole, none),
        ("abc", true, None, UpTo(4), none),
        ("abc", true, None, UpTo(3), "partial"),
        ("abc", false, None, UpTo(4), "partial"),
        ("", true, None, Unknown, "not_sent"),
        ("", false, Some("3"), UpTo(9), "not_sent"),
        ("", false, Some("0"), Unknown, none),
        ("", false, None, UpTo(9), none),
        ("", false, None, SentWhole, none),
        ("", false, None, Dropped, none),
    ] {
        let place = format!("{text:?} {whole} {length:?} {bodies:?}");
        let length = length.map(|length| length.parse().expect("a value"));
        let sent = Sent::Bytes { bytes: Bytes::from(text), whole };
        let (body, known) = resolve(sent, length.as_ref(), bodies);
        assert_eq!(known.is_some(), reason.is_empty(), "{place}");
        assert_eq!(body.size_hint().exact().is_some(), reason.is_empty(), "{place}");
        match http_body_util::BodyExt::collect(body).await {
            Ok(read) => assert_eq!((read.to_bytes(), reason), (Bytes::from(text), none), "{place}"),
            Err(error) => {
                let absent = error.downcast_ref::<crate::pipeline::Absent>().expect("it says why");
                assert_eq!(absent.reason, reason, "{place}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_check_breaks_it_and_the_same_is_read_the_same(
        method in "[A-Za-z ]{0,6}|.{0,4}",
        path in "/[a-z%0-9./?&=;#]{0,20}|.{0,8}",
        host in "[a-z.:0-9@\\[\\]]{0,12}",
        scheme in "http|https|.{0,3}",
        merged in proptest::collection::hash_map("[a-z:-]{1,8}|x-envoy-auth-partial-body|content-length", ".{0,8}", 0..5),
        raw in proptest::collection::vec(("[a-zA-Z:-]{0,8}", proptest::collection::vec(any::<u8>(), 0..6)), 0..4),
        words in proptest::collection::hash_map("aegis\\.(route|tool|cluster|upstream|body|x)|other", ".{0,6}|kubernetes|sent", 0..3),
        body in ".{0,6}",
        raw_body in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let list = raw.into_iter().map(|(key, raw_value)| RawHeader { key, raw_value, ..RawHeader::default() }).collect();
        let header_map = merged.is_empty().then_some(RawHeaders { headers: list });
        let http = HttpRequest { method, path, host, scheme, headers: merged, header_map, body, raw_body, ..HttpRequest::default() };
        let request = Some(Request { http: Some(http), ..Request::default() });
        let attributes = AttributeContext { request, context_extensions: words, ..AttributeContext::default() };
        let check = CheckRequest { attributes: Some(attributes) };
        prop_assert_eq!(taken_in(check.clone()), taken_in(check));
    }
}
