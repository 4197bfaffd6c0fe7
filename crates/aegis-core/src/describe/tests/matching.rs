//! Entries told apart by headers and bodies, and parameters that stand elsewhere than in a body's fields.

use serde_json::{Value, json};

use super::{catalogue, request, route};
use crate::call::ToolCall;

const CLOUD: &str = r#"
apiVersion: aegis/v1
tool: cloud
deny_response: {media_type: application/x-cloud+json, body: {error: "{message}", code: 7}, headers: {x-error: "{title}"}}
actions:
- action: scale
  effect: write
  match: {method: POST, path: /, header: {x-target: "Cluster*.Scale"}}
  decode: [json]
  params: {count: {pointer: /count, type: int}}
- action: drop
  effect: destroy
  match: {method: POST, path: /, header: {x-target: ["Cluster*.Drop", "Cluster*.Erase"]}}
- action: grow
  effect: write
  match: {method: POST, path: /, header: {x-target: null}, body: {/Action: [Grow, Shrink], /DryRun: null}}
  decode: [form, json]
  params: {by: {pointer: /By, type: int}}
- action: push
  effect: publish
  match: {method: PUT, path: "/v2/{name+}/manifests/{reference}"}
  decode: ["+json", bytes]
  params:
    digest: {digest: body}
    base: {pointer: /config/digest, presence: partial}
    claimed: {header: X-Claimed, presence: partial}
    image: {text: "{cluster}/{name}@{digest}", type: image}
"#;

fn described(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<ToolCall, String> {
    catalogue(CLOUD).describe(&route("cloud"), request(method, target, headers, body)).map_err(|why| why.reason)
}

fn action(headers: &[(&str, &str)], body: &str) -> Result<String, String> {
    described("POST", "/", headers, body.as_bytes()).map(|call| call.action)
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn a_header_tells_which_action_it_is() {
    let is = |target: &str| action(&[JSON, ("x-target", target)], "{\"count\":1}");
    assert_eq!(is("ClusterV1.Scale").as_deref(), Ok("scale"));
    assert_eq!(is("ClusterV1.Erase").as_deref(), Ok("drop"));
    assert_eq!(is("ClusterV1.Other").as_deref(), Ok("unknown"));
    let twice = [JSON, ("x-target", "ClusterV1.Scale"), ("x-target", "ClusterV1.Drop")];
    assert_eq!(action(&twice, "{}").as_deref(), Ok("unknown"), "no server need agree on which one counts");
}

#[test]
fn a_field_of_the_body_tells_which_action_it_is() {
    assert_eq!(action(&[FORM], "Action=Grow&By=3").as_deref(), Ok("grow"));
    assert_eq!(action(&[JSON], r#"{"Action":"Shrink","By":3}"#).as_deref(), Ok("grow"));
    assert_eq!(action(&[FORM], "Action=Grow&By=3&DryRun=true").as_deref(), Ok("unknown"));
    assert_eq!(action(&[FORM], "Action=Explode").as_deref(), Ok("unknown"));
    assert_eq!(action(&[JSON], r#"{"Action":["Grow"]}"#).as_deref(), Ok("unknown"));
    assert_eq!(action(&[JSON], "{}").as_deref(), Ok("unknown"));
    assert_eq!(action(&[FORM], "Action=Grow&action=Explode"), Err("form_duplicate_field".to_owned()));
    assert_eq!(action(&[JSON], r#"{"Action":"Grow","action":"Explode"}"#), Err("json_key_case".to_owned()));
    assert_eq!(action(&[("content-type", "text/plain")], "Action=Grow").as_deref(), Ok("unknown"));
}

#[test]
fn a_digest_is_of_the_bytes_and_a_text_is_put_together() {
    let body = br#"{"config":{"digest":"sha256:base"}}"#;
    let digest = "sha256:8f2b4b8fd9a9a65cf5d7f2a3e7d7bbf7";
    let put = |kind: &str, body: &[u8]| {
        described("PUT", "/v2/team/app/manifests/v1", &[("content-type", kind), ("x-claimed", "yes")], body)
            .map(|call| (Value::Object(call.params), call.images))
            .expect("it can be read")
    };
    let (params, images) = put("application/vnd.oci.image.manifest.v1+json", body);
    let own = params["digest"].as_str().expect("a digest").to_owned();
    assert!(own.starts_with("sha256:") && own.len() == 71 && own != digest);
    assert_eq!(params["base"], json!("sha256:base"));
    assert_eq!(params["claimed"], json!("yes"));
    assert_eq!(params["image"], json!(format!("main/team/app@{own}")));
    assert_eq!(images[0].digest.as_deref(), Some(own.as_str()));
    let (other, _) = put("application/octet-stream", b"\x00\xffanything");
    assert_ne!(other["digest"], params["digest"]);
    assert_eq!(other.get("base"), None);
}

#[test]
fn entries_that_exclude_each_other_do_not_tie() {
    let tool = |one: &str, two: &str| {
        let entry = |name: &str, more: &str| {
            format!("- {{action: {name}, effect: read, decode: [json], match: {{method: POST, path: /a, {more}}}}}\n")
        };
        let text = format!("apiVersion: aegis/v1\ntool: t\nactions:\n{}{}", entry("one", one), entry("two", two));
        let source = crate::policy::Source { file: "t.yaml".to_owned(), text };
        super::Catalogue::load(&[source], None).is_ok()
    };
    assert!(tool("header: {x-a: one}", "header: {x-a: two}"));
    assert!(tool("header: {x-a: \"one*\"}", "header: {x-a: \"two*\"}"));
    assert!(tool("header: {x-a: one}", "header: {x-a: null}"));
    assert!(!tool("header: {x-a: \"o*\"}", "header: {x-a: \"*e\"}"));
    assert!(!tool("header: {x-a: one}", "header: {x-b: one}"));
    assert!(tool("body: {/a: [one, two]}", "body: {/a: three}"));
    assert!(!tool("body: {/a: [one, two]}", "body: {/a: [three, two]}"));
}

const REGISTRY: &str = r#"
apiVersion: aegis/v1
tool: registry
actions:
- action: store
  effect: publish
  frozen: true
  match: {method: PUT, path: "/v2/{name+}/{reference:*:*}"}
  decode: [bytes]
  params: {digest: {digest: body, agrees_with: reference}, names: {path: name, all: true}}
- action: tag
  effect: publish
  match: {method: PUT, path: "/v2/{name+}/{reference}"}
- action: look
  effect: read
  companion_of: [store]
  match: {method: [GET, HEAD], path: "/v2/{name+}/{kind:tags|refs*}/list"}
- action: scoped
  effect: read
  match: {method: GET, path: "/{scope:@*|~*}/{name}"}
"#;

#[test]
fn a_segment_is_told_by_how_it_looks() {
    let call = |method: &str, target: &str, body: &[u8]| {
        let call = catalogue(REGISTRY).describe(&route("registry"), request(method, target, &[], body));
        call.map_err(|why| why.reason)
    };
    let action = |method: &str, target: &str| call(method, target, b"x").map(|call| call.action);
    assert_eq!(action("PUT", "/v2/a/b/latest").as_deref(), Ok("tag"));
    assert_eq!(action("GET", "/@acme/x").as_deref(), Ok("scoped"));
    assert_eq!(action("GET", "/acme/x").as_deref(), Ok("unknown"));
    assert_eq!(action("HEAD", "/v2/a/b/refs-of/list").as_deref(), Ok("look"));
    assert_eq!(action("GET", "/v2/a/b/other/list").as_deref(), Ok("unknown"));
    let look = call("GET", "/v2/a/tags/list", b"").expect("it can be read");
    assert!(matches!(&look.companion, crate::call::Companion::OfActions(names) if names[0].action == "store"));
    let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let stored = call("PUT", &format!("/v2/a/b/{digest}"), b"x").expect("it can be read");
    assert!(stored.frozen);
    assert_eq!((&stored.params["digest"], &stored.params["names"]), (&json!(digest), &json!(["a/b"])));
    let reason = |reference: &str| call("PUT", &format!("/v2/a/{reference}"), b"x").map(drop);
    assert_eq!(reason(&digest.replace("2d", "2e")), Err("digest_differs".to_owned()));
    assert_eq!(reason("md5:9dd4e461268c8034f5c8564e155c67a6"), Err("digest_unknown".to_owned()));
}

#[test]
fn how_much_of_a_body_is_read_depends_on_what_may_become_of_it() {
    use super::super::BodyPlan;
    let plan = |tool: &str, target: &str| {
        let (parts, ()) = http::Request::builder().method("POST").uri(target).body(()).expect("a request").into_parts();
        catalogue("").body_plan(&route(tool), &parts)
    };
    assert_eq!(plan("pypi", "/legacy/"), BodyPlan::Exact);
    assert_eq!(plan("oci", "/v2/a/blobs/uploads/"), BodyPlan::Optional);
    assert!(matches!(plan("git", "/a.git/git-receive-pack"), BodyPlan::Beginning(_)));
    assert_eq!(plan("git", "/a.git/git-upload-pack"), BodyPlan::Optional);
}

#[test]
fn a_recorded_message_is_taken_for_the_tool_that_names_its_path_most_closely() {
    let tool = |line: &str| {
        let raw = format!("{line} HTTP/1.1\r\nHost: other.example\r\n\r\n");
        catalogue("").match_raw(raw.as_bytes(), None).map(|call| call.tool).map_err(|why| why.reason)
    };
    assert_eq!(tool("GET /api/v1/pods").as_deref(), Ok("kubernetes"));
    assert_eq!(tool("GET /api/v1/crates/a/1.0.0/download").as_deref(), Ok("crates"));
    assert_eq!(tool("GET /v2/a/manifests/v1").as_deref(), Ok("oci"));
    assert_eq!(tool("GET /a.git/info/refs?service=git-upload-pack").as_deref(), Ok("git"));
    assert_eq!(tool("GET /simple/acme-x/").as_deref(), Ok("pypi"));
    assert_eq!(tool("GET /anything").as_deref(), Ok("http"));
}
