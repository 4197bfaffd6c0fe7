use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Arrival, BodyPlan, Catalogue, canonical_destination};
use super::{catalogue, request, route, upstream};
use crate::call::{Body, Companion, Effect, HttpRequest, Payload, Presence, Shape, ToolCall};

const SHOP: &str = r#"
apiVersion: aegis/v1
tool: shop
route: {hosts: [api.shop.example, "*.shop.example"]}
encoded_slash: true
actions:
- action: pay
  classes: [pay]
  effect: spend
  match: {method: POST, path: "/v1/charges"}
  decode: [form, json]
  params:
    amount: {pointer: /amount, type: int}
    currency: {pointer: /currency}
    capture: {pointer: /capture, type: bool, presence: partial}
- action: deploy
  classes: [deploy]
  effect: write
  match: {method: POST, path: "/projects/{id}/deploy"}
  decode: [json]
  params:
    image: {pointer: /image, type: image}
    sidecars: {pointer: /sidecars/*/image, type: image, presence: partial}
    project: {path: id}
    env: {pointer: /env, presence: partial}
"#;

/// Built once: the properties ask it thousands of times.
static BOTH: LazyLock<Catalogue> = LazyLock::new(|| catalogue(SHOP));

fn describe(catalogue: &Catalogue, tool: &str, request: HttpRequest) -> Result<ToolCall, String> {
    catalogue.describe(&route(tool), request).map_err(|unreadable| unreadable.reason)
}

fn form(body: &str) -> HttpRequest {
    request("POST", "/v1/charges", &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())
}

fn posted(target: &str, body: &Value) -> HttpRequest {
    request("POST", target, &[("content-type", "application/json")], body.to_string().as_bytes())
}

#[test]
fn a_form_has_types_only_where_they_are_written_plainly() {
    let shop = catalogue(SHOP);
    let params = |body: &str| describe(&shop, "shop", form(body)).map(|call| Value::Object(call.params));
    assert_eq!(
        params("amount=4200&currency=usd&capture=false"),
        Ok(json!({"amount": 4200, "currency": "usd", "capture": false}))
    );
    for odd in ["+4200", "4200.0", "0042", "4e3", "99999999999999999999", " 1"] {
        let body = format!("amount={}", odd.replace('+', "%2B"));
        assert_eq!(params(&body), Ok(json!({"amount": odd})), "{odd}");
    }
    assert_eq!(params("amount=1&amount=2"), Err("form_duplicate_field".to_owned()));
    assert_eq!(params("amount=1&Amount=2"), Err("form_duplicate_field".to_owned()));
    assert_eq!(params("amount=1;amount=2"), Err("query_semicolon".to_owned()));
    assert_eq!(params("amount=%f"), Err("target_escape".to_owned()));
}

#[test]
fn what_no_decoder_reads_is_unknown_and_what_one_cant_is_refused() {
    let shop = catalogue(SHOP);
    let with = |headers: &[(&str, &str)]| {
        describe(&shop, "shop", request("POST", "/v1/charges", headers, b"{\"amount\":1}")).map(|call| call.action)
    };
    assert_eq!(with(&[("content-type", "application/json; charset=UTF-8")]).as_deref(), Ok("pay"));
    assert_eq!(with(&[("content-type", "multipart/form-data; boundary=x")]).as_deref(), Ok("unknown"));
    assert_eq!(with(&[("content-type", "application/yaml")]).as_deref(), Ok("unknown"));
    assert_eq!(with(&[]).as_deref(), Ok("unknown"));
    let refused = |headers: &[(&str, &str)], reason: &str| assert_eq!(with(headers), Err(reason.to_owned()));
    refused(&[("content-type", "application/json; charset=utf-16")], "content_charset");
    refused(&[("content-type", "application/json"), ("content-type", "text/plain")], "content_type");
    refused(&[("content-type", "application/json, text/plain")], "content_type");
    refused(&[("content-type", "application/json"), ("content-encoding", "gzip")], "content_encoding");
    let streamed = HttpRequest { body: Body::Streamed, ..posted("/v1/charges", &json!({})) };
    assert_eq!(describe(&shop, "shop", streamed).map(drop), Err("body_unread".to_owned()));
}

#[test]
fn an_empty_body_leaves_required_parameters_missing() {
    let shop = catalogue(SHOP);
    let call = describe(&shop, "shop", request("POST", "/v1/charges", &[], b"")).expect("readable");
    assert_eq!((call.action.as_str(), call.params.len(), call.effect), ("pay", 0, Effect::Spend));
    let Shape::Defined(shape) = call.shape else { panic!("a definition") };
    assert_eq!(shape["amount"], Presence::Required);
    assert_eq!(shape["capture"], Presence::Partial);
}

#[test]
fn image_parameters_are_images() {
    let shop = catalogue(SHOP);
    let body = json!({"image": "app:1", "sidecars": [{"image": "log"}, {"image": 5}]});
    let call = describe(&shop, "shop", posted("/projects/group%2fproject/deploy", &body)).expect("readable");
    assert_eq!(call.params["project"], "group/project");
    assert_eq!(call.images.iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["app:1", "log", "5"]);
    assert_eq!(call.images[2].repository, None);
    let Shape::Defined(shape) = call.shape else { panic!("a definition") };
    assert_eq!(shape["images"], Presence::Required);
    let Payload::Http(request) = call.payload else { panic!("HTTP") };
    assert_eq!(request.target, "/projects/group%2Fproject/deploy");
}

#[test]
fn a_known_host_is_its_tool_and_any_other_is_plain_http() {
    let shop = catalogue(SHOP);
    let to = |host: &str, method: &str, target: &str| {
        let destination = canonical_destination("https", host, 443).expect("a host");
        shop.describe(&Arrival::Forward { destination: &destination }, request(method, target, &[], b""))
            .expect("readable")
    };
    let call = to("eu.shop.example", "POST", "/v1/charges");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("shop", "pay"));
    assert_eq!(call.destination.expect("named").to_string(), "eu.shop.example:443");
    let call = to("API.shop.example.", "DELETE", "/everything");
    assert_eq!((call.tool.as_str(), call.action.as_str(), call.shape), ("shop", "unknown", Shape::Open));
    let call = to("other.example", "GET", "/a?x=1&x=2");
    assert_eq!((call.tool.as_str(), call.action.as_str(), call.effect), ("http", "request", Effect::Unknown));
    let params = json!({"method": "GET", "scheme": "https", "host": "other.example", "port": 443, "path": "/a"});
    assert_eq!(Value::Object(call.params), params);
    assert_eq!(call.shape, Shape::Open);
    assert_eq!(call.companion, Companion::No);
}

#[test]
fn a_route_without_a_tool_is_plain_http_and_one_to_an_undefined_tool_is_unknown() {
    let shop = catalogue("");
    let call = shop
        .describe(
            &Arrival::Route { name: "r", tool: None, cluster: None, upstream: &upstream("Up.example") },
            request("GET", "/", &[], b""),
        )
        .expect("readable");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("http", "request"));
    assert_eq!(call.destination, None);
    assert_eq!(call.target["host"], "up.example");
    let call = describe(&shop, "http", request("GET", "/", &[], b"")).expect("readable");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("http", "request"));
    let call = describe(&shop, "nobody", request("GET", "/", &[], b"")).expect("readable");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("nobody", "unknown"));
}

#[test]
fn a_tunnel_to_a_known_host_is_that_tools_unknown() {
    let shop = catalogue(SHOP);
    let tunnel = |host: &str| shop.describe_tunnel(&canonical_destination("tunnel", host, 443).expect("a host"));
    let call = tunnel("api.shop.example");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("shop", "unknown"));
    let call = tunnel("other.example");
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("http", "connect"));
    assert_eq!(call.params["port"], 443);
    assert!(matches!(call.payload, Payload::Tunnel));
}

#[test]
fn functions_have_open_parameters_and_images_by_convention() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let params = json!({"image": "app", "images": ["a", 1], "image_digest": digest, "replicas": 3});
    let Value::Object(params) = params else { panic!("an object") };
    let call = catalogue("").describe_function("deploy", "run", params);
    assert_eq!(call.shape, Shape::Open);
    assert_eq!(call.images.iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["app", "a", "1", &digest]);
    assert_eq!(call.images[3].digest.as_ref(), Some(&digest));
}

#[test]
fn the_body_is_read_where_the_description_depends_on_it() {
    let shop = catalogue(SHOP);
    let plan = |tool: &str, method: &str, target: &str| {
        let (parts, ()) = http::Request::builder().method(method).uri(target).body(()).expect("a request").into_parts();
        shop.body_plan(&route(tool), &parts)
    };
    assert_eq!(plan("shop", "POST", "/v1/charges"), BodyPlan::Whole);
    assert_eq!(plan("shop", "GET", "/v1/charges"), BodyPlan::Optional);
    assert_eq!(plan("shop", "POST", "/v1/%63harges"), BodyPlan::Whole);
    assert_eq!(plan("http", "POST", "/v1/charges"), BodyPlan::Optional);
    let scale = "/apis/apps/v1/namespaces/w/deployments/d/scale";
    assert_eq!(plan("kubernetes", "PATCH", scale), BodyPlan::Whole);
    // Its body says whether it is a dry run.
    assert_eq!(plan("kubernetes", "DELETE", "/api/v1/namespaces/w/pods/d"), BodyPlan::Whole);
    assert_eq!(plan("kubernetes", "POST", "/api/v1/namespaces/w/pods/d/exec"), BodyPlan::Optional);
}

#[test]
fn a_recorded_message_says_where_it_goes() {
    let shop = catalogue(SHOP);
    let call = |raw: &str| {
        let call = shop.match_raw(raw.as_bytes(), None).map_err(|unreadable| unreadable.reason)?;
        Ok::<_, String>(format!("{}/{}", call.tool, call.action))
    };
    assert_eq!(call("GET /apis/apps/v1 HTTP/1.1\r\nHost: k8s\r\n\r\n").as_deref(), Ok("kubernetes/discover"));
    assert_eq!(call("POST /v1/charges HTTP/1.1\r\nHost: api.shop.example:443\r\n\r\n").as_deref(), Ok("shop/pay"));
    assert_eq!(call("POST https://api.shop.example/v1/charges HTTP/1.1\nHost: x\n\n").as_deref(), Ok("shop/pay"));
    assert_eq!(call("GET http://other.example HTTP/1.1\r\nHost: x\r\n\r\n").as_deref(), Ok("http/request"));
    assert_eq!(call("CONNECT [2001:db8::1]:22 HTTP/1.1\r\n\r\n").as_deref(), Ok("http/connect"));
    assert_eq!(call("GET /what HTTP/1.1\r\nHost: other.example\r\n\r\n").as_deref(), Ok("http/request"));
    for (raw, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", "host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "http_malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "http_malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "http_malformed"),
        ("CONNECT a HTTP/1.1\r\n\r\n", "destination_host"),
        ("CONNECT a:99999 HTTP/1.1\r\n\r\n", "destination_host"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "destination_host"),
    ] {
        assert_eq!(call(raw), Err(reason.to_owned()), "{raw:?}");
    }
}

/// The replicas that a body asks for, when it is taken at all.
fn replicas(catalogue: &Catalogue, media_type: &str, body: &str) -> Option<Value> {
    let target = "/apis/apps/v1/namespaces/w/deployments/d/scale";
    let request = request("PATCH", target, &[("content-type", media_type)], body.as_bytes());
    describe(catalogue, "kubernetes", request).ok().and_then(|call| call.params.get("replicas").cloned())
}

proptest! {
    #[test]
    fn describing_never_panics(
        method in "(GET|POST|PUT|PATCH|DELETE|X)",
        target in "/(api/v1|apis/apps/v1|v1)(/namespaces/[a-z%./]{0,4})?/(deployments|pods|secrets|charges)(/[a-z]{0,3}(/scale|/exec|/proxy/x)?)?(\\?[a-zA-Z=&%;]{0,10})?",
        media_type in "(application/(json|merge-patch\\+json|strategic-merge-patch\\+json|json-patch\\+json|apply-patch\\+yaml|x-www-form-urlencoded)|x)",
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        for tool in ["kubernetes", "shop", "http"] {
            let Ok(_) = target.parse::<http::uri::PathAndQuery>() else { continue };
            let _ = BOTH.describe(&route(tool), request(&method, &target, &[("content-type", &media_type)], &body));
        }
    }

    #[test]
    fn raw_messages_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = BOTH.match_raw(&bytes, None);
    }

    /// Two bodies that differ only in which of two keys comes last never both pass: else one of them passes as the other.
    #[test]
    fn of_two_readings_none_is_taken(a in 0..9_i64, b in 10..99_i64, key in "(replicas|Replicas|REPLICAS|replica\u{17f})") {
        for (first, second) in [(a, b), (b, a)] {
            let merge = format!(r#"{{"spec":{{"replicas":{first},"{key}":{second}}}}}"#);
            prop_assert_eq!(replicas(&BOTH, "application/merge-patch+json", &merge), None);
            let patch = format!(
                r#"[{{"op":"replace","path":"/spec/replicas","value":{first}}},{{"op":"add","path":"/spec","value":{{"{key}":{second}}}}}]"#
            );
            prop_assert_eq!(replicas(&BOTH, "application/json-patch+json", &patch), None);
        }
    }

    /// However a patch is cut, the image that it sets is seen.
    #[test]
    fn an_image_is_seen_wherever_a_patch_is_cut(cut in 0..7_usize, list in "(containers|initContainers|ephemeralContainers)", at in "(0|7|-)") {
        let path = ["spec", "template", "spec", &list, &at, "image"];
        let cut = cut.min(path.len());
        let nested = path[cut..].iter().rev().fold(json!("evil:1"), |value, key| match *key {
            "0" | "7" | "-" => json!([value]),
            key => json!({key: value}),
        });
        let pointer: String = path[..cut].iter().map(|key| format!("/{key}")).collect();
        let patch = json!([{"op": "replace", "path": pointer, "value": nested}]);
        let target = "/apis/apps/v1/namespaces/w/deployments/d";
        let request = request("PATCH", target, &[("content-type", "application/json-patch+json")], patch.to_string().as_bytes());
        let call = describe(&BOTH, "kubernetes", request).expect("readable");
        prop_assert_eq!(call.images.iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["evil:1"]);
    }
}

/// Whoever sends a body can't make us look at each of its fields once for every other.
#[test]
fn many_fields_cost_no_more_than_they_are() {
    let fields: String = (0..50_000).map(|index| format!("f{index}=1&")).collect();
    assert_eq!(describe(&BOTH, "shop", form(&fields)).map(|call| call.action).as_deref(), Ok("pay"));
    let operations: Vec<Value> = (0..20_000)
        .map(|index| json!({"op": "add", "path": format!("/metadata/labels/l{index}"), "value": "x"}))
        .collect();
    let body = Value::from(operations).to_string();
    let headers = [("content-type", "application/json-patch+json")];
    let patch = request("PATCH", "/apis/apps/v1/namespaces/w/deployments/d", &headers, body.as_bytes());
    assert_eq!(describe(&BOTH, "kubernetes", patch).map(|call| call.action).as_deref(), Ok("apply"));
}

#[test]
fn a_patch_of_long_paths_cannot_take_much_memory() {
    let operation = format!("{{\"op\":\"add\",\"path\":\"{}\",\"value\":1}}", "/a".repeat(60));
    let target = "/apis/apps/v1/namespaces/web/deployments/shop";
    let headers = [("content-type", "application/json-patch+json")];
    let describe = |count: usize| {
        let patch = format!("[{}]", vec![operation.as_str(); count].join(","));
        catalogue("").describe(&route("kubernetes"), request("PATCH", target, &headers, patch.as_bytes()))
    };
    assert!(describe(1_600).is_ok());
    assert_eq!(describe(1_700).expect_err("too many").reason, "json_patch");
}
