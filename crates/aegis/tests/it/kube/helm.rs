//! Helm, installing and upgrading a chart: its objects are judged like anybody's, and its records need no grant on Secrets.

use std::process::{Command, Output, Stdio};

use super::{World, listed, unlisted};
use crate::process::text;
use crate::tools::tool;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n  \
    replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: {{ .Release.Name }}}}\n  template:\n    \
    metadata: {labels: {app: {{ .Release.Name }}}}\n    \
    spec: {containers: [{name: web, image: {{ .Values.image | quote }}}]}\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\n\
    spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}\n";

fn helm(world: &World, line: &str) -> Output {
    let home = world.gateway.folder.path("helm");
    std::fs::create_dir_all(home.join("chart/templates")).expect("made");
    for (name, text) in [
        ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n"),
        ("templates/deployment.yaml", DEPLOYMENT),
        ("templates/service.yaml", SERVICE),
    ] {
        std::fs::write(home.join("chart").join(name), text).expect("written");
    }
    let mut command = Command::new(tool("helm"));
    command.args(line.split(' ')).current_dir(&home).env("HOME", &home).env("KUBECONFIG", world.kubeconfig());
    command.stdin(Stdio::null()).output().expect("helm runs")
}

fn allowed(world: &World, line: &str) -> String {
    let output = helm(world, line);
    assert!(output.status.success(), "{line}: {}\n{}", text(&output), world.gateway.log());
    text(&output)
}

fn refused(world: &World, line: &str, reason: &str) {
    let output = helm(world, line);
    let text = text(&output);
    assert!(!output.status.success() && text.contains(reason), "{line}: {reason:?} isn't in {text}");
}

#[test]
fn helm_installs_and_upgrades_what_the_policy_allows() {
    let world = World::start();
    let (good, bad) = (listed(), unlisted());
    let replicas = || world.server.object("shop-staging", "deployment/web")["spec"]["replicas"].clone();
    allowed(&world, &format!("install web chart --set replicas=2 --set image={good}"));
    assert_eq!(replicas(), 2);
    allowed(&world, &format!("upgrade web chart --set replicas=3 --set image={good}"));
    assert_eq!(replicas(), 3);
    // Without server-side apply it is a strategic merge of what differs.
    allowed(&world, &format!("upgrade web chart --set replicas=4 --set image={good} --server-side=false"));
    assert_eq!(replicas(), 4);

    refused(
        &world,
        &format!("upgrade web chart --set replicas=51 --set image={good}"),
        "replicas 51 is above max_replicas 50",
    );
    refused(&world, &format!("upgrade web chart --set replicas=5 --set image={bad}"), "allowed_images");
    refused(&world, &format!("install web chart -n shop-prod --set replicas=2 --set image={good}"), "production");
    assert_eq!(replicas(), 4);
    let image =
        world.server.object("shop-staging", "deployment/web")["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone();
    assert_eq!(image, good);

    assert!(allowed(&world, "list").contains("web"));
    allowed(&world, "rollback web 1");
    assert_eq!(replicas(), 2);
    allowed(&world, "uninstall web");
    assert!(!world.server.kubectl(&["get", "deployment", "web", "-n", "shop-staging"]).status.success());
    let left = world.server.admin(&["get", "secrets", "-n", "shop-staging", "-o", "name"]);
    assert_eq!(left, "", "its records went with it");
}

#[test]
fn no_other_secret_passes_for_a_record_of_helm() {
    let world = World::start();
    let good = listed();
    allowed(&world, &format!("install web chart --set replicas=2 --set image={good}"));
    world.refused("create secret generic sh.helm.release.v1.web.v9 --from-literal=release=x", &["PolicyViolation"]);
    world.refused(
        "create secret generic sh.helm.release.v1.web.v9 --type=helm.sh/release.v1 --from-literal=password=x",
        &["PolicyViolation"],
    );
    world.refused("create secret generic db --type=helm.sh/release.v1 --from-literal=release=x", &["PolicyViolation"]);
    world.refused("patch secret sh.helm.release.v1.web.v1 -p {\"data\":{\"release\":\"eA==\"}}", &["PolicyViolation"]);
    world.server.admin(&["create", "secret", "generic", "db", "-n", "shop-staging", "--from-literal=a=b"]);
    world.refused("get secrets", &["PolicyViolation"]);
    world.refused("get secret db", &["PolicyViolation"]);
    world.refused("delete secret db", &["PolicyViolation"]);
    world.allowed("get secrets -l owner=helm");
}
