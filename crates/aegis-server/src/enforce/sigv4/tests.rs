use bytes::Bytes;
use http::Request;

use super::*;

const DAY: &str = "20261128";

fn secret(of: &str) -> String {
    format!("{of}-{}", "k".repeat(32))
}

fn route() -> SigV4 {
    let pair = |id: &str| KeyPair { access_key_id: id.to_owned(), secret_access_key: Secret::new(secret(id)) };
    SigV4 { keys: pair("AKIDREAL"), session_token: None, region: None, service: None, agents: pair("AKIDAGENT") }
}

fn now() -> Timestamp {
    "2026-11-28T01:00:00Z".parse().expect("a time")
}

/// A request as an agent's SDK signs it, by the library's own hand.
struct Sent {
    key: String,
    secret: String,
    service: &'static str,
    region: &'static str,
    time: Timestamp,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static [u8],
}

fn sent() -> Sent {
    Sent {
        key: "AKIDAGENT".to_owned(),
        secret: secret("AKIDAGENT"),
        service: "ecs",
        region: "eu-west-1",
        time: now(),
        target: "/r/ecs/",
        headers: vec![
            ("host", "127.0.0.1:8080".to_owned()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", "AmazonEC2ContainerServiceV20141113.UpdateService".to_owned()),
        ],
        body: b"{\"service\":\"shop\",\"desiredCount\":3}",
    }
}

impl Sent {
    fn parts(&self) -> Parts {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let body = SignableBody::Bytes(self.body);
        let url = format!("http://127.0.0.1:8080{}", self.target);
        let signable = SignableRequest::new("POST", url, headers, body).expect("signable");
        let keys = (self.key.as_str(), self.secret.as_str(), None);
        let made = signature(signable, keys, (self.region, self.service), self.time.into(), settings(self.service));
        let mut request = Request::builder().method("POST").uri(self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        for (name, value, _) in made.expect("signed").0 {
            request = request.header(name, value);
        }
        request.body(()).expect("a request").into_parts().0
    }
}

fn verified(route: SigV4, mut head: Parts, body: &[u8]) -> Result<HeaderMap, String> {
    let claim = Claim::of(&head, &Arc::new(route));
    claim.verify(&mut head.headers, body, now()).map_err(|unreadable| unreadable.reason)?;
    Ok(head.headers)
}

fn refusal(sent: &Sent) -> String {
    verified(route(), sent.parts(), sent.body).expect_err("it is refused")
}

#[test]
fn a_signature_by_the_routes_keys_is_good_and_gives_way_to_its_scope() {
    let headers = verified(route(), sent().parts(), sent().body).expect("good");
    let scope = Scope::verified(&headers).expect("a scope");
    assert_eq!(scope.to_string(), format!("AKIDAGENT/{DAY}/eu-west-1/ecs/aws4_request"));
    for gone in ["authorization", DATE, PAYLOAD, TOKEN] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    let encoded =
        Sent { target: "/r/l/2015-03-31/functions/a%3Ab/invocations?Qualifier=x%20y&A=", service: "lambda", ..sent() };
    assert!(verified(route(), encoded.parts(), encoded.body).is_ok());
    let object = Sent { target: "/r/s3/bucket/a%20b//c", service: "s3", ..sent() };
    assert!(verified(route(), object.parts(), object.body).is_ok());
    let bound = SigV4 { region: Some("eu-west-1".to_owned()), service: Some("ecs".to_owned()), ..route() };
    assert!(verified(bound, sent().parts(), sent().body).is_ok());
}

#[test]
fn what_another_key_signed_or_somebody_changed_is_refused() {
    assert_eq!(refusal(&Sent { secret: secret("other"), ..sent() }), "sigv4_signature");
    assert_eq!(refusal(&Sent { key: "AKIDREAL".to_owned(), secret: secret("AKIDREAL"), ..sent() }), "sigv4_signature");
    assert_eq!(verified(route(), sent().parts(), b"{\"desiredCount\":300}"), Err("sigv4_signature".to_owned()));
    let changed = |change: fn(&mut Parts)| {
        let mut head = sent().parts();
        change(&mut head);
        verified(route(), head, sent().body).expect_err("it is refused")
    };
    assert_eq!(changed(|head| head.uri = "/r/ecs/?a=b".parse().expect("a target")), "sigv4_signature");
    assert_eq!(changed(|head| head.uri = "/r/other/".parse().expect("a target")), "sigv4_signature");
    assert_eq!(changed(|head| head.method = http::Method::PUT), "sigv4_signature");
    let operation = HeaderValue::from_static("AmazonEC2ContainerServiceV20141113.DeleteService");
    let mut head = sent().parts();
    head.headers.insert("x-amz-target", operation.clone());
    assert_eq!(verified(route(), head, sent().body), Err("sigv4_signature".to_owned()));
    let mut head = sent().parts();
    head.headers.append("x-amz-target", operation);
    assert_eq!(verified(route(), head, sent().body), Err("sigv4_headers".to_owned()));
    let object = Sent { service: "s3", ..sent() };
    assert_eq!(verified(route(), object.parts(), b"other"), Err("sigv4_body".to_owned()));
}

#[test]
fn what_is_not_under_the_signature_is_refused() {
    let with = |name: &'static str, value: &str| {
        let mut head = sent().parts();
        head.headers.insert(name, value.parse().expect("a header's value"));
        verified(route(), head, sent().body).expect_err("it is refused")
    };
    assert_eq!(with("x-amz-invocation-type", "Event"), "sigv4_unsigned_header");
    assert_eq!(with("content-encoding", "gzip"), "sigv4_unsigned_header");
    assert_eq!(with("x-amz-security-token", "t"), "sigv4_token");
    for payload in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"] {
        let mut unsigned = sent();
        unsigned.headers.push((PAYLOAD, payload.to_owned()));
        assert_eq!(refusal(&unsigned), "sigv4_unsigned_payload");
    }
    assert_eq!(refusal(&Sent { target: "/?X-Amz-Signature=0", ..sent() }), "sigv4_presigned");
    assert_eq!(refusal(&Sent { target: "/?x-amz-Credential=a", ..sent() }), "sigv4_presigned");
    let unsigned = |header: Option<&str>| {
        let mut head = sent().parts();
        head.headers.remove(AUTHORIZATION);
        head.headers.extend(header.map(|value| (AUTHORIZATION, value.parse().expect("a header's value"))));
        verified(route(), head, sent().body).expect_err("it is refused")
    };
    assert_eq!(unsigned(None), "sigv4_missing");
    assert_eq!(unsigned(Some("Bearer abc")), "sigv4_missing");
    assert_eq!(unsigned(Some("AWS4-HMAC-SHA256 x")), "sigv4_malformed");
}

#[test]
fn a_signature_holds_for_a_quarter_of_an_hour_and_for_its_scope() {
    let at = |minutes: i64| refusal(&Sent { time: now() + SignedDuration::from_mins(minutes), ..sent() });
    assert_eq!((at(16), at(-16)), ("sigv4_clock".to_owned(), "sigv4_clock".to_owned()));
    let late = Sent { time: now() - SignedDuration::from_mins(14), ..sent() };
    assert!(verified(route(), late.parts(), late.body).is_ok());
    for date in ["", "yesterday", "20261127T010000Z", "20261128T010000", "20261128T250000Z"] {
        let mut head = sent().parts();
        head.headers.insert(DATE, date.parse().expect("a header's value"));
        assert_eq!(verified(route(), head, sent().body), Err("sigv4_date".to_owned()), "{date}");
    }
    for (region, service) in [("us-east-1", "ecs"), ("eu-west-1", "eks")] {
        let bound = SigV4 { region: Some(region.to_owned()), service: Some(service.to_owned()), ..route() };
        assert_eq!(verified(bound, sent().parts(), sent().body), Err("sigv4_scope".to_owned()));
    }
}

#[test]
fn what_is_forwarded_is_signed_with_the_real_keys_as_it_is_sent() {
    let verified = verified(route(), sent().parts(), sent().body).expect("good");
    let real = SigV4 { session_token: Some(Secret::new(secret("session"))), ..route() };
    let signer = Signer::new(&real).expect("usable");
    let rewritten = Bytes::from_static(b"{\"service\":\"shop\",\"desiredCount\":2}");
    let asked = signer.asked(&verified, &Body::Whole(rewritten.clone())).expect("known");
    let mut request = Request::post("https://ecs.eu-west-1.amazonaws.com/").body(()).expect("a request");
    *request.headers_mut() = verified;
    request.headers_mut().remove(VERIFIED_SCOPE);
    request.headers_mut().remove(VERIFIED_PAYLOAD);
    request.headers_mut().insert(HOST, HeaderValue::from_static("ecs.eu-west-1.amazonaws.com"));
    signer.sign(asked, &HeaderValue::from_static("ecs.eu-west-1.amazonaws.com"), &mut request).expect("signed");
    let (mut head, ()) = request.into_parts();
    assert_eq!(head.headers[TOKEN], secret("session"));
    assert!(head.headers[AUTHORIZATION].is_sensitive());
    // As AWS verifies it: by the same keys, with the token among what is signed.
    head.headers.remove(TOKEN);
    let signed = Signed::read(&head.headers).expect("well-formed").expect("signed");
    assert_eq!(signed.scope.access_key, "AKIDREAL");
    assert_eq!(signed.headers, ["content-type", "host", DATE, TOKEN, "x-amz-target"]);
    let headers = signed.headers.iter().filter(|name| *name != TOKEN);
    let headers: Vec<(&str, &str)> =
        headers.map(|name| (name.as_str(), head.headers[name.as_str()].to_str().expect("text"))).collect();
    let body = SignableBody::Bytes(&rewritten);
    let again = SignableRequest::new("POST", head.uri.to_string(), headers.into_iter(), body).expect("signable");
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", head.headers[DATE].to_str().expect("text")).expect("a time");
    let time = time.to_zoned(TimeZone::UTC).expect("a time").timestamp();
    let (id, key, token) = ("AKIDREAL", secret("AKIDREAL"), secret("session"));
    let keys = (id, key.as_str(), Some(token.as_str()));
    let (_, again) = signature(again, keys, ("eu-west-1", "ecs"), time.into(), settings("ecs")).expect("signed");
    assert_eq!(again, signed.signature);
    assert!(!format!("{real:?}").contains(&key));
}

#[test]
fn what_nobody_verified_is_not_signed_but_for_the_routes_own_scope() {
    let signer = Signer::new(&route()).expect("usable");
    assert!(signer.asked(&HeaderMap::new(), &Body::Whole(Bytes::new())).is_err());
    let bound = SigV4 { region: Some("r".to_owned()), service: Some("s".to_owned()), ..route() };
    let signer = Signer::new(&bound).expect("usable");
    assert!(signer.asked(&HeaderMap::new(), &Body::Whole(Bytes::new())).is_ok());
    assert!(signer.asked(&HeaderMap::new(), &Body::Streamed).is_err());
    let streamed = verified(route(), sent().parts(), sent().body).expect("good");
    assert_eq!(signer.asked(&streamed, &Body::Streamed).expect("its digest is known").payload, hex(sent().body));
}

#[test]
fn keys_that_would_be_none_are_not_taken() {
    let with = |change: &dyn Fn(&mut SigV4)| {
        let mut keys = route();
        change(&mut keys);
        Signer::new(&keys).err().unwrap_or_default()
    };
    assert_eq!(with(&|_| {}), "");
    assert!(
        with(&|keys| keys.agents.secret_access_key = keys.keys.secret_access_key.clone()).contains("the real ones")
    );
    assert!(with(&|keys| keys.agents.secret_access_key = Secret::new("short")).contains("16 characters"));
    assert!(with(&|keys| keys.keys.access_key_id = "a/b".to_owned()).contains("letters and digits"));
}
