//! The guide is true, and its table of questions is what the code does.

use std::path::Path;

use serde_json::Value;

use super::try_send;
use crate::guide::Guide;
use crate::process::Gateway;

#[test]
fn the_guide_to_the_decision_api_goes_as_it_tells() {
    let mut guide = Guide::open("decision-api.md");
    guide.follow();
    let decisions = guide.decisions();
    let did: Vec<_> = decisions.iter().map(|record| record["decision"].as_str().unwrap_or_default()).collect();
    let told = ["allow", "deny", "approval_needed", "allow", "approval_needed", "deny", "sanitize", "allow", "deny"];
    assert_eq!(did, told, "{decisions:#?}");
    assert!(decisions.iter().all(|record| record["via"] == "authzen"), "{decisions:#?}");
}

/// With `AEGIS_BLESS=1`, the committed document is written anew.
#[test]
fn openapi_is_what_is_committed_and_what_is_served() {
    let gateway = Gateway::start("", &[]);
    let api = gateway.address("api");
    let served = try_send(api, "GET", "/openapi.json", &[], "").expect("an answer").json();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../api/openapi.json");
    if std::env::var_os("AEGIS_BLESS").is_some() {
        std::fs::write(&path, format!("{served:#}\n")).expect("written");
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("committed")).expect("JSON");
    assert_eq!(served, committed, "run it with AEGIS_BLESS=1 where the change is meant");

    let mut asked = 0;
    for (path, methods) in served["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let (method, path) = (method.to_uppercase(), path.replace("{id}", "apr_0"));
            let answer = try_send(api, &method, &path, &[], "").expect("an answer");
            let expected: &[u16] = match (operation["security"].is_array(), path.as_str()) {
                (true, _) => &[401],
                (false, "/oauth2/token") => &[400],
                // Without a policy it isn't ready.
                (false, "/readyz") => &[200, 503],
                (false, _) => &[200],
            };
            assert!(expected.contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text);
            assert_eq!(try_send(api, "DELETE", &path, &[], "").expect("an answer").status, 405, "{path}");
            asked += 1;
        }
    }
    assert_eq!(asked, 10);
    let references: Vec<String> = served
        .to_string()
        .split("#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        .collect();
    assert!(references.iter().all(|name| served["components"]["schemas"][name].is_object()), "{references:?}");
}
