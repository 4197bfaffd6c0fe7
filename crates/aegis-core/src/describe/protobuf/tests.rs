use proptest::prelude::*;
use serde_json::json;

use super::*;

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(value, &mut out);
    out
}

fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 2, &mut out);
    varint(u64::try_from(value.as_ref().len()).expect("short"), &mut out);
    [out, value.as_ref().to_vec()].concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version), bytes(2, kind)].concat();
    // As Kubernetes' own encoder: what isn't set of the envelope's own fields is there, and empty.
    [PREFIX.to_vec(), bytes(1, meta), bytes(2, raw), bytes(3, ""), bytes(4, "")].concat()
}

/// A Deployment with this behind its metadata.
fn deployment(spec: &[u8]) -> Vec<u8> {
    body("apps/v1", "Deployment", &[bytes(1, bytes(1, "shop")), bytes(2, spec)].concat())
}

fn read(body: &[u8]) -> Value {
    match kubernetes(body) {
        Ok(Decoded::Documents { documents, textual: false }) => documents.into_iter().next().expect("one document"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_schema_is_whole() {
    let schema = Schema::get().expect("it is read");
    for (api_version, kind) in [("apps/v1", "Deployment"), ("v1", "Pod"), ("autoscaling/v1", "Scale"), ("v1", "Secret")]
    {
        assert!(schema.kind(api_version, kind).is_some(), "{api_version} {kind}");
    }
    assert!(schema.kind("v1", "Deployment").is_none());
}

#[test]
fn a_deployment_is_what_its_json_is() {
    let container = [bytes(1, "app"), bytes(2, "registry.acme.io/app:v1"), bytes(14, "")].concat();
    let volume = [bytes(1, "m"), bytes(2, bytes(30, bytes(1, "quay.io/models/m:1")))].concat();
    let pod = [bytes(1, &volume), bytes(2, &container), bytes(20, &container)].concat();
    let strategy = bytes(2, bytes(1, [number(1, 1), number(2, 0), bytes(3, "25%")].concat()));
    let spec = [number(1, 200), bytes(3, bytes(2, pod)), bytes(4, strategy), number(5, 0), number(7, 0)].concat();
    let container = json!({"name": "app", "image": "registry.acme.io/app:v1"});
    assert_eq!(
        read(&deployment(&spec)),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
            "replicas": 200,
            "strategy": {"rollingUpdate": {"maxUnavailable": "25%"}},
            "template": {"spec": {
                "containers": [container], "initContainers": [container],
                "volumes": [{"name": "m", "image": {"reference": "quay.io/models/m:1"}}],
            }},
        }})
    );
}

#[test]
fn what_encodes_itself_is_read_as_in_json() {
    let time = |seconds: u64| bytes(8, number(1, seconds));
    let label = |key: &str, value: &str| bytes(11, [bytes(1, key), bytes(2, value)].concat());
    let meta =
        [bytes(1, "s"), bytes(3, ""), time(1_201_828_861), label("a", "1"), label("b", ""), bytes(12, "")].concat();
    let data = bytes(2, [bytes(1, "k"), bytes(2, [0xff, 0x00])].concat());
    assert_eq!(
        read(&body("v1", "Secret", &[bytes(1, meta), data, bytes(3, "Opaque")].concat())),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "/wA="}, "metadata": {
            "name": "s", "creationTimestamp": "2008-02-01T01:21:01Z", "labels": {"a": "1", "b": ""},
            "annotations": {"": ""},
        }})
    );
    let minus_one = u64::MAX;
    let scale = body("autoscaling/v1", "Scale", &bytes(2, number(1, minus_one)));
    assert_eq!(read(&scale)["spec"], json!({"replicas": -1}));
    let no_time = body("v1", "Pod", &bytes(1, bytes(8, "")));
    assert_eq!(read(&no_time)["metadata"], json!({"creationTimestamp": null}));
}

#[test]
fn what_is_not_in_the_schema_is_opaque() {
    let envelope = |more: Vec<u8>| {
        let meta = [bytes(1, "apps/v1"), bytes(2, "Deployment")].concat();
        [PREFIX.to_vec(), bytes(1, meta), bytes(2, ""), more].concat()
    };
    for (what, body) in [
        ("a kind", body("argoproj.io/v1alpha1", "Rollout", b"")),
        ("a version", body("apps/v9", "Deployment", b"")),
        ("a list of objects", body("apps/v1", "DeploymentList", b"")),
        ("a field of the object", body("apps/v1", "Deployment", &bytes(9, "x"))),
        ("a field deep in it", deployment(&bytes(3, bytes(2, bytes(2, bytes(999, "x")))))),
        ("a field of a map's entry", body("v1", "Pod", &bytes(1, bytes(11, bytes(3, "x"))))),
        ("a field of the envelope", envelope(bytes(9, "x"))),
        ("an encoding", envelope(bytes(3, "gzip"))),
        ("a type in the envelope", envelope(bytes(4, "application/json"))),
        ("a list in packed form", body("v1", "Pod", &bytes(2, bytes(14, bytes(4, [1, 2]))))),
    ] {
        let decoded = kubernetes(&body);
        assert!(matches!(decoded, Ok(Decoded::Opaque(_))), "{what}: {decoded:?}");
    }
}

#[test]
fn what_readers_may_read_differently_is_unreadable() {
    let whole = deployment(&number(1, 2));
    let spec = |spec: Vec<u8>| deployment(&spec);
    let beyond = |field: u64| spec([number(field, 1 << 32 | 200), number(field, 1)].concat());
    for (what, body) in [
        ("nothing behind the prefix", PREFIX.to_vec()),
        ("no prefix", whole[4..].to_vec()),
        ("no kind", body("apps/v1", "", b"")),
        ("what is cut off", whole[..whole.len() - 1].to_vec()),
        ("what trails", [whole.clone(), vec![0]].concat()),
        ("two objects", [whole.clone(), bytes(2, bytes(2, number(1, 200)))].concat()),
        ("a number twice", spec([number(1, 2), number(1, 200)].concat())),
        (
            "a message twice",
            body("apps/v1", "Deployment", &[bytes(2, number(1, 2)), bytes(2, number(1, 200))].concat()),
        ),
        ("a number beyond 32 bits", spec(number(1, 1 << 32 | 1))),
        ("a field beyond 32 bits, which Go cuts to 1", beyond(1 << 32 | 1)),
        ("a field 0", spec(number(0, 1))),
        ("a number beyond 64 bits", spec([vec![8], vec![0xff; 9], vec![2]].concat())),
        ("a number without an end", spec([vec![8], vec![0xff; 12]].concat())),
        ("yes and more", spec(number(7, 2))),
        ("a number where a message is meant", spec(number(3, 1))),
        ("a group", spec(vec![3 << 3 | 3])),
        ("a fixed number", spec(vec![1 << 3 | 5, 1, 0, 0, 0])),
        ("a text that isn't one", body("apps/v1", "Deployment", &bytes(1, bytes(1, [0xff])))),
        ("a key twice", {
            let label = bytes(11, [bytes(1, "k"), bytes(2, "v")].concat());
            body("v1", "Pod", &bytes(1, [label.clone(), label].concat()))
        }),
        (
            "neither number nor text",
            body("apps/v1", "Deployment", &bytes(2, bytes(4, bytes(2, bytes(1, number(1, 2)))))),
        ),
        ("no time", body("v1", "Pod", &bytes(1, bytes(8, number(1, u64::MAX >> 1))))),
    ] {
        let decoded = kubernetes(&body);
        assert!(matches!(&decoded, Err(why) if why.reason == "protobuf_malformed"), "{what}: {decoded:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(raw in prop::collection::vec(any::<u8>(), 0..200), at in 0..60_usize) {
        let _ = kubernetes(&raw);
        let _ = kubernetes(&body("v1", "Pod", &raw));
        let mut changed = deployment(&[number(1, 2), bytes(3, bytes(2, bytes(2, bytes(2, "image"))))].concat());
        let place = at % changed.len();
        changed[place] = changed[place].wrapping_add(1);
        let _ = kubernetes(&changed);
    }
}
