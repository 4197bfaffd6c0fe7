//! What the catalogue's cloud and payment tools need of the format.

use serde_json::{Value, json};

use super::{catalogue, request, route, upstream};
use crate::call::ToolCall;
use crate::describe::{Arrival, Catalogue};
use crate::policy::Source;

const TOOL: &str = r#"
apiVersion: aegis/v1
tool: cloud
route: {hosts: ["c.*.example.com", "*.hooks.example"]}
facts: {region: {sigv4: region}, key: {sigv4: access_key}, kind: {sigv4: service}}
secret_path: true
actions:
- action: grow
  effect: write
  match: {method: POST, path: "/{account}/grow", query: {"*": null}}
  decode: [amz-json, bracket-form]
  target: {region: /region}
  params: {amount: {nowhere: true}, by: {pointer: /steps/*/by, type: int}}
- action: look
  effect: read
  match: {method: GET, path: "/{account}", query: {"x-*": null}}
"#;

fn described(target: &str, headers: &[(&str, &str)], body: &str) -> Result<ToolCall, String> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = request(method, target, headers, body.as_bytes());
    catalogue(TOOL).describe(&route("cloud"), request).map_err(|unreadable| unreadable.reason)
}

fn signature() -> (&'static str, String) {
    let scope = "AKIDEXAMPLE/20261128/eu-west-1/ecs/aws4_request";
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={}", "0".repeat(64));
    ("authorization", signed)
}

const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn a_signature_states_facts_that_the_body_cannot_change() {
    let (name, signed) = signature();
    let call = described("/1/grow", &[JSON, (name, &signed)], r#"{"steps":[{"by":2}]}"#).expect("it can be read");
    let fact = |name: &str| call.target.get(name).map(String::as_str);
    assert_eq!((fact("region"), fact("key"), fact("kind")), (Some("eu-west-1"), Some("AKIDEXAMPLE"), Some("ecs")));
    let other = described("/1/grow", &[JSON, (name, &signed)], r#"{"region":"us-east-1"}"#);
    assert_eq!(other.map(|call| call.action), Err("body_contradicts_path".to_owned()));
    let unknown = described("/1/other", &[JSON, (name, &signed)], "{}").expect("it can be read");
    assert_eq!((unknown.action.as_str(), unknown.target["region"].as_str()), ("unknown", "eu-west-1"));
    let broken = signed.replace("/ecs/", "/");
    assert_eq!(described("/1/grow", &[JSON, (name, &broken)], "{}").map(drop), Err("sigv4_malformed".to_owned()));
    assert_eq!(described("/1/grow", &[JSON], "{}").expect("unsigned").target.get("region"), None);
}

#[test]
fn a_path_that_holds_a_secret_is_in_no_fact_and_no_parameter() {
    for target in ["/hush/grow", "/hush", "/hush/unknown/path"] {
        for body in ["{}", ""] {
            let call = described(target, &[JSON], body).expect("it can be read");
            let shown = format!("{:?} {:?}", call.target, call.params);
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}

#[test]
fn keys_of_a_query_are_refused_by_a_glob() {
    let action = |target: &str, body: &str| described(target, &[FORM], body).map(|call| call.action);
    assert_eq!(action("/1/grow", "a=b").as_deref(), Ok("grow"));
    assert_eq!(action("/1/grow?a=b", "a=b").as_deref(), Ok("unknown"));
    assert_eq!(action("/1?a=b", "").as_deref(), Ok("look"));
    assert_eq!(action("/1?a=b&x-sign=c", "").as_deref(), Ok("unknown"));
}

#[test]
fn what_is_nowhere_is_missing_whatever_the_request_says() {
    let call =
        described("/1/grow", &[FORM], "amount=1&nowhere=2&steps[0][by]=3&steps[1][by]=4").expect("it can be read");
    assert_eq!(Value::Object(call.params), json!({"by": [3, 4]}));
    assert_eq!(json!(call.shape)["defined"]["amount"], json!("required"));
}

#[test]
fn a_star_may_stand_for_the_labels_between_two_dots() {
    let on = |host: &str| {
        let upstream = upstream(host);
        let arrival = Arrival::Route { name: "r", tool: None, cluster: None, upstream: &upstream };
        catalogue(TOOL).describe(&arrival, request("GET", "/1", &[], b"")).expect("it can be read").tool
    };
    assert_eq!(on("c.eu-west-1.example.com"), "cloud");
    assert_eq!(on("c.example.com"), "http");
    assert_eq!(on("d.eu-west-1.example.com"), "http");
    assert_eq!(on("ecs.eu-west-1.amazonaws.com"), "aws_ecs");
    assert_eq!(on("eks.eu-west-1.amazonaws.com"), "aws_eks");
    assert_eq!(on("europe-west1-run.googleapis.com"), "cloud_run");
    assert_eq!(catalogue(TOOL).tool_at("API.stripe.com"), Some("stripe"));
    assert_eq!(catalogue(TOOL).tool_at("other.example"), None);
    for host in ["a.b*.example", "a.*.*.example", "*", "a.**.b", "*.a.*"] {
        let text = format!("apiVersion: aegis/v1\ntool: t\nroute: {{hosts: [\"{host}\"]}}\nactions: []\n");
        let source = Source { file: "t.yaml".to_owned(), text };
        assert!(Catalogue::load(&[source], None).is_err(), "{host}");
    }
}
