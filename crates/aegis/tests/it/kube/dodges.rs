//! Ways around a cap on replicas. First the real server shows that a way works, then Aegis that it is closed.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{World, listed};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

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

/// A Deployment in protobuf, with this in its spec and behind it.
fn deployment(name: &str, spec: &[u8], behind: &[u8]) -> Vec<u8> {
    let labels = bytes(1, [bytes(1, "app"), bytes(2, name)].concat());
    let meta = bytes(1, bytes(11, [bytes(1, "app"), bytes(2, name)].concat()));
    let container = bytes(2, [bytes(1, "web"), bytes(2, listed())].concat());
    let template = bytes(3, [meta, bytes(2, container)].concat());
    let spec = bytes(2, [spec.to_vec(), bytes(2, labels), template].concat());
    let raw = bytes(2, [bytes(1, bytes(1, name)), spec, behind.to_vec()].concat());
    let meta = bytes(1, [bytes(1, "apps/v1"), bytes(2, "Deployment")].concat());
    [b"k8s\0".to_vec(), meta, raw].concat()
}

/// Sends a body as it is; the status and what came back.
fn send(ca: &Path, token: &str, url: &str, method: &str, media_type: &str, body: &Path) -> (u16, String) {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--write-out", "\n%{http_code}", "--request", method, "--cacert"])
        .arg(ca);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args([
        "--header",
        &format!(
            "Content-Type:{}",
            Some(media_type).filter(|m| !m.is_empty()).map_or(String::new(), |m| format!(" {m}"))
        ),
    ]);
    command.arg("--data-binary").arg(format!("@{}", body.display())).arg(url);
    let output = command.stdin(Stdio::null()).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), answer.to_owned())
}

/// Whether somebody who may do everything can do it, past Aegis; then the agent, who must not.
fn closed(world: &World, what: &str, method: &str, path: &str, media_type: &str, body: &[u8]) {
    let file = world.file("body", body);
    let direct = format!("{}{path}", world.server.url());
    let (status, answer) =
        send(&world.server.certificate(), &world.server.token(), &direct, method, media_type, Path::new(&file));
    assert!((200..300).contains(&status), "{what}: the server doesn't take it: {status} {answer}");
    assert_eq!(world.server.most_replicas(), 200, "{what}: it is no way");
    for kind in ["deployments", "horizontalpodautoscalers", "jobs", "replicationcontrollers"] {
        world.server.admin(&["delete", kind, "--all", "-n", "shop-staging", "--timeout=30s"]);
    }
    world.server.admin(&["create", "-f", &world.manifest("web", "shop-staging", 2, &listed())]);
    let ca = world.gateway.folder.ca();
    let (status, answer) =
        send(&ca, &world.token, &format!("{}{path}", world.url()), method, media_type, Path::new(&file));
    assert!([400, 403].contains(&status), "{what}: {status} {answer}");
    assert_eq!(world.server.most_replicas(), 2, "{what}");
}

#[test]
fn no_body_that_the_server_takes_dodges_the_cap() {
    let world = World::start();
    world.server.admin(&["create", "-f", &world.manifest("web", "shop-staging", 2, &listed())]);
    let apps = "/apis/apps/v1/namespaces/shop-staging/deployments";
    let web = format!("{apps}/web");
    let many = number(1, 200);
    // Go cuts a field's number to 32 bits: for it this is field 1.
    let cut = number(1 << 32 | 1, 200);
    for (what, spec, behind) in [
        ("protobuf", many.clone(), vec![]),
        ("a number twice", [number(1, 2), many.clone()].concat(), vec![]),
        ("a message twice", number(1, 2), bytes(2, &many)),
        ("a number beyond 32 bits", number(1, 1 << 32 | 200), vec![]),
        ("a field beyond 32 bits", [number(1, 2), cut].concat(), vec![]),
        ("a field that the server passes over", [many.clone(), bytes(999, "x")].concat(), vec![]),
    ] {
        closed(&world, what, "POST", apps, PROTOBUF, &deployment("big", &spec, &behind));
    }
    let scale = {
        let meta = bytes(1, [bytes(1, "autoscaling/v1"), bytes(2, "Scale")].concat());
        let object = [bytes(1, [bytes(1, "web"), bytes(3, "shop-staging")].concat()), bytes(2, &many)].concat();
        [b"k8s\0".to_vec(), meta, bytes(2, object)].concat()
    };
    closed(&world, "a scale in protobuf", "PUT", &format!("{web}/scale"), PROTOBUF, &scale);

    let image = listed();
    let spec = json!({"replicas": 200, "selector": {"matchLabels": {"app": "big"}}, "template": {
        "metadata": {"labels": {"app": "big"}}, "spec": {"containers": [{"name": "web", "image": image}]}}});
    let object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "big"}, "spec": spec}).to_string();
    let yaml = object.replacen('{', "{\n# a comment\n", 1);
    let quota = "{\"spec\":{\"replicas\":200}}";
    let json_patch = r#"[{"op":"add","path":"/metadata/annotations","value":{"n":"x"}},{"op":"replace","path":"/spec/replicas","value":200}]"#;
    let copied = r#"[{"op":"add","path":"/spec/minReadySeconds","value":200},{"op":"replace","path":"/spec/progressDeadlineSeconds","value":600},{"op":"copy","from":"/spec/minReadySeconds","path":"/spec/replicas"}]"#;
    let twice =
        r#"[{"op":"replace","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":200}]"#;
    for (what, method, path, media_type, body) in [
        ("JSON", "POST", apps, "application/json", object.as_str()),
        ("no Content-Type", "POST", apps, "", object.as_str()),
        ("YAML", "POST", apps, "application/yaml", yaml.as_str()),
        ("a merge patch", "PATCH", web.as_str(), "application/merge-patch+json", quota),
        ("a strategic merge", "PATCH", web.as_str(), "application/strategic-merge-patch+json", quota),
        ("a JSON patch", "PATCH", web.as_str(), "application/json-patch+json", json_patch),
        ("a JSON patch that copies", "PATCH", web.as_str(), "application/json-patch+json", copied),
        ("a JSON patch that sets it twice", "PATCH", web.as_str(), "application/json-patch+json", twice),
    ] {
        closed(&world, what, method, path, media_type, body.as_bytes());
    }

    let apply = format!("{web}?fieldManager=x&force=true");
    let applied = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  replicas: 200\n";
    closed(&world, "a server-side apply", "PATCH", &apply, "application/apply-patch+yaml", applied.as_bytes());
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 200}});
    closed(&world, "a scale without Content-Type", "PUT", &format!("{web}/scale"), "", scale.to_string().as_bytes());

    for (what, path, kind, spec) in [
        (
            "an autoscaler",
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"maxReplicas": 200,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}),
        ),
        (
            "a job",
            "batch/v1",
            "Job",
            json!({"parallelism": 200, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "web", "image": image}]}}}),
        ),
    ] {
        let object = json!({"apiVersion": path, "kind": kind, "metadata": {"name": "big"}, "spec": spec}).to_string();
        let path = format!("/apis/{path}/namespaces/shop-staging/{}s", kind.to_lowercase());
        closed(&world, what, "POST", &path, "application/json", object.as_bytes());
    }
}

#[test]
fn a_new_object_that_cannot_be_read_is_tried_on_the_server() {
    let world = World::start();
    let ca = world.gateway.folder.ca();
    let url = format!("{}/apis/apps/v1/namespaces/shop-staging/deployments", world.url());
    let post = |name: &str, replicas: u64| {
        // A field that no schema of today has, and the server passes over.
        let body = deployment(name, &[number(1, replicas), bytes(999, "x")].concat(), &[]);
        send(&ca, &world.token, &url, "POST", PROTOBUF, Path::new(&world.file(name, body)))
    };
    let (status, answer) = post("small", 3);
    assert_eq!(status, 201, "{answer}");
    let call = world.decided();
    assert_eq!((&call["action"], &call["params"]["replicas"]), (&json!("apply"), &json!(3)), "{call}");
    assert_eq!(world.server.object("shop-staging", "deployment/small")["spec"]["replicas"], 3);
    let (status, answer) = post("large", 51);
    assert!(status == 403 && answer.contains("replicas 51 is above max_replicas 50"), "{status} {answer}");
    assert_eq!(world.server.most_replicas(), 3);
}
