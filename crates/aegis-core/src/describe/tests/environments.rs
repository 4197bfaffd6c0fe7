use serde_json::json;

use super::super::{Arrival, Catalogue, canonical_destination};
use super::{request, route};
use crate::call::Environment;
use crate::document::parse;

fn load(map: &str) -> Result<Catalogue, String> {
    let nodes = parse("aegis.yaml", map).expect("YAML");
    Catalogue::load(&[], Some(("aegis.yaml", &nodes[0])))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn function(map: &str, params: serde_json::Value) -> Environment {
    let serde_json::Value::Object(params) = params else { panic!("an object") };
    load(map).expect("a map").describe_function("deploy", "run", params).environment
}

const MAP: &str = r#"
- {match: {tool: kubernetes, cluster: main, namespace: "prod-*"}, env: production}
- {match: {tool: kubernetes, namespace: "*"}, env: staging}
- {match: {host: "*.staging.internal"}, env: staging}
- {match: {tool: deploy, param: {environment: prod}}, env: production}
- {match: {tool: deploy, param: {region: "eu-*"}}, env: europe}
"#;

#[test]
fn the_first_match_wins_and_no_match_is_unknown() {
    let catalogue = load(MAP).expect("a map");
    let env = |arrival: &Arrival<'_>, path: &str| {
        catalogue.describe(arrival, request("GET", path, &[], b"")).expect("readable").environment
    };
    assert_eq!(env(&route("kubernetes"), "/api/v1/namespaces/prod-eu/pods").name, "production");
    assert_eq!(env(&route("kubernetes"), "/api/v1/namespaces/web/pods").name, "staging");
    assert_eq!(env(&route("kubernetes"), "/api/v1/pods").name, "unknown");
    // Not even an unknown call of an unknown place is in an environment by accident.
    assert_eq!(env(&route("kubernetes"), "/what").name, "unknown");
    let destination = canonical_destination("https", "API.Staging.internal.", 443).expect("a host");
    assert_eq!(env(&Arrival::Forward { destination: &destination }, "/").name, "staging");
    assert_eq!(catalogue.describe_tunnel(&destination).environment.name, "staging");
}

#[test]
fn a_parameter_counts_where_the_operator_trusts_it() {
    assert_eq!(function(MAP, json!({"environment": "prod"})), Environment::named("production"));
    assert_eq!(function(MAP, json!({"environment": "dev"})), Environment::named("unknown"));
    // Not text: it matches nothing.
    assert_eq!(function(MAP, json!({"environment": ["prod"]})), Environment::named("unknown"));
}

#[test]
fn a_call_that_says_otherwise_is_contradicted() {
    let env = function(MAP, json!({"region": "eu-1", "env": "staging"}));
    assert_eq!(env, Environment { name: "europe".into(), contradicted_by: Some("staging".into()) });
    assert_eq!(function(MAP, json!({"region": "eu-1", "environment": "europe"})).contradicted_by, None);
    let env = function(MAP, json!({"region": "eu-1", "environment": ["europe", "x"]}));
    assert!(env.contradicted_by.is_some());
    // One claim is trusted, the other still has to agree.
    let env = function(MAP, json!({"environment": "prod", "env": "staging"}));
    assert_eq!(env.contradicted_by.as_deref(), Some("staging"));
}

#[test]
fn errors_have_their_place() {
    let error = |map: &str| load(map).expect_err(map);
    assert!(error("- {match: {namespce: x}, env: a}").contains("aegis.yaml:1:12: environments[0].match.namespce"));
    assert!(error("- {match: {namespce: x}, env: a}").contains("did you mean `namespace`?"));
    assert!(error("- {match: {}, env: a}").contains("needs at least one key"));
    assert!(error("- {match: {tool: x}}").contains("`env` is missing"));
    assert!(error("- {match: {tool: x}, env: unknown}").contains("can't be mapped to"));
    assert!(error("- {match: {tool: 1}, env: a, x: 1}").contains("environments[0].x: unknown key"));
    assert!(error("{a: 1}").contains("expected a list"));
}
