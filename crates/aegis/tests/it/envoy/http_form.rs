//! Envoy's HTTP service: the same calls, asked about on the API's port.

use serde_json::json;

use super::{BUFFERED, REDACTED, SCALE, SCALER, Setup, padded};
use crate::process::raw;

const HTTP: &str = include_str!("../../../../../deploy/envoy/envoy-http.yaml");

#[test]
fn the_same_calls_pass_and_are_refused_over_http() {
    let setup = Setup::start(SCALER, |_| HTTP.to_owned());
    let answer = setup.scale(SCALE, 50);
    assert_eq!(answer.status, 200, "{}{}\n{}", answer.head, answer.body, setup.envoy.log());
    assert!(answer.head.contains("aegis-decision: allow"), "{}", answer.head);
    let seen = setup.tool.seen().pop().expect("a call");
    assert_eq!((seen.target.as_str(), seen.body.as_str()), (SCALE, r#"{"spec":{"replicas":50}}"#));
    assert!(!format!("{seen:?}").contains(&setup.token), "{seen:?}");
    assert!(seen.header("traceparent").is_some(), "{seen:?}");

    let answer = setup.scale(SCALE, 200);
    let status = answer.json();
    assert_eq!((answer.status, &status["kind"], &status["title"]), (403, &json!("Status"), &json!("PolicyViolation")));
    assert!(answer.head.contains("aegis-decision: deny"), "{}", answer.head);
    // A page's Origin is the agent's affair here.
    let answer = setup.patch(SCALE, r#"{"spec":{"replicas":5}}"#, &["-H", "Origin: https://a.example"]);
    assert_eq!(answer.status, 200, "{}", answer.body);

    let deployment = SCALE.trim_end_matches("/scale");
    for length in [BUFFERED, BUFFERED + 1] {
        let answer = setup.patch(deployment, &padded(length), &[]);
        assert_eq!((answer.status, setup.reason().as_str()), (403, "body: partial"), "{length}: {}", answer.body);
    }
    assert_eq!(setup.tool.seen().len(), 2);
}

#[test]
fn what_would_have_to_be_redacted_is_refused_over_http() {
    let setup = Setup::start(REDACTED, |_| HTTP.replace("tool=kubernetes&cluster=main&", ""));
    let mail = ["ann", "example.com"].join("@");
    let find = |to: &str| setup.call(&["-H", "Host: tool.example", &setup.url(&format!("/find?to={to}"))]);
    assert_eq!(find("b").status, 200);
    let answer = find(&mail);
    assert_eq!((answer.status, setup.reason().as_str()), (403, "sanitize: not_enforceable"), "{}", answer.body);
    assert_eq!(setup.tool.seen().len(), 1);
}

#[test]
fn headers_that_are_kept_back_and_words_that_are_not_known_refuse() {
    let kept = "allowed_headers: {patterns: [{safe_regex: {regex: \".*\"}}]}";
    let setup = Setup::start(SCALER, |_| HTTP.replace(kept, "allowed_headers: {patterns: [{exact: content-type}]}"));
    let answer = setup.scale(SCALE, 5);
    assert_eq!((answer.status, setup.reason().as_str()), (400, "request: headers_not_sent"), "{}", answer.body);
    assert_eq!(setup.tool.seen().len(), 0);

    let ask = |words: &str| {
        let request = format!(
            "GET /v1/ext_authz/{words}/api HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            setup.token
        );
        let answer = raw(setup.gateway.address("api"), &request);
        (answer.split(' ').nth(1).unwrap_or_default().to_owned(), setup.reason())
    };
    for words in ["tool=kubernetes&rout=x", "tool=nothing", "body=all", "tool=kubernetes&tool=http"] {
        assert_eq!(ask(words), ("400".to_owned(), "request: stated".to_owned()), "{words}");
    }
    assert_eq!(ask("-").0, "403", "nobody lists the host");
}
