use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};

use super::Profile;
use crate::enforce::connect::{Dialer, system_lookup};
use crate::enforce::settings::{ClientCertificate, Credential, Roots, RouteUpstream, Secret, Timeouts, Tls};
use crate::enforce::testing::{request, route};
use crate::enforce::{AnyBody, tls};

fn profile(route: &RouteUpstream) -> Result<Profile, String> {
    let dialer = Dialer {
        proxy: None,
        lookup: system_lookup(),
        overrides: Arc::new(HashMap::new()),
        own: Arc::new(ArcSwap::default()),
        timeouts: Timeouts::default(),
    };
    Profile::of_route(route, &dialer, &tls::system_roots()).map_err(|error| error.to_string())
}

fn on_the_wire(route: &RouteUpstream, call: aegis_core::call::HttpRequest, length: Option<u64>) -> Request<AnyBody> {
    let aegis_core::call::Body::Whole(bytes) = call.body.clone() else { panic!("whole") };
    let body = AnyBody::new(Full::new(bytes).map_err(|never| match never {}));
    let trace = [(http::HeaderName::from_static("traceparent"), "00-1-2-01".parse().expect("a value"))];
    let profile = profile(route).expect("a profile");
    let shown = at_once(profile.show()).expect("a credential");
    profile.request(call, shown, None, &trace, length, body).expect("a request")
}

/// What a future that waits for nothing comes to.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn field<'a>(request: &'a Request<AnyBody>, name: &str) -> Option<&'a str> {
    request.headers().get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test]
async fn the_target_is_joined_to_the_base_path_and_host_is_the_upstreams() {
    let sent = on_the_wire(
        &route("http://tool.internal:8080/base/"),
        request(Method::GET, "/v1/x?q=1", &[("host", "elsewhere")], ""),
        Some(0),
    );
    assert_eq!(sent.uri(), "http://tool.internal:8080/base/v1/x?q=1");
    assert_eq!(field(&sent, "host"), Some("tool.internal:8080"));
    assert_eq!(field(&sent, "traceparent"), Some("00-1-2-01"));
    assert_eq!(field(&sent, "content-length"), None);
}

#[tokio::test]
async fn framing_is_exact_whatever_the_call_says() {
    let route = route("http://tool.internal");
    let post = |length| on_the_wire(&route, request(Method::POST, "/", &[("content-length", "99")], "abc"), length);
    assert_eq!(field(&post(Some(3)), "content-length"), Some("3"));
    assert_eq!(field(&post(None), "content-length"), None);
    assert_eq!(field(&post(None), "transfer-encoding"), Some("chunked"));
    let empty = on_the_wire(&route, request(Method::POST, "/", &[], ""), Some(0));
    assert_eq!(field(&empty, "content-length"), Some("0"));
}

#[tokio::test]
async fn aegis_proves_itself_and_the_agents_own_credential_is_gone() {
    let secret = format!("s3cr{}", "et");
    let agents = &[("authorization", "Bearer agent"), ("impersonate-user", "root"), ("private-token", "mine")];
    let basic = Credential::Basic { user: "u".to_owned(), password: Secret::new("p") };
    let header = Credential::Header { name: "Private-Token".to_owned(), value: Secret::new(&*secret) };
    for (credential, name, value) in [
        (Credential::Bearer(Secret::new(&*secret)), "authorization", format!("Bearer {secret}")),
        (basic, "authorization", "Basic dTpw".to_owned()),
        (header, "private-token", secret.clone()),
    ] {
        let mut route = route("http://tool.internal");
        route.credential = Some(credential);
        let sent = on_the_wire(&route, request(Method::GET, "/", agents, ""), Some(0));
        assert_eq!(field(&sent, name), Some(value.as_str()));
        assert_eq!(sent.headers().get_all(name).iter().count(), 1);
        assert!(sent.headers().get("impersonate-user").is_none());
        assert!(!format!("{:?}", sent.headers()).contains(&secret));
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_without_showing_them() {
    let secret = format!("s3cr{}\n", "et");
    let refused = |change: &dyn Fn(&mut RouteUpstream)| {
        let mut route = route("https://tool.internal");
        change(&mut route);
        let why = profile(&route).err().expect("refused");
        assert!(!why.contains("s3cr"), "{why}");
        why
    };
    assert!(
        refused(&|route| route.credential = Some(Credential::Bearer(Secret::new(&*secret)))).contains("credential")
    );
    for name in ["host", "content-length", "connection", "aegis-token", "a b", "transfer-encoding"] {
        let credential = Credential::Header { name: name.to_owned(), value: Secret::new("x") };
        assert!(refused(&|route| route.credential = Some(credential.clone())).contains("credential.header"), "{name}");
    }
    let pem = |text: &str| Tls { roots: Roots::Pem(text.as_bytes().to_vec()), ..Tls::default() };
    assert!(refused(&|route| route.tls = pem("")).contains("tls.ca: there is no certificate"));
    assert!(
        refused(&|route| route.tls = pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"))
            .contains("tls.ca")
    );
    let client = ClientCertificate { chain: Vec::new(), key: Secret::new(&*secret) };
    assert!(refused(&|route| route.tls.client = Some(client.clone())).contains("tls.client"));
    assert!(refused(&|route| route.tls.server_name = Some("a b".to_owned())).contains("server's name"));
}
