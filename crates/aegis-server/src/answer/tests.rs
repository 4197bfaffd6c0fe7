use std::sync::Arc;

use aegis_core::decide::{Denial, Facts};
use aegis_core::describe::OwnShape;
use jiff::Timestamp;
use serde_json::Value;

use super::*;

const PLAIN: Form = Form { shape: DenyShape::Problem, proxied: false, head_only: false };

fn explanation(code: Code) -> Explanation {
    let facts = Facts::new(Timestamp::UNIX_EPOCH, "dec_1", "pol_1");
    Denial::unread(&facts, None, code, "reason", "what happened".to_owned()).into_explanation()
}

async fn json(response: Response<AnyBody>) -> Value {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    serde_json::from_slice(&bytes).expect("json")
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_with_the_decisions_headers() {
    let response = refusal(&explanation(Code::BadRequest), PLAIN);
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[DECISION], "deny");
    assert_eq!(response.headers()[DECISION_ID], "dec_1");
    assert_eq!(response.headers()[POLICY_VERSION], "pol_1");
    let document = json(response).await;
    assert_eq!(document["code"], "BadRequest");
    assert_eq!(document["status"], 400);
    assert_eq!(document["detail"], "what happened");
}

#[tokio::test]
async fn a_failed_identity_is_challenged_where_it_was_asked_for() {
    let on_route = refusal(&explanation(Code::IdentityRejected), PLAIN);
    assert_eq!(on_route.status(), 401);
    assert!(on_route.headers().contains_key(WWW_AUTHENTICATE));
    let at_proxy = refusal(&explanation(Code::IdentityRejected), Form { proxied: true, ..PLAIN });
    assert_eq!(at_proxy.status(), 407);
    assert_eq!(at_proxy.headers().get_all(PROXY_AUTHENTICATE).iter().count(), 2);
    assert!(!at_proxy.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(json(at_proxy).await["status"], 407);
}

#[tokio::test]
async fn a_rate_says_when_and_head_gets_no_body() {
    let over = Explanation { retry_after: Some(7), ..explanation(Code::RateLimited) };
    let response = refusal(&over, Form { head_only: true, ..PLAIN });
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "7");
    assert!(response.into_body().collect().await.expect("a body").to_bytes().is_empty());
}

#[tokio::test]
async fn kubernetes_gets_a_status_with_the_same_members() {
    let form = Form { shape: DenyShape::KubernetesStatus, ..PLAIN };
    let response = refusal(&explanation(Code::PolicyViolation), form);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let status = json(response).await;
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["status"], "Failure");
    assert_eq!(status["code"], 403);
    assert_eq!(status["reason"], "Forbidden");
    let message = status["message"].as_str().expect("a message");
    assert!(message.starts_with("PolicyViolation: what happened. Change the call"), "{message}");
    for member in ["type", "title", "detail", "decision", "decision_id", "policy_version", "violations", "guidance"] {
        assert!(!status[member].is_null(), "{member}");
    }
}

#[tokio::test]
async fn a_client_that_prints_text_gets_text() {
    let response = refusal(&explanation(Code::PolicyViolation), Form { shape: DenyShape::Text, ..PLAIN });
    assert_eq!(
        (response.status().as_u16(), &response.headers()[CONTENT_TYPE]),
        (403, &"text/plain".parse().expect("ascii"))
    );
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(
        bytes.starts_with(b"PolicyViolation: what happened. Change the call") && bytes.ends_with(b"\n"),
        "{bytes:?}"
    );
}

#[tokio::test]
async fn a_tools_own_shape_is_filled_once_and_keeps_the_members() {
    let body = json!({"error": {"message": "{message}", "status": "{status}"}, "detail": "its own {id}"});
    let shape = |body| OwnShape {
        media_type: "application/x-own".to_owned(),
        body,
        status_line: true,
        headers: vec![("x-error".to_owned(), "{detail}".to_owned())],
    };
    let told = Explanation { detail: "a {code} <b>\u{1}".to_owned(), ..explanation(Code::PolicyViolation) };
    let response = refusal(&told, Form { shape: DenyShape::Own(Arc::new(shape(body))), ..PLAIN });
    let line = response.extensions().get::<ReasonPhrase>().map(|phrase| phrase.as_bytes());
    assert_eq!(line, Some(b"PolicyViolation: a {code} <b>?".as_slice()));
    assert_eq!(response.headers()[CONTENT_TYPE], "application/x-own");
    assert_eq!(response.headers()["x-error"], "a {code} <b>?");
    let own = json(response).await;
    assert_eq!(own["error"]["status"], 403);
    assert!(own["error"]["message"].as_str().expect("text").starts_with("PolicyViolation: a {code} <b>"));
    assert_eq!(own["decision_id"], told.decision_id);
    assert_eq!(own["detail"], format!("its own {}", told.decision_id), "the tool's own members win");

    let xml = shape(json!("<E a='{code}'>{message}</E>"));
    let response = refusal(&told, Form { shape: DenyShape::Own(Arc::new(xml)), ..PLAIN });
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let text = std::str::from_utf8(&bytes).expect("text");
    assert!(text.starts_with("<E a='PolicyViolation'>PolicyViolation: a {code} &lt;b&gt;\u{fffd}"), "{text}");
}

#[test]
fn at_the_proxy_the_status_line_says_why_in_one_printable_line() {
    let phrase = |detail: &str, form| {
        let told = Explanation { detail: detail.to_owned(), ..explanation(Code::PolicyViolation) };
        let response = refusal(&told, form);
        response
            .extensions()
            .get::<ReasonPhrase>()
            .map(|phrase| String::from_utf8(phrase.as_bytes().to_vec()).expect("ascii"))
    };
    let at_proxy = || Form { proxied: true, ..PLAIN };
    assert_eq!(phrase("no such host", PLAIN), None);
    assert_eq!(phrase("no such host", at_proxy()).as_deref(), Some("PolicyViolation: no such host"));
    assert_eq!(phrase("a\r\nX: é", at_proxy()).as_deref(), Some("PolicyViolation: a??X: ?"));
    assert_eq!(phrase(&"a".repeat(1000), at_proxy()).expect("one").len(), REASON_LENGTH);
}

#[tokio::test]
async fn an_upstreams_failure_is_told_apart_and_was_allowed() {
    let allowed =
        Explanation { code: None, decision: aegis_core::decide::Verdict::Allow, ..explanation(Code::BadRequest) };
    let response = failed(&allowed, Failure::TimedOut("no answer in 30 s".to_owned()), PLAIN);
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()[DECISION], "allow");
    let document = json(response).await;
    assert_eq!(document["code"], "UpstreamFailed");
    assert_eq!(document["status"], 504);
    assert_eq!(document["retryable"], false);
}

#[test]
fn an_upstream_cant_speak_in_aegis_name() {
    let mut response = Response::new(body(&Value::Null));
    response.headers_mut().append(DECISION, HeaderValue::from_static("allow"));
    response.headers_mut().append(DECISION, HeaderValue::from_static("allow"));
    response.headers_mut().append(WOULD_DECISION, HeaderValue::from_static("deny"));
    let response = passed(response, &explanation(Code::BadRequest));
    let values: Vec<_> = response.headers().get_all(DECISION).iter().collect();
    assert_eq!(values, ["deny"]);
    assert!(!response.headers().contains_key(WOULD_DECISION));
}

#[tokio::test]
async fn a_refused_push_is_reported_ref_by_ref_in_gits_own_words() {
    let pushed = |side_band| {
        let refs = vec!["refs/heads/main".to_owned(), "refs/heads/b".to_owned()];
        let shape = DenyShape::Git(Some(Arc::new(aegis_core::describe::PushedRefs { refs, side_band })));
        Form { shape, proxied: false, head_only: false }
    };
    let text = async |response: Response<AnyBody>| {
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    };
    let report = "000eunpack ok\n0025ng refs/heads/main what happened\n0022ng refs/heads/b what happened\n0000";
    let plain = refusal(&explanation(Code::PolicyViolation), pushed(false));
    assert_eq!((plain.status(), &plain.headers()[DECISION]), (StatusCode::OK, &HeaderValue::from_static("deny")));
    assert_eq!(plain.headers()[CONTENT_TYPE], "application/x-git-receive-pack-result");
    assert_eq!(text(plain).await, report);
    let banded = text(refusal(&explanation(Code::PolicyViolation), pushed(true))).await;
    assert!(banded.contains("\u{2}PolicyViolation: what happened. "), "{banded:?}");
    assert!(banded.ends_with(&format!("{:04x}\u{1}{report}0000", report.len() + 5)), "{banded:?}");
    // What isn't judged by a policy keeps its status.
    assert_eq!(refusal(&explanation(Code::BadRequest), pushed(true)).status(), 400);
}
