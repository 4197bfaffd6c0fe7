use std::path::Path;
use std::time::Duration;

use aegis_core::policy::{Engine, Mode};
use aegis_server::enforce::{Credential, PrivateNetworks, Roots};

use super::{Config, units};

fn refused(text: &str) -> String {
    refused_in(text, Path::new("."))
}

fn refused_in(text: &str, base: &Path) -> String {
    let errors = Config::parse("aegis.yaml", text, base).expect_err("refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = Config::parse("aegis.yaml", "", Path::new("/etc/aegis")).expect("valid");
    assert_eq!(config.listen.proxy.to_string(), "127.0.0.1:4180");
    assert_eq!(config.listen.proxy_tls.expect("on").to_string(), "127.0.0.1:4183");
    assert_eq!(config.listen.api.to_string(), "127.0.0.1:4181");
    assert_eq!(config.data_dir, Path::new("/etc/aegis/aegis-data"));
    assert_eq!(config.policies, Path::new("/etc/aegis/policies"));
    assert_eq!(
        (config.mode, config.engine, config.private_networks),
        (Mode::Enforce, Engine::Native, PrivateNetworks::Deny)
    );
    assert_eq!((config.limits.body, config.token_ttl), (4 << 20, Duration::from_mins(15)));
}

#[test]
fn every_key_of_this_version_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("token"), "s3cret\n").expect("written");
    std::fs::write(dir.path().join("ca.pem"), "pem").expect("written");
    let text = r#"
data_dir: ./data
mode: shadow
listen: {proxy: 127.0.0.1:0, proxy_tls: off, api: "[::1]:4181", ext_authz: 127.0.0.1:4182}
policies: ./rules
tools: ./tools
environments: [{match: {tool: kubernetes, namespace: "prod-*"}, env: production}]
routes:
  - name: k8s
    upstream: https://10.0.0.1:6443
    tool: kubernetes
    cluster: main
    tls: {ca: ca.pem}
    credential: {bearer: "${file:token}"}
upstreams: {"API.github.com:443": 127.0.0.1:8443}
interception: {hosts: [api.github.com, {host: "*.internal:8443", tool: kubernetes, cluster: main}], ca: auto, upstream_ca: ca.pem}
egress: {private_networks: allow, proxy: "http://u:${file:token}@proxy.corp:3128", no_proxy: [.corp, 10.0.0.0/8], proxy_resolves: true}
identity: {token_ttl: 5m}
engine: rego
engine_check: 2.5%
store: sqlite
counters: memory
telemetry: {otlp: {endpoint: "http://127.0.0.1:4318", protocol: http}, log: text, prometheus: true}
audit: {durability: buffered}
limits: {body: 1MiB, header: 32KiB, connections: 10, connections_per_client: 5, head_time: 5s, body_idle: 20s, body_rate: off,
         send_idle: 2m, hold: 45s}
"#;
    let config = Config::parse("aegis.yaml", text, dir.path()).expect("valid");
    assert_eq!((config.mode, config.engine, config.engine_check), (Mode::Shadow, Engine::Rego, 0.025));
    assert_eq!(config.listen.proxy_tls, None);
    assert_eq!(config.private_networks, PrivateNetworks::Allow);
    assert!(config.upstreams.contains_key("api.github.com:443"));
    assert_eq!((config.interception.hosts.len(), &config.interception.ca), (2, &None));
    let proxy = config.proxy.as_ref().expect("a proxy");
    assert_eq!((proxy.direct.len(), proxy.resolves), (2, true));
    assert_eq!(config.interception.upstream_ca.as_deref(), Some(&b"pem"[..]));
    let route = config.routes.first().expect("a route");
    assert!(matches!(&route.upstream.tls.roots, Roots::Pem(pem) if pem == b"pem"));
    let Some(Credential::Bearer(secret)) = &route.upstream.credential else { panic!("a bearer") };
    assert_eq!(secret.expose(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"), "a secret in Debug output");
    let warned: Vec<&str> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, [""; 0]);
    assert_eq!(config.limits.hold, Duration::from_secs(45));
}

#[test]
fn unknown_keys_name_the_nearest_one_and_every_error_has_its_place() {
    let text = "lissten: {}\nmode: enforcing\nengine_check: 200%\nroutes:\n  - {name: a/b, upstream: ftp://x}\n";
    let all = refused(text);
    for expected in [
        "aegis.yaml:1:1: lissten: unknown key; did you mean `listen`?",
        "aegis.yaml:2:7: mode: expected one of: enforce, shadow; did you mean `enforce`?",
        "aegis.yaml:3:15: engine_check: expected a share such as 1%",
        "aegis.yaml:5:5: routes[0].name: a route's name is one path segment",
        "aegis.yaml:5:27: routes[0].upstream: expected http://HOST",
    ] {
        assert!(all.contains(expected), "{expected}\nnot in\n{all}");
    }
}

#[test]
fn what_this_version_cannot_enforce_is_refused_and_not_called_unknown() {
    for text in [
        "approvals: {slack: {}}",
        "store: postgres://x",
        "counters: redis://x",
        "identity: {issuers: []}",
        "audit: {export: {}}",
    ] {
        assert!(refused(text).contains("known, but not in this version"), "{text}: {}", refused(text));
    }
}

#[test]
fn secrets_that_are_missing_are_errors_with_a_place_and_values_are_never_told() {
    let text = "policies: a\nroutes:\n  - name: a\n    upstream: http://127.0.0.1\n    credential: {bearer: '${env:AEGIS_NO_SUCH}'}\n";
    let expected = "aegis.yaml:5:26: routes[0].credential.bearer: the environment variable AEGIS_NO_SUCH is not set";
    assert!(refused(text).contains(expected), "{}", refused(text));
    let dir = tempfile::tempdir().expect("a folder");
    let secret = ["hush", "hush"].concat();
    std::fs::write(dir.path().join("mode"), &secret).expect("written");
    let told = refused_in("mode: ${file:mode}\ndata_dir: ${file:gone}\ntools: '${what}'\n", dir.path());
    assert!(!told.contains(&secret) && told.contains("gone can't be read") && told.contains("${env:NAME}"), "{told}");
}

#[test]
fn cross_checks() {
    assert!(refused("listen: {proxy: 127.0.0.1:5000, api: 127.0.0.1:5000}").contains("taken by listen.proxy"));
    let twice = "routes: [{name: a, upstream: 'http://h'}, {name: a, upstream: 'http://h'}]";
    assert!(refused(twice).contains("taken by routes[0]"));
    assert!(refused("routes: [{name: a, upstream: 'http://h', tls: {ca: x}}]").contains("has no TLS"));
    assert!(refused("routes: [{name: a, upstream: 'https://h', tls: {ca: /no/such}}]").contains("can't be read"));
    assert!(refused("routes: [{name: a, upstream: 'https://u@h'}]").contains("expected http://HOST"));
    assert!(refused("routes: [{name: a, upstream: 'https://h', credential: {}}]").contains("exactly one of"));
    for (text, expected) in [
        ("egress: {proxy: 'https://p:1'}", "expected http://"),
        ("egress: {proxy: 'http://p:1', no_proxy: [a b]}", "egress.no_proxy[0]"),
        ("egress: {proxy: 'http://p:1', no_proxy: a}", "expected a list"),
        ("egress: {no_proxy: [a]}", "means nothing without `egress.proxy`"),
        ("egress: {proxy_resolves: true}", "means nothing without `egress.proxy`"),
        ("interception: {}", "interception.hosts"),
        ("interception: {hosts: []}", "at least one host"),
        ("interception: {hosts: [https://a]}", "write a host"),
        ("interception: {hosts: [1]}", "expected a host"),
        ("interception: {hosts: [{tool: x}]}", "`host` is missing"),
        ("interception: {hosts: [a], ca: mine}", "expected auto"),
        ("interception: {hosts: [a], ca: {certificate: c}}", "interception.ca: `key` is missing"),
        ("interception: {hosts: [a], upstream_ca: /no/such}", "can't be read"),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
    assert!(refused("routes: [1]").contains("expected a mapping"));
    assert!(refused("identity: {token_ttl: 30d}").contains("between 10s and 1h"));
    assert!(refused("limits: {body: 1B}").contains("out of bounds"));
    assert!(refused("a: 1\n---\nb: 2").contains("one document"));
    assert!(refused("[]").contains("expected a mapping"));
}

#[test]
fn units() {
    assert_eq!(units::size("4MiB"), Some(4 << 20));
    assert_eq!(units::size("64 KiB"), Some(64 << 10));
    assert_eq!(units::size("1024"), Some(1024));
    assert_eq!(units::size("-1"), None);
    assert_eq!(units::size("99999999999GiB"), None);
    assert_eq!(units::duration("15m"), Some(Duration::from_mins(15)));
    assert_eq!(units::duration("15"), None);
    assert_eq!(units::share("1%"), Some(0.01));
    assert_eq!(units::share("NaN%"), None);
}
