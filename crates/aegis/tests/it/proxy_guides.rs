//! The guides to the proxies that ask are followed word by word, with the real proxies and the files of `deploy/`.

use std::path::Path;

use serde_json::Value;

use crate::envoy::free_port;
use crate::envoy::recorder::Recorder;
use crate::guide::Guide;
use crate::tools::tool;

/// Finds a listener's port where the page has the gateway write it.
const PORT_OF: &str = r#"port_of() { sed -n "s/.*\"listening\":\"$1\".*:\([0-9]*\)\"}.*/\1/p" gateway.log; }"#;

/// Follows a page that runs `command` on these files of `deploy/`; `listener` is the gateway's that the proxy asks.
fn follow(page: &str, proxy: &str, command: &str, files: &[&str], (documented, listener): (&str, &str)) {
    let upstream = Recorder::start();
    let (agents, admin) = (free_port(), free_port());
    let mut guide = Guide::open(page).instead_of("127.0.0.1:10000", format!("127.0.0.1:{agents}"));
    guide.succeed(&format!("PATH=$PATH:{}", tool(proxy).parent().expect("a folder").display()));
    guide.succeed(PORT_OF);
    let mut prepare = Vec::new();
    for name in files {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
        let text = [("10000", agents), ("9901", admin), ("8001", upstream.address.port())].iter().fold(
            std::fs::read_to_string(from).expect("there"),
            |text, (port, here)| {
                let text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{here}"));
                text.replace(&format!("port_value: {port}"), &format!("port_value: {here}"))
            },
        );
        let to = guide.folder().join("deploy").join(name);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::write(&to, text).expect("written");
        let address = format!(r#"s/\(127.0.0.1:\|port_value: \){documented}\b/\1$(port_of {listener})/"#);
        prepare.push(format!("sed -i \"{address}\" deploy/{name}; "));
    }
    let mut guide = guide.instead_of(&format!("({command}"), format!("({}{command}", prepare.concat()));
    guide.follow();

    let seen = upstream.seen();
    let bodies: Vec<Value> = seen.iter().map(|seen| serde_json::from_str(&seen.body).expect("JSON")).collect();
    assert_eq!(bodies, [serde_json::json!({"spec": {"replicas": 3}})], "what was refused did not reach the tool");
    assert!(seen[0].header("authorization").is_none_or(str::is_empty), "nor did the agent's token: {seen:?}");
}

#[test]
fn the_guide_to_envoy_goes_as_it_tells() {
    let command = "envoy -c deploy/envoy/envoy.yaml";
    follow("envoy.md", "envoy", command, &["envoy/envoy.yaml"], ("4182", "ext_authz"));
}

#[test]
fn the_guide_to_forward_auth_goes_as_it_tells() {
    let command = "traefik --configFile=deploy/traefik/traefik.yaml";
    follow("forward-auth.md", "traefik", command, &["traefik/traefik.yaml", "traefik/aegis.yaml"], ("4181", "api"));
}
