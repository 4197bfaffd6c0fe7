use super::*;

/// A call that scales `web` to `replicas`, for tests of everything that takes a call.
pub(crate) fn scale(env: &str, replicas: Value) -> ToolCall {
    ToolCall {
        tool: "kubernetes".into(),
        action: "scale".into(),
        classes: ["deploy", "scale"].map(String::from).into(),
        effect: Effect::Write,
        environment: Environment::named(env),
        target: BTreeMap::from([("namespace".into(), "web".into())]),
        params: serde_json::Map::from_iter([("replicas".to_owned(), replicas)]),
        shape: Shape::Defined(BTreeMap::from([("replicas".into(), Presence::Required)])),
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: Default::default(),
        payload: Payload::Caller,
    }
}

fn http(call: ToolCall, body: &'static str) -> ToolCall {
    let request = HttpRequest {
        method: http::Method::PATCH,
        target: "/scale?x=1".parse().expect("a target"),
        headers: http::HeaderMap::new(),
        body: Body::Whole(Bytes::from_static(body.as_bytes())),
    };
    ToolCall { payload: Payload::Http(request), ..call }
}

#[test]
fn what_runs_is_what_the_digest_covers() {
    let digest = |call: &ToolCall| call.digest().expect("a whole body");
    let base = http(scale("staging", 5.into()), "{\"a\":1}");
    let same = http(scale("staging", 5.into()), "{\"a\":1}");
    assert_eq!(digest(&base), digest(&same));
    assert_eq!(base.params_digest(), http(scale("production", 5.into()), "").params_digest());

    let body = http(scale("staging", 5.into()), "{\"a\":2}");
    let env = http(scale("production", 5.into()), "{\"a\":1}");
    let params = http(scale("staging", 6.into()), "{\"a\":1}");
    let mut target = http(scale("staging", 5.into()), "{\"a\":1}");
    target.target.insert("namespace".into(), "other".into());
    for other in [body, env, params, target] {
        assert_ne!(digest(&base), digest(&other));
    }
}

#[test]
fn a_header_that_may_change_what_runs_is_covered() {
    let with = |headers: &[(&'static str, &'static str)]| {
        let mut call = http(scale("staging", 5.into()), "{}");
        if let Payload::Http(request) = &mut call.payload {
            request.headers = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
                .collect();
        }
        call.digest().expect("a whole body")
    };
    let approved = with(&[("x-amz-target", "DynamoDB.GetItem"), ("content-type", "application/json")]);
    let repeated = [
        ("kubectl-session", "2"),
        ("content-type", "application/json"),
        ("traceparent", "00-1"),
        ("aegis-override", "token"),
        ("x-amz-target", "DynamoDB.GetItem"),
        ("user-agent", "other"),
    ];
    assert_eq!(approved, with(&repeated), "what a client changes when it repeats a call");
    for other in [
        &[("x-amz-target", "DynamoDB.DeleteTable"), ("content-type", "application/json")][..],
        &[("x-amz-target", "DynamoDB.GetItem"), ("content-type", "application/json"), ("upgrade", "websocket")],
        &[("x-amz-target", "DynamoDB.GetItem"), ("content-type", "application/json"), ("x-http-method", "DELETE")],
        &[("content-type", "application/json")],
    ] {
        assert_ne!(approved, with(other), "{other:?}");
    }
}

#[test]
fn an_unread_body_has_no_digest() {
    let mut call = http(scale("staging", 5.into()), "");
    if let Payload::Http(request) = &mut call.payload {
        request.body = Body::Streamed;
    }
    assert_eq!(call.digest(), None);
}
