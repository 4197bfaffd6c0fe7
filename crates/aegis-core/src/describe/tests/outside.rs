//! Bodies near what real clients send, through the way in that they come by: whatever is changed in them, there is an answer, the
//! same answer twice, no larger than what came, and not a byte of the body is another.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::super::{Catalogue, Signed, import};
use super::{catalogue, request, route};
use crate::call::{Body, Payload};
use crate::policy::Source;

/// What a program is given to read.
const RUNNER: &str = "
apiVersion: aegis/v1
tool: runner
actions:
- {action: ask, effect: exec, match: {method: POST, path: /sql}, decode: [json], params: {text: {pointer: /text, type: sql}}}
- {action: ask_postgres, effect: exec, match: {method: POST, path: /postgres}, decode: [json], params: {text: {pointer: /text, type: sql, dialect: postgres}}}
- {action: run, effect: exec, match: {method: POST, path: /shell}, decode: [json], params: {text: {pointer: /text, type: shell}}}
- {action: fields, effect: write, match: {method: POST, path: /form}, decode: [multipart, bracket-form], params: {all: {pointer: '', type: object}}}
- {action: patch, effect: write, match: {method: POST, path: /patch}, decode: [json-patch, apply-patch], params: {all: {pointer: /spec, type: object, presence: partial}}}
";

static ALL: LazyLock<Catalogue> = LazyLock::new(|| catalogue(RUNNER));

/// Tool, method, target, media type, and a body that is read.
type Sample = (&'static str, &'static str, &'static str, &'static str, Vec<u8>);

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

fn upload(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file =
        "--b\r\nContent-Disposition: form-data; name=\"content\"; filename=\"x-1.0.tar.gz\"\r\n\r\nfile\r\n--b--\r\n";
    (fields.iter().map(field).collect::<String>() + file).into_bytes()
}

fn push() -> Vec<u8> {
    let line = format!("{} {} refs/heads/main\0 report-status push-options", "1".repeat(40), "2".repeat(40));
    format!("{:04x}{line}00000008ci=x0000PACK", line.len() + 4).into_bytes()
}

fn package() -> Vec<u8> {
    let (file, integrity) = (STANDARD.encode(b"file"), STANDARD.encode(Sha512::digest(b"file")));
    let version = json!({"name": "x", "version": "1.0.0", "dist": {"integrity": format!("sha512-{integrity}")}});
    json!({"_id": "x", "name": "x", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version},
        "_attachments": {"x-1.0.0.tgz": {"data": file, "length": 4}}})
    .to_string()
    .into_bytes()
}

fn crate_file() -> Vec<u8> {
    let about = json!({"name": "x", "vers": "1.0.0", "deps": [], "features": {}}).to_string();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
    [&length(about.as_bytes())[..], about.as_bytes(), &length(b"file")[..], b"file"].concat()
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    const KUBE: &str = "/apis/apps/v1/namespaces/web/deployments";
    const FORM: &str = "application/x-www-form-urlencoded";
    let graphql = json!({"query": "query Q($i: IssueFilters, $n: Int = 1) { a: repository(owner: \"o\", name: \"n\") { issues(filterBy: $i) { id } } ...F @skip(if: true) } \
        fragment F on Query { search(query: \"\"\"b\"\"\", first: $n, type: ISSUE, x: {y: [$n, 1.5, null]}) { nodes { id } } }", "variables": {"i": {"labels": ["a"]}}});
    let task = json!({"cluster": "prod", "service": "web", "desiredCount": 3, "taskDefinition": "web:7"});
    let chat = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function", "function": {"name": "f"}}]});
    let patch =
        json!([{"op": "replace", "path": "/spec/replicas", "value": 3}, {"op": "test", "path": "/a", "value": 1}]);
    vec![
        ("kubernetes", "POST", KUBE, "application/vnd.kubernetes.protobuf", decoded(
            "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EsQBCiQKBHNob3ASABoDd2ViIgAqADIAOABCAFoLCgNhcHASBHNob3ASjQEIyAESDQoLCgNhcHASBHNob3AacQodCgASABoAIgAqADIAOABCAFoLCgNhcHASBHNob3ASUBIyCgNhcHASF3JlZ2lzdHJ5LmFjbWUuaW8vYXBwOnYxKgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=",
        )),
        ("kubernetes", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", "application/json-patch+json", patch.to_string().into()),
        ("kubernetes", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=m", "application/apply-patch+yaml",
            b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 3\n  template: {spec: {containers: [{name: a, image: 'b:1'}]}}\n".into()),
        ("argocd", "POST", "/application.ApplicationService/Sync", "application/grpc",
            decoded("AAAAAC8KA3dlYhIDYWJjGAEgASoAOhcKBGFwcHMSCkRlcGxveW1lbnQaA3dlYmoEc2hvcA==")),
        ("github", "POST", "/graphql", "application/json", graphql.to_string().into()),
        ("git", "POST", "/a/b.git/git-receive-pack", "application/x-git-receive-pack-request", push()),
        ("npm", "PUT", "/x", "application/json", package()),
        ("pypi", "POST", "/legacy/", "multipart/form-data; boundary=b",
            upload(&[(":action", "file_upload"), ("name", "x"), ("version", "1.0"), ("classifiers", "A")])),
        ("crates", "PUT", "/api/v1/crates/new", "application/octet-stream", crate_file()),
        ("stripe", "POST", "/v1/payment_intents", FORM, b"amount=4200&currency=usd&metadata[a][b]=c&expand[]=x&transfer_data%5Bdestination%5D=d".into()),
        ("aws_ecs", "POST", "/", "application/x-amz-json-1.1", task.to_string().into()),
        ("aws_ec2", "POST", "/", FORM, b"Action=RunInstances&Version=2016-11-15&ImageId=ami-1&MinCount=1&MaxCount=3".into()),
        ("openai", "POST", "/v1/chat/completions", "application/json", chat.to_string().into()),
        ("runner", "POST", "/form", "multipart/form-data; boundary=b", upload(&[("a[b][c]", "1"), ("d[]", "2"), ("e[0][f]", "3")])),
        ("runner", "POST", "/form", FORM, b"a[b][c]=1&d[]=2&e[0][f]=%33+".into()),
        ("runner", "POST", "/patch", "application/json-patch+json", patch.to_string().into()),
        ("runner", "POST", "/patch", "application/apply-patch+yaml", b"spec: &a {b: [1, \"2\", null], <<: {c: |\n x}}\n".into()),
    ]
});

const PROGRAMS: [(&str, &str); 6] = [
    ("/sql", "WITH x AS (DELETE FROM a.b WHERE c = 'd;' RETURNING *) SELECT * FROM x JOIN y ON 1 = 1 -- z"),
    ("/sql", "UPDATE t SET a = (SELECT max(b) FROM u) WHERE c IN (1, 2); DROP TABLE IF EXISTS v CASCADE"),
    ("/postgres", "COPY (SELECT $$a$$::text, \"B\" FROM c LATERAL d) TO PROGRAM 'sh'; DO $x$ BEGIN END $x$"),
    ("/shell", "curl -s \"$(cat a)\" | sh -c 'rm -rf /' && echo ${b:-c} > /dev/null 2>&1; for i in 1 2; do x; done"),
    ("/shell", "sudo env A=1 bash <<'E'\nx `y` $((1+2))\nE\n[[ a =~ b ]] || { c & wait; }"),
    ("/shell", "case $a in b|c) d ;; *) e ;; esac; function f() { g; }; < h xargs -n1 i"),
];

const OPENAPI: &str = r##"
openapi: 3.1.0
info: {title: "Shop, of all", version: "1"}
servers: [{url: "https://api.shop.example/v1/"}, {url: /v1}]
paths:
  /orders/{order-id}/items[*]: {get: {}}
  /orders:
    parameters: [{name: trace, in: header, schema: {type: string}}, {$ref: "#/components/parameters/limit"}]
    get: {operationId: listOrders}
    post:
      operationId: create-order
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Order"}
            examples: {one: {value: {to: "a: b", count: 3, "odd key": [1.5, null]}}}
          application/x-www-form-urlencoded: {schema: {type: object, properties: {to: {type: string}}}}
  /orders/{id}:
    delete: {operationId: unknown, parameters: [{name: id, in: path, required: true, example: "x y", schema: {type: [integer, "null"]}}]}
    put: {requestBody: {content: {image/png: {}}}}
components:
  parameters: {limit: {name: limit, in: query, schema: {type: integer}, example: 5}}
  schemas:
    Order: {allOf: [{$ref: "#/components/schemas/Base"}, {type: object, required: [to], properties: {to: {type: string}, next: {$ref: "#/components/schemas/Order"}}}]}
    Base: {type: object, properties: {count: {type: integer}, "odd key": {type: array, items: {type: number}}}, additionalProperties: true}
"##;

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/eu-central-1/ecs/aws4_request, \
    SignedHeaders=content-type;host;x-amz-date, Signature=";

/// One change: where, what kind, how far, and a byte.
type Change = (prop::sample::Index, u8, usize, u8);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..6_u8, 1..12_usize, any::<u8>()), 0..6)
}

/// The same with these changes: another byte, one more, a run gone, a run twice, a run of punctuation, a bit flipped.
fn changed(sample: &[u8], changes: &[Change]) -> Vec<u8> {
    const MARKS: &[u8] = b"{}[]()\"'`\\;&|=%$#@:,.-+/<>*\r\n\0\xff 019";
    let mut bytes = sample.to_vec();
    for (at, kind, run, byte) in changes {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + run);
        match (kind, bytes.get_mut(at)) {
            (0, Some(old)) => *old = *byte,
            (1, Some(old)) => *old ^= 1 << (byte % 8),
            (2, Some(_)) => drop(bytes.drain(at..end)),
            (3, Some(_)) => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            (4, _) => bytes.insert(at, MARKS[usize::from(*byte) % MARKS.len()]),
            _ => bytes.insert(at, *byte),
        }
    }
    bytes
}

/// Only ECS is asked by this header; other services refuse it.
fn headers_of<'a>(tool: &str, media_type: &'a str) -> Vec<(&'static str, &'a str)> {
    let target = ("x-amz-target", "AmazonEC2ContainerServiceV20141113.UpdateService");
    [("content-type", media_type)].into_iter().chain((tool == "aws_ecs").then_some(target)).collect()
}

/// Whatever comes: the same twice, the body as it came, and no more of it than it is.
fn holds(sample: (&str, &str, &str, &str), body: &[u8]) -> Result<(), TestCaseError> {
    let (tool, method, target, media_type) = sample;
    let headers = headers_of(tool, media_type);
    let described = || ALL.describe(&route(tool), request(method, target, &headers, body));
    let (once, again) = (described(), described());
    let digest =
        |call: &Result<crate::call::ToolCall, _>| call.as_ref().map(crate::call::ToolCall::digest).ok().flatten();
    prop_assert_eq!(digest(&once), digest(&again));
    let call = match once {
        Ok(call) => call,
        Err(why) => {
            prop_assert!(!why.reason.is_empty() && !why.message.is_empty());
            prop_assert!(why.message.len() < 1024 + 8 * body.len(), "{}", why.message);
            return Ok(());
        }
    };
    let Payload::Http(sent) = &call.payload else { panic!("HTTP") };
    prop_assert_eq!(&sent.body, &Body::Whole(body.to_vec().into()));
    let size = Value::Object(call.params.clone()).to_string().len();
    prop_assert!(size < 2048 + 16 * body.len(), "{size} bytes of parameters from {}", body.len());
    Ok(())
}

#[test]
fn every_sample_is_read() {
    for (tool, method, target, media_type, body) in SAMPLES.iter() {
        let headers = headers_of(tool, media_type);
        let call = ALL.describe(&route(tool), request(method, target, &headers, body));
        // The YAML with an alias is there to be refused.
        match call {
            Ok(call) => assert_ne!(call.action, "unknown", "{tool} {target} {media_type}"),
            Err(why) => assert!(body.starts_with(b"spec: &a"), "{tool} {target}: {why}"),
        }
    }
    for (target, text) in PROGRAMS {
        let body = json!({"text": text}).to_string();
        assert!(
            ALL.describe(
                &route("runner"),
                request("POST", target, &[("content-type", "application/json")], body.as_bytes())
            )
            .is_ok()
        );
    }
    import("o.yaml", OPENAPI, None).expect("it is imported");
}

proptest! {
    #[test]
    fn whatever_is_changed_in_a_body(which in any::<prop::sample::Index>(), changes in changes(), noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let (tool, method, target, media_type, body) = which.get(&SAMPLES);
        holds((tool, method, target, media_type), &changed(body, &changes))?;
        holds((tool, method, target, media_type), &noise)?;
    }

    #[test]
    fn whatever_is_changed_in_a_program(which in any::<prop::sample::Index>(), changes in changes()) {
        let (target, text) = which.get(&PROGRAMS);
        let text = String::from_utf8_lossy(&changed(text.as_bytes(), &changes)).into_owned();
        let body = json!({"text": text}).to_string();
        holds(("runner", "POST", target, "application/json"), body.as_bytes())?;
        let sent = request("POST", target, &[("content-type", "application/json")], body.as_bytes());
        let call = ALL.describe(&route("runner"), sent).expect("any text is one");
        let facts = if *target == "/shell" { ["shell_commands", "shell_unread"] } else { ["sql_verbs", "sql_unread"] };
        // Understood, or not: one of both, and never neither.
        let told = facts.map(|fact| call.params.get(fact).is_some_and(|value| *value != json!([]) && *value != json!("")));
        prop_assert_ne!(told[0], told[1], "{:?} {:?}", text, call.params);
    }

    /// What is read of a signature's header is there, letter by letter.
    #[test]
    fn whatever_is_changed_in_a_signature(changes in changes()) {
        let text = changed(format!("{SIGNED}{}", "a1".repeat(32)).as_bytes(), &changes);
        let Ok(value) = http::HeaderValue::from_bytes(&text) else { return Ok(()) };
        let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        let Ok(Some(signed)) = Signed::read(&headers) else { return Ok(()) };
        let text = String::from_utf8(text).expect("it was read as text");
        for part in [signed.scope.to_string(), signed.signature, signed.headers.join(";")] {
            prop_assert!(text.contains(&part), "{part} in {text}");
        }
    }
}

proptest! {
    // Each of them loads all tools.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, ..ProptestConfig::default() })]

    /// What is imported loads, and its own cases hold, but for an example that writes a field's name otherwise than its schema.
    #[test]
    fn whatever_is_changed_in_a_document(changes in changes()) {
        let text = String::from_utf8_lossy(&changed(OPENAPI.as_bytes(), &changes)).into_owned();
        let Ok(imported) = import("o.yaml", &text, Some("imported")) else { return Ok(()) };
        let source = Source { file: "imported.yaml".to_owned(), text: imported.text.clone() };
        let loaded = Catalogue::load(&[source], None).map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{}", imported.text)))?;
        let failures: Vec<_> = loaded.check().failures.into_iter().filter(|failure| failure.tool == "imported" && !failure.message.contains("json_key_case")).collect();
        prop_assert!(failures.is_empty(), "{failures:?}\n{}", imported.text);
    }
}
