//! Any bytes as a body of each form that tools take: described or refused, the same twice, no larger than what came, and not a byte
//! of it is another.
#![no_main]

use std::sync::LazyLock;

use aegis_core::call::{Body, Destination, HttpRequest, Payload};
use aegis_core::describe::{Arrival, Catalogue, Signed};
use aegis_core::policy::Source;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b";

const READER: &str = "
apiVersion: aegis/v1
tool: reader
actions:
- {action: sql, effect: exec, match: {method: POST, path: /sql}, decode: [json], params: {text: {pointer: '', type: sql}}}
- {action: shell, effect: exec, match: {method: POST, path: /shell}, decode: [json], params: {text: {pointer: '', type: shell}}}
- {action: form, effect: write, match: {method: POST, path: /form}, decode: [multipart, bracket-form], params: {all: {pointer: '', type: object}}}
";

/// Tool, method, target, media type; `text/plain` is a JSON text of the bytes.
const FORMS: [(&str, &str, &str, &str); 18] = [
    ("kubernetes", "POST", "/apis/apps/v1/namespaces/web/deployments", "application/vnd.kubernetes.protobuf"),
    ("kubernetes", "PATCH", "/apis/apps/v1/namespaces/web/deployments/a", "application/json-patch+json"),
    ("kubernetes", "PATCH", "/apis/apps/v1/namespaces/web/deployments/a", "application/apply-patch+yaml"),
    ("kubernetes", "PATCH", "/apis/apps/v1/namespaces/web/deployments/a", "application/strategic-merge-patch+json"),
    ("argocd", "POST", "/application.ApplicationService/Sync", "application/grpc"),
    ("github", "POST", "/graphql", "application/json"),
    ("git", "POST", "/a/b.git/git-receive-pack", "application/x-git-receive-pack-request"),
    ("npm", "PUT", "/x", "application/json"),
    ("pypi", "POST", "/legacy/", MULTIPART),
    ("crates", "PUT", "/api/v1/crates/new", "application/octet-stream"),
    ("stripe", "POST", "/v1/payment_intents", FORM),
    ("aws_ecs", "POST", "/", "application/x-amz-json-1.1"),
    ("aws_ec2", "POST", "/", FORM),
    ("openai", "POST", "/v1/chat/completions", "application/json"),
    ("reader", "POST", "/form", MULTIPART),
    ("reader", "POST", "/form", FORM),
    ("reader", "POST", "/sql", "text/plain"),
    ("reader", "POST", "/shell", "text/plain"),
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let source = Source { file: "reader.yaml".to_owned(), text: READER.to_owned() };
    Catalogue::load(&[source], None).expect("the tools load")
});
static UPSTREAM: LazyLock<Destination> =
    LazyLock::new(|| Destination { scheme: "https".to_owned(), host: "tool.example".to_owned(), port: 443 });

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (which, signature, bytes) = input;
    let (tool, method, target, media_type) = FORMS[usize::from(which) % FORMS.len()];
    let (media_type, body) = match media_type {
        "text/plain" => {
            ("application/json", serde_json::json!(String::from_utf8_lossy(bytes)).to_string().into_bytes())
        }
        other => (other, bytes.to_vec()),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let amz_target = HeaderValue::from_static("AmazonEC2ContainerServiceV20141113.UpdateService");
    if tool == "aws_ecs" {
        headers.insert(HeaderName::from_static("x-amz-target"), amz_target);
    }
    if let Ok(value) = HeaderValue::from_bytes(&[b"AWS4-HMAC-SHA256 ", signature].concat()) {
        headers.insert(AUTHORIZATION, value.clone());
        if let Ok(Some(signed)) = Signed::read(&headers) {
            assert!(value.to_str().expect("it was read as text").contains(&signed.scope.to_string()));
        }
    }
    let arrival = Arrival::Route { name: "r", tool: Some(tool), cluster: None, upstream: &UPSTREAM };
    let request = HttpRequest {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        target: target.parse().expect("a target"),
        headers,
        body: Body::Whole(body.clone().into()),
    };
    let Ok(call) = CATALOGUE.describe(&arrival, request.clone()) else {
        return assert!(CATALOGUE.describe(&arrival, request).is_err());
    };
    assert_eq!(CATALOGUE.describe(&arrival, request).map(|again| again.digest()), Ok(call.digest()));
    let Payload::Http(sent) = &call.payload else { panic!("it is HTTP") };
    assert_eq!(sent.body, Body::Whole(body.clone().into()));
    assert!(serde_json::Value::Object(call.params).to_string().len() < 2048 + 16 * body.len());
});
