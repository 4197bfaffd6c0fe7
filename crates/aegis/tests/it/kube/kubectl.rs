//! What kubectl sends: one command allowed and one refused of each, and what the server holds then.

use serde_json::{Value, json};

use super::{World, listed, unlisted};
use crate::process::text;

/// What was decided of the last write: its action, replicas and images.
fn decided(world: &World) -> Value {
    let call = world.decided();
    json!([call["action"], call["params"]["replicas"], call["params"]["images"]])
}

fn web(world: &World) -> Value {
    let object = world.server.object("shop-staging", "deployment/web");
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    json!([object["spec"]["replicas"], container["image"]])
}

#[test]
fn what_the_server_holds_is_what_was_decided() {
    let world = World::start();
    let (good, bad) = (listed(), unlisted());

    // Protobuf.
    world.refused(
        &format!("create deployment web --image={good} --replicas=51"),
        &["replicas 51 is above max_replicas 50"],
    );
    world.refused(&format!("create deployment web --image={bad} --replicas=2"), &["PolicyViolation", "allowed_images"]);
    world.refused(&format!("create deployment web --image={good} -n shop-prod"), &["PolicyViolation", "production"]);
    world.allowed(&format!("create deployment web --image={good} --replicas=3"));
    assert_eq!(decided(&world), json!(["apply", 3, [good]]));
    assert_eq!(web(&world), json!([3, good]));

    world.refused("scale deployment/web --replicas=51", &["replicas 51 is above max_replicas 50"]);
    world.refused("scale deployment/web --replicas=51 --current-replicas=3", &["replicas 51 is above max_replicas 50"]);
    world.allowed("scale deployment/web --replicas=4");
    assert_eq!((decided(&world), web(&world)), (json!(["scale", 4, null]), json!([4, good])));
    world.allowed("scale deployment/web --replicas=5 --current-replicas=4");
    assert_eq!((decided(&world), web(&world)), (json!(["scale", 5, null]), json!([5, good])));

    world.refused(&format!("set image deployment/web web={bad}"), &["allowed_images"]);
    world.allowed(&format!("set image deployment/web web={good}"));
    for kind in ["strategic", "merge"] {
        let patch =
            |replicas: u32| format!("patch deployment web --type={kind} -p {{\"spec\":{{\"replicas\":{replicas}}}}}");
        world.refused(&patch(51), &["replicas 51 is above max_replicas 50"]);
        world.allowed(&patch(6));
        assert_eq!((decided(&world), web(&world)), (json!(["apply", 6, null]), json!([6, good])));
    }
    let patch = |op: &str| format!("patch deployment web --type=json -p [{op}]");
    let image = |image: &str| {
        patch(&format!(r#"{{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"{image}"}}"#))
    };
    world.refused(&image(&bad), &["allowed_images"]);
    world.allowed(&image(&good));
    world.allowed(&patch(r#"{"op":"replace","path":"/spec/replicas","value":7}"#));
    assert_eq!((decided(&world), web(&world)), (json!(["apply", 7, null]), json!([7, good])));

    world.allowed("rollout restart deployment/web");
    world.allowed("rollout pause deployment/web");
    assert_eq!(decided(&world)[0], "rollout_pause");
    world.allowed("rollout resume deployment/web");
    assert_eq!(decided(&world)[0], "rollout_resume");
    world.server.admin(&["create", "-f", &world.manifest("web", "shop-prod", 2, &good)]);
    world.refused("rollout restart deployment/web -n shop-prod", &["PolicyViolation"]);

    // A dry run is known as one, wherever it is said, and changes nothing.
    world.allowed("delete deployment web --dry-run=server");
    assert_eq!(world.decided()["params"]["dry_run"], "All");
    assert_eq!(web(&world), json!([7, good]));
    world.allowed("delete deployment web");
    assert_eq!(decided(&world)[0], "delete");
    assert!(!world.server.kubectl(&["get", "deployment", "web", "-n", "shop-staging"]).status.success());
}

#[test]
fn manifests_are_judged_however_they_are_applied() {
    let world = World::start();
    let file = |replicas, image: &str| world.manifest("api", "shop-staging", replicas, image);
    for (how, replicas) in [("apply", 2), ("apply --server-side --force-conflicts", 3), ("replace", 4)] {
        world.refused(&format!("{how} -f {}", file(51, &listed())), &["replicas 51 is above max_replicas 50"]);
        world.refused(&format!("{how} -f {}", file(replicas, &unlisted())), &["allowed_images"]);
        world.allowed(&format!("{how} -f {}", file(replicas, &listed())));
        let object = world.server.object("shop-staging", "deployment/api");
        assert_eq!(object["spec"]["replicas"], replicas);
        assert_eq!(decided(&world)[1], replicas, "{how}");
    }
    world.refused(&format!("apply -f {}", world.manifest("api", "shop-prod", 2, &listed())), &["production"]);

    // Every place that a pod takes an image from.
    let pod = |spec: &str| {
        let image = listed();
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: a, image: \"{image}\"}}], {spec}}}\n"
        )
    };
    let bad = unlisted();
    for (place, spec) in [
        ("init", format!("initContainers: [{{name: i, image: \"{bad}\"}}]")),
        ("volume", format!("volumes: [{{name: v, image: {{reference: \"{bad}\"}}}}]")),
    ] {
        let file = world.file(&format!("{place}.yaml"), pod(&spec));
        world.refused(&format!("apply -f {file}"), &["allowed_images"]);
        world.refused(&format!("create -f {file}"), &["allowed_images"]);
    }
    world.allowed(&format!("apply -f {}", world.file("fine.yaml", pod("restartPolicy: Never"))));
    world.refused(&format!("debug p --image={bad}"), &["PolicyViolation"]);

    // Objects beside the workloads, in protobuf too.
    world.allowed("create configmap settings --from-literal=a=b");
    world.refused("create configmap settings --from-literal=a=b -n shop-prod", &["PolicyViolation"]);
    world.allowed("create poddisruptionbudget calm --selector=app=api --min-available=1");
    assert_eq!(world.decided()["params"]["min_available"], 1);
    world.refused("create secret generic s --from-literal=a=b", &["PolicyViolation"]);
    world.refused("create token default", &["PolicyViolation"]);
    world.refused("create role r --verb=get --resource=secrets", &["PolicyViolation"]);
    world.refused("get secrets", &["PolicyViolation"]);
}

#[test]
fn a_node_is_drained_as_far_as_the_policy_goes() {
    let world = World::start();
    for (node, namespace) in [("n1", "shop-staging"), ("n2", "shop-prod")] {
        let file = |name: &str, text: String| world.file(name, text);
        let made = file(&format!("{node}.yaml"), format!("{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}}}"));
        world.server.admin(&["create", "-f", &made]);
        let pod = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: {namespace}}}, \
             spec: {{nodeName: {node}, containers: [{{name: a, image: x}}]}}}}"
        );
        world.server.admin(&["create", "-f", &file(&format!("{node}-pod.yaml"), pod)]);
    }
    let pods = || world.server.admin(&["get", "pods", "-A", "-o", "name"]);
    assert_eq!(pods().lines().count(), 2);
    world.allowed("drain n1 --force --grace-period=0 --timeout=20s");
    assert_eq!(world.decided()["action"], "evict");
    assert_eq!(pods().lines().count(), 1);
    world.allowed("cordon n2");
    world.refused("drain n2 --force --grace-period=0 --timeout=5s", &["PolicyViolation", "production"]);
    assert_eq!(pods().lines().count(), 1);
    world.refused("taint node n2 a=b:NoSchedule", &["PolicyViolation"]);
}

#[test]
fn what_runs_code_in_a_pod_needs_a_grant_of_its_own() {
    let world = World::start();
    world.allowed(&format!("run p --image={}", listed()));
    let running = r#"{"status":{"phase":"Running"}}"#;
    world.server.admin(&["patch", "pod", "p", "-n", "shop-staging", "--subresource=status", "-p", running]);
    world.refused("exec p -- id", &["PolicyViolation"]);
    world.refused("attach p", &["PolicyViolation"]);
    world.refused("port-forward p 8080:80", &["PolicyViolation"]);
    world.refused("logs p", &["PolicyViolation"]);
    world.refused("get --raw /api/v1/namespaces/shop-staging/pods/p/proxy/x", &["PolicyViolation"]);
    world.gateway.folder.change("policies/deploy.yaml", |text| format!("{text}  - {{name: exec}}\n"));
    crate::process::eventually("the new policy is in force", || {
        // With the grant it is the server that answers: the pod is on no node.
        text(&world.agent(&["exec", "p", "--", "id"])).contains("does not have a host assigned")
    });
    assert_eq!(world.decided()["params"]["command"], json!(["id"]));
}
